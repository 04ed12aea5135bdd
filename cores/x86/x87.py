"""The x87 unit: data transfer, arithmetic, functions, control (SDM vol. 1 chapter 8, vol. 2 under each mnemonic).

The arithmetic itself, transcendental functions included, is cores/lang/softfloat; here are the stack, its faults,
unmasked responses and the environment. An entry runs in this order: not available or pending exception, memory read,
stack check, operation, exceptions, memory write, registers. A result withheld by an unmasked exception leaves by
`finish_()`; the exception itself is taken by the next waiting instruction.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import (
    Operand,
    RegisterLocation,
    Val,
    Variable,
    concat,
    const,
    fieldvalue,
    finish_,
    otherwise,
    procedure,
    return_,
    select,
    value,
    var,
    when,
)
from . import state as S
from .externs import FLOAT, ferr, mem_probe_w, trap_if, unlikely, x87_unseen
from .flags import VM, condition, write_arith
from .forms import MemOperand, family, gpr, insn

Op = Any  # an operand location; the codes of the encodings say which
Real = tuple[Operand, Operand]  # significand (64 bits), sign and exponent (low 16 of 32 bits)

# Bits of the status word.
IE, DE, ZE, OE, UE, PE, SF = (1 << n for n in range(7))
C0, C1, C2, C3 = 0x100, 0x200, 0x400, 0x4000
UNORDERED = C0 | C2 | C3
ERROR = 0x8080  # ES and B, always equal
NAN_SIG, NAN_SE = 0xC000000000000000, 0xFFFF  # the real indefinite
EXACT = 0x8C  # a control word for operations that never round
BEFORE = IE | DE | ZE  # unmasked, these withhold the result

CR0 = RegisterLocation(S.CR0)
FCTRL = RegisterLocation(S.FCTRL)
FSTAT = RegisterLocation(S.FSTAT)
FTAG = RegisterLocation(S.FTAG)
FIP, FCS, FDP, FDS, FOP = (RegisterLocation(r) for r in (S.FIP, S.FCS, S.FDP, S.FDS, S.FOP))


def sig_of(phys: Operand) -> RegisterLocation:
    """Significand of a physical register."""
    return RegisterLocation(S.FPR_SIG, phys)


def se_of(phys: Operand) -> RegisterLocation:
    """Sign and exponent of a physical register."""
    return RegisterLocation(S.FPR_SE, phys)


def read_real(phys: Operand) -> tuple[Val, Val]:
    """A physical register as an operand of FLOAT."""
    return sig_of(phys).read(), se_of(phys).read().zext(32)


def write_real(phys: Operand, sig: Operand, se: Operand) -> None:
    """Give a physical register a value; the tag is another matter."""
    sig_of(phys).set(sig)
    se_of(phys).set(value(se, 32).low(16))


# --- availability and exceptions -----------------------------------------------------------------------------------


@procedure()
def x87_trap() -> None:
    """#NM while CR0.EM or CR0.TS is set, else the answer to a pending exception: #MF, or FERR# with CR0.NE clear."""
    cr0 = CR0.read()
    trap_if((cr0 & (1 << S.CR0_EM | 1 << S.CR0_TS)) != 0, S.NM)
    trap_if(cr0.bit(S.CR0_NE), S.MF)
    ferr()


@procedure()
def x87_error() -> None:
    """An unmasked exception has just occurred: FERR# is driven at once where CR0.NE is clear."""
    with when(~CR0.read().bit(S.CR0_NE)):
        ferr()


def available() -> None:
    """The check of a non-waiting instruction: #NM."""
    trap_if((CR0.read() & (1 << S.CR0_EM | 1 << S.CR0_TS)) != 0, S.NM)


def invalid_masked() -> Val:
    """Whether IM is set: stack faults and other invalid operations have a masked response."""
    return FCTRL.read().bit(0)


def control() -> Val:
    """The control word as FLOAT takes it: rounding, precision, x87 NaNs, exceptions not masked."""
    c = FCTRL.read().zext(32)
    return ((c >> 10) & 3) | ((c >> 6) & 0xC) | 0x80 | ((~c & 0x3F) << 16)


def waiting() -> Val:
    """The check of a waiting instruction: #NM, #MF or FERR#. Gives the status word."""
    status = FSTAT.read()
    blocked = (CR0.read() & (1 << S.CR0_EM | 1 << S.CR0_TS)) | (status & 0x80).zext(32)
    with unlikely(blocked != 0):
        x87_trap()
    return status


class Unit:
    """The x87 state as a waiting instruction finds it; made first in each body."""

    def __init__(self) -> None:
        self.status = waiting()
        self.top = self.status.bits(11, 3).zext(8)
        self.tags = FTAG.read()

    def phys(self, i: Operand) -> Val:
        """Physical register of ST(i)."""
        return self.top if isinstance(i, int) and i == 0 else (self.top + i) & 7

    def used(self, *phys: Operand) -> Val:
        """Whether all these physical registers hold something."""
        t = self.tags >> phys[0]
        for p in phys[1:]:
            t = t & (self.tags >> p)
        return t.bit(0)

    def clear_c1(self) -> Val:
        """The status word with C1 clear."""
        return self.status & (0xFFFF & ~C1)

    def finish(self, status: Operand, pops: int = 0) -> None:
        """Write the status word and pop."""
        status = value(status, 16)
        if pops:
            FTAG.set(self.tags & ~(const(1, 8) << self.top) if pops == 1 else self.tags & ~x87_pair(self.top))
            status = turn(status, pops)
        FSTAT.set(status)

    def pushed(self, status: Operand) -> tuple[Val, Val]:
        """Register number and status word after a push; the tag is set here."""
        new = (self.top - 1) & 7
        FTAG.set(self.tags | (const(1, 8) << new))
        return new, (value(status, 16) & 0xC7FF) | (new.zext(16) << 11)

    def raise_(self, flags: Operand, ctl: Val, base: Val | None = None, before: int = BEFORE) -> Variable:
        """The status word with the exceptions and C1 of an operation; leaves where an unmasked one withholds it.

        `base` is the status word to add them to (the old one without C1), `before` the exceptions that withhold."""
        f = value(flags, 32)
        base = self.clear_c1() if base is None else base
        status = var(16, base | (f.low(16) & (0x3F | SF | C1)), "status")
        bad = f & (ctl >> 16) & 0x3F
        with unlikely(bad != 0):
            status.set(status.read() | ERROR)
            x87_error()
            with when((bad & before) != 0):
                FSTAT.set(status)
                finish_()
        return status


def turn(status: Val, pops: int) -> Val:
    """The status word with TOP moved up (or down, for negative `pops`)."""
    return (status & 0xC7FF) | ((status.bits(11, 3) + (pops & 7)).zext(16) << 11)


@procedure(8, results=(8,))
def x87_pair(top: Val) -> None:
    """Tag bits of ST(0) and ST(1)."""
    return_((const(1, 8) << top) | (const(1, 8) << ((top + 1) & 7)))


