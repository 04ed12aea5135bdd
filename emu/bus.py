"""The bus: which device answers at which port and which physical address.

The processor comes here for everything that is not RAM or ROM. This one place owns widths, alignment, range edges and
the guard against re-entrancy, so that a device only ever sees an access it declared:

  access                                    | done as
  ------------------------------------------+-------------------------------------------------------
  naturally aligned, width <= max_width     | one call
  naturally aligned, width > max_width      | calls of max_width, lowest address first
  misaligned                                | bytes, lowest address first
  partly outside the range                  | each byte goes to whoever owns it
  nobody there                              | reads all ones, writes dropped; named once (`-d unimp`)

On a big-endian bus the lowest address has the most significant byte of such parts. DCRs are a second address space of
whole words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from emu.errors import DeviceError
from emu.memory import FOUR_GIB, Kind

if TYPE_CHECKING:
    from emu.memory import GuestRam

T = TypeVar("T")
Read = Callable[[int, int], int]
Write = Callable[[int, int, int], None]

UNIMP = logging.getLogger("emu.unimp")
IO = logging.getLogger("emu.io")

PULSE = 64

MASK = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}


class Mapping:
    """One mapped range. `remove` takes it off the bus (a moved PCI base address)."""

    __slots__ = (
        "_drop", "base", "max_width", "name", "over", "read", "read_block", "room", "size", "write", "write_block",
    )  # fmt: skip

    def __init__(
        self,
        base: int,
        size: int,
        read: Read,
        write: Write,
        max_width: int,
        name: str,
        over: bool,
        drop: Callable[[Mapping], None],
    ) -> None:
        self.base = base
        self.size = size
        self.read = read
        self.write = write
        self.max_width = max_width
        self.name = name
        self.over = over
        self._drop = drop
        self.read_block: Callable[[int], bytes] | None = None
        self.write_block: Callable[[bytes], None] | None = None
        self.room: Callable[[], int] | None = None

    def remove(self) -> None:
        """Take the range off the bus. Removing it twice is harmless."""
        self._drop(self)


class _Space:
    """One address space: a table from unit (port, or 4 KiB page) to the mappings in it."""

    def __init__(self, what: str, shift: int, limit: int) -> None:
        self.what = what
        self.shift = shift
        self.limit = limit
        self.mappings: list[Mapping] = []
        self.table: dict[int, tuple[Mapping, ...]] = {}

    def units(self, mapping: Mapping) -> range:
        return range(mapping.base >> self.shift, ((mapping.base + mapping.size - 1) >> self.shift) + 1)

    def add(
        self, base: int, size: int, read: Read, write: Write, max_width: int, name: str, over: bool = False
    ) -> Mapping:
        if size <= 0 or base < 0 or base + size > self.limit:
            raise ValueError(f"{name}: {self.what} {base:#x}+{size:#x} is outside the address space")
        if max_width not in MASK:
            raise ValueError(f"{name}: max_width {max_width} is not 1, 2, 4 or 8")
        for other in self.mappings:
            if over == other.over and base < other.base + other.size and other.base < base + size:
                raise ValueError(
                    f"{name}: {self.what} {base:#x}+{size:#x} overlaps {other.name} at {other.base:#x}+{other.size:#x}"
                )
        mapping = Mapping(base, size, read, write, max_width, name, over, self.drop)
        self.mappings.append(mapping)
        for unit in self.units(mapping):
            others = self.table.get(unit, ())
            self.table[unit] = (mapping, *others) if over else (*others, mapping)
        return mapping

    def drop(self, mapping: Mapping) -> None:
        if mapping not in self.mappings:
            return
        self.mappings.remove(mapping)
        for unit in self.units(mapping):
            rest = tuple(m for m in self.table[unit] if m is not mapping)
            if rest:
                self.table[unit] = rest
            else:
                del self.table[unit]

    def find(self, address: int) -> Mapping | None:
        for mapping in self.table.get(address >> self.shift, ()):
            if mapping.base <= address < mapping.base + mapping.size:
                return mapping
        return None


class Bus:
    """Ports and memory-mapped devices of one machine. `ram` serves `phys_read` and `phys_write` only."""

    def __init__(self, ram: GuestRam | None = None, *, space: int = FOUR_GIB, big_endian: bool = False) -> None:
        self._ram = ram
        self._ports = _Space("ports", 0, 0x10000)
        self._mmio = _Space("memory", 12, space)
        self._big = big_endian
        self.dcrs = Dcrs(self)
        self._named: set[tuple[str, int]] = set()
        self._busy: str | None = None
        self._accesses = PULSE
        self.on_pulse: Callable[[], None] | None = None
        """Called before every `PULSE`th access: each may take long, and nobody else looks at the wall meanwhile."""
        self.acknowledge: Callable[[], int] | None = None
        """Who gives the vector when the processor takes INTR."""
        self.watched = False
        """Somebody wants to see every access, so no device may promise the processor what it would read."""
        self.apic_base: Callable[[int], None] | None = None
        self.tsc_deadline: Callable[[int | None], None] | None = None
        """Told each value the processor's APIC base register (MSR 1Bh) takes."""
        self.on_missing: Callable[[int, int], None] | None = None
        """Called with (physical address, width) each time an access finds nobody: a board may raise a machine check."""

    # -- mapping

    def map_ports(
        self,
        base: int,
        count: int,
        read: Read,
        write: Write,
        *,
        max_width: int = 1,
        name: str = "device",
        over: bool = False,
    ) -> Mapping:
        """Let `read(offset, width)` and `write(offset, width, value)` answer for `count` ports at `base`.

        Raises ValueError for an overlap or a range outside the 64 Ki ports. For a data port at `base` the mapping's
        `read_block(nbytes)`, `write_block(data)` and `room()` may be set: string I/O then moves whole buffers, but no
        more than the `room()` bytes before the device does something, so that this happens at its exact time.
        With `over` the range hides what else is there, and only another such range overlaps it.
        """
        return self._ports.add(base, count, read, write, max_width, name, over)

    def map_mmio(
        self,
        base: int,
        size: int,
        read: Read,
        write: Write,
        *,
        max_width: int = 4,
        name: str = "device",
        swap: bool = False,
    ) -> Mapping:
        """The same for `size` bytes of physical memory. Raises ValueError for an overlap or beyond the space.

        `swap`: the device is of the other byte order than the bus, as PCI behind a PowerPC's bridge.
        """
        if swap:
            read, write = _swapped_read(read), _swapped_write(write)
        return self._mmio.add(base, size, read, write, max_width, name)

    def map_dcrs(
        self,
        base: int,
        count: int,
        read: Callable[[int], int],
        write: Callable[[int, int], None],
        *,
        name: str = "device",
    ) -> Mapping:
        """Let `read(offset)` and `write(offset, value)` answer for `count` device control registers (32 bits each).

        Raises ValueError for an overlap or a number beyond 3FFh.
        """
        return self.dcrs.space.add(
            base, count, lambda offset, width: read(offset), lambda offset, width, value: write(offset, value), 4, name
        )

    def ignore(self, ports: range, why: str) -> Mapping:
        """Say that deliberately nobody answers at `ports`: reads give all ones, writes are dropped, no log line."""
        return self.map_ports(ports.start, len(ports), _ones, _drop, max_width=4, name=why)

    def ignore_mmio(self, base: int, size: int, why: str) -> Mapping:
        """The same for physical memory."""
        return self.map_mmio(base, size, _ones, _drop, max_width=4, name=why)

    def find(self, space: str, address: int) -> Mapping | None:
        """Who answers at an address of the space "ports", "memory" or "dcrs"."""
        return {"ports": self._ports, "memory": self._mmio, "dcrs": self.dcrs.space}[space].find(address)

    def mappings(self, space: str) -> list[Mapping]:
        """Everybody who answers in the space "ports", "memory" or "dcrs", by address."""
        found = {"ports": self._ports, "memory": self._mmio, "dcrs": self.dcrs.space}[space].mappings
        return sorted(found, key=lambda mapping: mapping.base)

    def map_lines(self) -> list[str]:
        """The maps as text, one line a range, sorted."""
        lines = []
        for space, digits in (
            (self._ports, 4),
            (self.dcrs.space, 3),
            (self._mmio, 8 if self._mmio.limit == FOUR_GIB else 9),
        ):
            for m in sorted(space.mappings, key=lambda m: m.base):
                lines.append(f"{space.what:6} {m.base:0{digits}x}-{m.base + m.size - 1:0{digits}x} {m.name}")
        return lines

    # -- accesses, called by the processor

    def port_read(self, port: int, width: int) -> int:
        """IN: `width` is 1, 2 or 4 bytes; all ones where nobody answers."""
        found = self._ports.table.get(port)
        if found is not None and self._busy is None and self._accesses > 0:
            mapping = found[0]
            offset = port - mapping.base
            if width <= mapping.max_width and not port & (width - 1) and offset + width <= mapping.size:
                self._accesses -= 1
                return self._call_read(mapping, offset, width)
        return self._read(self._ports, port, width)

    def port_write(self, port: int, width: int, value: int) -> None:
        """OUT: bits of `value` above the width are ignored."""
        found = self._ports.table.get(port)
        if found is not None and self._busy is None and self._accesses > 0:
            mapping = found[0]
            offset = port - mapping.base
            if width <= mapping.max_width and not port & (width - 1) and offset + width <= mapping.size:
                self._accesses -= 1
                self._call_write(mapping, offset, width, value & MASK[width])
                return
        self._write(self._ports, port, width, value)

    def port_block_count(self, port: int, width: int, count: int) -> int:
        """How many of `count` accesses to a data port may be done at once; 0 if they have to be done one by one."""
        mapping = self._ports.find(port)
        if mapping is None or mapping.room is None or port != mapping.base or width > mapping.max_width:
            return 0
        return min(count, mapping.room() // width)

    def port_read_block(self, port: int, width: int, count: int) -> bytes:
        """What `count` reads of a data port would give (REP INS); empty if the port has to be read one by one."""
        mapping = self._ports.find(port)
        if mapping is None or mapping.read_block is None or port != mapping.base or width > mapping.max_width:
            return b""
        data = self._guarded(mapping, "block read", lambda: mapping.read_block and mapping.read_block(count * width))
        return data or b""

    def port_write_block(self, port: int, width: int, data: bytes) -> int:
        """Write a buffer to a data port (REP OUTS). Returns how many writes that was, 0 if it has to be one by one."""
        mapping = self._ports.find(port)
        if mapping is None or mapping.write_block is None or port != mapping.base or width > mapping.max_width:
            return 0
        self._guarded(mapping, "block write", lambda: mapping.write_block and mapping.write_block(data))
        return len(data) // width

    def mmio_read(self, paddr: int, width: int) -> int:
        """A load from a physical address that no RAM or ROM region holds."""
        return self._read(self._mmio, paddr, width)

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        """A store to a physical address that no RAM or ROM region holds."""
        self._write(self._mmio, paddr, width, value)

    def interrupt_acknowledge(self) -> int:
        """The vector (0..255) of the interrupt that INTR announces."""
        if self.acknowledge is None:
            return 0xFF
        try:
            return self.acknowledge() & 0xFF
        except Exception as error:
            raise DeviceError(f"interrupt acknowledge: {type(error).__name__}: {error}") from error

    def _pulse(self) -> None:
        self._accesses = PULSE
        if self.on_pulse is not None:
            self.on_pulse()

    def _read(self, space: _Space, address: int, width: int) -> int:
        self._accesses -= 1
        if self._accesses < 0:
            self._pulse()
        mapping = space.find(address)
        if mapping is not None and width <= mapping.max_width and not address & (width - 1):
            offset = address - mapping.base
            if offset + width <= mapping.size:
                return self._call_read(mapping, offset, width)
        if mapping is None and self._is_hole(space, address, width):
            return MASK[width]
        part = _part(mapping, address, width)
        value = 0
        for i in range(0, width, part):
            where = (address + i) % space.limit
            owner = space.find(where)
            if owner is None:
                self._missing(space, where, "read")
                value |= MASK[part] << self._shift(i, part, width)
            else:
                value |= self._call_read(owner, where - owner.base, part) << self._shift(i, part, width)
        return value

    def _write(self, space: _Space, address: int, width: int, value: int) -> None:
        self._accesses -= 1
        if self._accesses < 0:
            self._pulse()
        value &= MASK[width]
        mapping = space.find(address)
        if mapping is not None and width <= mapping.max_width and not address & (width - 1):
            offset = address - mapping.base
            if offset + width <= mapping.size:
                self._call_write(mapping, offset, width, value)
                return
        if mapping is None and self._is_hole(space, address, width):
            return
        part = _part(mapping, address, width)
        for i in range(0, width, part):
            where = (address + i) % space.limit
            piece = value >> self._shift(i, part, width) & MASK[part]
            owner = space.find(where)
            if owner is None:
                self._missing(space, where, "written")
            else:
                self._call_write(owner, where - owner.base, part, piece)

    def _shift(self, at: int, part: int, width: int) -> int:
        """Where the part at byte `at` of an access stands in its value."""
        return 8 * (width - part - at) if self._big else 8 * at

    def _is_hole(self, space: _Space, address: int, width: int) -> bool:
        """True, and named in the log, if none of the bytes has an owner."""
        if any(space.find((address + i) % space.limit) is not None for i in range(1, width)):
            return False
        self._missing(space, address, "touched", width)
        return True

    def _missing(self, space: _Space, address: int, how: str, width: int = 1) -> None:
        if space is self._mmio and self.on_missing is not None:
            self.on_missing(address, width)
        key = (space.what, address if space is not self._mmio else address >> 12)
        if key not in self._named and len(self._named) < 4096:
            self._named.add(key)
            UNIMP.info("%s %#x: nobody answers (first %s)", space.what, address, how)

    def _guarded(self, mapping: Mapping, what: str, call: Callable[[], T]) -> T:
        if self._busy is not None:
            raise DeviceError(f"{mapping.name}: {what} from inside {self._busy}")
        self._busy = mapping.name
        try:
            return call()
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(f"{mapping.name}: {what}: {type(error).__name__}: {error}") from error
        finally:
            self._busy = None

    def _call_read(self, mapping: Mapping, offset: int, width: int) -> int:
        if self._busy is not None:
            raise DeviceError(f"{mapping.name} was read from inside {self._busy}")
        self._busy = mapping.name
        try:
            return mapping.read(offset, width) & MASK[width]
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{mapping.name}: read of {width} bytes at offset {offset:#x}: {type(error).__name__}: {error}"
            ) from error
        finally:
            self._busy = None

    def _call_write(self, mapping: Mapping, offset: int, width: int, value: int) -> None:
        if self._busy is not None:
            raise DeviceError(f"{mapping.name} was written from inside {self._busy}")
        self._busy = mapping.name
        try:
            mapping.write(offset, width, value)
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{mapping.name}: write of {width} bytes at offset {offset:#x}: {type(error).__name__}: {error}"
            ) from error
        finally:
            self._busy = None

    # -- the whole physical address space, for firmware services and debuggers

    def phys_read(self, paddr: int, length: int) -> bytes:
        """Read physical memory as the processor would, device memory byte by byte."""
        parts = []
        for address, count, region in self._memory().pieces(paddr, length):
            if region is None or region.kind == Kind.MMIO:
                parts.append(bytes(self.mmio_read(address + i, 1) for i in range(count)))
            else:
                start = region.offset + address - region.paddr
                parts.append(bytes(self._memory().view[start : start + count]))
        return b"".join(parts)

    def phys_write(self, paddr: int, data: bytes) -> None:
        """Write physical memory as the processor would; ROM drops it."""
        ram = self._memory()
        done = 0
        for address, count, region in ram.pieces(paddr, len(data)):
            piece = data[done : done + count]
            if region is None or region.kind == Kind.MMIO:
                for i, byte in enumerate(piece):
                    self.mmio_write(address + i, 1, byte)
            elif region.kind != Kind.ROM:
                start = region.offset + address - region.paddr
                ram.view[start : start + count] = piece
                ram.written(address, count)
            done += count

    def _memory(self) -> GuestRam:
        if self._ram is None:
            raise ValueError("this bus has no memory")
        return self._ram


class Dcrs:
    """The device control registers of a bus, as the processor sees them. Where nobody answers, reads give 0."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.space = _Space("DCRs", 0, 0x400)

    def port_read(self, number: int, width: int) -> int:
        """MFDCR."""
        mapping = self.space.find(number)
        if mapping is None:
            self._bus._missing(self.space, number, "read")
            return 0
        return self._bus._call_read(mapping, number - mapping.base, width)

    def port_write(self, number: int, width: int, value: int) -> None:
        """MTDCR."""
        mapping = self.space.find(number)
        if mapping is None:
            self._bus._missing(self.space, number, "written")
        else:
            self._bus._call_write(mapping, number - mapping.base, width, value)


def _swap(value: int, width: int) -> int:
    return int.from_bytes((value & MASK[width]).to_bytes(width, "little"), "big")


def _swapped_read(read: Read) -> Read:
    return lambda offset, width: _swap(read(offset, width), width)


def _swapped_write(write: Write) -> Write:
    return lambda offset, width, value: write(offset, width, _swap(value, width))


def _part(mapping: Mapping | None, address: int, width: int) -> int:
    """The width of the accesses that one which `mapping` does not take whole is split into."""
    if mapping is None or address & (width - 1) or address - mapping.base + width > mapping.size:
        return 1
    return mapping.max_width


def _ones(offset: int, width: int) -> int:
    return MASK[width]


def _drop(offset: int, width: int, value: int) -> None:
    pass
