"""What `-device NAME,KEY=VALUE` can name on a board's PCI bus or among its virtio-mmio slots, and how it gets there.

A board calls `plug_in(machine, setup, bus)` with a `PciBoard`, before the list of what is reset is made. Every device
of the command line then takes its slot (`addr=`, or the first free one) and is built by the function that is
registered here under its name.

To add one, do this:

    @pluggable("thing-pci", "what it is", {"mac": "MAC address", "netdev": "id of the -netdev"})
    def thing_pci(p: Plug) -> None:
        from devices.thing import Thing                      # imported here: only who plugs one in pays for it

        p.card(Thing(slot=p.slot, mac=p.text("mac")))        # a PciCard (devices.pci_card)

For a virtio device one function serves all transports:

    @virtio("thing", {"max-things": "how many (default 3)"})
    def thing(p: Plug) -> VirtioDevice:
        from devices.virtio.thing import Thing

        return Thing(**p.virtio(), most=p.number("max-things", 3, 1, 64))

It makes the names virtio-thing-pci, virtio-thing-pci-transitional, virtio-thing-pci-non-transitional and
virtio-thing-device. `Plug` gives properties with their checks, `setup` with what the command line opened, and the
machine; `devices.contracts` says what a device may be given. Only declared properties reach the function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emu.options import ShowAndExit, UsageError, number, shown, switch, unknown

if TYPE_CHECKING:
    from devices.contracts import DiskQueue, Line
    from devices.device import Device
    from devices.pci import Moved, PciBus, PciFunction
    from devices.pci_card import SlotMemory
    from devices.virtio.device import VirtioDevice
    from emu.boards import Setup
    from emu.bus import Bus, Read, Write
    from emu.bus import Mapping as BusMapping
    from emu.machine import Machine
    from emu.media import Medium

ROM_PLACES = ("/usr/lib/ipxe/qemu", "/usr/share/qemu", "/usr/share/ipxe/qemu")
MOST_ROM = 16 << 20
COMMON = {"id": "name of the device", "bootindex": "place in the order of boot devices"}
PCI = {
    "addr": "slot, or slot.function, in hexadecimal",
    "bus": "pci.0",
    "multifunction": "other functions may be in the same slot",
    "rombar": "0: no option ROM",
    "romfile": "option ROM",
}
VIRTIO = {
    "iommu_platform": "on: the driver uses bus addresses (ACCESS_PLATFORM)",
    "packed": "on: packed rings are offered",
    "event_idx": "ignored",
    "indirect_desc": "ignored",
}
VIRTIO_PCI = {
    "disable-legacy": "on: no legacy interface",
    "disable-modern": "on: no modern interface",
    "vectors": "number of MSI-X vectors; 0: the interrupt pin only",
}


VIRTIO_MMIO = {"legacy": "on: version 1 of the registers (default off)"}


@dataclass(frozen=True)
class Kind:
    """Something that can be plugged in: `props` with a line of help each, `bus` "pci" or "mmio"."""

    name: str
    help: str
    props: Mapping[str, str]
    build: Callable[[Plug], None]
    bus: str


KINDS: dict[str, Kind] = {}


def pluggable(
    name: str, help: str, props: Mapping[str, str] | None = None, *, bus: str = "pci"
) -> Callable[[Callable[[Plug], None]], Callable[[Plug], None]]:
    """Register a function under the name of a device. Raises ValueError for a name that is taken."""

    def register(build: Callable[[Plug], None]) -> Callable[[Plug], None]:
        if name in KINDS:
            raise ValueError(f"{name} is registered twice")
        KINDS[name] = Kind(name, help, {**(props or {}), **COMMON, **(PCI if bus == "pci" else {})}, build, bus)
        return build

    return register


def virtio(
    name: str, help: str, props: Mapping[str, str] | None = None, *, legacy: bool = True
) -> Callable[[Callable[[Plug], VirtioDevice]], Callable[[Plug], VirtioDevice]]:
    """Register a virtio device under its four names; `legacy` says whether it has a transitional one."""

    def register(build: Callable[[Plug], VirtioDevice]) -> Callable[[Plug], VirtioDevice]:
        def on_pci(modern: bool | None, old: bool | None) -> Callable[[Plug], None]:
            def plug_pci(p: Plug) -> None:
                from devices.virtio.pci import VirtioPci

                new = not p.switch("disable-modern", False) if modern is None else modern
                no_legacy = p.text("disable-legacy", "auto")
                also = old if old is not None else no_legacy == "auto" or not p.switch("disable-legacy", False)
                vectors = p.number("vectors", -1, 0, 128)
                made = build(p)
                p.add(made, "virtio")
                if not new and not (also and legacy):
                    raise UsageError(f"-device {p.name}: disable-modern=on and disable-legacy=on leave no interface")
                card = VirtioPci(
                    slot=p.slot,
                    device=made,
                    modern=new,
                    legacy=also and legacy,
                    vectors=None if vectors < 0 else vectors,
                )
                p.card(card)
                if p.board.lend is not None:
                    p.board.lend(made)

            return plug_pci

        own = {**(props or {}), **VIRTIO}
        pci = {**own, **VIRTIO_PCI}
        pluggable(f"virtio-{name}-pci", help, pci)(on_pci(None, None if legacy else False))
        if legacy:
            pluggable(f"virtio-{name}-pci-transitional", help, pci)(on_pci(True, True))
        pluggable(f"virtio-{name}-pci-non-transitional", help, pci)(on_pci(True, False))

        def on_mmio(p: Plug) -> None:
            made = build(p)
            p.add(made, "virtio")
            p.mmio(made)

        pluggable(f"virtio-{name}-device", help, {**own, **VIRTIO_MMIO}, bus="mmio")(on_mmio)
        return build

    return register


def properties(name: str) -> dict[str, str]:
    """The properties of a device with a line of help each. Raises KeyError."""
    return dict(KINDS[name].props)


# -- what a board has


class Slot:
    """See `devices.pci_card.PciSlot`."""

    def __init__(self, board: PciBoard, slot: int) -> None:
        self._board = board
        self.number = slot
        self.memory = board.memory
        self.physical = board.physical
        self.big_endian = board.big_endian
        self.message = board.message
        self.vector = board.vector

    def irq(self, pin: int) -> Line:
        """A new source of the interrupt that the board wires this slot's pin to."""
        return self._board.irq(self.number, pin)

    def range(
        self, size: int, read: Read, write: Write, *, io: bool = False, max_width: int = 4, name: str = ""
    ) -> Moved:
        """A movable range."""
        return self._board.range(size, read, write, io, max_width, name)