@procedure(8, 8)
def x87_underflow(dst: Val, pops: Val) -> None:
    """Stack underflow: where masked, the indefinite goes to a physical register and `pops` (0 to 2) registers go."""
    status = (FSTAT.read() & (0xFFFF & ~C1)) | (IE | SF)
    with when(invalid_masked()):
        write_real(dst, NAN_SIG, NAN_SE)
        top = status.bits(11, 3).zext(16)
        gone = ((const(1, 16) << pops.zext(16)) - 1) << top
        FTAG.set((FTAG.read() | (const(1, 8) << dst)) & ~(gone | (gone >> 8)).low(8))
        FSTAT.set((status & 0xC7FF) | ((status + (pops.zext(16) << 11)) & 0x3800))
    with otherwise():
        FSTAT.set(status | ERROR)
        x87_error()


@procedure()
def x87_overflow() -> None:
    """Stack overflow by a push: where masked, the indefinite is pushed."""
    status = FSTAT.read() | (IE | SF | C1)
    with when(invalid_masked()):
        new = (status.bits(11, 3) - 1).zext(8)
        write_real(new, NAN_SIG, NAN_SE)
        FTAG.set(FTAG.read() | (const(1, 8) << new))
        FSTAT.set((status & 0xC7FF) | (new.zext(16) << 11))
    with otherwise():
        FSTAT.set(status | ERROR)
        x87_error()


@procedure(8, 16)
def x87_compare_underflow(pops: Val, codes: Val) -> None:
    """Stack underflow of a comparison: the condition codes are set, and the stack is popped where masked."""
    status = (FSTAT.read() & (0xFFFF & ~C1)) | codes | (IE | SF)
    with when(invalid_masked()):
        top = status.bits(11, 3).zext(16)
        gone = ((const(1, 16) << pops.zext(16)) - 1) << top
        FTAG.set(FTAG.read() & ~(gone | (gone >> 8)).low(8))
        FSTAT.set((status & 0xC7FF) | ((status + (pops.zext(16) << 11)) & 0x3800))
    with otherwise():
        FSTAT.set(status | ERROR)
        x87_error()


@procedure(16)
def x87_withheld(flags: Val) -> None:
    """An unmasked exception that changes nothing but the status word."""
    FSTAT.set((FSTAT.read() & (0xFFFF & ~C1)) | flags | ERROR)
    x87_error()


def pointers(memory: MemOperand | None = None) -> None:
    """Note instruction, opcode and operand address for an exception handler."""
    FIP.set(fieldvalue("start", 32))
    FCS.set(RegisterLocation(S.SEG_SEL, S.CS).read())
    FOP.set(fieldvalue("fop", 16))
    if memory is not None:
        FDP.set(memory.offset)
        FDS.set(RegisterLocation(S.SEG_SEL, memory.seg).read())


def locate(memory: MemOperand) -> None:
    """Work the address out here, before it is needed in more than one branch."""
    if (memory.seg.width, memory.offset.width) != (8, 32):
        raise ValueError("a memory operand is an 8-bit segment number and a 32-bit offset")


# --- operands from memory ------------------------------------------------------------------------------------------


def _widen(v: Val, fraction: int, bias: int) -> None:
    """Exact, a NaN not quieted; flags IE for a signalling NaN, DE for a denormal. The JIT knows these by name."""
    w = v.width
    e = v.bits(fraction, w - 1 - fraction)
    with when(e - 1 < (1 << (w - 1 - fraction)) - 2, likely=True):
        sig = (v.zext(64) << (63 - fraction)) | 1 << 63
        sign_bit = (v >> 16 if w == 32 else (v >> 48).low(32)) & 0x8000
        return_(sig, (e.zext(32) + (16383 - bias)) | sign_bit, 0)
    sign = (v.sign().zext(32)) << 15
    frac = (v << (w - fraction)).zext(64) << (64 - w)  # the fraction at the top, its first bit in bit 63
    with when((v << 1) == 0):
        return_(0, sign, 0)
    with when(v.bits(fraction, w - 1 - fraction) != 0):
        return_((frac >> 1) | 1 << 63, sign | 0x7FFF, select((frac != 0) & ~frac.sign(), const(IE, 32), const(0, 32)))
    zeros = frac.clz()
    return_(frac << zeros, sign | (16383 - bias - zeros.low(32)), DE)


@procedure(32, results=(64, 32, 32))
def x87_widen32(v: Val) -> None:
    """A binary32 in 80 bits."""
    _widen(v, 23, 127)


@procedure(64, results=(64, 32, 32))
def x87_widen64(v: Val) -> None:
    """A binary64 in 80 bits."""
    _widen(v, 52, 1023)


def widen(v: Val) -> tuple[Variable, Variable, Variable]:
    """A binary32 or binary64 in 80 bits, with IE for a signalling NaN (still signalling) and DE for a denormal."""
    sig, se, flags = (x87_widen32 if v.width == 32 else x87_widen64)(v)
    return var(64, sig, "sig"), var(32, se, "se"), var(32, flags, "extra")


def from_integer(v: Val) -> Real:
    """A signed integer of 16, 32 or 64 bits in 80 bits: exact."""
    wide = v.sext(32) if v.width == 16 else v
    sig, se, _ = FLOAT[f"fx_i{v.width}_to_f80"](wide, EXACT)
    return sig, se


@procedure(32, 64, 32, 32, results=(32,))
def x87_denormal_operand(flags: Val, sig: Val, se: Val, ctl: Val) -> None:
    """Exceptions of an operation whose memory operand was denormal and whose other operand is given.

    A NaN, an invalid operation or a division by zero goes before the denormal; unmasked, it goes before the rest."""
    nan = ((se & 0x7FFF) == 0x7FFF) & ((sig << 1) != 0)
    with when(nan | ((flags & (IE | ZE)) != 0)):
        return_(flags)
    return_(select(ctl.bit(17), const(DE, 32), flags | DE))


# --- arithmetic ----------------------------------------------------------------------------------------------------

_OPERATION = {"fadd": "add", "fmul": "mul", "fsub": "sub", "fsubr": "sub", "fdiv": "div", "fdivr": "div"}


def arithmetic(u: Unit, name: str, a: Real, b: Real, dst: Val, *, pops: int = 0, extra: Variable | None = None) -> None:
    """dst = a op b (b op a for the reversed ones); both operands are there. `extra`: exceptions of loading b."""
    ctl = control()
    first, second = (b, a) if name.endswith("r") else (a, b)
    sig, se, f = FLOAT["fx_f80_" + _OPERATION[name]](*first, *second, ctl)
    if extra is not None:
        flags = var(32, f, "flags")
        with unlikely((extra.read() & DE) != 0):
            flags.set(x87_denormal_operand(f, *a, ctl))
        f = flags.read()
    status = u.raise_(f, ctl)
    write_real(dst, sig, se)
    u.finish(status, pops)


def compare(
    u: Unit,
    a: Real,
    b: Real,
    *,
    quiet: bool = False,
    pops: int = 0,
    extra: Variable | None = None,
    eflags: bool = False,
) -> None:
    """Order of a and b in C3, C2, C0, or in ZF, PF, CF."""
    ctl = control()
    order, f = FLOAT["fx_f80_compare" + ("_quiet" if quiet else "")](*a, *b, ctl)
    if extra is not None:
        flags = var(32, f, "flags")
        with unlikely((extra.read() & DE) != 0):
            flags.set(x87_denormal_operand(f, *a, ctl))
        f = flags.read()
    if eflags:
        write_arith(order)
        base = u.clear_c1()
    else:
        base = (u.status & (0xFFFF & ~(C0 | C1 | C2 | C3))) | (order.low(16) << 8)
    # The result stands even where an unmasked exception keeps the stack from being popped.
    u.finish(u.raise_(f, ctl, base), pops)


