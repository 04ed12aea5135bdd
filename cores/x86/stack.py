"""The current stack: push and pop with the stack-address size of SS (SDM vol. 1, 6.2; vol. 2, PUSH and POP).

Instructions, far transfers and interrupt delivery use these. A fault leaves ESP as it was.
"""

from __future__ import annotations

from ..lang.trace import Location, Operand, Val, otherwise, procedure, return_, value, when
from . import state as S
from .externs import LIN_W, MEM_R, MEM_W
from .forms import gpr
from .registers import get, put, refuse

SS_B = 14  # the B bit in SEG_ATTR


def size_mask(attr: Val) -> Val:
    """Mask of the stack pointer that goes with a stack segment's attributes: FFFF, or FFFFFFFF if B is set."""
    return -attr.bit(SS_B).zext(32) | 0xFFFF


def stack_mask() -> Val:
    """Mask of the current stack pointer."""
    return size_mask(get(S.SEG_ATTR, S.SS))


def set_stack_pointer(new: Operand, mask: Val) -> None:
    """Write ESP, or SP alone where the mask says so; `new` must lie within the mask."""
    esp = gpr(S.ESP, 32)
    esp.set((esp.read() & ~mask) | value(new, 32))


def push(new: Operand, width: int | None = None) -> None:
    """Push a 16- or 32-bit value (an int needs `width`)."""
    v = value(new, width)
    mask = stack_mask()
    at = (gpr(S.ESP, 32).read() - v.width // 8) & mask
    MEM_W[v.width](S.SS, at, v)
    set_stack_pointer(at, mask)


def peek(width: int, displacement: Operand = 0) -> Val:
    """The value `displacement` bytes above the top of the stack, which stays where it is."""
    at = (gpr(S.ESP, 32).read() + value(displacement, 32)) & stack_mask()
    got: Val = MEM_R[width](S.SS, at)
    return got


def drop(count: Operand) -> None:
    """Raise the stack pointer by `count` bytes."""
    mask = stack_mask()
    set_stack_pointer((gpr(S.ESP, 32).read() + value(count, 32)) & mask, mask)


def pop(width: int) -> Val:
    """Pop a value. ESP changes at once: where something can still fault, use `peek` and `drop` last."""
    got = peek(width)
    drop(width // 8)
    return got


@procedure(8, 32, results=(32,))
def stack_read(size: Val, displacement: Val) -> None:
    """A slot of `size` (2 or 4) bytes at `displacement` above the top of the stack, zero-extended."""
    at = (gpr(S.ESP, 32).read() + displacement) & stack_mask()
    with when(size == 4):
        return_(MEM_R[32](S.SS, at))
    return_(MEM_R[16](S.SS, at).zext(32))


@procedure(8, 32, 32)
def stack_write(size: Val, displacement: Val, new: Val) -> None:
    """Store a slot of `size` (2 or 4) bytes at `displacement` below the top of the stack."""
    at = (gpr(S.ESP, 32).read() - displacement) & stack_mask()
    with when(size == 4):
        MEM_W[32](S.SS, at, new)
    with otherwise():
        MEM_W[16](S.SS, at, new.low(16))


@procedure(32, 16, 32, 32, results=(1,))
def within_limit(limit: Val, attr: Val, offset: Val, size: Val) -> None:
    """Whether `size` bytes at `offset` lie within a segment of this limit; expand-down data counts upside down."""
    last = offset + size - 1
    wraps = last < offset
    with when((attr & 0x1C) == 0x14):
        top = size_mask(attr)
        return_((offset > limit) & (last <= top) & ~wraps)
    # The manual leaves the wrap of a 4-GiB segment open; processors let it pass.
    return_((limit == 0xFFFFFFFF) | ((last <= limit) & ~wraps))


@procedure(32, 32, 16, 32, 8, 32, 32, 1)
def frame_write(base: Val, limit: Val, attr: Val, offset: Val, size: Val, new: Val, error: Val, user: Val) -> None:
    """Store a slot of 2 or 4 bytes on a stack given by its parts; #SS(error) outside its limit."""
    refuse(~within_limit(limit, attr, offset, size.zext(32)), S.SS_, error)
    with when(size == 4):
        LIN_W[32](base + offset, user, new)
    with otherwise():
        LIN_W[16](base + offset, user, new.low(16))


class Frame:
    """Pushes on a stack that is not yet, or not necessarily, the current one. Registers change only in `commit`."""

    def __init__(self, base: Val, limit: Val, attr: Val, esp: Location, size: Val, error: Val, user: Val) -> None:
        self.base, self.limit, self.attr = base, limit, attr
        self.mask = size_mask(attr)
        self.esp = esp  # a variable, or ESP read once
        self.size, self.error, self.user = size, error, user

    def push(self, new: Val) -> None:
        """One slot; the low 16 bits where slots are 16 bits wide."""
        at = (self.esp.read() - self.size.zext(32)) & self.mask
        frame_write(self.base, self.limit, self.attr, at, self.size, new, self.error, self.user)
        self.esp.set((self.esp.read() & ~self.mask) | at)

    def commit(self) -> None:
        """Make the stack pointer reached so far that of the CPU."""
        put(S.GPR, self.esp.read().zext(64), S.ESP)
