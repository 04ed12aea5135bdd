"""PCI: configuration mechanism 1, the base of every PCI function, and the functions of the i440FX/PIIX3 chip set.

PCI Local Bus Specification 2.1, chapter 6 (configuration space) and 3.2.2.3.2 (mechanism 1); Intel 82441FX (290549),
82371SB (290550) and 82371AB (290562) data sheets. The host bridge owns ports CF8h-CFFh, with the reset control
register CF9h between them. Firmware and operating systems read and program everything else through them.

    00.0 I440fx    01.0 Piix3Isa    01.1 Piix3Ide    01.3 Piix4Pm
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from devices.contracts import Line, Wire
from devices.device import Device, device
from devices.state import octets, uint, uints

Moved = Callable[["int | None"], None]
"""Told the new address of a range, or None when nothing answers there any more."""
Shadow = Callable[[int, int, bool, bool], None]
"""Told (physical address, size, reads reach RAM, writes reach RAM)."""

COMMAND, STATUS, REVISION, CLASS, HEADER, SUBSYSTEM, LINE, PIN = 0x04, 0x06, 0x08, 0x09, 0x0E, 0x2C, 0x3C, 0x3D
IO_ENABLE, MEMORY_ENABLE, MASTER_ENABLE = 0x01, 0x02, 0x04
LINKS = 4
ROM = 6
"""The number of the expansion ROM's base address register, whose bit 0 enables it."""


def link_of(slot: int, pin: int) -> int:
    """The PIRQ link 0..3 that interrupt pin 1..4 of a slot is wired to."""
    return (pin - 1 + slot - 1) & 3


@dataclass(frozen=True)
class Bar:
    """A base address register: its number 0..5, or `ROM`; the size of its range (a power of two), who is told of moves.

    `moved` may raise ValueError to refuse an address where something else is; the range then answers nowhere.
    """

    number: int
    size: int
    moved: Moved
    io: bool = False
    prefetchable: bool = False

    @property
    def register(self) -> int:
        return 0x30 if self.number == ROM else 0x10 + 4 * self.number

    @property
    def kind(self) -> int:
        """The read-only low bits."""
        return 0x01 if self.io else 0x08 if self.prefetchable else 0


@dataclass
class PciState:
    config: bytearray = octets(256, 256)