def binary(name: str, dst: Operand, other: Operand, *, pops: int = 0) -> None:
    """ST(dst) = ST(dst) op ST(other), for register operands."""
    u = Unit()
    pointers()
    d, o = u.phys(dst), u.phys(other)
    with unlikely(~u.used(d, o)):
        x87_underflow(d, pops)
        finish_()
    arithmetic(u, name, read_real(d), read_real(o), d, pops=pops)


def compare_registers(other: Operand, *, quiet: bool = False, pops: int = 0, eflags: bool = False) -> None:
    """ST(0) with ST(other)."""
    u = Unit()
    pointers()
    o = u.phys(other)
    with unlikely(~u.used(u.top, o)):
        x87_compare_underflow(pops, 0 if eflags else UNORDERED)
        if eflags:
            write_arith(UNORDERED >> 8)
        finish_()
    compare(u, read_real(u.top), read_real(o), quiet=quiet, pops=pops, eflags=eflags)


_NAMES = ("fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr")


@family(name=_NAMES)
@insn("{name} {src}", ["D8 /n Md", "DC /n Mq"], see="vol. 2, FADD FMUL FCOM FSUB FSUBR FDIV FDIVR")
def real_memory(src: Op, *, name: str) -> None:
    """Combine ST(0) with a real number in memory; FCOM only compares, FCOMP pops after it."""
    u = Unit()
    sig, se, extra = widen(src.read())
    pointers(src)
    a = read_real(u.top)
    if name.startswith("fcom"):
        with unlikely(~u.used(u.top)):
            x87_compare_underflow(int(name == "fcomp"), UNORDERED)
            finish_()
        compare(u, a, (sig, se), pops=int(name == "fcomp"), extra=extra)
        return
    with unlikely(~u.used(u.top)):
        x87_underflow(u.top, 0)
        finish_()
    arithmetic(u, name, a, (sig, se), u.top, extra=extra)


@family(name=_NAMES, mnemonic=tuple("fi" + n[1:] for n in _NAMES))
@insn("{mnemonic} {src}", ["DE /n Mw", "DA /n Md"], see="vol. 2, FIADD FIMUL FICOM FISUB FISUBR FIDIV FIDIVR")
def integer_memory(src: Op, *, name: str, mnemonic: str) -> None:
    """Combine ST(0) with a signed integer in memory."""
    u = Unit()
    b = from_integer(src.read())
    pointers(src)
    a = read_real(u.top)
    if name.startswith("fcom"):
        with unlikely(~u.used(u.top)):
            x87_compare_underflow(int(name == "fcomp"), UNORDERED)
            finish_()
        compare(u, a, b, pops=int(name == "fcomp"))
        return
    with unlikely(~u.used(u.top)):
        x87_underflow(u.top, 0)
        finish_()
    arithmetic(u, name, a, b, u.top)


@family(name=_NAMES, head=tuple(n if n.startswith("fcom") else n + " st," for n in _NAMES))
@insn("{head} {src}", "D8 /n reg STi", see="vol. 2, FADD FMUL FCOM FSUB FSUBR FDIV FDIVR")
def register_source(src: Op, *, name: str, head: str) -> None:
    """Combine ST(0) with ST(i) into ST(0)."""
    if name.startswith("fcom"):
        compare_registers(src.number, pops=int(name == "fcomp"))
    else:
        binary(name, 0, src.number)


# With the stack top as source, DC /4 to /7 are named the other way round than D8 /4 to /7.
@family(name=("fadd", "fmul"))
@insn("{name} {dst}, {src}", "DC /n reg STi,ST", see="vol. 2, FADD FMUL")
def register_destination(dst: Op, src: Op, *, name: str) -> None:
    """Combine ST(i) with ST(0) into ST(i)."""
    binary(name, dst.number, 0)


@insn("fsubr {dst}, {src}", "DC /4 reg STi,ST", see="vol. 2, FSUBR")
def fsubr_register(dst: Op, src: Op) -> None:
    """ST(i) = ST(0) - ST(i)."""
    binary("fsubr", dst.number, 0)


@insn("fsub {dst}, {src}", "DC /5 reg STi,ST", see="vol. 2, FSUB")
def fsub_register(dst: Op, src: Op) -> None:
    """ST(i) = ST(i) - ST(0)."""
    binary("fsub", dst.number, 0)


@insn("fdivr {dst}, {src}", "DC /6 reg STi,ST", see="vol. 2, FDIVR")
def fdivr_register(dst: Op, src: Op) -> None:
    """ST(i) = ST(0) / ST(i)."""
    binary("fdivr", dst.number, 0)


@insn("fdiv {dst}, {src}", "DC /7 reg STi,ST", see="vol. 2, FDIV")
def fdiv_register(dst: Op, src: Op) -> None:
    """ST(i) = ST(i) / ST(0)."""
    binary("fdiv", dst.number, 0)


@family(name=("fadd", "fmul"))
@insn("{name}p {dst}, {src}", "DE /n reg STi,ST", see="vol. 2, FADD FMUL")
def register_pop(dst: Op, src: Op, *, name: str) -> None:
    """Combine ST(i) with ST(0) into ST(i), and pop."""
    binary(name, dst.number, 0, pops=1)


@insn("fsubrp {dst}, {src}", "DE /4 reg STi,ST", see="vol. 2, FSUBR")
def fsubrp(dst: Op, src: Op) -> None:
    """ST(i) = ST(0) - ST(i), and pop."""
    binary("fsubr", dst.number, 0, pops=1)


@insn("fsubp {dst}, {src}", "DE /5 reg STi,ST", see="vol. 2, FSUB")
def fsubp(dst: Op, src: Op) -> None:
    """ST(i) = ST(i) - ST(0), and pop."""
    binary("fsub", dst.number, 0, pops=1)


@insn("fdivrp {dst}, {src}", "DE /6 reg STi,ST", see="vol. 2, FDIVR")
def fdivrp(dst: Op, src: Op) -> None:
    """ST(i) = ST(0) / ST(i), and pop."""
    binary("fdivr", dst.number, 0, pops=1)


@insn("fdivp {dst}, {src}", "DE /7 reg STi,ST", see="vol. 2, FDIV")
def fdivp(dst: Op, src: Op) -> None:
    """ST(i) = ST(i) / ST(0), and pop."""
    binary("fdiv", dst.number, 0, pops=1)


# --- comparison ----------------------------------------------------------------------------------------------------


@insn("fcom {src}", "DC /2 reg STi", see="vol. 1, table of opcode aliases; vol. 2, FCOM")
def fcom2(src: Op) -> None:
    """FCOM by its second opcode."""
    compare_registers(src.number)


@insn("fcomp {src}", ["DC /3 reg STi", "DE /2 reg STi"], see="vol. 2, FCOMP")
def fcomp3(src: Op) -> None:
    """FCOMP by its second and third opcodes."""
    compare_registers(src.number, pops=1)


@insn("fcompp", "DE /3 rm=1", see="vol. 2, FCOMPP")
def fcompp() -> None:
    """Compare ST(0) with ST(1) and pop both."""
    compare_registers(1, pops=2)