@dataclass
class PciBoard:
    """A board's PCI bus. `slots` are those with interrupts, in the order in which they are taken."""

    bus: PciBus
    slots: Sequence[int]
    irq: Callable[[int, int], Line]
    """Called with (slot, pin)."""
    range: Callable[[int, Read, Write, bool, int, str], Moved]
    memory: SlotMemory
    physical: SlotMemory
    big_endian: bool = False
    message: Callable[[int, int], None] | None = None
    vector: Callable[[int, int], int | None] | None = None
    lend: Callable[[VirtioDevice], None] | None = None
    """Told of each virtio device: a processor may do the work of some (`emu.cpu.PcCpu.lend_disk`)."""
    mmio: Callable[[VirtioDevice, bool], Device] | None = None
    """Puts a virtio device into the next virtio-mmio slot, with the legacy interface if True, and gives its transport;
    None where there are none."""


def movable_ports(bus: Bus, size: int, read: Read, write: Write, max_width: int, name: str) -> Moved:
    """Ports whose place a PCI function decides."""
    return _movable(lambda base: bus.map_ports(base, size, read, write, max_width=max_width, name=name))


def movable_memory(
    bus: Bus, size: int, read: Read, write: Write, max_width: int, name: str, *, swap: bool = False
) -> Moved:
    """Memory whose place a PCI function decides; `swap` where the bus is big-endian."""
    return _movable(lambda base: bus.map_mmio(base, size, read, write, max_width=max_width, name=name, swap=swap))


