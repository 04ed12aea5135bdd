"""SSE to SSE3 against rows typed from the manual (SDM vol. 1, chapters 10 to 12; vol. 2 under each mnemonic)."""

from __future__ import annotations

import random
import struct

import pytest

from cores.x86 import state as S
from cores.x86.forms import Form
from tests.cores.sse_machine import SIZE, Fault, Machine, find, forms
from tests.cores.sse_machine import eflags as flags_of

DEFAULT = 0x1F80
IE, DE, ZE, OE, UE, PE = (1 << n for n in range(6))
RC_DOWN, RC_UP, RC_ZERO = 0x2000, 0x4000, 0x6000
DAZ, FTZ = 0x0040, 0x8000
QNAN, SNAN, INF, DENORMAL = 0x7FC00000, 0x7F800001, 0x7F800000, 0x00000001
INDEFINITE = 0xFFC00000
AT = 0x100  # where memory operands are, aligned


def singles(*lanes: float | int) -> int:
    """128 bits of four singles, the lowest first; an int is the pattern itself."""
    bits = [x if isinstance(x, int) else struct.unpack("<I", struct.pack("<f", x))[0] for x in lanes]
    return sum(x << 32 * k for k, x in enumerate(bits))


def doubles(*lanes: float | int) -> int:
    """128 bits of two doubles, the lowest first; an int is the pattern itself."""
    bits = [x if isinstance(x, int) else struct.unpack("<Q", struct.pack("<d", x))[0] for x in lanes]
    return sum(x << 64 * k for k, x in enumerate(bits))


def words(*lanes: int) -> int:
    return sum((x & 0xFFFF) << 16 * k for k, x in enumerate(lanes))


def dwords(*lanes: int) -> int:
    return sum((x & 0xFFFFFFFF) << 32 * k for k, x in enumerate(lanes))


def run(mnemonic: str, dst: int, src: int, *, imm: int = 0, mxcsr: int = DEFAULT) -> tuple[int, int]:
    """Run `mnemonic xmm0, xmm1`; gives xmm0 and the exception flags that appeared."""
    m = Machine()
    m.set_xmm(0, dst)
    m.set_xmm(1, src)
    m.state.mxcsr = mxcsr
    m.execute(find(mnemonic), reg=0, rm=1, imm=imm)
    return m.xmm(0), m.state.mxcsr ^ mxcsr


ONES = 0xFFFFFFFF
HIGH = 0x0123456789ABCDEF << 64