@insn("fucom {src}", "DD /4 reg STi", see="vol. 2, FUCOM")
def fucom(src: Op) -> None:
    """Compare ST(0) with ST(i); a quiet NaN is unordered without being invalid."""
    compare_registers(src.number, quiet=True)


@insn("fucomp {src}", "DD /5 reg STi", see="vol. 2, FUCOMP")
def fucomp(src: Op) -> None:
    """FUCOM, and pop."""
    compare_registers(src.number, quiet=True, pops=1)


@insn("fucompp", "DA /5 rm=1", see="vol. 2, FUCOMPP")
def fucompp() -> None:
    """FUCOM with ST(1), and pop both."""
    compare_registers(1, quiet=True, pops=2)


@insn("fcomi {dst}, {src}", "DB /6 reg ST,STi", see="vol. 2, FCOMI", needs="cmov")
def fcomi(dst: Op, src: Op) -> None:
    """Compare ST(0) with ST(i) into ZF, PF and CF; OF, SF and AF are cleared."""
    compare_registers(src.number, eflags=True)


@insn("fcomip {dst}, {src}", "DF /6 reg ST,STi", see="vol. 2, FCOMI", needs="cmov")
def fcomip(dst: Op, src: Op) -> None:
    """FCOMI, and pop."""
    compare_registers(src.number, eflags=True, pops=1)


@insn("fucomi {dst}, {src}", "DB /5 reg ST,STi", see="vol. 2, FUCOMI", needs="cmov")
def fucomi(dst: Op, src: Op) -> None:
    """FCOMI for which a quiet NaN is not invalid."""
    compare_registers(src.number, eflags=True, quiet=True)


@insn("fucomip {dst}, {src}", "DF /5 reg ST,STi", see="vol. 2, FUCOMI", needs="cmov")
def fucomip(dst: Op, src: Op) -> None:
    """FUCOMI, and pop."""
    compare_registers(src.number, eflags=True, quiet=True, pops=1)


@insn("ftst", "D9 /4 rm=4", see="vol. 2, FTST")
def ftst() -> None:
    """Compare ST(0) with +0.0."""
    u = Unit()
    pointers()
    with unlikely(~u.used(u.top)):
        x87_compare_underflow(0, UNORDERED)
        finish_()
    compare(u, read_real(u.top), (0, 0))


@insn("fxam", "D9 /4 rm=5", see="vol. 2, FXAM")
def fxam() -> None:
    """Say in C3, C2 and C0 what ST(0) is, and in C1 its sign, even of an empty register."""
    u = Unit()
    pointers()
    sig, se = read_real(u.top)
    e = se & 0x7FFF
    integer = sig.sign()
    special = select((sig << 1) == 0, const(C0 | C2, 16), const(C0, 16))
    normal = select(e == 0x7FFF, special, const(C2, 16))
    tiny = select(sig == 0, const(C3, 16), const(C2 | C3, 16))
    kind = select(e == 0, tiny, select(integer, normal, const(0, 16)))
    kind = select(u.used(u.top), kind, const(C0 | C3, 16))
    sign = (se.low(16) >> 6) & C1
    FSTAT.set((u.status & (0xFFFF & ~(C0 | C1 | C2 | C3))) | kind | sign)


# --- loads ---------------------------------------------------------------------------------------------------------


def push(u: Unit, sig: Operand, se: Operand, status: Operand) -> None:
    """Push a value onto a stack with room."""
    new, turned = u.pushed(status)
    write_real(new, sig, se)
    FSTAT.set(turned)


def room(u: Unit) -> None:
    """Leave by a stack overflow unless there is an empty register."""
    with unlikely(u.used((u.top - 1) & 7)):
        x87_overflow()
        finish_()


@insn("fld {src}", ["D9 /0 Md", "DD /0 Mq"], see="vol. 2, FLD")
def fld_memory(src: Op) -> None:
    """Push a real number; a denormal is pushed even where the denormal exception is not masked."""
    u = Unit()
    sig, se, extra = widen(src.read())
    pointers(src)
    room(u)
    status = var(16, u.clear_c1(), "status")
    f = extra.read()
    with unlikely(f != 0):
        sig.set(sig.read() | ((f & IE).zext(64) << 62))
        status.set(u.raise_(f, control(), before=IE))
    push(u, sig, se, status)


@insn("fld {src}", "DB /5 M80", see="vol. 2, FLD")
def fld_extended(src: Op) -> None:
    """Push an 80-bit real number as it is."""
    u = Unit()
    sig = src.at(0, 64).read()
    se = src.at(8, 16).read()
    pointers(src)
    room(u)
    push(u, sig, se.zext(32), u.clear_c1())


@insn("fld {src}", "D9 /0 reg STi", see="vol. 2, FLD")
def fld_register(src: Op) -> None:
    """Push a copy of ST(i)."""
    u = Unit()
    pointers()
    p = u.phys(src.number)
    with unlikely(~u.used(p)):
        with when(invalid_masked()):
            push(u, NAN_SIG, NAN_SE, u.clear_c1() | (IE | SF))
        with otherwise():
            x87_withheld(IE | SF)
        finish_()
    room(u)
    sig, se = read_real(p)
    push(u, sig, se, u.clear_c1())


@insn("fild {src}", ["DF /0 Mw", "DB /0 Md", "DF /5 Mq"], see="vol. 2, FILD")
def fild(src: Op) -> None:
    """Push a signed integer."""
    u = Unit()
    sig, se = from_integer(src.read())
    pointers(src)
    room(u)
    push(u, sig, se, u.clear_c1())


@insn("fbld {src}", "DF /4 M80", see="vol. 2, FBLD")
def fbld(src: Op) -> None:
    """Push a packed decimal of 18 digits; the top bit is its sign."""
    u = Unit()
    low = src.at(0, 64).read()
    high = src.at(8, 16).read()
    pointers(src)
    room(u)
    sig, se, _ = FLOAT["fx_bcd_to_f80"](low, high.zext(32), EXACT)
    push(u, sig, se, u.clear_c1())


def load_constant(sig: int, se: int, *, up: int = 0, down: int = 0) -> None:
    """Push a constant; `up` and `down` are added to the significand when rounding up, or down and to zero."""
    u = Unit()
    pointers()
    room(u)
    c = const(sig, 64)
    if up or down:
        rc = FCTRL.read().bits(10, 2)
        c = select(rc == 2, const(sig + up, 64), select(rc == 0, const(sig, 64), const(sig + down, 64)))
    push(u, c, se, u.clear_c1())


@insn("fld1", "D9 /5 rm=0", see="vol. 2, FLD1")
def fld1() -> None:
    """Push 1.0."""
    load_constant(0x8000000000000000, 0x3FFF)


@insn("fldl2t", "D9 /5 rm=1", see="vol. 2, FLDL2T")
def fldl2t() -> None:
    """Push the binary logarithm of 10."""
    load_constant(0xD49A784BCD1B8AFE, 0x4000, up=1)


@insn("fldl2e", "D9 /5 rm=2", see="vol. 2, FLDL2E")
def fldl2e() -> None:
    """Push the binary logarithm of e."""
    load_constant(0xB8AA3B295C17F0BC, 0x3FFF, down=-1)