class PciFunction(Device):
    """One function: 256 bytes of configuration space.

    A subclass gives the identity, fills `initial` and `writable` with more registers in its constructor, and overrides
    `written` to act on them. Configuration accesses are aligned and 1, 2 or 4 bytes wide.
    """

    State = PciState
    state: PciState

    vendor = 0x8086
    product = 0
    revision = 0
    class_code = 0
    """24 bits: base class, subclass, programming interface."""
    many = False
    """The slot has more functions (header type bit 7)."""
    status = 0
    pin = 0
    """Interrupt pin 1..4, 0 for none."""
    subsystem = 0x1100_1AF4

    def __init__(self, bars: Sequence[Bar] = ()) -> None:
        self.initial = bytearray(256)
        self.writable = bytearray(256)
        self.bars = tuple(bars)
        self._places: dict[int, int | None] = {bar.number: None for bar in self.bars}
        self.declare(0x00, 4, self.product << 16 | self.vendor)
        self.declare(COMMAND, 4, self.status << 16, 0x0507)
        self.declare(REVISION, 4, self.class_code << 8 | self.revision)
        self.declare(HEADER, 1, 0x80 if self.many else 0)
        self.declare(SUBSYSTEM, 4, self.subsystem)
        self.declare(LINE, 2, self.pin << 8, 0x00FF)
        for bar in self.bars:
            if bar.size < 4 or bar.size & (bar.size - 1) or not 0 <= bar.number < 6:
                raise ValueError(f"BAR {bar.number} of {bar.size} bytes: the size must be a power of two")
            self.declare(bar.register, 4, bar.kind, -bar.size & 0xFFFFFFFF)
        super().__init__()

    def add_rom(self, size: int, moved: Moved) -> None:
        """An expansion ROM of `size` bytes (PCI 2.1, 6.2.5.2). To be called before the guest runs."""
        bar = Bar(ROM, size, moved)
        if size < 2048 or size & (size - 1):
            raise ValueError(f"an expansion ROM of {size} bytes: the size must be a power of two, at least 2048")
        self.bars = (*self.bars, bar)
        self._places[ROM] = None
        self.declare(bar.register, 4, 0, -size & 0xFFFFFFFF | 1)
        self.clear()

    def declare(self, register: int, width: int, value: int, writable: int = 0) -> None:
        """A register of `width` bytes with its reset value and the bits that a guest may change."""
        self.initial[register : register + width] = value.to_bytes(width, "little")
        self.writable[register : register + width] = writable.to_bytes(width, "little")

    def clear(self) -> None:
        super().clear()
        self.state.config[:] = self.initial

    def reset(self) -> None:
        """The reset pin: registers as declared, nothing mapped."""
        self.clear()
        self.applied()

    def check(self, registers: dict[str, int], state: PciState) -> None:
        for at, (now, initial, mask) in enumerate(zip(state.config, self.initial, self.writable, strict=True)):
            if (now ^ initial) & ~mask:
                raise ValueError(f"config: register {at:#04x} of {self.name} cannot be {now:#04x}")

    def restored(self) -> None:
        self.applied()

    def applied(self) -> None:
        """Make the outside follow the whole configuration space."""
        self._place()

    def get(self, register: int, width: int) -> int:
        """A register's value, for the device itself."""
        return int.from_bytes(self.state.config[register : register + width], "little")

    def config_read(self, register: int, width: int) -> int:
        """Read configuration space."""
        return self.get(register, width)

    def config_write(self, register: int, width: int, value: int) -> None:
        """Write configuration space: bits that are not writable keep their value."""
        config = self.state.config
        for at in range(register, register + width):
            mask = self.writable[at]
            config[at] = config[at] & ~mask | value & mask
            value >>= 8
        self.written(register, width)

    def written(self, register: int, width: int) -> None:
        """Act on a write that touched `width` bytes from `register`."""
        if register < COMMAND + 2 or 0x10 <= register < 0x28 or 0x30 <= register < 0x34:
            self._place()

    def _place(self) -> None:
        command = self.get(COMMAND, 2)
        for bar in self.bars:
            value = self.get(bar.register, 4) & -bar.size & 0xFFFFFFFF
            end = 0x10000 if bar.io else 0x1_0000_0000
            on = command & (IO_ENABLE if bar.io else MEMORY_ENABLE)
            if bar.number == ROM and not self.state.config[bar.register] & 1:
                on = 0
            self.move(bar.number, f"BAR{bar.number}", bar.moved, value if on and 0 < value <= end - bar.size else None)

    def move(self, key: int, what: str, moved: Moved, place: int | None) -> None:
        """Tell `moved` if the range `key` has a new place. A refused place is logged once and counts as none."""
        before = self._places.get(key)
        if before == place:
            return
        if before is not None:
            moved(None)
        self._places[key] = None
        if place is not None:
            try:
                moved(place)
            except ValueError as error:
                self.unimplemented(f"{what} at {place:#x} ({error})")
            else:
                self._places[key] = place


@dataclass
class BusState:
    address: int = uint(32)
    """The configuration address: enable bit, bus, slot, function, register."""


class PciBus(Device):
    """Bus 0 behind an address register and a data register. A host bridge says where those are."""

    State = BusState
    state: BusState

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[int, PciFunction] = {}

    def add(self, slot: int, function: int, made: PciFunction) -> None:
        """Put a function at slot 0..31, function 0..7 of bus 0. Raises ValueError if the place is taken."""
        devfn = slot << 3 | function
        if not (0 <= slot < 32 and 0 <= function < 8) or devfn in self.functions:
            raise ValueError(f"PCI slot {slot} function {function}: taken or out of range")
        self.functions[devfn] = made

    def _target(self) -> PciFunction | None:
        address = self.state.address
        if not address & 0x80000000 or address >> 16 & 0xFF:
            return None
        return self.functions.get(address >> 8 & 0xFF)

    def read_data(self, offset: int, width: int) -> int:
        """The addressed register; all ones where there is no function."""
        target = self._target()
        if target is None:
            return (1 << (8 * width)) - 1
        return target.config_read(self.state.address & 0xFC | offset, width)

    def write_data(self, offset: int, width: int, value: int) -> None:
        """The addressed register."""
        target = self._target()
        if target is not None:
            target.config_write(self.state.address & 0xFC | offset, width, value)


@dataclass
class HostState(BusState):
    reset_control: int = uint(8)