ROWS = [
    # mnemonic, destination, source, immediate, MXCSR, result, flags
    ("addps", singles(1.0, 2.0, 3.0, 4.0), singles(0.5, -2.0, 1e30, 4.0), 0, DEFAULT, singles(1.5, 0.0, 1e30, 8.0), PE),
    ("addss", singles(1.0, 2.0, 3.0, 4.0), singles(0.5, 9.0, 9.0, 9.0), 0, DEFAULT, singles(1.5, 2.0, 3.0, 4.0), 0),
    ("addsd", doubles(1.0, 7.0), doubles(2.0**-60, 9.0), 0, DEFAULT, doubles(1.0, 7.0), PE),
    ("addsd", doubles(1.0, 7.0), doubles(2.0**-60, 9.0), 0, DEFAULT | RC_UP, doubles(1.0 + 2.0**-52, 7.0), PE),
    ("addpd", doubles(1.0, -1.0), doubles(2.0**-60, 2.0**-60), 0, DEFAULT | RC_ZERO, doubles(1.0, -1.0 + 2.0**-53), PE),
    ("subps", singles(INF, 1.0, 1.0, 1.0), singles(INF, 1.0, 1.0, 1.0), 0, DEFAULT,
     singles(INDEFINITE, 0.0, 0.0, 0.0), IE),
    ("subsd", doubles(1.0, 7.0), doubles(1.0, 0.0), 0, DEFAULT | RC_DOWN, doubles(-0.0, 7.0), 0),
    ("mulss", singles(3e38, 0, 0, 0), singles(10.0, 0, 0, 0), 0, DEFAULT, singles(INF, 0, 0, 0), OE | PE),
    ("mulss", singles(1e-30, 0, 0, 0), singles(1e-30, 0, 0, 0), 0, DEFAULT, 0, UE | PE),
    ("mulss", singles(DENORMAL, 0, 0, 0), singles(1.0, 0, 0, 0), 0, DEFAULT, singles(DENORMAL, 0, 0, 0), DE),
    ("mulss", singles(DENORMAL, 0, 0, 0), singles(1.0, 0, 0, 0), 0, DEFAULT | DAZ, 0, 0),
    ("mulss", singles(2.0**-126, 0, 0, 0), singles(0.5, 0, 0, 0), 0, DEFAULT, singles(0x00400000, 0, 0, 0), 0),
    ("mulss", singles(2.0**-126, 0, 0, 0), singles(-0.5, 0, 0, 0), 0, DEFAULT | FTZ, singles(-0.0, 0, 0, 0), UE | PE),
    ("divps", singles(1.0, -1.0, 0.0, 6.0), singles(0.0, 0.0, 0.0, 3.0), 0, DEFAULT,
     singles(INF, 0xFF800000, INDEFINITE, 2.0), ZE | IE),
    ("divsd", doubles(1.0, 3.0), doubles(4.0, 5.0), 0, DEFAULT, doubles(0.25, 3.0), 0),
    ("sqrtps", 0, singles(4.0, 9.0, -0.0, -1.0), 0, DEFAULT, singles(2.0, 3.0, -0.0, INDEFINITE), IE),
    ("sqrtsd", doubles(0.0, 5.0), doubles(2.25, 1.0), 0, DEFAULT, doubles(1.5, 5.0), 0),
    # A NaN operand: the first one is returned, quiet.
    ("addps", singles(SNAN, 1.0, 0x7FC00005, 1.0), singles(QNAN, QNAN, 0x7FC00006, SNAN), 0, DEFAULT,
     singles(0x7FC00001, QNAN, 0x7FC00005, 0x7FC00001), IE),
    # MIN and MAX: the source, whatever the reason.
    ("minps", singles(1.0, -0.0, QNAN, 1.0), singles(2.0, 0.0, 3.0, SNAN), 0, DEFAULT,
     singles(1.0, 0.0, 3.0, SNAN), IE),
    ("maxps", singles(1.0, 0.0, QNAN, 5.0), singles(2.0, -0.0, 3.0, 4.0), 0, DEFAULT, singles(2.0, -0.0, 3.0, 5.0), IE),
    ("minsd", doubles(1.0, 7.0), doubles(-1.0, 8.0), 0, DEFAULT, doubles(-1.0, 7.0), 0),
    ("maxpd", doubles(1.0, 7.0), doubles(-1.0, 8.0), 0, DEFAULT, doubles(1.0, 8.0), 0),
    # Table of predicates against less, equal, greater and unordered.
    *[("cmpps", singles(1.0, 2.0, 3.0, QNAN), singles(2.0, 2.0, 2.0, 2.0), k, DEFAULT,
       dwords(*(ONES * int(c) for c in holds)), IE if k & 3 in (1, 2) else 0)
      for k, holds in enumerate(("0100", "1000", "1100", "0001", "1011", "0111", "0011", "1110"))],
    ("cmpss", singles(1.0, 5, 6, 7), singles(SNAN, 1, 1, 1), 3, DEFAULT, dwords(ONES, 5, 6, 7), IE),
    ("cmppd", doubles(1.0, 2.0), doubles(1.0, 1.0), 0, DEFAULT, 2**64 - 1, 0),
    ("cmpsd", doubles(1.0, 2.0), doubles(3.0, 1.0), 1, DEFAULT, (2**64 - 1) | doubles(0, 2.0), 0),
    ("rcpps", 0, singles(2.0, -0.0, INF, 0.25), 0, DEFAULT, singles(0.5, 0xFF800000, 0.0, 4.0), 0),
    ("rcpps", 0, singles(DENORMAL, 2.0**127, SNAN, -4.0), 0, DEFAULT, singles(INF, 0.0, 0x7FC00001, -0.25), 0),
    ("rsqrtps", 0, singles(4.0, 0.0, -0.0, -4.0), 0, DEFAULT, singles(0.5, INF, 0xFF800000, INDEFINITE), 0),
    ("rcpss", singles(9.0, 1.0, 2.0, 3.0), singles(8.0, 0, 0, 0), 0, DEFAULT, singles(0.125, 1.0, 2.0, 3.0), 0),
    ("andnps", dwords(0xF0, 0, ONES, 1), dwords(0xFF, 5, 7, 3), 0, DEFAULT, dwords(0x0F, 5, 0, 2), 0),
    ("shufps", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0b00_01_10_11, DEFAULT, dwords(4, 3, 6, 5), 0),
    ("shufpd", doubles(1, 2), doubles(3, 4), 1, DEFAULT, doubles(2, 3), 0),
    ("unpcklps", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(1, 5, 2, 6), 0),
    ("unpckhps", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(3, 7, 4, 8), 0),
    ("unpckhpd", doubles(1, 2), doubles(3, 4), 0, DEFAULT, doubles(2, 4), 0),
    ("movhlps", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(7, 8, 3, 4), 0),
    ("movlhps", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(1, 2, 5, 6), 0),
    ("movss", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(5, 2, 3, 4), 0),
    ("movsd", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(5, 6, 3, 4), 0),
    ("movq", dwords(1, 2, 3, 4), dwords(5, 6, 7, 8), 0, DEFAULT, dwords(5, 6, 0, 0), 0),
    # Conversions.
    ("cvtdq2ps", 0, dwords(1, -1, 0x7FFFFFFF, 0x01000001), 0, DEFAULT, singles(1.0, -1.0, 2.0**31, 2.0**24), PE),
    ("cvtps2dq", 0, singles(2.5, 3.5, -2.5, 3e9), 0, DEFAULT, dwords(2, 4, -2, 0x80000000), IE | PE),
    ("cvtps2dq", 0, singles(2.5, -2.5, 1.0, -1.0), 0, DEFAULT | RC_UP, dwords(3, -2, 1, -1), PE),
    ("cvttps2dq", 0, singles(2.9, -2.9, QNAN, 1.0), 0, DEFAULT, dwords(2, -2, 0x80000000, 1), IE | PE),
    ("cvtps2pd", 0, singles(1.5, -2.0, SNAN, SNAN), 0, DEFAULT, doubles(1.5, -2.0), 0),
    ("cvtpd2ps", HIGH, doubles(1.5, 1e300), 0, DEFAULT, singles(1.5, INF, 0, 0), OE | PE),
    ("cvtss2sd", HIGH | 5, singles(0x7F800001, 0, 0, 0), 0, DEFAULT, HIGH | 0x7FF8000020000000, IE),
    ("cvtsd2ss", HIGH | 5 << 32, doubles(0.1, 0), 0, DEFAULT, HIGH | 5 << 32 | 0x3DCCCCCD, PE),
    ("cvtdq2pd", 0, dwords(7, -7, 1, 1), 0, DEFAULT, doubles(7.0, -7.0), 0),
    ("cvtpd2dq", HIGH, doubles(2.5, -3.5), 0, DEFAULT, dwords(2, -4, 0, 0), PE),
    ("cvttpd2dq", HIGH, doubles(2.9, 2.0**31), 0, DEFAULT, dwords(2, 0x80000000, 0, 0), IE | PE),
    # Integers.
    ("paddb", dwords(0x01FF7F80, 0, 0, 0), dwords(0x01018080, 0, 0, 1), 0, DEFAULT, dwords(0x0200FF00, 0, 0, 1), 0),
    ("paddq", doubles(2**64 - 1, 1), doubles(1, 1), 0, DEFAULT, doubles(0, 2), 0),
    ("psubusw", words(1, 5, 0xFFFF, 0, 9, 0, 0, 0), words(2, 3, 1, 1, 9, 0, 0, 1), 0, DEFAULT, words(0, 2, 0xFFFE), 0),
    ("paddsw", words(0x7FFF, 0x8000, 1), words(1, -1, 1), 0, DEFAULT, words(0x7FFF, 0x8000, 2), 0),
    ("pmuludq", dwords(ONES, 9, 3, 9), dwords(ONES, 9, 5, 9), 0, DEFAULT, doubles(0xFFFFFFFE00000001, 15), 0),
    ("pmaddwd", words(-32768, -32768, 1, 2), words(-32768, -32768, 3, 4), 0, DEFAULT, dwords(0x80000000, 11, 0, 0), 0),
    ("psadbw", dwords(0x01020304, 0, 0xFF, 0), dwords(0x04030201, 0, 0, 1), 0, DEFAULT, doubles(8, 256), 0),
    ("pandn", dwords(0xF0, 0, 0, 0), dwords(0xFF, 1, 0, 0), 0, DEFAULT, dwords(0x0F, 1, 0, 0), 0),
    ("packssdw", dwords(70000, -70000, 1, -1), dwords(5, 6, 7, 8), 0, DEFAULT,
     words(32767, -32768, 1, -1, 5, 6, 7, 8), 0),
    ("packuswb", words(-1, 255, 256, 7), words(1), 0, DEFAULT, dwords(0x07FFFF00, 0, 1, 0), 0),
    ("punpckhwd", words(0, 0, 0, 0, 1, 2, 3, 4), words(0, 0, 0, 0, 5, 6, 7, 8), 0, DEFAULT,
     words(1, 5, 2, 6, 3, 7, 4, 8), 0),
    ("punpcklqdq", doubles(1, 2), doubles(3, 4), 0, DEFAULT, doubles(1, 3), 0),
    ("punpckhqdq", doubles(1, 2), doubles(3, 4), 0, DEFAULT, doubles(2, 4), 0),
    ("pshufd", 0, dwords(1, 2, 3, 4), 0b00_01_10_11, DEFAULT, dwords(4, 3, 2, 1), 0),
    ("pshuflw", 0, words(1, 2, 3, 4, 5, 6, 7, 8), 0b00_01_10_11, DEFAULT, words(4, 3, 2, 1, 5, 6, 7, 8), 0),
    ("pshufhw", 0, words(1, 2, 3, 4, 5, 6, 7, 8), 0b00_01_10_11, DEFAULT, words(1, 2, 3, 4, 8, 7, 6, 5), 0),
    ("psrlw", words(0x8000, 1), doubles(15, 99), 0, DEFAULT, words(1, 0), 0),
    ("psrlw", words(0x8000, 1), doubles(16, 0), 0, DEFAULT, 0, 0),
    ("psraw", words(0x8000, 1), doubles(2**40, 0), 0, DEFAULT, words(-1, 0), 0),
    ("pslld", dwords(1, 3, 1, 1), doubles(31, 0), 0, DEFAULT, dwords(1 << 31, 1 << 31, 1 << 31, 1 << 31), 0),
    ("psllq", doubles(3, 1), doubles(63, 0), 0, DEFAULT, doubles(1 << 63, 1 << 63), 0),
    # SSE3.
    ("addsubps", singles(1.0, 1.0, 1.0, 1.0), singles(2.0, 2.0, 3.0, 3.0), 0, DEFAULT,
     singles(-1.0, 3.0, -2.0, 4.0), 0),
    ("haddps", singles(1.0, 2.0, 3.0, 4.0), singles(5.0, 6.0, 7.0, 8.0), 0, DEFAULT, singles(3.0, 7.0, 11.0, 15.0), 0),
    ("hsubpd", doubles(5.0, 2.0), doubles(1.0, 4.0), 0, DEFAULT, doubles(3.0, -3.0), 0),
    ("movshdup", 0, dwords(1, 2, 3, 4), 0, DEFAULT, dwords(2, 2, 4, 4), 0),
    ("movddup", 0, doubles(1, 2), 0, DEFAULT, doubles(1, 1), 0),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r[0])