def _movable(mapped: Callable[[int], BusMapping]) -> Moved:
    now: BusMapping | None = None

    def move(base: int | None) -> None:
        nonlocal now
        if now is not None:
            now.remove()
            now = None
        if base is not None:
            now = mapped(base)

    return move


def windowed(bus: Bus, host: Any) -> Callable[[int, Read, Write, bool, int, str], Moved]:
    """`PciBoard.range` for a host bridge with translating windows (`devices.pci_windows`)."""

    def range_of(size: int, read: Read, write: Write, io: bool, max_width: int, name: str) -> Moved:
        moved = movable_memory(bus, size, read, write, max_width, name, swap=True)
        place: Moved = host.outbound.range(size, moved, io=io)
        return place

    return range_of


def flat(bus: Bus) -> Callable[[int, Read, Write, bool, int, str], Moved]:
    """`PciBoard.range` for a PC."""

    def range_of(size: int, read: Read, write: Write, io: bool, max_width: int, name: str) -> Moved:
        return (movable_ports if io else movable_memory)(bus, size, read, write, max_width, name)

    return range_of


def fitted(image: bytes, card: PciFunction) -> bytes:
    """An option ROM made for a family of cards, with the IDs of this one: firmware runs it only if they agree."""
    at = int.from_bytes(image[0x18:0x1A], "little")
    if image[at : at + 4] != b"PCIR" or image[at + 4 : at + 6] != card.initial[0:2]:
        return image
    out = bytearray(image)
    out[at + 6 : at + 8] = card.initial[2:4]
    out[6] = (out[6] + sum(image[at + 6 : at + 8]) - sum(out[at + 6 : at + 8])) & 0xFF  # the sum stays zero
    return bytes(out)


# -- plugging in


@dataclass
class Plug:
    """One device while it is built. `slot` is its PCI slot (a `devices.pci_card.PciSlot`), None on other buses."""

    name: str
    props: dict[str, str]
    machine: Machine
    setup: Setup
    board: PciBoard
    key: str
    """The name of the device in `machine.devices`."""
    slot: Any = None
    function: int = 0
    made: list[str] = field(default_factory=list)

    # Properties.

    def has(self, prop: str) -> bool:
        """Whether the person gave a property."""
        return prop in self.props

    def text(self, prop: str, default: str = "") -> str:
        """A property as it stands."""
        return self.props.get(prop, default)

    def number(self, prop: str, default: int, low: int = 0, high: int = (1 << 63) - 1) -> int:
        """A number in low..high. Raises UsageError."""
        text = self.props.get(prop)
        return default if text is None else number(text, f"{self.name} {prop}", low, high)

    def switch(self, prop: str, default: bool) -> bool:
        """on or off. Raises UsageError."""
        text = self.props.get(prop)
        return default if text is None else switch(text, f"{self.name} {prop}")

    def wrong(self, text: str) -> UsageError:
        """The error for a device that cannot be what it should: to be raised."""
        return UsageError(f"-device {self.name}: {text}")

    # What the command line opened.

    def medium(self) -> Medium:
        """The drive that drive= names. Raises UsageError."""
        wanted = self.text("drive")
        if not wanted:
            raise self.wrong("expected drive=ID of a -drive with if=none")
        for medium in self.setup.media:
            if medium.drive.id == wanted and medium.drive.interface in ("none", "virtio"):
                return medium
        known = [m.drive.id for m in self.setup.media if m.drive.id and m.drive.interface == "none"]
        raise unknown("drive", wanted, known)

    def disk(self) -> DiskQueue:
        """The drive that drive= names, for requests that complete later. Raises UsageError."""
        medium = self.medium()
        if medium.disk is None:
            raise self.wrong("the drive has no medium")
        if not any(disk is medium.disk for disk in self.machine.disks):
            self.machine.disks.append(medium.disk)
        queue: Any = self.machine.disk_queue(medium.disk, self.key)
        return queue  # type: ignore[no-any-return]

    # What becomes of it.

    def add(self, device: Device, suffix: str = "") -> None:
        """Make a device part of the machine: reset, saved and part of the digest."""
        key = f"{self.key}-{suffix}" if suffix else self.key
        self.machine.devices[key] = device

    def card(self, card: PciFunction) -> None:
        """Put a card into the slot."""
        self._rom(card)
        self.add(card)
        self.board.bus.add(self.slot.number, self.function, card)

    def _rom(self, card: PciFunction) -> None:
        """The option ROM of romfile=; with `-boot n` a network card has iPXE's, if the host has that."""
        from devices.pci_card import PciCard
        from emu.media import read_file

        path = self.text("romfile")
        if not path and "netdev" in self.props and "n" in self.setup.config.boot:
            family = "virtio" if self.name.startswith("virtio-net") else self.name
            paths = [f"{place}/pxe-{family}.rom" for place in ROM_PLACES]
            path = next((found for found in paths if os.path.isfile(found)), "")
            if not path:
                self.setup.config.warn(f"-boot n: no {paths[0]} (Debian: ipxe-qemu): {self.name} cannot boot")
        if not path or self.text("rombar", "1") in ("0", "off") or not isinstance(card, PciCard):
            return
        image = read_file(path, "an option ROM", MOST_ROM)
        if image[:2] != b"\x55\xaa":
            raise self.wrong(f"romfile={shown(path)}: expected an option ROM, which begins with 55 AA")
        card.set_rom(image if self.text("romfile") else fitted(image, card))

    def virtio(self) -> dict[str, Any]:
        """The arguments that every virtio device's constructor takes."""
        slot = self.slot
        platform = self.switch("iommu_platform", False)
        return {
            "memory": self.board.physical,
            "bus_memory": (self.board.memory if slot is not None else self.board.physical) if platform else None,
            "big_endian": self.board.big_endian,
            "packed": self.switch("packed", False),
        }

    def mmio(self, device: VirtioDevice) -> None:
        """Put a virtio device into a virtio-mmio slot. Raises UsageError."""
        if self.board.mmio is None:
            raise self.wrong(f"-M {self.machine.name} has no virtio-mmio slots; {self.name[:-7]}-pci fits its PCI bus")
        self.add(self.board.mmio(device, self.switch("legacy", False)))


ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,2})(?:\.([0-7]))?")


