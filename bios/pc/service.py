"""How a BIOS function is written: one Python function per call, found by interrupt and AH (or AX).

    @service(0x13, ah=0x02)
    def read_sectors(call: Call) -> Action | None: ...

The interrupt's stub in the ROM (`bios.pc.rom`) executes an OUT to the hook port; `Bios.dispatch` finds the function and
hands it a `Call`: the caller's registers, the flags that IRET will restore, memory and the host. A function that has
nothing to answer yet returns `Action.WAIT`; the stub then halts until an interrupt and asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from bios.pc.bda import Bda
from bios.pc.host import Action, Host
from bios.pc.state import BiosState

Handler = Callable[["Call"], Optional[Action]]  # noqa: UP045 (evaluated at run time)

SERVICES: dict[tuple[int, int | None, int | None], Handler] = {}
HOOKS: dict[str, Handler] = {}

CARRY = 0x0001
ZERO = 0x0040
INTERRUPTS = 0x0200


def service(vector: int, *, ah: int | None = None, al: int | None = None) -> Callable[[Handler], Handler]:
    """Register the function for an interrupt, for one AH or one AX of it; without either, for all that is left."""

    def register(handler: Handler) -> Handler:
        key = (vector, ah, al)
        if key in SERVICES:
            raise ValueError(f"INT {vector:02X}h {ah} {al} has two functions")
        SERVICES[key] = handler
        return handler

    return register


def hook(name: str) -> Callable[[Handler], Handler]:
    """Register the function for a named hook of the ROM that is not a software interrupt's entry."""

    def register(handler: Handler) -> Handler:
        if name in HOOKS:
            raise ValueError(f"hook {name} has two functions")
        HOOKS[name] = handler
        return handler

    return register


def find(vector: int, ah: int, al: int) -> Handler | None:
    """The most particular function registered for a software interrupt."""
    return SERVICES.get((vector, ah, al)) or SERVICES.get((vector, ah, None)) or SERVICES.get((vector, None, None))


def idle(call: Call) -> bool:
    """A question whose answer has no news. True if the guest only waits by asking and may as well halt.

    Each call into the BIOS costs the host far more than the few instructions around it cost the guest, so loops that
    ask for a key or for the time would make virtual time crawl. An answer that comes after an interrupt is as good.
    """
    return call.bios.no_news(resumed=call.resumed) and call.caller_interrupts


class _Register:
    """A guest register as an attribute; values are cut to its width."""

    def __init__(self, bits: int) -> None:
        self.mask = (1 << bits) - 1

    def __set_name__(self, owner: type[Call], name: str) -> None:
        self.name = name

    def __get__(self, call: Call, owner: type[Call]) -> int:
        return call.host.reg(self.name)

    def __set__(self, call: Call, value: int) -> None:
        call.host.set_reg(self.name, value & self.mask)


class _Flag:
    """A bit of the FLAGS word that IRET restores."""

    def __init__(self, bit: int) -> None:
        self.bit = bit

    def __get__(self, call: Call, owner: type[Call]) -> bool:
        return bool(call.flags & self.bit)

    def __set__(self, call: Call, value: bool) -> None:
        flags = call.flags
        call.flags = flags | self.bit if value else flags & ~self.bit


class Call:
    """One call from the guest into the BIOS.

    Attributes:
        bios: the firmware, for what must outlive the call.
        host: the machine.
        bda: the BIOS data area at linear 400h.
        resumed: the stub's halt loop is asking again after `Action.WAIT`.
        wait_at: offset in the ROM of this stub's halt loop.
    """

    eax, ebx, ecx, edx = _Register(32), _Register(32), _Register(32), _Register(32)
    esi, edi, ebp, esp = _Register(32), _Register(32), _Register(32), _Register(32)
    ax, bx, cx, dx, si, di, bp = (_Register(16) for _ in range(7))
    al, ah, bl, bh, cl, ch, dl, dh = (_Register(8) for _ in range(8))
    cs, ds, es, fs, gs, ss = (_Register(16) for _ in range(6))
    eip = _Register(32)

    carry = _Flag(CARRY)
    zero = _Flag(ZERO)
    caller_interrupts = _Flag(INTERRUPTS)

    def __init__(self, bios: BiosState, vector: int, *, resumed: bool = False, wait_at: int = 0) -> None:
        self.bios = bios
        self.host: Host = bios.host
        self.vector = vector
        self.resumed = resumed
        self.wait_at = wait_at
        self.bda = Bda(bios.host)

    @property
    def frame(self) -> int:
        """Linear address of the interrupt frame: IP, CS, FLAGS."""
        return self.host.reg("ss.base") + (self.host.reg("esp") & 0xFFFF)

    @property
    def flags(self) -> int:
        """The FLAGS word of the interrupt frame."""
        return self.word(self.frame + 4)

    @flags.setter
    def flags(self, value: int) -> None:
        self.set_word(self.frame + 4, value)

    def address(self, segment: str, offset: int) -> int:
        """Linear address of a 16-bit offset in a segment register."""
        return (self.host.reg(f"{segment}.base") + (offset & 0xFFFF)) & 0xFFFFFFFF

    def read(self, linear: int, length: int) -> bytes:
        return self.host.read_linear(linear & 0xFFFFFFFF, length)

    def write(self, linear: int, data: bytes) -> None:
        self.host.write_linear(linear & 0xFFFFFFFF, data)

    def byte(self, linear: int) -> int:
        return self.read(linear, 1)[0]

    def word(self, linear: int) -> int:
        return int.from_bytes(self.read(linear, 2), "little")

    def dword(self, linear: int) -> int:
        return int.from_bytes(self.read(linear, 4), "little")

    def set_byte(self, linear: int, value: int) -> None:
        self.write(linear, bytes((value & 0xFF,)))

    def set_word(self, linear: int, value: int) -> None:
        self.write(linear, (value & 0xFFFF).to_bytes(2, "little"))

    def set_dword(self, linear: int, value: int) -> None:
        self.write(linear, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def inb(self, port: int) -> int:
        return self.host.port_read(port, 1)

    def outb(self, port: int, value: int) -> None:
        self.host.port_write(port, 1, value & 0xFF)

    def fail(self, status: int) -> None:
        """AH = status, carry set: how most services report an error."""
        self.ah = status
        self.carry = True

    def done(self, ah: int = 0) -> None:
        """AH = 0 (or what is given), carry clear."""
        self.ah = ah
        self.carry = False

    def jump(self, offset: int) -> None:
        """Continue the guest at another place of the ROM code that made this call."""
        self.eip = offset