def test_the_instruction_gives_what_the_manual_says(row: tuple[str, int, int, int, int, int, int]) -> None:
    mnemonic, dst, src, imm, mxcsr, result, flags = row
    got, raised = run(mnemonic, dst, src, imm=imm, mxcsr=mxcsr)
    assert f"{got:032x}" == f"{result:032x}"
    assert raised == flags


def both_ways() -> list[tuple[str, tuple[str, ...]]]:
    """Mnemonics and codes of the forms with a register and a memory source."""
    seen = []
    for name, found in forms().items():
        for form in found:
            kind = {f.mem for f in found if f.codes == form.codes and f.prefix == form.prefix}
            if form.mem == 1 and kind == {0, 1} and form.codes[0][0] == "V":
                seen.append((name, form.codes))
    return seen


@pytest.mark.parametrize(("mnemonic", "codes"), both_ways(), ids=lambda x: x if isinstance(x, str) else "")
def test_a_memory_source_gives_what_a_register_source_gives(mnemonic: str, codes: tuple[str, ...]) -> None:
    rng = random.Random(mnemonic)
    dst, src, imm = rng.getrandbits(128), rng.getrandbits(128), rng.getrandbits(8)
    by_register, by_memory = Machine(), Machine()
    for m in (by_register, by_memory):
        m.set_xmm(3, dst)
        m.set_xmm(1, src)
        m.state.gpr[1] = src & 0xFFFFFFFF
        m.state.fpr_sig[1] = src & (1 << 64) - 1
        m.state.fpr_se[1] = 0xFFFF
        m.memory[AT : AT + 16] = src.to_bytes(16, "little")
    if mnemonic in ("movss", "movsd"):  # the load clears what the move between registers keeps
        by_register.set_xmm(3, 0)
    by_register.execute(find(mnemonic, *codes), reg=3, rm=1, imm=imm)
    by_memory.execute(find(mnemonic, *codes, mem=True), reg=3, disp=AT, imm=imm)
    assert by_register.xmm(3) == by_memory.xmm(3)
    assert by_register.state.mxcsr == by_memory.state.mxcsr