@insn("fldpi", "D9 /5 rm=3", see="vol. 2, FLDPI")
def fldpi() -> None:
    """Push pi."""
    load_constant(0xC90FDAA22168C235, 0x4000, down=-1)


@insn("fldlg2", "D9 /5 rm=4", see="vol. 2, FLDLG2")
def fldlg2() -> None:
    """Push the decimal logarithm of 2."""
    load_constant(0x9A209A84FBCFF799, 0x3FFD, down=-1)


@insn("fldln2", "D9 /5 rm=5", see="vol. 2, FLDLN2")
def fldln2() -> None:
    """Push the natural logarithm of 2."""
    load_constant(0xB17217F7D1CF79AC, 0x3FFE, down=-1)


@insn("fldz", "D9 /5 rm=6", see="vol. 2, FLDZ")
def fldz() -> None:
    """Push +0.0."""
    load_constant(0, 0)


# --- stores --------------------------------------------------------------------------------------------------------


def store(u: Unit, dst: MemOperand, convert: str, indefinite: int, pops: int) -> None:
    """Convert ST(0) and store it; withheld by any unmasked exception but precision."""
    w = dst.width
    locate(dst)
    ctl = control()
    used = u.used(u.top)
    out = var(w, indefinite, "out")
    flags = var(32, IE | SF, "flags")
    with unlikely(~used):
        flags.set(IE | SF)
    with otherwise():
        result, f = FLOAT[convert](*read_real(u.top), ctl)
        out.set(result.low(w))
        flags.set(f)
    bad = flags.read() & (ctl >> 16) & 0x3F
    status = u.clear_c1() | (flags.read().low(16) & (0x3F | SF | C1))
    with unlikely(bad != 0):
        with when((bad & ~PE) != 0):
            pointers(dst)
            x87_withheld(flags.read().low(16) & (SF | (0x3F & ~PE)))
            finish_()
        dst.set(out)
        pointers(dst)
        u.finish(status | ERROR, pops)
        x87_error()
        finish_()
    dst.set(out)
    pointers(dst)
    u.finish(status, pops)


@insn("fst {dst}", ["D9 /2 Md", "DD /2 Mq"], see="vol. 2, FST")
def fst_memory(dst: Op) -> None:
    """Store ST(0) as a shorter real number."""
    store_real(dst, 0)


@insn("fstp {dst}", ["D9 /3 Md", "DD /3 Mq"], see="vol. 2, FSTP")
def fstp_memory(dst: Op) -> None:
    """Store ST(0) as a shorter real number, and pop."""
    store_real(dst, 1)


def store_real(dst: MemOperand, pops: int) -> None:
    """FST and FSTP to memory."""
    indefinite = 0xFFC00000 if dst.width == 32 else 0xFFF8000000000000
    store(Unit(), dst, f"fx_f80_to_f{dst.width}", indefinite, pops)


def store_integer(dst: MemOperand, pops: int, suffix: str = "") -> None:
    """FIST, FISTP and FISTTP."""
    w = dst.width
    store(Unit(), dst, f"fx_f80_to_i{w}{suffix}", 1 << (w - 1), pops)


@insn("fist {dst}", ["DF /2 Mw", "DB /2 Md"], see="vol. 2, FIST")
def fist(dst: Op) -> None:
    """Store ST(0) rounded to a signed integer."""
    store_integer(dst, 0)


@insn("fistp {dst}", ["DF /3 Mw", "DB /3 Md", "DF /7 Mq"], see="vol. 2, FISTP")
def fistp(dst: Op) -> None:
    """Store ST(0) rounded to a signed integer, and pop."""
    store_integer(dst, 1)


@insn("fisttp {dst}", ["DF /1 Mw", "DB /1 Md", "DD /1 Mq"], see="vol. 2, FISTTP", needs="sse3")
def fisttp(dst: Op) -> None:
    """Store ST(0) truncated to a signed integer, and pop."""
    store_integer(dst, 1, "_trunc")


@insn("fstp {dst}", "DB /7 M80", see="vol. 2, FSTP")
def fstp_extended(dst: Op) -> None:
    """Store ST(0) as it is, and pop."""
    u = Unit()
    locate(dst)
    sig = var(64, sig_of(u.top), "sig")
    se = var(16, se_of(u.top), "se")
    status = var(16, u.clear_c1(), "status")
    with unlikely(~u.used(u.top)):
        with when(~invalid_masked()):
            pointers(dst)
            x87_withheld(IE | SF)
            finish_()
        sig.set(NAN_SIG)
        se.set(NAN_SE)
        status.set(status.read() | (IE | SF))
    mem_probe_w(dst.seg, dst.offset, 10)
    dst.at(0, 64).set(sig)
    dst.at(8, 16).set(se)
    pointers(dst)
    u.finish(status, 1)


def store_register(dst: Operand, pops: int) -> None:
    """Copy ST(0) to ST(dst), whatever that held."""
    u = Unit()
    pointers()
    d = u.phys(dst)
    with unlikely(~u.used(u.top)):
        x87_underflow(d, pops)
        finish_()
    sig, se = read_real(u.top)
    write_real(d, sig, se)
    u.tags = u.tags | (const(1, 8) << d)
    if not pops:
        FTAG.set(u.tags)
    u.finish(u.clear_c1(), pops)


@insn("fst {dst}", "DD /2 reg STi", see="vol. 2, FST")
def fst_register(dst: Op) -> None:
    """Copy ST(0) to ST(i)."""
    store_register(dst.number, 0)


@insn("fstp {dst}", ["DD /3 reg STi", "DF /2 reg STi", "DF /3 reg STi"], see="vol. 2, FSTP")
def fstp_register(dst: Op) -> None:
    """Copy ST(0) to ST(i), and pop; DF is an alias."""
    store_register(dst.number, 1)


@insn("fstpnce {dst}", "D9 /3 reg STi", see="vol. 3, opcode aliases of the x87")
def fstpnce(dst: Op) -> None:
    """FSTP that lets an empty ST(0) pass: then it only pops."""
    u = Unit()
    pointers()
    with when(u.used(u.top)):
        d = u.phys(dst.number)
        sig, se = read_real(u.top)
        write_real(d, sig, se)
        FTAG.set((u.tags | (const(1, 8) << d)) & ~(const(1, 8) << u.top))
    FSTAT.set(turn(u.clear_c1(), 1))


@insn("fbstp {dst}", "DF /6 M80", see="vol. 2, FBSTP")
def fbstp(dst: Op) -> None:
    """Store ST(0) rounded to a packed decimal of 18 digits, and pop."""
    u = Unit()
    locate(dst)
    ctl = control()
    low = var(64, 0xC000000000000000, "low")
    high = var(16, 0xFFFF, "high")
    flags = var(32, IE | SF, "flags")
    with when(u.used(u.top)):
        a, b, f = FLOAT["fx_f80_to_bcd"](*read_real(u.top), ctl)
        low.set(a)
        high.set(b.low(16))
        flags.set(f)
    bad = flags.read() & (ctl >> 16) & 0x3F
    with unlikely((bad & ~PE) != 0):
        pointers(dst)
        x87_withheld(flags.read().low(16) & (SF | (0x3F & ~PE)))
        finish_()
    mem_probe_w(dst.seg, dst.offset, 10)
    dst.at(0, 64).set(low)
    dst.at(8, 16).set(high)
    pointers(dst)
    status = var(16, u.clear_c1() | (flags.read().low(16) & (0x3F | SF | C1)), "status")
    with unlikely(bad != 0):
        status.set(status.read() | ERROR)
        x87_error()
    u.finish(status, 1)


