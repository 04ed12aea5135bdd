"""What every PCI card needs beside its registers: a slot's wires, the interrupt pin, capabilities, MSI-X.

A board gives a card a `PciSlot`; `emu.plug` makes one. A card subclasses `PciCard`, and so does not know whether PCI is
behind translating windows, in which byte order the processor sees it, or which controller its interrupts reach:

    class Thing(PciCard):
        vendor, product, class_code, pin = 0x1234, 0x11E8, 0xFF0000, 1
        def __init__(self, *, slot):
            registers = slot.range(0x1000, self.read, self.write, name="thing")
            super().__init__(slot, (Bar(0, 0x1000, registers),))
            slot.memory.read(0x1000, 16)                # DMA
            self.interrupt(True)                        # the INTx pin

PCI Local Bus Specification 3.0, 6.2.4 (interrupt pin), 6.7 (capabilities), 6.8.2 (MSI-X), 2.2.6 (interrupt disable).
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from devices.contracts import GuestMemory, Line, OpenLine
from devices.pci import COMMAND, STATUS, Bar, Moved, PciFunction, PciState
from devices.state import flag, octets, uint

BUS_MASTER, INTX_DISABLE = 0x0004, 0x0400
INTERRUPT_STATUS, HAS_CAPABILITIES = 0x0008, 0x0010
CAPABILITIES = 0x34
FIRST_CAPABILITY = 0x40
MSIX = 0x11
MSIX_ENABLE, MSIX_MASK_ALL = 0x8000, 0x4000
ENTRY = 16
PENDING_AT = 0x800
MSIX_BAR_SIZE = 0x1000
MOST_VECTORS = PENDING_AT // ENTRY

Read = Callable[[int, int], int]
Write = Callable[[int, int, int], None]


class SlotMemory(GuestMemory, Protocol):
    """Memory as a card reaches it."""

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        """Whether all of a range can be read, or written, as memory."""


class PciSlot(Protocol):
    """What a board's slot has for a card."""

    @property
    def memory(self) -> SlotMemory:
        """DMA, by PCI addresses."""

    @property
    def physical(self) -> SlotMemory:
        """DMA by the processor's physical addresses, for drivers that do not ask what a PCI address is."""

    @property
    def big_endian(self) -> bool:
        """The processor's byte order, for what depends on it (legacy virtio). Registers never do."""

    @property
    def message(self) -> Callable[[int, int], None] | None:
        """Delivers a message signalled interrupt, (PCI address, 32-bit value); None where the board has none."""

    @property
    def vector(self) -> Callable[[int, int], int | None] | None:
        """Tells the processor's vector of a message, None if it has none; None where nobody can tell."""

    def irq(self, pin: int) -> Line:
        """The line of interrupt pin 1 (INTA) to 4; a new source each time."""

    def range(
        self, size: int, read: Read, write: Write, *, io: bool = False, max_width: int = 4, name: str = ""
    ) -> Moved:
        """For a `Bar`: maps `size` bytes wherever the guest moves them. Values are little-endian."""


class EmptySlot:
    """A slot on no board, for tests: `ranges` are where the guest moved them, by name."""

    big_endian = False
    vector: Callable[[int, int], int | None] | None = None

    def __init__(self, memory: Any, message: Callable[[int, int], None] | None = None) -> None:
        self.memory = self.physical = memory
        self.message = message
        self.ranges: dict[str, int | None] = {}
        self.line: Line = OpenLine()

    def irq(self, pin: int) -> Line:
        """One line for all pins."""
        return self.line

    def range(
        self, size: int, read: Read, write: Write, *, io: bool = False, max_width: int = 4, name: str = ""
    ) -> Moved:
        """Keeps the place in `ranges`."""

        def moved(place: int | None) -> None:
            self.ranges[name] = place

        return moved


@dataclass
class CardState(PciState):
    asserted: bool = flag()
    """The card drives its interrupt pin, whether or not the command register lets it."""
    table: bytearray = octets(MOST_VECTORS * ENTRY, MOST_VECTORS * ENTRY)
    """MSI-X table."""
    pending: int = uint(MOST_VECTORS)