UNALIGNED = {"movups", "movupd", "movdqu", "lddqu"}


def whole_vectors() -> list[tuple[str, tuple[str, ...]]]:
    return [
        (name, form.codes)
        for name, found in forms().items()
        for form in found
        if form.mem == 1
        and any(c in ("Wps", "Wpd", "Wdq", "M") for c in form.codes)
        and any("V" in c for c in form.codes)
    ]


@pytest.mark.parametrize(("mnemonic", "codes"), whole_vectors(), ids=lambda x: x if isinstance(x, str) else "")
def test_a_misaligned_vector_in_memory_is_a_protection_fault_unless_the_move_is_unaligned(
    mnemonic: str, codes: tuple[str, ...]
) -> None:
    m = Machine()
    form = find(mnemonic, *codes, mem=True)
    if mnemonic in UNALIGNED:
        m.execute(form, disp=AT + 4)
        return
    before = m.state.as_dict(), bytes(m.memory)
    with pytest.raises(Fault) as caught:
        m.execute(form, disp=AT + 8)
    assert (caught.value.vector, caught.value.error) == (S.GP, 0)
    assert (m.state.as_dict(), bytes(m.memory)) == before


def test_alignment_is_that_of_the_linear_address() -> None:
    m = Machine()
    m.state.seg_base[S.DS] = 8
    m.execute(find("movaps", "Vps", "Wps", mem=True), disp=AT + 8)
    with pytest.raises(Fault):
        m.execute(find("movaps", "Vps", "Wps", mem=True), disp=AT)


def test_a_scalar_in_memory_needs_no_alignment_and_reads_no_further() -> None:
    m = Machine()
    m.memory[SIZE - 4 :] = struct.pack("<f", 2.5)
    m.execute(find("addss", mem=True), disp=SIZE - 4)
    assert m.xmm(0) == singles(2.5, 0, 0, 0)


def test_an_unaligned_store_that_faults_in_its_second_half_writes_nothing() -> None:
    m = Machine()
    m.set_xmm(0, (1 << 128) - 1)
    with pytest.raises(Fault):
        m.execute(find("movups", "Wps", "Vps", mem=True), disp=SIZE - 8)
    assert not any(m.memory)


@pytest.mark.parametrize("mnemonic", ["movaps", "movdqu"])
def test_a_store_that_the_segment_limit_cuts_writes_nothing(mnemonic: str) -> None:
    m = Machine()
    m.set_xmm(0, (1 << 128) - 1)
    m.state.seg_limit[S.DS] = AT + 14
    codes = ("Wps", "Vps") if mnemonic == "movaps" else ("Wdq", "Vdq")
    with pytest.raises(Fault):
        m.execute(find(mnemonic, *codes, mem=True), disp=AT)
    assert not any(m.memory)
    m.state.seg_limit[S.DS] = AT + 15
    m.execute(find(mnemonic, *codes, mem=True), disp=AT)
    assert m.memory[AT : AT + 16] == b"\xff" * 16


@pytest.mark.parametrize(
    ("cr0", "cr4", "vector"),
    [
        (1 << S.CR0_EM, 1 << S.CR4_OSFXSR, S.UD),
        (1 << S.CR0_EM | 1 << S.CR0_TS, 1 << S.CR4_OSFXSR, S.UD),
        (0, 0, S.UD),
        (1 << S.CR0_TS, 0, S.UD),
        (1 << S.CR0_TS, 1 << S.CR4_OSFXSR, S.NM),
    ],
)
@pytest.mark.parametrize("mnemonic", ["addsd", "movups", "pxor", "ucomiss", "cvtsi2sd", "pmovmskb"])
def test_the_instructions_are_refused_as_cr0_and_cr4_say(mnemonic: str, cr0: int, cr4: int, vector: int) -> None:
    m = Machine()
    m.state.cr0, m.state.cr4 = cr0, cr4
    with pytest.raises(Fault) as caught:
        m.execute(find(mnemonic))
    assert caught.value.vector == vector


