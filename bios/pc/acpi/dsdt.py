r"""The DSDT: the devices of the PC that nothing else tells of, and how PCI interrupts reach the interrupt controllers.

The four PIIX links LNKA..LNKD are devices whose interrupt can be read and set through 60h..63h of the ISA bridge; LNKS
is the power management's, which the chip wires to the SCI. Sources: ACPI Specification 2.0, 5.2.10, 6.2.8, 7.3; Intel
82371SB and 82371AB data sheets; Plug and Play vendor and device IDs of the devices.
"""

from __future__ import annotations

from bios.pc.acpi import aml
from bios.pc.acpi.board import SLEEP_TYPES, Board

LINKS = ("LNKA", "LNKB", "LNKC", "LNKD")
ROUTES = ("PRQ0", "PRQ1", "PRQ2", "PRQ3")
OFF = 0x80
"""Bit of a route register: the link interrupts nobody."""
PRESENT, PRESENT_AND_ON = 0x09, 0x0B
"""Values of _STA; the other bits say that a device can be shown to people."""
PM_DEVICE = 1
LAST_PCI_ADDRESS = 0xFEBFFFFF


def differentiated_description(board: Board) -> bytes:
    """The AML of the DSDT."""
    out = aml.scope("\\_SB", aml.processor("CPU0", 0), _host_bridge(board), *_links(board))
    for state, kind in sorted(SLEEP_TYPES.items()):
        if state == 5 or state in board.states:
            values = [aml.integer(value) for value in (kind, kind, 0, 0)]
            out += aml.name(f"\\_S{state}", aml.package(*values))
    return out


def _host_bridge(board: Board) -> bytes:
    devices = [
        aml.device("ISA", aml.name("_ADR", aml.integer(PM_DEVICE << 16)), _route_registers(), *_isa_devices(board)),
        _device("GPE0", "PNP0A06", aml.io(board.gpe_base, 4), uid="GPE0 resources", state=PRESENT_AND_ON),
    ]
    if board.hpet:
        devices.append(_device("HPET", "PNP0103", aml.fixed_memory(board.hpet_base, 0x400), uid=0))
    return aml.device(
        "PCI0",
        aml.name("_HID", aml.eisa_id("PNP0A03")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_CRS", _windows(board)),
        aml.name("_PRT", _routing()),
        *devices,
    )


def _windows(board: Board) -> bytes:
    """What the host bridge passes on."""
    return aml.resources(
        aml.bus_numbers(0x00, 0xFF),
        aml.io(0xCF8, 8),
        aml.word_io(0x0000, 0x0CF7),
        aml.word_io(0x0D00, 0xFFFF),
        aml.dword_memory(0xA0000, 0xBFFFF, cacheable=True),
        aml.dword_memory(board.low_ram, LAST_PCI_ADDRESS, cacheable=False),
    )


def _routing() -> bytes:
    """_PRT: slot and pin choose a link; the power management has its own."""
    entries = []
    for slot in range(1, 32):
        for pin in range(4):
            link = "LNKS" if (slot, pin) == (PM_DEVICE, 0) else LINKS[(slot - 1 + pin) & 3]
            where = aml.integer(slot << 16 | 0xFFFF)
            entries.append(aml.package(where, aml.integer(pin), aml.name_string(link), aml.integer(0)))
    return aml.package(*entries)


def _route_registers() -> bytes:
    return aml.region("PIRQ", aml.PCI_CONFIG, 0x60, len(ROUTES))


def _links(board: Board) -> list[bytes]:
    """The links, and the two methods that they share: a route register's state, and its interrupt as a resource."""
    route = aml.argument(0)
    none = aml.resources(aml.interrupts(0))
    out = [
        aml.field("PCI0.ISA.PIRQ", aml.BYTE, *((name, 8) for name in ROUTES)),
        aml.method(
            "IQST",
            1,
            aml.when(aml.both(route, aml.integer(OFF)), aml.give(aml.integer(PRESENT))),
            aml.give(aml.integer(PRESENT_AND_ON)),
        ),
        aml.method(
            "IQCR",
            1,
            aml.name("PRR0", none),
            aml.dword_field(aml.name_string("PRR0"), 5, "PRRI"),
            aml.when(aml.less(route, aml.integer(OFF)), aml.store(route, aml.name_string("PRRI"))),
            aml.give(aml.name_string("PRR0")),
            serialized=True,
        ),
    ]
    for number, (link, name) in enumerate(zip(LINKS, ROUTES, strict=True)):
        register = aml.name_string(name)
        out.append(
            aml.device(
                link,
                *_link_identity(number),
                aml.name("_PRS", aml.resources(aml.interrupts(*board.links))),
                aml.method("_STA", 0, aml.give(aml.call("IQST", register))),
                aml.method("_DIS", 0, aml.either(register, aml.integer(OFF), register)),
                aml.method("_CRS", 0, aml.give(aml.call("IQCR", register))),
                aml.method(
                    "_SRS",
                    1,
                    aml.dword_field(aml.argument(0), 5, "PRRI"),
                    aml.store(aml.name_string("PRRI"), register),
                ),
            )
        )
    fixed = aml.resources(aml.interrupts(board.sci))
    out.append(
        aml.device(
            "LNKS",
            *_link_identity(len(LINKS)),
            aml.name("_PRS", fixed),
            aml.method("_STA", 0, aml.give(aml.integer(PRESENT_AND_ON))),
            aml.method("_DIS", 0),
            aml.method("_CRS", 0, aml.give(aml.name_string("_PRS"))),
            aml.method("_SRS", 1),
        )
    )
    return out


def _link_identity(number: int) -> tuple[bytes, bytes]:
    return aml.name("_HID", aml.eisa_id("PNP0C0F")), aml.name("_UID", aml.integer(number))


def _isa_devices(board: Board) -> list[bytes]:
    out = [
        _device("RTC", "PNP0B00", aml.io(0x70, 8), aml.irq(8)),
        _device("KBD", "PNP0303", aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
        _device("MOU", "PNP0F13", aml.irq(12)),
    ]
    if board.floppy:
        out.append(_device("FDC0", "PNP0700", aml.io(0x3F2, 4), aml.io(0x3F7, 1), aml.irq(6), aml.dma(2)))
    for number, (port, irq) in enumerate(board.parallel, 1):
        out.append(
            _device(f"LPT{number}", "PNP0400", aml.io(port, 8), aml.irq(irq), uid=number),
        )
    for number, (port, irq) in enumerate(board.serial, 1):
        out.append(
            _device(f"COM{number}", "PNP0501", aml.io(port, 8), aml.irq(irq), uid=number),
        )
    out.append(_device("FWCF", "QEMU0002", aml.io(board.fw_cfg, 12), state=PRESENT_AND_ON))
    return out


def _device(
    path: str, identity: str, *descriptors: bytes, uid: int | str | None = None, state: int | None = None
) -> bytes:
    """A device with fixed resources. Identities of vendors with four letters are text."""
    terms = [aml.name("_HID", aml.eisa_id(identity) if identity.startswith("PNP") else aml.string(identity))]
    if uid is not None:
        terms.append(aml.name("_UID", aml.string(uid) if isinstance(uid, str) else aml.integer(uid)))
    if state is not None:
        terms.append(aml.name("_STA", aml.integer(state)))
    return aml.device(path, *terms, aml.name("_CRS", aml.resources(*descriptors)))
