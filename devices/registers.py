"""Declared registers: a `Bank` is the register table of a manual, written as a class attribute of a device.

    class Thing(Device):
        regs = Bank(8)
        scr = regs.register(7, "SCR")                          # plain storage; self.scr reads and writes it
        mcr = regs.register(4, "MCR", mask=0x1F, fields={"LOOP": 4})

        @regs.on_read(5, "LSR")
        def read_lsr(self) -> int: ...

        @regs.on_write(4, "MCR")                               # replaces the plain store of MCR, not its reading
        def write_mcr(self, value: int) -> None:
            self.mcr = value

        def read(self, offset: int, width: int) -> int:
            return self.regs.read(self, offset, width)

A bank decides nothing about meaning. It masks, resets, splits wide accesses, merges narrow ones, answers all ones
for what is not declared, and names on the `emu.unimp` logger, once, every bit and offset that is not modelled.
The values live in `Device.registers` and are saved and checked with the rest of the device's state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from devices.device import Device

UNIMP = logging.getLogger("emu.unimp")

F = TypeVar("F", bound=Callable[..., Any])
FieldSpec = Mapping[str, "int | tuple[int, int]"]


class Field:
    """Bits high..low of a register, under the manual's name."""

    def __init__(self, name: str, high: int, low: int) -> None:
        if not 0 <= low <= high:
            raise ValueError(f"field {name}: bits {high}..{low}")
        self.name = name
        self.low = low
        self.mask = ((2 << (high - low)) - 1) << low

    def get(self, value: int) -> int:
        """The field of a register value, shifted down."""
        return (value & self.mask) >> self.low

    def put(self, value: int, content: int) -> int:
        """`value` with this field replaced by the low bits of `content`."""
        return (value & ~self.mask) | ((content << self.low) & self.mask)


class Register:
    """One declared register with plain storage, and the attribute through which its device reaches it."""

    def __init__(
        self, offset: int, name: str, width: int, mask: int, reset: int, fields: FieldSpec, unmodelled: int
    ) -> None:
        self.offset = offset
        self.name = name
        self.width = width
        self.mask = mask
        self.reset = reset
        self.unmodelled = unmodelled
        self.limit = (1 << (8 * width)) - 1
        self.fields = {
            key: Field(key, *(bits if isinstance(bits, tuple) else (bits, bits))) for key, bits in fields.items()
        }
        if max(mask, reset, unmodelled) > self.limit or any(f.mask > self.limit for f in self.fields.values()):
            raise ValueError(f"register {name}: wider than {width} bytes")

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Register: ...

    @overload
    def __get__(self, instance: Device, owner: type[Any]) -> int: ...

    def __get__(self, instance: Device | None, owner: type[Any]) -> Register | int:
        if instance is None:
            return self
        return instance.registers[self.name]

    def __set__(self, instance: Device, value: int) -> None:
        instance.registers[self.name] = value & self.limit

    def guest_write(self, device: Device, value: int) -> None:
        """Store what the guest wrote: writable bits change, the others keep their value."""
        device.registers[self.name] = (device.registers[self.name] & ~self.mask) | (value & self.mask)

    def names_of(self, bits: int) -> str:
        """The names of the fields that `bits` touches, or the bits in hexadecimal."""
        named = [f.name for f in self.fields.values() if f.mask & bits]
        return " ".join(named) or f"bits {bits:#x}"