@pytest.mark.parametrize("mnemonic", ["movnti", "prefetcht0", "clflush"])
def test_cache_hints_and_movnti_do_not_depend_on_cr0_and_cr4(mnemonic: str) -> None:
    m = Machine()
    m.state.cr0, m.state.cr4 = 1 << S.CR0_TS | 1 << S.CR0_EM, 0
    m.state.gpr[0] = 0x12345678
    m.execute(find(mnemonic, mem=True), disp=AT)
    assert m.memory[AT : AT + 4] == (b"\x78\x56\x34\x12" if mnemonic == "movnti" else bytes(4))


def test_clflush_checks_its_address_and_prefetch_does_not() -> None:
    with pytest.raises(Fault):
        Machine().execute(find("clflush", mem=True), disp=SIZE)
    Machine().execute(find("prefetchnta", mem=True), disp=SIZE)


# --- exceptions ----------------------------------------------------------------------------------------------------


def unmask(*flags: int) -> int:
    return DEFAULT & ~(sum(flags) << 7)


@pytest.mark.parametrize(
    ("mnemonic", "dst", "src", "mxcsr", "flags"),
    [
        ("divps", singles(1.0, 1.0, 1.0, 1.0), singles(0.0, 3.0, 1.0, 1.0), unmask(ZE), ZE),
        ("divps", singles(1.0, 0.0, 1.0, 1.0), singles(0.0, 0.0, 1.0, 1.0), unmask(ZE), ZE | IE),
        ("addsd", doubles(1.0, 0), doubles(1e-300, 0), unmask(PE), PE),
        ("mulss", singles(3e38, 0, 0, 0), singles(3e38, 0, 0, 0), unmask(OE), OE | PE),
        ("mulss", singles(DENORMAL, 0, 0, 0), singles(3.0, 0, 0, 0), unmask(DE), DE),
        ("cvttss2si", 0, singles(QNAN, 0, 0, 0), unmask(IE), IE),
        ("comisd", doubles(1.0, 0), doubles(0x7FF8 << 48, 0), unmask(IE), IE),
        ("sqrtsd", 0, doubles(-1.0, 0), unmask(IE), IE),
    ],
)
def test_an_unmasked_exception_leaves_the_destination_and_reports_its_flags(
    mnemonic: str, dst: int, src: int, mxcsr: int, flags: int
) -> None:
    m = Machine()
    m.set_xmm(0, dst)
    m.set_xmm(1, src)
    m.state.gpr[0] = 77
    m.state.mxcsr = mxcsr
    before = m.state.as_dict()
    with pytest.raises(Fault) as caught:
        m.execute(find(mnemonic), reg=0, rm=1)
    assert caught.value.vector == S.XM
    assert m.state.as_dict() == before | {"mxcsr": mxcsr | flags}


def test_an_exception_before_computing_hides_those_of_other_lanes_after_computing() -> None:
    m = Machine()
    m.set_xmm(0, singles(1.0, 1.0, 3e38, 1.0))
    m.set_xmm(1, singles(0.0, 3.0, 1e-10, 1.0))
    m.state.mxcsr = unmask(ZE, OE, PE)
    with pytest.raises(Fault):
        m.execute(find("divps"), reg=0, rm=1)
    assert m.state.mxcsr == unmask(ZE, OE, PE) | ZE


def test_an_unmasked_exception_is_an_undefined_opcode_without_osxmmexcpt() -> None:
    m = Machine()
    m.state.cr4 = 1 << S.CR4_OSFXSR
    m.state.mxcsr = unmask(ZE)
    m.set_xmm(0, singles(1.0, 0, 0, 0))
    with pytest.raises(Fault) as caught:
        m.execute(find("divss"), reg=0, rm=1)
    assert caught.value.vector == S.UD
    assert m.state.mxcsr == unmask(ZE) | ZE


def test_a_flag_that_is_already_set_still_traps_when_it_is_unmasked() -> None:
    m = Machine()
    m.state.mxcsr = unmask(PE) | PE
    m.set_xmm(0, doubles(1.0, 0))
    m.set_xmm(1, doubles(3.0, 0))
    with pytest.raises(Fault) as caught:
        m.execute(find("divsd"), reg=0, rm=1)
    assert caught.value.vector == S.XM


@pytest.mark.parametrize(
    ("a", "b", "quiet_nan", "eflags"),
    [(1.0, 2.0, False, 0x001), (2.0, 2.0, False, 0x040), (3.0, 2.0, False, 0x000), (1.0, QNAN, True, 0x045)],
)
@pytest.mark.parametrize("mnemonic", ["comiss", "ucomiss"])
def test_scalar_comparison_sets_three_flags_and_clears_three(
    mnemonic: str, a: float, b: float, quiet_nan: bool, eflags: int
) -> None:
    m = Machine()
    m.set_xmm(0, singles(a, 0, 0, 0))
    m.set_xmm(1, singles(b, 0, 0, 0))
    s = m.state
    s.cf, s.cc_z, s.cc_s, s.cc_aux = 1, 0, 0x80000000, 0x10
    m.execute(find(mnemonic), reg=0, rm=1)
    assert flags_of(s) == eflags
    assert s.mxcsr & 0x3F == (IE if quiet_nan and mnemonic == "comiss" else 0)