# --- registers -----------------------------------------------------------------------------------------------------


@insn("fxch {src}", ["D9 /1 reg STi", "DD /1 reg STi", "DF /1 reg STi"], see="vol. 2, FXCH")
def fxch(src: Op) -> None:
    """Exchange ST(0) with ST(i); DD and DF are aliases."""
    u = Unit()
    pointers()
    p = u.phys(src.number)
    with unlikely(~u.used(u.top, p)):
        with when(~invalid_masked()):
            x87_withheld(IE | SF)
            finish_()
        for q in (u.top, p):
            with when(~u.used(q)):
                write_real(q, NAN_SIG, NAN_SE)
        FTAG.set(u.tags | (const(1, 8) << u.top) | (const(1, 8) << p))
        FSTAT.set(FSTAT.read() | (IE | SF))
    a, b = read_real(u.top), read_real(p)
    write_real(u.top, *b)
    write_real(p, *a)
    FSTAT.set(FSTAT.read() & (0xFFFF & ~C1))


_CMOV = ("b", "e", "be", "u")


@family(cc=_CMOV, n_cc=(2, 4, 6, 10))
@insn("fcmov{cc} {dst}, {src}", "DA /n reg ST,STi", see="vol. 2, FCMOVcc", needs="cmov")
def fcmov(dst: Op, src: Op, *, cc: str, n_cc: int) -> None:
    """Copy ST(i) to ST(0) where CF, ZF, either or PF is set."""
    conditional_move(src.number, n_cc)


@family(cc=_CMOV, n_cc=(3, 5, 7, 11))
@insn("fcmovn{cc} {dst}, {src}", "DB /n reg ST,STi", see="vol. 2, FCMOVcc", needs="cmov")
def fcmovn(dst: Op, src: Op, *, cc: str, n_cc: int) -> None:
    """Copy ST(i) to ST(0) where CF, ZF, both or PF is clear."""
    conditional_move(src.number, n_cc)


def conditional_move(src: Operand, cc: int) -> None:
    """ST(0) = ST(src) on a condition; both must hold something in any case."""
    u = Unit()
    pointers()
    p = u.phys(src)
    with unlikely(~u.used(u.top, p)):
        x87_underflow(u.top, 0)
        finish_()
    with when(condition(cc)):
        sig, se = read_real(p)
        write_real(u.top, sig, se)


@insn("ffree {dst}", "DD /0 reg STi", see="vol. 2, FFREE")
def ffree(dst: Op) -> None:
    """Mark ST(i) empty."""
    u = Unit()
    pointers()
    FTAG.set(u.tags & ~(const(1, 8) << u.phys(dst.number)))
    FSTAT.set(u.clear_c1())


@insn("ffreep {dst}", "DF /0 reg STi", see="vol. 2, FFREE")
def ffreep(dst: Op) -> None:
    """Mark ST(i) empty, and pop."""
    u = Unit()
    pointers()
    u.tags = u.tags & ~(const(1, 8) << u.phys(dst.number))
    u.finish(u.clear_c1(), 1)


@insn("fincstp", "D9 /6 rm=7", see="vol. 2, FINCSTP")
def fincstp() -> None:
    """Turn the stack by one; no register is emptied."""
    status = waiting()
    pointers()
    FSTAT.set(turn(status & (0xFFFF & ~C1), 1))


@insn("fdecstp", "D9 /6 rm=6", see="vol. 2, FDECSTP")
def fdecstp() -> None:
    """Turn the stack by one the other way; no register is filled."""
    status = waiting()
    pointers()
    FSTAT.set(turn(status & (0xFFFF & ~C1), -1))


@insn("fnop", "D9 /2 rm=0", see="vol. 2, FNOP")
def fnop() -> None:
    """Nothing but the check for pending exceptions."""
    waiting()
    pointers()


# --- functions of one and two registers ----------------------------------------------------------------------------


def sign_change(*, absolute: bool) -> None:
    """FABS and FCHS; any value will do, NaNs too."""
    u = Unit()
    pointers()
    with unlikely(~u.used(u.top)):
        x87_underflow(u.top, 0)
        finish_()
    se = se_of(u.top)
    se.set(se.read() & 0x7FFF if absolute else se.read() ^ 0x8000)
    FSTAT.set(u.clear_c1())


@insn("fchs", "D9 /4 rm=0", see="vol. 2, FCHS")
def fchs() -> None:
    """Change the sign of ST(0)."""
    sign_change(absolute=False)


@insn("fabs", "D9 /4 rm=1", see="vol. 2, FABS")
def fabs() -> None:
    """Clear the sign of ST(0)."""
    sign_change(absolute=True)


def unary(callee: Any) -> None:
    """ST(0) = f(ST(0))."""
    u = Unit()
    pointers()
    with unlikely(~u.used(u.top)):
        x87_underflow(u.top, 0)
        finish_()
    ctl = control()
    sig, se, f = callee(*read_real(u.top), ctl)
    status = u.raise_(f, ctl)
    write_real(u.top, sig, se)
    u.finish(status)


def binary_function(callee: Any, *, pop: bool = False) -> None:
    """ST(0) = f(ST(0), ST(1)), or ST(1) = f(ST(0), ST(1)) and pop."""
    u = Unit()
    pointers()
    other = u.phys(1)
    dst = other if pop else u.top
    with unlikely(~u.used(u.top, other)):
        x87_underflow(dst, int(pop))
        finish_()
    ctl = control()
    sig, se, f = callee(*read_real(u.top), *read_real(other), ctl)
    status = u.raise_(f, ctl)
    write_real(dst, sig, se)
    u.finish(status, int(pop))


@insn("fsqrt", "D9 /7 rm=2", see="vol. 2, FSQRT")
def fsqrt() -> None:
    """Square root of ST(0)."""
    unary(FLOAT["fx_f80_sqrt"])


@insn("frndint", "D9 /7 rm=4", see="vol. 2, FRNDINT")
def frndint() -> None:
    """Round ST(0) to an integer as RC says."""
    unary(FLOAT["fx_f80_round_int"])


@insn("f2xm1", "D9 /6 rm=0", see="vol. 2, F2XM1")
def f2xm1() -> None:
    """ST(0) = 2 ** ST(0) - 1, for ST(0) from -1 to 1."""
    unary(FLOAT["fx_f80_2xm1"])


@insn("fyl2x", "D9 /6 rm=1", see="vol. 2, FYL2X")
def fyl2x() -> None:
    """ST(1) = ST(1) * log2(ST(0)), and pop."""
    binary_function(FLOAT["fx_f80_yl2x"], pop=True)


@insn("fyl2xp1", "D9 /7 rm=1", see="vol. 2, FYL2XP1")
def fyl2xp1() -> None:
    """ST(1) = ST(1) * log2(ST(0) + 1), and pop."""
    binary_function(FLOAT["fx_f80_yl2xp1"], pop=True)


