"""The board: address maps, devices, PCI, interrupt controllers, character devices, memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from devices.ioapic import IoApic
from devices.lapic import Lapic
from devices.mpic import Mpic
from devices.pci import PciBus, PciFunction
from devices.pic8259 import Pic8259
from devices.uic import Uic
from emu.monitor.commands.memory import ram_kind
from emu.monitor.registry import Refused, hmp, info, qmp
from emu.options import shown

if TYPE_CHECKING:
    from emu.monitor.control import Control

PCI_CLASSES = {
    0x0100: "SCSI controller", 0x0101: "IDE controller", 0x0180: "Storage controller", 0x0200: "Ethernet controller",
    0x0280: "Network controller", 0x0300: "VGA controller", 0x0380: "Display controller", 0x0401: "Audio controller",
    0x0500: "RAM controller", 0x0580: "Memory controller", 0x0600: "Host bridge", 0x0601: "ISA bridge",
    0x0604: "PCI bridge", 0x0680: "Bridge", 0x0700: "Serial port", 0x0780: "Communication controller",
    0x0900: "Keyboard", 0x0980: "Input device", 0x0B20: "PowerPC processor",
}  # fmt: skip
MODES = ("fixed", "lowest", "smi", "?", "nmi", "init", "?", "extint")
DELIVERY = ("Fixed", "LowPri", "SMI", "?", "NMI", "INIT", "?", "ExtINT")
DIVISORS = (2, 4, 8, 16, 32, 64, 128, 1)


# -- address maps


@info("mtree", "show memory tree", "", "[-f][-d][-o][-D]", f="flat", d="dispatch", o="owner", D="disabled")
def info_mtree(
    control: Control, flat: bool = False, dispatch: bool = False, owner: bool = False, disabled: bool = False
) -> str:
    machine = control.machine
    last = machine.ram.space - 1
    rows = [(r.paddr, r.size, ram_kind(r.kind), _ram_name(r.paddr, r.kind.name)) for r in machine.ram.regions]
    rows += [(m.base, m.size, "i/o", m.name) for m in machine.bus.mappings("memory")]
    lines = ["address-space: memory", f"  0000000000000000-{last:016x} (prio 0, i/o): system"]
    lines += _rows(sorted(rows))
    ports = [(m.base, m.size, "i/o", m.name) for m in machine.bus.mappings("ports")]
    if ports:
        lines += ["", "address-space: I/O", "  0000000000000000-000000000000ffff (prio 0, i/o): io", *_rows(ports)]
    dcrs = [(m.base, m.size, "i/o", m.name) for m in machine.bus.mappings("dcrs")]
    if dcrs:
        lines += ["", "address-space: DCR", "  0000000000000000-00000000000003ff (prio 0, i/o): dcr", *_rows(dcrs)]
    return "\n".join([*lines, ""]) + "\n"


def _ram_name(paddr: int, kind: str) -> str:
    return "rom" if kind == "ROM" else "ram" if kind == "RAM" else f"window at {paddr:x}"


def _rows(rows: list[tuple[int, int, str, str]]) -> list[str]:
    return [f"    {at:016x}-{at + size - 1:016x} (prio 0, {kind}): {name}" for at, size, kind, name in rows]


@info("roms", "show roms")
def info_roms(control: Control) -> str:
    return "".join(
        f"addr={region.paddr:016x} size=0x{region.size:06x} mem=rom\n"
        for region in control.machine.ram.regions
        if region.kind.name == "ROM"
    )


@info("qtree", "show device tree")
def info_qtree(control: Control) -> str:
    lines = ["bus: main-system-bus", "  type System"]
    devices = control.machine.devices
    functions = {id(f) for bus in _buses(control) for f in bus.functions.values()}
    for key, device in devices.items():
        if id(device) in functions:
            continue
        lines.append(f'  dev: {getattr(device, "name", type(device).__name__)}, id "{key}"')
        lines += (f"    {name} = {value} ({value:#x})" for name, value in list(_registers(device))[:64])
        if isinstance(device, PciBus):
            lines += ["    bus: pci.0", "      type PCI"]
            for devfn, function in sorted(device.functions.items()):
                name = next((k for k, d in devices.items() if d is function), "")
                lines.append(f'      dev: {function.name}, id "{name}"')
                lines.append(f"        addr = {devfn >> 3:02x}.{devfn & 7:x}")
                lines += (f"        {text}" for text in _pci_text(function))
    return "\n".join(lines) + "\n"


def _registers(device: Any) -> Iterator[tuple[str, int]]:
    registers = getattr(device, "registers", {})
    return ((name, value) for name, value in dict(registers).items() if isinstance(value, int))


# -- PCI


def _buses(control: Control) -> list[PciBus]:
    return [device for device in control.machine.devices.values() if isinstance(device, PciBus)]


def _class_name(function: PciFunction) -> str:
    kind = function.get(0x0A, 2)
    return PCI_CLASSES.get(kind, f"Class {kind:04x}")


def _regions(function: PciFunction) -> Iterator[dict[str, Any]]:
    for bar in function.bars:
        value = function.get(bar.register, 4) & (0xFFFFFFFC if bar.io else 0xFFFFFFF0) & -bar.size
        there = value if value else -1
        row: dict[str, Any] = {"bar": bar.number, "size": bar.size, "address": there}
        if bar.io:
            yield row | {"type": "io"}
        else:
            yield row | {"type": "memory", "prefetch": bar.prefetchable, "mem_type_64": False}


def _pci_text(function: PciFunction) -> Iterator[str]:
    for row in _regions(function):
        at = row["address"] & 0xFFFFFFFFFFFFFFFF
        end = at + row["size"] - 1 & (0xFFFF if row["type"] == "io" else 0xFFFFFFFF)
        if row["type"] == "io":
            yield f"BAR{row['bar']}: I/O at 0x{at & 0xFFFF:04x} [0x{end:04x}]."
        else:
            prefetch = " prefetchable" if row["prefetch"] else ""
            yield f"BAR{row['bar']}: 32 bit{prefetch} memory at 0x{at:08x} [0x{end:08x}]."


@info("pci", "show PCI info")
def info_pci(control: Control) -> str:
    lines = []
    for bus in _buses(control):
        for devfn, function in sorted(bus.functions.items()):
            lines.append(f"  Bus  0, device {devfn >> 3:3d}, function {devfn & 7}:")
            lines.append(f"    {_class_name(function)}: PCI device {function.get(0, 2):04x}:{function.get(2, 2):04x}")
            lines.append(f"      PCI subsystem {function.get(0x2C, 2):04x}:{function.get(0x2E, 2):04x}")
            if pin := function.get(0x3D, 1):
                lines.append(f"      IRQ {function.get(0x3C, 1)}, pin {chr(0x40 + (pin & 7))}")
            lines += (f"      {text}" for text in _pci_text(function))
            lines.append(f'      id "{_device_id(control, function)}"')
    return "".join(f"{line}\n" for line in lines)


def _device_id(control: Control, function: PciFunction) -> str:
    given = {f"{name}.{props['id']}": props["id"] for name, props in control.config.devices if props.get("id")}
    return next((given[k] for k, d in control.machine.devices.items() if d is function and k in given), "")


@qmp("query-pci")
def query_pci(control: Control) -> list[dict[str, Any]]:
    found = []
    for bus in _buses(control):
        devices = []
        for devfn, function in sorted(bus.functions.items()):
            kind = function.get(0x0A, 2)
            row: dict[str, Any] = {
                "bus": 0,
                "slot": devfn >> 3,
                "function": devfn & 7,
                "class_info": {"class": kind, "desc": _class_name(function)},
                "id": {
                    "vendor": function.get(0, 2),
                    "device": function.get(2, 2),
                    "subsystem-vendor": function.get(0x2C, 2),
                    "subsystem": function.get(0x2E, 2),
                },
                "irq_pin": function.get(0x3D, 1),
                "qdev_id": _device_id(control, function),
                "regions": list(_regions(function)),
            }
            if row["irq_pin"]:
                row["irq"] = function.get(0x3C, 1)
            devices.append(row)
        found.append({"bus": 0, "devices": devices})
    return found


# -- interrupt controllers


@info("pic", "show PIC state")
def info_pic(control: Control) -> str:
    lines: list[str] = []
    for key, device in control.machine.devices.items():
        if isinstance(device, IoApic):
            lines += _ioapic(device)
        elif isinstance(device, Pic8259):
            lines += _pic(device)
        elif isinstance(device, Uic | Mpic):
            lines.append(f"{key}: " + " ".join(f"{name}={value:x}" for name, value in list(_registers(device))[:24]))
    return "".join(f"{line}\n" for line in lines)


def _ioapic(device: IoApic) -> Iterator[str]:
    s = device.state
    yield f"ioapic0: ver=0x11 id=0x{s.identity:02x} sel=0x{device.select:02x}"
    remote = []
    for pin, (low, destination) in enumerate(zip(s.low, s.destination, strict=True)):
        if low >> 14 & 1:
            remote.append(str(pin))
        yield (
            f"  pin {pin:<2} 0x{destination << 56 | low:016x} dest={destination:x} vec={low & 0xFF:<3} "
            f"{'active-lo' if low >> 13 & 1 else 'active-hi'} {'level' if low >> 15 & 1 else 'edge '} "
            f"{'masked' if low >> 16 & 1 else '      '} {MODES[low >> 8 & 7]:6} "
            f"{'logical' if low >> 11 & 1 else 'physical'}"
        )
    up = [str(pin) for pin in range(len(s.low)) if s.lines >> pin & 1]
    yield f"  IRR      {' '.join(up) or '(none)'}"
    yield f"  Remote IRR {' '.join(remote) or '(none)'}"


def _pic(device: Pic8259) -> Iterator[str]:
    chips = device.state.chips
    for n in (1, 0):
        c = chips[n]
        yield (
            f"pic{n}: irr={c.irr:02x} imr={c.imr:02x} isr={c.isr:02x} hprio={c.first} irq_base={c.base:02x} "
            f"rr_sel={int(c.read_isr)} elcr={c.elcr:02x} fnm={int(c.fully_nested)}"
        )


@info("irq", "show the interrupts statistics (if available)")
def info_irq(control: Control) -> str:
    counts = control.machine.cpu.stats().get("interrupts")
    return "" if counts is None else f"Interrupts that the processor took: {counts}\n"


@info("lapic", "show local apic state", "number:i?", "[apic-id]")
def info_lapic(control: Control, number: int = 0) -> str:
    apic = next((d for d in control.machine.devices.values() if isinstance(d, Lapic)), None)
    if apic is None or number:
        raise Refused("No such local APIC")
    s = apic.state
    lines = ["dumping local APIC state for CPU 0 ", ""]
    for name, value in (
        ("LVT0", apic.lvt_lint0),
        ("LVT1", apic.lvt_lint1),
        ("LVTPC", apic.lvt_perf),
        ("LVTERR", apic.lvt_error),
        ("LVTTHMR", apic.lvt_thermal),
        ("LVTT", apic.lvt_timer),
    ):
        timer = ("one-shot", "periodic", "tsc-deadline", "?")[value >> 17 & 3] if name == "LVTT" else ""
        mode = DELIVERY[value >> 8 & 7] if name not in ("LVTERR", "LVTT") else "Fixed"
        vector = f" (vec {value & 0xFF})" if mode in ("Fixed", "ExtINT", "LowPri") else ""
        lines.append(
            f"{name}\t 0x{value:08x} {'active-lo' if value >> 13 & 1 else 'active-hi'} "
            f"{'level' if value >> 15 & 1 else 'edge '} {'masked' if value >> 16 & 1 else '':6} {timer:12} "
            f"{mode:6}{vector}"
        )
    divide = DIVISORS[apic.divide & 3 | apic.divide >> 1 & 4]
    lines.append(
        f"Timer\t DCR=0x{apic.divide:x} (divide by {divide}) initial_count = {apic.tmict} "
        f"current_count = {apic.read_current()}"
    )
    enabled = "enabled" if apic.svr & 0x100 else "disabled"
    lines.append(
        f"SPIV\t 0x{apic.svr:08x} APIC {enabled}, focus={'on' if apic.svr & 0x200 else 'off'}, "
        f"spurious vec {apic.svr & 0xFF}"
    )
    lines.append(f"ICR\t 0x{apic.icr_low:08x}")
    lines.append(f"ICR2\t 0x{apic.icr_high:08x}")
    lines.append(f"ESR\t 0x{apic.esr:08x}")
    lines += [f"{name}\t {_vectors(bits)}" for name, bits in (("ISR", s.isr), ("IRR", s.irr))]
    lines.append("")
    ppr = max(apic.tpr, max((v for v in range(256) if s.isr >> v & 1), default=0) & 0xF0)
    lines.append(f"APR 0x00 TPR 0x{apic.tpr:02x} DFR 0x{apic.dfr >> 28:02x} LDR 0x{apic.ldr >> 24:02x} PPR 0x{ppr:02x}")
    return "\n".join(lines) + "\n"


def _vectors(bits: int) -> str:
    return " ".join(str(v) for v in range(256) if bits >> v & 1) or "(none)"


# -- character devices


@info("chardev", "show the character devices")
def info_chardev(control: Control) -> str:
    return "".join(f"{shown(host.label)}: filename={host.filename}\n" for host in control.hosts)


@qmp("query-chardev")
def query_chardev(control: Control) -> list[dict[str, Any]]:
    return [
        {"label": host.label, "filename": host.filename, "frontend-open": host.front is not None}
        for host in control.hosts
    ]


@qmp("query-chardev-backends")
def query_chardev_backends(control: Control) -> list[dict[str, str]]:
    from emu.options import CHARDEVS

    return [{"name": name} for name in CHARDEVS]


@hmp("ringbuf_write", "device:w data:r", "device data", "Write to a ring buffer character device")
@qmp("ringbuf-write")
def ringbuf_write(control: Control, device: str, data: str, format: str = "utf8") -> None:
    import base64
    import binascii

    try:
        content = base64.b64decode(data, validate=True) if format == "base64" else data.encode()
    except (binascii.Error, ValueError):
        raise Refused("data is not base64") from None
    _ring(control, device).send(content)


@hmp("ringbuf_read", "device:w size:i", "device size", "Read from a ring buffer character device")
def ringbuf_read_text(control: Control, device: str, size: int) -> str:
    text = _ring(control, device).take(size).decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text) + "\n"


@qmp("ringbuf-read")
def ringbuf_read(control: Control, device: str, size: int, format: str = "utf8") -> str:
    import base64

    if size < 0:
        raise Refused("size must be greater than zero")
    data = _ring(control, device).take(size)
    return base64.b64encode(data).decode() if format == "base64" else data.decode("utf-8", "replace").replace("\0", "")


def _ring(control: Control, device: str) -> Any:
    host = control.host(device)
    if not hasattr(host, "take"):
        raise Refused(f"{device[:100]} is not a ringbuf device")
    return host


# -- memory and the balloon


@qmp("query-memory-size-summary")
def query_memory(control: Control) -> dict[str, int]:
    return {"base-memory": control.machine.ram.size, "plugged-memory": 0}


@info("memory_size_summary", "show the amount of memory in bytes")
def info_memory(control: Control) -> str:
    return f"base memory: {control.machine.ram.size}\nplugged memory: 0\n"


@qmp(
    "query-memdev", "query-memory-devices", "query-hotpluggable-cpus", "query-iothreads", "query-tpm", "query-rx-filter"
)
def none(control: Control) -> list[Any]:
    return []


@hmp("balloon", "value:M", "target", "request VM to change its memory allocation (in MB)")
@qmp("balloon")
def balloon(control: Control, value: int) -> None:
    if value <= 0:
        raise Refused("Parameter 'target' expects a size")
    control.actions.do("balloon", value)


@qmp("query-balloon")
def query_balloon(control: Control) -> dict[str, int]:
    if control.balloon is None:
        raise Refused("No balloon device has been activated", "DeviceNotActive")
    return {"actual": control.balloon.remaining}


@info("balloon", "show balloon information")
def info_balloon(control: Control) -> str:
    return f"balloon: actual={query_balloon(control)['actual'] >> 20}\n"