def test_a_conversion_to_an_integer_register_rounds_or_truncates() -> None:
    for mnemonic, expected in (("cvtsd2si", 4), ("cvttsd2si", 3)):
        m = Machine()
        m.set_xmm(1, doubles(3.5, 0))
        m.execute(find(mnemonic), reg=2, rm=1)
        assert m.state.gpr[2] == expected


def test_an_integer_too_wide_for_a_single_is_rounded() -> None:
    m = Machine()
    m.state.gpr[1] = 0xFFFFFFFF & -16777217
    m.execute(find("cvtsi2ss"), reg=0, rm=1)
    assert m.xmm(0) == singles(-16777216.0, 0, 0, 0)
    assert m.state.mxcsr & 0x3F == PE


# --- moves with general registers and memory -----------------------------------------------------------------------


def test_sign_masks_are_collected_from_the_lowest_lane_up() -> None:
    for mnemonic, value, expected in (
        ("movmskps", singles(-1.0, 1.0, 1.0, -1.0), 0b1001),
        ("movmskpd", doubles(1.0, -0.0), 0b10),
        ("pmovmskb", 0x80 | 0x80 << 72 | 0xFF << 120, 0x8201),
    ):
        m = Machine()
        m.set_xmm(1, value)
        m.state.gpr[2] = 0xFFFFFFFF
        m.execute(find(mnemonic), reg=2, rm=1)
        assert m.state.gpr[2] == expected


def test_words_go_to_and_from_general_registers_by_the_low_three_bits_of_the_immediate() -> None:
    m = Machine()
    m.set_xmm(1, words(10, 11, 12, 13, 14, 15, 16, 17))
    m.execute(find("pextrw", "Gd", "Udq", "Ib"), reg=2, rm=1, imm=0xF6)
    assert m.state.gpr[2] == 16
    m.state.gpr[3] = 0xABCD1234
    m.execute(find("pinsrw", "Vdq", "Ew", "Ib"), reg=1, rm=3, imm=0xF9)
    assert m.xmm(1) == words(10, 0x1234, 12, 13, 14, 15, 16, 17)
    m.execute(find("pinsrw", "Vdq", "Ew", "Ib"), reg=1, rm=3, imm=5)
    assert m.xmm(1) == words(10, 0x1234, 12, 13, 14, 0x1234, 16, 17)


def test_a_load_of_a_part_clears_the_rest_only_where_the_manual_says_so() -> None:
    for mnemonic, codes, expected in (
        ("movss", ("Vss", "Wss"), 0x03020100),
        ("movsd", ("Vsd", "Wsd"), 0x0706050403020100),
        ("movq", ("Vq", "Wq"), 0x0706050403020100),
        ("movd", ("Vd", "Ed"), 0x03020100),
        ("movlps", ("Vq", "Mq"), HIGH | 0x0706050403020100),
        ("movhpd", ("Vq", "Mq"), 0x0706050403020100 << 64 | 0x55),
    ):
        m = Machine()
        m.set_xmm(0, HIGH | 0x55)
        m.memory[AT : AT + 16] = bytes(range(16))
        m.execute(find(mnemonic, *codes, mem=True), reg=0, disp=AT)
        assert m.xmm(0) == expected, mnemonic


def test_a_store_of_a_part_writes_just_that_part() -> None:
    for mnemonic, codes, expected in (
        ("movss", ("Wss", "Vss"), bytes(range(4))),
        ("movd", ("Ed", "Vd"), bytes(range(4))),
        ("movsd", ("Wsd", "Vsd"), bytes(range(8))),
        ("movq", ("Wq", "Vq"), bytes(range(8))),
        ("movlpd", ("Mq", "Vq"), bytes(range(8))),
        ("movhps", ("Mq", "Vq"), bytes(range(8, 16))),
    ):
        m = Machine()
        m.set_xmm(0, int.from_bytes(bytes(range(16)), "little"))
        m.memory[:] = b"\xee" * SIZE
        m.execute(find(mnemonic, *codes, mem=True), reg=0, disp=AT)
        assert m.memory[AT : AT + 16] == expected + b"\xee" * (16 - len(expected)), mnemonic


@pytest.mark.parametrize("asz", [16, 32])
def test_maskmovdqu_stores_the_bytes_with_a_set_mask_at_edi(asz: int) -> None:
    m = Machine()
    m.set_xmm(0, int.from_bytes(bytes(range(1, 17)), "little"))
    m.set_xmm(1, 0x80 | 0x7F << 8 | 0xFF << 56 | 0x80 << 64 | 0x80 << 120)
    m.state.gpr[S.EDI] = AT + 3 if asz == 32 else 0x10000 + AT + 3
    form = next(f for f in forms()["maskmovdqu"] if f.asz == asz)
    m.execute(form, reg=0, rm=1)
    expected = bytearray(SIZE)
    for k in (0, 7, 8, 15):
        expected[AT + 3 + k] = k + 1
    assert m.memory == expected


def test_maskmovdqu_with_an_empty_mask_touches_nothing() -> None:
    m = Machine()
    m.state.gpr[S.EDI] = SIZE
    m.execute(next(f for f in forms()["maskmovdqu"] if f.asz == 32), reg=0, rm=1)
    assert not any(m.memory)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 200])
