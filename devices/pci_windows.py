"""What a host bridge with translating windows needs: where PCI ranges appear to the processor, and DMA the other way.

A PCI function tells where its ranges are in PCI memory or I/O space. `Outbound.range` stands between it and the board,
which is told physical addresses instead, and hears again whenever the bridge moves a window. Nothing is dispatched at
run time: what no window shows is mapped nowhere.

    outbound = Outbound(bridge.unimplemented)
    Bar(0, size, outbound.range(size, moved))          # moved(physical address or None), as on a PC
    inbound = Inbound(memory)                          # the GuestMemory that functions do DMA through
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from devices.contracts import GuestMemory
from devices.pci import Moved


class Window(NamedTuple):
    """`size` bytes of the processor's physical space from `local` are those of PCI space from `pci`."""

    local: int
    pci: int
    size: int
    io: bool = False


class _Range:
    """One range of a function, and who is told where the processor finds it."""

    def __init__(self, size: int, moved: Moved, io: bool) -> None:
        self.size = size
        self.moved = moved
        self.io = io
        self.pci: int | None = None
        self.local: int | None = None


class Outbound:
    """`refused(what)` hears of ranges that the board could not map."""

    def __init__(self, refused: Callable[[str], None]) -> None:
        self._refused = refused
        self._windows: tuple[Window, ...] = ()
        self._ranges: list[_Range] = []

    def range(self, size: int, moved: Moved, *, io: bool = False) -> Moved:
        """A callback for a `Bar` of `size` bytes; `moved` is told the physical address, or None."""
        made = _Range(size, moved, io)
        self._ranges.append(made)

        def place(pci: int | None) -> None:
            made.pci = pci
            self._follow([made])

        return place

    def set(self, windows: Sequence[Window]) -> None:
        """The windows are now these; where two show one address the first counts."""
        if tuple(windows) != self._windows:
            self._windows = tuple(windows)
            self._follow(self._ranges)

    def _follow(self, ranges: Sequence[_Range]) -> None:
        """Tell of every change, all that leave their place before any that enter one."""
        changed = [(r, now) for r in ranges if (now := self._local(r)) != r.local]
        for entry, _ in changed:
            if entry.local is not None:
                entry.moved(None)
                entry.local = None
        for entry, now in changed:
            if now is None:
                continue
            try:
                entry.moved(now)
            except ValueError as error:
                self._refused(f"PCI range at {now:#x} ({error})")
            else:
                entry.local = now

    def _local(self, entry: _Range) -> int | None:
        if entry.pci is None:
            return None
        for window in self._windows:
            inside = entry.pci - window.pci
            if window.io == entry.io and 0 <= inside <= window.size - entry.size:
                return window.local + inside
        return None


class Inbound:
    """Guest memory as PCI sees it: through the windows only. Elsewhere bytes read FFh and writes are dropped.

    `registers(offset, data)` is told of writes to the chip's own registers, while `registers_at` says where in PCI
    memory their `registers_size` bytes are.
    """

    def __init__(self, memory: GuestMemory, registers: Callable[[int, bytes], None] | None = None) -> None:
        self._memory = memory
        self._registers = registers
        self.windows: tuple[Window, ...] = ()
        self.registers_at: int | None = None
        self.registers_size = 0

    def read(self, addr: int, length: int) -> bytes:
        """`length` bytes from PCI address `addr`."""
        out = b""
        while len(out) < length:
            window, size = self._at(addr + len(out), length - len(out))
            if window is None:
                out += b"\xff" * size
            else:
                out += self._memory.read(addr + len(out) - window.pci + window.local, size)
        return out

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        """Whether all of a range is memory behind a window."""
        reaches = getattr(self._memory, "reaches", None)
        while length > 0:
            window, size = self._at(addr, length)
            if window is None or (reaches is not None and not reaches(addr - window.pci + window.local, size, write)):
                return False
            addr, length = addr + size, length - size
        return True

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at PCI address `addr`."""
        base = self.registers_at
        if base is not None and self._registers is not None and 0 <= addr - base <= self.registers_size - len(data):
            self._registers(addr - base, data)
            return
        done = 0
        while done < len(data):
            window, size = self._at(addr + done, len(data) - done)
            if window is not None:
                self._memory.write(addr + done - window.pci + window.local, data[done : done + size])
            done += size

    def _at(self, addr: int, most: int) -> tuple[Window | None, int]:
        """The window that `addr` is in, or None, and for how many bytes up to `most` that holds."""
        for window in self.windows:
            if 0 <= addr - window.pci < window.size:
                return window, min(most, window.pci + window.size - addr)
        later = [window.pci - addr for window in self.windows if window.pci > addr]
        return None, min([most, *later])