@insn("fpatan", "D9 /6 rm=3", see="vol. 2, FPATAN")
def fpatan() -> None:
    """ST(1) = the angle of the point (ST(0), ST(1)), and pop."""
    binary_function(FLOAT["fx_f80_patan"], pop=True)


@insn("fscale", "D9 /7 rm=5", see="vol. 2, FSCALE")
def fscale() -> None:
    """ST(0) = ST(0) * 2 ** ST(1), ST(1) truncated to an integer."""
    binary_function(FLOAT["fx_f80_scale"])


def remainder(callee: Any) -> None:
    """FPREM and FPREM1. The quotient stands in C0, C3 and C1; a NaN and a withheld result leave C0 and C3 alone."""
    u = Unit()
    pointers()
    other = u.phys(1)
    with unlikely(~u.used(u.top, other)):
        x87_underflow(u.top, 0)
        FSTAT.set(FSTAT.read() & (0xFFFF & ~C2))
        finish_()
    ctl = control()
    sig, se, f = callee(*read_real(u.top), *read_real(other), ctl)
    nan = ((se & 0x7FFF) == 0x7FFF) & ((sig << 1) != 0)
    withheld = (f & (ctl >> 16) & BEFORE) != 0
    keep = select(nan | withheld, const(0xFFFF & ~(C1 | C2), 16), const(0xFFFF & ~(C0 | C1 | C2 | C3), 16))
    status = u.raise_(f, ctl, (u.status & keep) | (f.low(16) & (C0 | C2 | C3)))
    write_real(u.top, sig, se)
    u.finish(status)


@insn("fprem", "D9 /7 rm=0", see="vol. 2, FPREM")
def fprem() -> None:
    """Partial remainder of ST(0) / ST(1), quotient truncated; C2 says that more rounds are needed."""
    remainder(FLOAT["fx_f80_prem"])


@insn("fprem1", "D9 /6 rm=5", see="vol. 2, FPREM1")
def fprem1() -> None:
    """Partial remainder of ST(0) / ST(1), quotient rounded to nearest, as IEEE 754 has it."""
    remainder(FLOAT["fx_f80_prem1"])


def angle(which: str) -> None:
    """FSIN, FCOS: ST(0) = f(ST(0)); C2 set and nothing done from 2**63 on."""
    u = Unit()
    pointers()
    with unlikely(~u.used(u.top)):
        x87_underflow(u.top, 0)
        FSTAT.set(FSTAT.read() & (0xFFFF & ~C2))
        finish_()
    ctl = control()
    sig, se, f = FLOAT[f"fx_f80_{which}"](*read_real(u.top), ctl)
    status = u.raise_(f, ctl, (u.status & (0xFFFF & ~(C1 | C2))) | (f.low(16) & C2))
    write_real(u.top, sig, se)
    u.finish(status)


@insn("fsin", "D9 /7 rm=6", see="vol. 2, FSIN")
def fsin() -> None:
    """Sine of ST(0) in radians."""
    angle("sin")


@insn("fcos", "D9 /7 rm=7", see="vol. 2, FCOS")
def fcos() -> None:
    """Cosine of ST(0) in radians."""
    angle("cos")


def two_results(u: Unit, clear: int = 0) -> None:
    """The stack check of an instruction that changes ST(0) and pushes; both become the indefinite where masked.

    `clear`: condition codes that a stack fault clears."""
    above = (u.top - 1) & 7
    with unlikely(~u.used(u.top) | u.used(above)):
        flags = select(u.used(u.top), const(IE | SF | C1, 16), const(IE | SF, 16))
        with when(invalid_masked()):
            write_real(u.top, NAN_SIG, NAN_SE)
            write_real(above, NAN_SIG, NAN_SE)
            FTAG.set(u.tags | (const(1, 8) << u.top) | (const(1, 8) << above))
            FSTAT.set(turn(u.clear_c1() | flags, -1) & (0xFFFF & ~clear))
        with otherwise():
            x87_withheld(flags)
            if clear:
                FSTAT.set(FSTAT.read() & (0xFFFF & ~clear))
        finish_()


def angle_pair(callee: Any) -> None:
    """FSINCOS, FPTAN: a function of ST(0) into ST(0) and one pushed; C2 set and nothing done from 2**63 on."""
    u = Unit()
    pointers()
    two_results(u, C2)
    ctl = control()
    sig, se, sig2, se2, f = callee(*read_real(u.top), ctl)
    status = u.raise_(f, ctl, (u.status & (0xFFFF & ~(C1 | C2))) | (f.low(16) & C2))
    with when((f & C2) != 0):
        FSTAT.set(status)
        finish_()
    write_real(u.top, sig, se)
    push(u, sig2, se2, status)


@insn("fsincos", "D9 /7 rm=3", see="vol. 2, FSINCOS")
def fsincos() -> None:
    """ST(0) becomes its sine, then its cosine is pushed."""
    angle_pair(FLOAT["fx_f80_sincos"])


@insn("fptan", "D9 /6 rm=2", see="vol. 2, FPTAN")
def fptan() -> None:
    """ST(0) becomes its tangent, then 1.0 is pushed."""
    angle_pair(FLOAT["fx_f80_ptan"])


@insn("fxtract", "D9 /6 rm=4", see="vol. 2, FXTRACT")
def fxtract() -> None:
    """ST(0) becomes its exponent as a number, then its significand is pushed."""
    u = Unit()
    pointers()
    two_results(u)
    ctl = control()
    sig, se, power, power_se, f = FLOAT["fx_f80_xtract"](*read_real(u.top), ctl)
    status = u.raise_(f, ctl)
    write_real(u.top, power, power_se)
    push(u, sig, se, status)


# --- control -------------------------------------------------------------------------------------------------------


@insn("fwait", "9B", see="vol. 2, WAIT")
def fwait() -> None:
    """Take a pending exception; #NM only while CR0.MP and CR0.TS are both set."""
    cr0 = CR0.read()
    blocked = 1 << S.CR0_MP | 1 << S.CR0_TS
    trap_if((cr0 & blocked) == blocked, S.NM)
    with unlikely(FSTAT.read().bit(7)):
        trap_if(cr0.bit(S.CR0_NE), S.MF)
        ferr()


@insn("fninit", "DB /4 rm=3", see="vol. 2, FINIT")
def fninit() -> None:
    """Put the unit in its initial state; the registers keep their contents but are empty."""
    available()
    initialise()


def initialise() -> None:
    """The state after FNINIT."""
    FCTRL.set(0x037F)
    FSTAT.set(0)
    FTAG.set(0)
    for r in (FIP, FCS, FDP, FDS, FOP):
        r.set(0)


@insn("fnclex", "DB /4 rm=2", see="vol. 2, FCLEX")
def fnclex() -> None:
    """Clear the exceptions of the status word."""
    available()
    FSTAT.set(FSTAT.read() & 0x7F00)


def old_control() -> None:
    """What the 8087 or the 80287 needed and later units ignore."""
    available()


@insn("fneni", "DB /4 rm=0", see="vol. 3, differences of the x87 units")
def fneni() -> None:
    """Enable interrupts on the 8087; does nothing since."""
    old_control()


@insn("fndisi", "DB /4 rm=1", see="vol. 3, differences of the x87 units")
def fndisi() -> None:
    """Disable interrupts on the 8087; does nothing since."""
    old_control()