def test_byte_shifts_move_the_whole_register_and_clear_it_from_sixteen_on(count: int) -> None:
    value = 0x0F0E0D0C0B0A09080706050403020100
    for mnemonic, expected in (("psrldq", value >> 8 * count), ("pslldq", value << 8 * count & (1 << 128) - 1)):
        m = Machine()
        m.set_xmm(2, value)
        m.execute(find(mnemonic), rm=2, imm=count)
        assert m.xmm(2) == expected


@pytest.mark.parametrize(
    ("mnemonic", "count", "expected"),
    [
        ("psrlw", 4, words(0x0800, 1)),
        ("psraw", 4, words(-0x0800, 1)),
        ("psraw", 255, words(-1, 0)),
        ("psllw", 4, words(0, 0x0100)),
        ("psrlw", 16, 0),
        ("psrld", 8, dwords(0x1080)),
        ("psrlq", 63, 0),
        ("psllq", 64, 0),
    ],
)
def test_lane_shifts_take_an_immediate_count(mnemonic: str, count: int, expected: int) -> None:
    m = Machine()
    m.set_xmm(2, words(0x8000, 0x0010))
    form = next(f for f in forms()[mnemonic] if f.codes == ("Udq", "Ib"))
    m.execute(form, rm=2, imm=count)
    assert m.xmm(2) == expected


# --- MXCSR and FXSAVE ----------------------------------------------------------------------------------------------


def test_ldmxcsr_refuses_reserved_bits_and_stmxcsr_stores() -> None:
    m = Machine()
    m.memory[AT : AT + 4] = (0xFFFF).to_bytes(4, "little")
    m.execute(find("ldmxcsr", mem=True), disp=AT)
    assert m.state.mxcsr == 0xFFFF
    m.execute(find("stmxcsr", mem=True), disp=AT + 4)
    assert m.memory[AT + 4 : AT + 8] == (0xFFFF).to_bytes(4, "little")
    m.memory[AT + 2] = 1
    with pytest.raises(Fault) as caught:
        m.execute(find("ldmxcsr", mem=True), disp=AT)
    assert caught.value.vector == S.GP


def filled() -> Machine:
    """A machine with something of its own in every register that FXSAVE saves."""
    m = Machine()
    s = m.state
    s.fctrl, s.fstat, s.ftag, s.fop = 0x027F, 0x3D21, 0xA5, 0x0123
    s.fip, s.fcs, s.fdp, s.fds = 0x11223344, 0x0008, 0x55667788, 0x0010
    for k in range(8):
        s.fpr_sig[k] = 0x8000000000000000 + k
        s.fpr_se[k] = 0x4000 + k
        m.set_xmm(k, (k + 1) << 96 | k)
    s.mxcsr = 0x1FA0
    return m


def test_fxsave_lays_the_state_out_as_the_manual_draws_it() -> None:
    m = filled()
    m.memory[:] = b"\xee" * SIZE
    m.execute(find("fxsave", mem=True), disp=AT)
    area = bytes(m.memory[AT : AT + 512])
    assert struct.unpack_from("<HHBxH", area) == (0x027F, 0x3D21, 0xA5, 0x0123)
    assert struct.unpack_from("<IHxxIHxx", area, 8) == (0x11223344, 8, 0x55667788, 0x10)
    assert struct.unpack_from("<II", area, 24) == (0x1FA0, 0xFFFF)
    # TOP is 7: ST(0) is R7, ST(1) is R0.
    assert struct.unpack_from("<QH", area, 32) == (0x8000000000000007, 0x4007)
    assert struct.unpack_from("<QH", area, 48) == (0x8000000000000000, 0x4000)
    assert int.from_bytes(area[160 + 16 * 5 : 176 + 16 * 5], "little") == m.xmm(5)
    assert area[416:] == b"\xee" * 96


def test_fxrstor_brings_back_what_fxsave_saved() -> None:
    m = filled()
    before = m.state.as_dict()
    m.execute(find("fxsave", mem=True), disp=AT)
    fresh = Machine()
    fresh.memory[:] = m.memory
    fresh.execute(find("fxrstor", mem=True), disp=AT)
    assert fresh.state.as_dict() == before


def test_fxrstor_with_a_reserved_bit_of_mxcsr_changes_nothing() -> None:
    m = filled()
    m.execute(find("fxsave", mem=True), disp=AT)
    m.memory[AT + 26] = 1
    fresh = Machine()
    fresh.memory[:] = m.memory
    before = fresh.state.as_dict()
    with pytest.raises(Fault) as caught:
        fresh.execute(find("fxrstor", mem=True), disp=AT)
    assert caught.value.vector == S.GP
    assert fresh.state.as_dict() == before


def test_fxrstor_derives_the_error_summary_from_flags_and_masks() -> None:
    m = filled()
    m.state.fctrl, m.state.fstat = 0x037E, 0x0001
    m.execute(find("fxsave", mem=True), disp=AT)
    m.execute(find("fxrstor", mem=True), disp=AT)
    assert m.state.fstat == 0x8081