class Bank:
    """The registers in `size` bytes of an address range; each is `width` bytes wide unless it says otherwise.

    `big_endian` decides what the parts of a register are: its byte 0 is then the most significant one. Bytes that are
    not declared read as `absent`.
    """

    def __init__(self, size: int, width: int = 1, *, big_endian: bool = False, absent: int = 0xFF) -> None:
        if size < 1 or width not in (1, 2, 4):
            raise ValueError("a bank needs a size of at least 1 and a register width of 1, 2 or 4")
        self.size = size
        self.width = width
        self.big_endian = big_endian
        self.absent = absent
        self.name = "regs"
        self.registers: dict[int, Register] = {}
        self._widths: dict[int, int] = {}
        self._readers: dict[int, tuple[str, Callable[[Any], int]]] = {}
        self._writers: dict[int, tuple[str, Callable[[Any, int], None]]] = {}
        self._owner: list[int] = [-1] * size

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def _claim(self, offset: int, name: str, width: int) -> None:
        """Give the bytes of a register to `offset`, or refuse an overlap."""
        if not 0 <= offset <= self.size - width:
            raise ValueError(f"register {name} at {offset:#x}: outside the bank of {self.size:#x} bytes")
        if self._widths.setdefault(offset, width) != width:
            raise ValueError(f"register {name} at {offset:#x}: declared with two widths")
        for at in range(offset, offset + width):
            if self._owner[at] not in (-1, offset):
                raise ValueError(f"register {name} at {offset:#x}: overlaps the one at {self._owner[at]:#x}")
            self._owner[at] = offset

    def register(
        self,
        offset: int,
        name: str,
        *,
        mask: int | None = None,
        reset: int = 0,
        fields: FieldSpec | None = None,
        unmodelled: int = 0,
        width: int | None = None,
    ) -> Register:
        """Declare plain storage. A guest may write the bits in `mask` (default all); `unmodelled` ones do nothing."""
        width = width or self.width
        self._claim(offset, name, width)
        if offset in self.registers:
            raise ValueError(f"register {name} at {offset:#x}: {self.registers[offset].name} is already there")
        if any(other.name == name for other in self.registers.values()):
            raise ValueError(f"register {name} at {offset:#x}: the name is already taken")
        mask = (1 << (8 * width)) - 1 if mask is None else mask
        made = Register(offset, name, width, mask, reset, fields or {}, unmodelled)
        self.registers[offset] = made
        return made

    def on_read(self, offset: int, name: str, *, width: int | None = None) -> Callable[[F], F]:
        """Attach a method `(self) -> int` that answers reads of the register at `offset`."""
        self._claim(offset, name, width or self._widths.get(offset, self.width))
        if offset in self._readers:
            raise ValueError(f"register {name} at {offset:#x}: two readers")

        def attach(method: F) -> F:
            self._readers[offset] = (name, method)
            return method

        return attach

    def on_write(self, offset: int, name: str, *, width: int | None = None) -> Callable[[F], F]:
        """Attach a method `(self, value: int) -> None` that takes writes to the register at `offset`."""
        self._claim(offset, name, width or self._widths.get(offset, self.width))
        if offset in self._writers:
            raise ValueError(f"register {name} at {offset:#x}: two writers")

        def attach(method: F) -> F:
            self._writers[offset] = (name, method)
            return method

        return attach

    def reset(self, device: Device) -> None:
        """Give every declared register of `device` its reset value."""
        for reg in self.registers.values():
            device.registers[reg.name] = reg.reset

    def read(self, device: Device, offset: int, width: int) -> int:
        """Read `width` bytes at `offset`: one register, a part of one, or several, in the bank's byte order."""
        if self._widths.get(offset) == width:
            return self._read_one(device, offset)
        value = done = 0
        while done < width:
            at = offset + done
            start = self._owner[at] if 0 <= at < self.size else -1
            if start < 0:
                self._unknown(device, "read of", at)
                step, part = 1, self.absent
            else:
                step = min(start + self._widths[start] - at, width - done)
                part = (self._read_one(device, start) >> self._low_bit(start, at, step)) & ((1 << (8 * step)) - 1)
            value |= part << (8 * (width - done - step) if self.big_endian else 8 * done)
            done += step
        return value

    def _low_bit(self, start: int, at: int, step: int) -> int:
        """The number of the lowest bit of the `step` bytes at `at` in the register at `start`."""
        inside = at - start
        return 8 * (self._widths[start] - inside - step) if self.big_endian else 8 * inside

    def write(self, device: Device, offset: int, width: int, value: int) -> None:
        """Write `width` bytes at `offset`. A part of a register is merged with the rest of its stored value."""
        if self._widths.get(offset) == width:
            self._write_one(device, offset, value)
            return
        done = 0
        while done < width:
            at = offset + done
            start = self._owner[at] if 0 <= at < self.size else -1
            if start < 0:
                self._unknown(device, "write to", at)
                done += 1
                continue
            step = min(start + self._widths[start] - at, width - done)
            reg = self.registers.get(start)
            old = device.registers[reg.name] if reg else 0
            low = self._low_bit(start, at, step)
            hole = ((1 << (8 * step)) - 1) << low
            part = (value >> (8 * (width - done - step) if self.big_endian else 8 * done)) << low
            self._write_one(device, start, (old & ~hole) | (part & hole))
            done += step

    def _read_one(self, device: Device, offset: int) -> int:
        reader = self._readers.get(offset)
        if reader is not None:
            return reader[1](device)
        reg = self.registers.get(offset)
        if reg is not None:
            return device.registers[reg.name]
        return (1 << (8 * self._widths[offset])) - 1

    def _write_one(self, device: Device, offset: int, value: int) -> None:
        reg = self.registers.get(offset)
        if reg is not None:
            touched = (value ^ reg.reset) & reg.unmodelled
            if touched:
                device.unimplemented(f"{reg.name}: {reg.names_of(touched)}")
        writer = self._writers.get(offset)
        if writer is not None:
            writer[1](device, value)
        elif reg is not None:
            reg.guest_write(device, value)

    def _unknown(self, device: Device, what: str, offset: int) -> None:
        device.unimplemented(f"{what} undeclared offset {offset:#x} of {self.name}")