@device("pci-host", "PCI configuration mechanism 1")
class PciHost(PciBus):
    """Ports CF8h-CFBh go to `read_address`/`write_address`, CFCh-CFFh to `read_data`/`write_data` (max_width=4 each).

    `reset_line` is pulsed by the reset control register.
    """

    State = HostState
    state: HostState

    def __init__(self, *, reset_line: Line) -> None:
        super().__init__()
        self.reset_line = reset_line

    def read_address(self, offset: int, width: int) -> int:
        """CF8h as a double word; CF9h as a byte is the reset control register."""
        if width == 4 and offset == 0:
            return self.state.address
        if width == 1 and offset == 1:
            return self.state.reset_control
        return (1 << (8 * width)) - 1

    def write_address(self, offset: int, width: int, value: int) -> None:
        """Only whole double words set the address (PCI 2.1, 3.2.2.3.2)."""
        if width == 4 and offset == 0:
            self.state.address = value & 0x80FFFFFC
        elif width == 1 and offset == 1:
            rising = value & ~self.state.reset_control & 0x04
            self.state.reset_control = value & 0x06
            if rising:
                self.state.reset_control = 0
                self.reset_line.set(True)
                self.reset_line.set(False)


# Ranges that PAM0 to PAM6 (59h-5Fh) speak of: (address, size, register, shift).
SHADOWS = (
    (0xF0000, 0x10000, 0x59, 4),
    *((0xC0000 + 0x4000 * n, 0x4000, 0x5A + n // 2, 4 * (n & 1)) for n in range(12)),
)


@device("i440fx", "82441FX host bridge")
class I440fx(PciFunction):
    """00.0. `shadow(address, size, read, write)` hears of each range of C0000h-FFFFFh whose PAM bits change."""

    product = 0x1237
    revision = 2
    class_code = 0x060000

    def __init__(self, *, shadow: Shadow | None = None) -> None:
        self._shadow = shadow
        self._seen = [0] * len(SHADOWS)
        super().__init__()
        for register in range(0x50, 0x60):
            self.declare(register, 1, 0x00, 0xFF)
        for register in range(0x59, 0x60):
            self.declare(register, 1, 0x00, 0x33 if register > 0x59 else 0x30)
        self.declare(0x57, 1, 0x01, 0xFF)
        for register in range(0x60, 0x68):  # row boundaries
            self.declare(register, 1, 0x00, 0xFF)
        self.declare(0x72, 1, 0x02, 0x7F)
        self.clear()

    def applied(self) -> None:
        super().applied()
        self._tell()

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register < 0x60 and register + width > 0x59:
            self._tell()

    def _tell(self) -> None:
        for n, (address, size, register, shift) in enumerate(SHADOWS):
            bits = self.state.config[register] >> shift & 3
            if bits != self._seen[n]:
                self._seen[n] = bits
                if self._shadow is not None:
                    self._shadow(address, size, bool(bits & 1), bool(bits & 2))


@dataclass
class IsaState(PciState):
    links: list[int] = uints(LINKS, 32)
    """For each PIRQ link a bit for each source that asserts it."""


@device("piix3-isa", "82371SB PCI-to-ISA bridge")
class Piix3Isa(PciFunction):
    """01.0. Routes the four PIRQ links to ISA interrupts; `irq_source(n)` makes a new source of interrupt n."""

    State = IsaState
    state: IsaState

    product = 0x7000
    class_code = 0x060100
    many = True
    status = 0x0200

    ROUTABLE = (3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15)

    def __init__(self, *, irq_source: Callable[[int], Line]) -> None:
        super().__init__()
        self.declare(COMMAND, 2, 0x0007)
        self.declare(0x4C, 1, 0x4D, 0xFF)
        self.declare(0x4E, 2, 0x0003, 0x07FF)
        for link in range(LINKS):
            self.declare(0x60 + link, 1, 0x80, 0x8F)
        self.declare(0x69, 1, 0x02, 0xFE)
        self.declare(0x70, 1, 0x80, 0x8F)
        self.declare(0x76, 2, 0x0C0C, 0x8F8F)
        self.declare(0x78, 2, 0x0002, 0xFFFF)
        for register in (0xA0, 0xA2, 0xA8, 0xAA):
            self.declare(register, 2, 0, 0xFFFF)
        self.declare(0xA0, 1, 0x08, 0x1F)
        self.declare(0xA8, 1, 0x0F, 0xFF)
        self.clear()
        self._sources = [0] * LINKS
        self._high: set[int] = set()
        """The interrupts that are driven: only those that change are told, as a card may ask for many."""
        self._irqs = {irq: irq_source(irq) for irq in self.ROUTABLE}

    def link(self, slot: int, pin: int) -> Line:
        """A new source for interrupt pin 1..4 of a slot. Raises ValueError for the 33rd on one link."""
        link = link_of(slot, pin)
        if self._sources[link] == 32:
            raise ValueError(f"PIRQ link {link} has 32 sources")
        bit = 1 << self._sources[link]
        self._sources[link] += 1
        return Wire(partial(self._drive, link, bit))

    def _drive(self, link: int, bit: int, level: bool) -> None:
        links = self.state.links
        links[link] = links[link] | bit if level else links[link] & ~bit
        self._route()

    def reset(self) -> None:
        links = self.state.links
        super().reset()
        self.state.links = links  # the sources drive their own levels at their reset
        self._high = self._wanted()
        for irq, line in self._irqs.items():
            line.set(irq in self._high)

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register < 0x64 and register + width > 0x60:
            self._route()

    def restored(self) -> None:
        super().restored()
        self._high = self._wanted()

    def _wanted(self) -> set[int]:
        state = self.state
        routes = state.config[0x60 : 0x60 + LINKS]
        wanted = {route & 0x0F for route, asked in zip(routes, state.links, strict=True) if asked and not route & 0x80}
        return wanted & self._irqs.keys()

    def _route(self) -> None:
        high = self._wanted()
        changed, self._high = high ^ self._high, high
        for irq in sorted(changed):
            self._irqs[irq].set(irq in high)


@device("piix3-ide", "82371SB IDE function")
class Piix3Ide(PciFunction):
    """01.1. Both channels in compatibility mode, bus-master registers behind BAR4 (16 ports): `bus_master` is told."""

    product = 0x7010
    class_code = 0x010180
    status = 0x0280

    def __init__(self, *, bus_master: Moved, mastering: Callable[[], None] = lambda: None) -> None:
        """`mastering` is called when the function may master the bus from now on."""
        self._mastering = mastering
        super().__init__((Bar(4, 16, bus_master, io=True),))
        for register in (0x40, 0x42):  # IDETIM; bit 15 is set by firmware and enables the channel for drivers
            self.declare(register, 2, 0, 0xF3FF)
        self.declare(0x44, 1, 0, 0xFF)
        self.clear()

    @property
    def masters(self) -> bool:
        """The function may master the bus."""
        return bool(self.state.config[COMMAND] & MASTER_ENABLE)

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register <= COMMAND < register + width and self.masters:
            self._mastering()


@device("piix4-pm", "82371AB power management function")
class Piix4Pm(PciFunction):
    """01.3. `moved` is told the base of the 64 power-management ports (PMBASE), `smbus_moved` of the 16 SMBus ports.

    Revision 3: drivers distrust the timer of the earlier ones.
    """

    product = 0x7113
    revision = 3
    class_code = 0x068000
    status = 0x0280
    pin = 1

    def __init__(self, *, moved: Moved, smbus_moved: Moved | None = None) -> None:
        self._moved = moved
        self._smbus_moved = smbus_moved
        super().__init__()
        self.declare(0x40, 4, 0x0001, 0xFFC0)
        for register in range(0x44, 0x80, 4):
            self.declare(register, 4, 0, 0xFFFFFFFF)
        # APMC_EN of DEVACTB: there is no SMM, and firmware that finds it enabled takes it as set up already.
        self.declare(0x5B, 1, 0x02, 0xFF)
        self.declare(0x5F, 1, 0x10, 0x00)
        self.declare(0x63, 1, 0x60, 0xFF)
        self.declare(0x80, 1, 0x00, 0x01)
        self.declare(0x90, 4, 0x0001, 0xFFF0)
        self.declare(0xD2, 1, 0x00, 0x0F)
        for register in range(0xD3, 0xD6):
            self.declare(register, 1, 0x00, 0xFF)
        self.clear()

    def applied(self) -> None:
        super().applied()
        self._place_ports()

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register >= 0x40:
            self._place_ports()

    def _place_ports(self) -> None:
        base = self.get(0x40, 2) & 0xFFC0
        self.move(0x40, "PMBASE", self._moved, base if base and self.state.config[0x80] & 1 else None)
        if self._smbus_moved is not None:
            base = self.get(0x90, 2) & 0xFFF0
            self.move(0x90, "SMBBA", self._smbus_moved, base if base and self.state.config[0xD2] & 1 else None)