class PciCard(PciFunction):
    """A function in a slot. `vectors` MSI-X vectors, in BAR `msix_bar`, are there if the slot delivers messages."""

    State: ClassVar[type[Any]] = CardState
    pin = 1
    state: Any

    def __init__(self, slot: PciSlot, bars: Sequence[Bar] = (), *, vectors: int = 0, msix_bar: int = 1) -> None:
        if not 0 <= vectors <= MOST_VECTORS:
            raise ValueError(f"{self.name}: {vectors} MSI-X vectors, at most {MOST_VECTORS}")
        self.slot = slot
        self.vectors = vectors if slot.message is not None else 0
        self._deliver = slot.message
        self._msix_at = 0
        self._msix_control = 0
        self._capability_end = FIRST_CAPABILITY
        self._line: Line = slot.irq(self.pin) if self.pin else OpenLine()
        self._level = False
        if self.vectors:
            place = slot.range(MSIX_BAR_SIZE, self._read_msix, self._write_msix, name=f"{self.name} msi-x")
            bars = (*bars, Bar(msix_bar, MSIX_BAR_SIZE, place))
        super().__init__(bars)
        self.declare(0x0C, 2, 0, 0xFFFF)  # cache line size, latency timer
        if self.vectors:
            body = (self.vectors - 1).to_bytes(2, "little") + msix_bar.to_bytes(4, "little")
            body += (PENDING_AT | msix_bar).to_bytes(4, "little")
            self._msix_at = self.capability(MSIX, body, b"\x00\xc0")
        self.clear()

    def capability(self, identity: int, body: bytes, writable: bytes = b"") -> int:
        """Add a capability with what follows its first two bytes; `writable` masks the first of these. Gives its
        register. To be called before the guest runs, and followed by `clear`."""
        at = self._capability_end
        if at + 2 + len(body) > 256:
            raise ValueError(f"{self.name}: no room for capability {identity:#x}")
        # The list: the newest first.
        head = self.initial[CAPABILITIES] if self.initial[STATUS] & HAS_CAPABILITIES else 0
        self.initial[at : at + 2 + len(body)] = bytes((identity, head)) + body
        self.writable[at + 2 : at + 2 + len(writable)] = writable
        self.initial[CAPABILITIES] = at
        self.initial[STATUS] |= HAS_CAPABILITIES
        self._capability_end = at + 2 + len(body) + 3 & ~3
        return at

    def set_rom(self, image: bytes) -> None:
        """Give the card an option ROM, which firmware finds behind its base address. Before the guest runs."""
        size = max(2048, 1 << (len(image) - 1).bit_length())
        image = image.ljust(size, b"\xff")

        def read(offset: int, width: int) -> int:
            return int.from_bytes(image[offset : offset + width], "little")

        def write(offset: int, width: int, value: int) -> None:
            """ROM."""

        self.add_rom(size, self.slot.range(size, read, write, name=f"{self.name} rom"))

    # -- the pin

    def interrupt(self, level: bool) -> None:
        """Drive the interrupt pin."""
        if self.state.asserted != level:
            self.state.asserted = level
            self._drive()

    def _drive(self) -> None:
        config = self.state.config
        asserted = self.state.asserted
        config[STATUS] = config[STATUS] & ~INTERRUPT_STATUS | (INTERRUPT_STATUS if asserted else 0)
        level = asserted and not config[COMMAND + 1] & INTX_DISABLE >> 8
        if level != self._level:
            self._level = level
            self._line.set(level)

    @property
    def master(self) -> bool:
        """The guest lets the card do DMA."""
        return bool(self.state.config[COMMAND] & BUS_MASTER)

    # -- messages

    @property
    def msix(self) -> bool:
        """The guest has switched to MSI-X: the pin is no longer used."""
        return bool(self._msix_control & MSIX_ENABLE)

    def deliverable(self, vector: int) -> bool:
        """Whether a vector would be sent at once."""
        if vector >= self.vectors or self._msix_control & (MSIX_ENABLE | MSIX_MASK_ALL) != MSIX_ENABLE:
            return False
        return not self.state.table[ENTRY * vector + 12] & 1

    def message_of(self, vector: int) -> tuple[int, int]:
        """Address and value of a vector's message."""
        entry = self.state.table[ENTRY * vector : ENTRY * vector + 12]
        return int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:], "little")

    def send(self, vector: int) -> None:
        """Signal an MSI-X vector; a masked one stays pending."""
        if vector >= self.vectors or not self._msix_control & MSIX_ENABLE:
            return
        table = self.state.table
        at = ENTRY * vector
        if table[at + 12] & 1 or self._msix_control & MSIX_MASK_ALL:
            self.state.pending |= 1 << vector
        elif self._deliver is not None and self.state.config[COMMAND] & BUS_MASTER:
            self._deliver(
                int.from_bytes(table[at : at + 8], "little"), int.from_bytes(table[at + 8 : at + 12], "little")
            )

    def _deliver_pending(self) -> None:
        pending = self.state.pending
        while pending and self._msix_control & MSIX_ENABLE:
            vector = (pending & -pending).bit_length() - 1
            pending &= pending - 1
            if not self._msix_control & MSIX_MASK_ALL and not self.state.table[ENTRY * vector + 12] & 1:
                self.state.pending &= ~(1 << vector)
                self.send(vector)

    def _read_msix(self, offset: int, width: int) -> int:
        if offset < ENTRY * self.vectors:
            return int.from_bytes(self.state.table[offset : offset + width], "little")
        if PENDING_AT <= offset < PENDING_AT + MOST_VECTORS // 8:
            pending: int = self.state.pending
            return pending >> 8 * (offset - PENDING_AT) & (1 << 8 * width) - 1
        return 0

    def _write_msix(self, offset: int, width: int, value: int) -> None:
        if offset >= ENTRY * self.vectors:
            return
        if offset & 12 == 12:
            value &= 1 if not offset & 3 else 0
        self.state.table[offset : offset + width] = value.to_bytes(width, "little")
        if offset & 12 == 12 and self.state.pending:
            self._deliver_pending()

    # -- life

    def clear(self) -> None:
        super().clear()
        for vector in range(self.vectors):
            self.state.table[ENTRY * vector + 12] = 1  # masked

    def reset(self) -> None:
        super().reset()
        self._drive()

    def check(self, registers: dict[str, int], state: Any) -> None:
        writable = self.writable[STATUS]
        self.writable[STATUS] |= INTERRUPT_STATUS
        try:
            super().check(registers, state)
        finally:
            self.writable[STATUS] = writable

    def applied(self) -> None:
        super().applied()
        self._follow_control()
        self._level = bool(self.state.asserted and not self.state.config[COMMAND + 1] & INTX_DISABLE >> 8)

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register <= COMMAND + 1 < register + width:
            self._drive()
        if self._msix_at and register < self._msix_at + 4 and register + width > self._msix_at:
            self._follow_control()
            if self.state.pending:
                self._deliver_pending()

    def _follow_control(self) -> None:
        self._msix_control = self.get(self._msix_at + 2, 2) if self._msix_at else 0