def test_without_osfxsr_the_xmm_registers_and_mxcsr_are_left_out() -> None:
    m = filled()
    m.state.cr4 = 0
    m.memory[:] = b"\xee" * SIZE
    m.execute(find("fxsave", mem=True), disp=AT)
    assert m.memory[AT + 24 : AT + 32] == b"\xee" * 8
    assert m.memory[AT + 160 : AT + 288] == b"\xee" * 128
    before = m.state.as_dict()
    m.execute(find("fxrstor", mem=True), disp=AT)
    assert m.state.as_dict() == before


@pytest.mark.parametrize("mnemonic", ["fxsave", "fxrstor"])
def test_the_save_area_must_be_aligned_and_wholly_there(mnemonic: str) -> None:
    for cr0, disp, vector in (
        (0, AT + 8, S.GP),
        (0, SIZE - 496, S.PF_),
        (1 << S.CR0_TS, AT, S.NM),
        (1 << S.CR0_EM, AT, S.NM),
    ):
        m = filled()
        m.state.cr0 = cr0
        before = m.state.as_dict(), bytes(m.memory)
        with pytest.raises(Fault) as caught:
            m.execute(find(mnemonic, mem=True), disp=disp)
        assert caught.value.vector == vector
        assert (m.state.as_dict(), bytes(m.memory)) == before


# --- MMX registers -------------------------------------------------------------------------------------------------

TO_MMX = ["cvtps2pi", "cvttps2pi", "cvtpd2pi", "cvttpd2pi", "movdq2q", "paddq", "psubq", "pmuludq"]


def mmx_form(mnemonic: str) -> Form:
    return next(f for f in forms()[mnemonic] if f.mem == 0 and any(c[0] in "PQN" for c in f.codes))


@pytest.mark.parametrize("mnemonic", TO_MMX)
def test_an_instruction_that_writes_an_mmx_register_turns_the_x87_to_mmx(mnemonic: str) -> None:
    m = Machine()
    m.state.fstat, m.state.ftag = 0x3800, 0
    m.set_xmm(1, 5)
    m.state.fpr_sig[1] = 5
    m.execute(mmx_form(mnemonic), reg=2, rm=1)
    assert (m.state.fstat, m.state.ftag) == (0, 0xFF)
    assert m.state.fpr_se == [0, 0, 0xFFFF, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("mnemonic", [*TO_MMX, "cvtpi2ps", "cvtpi2pd", "movq2dq"])
def test_a_pending_x87_exception_comes_before_an_instruction_on_mmx_registers(mnemonic: str) -> None:
    m = Machine()
    m.state.fstat = 0xB881
    before = m.state.as_dict()
    with pytest.raises(Fault) as caught:
        m.execute(mmx_form(mnemonic), reg=2, rm=1)
    assert caught.value.vector == S.MF
    assert m.state.as_dict() == before


@pytest.mark.parametrize(
    ("mnemonic", "src", "expected"),
    [
        ("cvtps2pi", singles(2.5, -3.7, 9.0, 9.0), dwords(2, -4)),
        ("cvttps2pi", singles(2.5, -3.7, 9.0, 9.0), dwords(2, -3)),
        ("cvtpd2pi", doubles(2.5, -3.7), dwords(2, -4)),
        ("cvttpd2pi", doubles(2.5, 1e10), dwords(2, 0x80000000)),
        ("movdq2q", dwords(1, 2, 3, 4), dwords(1, 2)),
    ],
)
def test_values_go_from_an_xmm_to_an_mmx_register(mnemonic: str, src: int, expected: int) -> None:
    m = Machine()
    m.set_xmm(1, src)
    m.execute(mmx_form(mnemonic), reg=2, rm=1)
    assert m.state.fpr_sig[2] == expected


@pytest.mark.parametrize(
    ("mnemonic", "src", "expected"),
    [
        ("cvtpi2ps", dwords(7, -9), singles(7.0, -9.0, 0x89ABCDEF, 0x01234567)),
        ("cvtpi2pd", dwords(7, -9), doubles(7.0, -9.0)),
        ("movq2dq", dwords(7, -9), dwords(7, -9)),
    ],
)
def test_values_go_from_an_mmx_to_an_xmm_register(mnemonic: str, src: int, expected: int) -> None:
    m = Machine()
    m.state.fstat, m.state.ftag = 0x3800, 0
    m.state.fpr_sig[1] = src
    m.set_xmm(2, HIGH)
    m.execute(mmx_form(mnemonic), reg=2, rm=1)
    assert m.xmm(2) == expected
    assert (m.state.fstat, m.state.ftag) == (0, 0xFF)


def test_cvtpi2pd_from_memory_leaves_the_x87_alone() -> None:
    m = Machine()
    m.state.fstat, m.state.ftag = 0xB881, 0
    m.execute(find("cvtpi2pd", mem=True), disp=AT)
    assert (m.state.fstat, m.state.ftag) == (0xB881, 0)


def test_quadword_arithmetic_on_mmx_registers_does_not_need_osfxsr() -> None:
    m = Machine()
    m.state.cr4 = 0
    m.state.fpr_sig[1], m.state.fpr_sig[2] = 3, 1
    for mnemonic, expected in (("psubq", (1 << 64) - 2), ("paddq", 1), ("pmuludq", 3)):
        m.execute(mmx_form(mnemonic), reg=2, rm=1)
        assert m.state.fpr_sig[2] == expected
    for bit, vector in ((S.CR0_TS, S.NM), (S.CR0_EM, S.UD)):
        m.state.cr0 = 1 << bit
        with pytest.raises(Fault) as caught:
            m.execute(mmx_form("paddq"))
        assert caught.value.vector == vector