def plug_in(machine: Machine, setup: Setup, board: PciBoard) -> None:
    """Build every device of the command line that belongs on this bus. Raises UsageError."""
    wanted = [(name, props) for name, props in setup.config.devices if name in KINDS]
    taken = {devfn >> 3 for devfn in board.bus.functions}
    places = _places(board, wanted, taken)
    keys: set[str] = set(machine.devices)
    for order, (name, props) in enumerate(wanted):
        kind = KINDS[name]
        key = f"{name}.{props['id']}" if props.get("id") else f"{name}.{order}"
        if key in keys:
            raise UsageError(f"-device {name}: the id {shown(props.get('id', ''))} is in use")
        keys.add(key)
        p = Plug(name, props, machine, setup, board, key)
        if kind.bus == "pci":
            slot, p.function = places[order]
            p.slot = Slot(board, slot)
        try:
            kind.build(p)
        except ValueError as error:
            raise UsageError(f"-device {name}: {shown(str(error))}") from None
    _mark_many(board)


def _mark_many(board: PciBoard) -> None:
    """Bit 7 of the header type of function 0 where a slot has more functions."""
    for devfn in board.bus.functions:
        first = board.bus.functions.get(devfn & ~7)
        if devfn & 7 and first is not None:
            first.initial[0x0E] |= 0x80
            first.clear()