@insn("fnsetpm", "DB /4 rm=4", see="vol. 3, differences of the x87 units")
def fnsetpm() -> None:
    """Set protected mode on the 80287; does nothing since."""
    old_control()


@insn("fnstcw {dst}", "D9 /7 Mw", see="vol. 2, FSTCW")
def fnstcw(dst: Op) -> None:
    """Store the control word."""
    available()
    dst.set(FCTRL)


@insn("fldcw {src}", "D9 /5 Mw", see="vol. 2, FLDCW")
def fldcw(src: Op) -> None:
    """Load the control word; a flagged exception that this unmasks becomes pending."""
    status = waiting()
    set_control(src.read(), status)


def set_control(word: Val, status: Val) -> None:
    """Write control and status word, keeping reserved bits and deriving ES and B."""
    FCTRL.set((word & 0x1F3F) | 0x0040)
    pending = (status & ~word & 0x3F) != 0
    FSTAT.set((status & 0x7F7F) | select(pending, const(ERROR, 16), const(0, 16)))


@insn("fnstsw {dst}", "DD /7 Mw", see="vol. 2, FSTSW")
def fnstsw(dst: Op) -> None:
    """Store the status word."""
    available()
    dst.set(FSTAT.read() | x87_unseen())


@insn("fnstsw ax", "DF /4 rm=0", see="vol. 2, FSTSW")
def fnstsw_ax() -> None:
    """Copy the status word to AX."""
    available()
    gpr(S.EAX, 16).set(FSTAT.read() | x87_unseen())


@procedure(results=(16,))
def x87_tag_word() -> None:
    """The tag word as it is stored: 0 valid, 1 zero, 2 special, 3 empty, from the contents of the registers."""
    tags = FTAG.read()
    word = const(0, 16)
    for n in range(8):
        sig, se = sig_of(n).read(), se_of(n).read()
        e = se & 0x7FFF
        zero = (e == 0) & (sig == 0)
        special = (e == 0x7FFF) | (e == 0) | ~sig.sign()
        kind = select(zero, const(1, 16), select(special, const(2, 16), const(0, 16)))
        word = word | (select(tags.bit(n), kind, const(3, 16)) << (2 * n))
    return_(word)


def set_tags(word: Val) -> None:
    """Which registers are in use, from a tag word; the rest of it follows from their contents."""
    empty = word & (word >> 1)
    FTAG.set(~concat(*(empty.bit(2 * n) for n in reversed(range(8)))))


def real_mode() -> Val:
    """Whether the environment has the real-address format: real and virtual-8086 mode."""
    return ~CR0.read().bit(S.CR0_PE) | value(VM, 1)


def store_environment(dst: MemOperand, osz: int, more: int = 0) -> None:
    """Control, status and tag word, instruction and operand pointer: seven words or doublewords (vol. 1, 8.1.10)."""
    step = osz // 8
    mem_probe_w(dst.seg, dst.offset, 7 * step + more)
    tag = x87_tag_word()
    real = real_mode()
    ip, cs, dp, ds, op = FIP.read(), FCS.read(), FDP.read(), FDS.read(), FOP.read() & 0x7FF
    linear_ip = ip + (cs.zext(32) << 4)
    linear_dp = dp + (ds.zext(32) << 4)
    head = [FCTRL.read(), FSTAT.read(), tag]
    words: list[Val]
    if osz == 16:
        words = [
            *head,
            select(real, linear_ip.low(16), ip.low(16)),
            select(real, ((linear_ip >> 4) & 0xF000).low(16) | op, cs),
            select(real, linear_dp.low(16), dp.low(16)),
            select(real, ((linear_dp >> 4) & 0xF000).low(16), ds),
        ]
    else:
        ones = 0xFFFF0000
        wide = op.zext(32)
        words = [
            *(w.zext(32) | ones for w in head),
            select(real, linear_ip | ones, ip),
            select(real, ((linear_ip >> 4) & 0x0FFFF000) | wide, cs.zext(32) | (wide << 16)),
            select(real, linear_dp | ones, dp),
            select(real, (linear_dp >> 4) & 0x0FFFF000, ds.zext(32) | ones),
        ]
    for k, w in enumerate(words):
        dst.at(k * step, osz).set(w)


def load_environment(src: MemOperand, osz: int) -> list[Val]:
    """The seven words of an environment, read but not yet in force."""
    return [src.at(k * osz // 8, osz).read() for k in range(7)]


def set_environment(words: list[Val], osz: int) -> None:
    """Put an environment in force."""
    cw, sw, tw = (w.low(16) for w in words[:3])
    ip, cs, dp, ds = words[3:]
    real = real_mode()
    if osz == 16:
        FIP.set(ip.zext(32) | select(real, (cs & 0xF000).zext(32) << 4, const(0, 32)))
        FDP.set(dp.zext(32) | select(real, (ds & 0xF000).zext(32) << 4, const(0, 32)))
        FCS.set(select(real, const(0, 16), cs))
        FDS.set(select(real, const(0, 16), ds))
        FOP.set(select(real, cs & 0x7FF, FOP.read()))
    else:
        FIP.set(select(real, (ip & 0xFFFF) | ((cs & 0x0FFFF000) << 4), ip))
        FDP.set(select(real, (dp & 0xFFFF) | ((ds & 0x0FFFF000) << 4), dp))
        FCS.set(select(real, const(0, 16), cs.low(16)))
        FDS.set(select(real, const(0, 16), ds.low(16)))
        FOP.set(select(real, cs, cs >> 16).low(16) & 0x7FF)
    set_tags(tw)
    set_control(cw, sw)


@insn("fnstenv {dst}", "D9 /6 M", see="vol. 2, FSTENV")
def fnstenv(dst: Op, *, osz: int) -> None:
    """Store the environment, then mask all exceptions."""
    available()
    store_environment(dst, osz)
    FCTRL.set(FCTRL.read() | 0x3F)
    FSTAT.set(FSTAT.read() & 0x7F7F)


@insn("fldenv {src}", "D9 /4 M", see="vol. 2, FLDENV")
def fldenv(src: Op, *, osz: int) -> None:
    """Load an environment."""
    waiting()
    set_environment(load_environment(src, osz), osz)


@insn("fnsave {dst}", "DD /6 M", see="vol. 2, FSAVE")
def fnsave(dst: Op, *, osz: int) -> None:
    """Store the environment and ST(0) to ST(7), then initialise the unit."""
    available()
    store_environment(dst, osz, 80)
    top = FSTAT.read().bits(11, 3).zext(8)
    base = 7 * (osz // 8)
    for k in range(8):
        p = (top + k) & 7
        dst.at(base + 10 * k, 64).set(sig_of(p))
        dst.at(base + 10 * k + 8, 16).set(se_of(p))
    initialise()


@insn("frstor {src}", "DD /4 M", see="vol. 2, FRSTOR")
def frstor(src: Op, *, osz: int) -> None:
    """Load what FNSAVE stored."""
    waiting()
    words = load_environment(src, osz)
    base = 7 * (osz // 8)
    reals = [(src.at(base + 10 * k, 64).read(), src.at(base + 10 * k + 8, 16).read()) for k in range(8)]
    set_environment(words, osz)
    top = words[1].bits(11, 3).zext(8)
    for k, (sig, se) in enumerate(reals):
        write_real((top + k) & 7, sig, se.zext(32))
