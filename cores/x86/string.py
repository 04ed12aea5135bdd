"""String instructions (SDM vol. 1, 7.3.9). With a repeat prefix each iteration is an instruction of its own to the
clock and to interrupts; the engine may do many at once through `bulk_*` as long as nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.trace import Operand, Val, branch, const, fieldvalue, finish_, select, value, when
from . import state as S
from .externs import (
    MEM_R,
    MEM_W,
    bulk_ins,
    bulk_movs,
    bulk_outs,
    bulk_stos,
    fault,
    mem_probe_w,
    port_r,
    port_w,
    unlikely,
)
from .flags import DF, set_arith
from .forms import gpr, insn
from .registers import get, protected_enabled, refuse
from .system import io_check

_FORMS = ("{}", "F3 {}", "F2 {}")


def _encodings(opcode: str) -> list[str]:
    return [f.format(opcode) for f in _FORMS]


def _step(width: int) -> Val:
    return select(DF.read(), const(-(width // 8), 32), const(width // 8, 32))


def _advance(reg: int, asz: int, by: Val) -> None:
    place = gpr(reg, asz)
    place.set(place.read() + by.low(asz))


def _overrun(seg: Val, index: int, width: int, asz: int, prefix: int, *stepped: int, counts: bool = True) -> None:
    """A word beyond the limit of its segment in real mode: the 80286 steps the index registers (and counts) before the
    segment-overrun exception, and no real-mode program can be restarted there. In protected mode nothing has moved."""
    if width == 8:
        return
    offset = gpr(index, asz).read().zext(32)
    last = get(S.SEG_LIMIT, seg) - (width // 8 - 1)
    with unlikely(~protected_enabled() & (offset > last)):
        for reg in stepped:
            _advance(reg, asz, _step(width))
        if counts and prefix >= 0:
            counter = gpr(S.ECX, asz)
            counter.set(counter.read() - 1)
        refuse(seg == S.SS, S.SS_)
        fault(S.GP)


def _repeat(
    asz: int,
    prefix: int,
    once: Callable[[], Val | None],
    bulk: Callable[[Val], Val] | None,
    move: Callable[[Val], None],
) -> None:
    """Run `once`, as often as the prefix asks; `move` advances the index registers by so many bytes.

    `bulk` may do several iterations in one go and tells how many. `once` may give the ZF that ends CMPS and SCAS."""
    if prefix < 0:
        once()
        move(const(1, 32))
        return
    counter = gpr(S.ECX, asz)
    count = counter.read()
    with when(count == 0, likely=False):
        finish_()
    start = fieldvalue("start", 32)
    if bulk is not None:
        done = bulk(count.zext(32))
        with when(done != 0):
            move(done)
            counter.set(count - done.low(asz))
            with when(count.zext(32) != done):
                branch(start)
            finish_()
    zf = once()
    move(const(1, 32))
    left = count - 1
    counter.set(left)
    again = left != 0
    if zf is not None:
        again = again & (zf if prefix == 2 else ~zf)
    with when(again):
        branch(start)


def _movs(width: int, asz: int, prefix: int) -> None:
    source, dest = gpr(S.ESI, asz), gpr(S.EDI, asz)
    seg = fieldvalue("seg", 8)

    def once() -> None:
        _overrun(seg, S.ESI, width, asz, prefix, S.ESI)
        v = MEM_R[width](seg, source.read().zext(32))
        _overrun(const(S.ES, 8), S.EDI, width, asz, prefix, S.ESI, S.EDI)
        MEM_W[width](const(S.ES, 8), dest.read().zext(32), v)

    def bulk(count: Val) -> Val:
        return value(
            bulk_movs(seg, source.read().zext(32), dest.read().zext(32), count, const(width // 8, 8), const(asz, 8))
        )

    def move(times: Val) -> None:
        by = _step(width) * times
        _advance(S.ESI, asz, by)
        _advance(S.EDI, asz, by)

    _repeat(asz, prefix, once, bulk, move)


@insn("movsb", _encodings("A4"), see="vol. 2, MOVS")
def movsb(*, asz: int, prefix: int) -> None:
    """Copy a byte from seg:rSI to ES:rDI and step both."""
    _movs(8, asz, prefix)


@insn("movsw|movsd", _encodings("A5"), see="vol. 2, MOVS")
def movs(*, osz: int, asz: int, prefix: int) -> None:
    """Copy a word or doubleword from seg:rSI to ES:rDI and step both."""
    _movs(osz, asz, prefix)


def _stos(width: int, asz: int, prefix: int) -> None:
    dest = gpr(S.EDI, asz)

    def once() -> None:
        _overrun(const(S.ES, 8), S.EDI, width, asz, prefix, S.EDI)
        MEM_W[width](const(S.ES, 8), dest.read().zext(32), gpr(S.EAX, width).read())

    def bulk(count: Val) -> Val:
        v = gpr(S.EAX, width).read().zext(32)
        return value(bulk_stos(dest.read().zext(32), v, count, const(width // 8, 8), const(asz, 8)))

    _repeat(asz, prefix, once, bulk, lambda times: _advance(S.EDI, asz, _step(width) * times))


@insn("stosb", _encodings("AA"), see="vol. 2, STOS")
def stosb(*, asz: int, prefix: int) -> None:
    """Store AL at ES:rDI and step."""
    _stos(8, asz, prefix)


@insn("stosw|stosd", _encodings("AB"), see="vol. 2, STOS")
def stos(*, osz: int, asz: int, prefix: int) -> None:
    """Store the accumulator at ES:rDI and step."""
    _stos(osz, asz, prefix)


def _lods(width: int, asz: int, prefix: int) -> None:
    def once() -> None:
        _overrun(fieldvalue("seg", 8), S.ESI, width, asz, prefix, S.ESI)
        gpr(S.EAX, width).set(MEM_R[width](fieldvalue("seg", 8), gpr(S.ESI, asz).read().zext(32)))

    _repeat(asz, prefix, once, None, lambda times: _advance(S.ESI, asz, _step(width) * times))


@insn("lodsb", _encodings("AC"), see="vol. 2, LODS")
def lodsb(*, asz: int, prefix: int) -> None:
    """Load AL from seg:rSI and step."""
    _lods(8, asz, prefix)


@insn("lodsw|lodsd", _encodings("AD"), see="vol. 2, LODS")
def lods(*, osz: int, asz: int, prefix: int) -> None:
    """Load the accumulator from seg:rSI and step."""
    _lods(osz, asz, prefix)


def _compare(a: Val, b: Val) -> Val:
    result = a - b
    set_arith(result, a < b, a ^ b ^ result)
    return result == 0


def _scas(width: int, asz: int, prefix: int) -> None:
    def once() -> Val:
        _overrun(const(S.ES, 8), S.EDI, width, asz, prefix, S.EDI, counts=False)
        return _compare(gpr(S.EAX, width).read(), MEM_R[width](const(S.ES, 8), gpr(S.EDI, asz).read().zext(32)))

    _repeat(asz, prefix, _used(once, prefix), None, lambda times: _advance(S.EDI, asz, _step(width) * times))


def _used(once: Callable[[], Val], prefix: int) -> Callable[[], Val | None]:
    """Without a prefix nobody looks at the ZF that `once` gives."""

    def plain() -> None:
        value(once())

    return plain if prefix < 0 else once


@insn("scasb", _encodings("AE"), see="vol. 2, SCAS")
def scasb(*, asz: int, prefix: int) -> None:
    """Compare AL with ES:rDI and step; F3 repeats while equal, F2 while not."""
    _scas(8, asz, prefix)


@insn("scasw|scasd", _encodings("AF"), see="vol. 2, SCAS")
def scas(*, osz: int, asz: int, prefix: int) -> None:
    """Compare the accumulator with ES:rDI and step; F3 repeats while equal, F2 while not."""
    _scas(osz, asz, prefix)


def _cmps(width: int, asz: int, prefix: int) -> None:
    def once() -> Val:
        _overrun(const(S.ES, 8), S.EDI, width, asz, prefix, S.EDI, counts=False)
        _overrun(fieldvalue("seg", 8), S.ESI, width, asz, prefix, S.ESI, S.EDI, counts=False)
        b = MEM_R[width](const(S.ES, 8), gpr(S.EDI, asz).read().zext(32))
        a = MEM_R[width](fieldvalue("seg", 8), gpr(S.ESI, asz).read().zext(32))
        return _compare(a, b)

    def move(times: Val) -> None:
        by = _step(width) * times
        _advance(S.ESI, asz, by)
        _advance(S.EDI, asz, by)

    _repeat(asz, prefix, _used(once, prefix), None, move)


@insn("cmpsb", _encodings("A6"), see="vol. 2, CMPS")
def cmpsb(*, asz: int, prefix: int) -> None:
    """Compare seg:rSI with ES:rDI, which is read first, and step both; F3 repeats while equal, F2 while not."""
    _cmps(8, asz, prefix)


@insn("cmpsw|cmpsd", _encodings("A7"), see="vol. 2, CMPS")
def cmps(*, osz: int, asz: int, prefix: int) -> None:
    """Compare seg:rSI with ES:rDI, which is read first, and step both; F3 repeats while equal, F2 while not."""
    _cmps(osz, asz, prefix)


def _ins(width: int, asz: int, prefix: int) -> None:
    port = gpr(S.EDX, 16)
    dest = gpr(S.EDI, asz)
    size = const(width // 8, 8)
    io_check(port.read(), size)

    def once() -> None:
        _overrun(const(S.ES, 8), S.EDI, width, asz, prefix, S.EDI)
        # The destination is checked first: a port read cannot be taken back.
        mem_probe_w(const(S.ES, 8), dest.read().zext(32), size.zext(32))
        v = value(port_r(port.read(), size))
        MEM_W[width](const(S.ES, 8), dest.read().zext(32), v.low(width))

    def bulk(count: Val) -> Val:
        return value(bulk_ins(port.read(), dest.read().zext(32), count, size, const(asz, 8)))

    _repeat(asz, prefix, once, bulk, lambda times: _advance(S.EDI, asz, _step(width) * times))


@insn("insb", _encodings("6C"), see="vol. 2, INS", ends="block")
def insb(*, asz: int, prefix: int) -> None:
    """Read port DX into ES:rDI and step."""
    _ins(8, asz, prefix)


@insn("insw|insd", _encodings("6D"), see="vol. 2, INS", ends="block")
def ins(*, osz: int, asz: int, prefix: int) -> None:
    """Read port DX into ES:rDI and step."""
    _ins(osz, asz, prefix)


def _outs(width: int, asz: int, prefix: int) -> None:
    port = gpr(S.EDX, 16)
    source = gpr(S.ESI, asz)
    seg = fieldvalue("seg", 8)
    size = const(width // 8, 8)
    io_check(port.read(), size)

    def once() -> None:
        _overrun(seg, S.ESI, width, asz, prefix, S.ESI)
        v = MEM_R[width](seg, source.read().zext(32))
        port_w(port.read(), size, v.zext(32))

    def bulk(count: Val) -> Val:
        return value(bulk_outs(port.read(), seg, source.read().zext(32), count, size, const(asz, 8)))

    _repeat(asz, prefix, once, bulk, lambda times: _advance(S.ESI, asz, _step(width) * times))


@insn("outsb", _encodings("6E"), see="vol. 2, OUTS", ends="block")
def outsb(*, asz: int, prefix: int) -> None:
    """Write seg:rSI to port DX and step."""
    _outs(8, asz, prefix)


@insn("outsw|outsd", _encodings("6F"), see="vol. 2, OUTS", ends="block")
def outs(*, osz: int, asz: int, prefix: int) -> None:
    """Write seg:rSI to port DX and step."""
    _outs(osz, asz, prefix)


def _port(op: Operand) -> Val:
    v = value(op)
    return v if v.width == 16 else v.zext(16)


@insn("in {dst}, {port}", ["E4 AL,Ib", "E5 eAX,Ib", "EC AL,DX", "ED eAX,DX"], see="vol. 2, IN", ends="block")
def in_(dst: Operand, port: Operand) -> None:
    """Read a port."""
    place = dst
    size = const(place.width // 8, 8)  # type: ignore[union-attr]
    number = _port(port)
    io_check(number, size)
    v = value(port_r(number, size))
    place.set(v.low(place.width))  # type: ignore[union-attr]


@insn("out {port}, {src}", ["E6 Ib,AL", "E7 Ib,eAX", "EE DX,AL", "EF DX,eAX"], see="vol. 2, OUT", ends="block")
def out(port: Operand, src: Operand) -> None:
    """Write a port."""
    v = value(src)
    size = const(v.width // 8, 8)
    number = _port(port)
    io_check(number, size)
    port_w(number, size, v.zext(32))