def _places(
    board: PciBoard, wanted: Sequence[tuple[str, dict[str, str]]], taken: set[int]
) -> dict[int, tuple[int, int]]:
    """Slot and function of each device: those that say where first; the others in the order of the command line.

    When all slots have a card, further ones become functions of these. Raises UsageError.
    """
    places: dict[int, tuple[int, int]] = {}
    used: set[tuple[int, int]] = set()
    for order, (name, props) in enumerate(wanted):
        if KINDS[name].bus != "pci":
            continue
        if props.get("bus", "pci.0") not in ("pci.0", "pci"):
            raise unknown("bus", props["bus"], ("pci.0",))
        text = props.get("addr")
        if text is None:
            continue
        match = ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(f"-device {name}: addr: expected a slot such as 5 or 5.1, found '{shown(text)}'")
        place = int(match[1], 16), int(match[2] or "0")
        if place[0] not in board.slots:
            raise UsageError(f"-device {name}: addr={shown(text)}: expected a slot of {_ranges(board.slots)}")
        if place in used or place[0] in taken:
            raise UsageError(f"-device {name}: addr={shown(text)}: the slot is taken")
        used.add(place)
        places[order] = place
    for order, (name, _) in enumerate(wanted):
        if KINDS[name].bus == "pci" and order not in places:
            whole = {slot for slot, _ in used} | taken
            free = [(slot, 0) for slot in board.slots if slot not in whole]
            free += [
                (slot, n) for n in range(1, 8) for slot in board.slots if (slot, 0) in used and (slot, n) not in used
            ]
            if not free:
                raise UsageError(f"-device {name}: all PCI slots are taken")
            used.add(free[0])
            places[order] = free[0]
    if lonely := [slot for slot, n in used if n and (slot, 0) not in used]:
        raise UsageError(f"-device: slot {lonely[0]:x} has no function 0, so the others would not be found")
    return places


def _ranges(slots: Iterable[int]) -> str:
    slots = sorted(slots)
    return f"{slots[0]:x} to {slots[-1]:x}"


def help_for(name: str) -> ShowAndExit:
    """`-device NAME,help`."""
    lines = [f"{name} options:"]
    lines += [f"  {key}=<{text}>" for key, text in sorted(KINDS[name].props.items())]
    return ShowAndExit("\n".join(lines))


# -- the devices


@pluggable("piix3-ide", "IDE controller with two channels; -device ide-hd,drive=D,bus=ID.0,unit=1 puts a disk on it")
def piix3_ide(p: Plug) -> None:
    """A card with up to four drives."""
    from devices.piix_ide import PiixIdeCard
    from emu.boards.ide import card_name, ide_drives

    name = card_name(p.setup, p.text("id"), own="ide-pci" in p.machine.devices)
    card = PiixIdeCard(slot=p.slot, clock=p.machine.clock, drives=ide_drives(p.machine, p.setup, name))
    for index, channel in enumerate(card.channels):
        p.add(channel, f"channel{index}")
    p.add(card.bus_master, "dma")
    p.card(card)


@virtio(
    "blk",
    "virtio disk",
    {
        "drive": "id of a -drive with if=none",
        "serial": "up to 20 characters",
        "num-queues": "request queues (default 1)",
        "queue-size": "requests in a queue, a power of two (default 256)",
        "logical_block_size": "bytes of a sector (default 512)",
        "physical_block_size": "bytes that the disk writes at once (default 512)",
        "min_io_size": "bytes",
        "opt_io_size": "bytes",
        "discard": "on or off (default on)",
        "write-zeroes": "on or off (default on)",
        "config-wce": "on: the driver may switch the write cache (default on)",
        "write-cache": "on or off (default on)",
        "seg-max": "buffers in one request",
    },
)
def virtio_blk(p: Plug) -> VirtioDevice:
    """A disk."""
    from devices.virtio.blk import Blk

    return Blk(
        **p.virtio(),
        disk=p.disk(),
        serial=p.text("serial") or p.medium().drive.id or "",
        count=p.number("num-queues", 1, 1, 64),
        size=p.number("queue-size", 256, 4, 1024),
        logical=p.number("logical_block_size", 512, 512, 32768),
        physical=p.number("physical_block_size", 512, 512, 32768),
        smallest=p.number("min_io_size", 0, 0, 65535 * 512),
        best=p.number("opt_io_size", 0, 0, 0xFFFFFFFF),
        discard=p.switch("discard", True),
        zeroes=p.switch("write-zeroes", True),
        switchable=p.switch("config-wce", True),
        cached=p.switch("write-cache", True),
    )


import emu.plug_net  # noqa: E402
import emu.plug_virtio  # noqa: E402,F401  (register their devices)
