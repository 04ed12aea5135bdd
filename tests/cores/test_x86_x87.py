"""The x87 unit, with rows typed from the manual (SDM vol. 1 chapter 8; vol. 2 under each mnemonic)."""

from __future__ import annotations

import struct
from decimal import Decimal, getcontext

import pytest

from cores.x86 import state as S
from tests.cores.fpu_machine import INDEFINITE, Fpu, Real, number, real
from tests.cores.sse_machine import Fault, eflags

IE, DE, ZE, OE, UE, PE, SF, ES = (1 << n for n in range(8))
C0, C1, C2, C3 = 0x100, 0x200, 0x400, 0x4000
BUSY = 0x8080
QNAN: Real = (0xC000000000001000, 0x7FFF)
SNAN: Real = (0x8000000000001000, 0x7FFF)
INF: Real = (1 << 63, 0x7FFF)
MINUS_INF: Real = (1 << 63, 0xFFFF)
DENORMAL: Real = (0x1000, 0)
PSEUDO_DENORMAL: Real = (1 << 63, 0)
UNNORMAL: Real = (1 << 62, 0x3FFF)
ONE: Real = (1 << 63, 0x3FFF)
ZERO: Real = (0, 0)
MINUS_ZERO: Real = (0, 0x8000)


def fpu(*values: Real | float, control: int = 0x37F) -> Fpu:
    m = Fpu()
    m.state.fctrl = control
    m.load(*values)
    return m


def f32(x: float) -> bytes:
    return struct.pack("<f", x)


def f64(x: float) -> bytes:
    return struct.pack("<d", x)


def f80(value: Real) -> bytes:
    return struct.pack("<QH", *value)


def fault_of(m: Fpu, code: str) -> int | None:
    try:
        m.run(code)
    except Fault as f:
        return f.vector
    return None


# --- the stack -----------------------------------------------------------------------------------------------------


def test_loads_push_downwards_and_pops_empty_the_register_but_keep_its_contents() -> None:
    m = Fpu()
    m.run("D9E8 D9EB")  # fld1, fldpi
    assert (m.top, m.state.ftag) == (6, 0xC0)
    assert m.st(1) == ONE
    m.run("DDD8")  # fstp st0
    assert (m.top, m.state.ftag) == (7, 0x80)
    assert m.state.fpr_sig[6] == 0xC90FDAA22168C235


def test_a_ninth_push_is_a_stack_overflow_with_c1_set_and_pushes_the_indefinite() -> None:
    m = fpu(*[1.0] * 8)
    m.run("D9EE")
    assert m.st(0) == INDEFINITE
    assert m.state.fstat & 0x7F | m.state.fstat & C1 == IE | SF | C1
    assert m.top == 7


@pytest.mark.parametrize(
    ("code", "empties"),
    [("D8C1", (0,)), ("D8C1", (1,)), ("D9FA", (0,)), ("D9E0", (0,)), ("D9C9", (1,)), ("D8D1", (1,)), ("DBE9", (1,))],
)
def test_an_empty_operand_is_a_stack_underflow_with_c1_clear(code: str, empties: tuple[int, ...]) -> None:
    m = fpu(1.0, 2.0)
    m.state.fstat |= C1
    for i in empties:
        m.state.ftag &= ~(1 << (m.top + i & 7))
    m.run(code)
    assert m.state.fstat & (0x7F | C1) == IE | SF


def test_an_unmasked_stack_underflow_changes_nothing_but_the_status_word() -> None:
    m = fpu(1.0, control=0x37E)
    m.run("D8C1")
    assert m.st(0) == ONE
    assert m.state.fstat & 0xFF == IE | SF | ES
    assert m.state.fstat & 0x8000


def test_the_source_of_fld_is_checked_before_the_room() -> None:
    m = fpu(*[1.0] * 8)
    m.state.ftag &= ~(1 << (m.top + 3 & 7))
    m.run("D9C3")
    assert m.state.fstat & (0x7F | C1) == IE | SF


def test_fxch_gives_the_indefinite_to_the_side_of_an_empty_register() -> None:
    m = fpu(3.0)
    m.run("D9C9")
    assert m.st(0) == INDEFINITE
    assert m.st(1) == real(3.0)


def test_fincstp_and_fdecstp_turn_without_touching_the_tags() -> None:
    m = fpu(1.0)
    tags = m.state.ftag
    m.run("D9F7")
    assert (m.top, m.state.ftag) == (0, tags)
    m.run("D9F6 D9F6")
    assert (m.top, m.state.ftag) == (6, tags)


def test_ffree_empties_and_ffreep_pops_as_well() -> None:
    m = fpu(1.0, 2.0)
    m.run("DDC1")
    assert m.st(1) is None
    m.run("DFC0")
    assert (m.top, m.state.ftag) == (7, 0)


def test_fstpnce_lets_an_empty_register_pass() -> None:
    m = fpu(1.0, 2.0)
    m.run("DDC0 D9D9")
    assert m.st(0) == real(2.0)
    assert m.state.fstat & 0x7F == 0


# --- loads and stores ----------------------------------------------------------------------------------------------

LOADS = [
    ("D905mem", f32(1.5), real(1.5), 0),
    ("D905mem", f32(-0.0), MINUS_ZERO, 0),
    ("D905mem", f32(float("inf")), INF, 0),
    ("D905mem", struct.pack("<I", 1), (1 << 63, 16383 - 149), DE),
    ("D905mem", struct.pack("<I", 0xFF800001), (0xC000010000000000, 0xFFFF), IE),
    ("DD05mem", f64(-3.25), real(-3.25), 0),
    ("DD05mem", struct.pack("<Q", 1), (1 << 63, 16383 - 1074), DE),
    ("DD05mem", struct.pack("<Q", 0x7FF8000000000001), (0xC000000000000800, 0x7FFF), 0),
    ("DD05mem", struct.pack("<Q", 0x7FF0000000000001), (0xC000000000000800, 0x7FFF), IE),
    ("DB2Dmem", f80(SNAN), SNAN, 0),
    ("DB2Dmem", f80(UNNORMAL), UNNORMAL, 0),
    ("DF05mem", struct.pack("<h", -32768), (1 << 63, 0xC00E), 0),
    ("DB05mem", struct.pack("<i", 3), real(3.0), 0),
    ("DF2Dmem", struct.pack("<q", -(1 << 63)), (1 << 63, 0xC03E), 0),
    ("DF2Dmem", struct.pack("<q", 0), ZERO, 0),
    ("DF25mem", bytes.fromhex("90785634120000000080"), real(-1234567890.0), 0),
    ("DF25mem", bytes.fromhex("99999999999999999900"), (0xDE0B6B3A763FFFF0, 0x403A), 0),
]


@pytest.mark.parametrize(("code", "data", "value", "flags"), LOADS)
def test_a_load_converts_exactly(code: str, data: bytes, value: Real, flags: int) -> None:
    m = Fpu()
    m.poke(data)
    m.run(code)
    assert m.st(0) == value
    assert m.state.fstat & 0x7F == flags


STORES = [
    ("D915mem", real(1.5), 0x37F, f32(1.5), 0),
    ("D915mem", (0x8000008000000000, 0x3FFF), 0x37F, f32(1.0), PE),
    ("D915mem", (0x8000018000000000, 0x3FFF), 0x37F, struct.pack("<I", 0x3F800002), PE | C1),
    ("D915mem", (0x8000008000000000, 0x3FFF), 0xB7F, struct.pack("<I", 0x3F800001), PE | C1),
    ("D915mem", real(1e300), 0x37F, f32(float("inf")), OE | PE | C1),
    ("D915mem", real(1e300), 0xF7F, struct.pack("<I", 0x7F7FFFFF), OE | PE),
    ("D915mem", SNAN, 0x37F, struct.pack("<I", 0x7FC00000), IE),
    ("D915mem", DENORMAL, 0x37F, f32(0.0), UE | PE),
    ("DD15mem", UNNORMAL, 0x37F, struct.pack("<Q", 0xFFF8000000000000), IE),
    ("DD15mem", (1 << 63, 16383 - 1074), 0x37F, struct.pack("<Q", 1), 0),
    ("DF15mem", real(2.5), 0x37F, struct.pack("<h", 2), PE),
    ("DF15mem", real(3.5), 0x37F, struct.pack("<h", 4), PE | C1),
    ("DF15mem", real(-2.5), 0x77F, struct.pack("<h", -3), PE | C1),
    ("DF15mem", real(32768.0), 0x37F, struct.pack("<h", -32768), IE),
    ("DF15mem", real(-32768.0), 0x37F, struct.pack("<h", -32768), 0),
    ("DB15mem", QNAN, 0x37F, struct.pack("<I", 1 << 31), IE),
    ("DB15mem", real(2147483648.0), 0x37F, struct.pack("<I", 1 << 31), IE),
]


@pytest.mark.parametrize(("code", "value", "control", "data", "flags"), STORES)
def test_a_store_rounds_once_and_says_how(code: str, value: Real, control: int, data: bytes, flags: int) -> None:
    m = fpu(value, control=control)
    m.run(code)
    assert m.peek(len(data)) == data
    assert m.state.fstat & (0x7F | C1) == flags
    assert m.st(0) == value


POPPING = [
    ("D91Dmem", f32(-1.0)),
    ("DD1Dmem", f64(-1.0)),
    ("DB3Dmem", f80((1 << 63, 0xBFFF))),
    ("DF1Dmem", struct.pack("<h", -1)),
    ("DB1Dmem", struct.pack("<i", -1)),
    ("DF3Dmem", struct.pack("<q", -1)),
    ("DF35mem", bytes.fromhex("01000000000000000080")),
    ("DB0Dmem", struct.pack("<i", -1)),
    ("DD0Dmem", struct.pack("<q", -1)),
    ("DF0Dmem", struct.pack("<h", -1)),
]


@pytest.mark.parametrize(("code", "data"), POPPING)
def test_a_popping_store_pops(code: str, data: bytes) -> None:
    m = fpu(-1.0, 7.0)
    m.run(code)
    assert m.peek(len(data)) == data
    assert m.st(0) == real(7.0)
    assert m.st(1) is None


EMPTY_STORES = [
    ("D91Dmem", struct.pack("<I", 0xFFC00000)),
    ("DD1Dmem", struct.pack("<Q", 0xFFF8000000000000)),
    ("DB3Dmem", f80(INDEFINITE)),
    ("DF1Dmem", struct.pack("<H", 0x8000)),
    ("DB1Dmem", struct.pack("<I", 1 << 31)),
    ("DF3Dmem", struct.pack("<Q", 1 << 63)),
    ("DF35mem", bytes.fromhex("000000000000 00C0FFFF")),
]


@pytest.mark.parametrize(("code", "data"), EMPTY_STORES)
def test_storing_an_empty_register_gives_the_indefinite_of_the_format(code: str, data: bytes) -> None:
    m = Fpu()
    m.run(code)
    assert m.peek(len(data)) == data
    assert m.state.fstat & (0x7F | C1) == IE | SF
    assert m.top == 1


@pytest.mark.parametrize(("code", "data"), EMPTY_STORES)
def test_with_invalid_unmasked_nothing_is_stored_or_popped(code: str, data: bytes) -> None:
    m = Fpu()
    m.state.fctrl = 0x37E
    m.run(code)
    assert m.peek(10) == bytes(10)
    assert m.top == 0
    assert m.state.fstat & (BUSY | 0x7F) == BUSY | IE | SF


def test_an_unmasked_overflow_keeps_a_narrow_store_from_memory_and_from_popping() -> None:
    m = fpu(1e300, control=0x377)
    m.run("D91Dmem")
    assert m.peek(4) == bytes(4)
    assert m.st(0) == real(1e300)
    assert m.state.fstat & 0xFF == OE | ES


def test_an_unmasked_precision_exception_does_not_keep_the_value_from_memory() -> None:
    m = fpu(0.1, control=0x35F)
    m.run("D91Dmem")
    assert m.peek(4) == f32(0.1)
    assert m.st(0) is None
    assert m.state.fstat & 0xFF == PE | ES


def test_an_unmasked_denormal_is_loaded_all_the_same() -> None:
    m = Fpu()
    m.state.fctrl = 0x37D
    m.poke(struct.pack("<I", 1))
    m.run("D905mem")
    assert m.st(0) == (1 << 63, 16383 - 149)
    assert m.state.fstat & 0xFF == DE | ES


def test_an_unmasked_signalling_nan_is_not_loaded() -> None:
    m = Fpu()
    m.state.fctrl = 0x37E
    m.poke(struct.pack("<I", 0x7F800001))
    m.run("D905mem")
    assert (m.top, m.state.ftag) == (0, 0)
    assert m.state.fstat & 0xFF == IE | ES


def test_a_page_fault_of_a_popping_store_leaves_the_stack_alone() -> None:
    m = fpu(1.0)
    before = m.state.as_dict()
    assert fault_of(m, "D91D00200000") == S.PF_
    assert m.state.as_dict() == before


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (1e18, None),
        (999999999999999999, "99999999999999999900"),
        (-0.25, "00000000000000000080"),
        (2.5, "02000000000000000000"),
    ],
)
def test_fbstp_holds_eighteen_digits(value: float, digits: str | None) -> None:
    exact = (999999999999999999 << 4, 0x403A) if value == 999999999999999999 else real(float(value))
    m = fpu(exact)
    m.run("DF35mem")
    assert m.peek(10).hex() == (digits or "000000000000" + "00c0ffff")
    assert bool(m.state.fstat & IE) == (digits is None)


def test_the_constants_are_rounded_by_rc() -> None:
    getcontext().prec = 60
    ln2, ln10 = Decimal(2).ln(), Decimal(10).ln()
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
    wanted = {"D9E9": ln10 / ln2, "D9EA": 1 / ln2, "D9EB": pi, "D9EC": ln2 / ln10, "D9ED": ln2}
    for code, exact in wanted.items():
        for rc in range(4):
            m = fpu(control=0x37F | rc << 10)
            m.run(code)
            value = m.st(0)
            assert value is not None
            sig, se = value
            scaled = exact * Decimal(2) ** (63 + 16383 - se)
            floor = int(scaled)
            nearest = floor + (scaled - floor > Decimal("0.5"))
            assert sig == (nearest, floor, floor + 1, floor)[rc], code
            assert m.state.fstat & 0x7F == 0


# --- arithmetic ----------------------------------------------------------------------------------------------------

# opcode, ST(0), ST(1) -> register, result
REGISTER_FORMS = [
    ("D8C1", 0, 6.0 + 2.0),
    ("D8C9", 0, 12.0),
    ("D8E1", 0, 4.0),
    ("D8E9", 0, -4.0),
    ("D8F1", 0, 3.0),
    ("D8F9", 0, 1 / 3),
    ("DCC1", 1, 8.0),
    ("DCC9", 1, 12.0),
    ("DCE1", 1, 4.0),
    ("DCE9", 1, -4.0),
    ("DCF1", 1, 3.0),
    ("DCF9", 1, 1 / 3),
    ("DEC1", 0, 8.0),
    ("DEC9", 0, 12.0),
    ("DEE1", 0, 4.0),
    ("DEE9", 0, -4.0),
    ("DEF1", 0, 3.0),
    ("DEF9", 0, 1 / 3),
]


@pytest.mark.parametrize(("code", "where", "result"), REGISTER_FORMS)
def test_each_register_form_has_its_own_order_of_operands(code: str, where: int, result: float) -> None:
    m = fpu(6.0, 2.0)
    m.run(code)
    value = m.st(where)
    assert value is not None
    assert number(value) == result
    assert m.top == (7 if code.startswith("DE") else 6)


@pytest.mark.parametrize(("digit", "result"), [(0, 8.0), (1, 12.0), (4, 4.0), (5, -4.0), (6, 3.0), (7, 1 / 3)])
@pytest.mark.parametrize(
    ("opcode", "data"), [("D8", f32(2.0)), ("DC", f64(2.0)), ("DE", struct.pack("<h", 2)), ("DA", struct.pack("<i", 2))]
)
def test_each_memory_form_takes_its_format(opcode: str, data: bytes, digit: int, result: float) -> None:
    m = fpu(6.0)
    m.poke(data)
    m.run(f"{opcode}{digit << 3 | 5:02X}mem")
    value = m.st(0)
    assert value is not None
    assert number(value) == result


ARITHMETIC = [
    # code, ST(0), ST(1), control, result in ST(0), flags
    ("D8F1", ONE, ZERO, 0x37F, INF, ZE),
    ("D8F1", ZERO, ZERO, 0x37F, INDEFINITE, IE),
    ("D8F1", INF, INF, 0x37F, INDEFINITE, IE),
    ("D8C1", INF, MINUS_INF, 0x37F, INDEFINITE, IE),
    ("D8C9", INF, ZERO, 0x37F, INDEFINITE, IE),
    ("D8C1", SNAN, ONE, 0x37F, (SNAN[0] | 1 << 62, 0x7FFF), IE),
    ("D8C1", QNAN, SNAN, 0x37F, QNAN, IE),
    ("D8C1", QNAN, (QNAN[0] + 1, 0xFFFF), 0x37F, (QNAN[0] + 1, 0xFFFF), 0),
    ("D8C1", UNNORMAL, ONE, 0x37F, INDEFINITE, IE),
    ("D8C1", DENORMAL, ONE, 0x37F, ONE, DE | PE),
    ("D8C1", PSEUDO_DENORMAL, ZERO, 0x37F, (1 << 63, 1), DE),
    ("D8C9", (1 << 63, 0x7FFE), (1 << 63, 0x4000), 0x37F, INF, OE | PE | C1),
    ("D8C9", (1 << 63, 0x7FFE), (1 << 63, 0x4000), 0xF7F, ((1 << 64) - 1, 0x7FFE), OE | PE),
    ("D8C9", (1 << 63, 1), (1 << 63, 0x3FFE), 0x37F, (1 << 62, 0), 0),
    ("D8C9", ((1 << 63) + 1, 1), (1 << 63, 0x3FFE), 0x37F, (1 << 62, 0), UE | PE),
    ("D8C1", ONE, (1 << 63, 0x3FFF - 23), 0x07F, (0x8000010000000000, 0x3FFF), 0),
    ("D8C1", ONE, (1 << 63, 0x3FFF - 24), 0x07F, ONE, PE),
    ("D8C1", ONE, (1 << 63, 0x3FFF - 53), 0x27F, ONE, PE),
    ("D8C1", ONE, (1 << 63, 0x3FFF - 63), 0x37F, ((1 << 63) + 1, 0x3FFF), 0),
    ("D8E1", ONE, ONE, 0x77F, MINUS_ZERO, 0),
    ("D9FA", real(-1.0), ONE, 0x37F, INDEFINITE, IE),
    ("D9FA", MINUS_ZERO, ONE, 0x37F, MINUS_ZERO, 0),
    ("D9FA", real(2.0), ONE, 0x37F, (0xB504F333F9DE6484, 0x3FFF), PE),
    ("D9FC", real(-0.5), ONE, 0x37F, MINUS_ZERO, PE),
    ("D9FC", real(2.5), ONE, 0xB7F, real(3.0), PE | C1),
    ("D9E1", SNAN, ONE, 0x37F, SNAN, 0),
    ("D9E0", SNAN, ONE, 0x37F, (SNAN[0], 0xFFFF), 0),
    ("D9FD", ONE, real(-2.75), 0x37F, real(0.25), 0),
    ("D9FD", ONE, real(0.75), 0x37F, ONE, 0),
    ("D9FD", ZERO, INF, 0x37F, INDEFINITE, IE),
    ("D9FD", ONE, MINUS_INF, 0x37F, ZERO, 0),
    ("D9FD", ONE, real(1e6), 0x37F, INF, OE | PE | C1),
]


@pytest.mark.parametrize(("code", "a", "b", "control", "result", "flags"), ARITHMETIC)
def test_masked_responses(code: str, a: Real, b: Real, control: int, result: Real, flags: int) -> None:
    m = fpu(a, b, control=control)
    m.run(code)
    assert m.st(0) == result
    assert m.state.fstat & (0x7F | C1) == flags


def test_an_unmasked_zero_divide_keeps_both_operands_and_the_stack() -> None:
    m = fpu(ZERO, ONE, control=0x37B)
    m.run("DEF9")  # fdivp: 1 / 0
    assert (m.st(0), m.st(1)) == (ZERO, ONE)
    assert m.state.fstat & (BUSY | 0x7F) == BUSY | ZE


def test_an_unmasked_overflow_stores_the_result_with_its_exponent_wrapped() -> None:
    m = fpu((1 << 63, 0x7FFE), (1 << 63, 0x7FFE), control=0x377)
    m.run("DEC9")
    assert m.st(0) == (1 << 63, 0x7FFE + 0x7FFE - 0x3FFF - 0x6000)
    assert m.state.fstat & (BUSY | 0x7F) == BUSY | OE


@pytest.mark.parametrize(
    ("st0", "memory", "flags"),
    [
        (ONE, 1, DE | PE),
        (QNAN, 1, 0),
        (SNAN, 1, IE),
        (INF, 1, DE),
        (ONE, 0x7FF0000000000001, IE),
        (QNAN, 0x7FF0000000000001, IE),
    ],
)
def test_a_denormal_in_memory_is_noted_unless_something_worse_comes_first(st0: Real, memory: int, flags: int) -> None:
    m = fpu(st0)
    m.poke(struct.pack("<Q", memory))
    m.run("DC05mem")
    assert m.state.fstat & 0x7F == flags


def test_a_quiet_nan_wins_over_a_signalling_one_from_memory() -> None:
    m = fpu((0xC000000000000800, 0x7FFF))
    m.poke(struct.pack("<Q", 0x7FF4000000000000))
    m.run("DC05mem")
    assert m.st(0) == (0xC000000000000800, 0x7FFF)


def test_an_unmasked_denormal_in_memory_withholds_the_sum() -> None:
    m = fpu(ONE, control=0x37D)
    m.poke(struct.pack("<I", 1))
    m.run("D805mem")
    assert m.st(0) == ONE
    assert m.state.fstat & (BUSY | 0x7F) == BUSY | DE


# --- comparison ----------------------------------------------------------------------------------------------------

ORDERS = [
    (real(2.0), ONE, 0, 0, 0),
    (ONE, real(2.0), C0, 1, 0),
    (ONE, ONE, C3, 0x40, 0),
    (ZERO, MINUS_ZERO, C3, 0x40, 0),
    (MINUS_INF, DENORMAL, C0, 1, DE),
    (ONE, SNAN, C0 | C2 | C3, 0x45, IE),
]


@pytest.mark.parametrize(("a", "b", "codes", "flags", "exceptions"), ORDERS)
def test_an_order_goes_to_the_condition_codes_or_to_eflags(
    a: Real, b: Real, codes: int, flags: int, exceptions: int
) -> None:
    for code in ("D8D1", "DDE1"):
        m = fpu(a, b)
        m.state.fstat |= C1
        m.run(code)
        assert m.state.fstat & 0x477F == codes | exceptions
    for code in ("DBF1", "DBE9"):
        m = fpu(a, b)
        m.state.cc_aux = 0x80000010  # OF and AF
        m.run(code)
        assert eflags(m.state) == flags
        assert m.state.fstat & 0x7F == exceptions


@pytest.mark.parametrize(("code", "invalid"), [("D8D1", True), ("DDE1", False), ("DBF1", True), ("DBE9", False)])
def test_only_the_ordered_comparisons_call_a_quiet_nan_invalid(code: str, invalid: bool) -> None:
    m = fpu(QNAN, ONE)
    m.run(code)
    assert bool(m.state.fstat & IE) == invalid


@pytest.mark.parametrize(
    ("code", "left"),
    [("D8D9", 1), ("DDE9", 1), ("DED9", 0), ("DAE9", 0), ("DFF1", 1), ("DFE9", 1), ("D8D1", 2), ("DBF1", 2)],
)
def test_comparisons_pop_as_their_names_say(code: str, left: int) -> None:
    m = fpu(1.0, 2.0)
    m.run(code)
    assert m.state.ftag.bit_count() == left
    assert m.top == (-left & 7)


def test_an_unmasked_invalid_comparison_does_not_pop() -> None:
    m = fpu(QNAN, ONE, control=0x37E)
    m.run("DED9")
    assert m.state.ftag.bit_count() == 2
    assert m.state.fstat & (C0 | C2 | C3 | IE) == C0 | C2 | C3 | IE


def test_ftst_compares_with_plus_zero() -> None:
    for value, codes in ((MINUS_ZERO, C3), (real(-1.0), C0), (ONE, 0), (QNAN, C0 | C2 | C3)):
        m = fpu(value)
        m.run("D9E4")
        assert m.state.fstat & 0x4700 == codes


CLASSES = [
    (UNNORMAL, 0),
    (QNAN, C0),
    (SNAN, C0),
    (ONE, C2),
    (INF, C2 | C0),
    (ZERO, C3),
    (DENORMAL, C3 | C2),
    (PSEUDO_DENORMAL, C3 | C2),
    ((0, 0x7FFF), 0),
]


@pytest.mark.parametrize(("value", "codes"), CLASSES)
@pytest.mark.parametrize("sign", [0, 1])
def test_fxam_tells_the_classes_apart(value: Real, codes: int, sign: int) -> None:
    m = fpu((value[0], value[1] | sign << 15))
    m.run("D9E5")
    assert m.state.fstat & 0x4700 == codes | C1 * sign
    m.run("DDC0 D9E5")
    assert m.state.fstat & 0x4700 == C3 | C0 | C1 * sign


@pytest.mark.parametrize(
    ("code", "flag", "moves"),
    [
        ("DAC1", "cf", True),
        ("DBC1", "cf", False),
        ("DAC9", "zf", True),
        ("DBC9", "zf", False),
        ("DAD1", "cf", True),
        ("DBD1", "zf", False),
        ("DAD9", "pf", True),
        ("DBD9", "pf", False),
    ],
)
def test_fcmov_moves_where_its_condition_holds(code: str, flag: str, moves: bool) -> None:
    for on in (False, True):
        m = fpu(1.0, 2.0)
        m.state.cc_s = 1  # PF clear
        if flag == "cf":
            m.state.cf = int(on)
        elif flag == "zf":
            m.state.cc_z = int(not on)
        else:
            m.state.cc_s = int(not on)
        m.run(code)
        assert m.st(0) == real(2.0 if on == moves else 1.0)


# --- functions -----------------------------------------------------------------------------------------------------

REMAINDERS = [
    ("D9F8", 17.0, 5.0, 2.0, C3 | C1, 0),  # quotient 3
    ("D9F8", -17.0, 5.0, -2.0, C3 | C1, 0),
    ("D9F5", 17.0, 5.0, 2.0, C3 | C1, 0),
    ("D9F5", 18.0, 5.0, -2.0, C0, 0),  # quotient 4
    ("D9F8", 18.0, 5.0, 3.0, C3 | C1, 0),
    ("D9F5", 15.0, 10.0, -5.0, C3, 0),  # a tie goes to the even quotient
    ("D9F8", 5.0, 5.0, 0.0, C1, 0),
    ("D9F8", 3.0, 5.0, 3.0, 0, 0),
]


@pytest.mark.parametrize(("code", "a", "b", "rest", "codes", "flags"), REMAINDERS)
def test_the_low_bits_of_the_quotient_go_to_c0_c3_c1(
    code: str, a: float, b: float, rest: float, codes: int, flags: int
) -> None:
    m = fpu(a, b)
    m.run(code)
    value = m.st(0)
    assert value is not None
    assert number(value) == rest
    assert m.state.fstat & 0x477F == codes | flags


def test_fprem_of_far_numbers_takes_several_rounds() -> None:
    m = fpu(1e300, 3.0)
    rounds = 0
    while True:
        m.run("D9F8")
        rounds += 1
        if not m.state.fstat & C2:
            break
    value = m.st(0)
    assert value is not None
    assert number(value) == int(1e300) % 3
    assert rounds > 2


def test_fxtract_takes_a_number_apart() -> None:
    m = fpu(-12.0)
    m.run("D9F4")
    assert (m.st(0), m.st(1)) == (real(-1.5), real(3.0))
    m = fpu(MINUS_ZERO)
    m.run("D9F4")
    assert (m.st(0), m.st(1)) == (MINUS_ZERO, MINUS_INF)
    assert m.state.fstat & 0x7F == ZE


FUNCTIONS = [
    ("D9F0", (0.5,), 0, "0.41421356237309504880", 0),
    ("D9F1", (10.0, 1.0), 0, "3.32192809488736234787", 1),
    ("D9F9", (0.25, 2.0), 0, "0.64385618977472469574", 1),
    ("D9F3", (-1.0, 1.0), 0, "2.35619449019234492885", 1),
    ("D9FE", (1.0,), 0, "0.84147098480789650665", 0),
    ("D9FF", (1.0,), 0, "0.54030230586813971740", 0),
]


@pytest.mark.parametrize(("code", "args", "where", "digits", "pops"), FUNCTIONS)
def test_functions_are_good_to_the_last_bit(
    code: str, args: tuple[float, ...], where: int, digits: str, pops: int
) -> None:
    m = fpu(*args)
    m.run(code)
    value = m.st(where)
    assert value is not None
    sig, se = value
    assert abs(Decimal(sig) * Decimal(2) ** (se - 16383 - 63) - Decimal(digits)) < Decimal(2) ** (se - 16383 - 63)
    assert m.state.fstat & 0x7F == PE
    assert m.top == (-len(args) + pops & 7)


def test_fsincos_and_fptan_push_their_second_result() -> None:
    m = fpu(1.0)
    m.run("D9FB")
    sine, cosine = m.st(1), m.st(0)
    for code, wanted in (("D9FE", sine), ("D9FF", cosine)):
        one = fpu(1.0)
        one.run(code)
        assert one.st(0) == wanted
    m = fpu(0.0)
    m.run("D9F2")
    assert (m.st(0), m.st(1)) == (ONE, ZERO)


@pytest.mark.parametrize("code", ["D9FE", "D9FF", "D9FB", "D9F2"])
def test_angles_from_two_to_the_63_are_refused_in_c2(code: str) -> None:
    m = fpu((1 << 63, 0x3FFF + 63))
    m.run(code)
    assert m.st(0) == (1 << 63, 0x3FFF + 63)
    assert m.state.fstat & C2
    assert m.top == 7


def test_fptan_without_room_is_a_stack_overflow_and_leaves_two_indefinites() -> None:
    m = fpu(*[1.0] * 8)
    m.run("D9F2")
    assert (m.st(0), m.st(1)) == (INDEFINITE, INDEFINITE)
    assert m.state.fstat & (0x7F | C1) == IE | SF | C1


# --- exceptions ----------------------------------------------------------------------------------------------------


def test_an_unmasked_exception_is_taken_by_the_next_waiting_instruction() -> None:
    m = fpu(ZERO, ONE, control=0x37B)
    m.run("DEF9")
    for code in ("D9E8", "9B", "D92Dmem", "0FEFC0", "0F77"):
        assert fault_of(m, code) == S.MF, code
    m.run("DFE0 D93Dmem DBE1 DBE4")  # not waiting: fnstsw ax, fnstcw, fndisi, fnsetpm
    assert m.state.gpr[0] & 0xFFFF == m.state.fstat
    m.run("DBE2 D9E8")  # fnclex
    assert m.st(0) == ONE


def test_with_ne_clear_ferr_is_driven_at_the_error_and_at_the_next_instruction() -> None:
    m = fpu(ZERO, ONE, control=0x37B)
    m.state.cr0 = 0
    m.run("DEF9")
    assert m.ferrs == 1
    m.run("D9E8")
    assert m.ferrs == 2
    assert m.st(0) == ONE


def test_unmasking_a_flagged_exception_makes_it_pending() -> None:
    m = fpu(1.0, 3.0)
    m.run("D8F1")
    m.poke(struct.pack("<H", 0xFFDF))
    m.run("D92Dmem")
    assert m.state.fctrl == 0x1F5F
    assert m.state.fstat & BUSY == BUSY
    assert fault_of(m, "D9D0") == S.MF


@pytest.mark.parametrize(
    ("bits", "escape", "wait", "mmx"),
    [(0, None, None, None), (S.CR0_EM, S.NM, None, S.UD), (S.CR0_TS, S.NM, None, S.NM), (S.CR0_MP, None, None, None)],
)
def test_cr0_decides_who_may_use_the_unit(bits: int, escape: int | None, wait: int | None, mmx: int | None) -> None:
    for code, vector in (("D9E8", escape), ("DFE0", escape), ("DBE3", escape), ("9B", wait), ("0FEFC0", mmx)):
        m = Fpu()
        m.state.cr0 = 1 << bits if bits else 0
        assert fault_of(m, code) == vector, code
    m = Fpu()
    m.state.cr0 = 1 << S.CR0_MP | 1 << S.CR0_TS
    assert fault_of(m, "9B") == S.NM


# --- control and environment ---------------------------------------------------------------------------------------


def test_fninit_sets_the_control_word_and_empties_the_stack_but_not_its_registers() -> None:
    m = fpu(1.0, control=0x1F00)
    m.state.fip = 5
    m.run("DBE3")
    s = m.state
    assert (s.fctrl, s.fstat, s.ftag, s.fip) == (0x37F, 0, 0, 0)
    assert s.fpr_sig[7] == 1 << 63


def test_pointers_note_the_last_instruction_that_is_not_control() -> None:
    m = Fpu()
    s = m.state
    s.seg_sel[S.CS], s.seg_sel[S.DS] = 0x1234, 0x5678
    m.run("D905mem D93Dmem DFE0 9B")
    assert (s.fip, s.fcs, s.fdp, s.fds, s.fop) == (0, 0x1234, 0x100, 0x5678, 0x105)
    m.run("D9E8")
    assert (s.fop, s.fdp) == (0x1E8, 0x100)


def environment(m: Fpu) -> None:
    s = m.state
    s.fip, s.fcs, s.fdp, s.fds, s.fop = 0x00012345, 0x0008, 0x000ABCDE, 0x0010, 0x1E8
    m.load(ONE, ZERO, INF, DENORMAL)


PROTECTED_32 = "7F03FFFF 0020FFFF FFA4FFFF 45230100 0800E801 DEBC0A00 1000FFFF"
REAL_32 = "7F03FFFF 0020FFFF FFA4FFFF C523FFFF E8110000 DEBDFFFF 00A00000"
PROTECTED_16 = "7F03 0020 FFA4 4523 0800 DEBC 1000"
REAL_16 = "7F03 0020 FFA4 C523 E811 DEBD 00A0"


@pytest.mark.parametrize(
    ("mode", "code", "image"),
    [(1, "D935mem", PROTECTED_32), (0, "D935mem", REAL_32), (1, "66D935mem", PROTECTED_16), (0, "66D935mem", REAL_16)],
)
def test_the_environment_has_four_formats(mode: int, code: str, image: str) -> None:
    m = Fpu()
    m.state.cr0 |= mode
    environment(m)
    m.state.fctrl = 0x37F
    m.run(code)
    wanted = bytes.fromhex(image)
    assert m.peek(len(wanted)).hex() == wanted.hex()
    assert m.peek(2, 0x100 + len(wanted)) == bytes(2)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("prefix", ["", "66"])
def test_a_saved_state_comes_back(mode: int, prefix: str) -> None:
    m = Fpu()
    m.state.cr0 |= mode
    environment(m)
    before = m.state.as_dict()
    m.run(prefix + "DD35mem")
    assert (m.state.fctrl, m.state.ftag) == (0x37F, 0)
    m.run(prefix + "DD25mem")
    after = m.state.as_dict()
    same = ("fctrl", "fstat", "ftag", "fpr_sig", "fpr_se")
    assert [after[k] for k in same] == [before[k] for k in same]
    if mode:
        assert (after["fip"], after["fcs"], after["fds"]) == (0x12345 if not prefix else 0x2345, 8, 0x10)
    else:
        assert (after["fip"], after["fcs"]) == (0x123C5, 0)


def test_storing_the_environment_masks_all_exceptions() -> None:
    m = fpu(ZERO, ONE, control=0x37B)
    m.run("DEF9 D935mem")
    assert m.state.fctrl == 0x37F
    assert m.state.fstat & BUSY == 0
    assert m.peek(2, 0x104) == struct.pack("<H", BUSY | ZE | 6 << 11)


def test_loading_an_environment_with_a_flagged_unmasked_exception_makes_it_pending() -> None:
    m = Fpu()
    m.poke(struct.pack("<3I", 0x37E, IE, 0xFFFF))
    m.run("D925mem")
    assert m.state.fstat == IE | BUSY
    assert fault_of(m, "9B") == S.MF


def test_the_old_enable_and_mode_instructions_do_nothing() -> None:
    m = fpu(1.0)
    before = m.state.as_dict()
    m.run("DBE0 DBE1 DBE4")
    assert m.state.as_dict() == before


@pytest.mark.parametrize("code", ["D9D1", "D9E2", "D9EF", "DAE8", "DBFF", "DDF0", "DED8", "DFE1", "D90Dmem", "DD2Dmem"])
def test_reserved_opcodes_are_undefined(code: str) -> None:
    assert fault_of(Fpu(), code) == S.UD


@pytest.mark.parametrize(
    ("alias", "code"),
    [
        ("DCD1", "D8D1"),
        ("DCD9", "D8D9"),
        ("DED1", "D8D9"),
        ("DDC9", "D9C9"),
        ("DFC9", "D9C9"),
        ("DFD1", "DDD9"),
        ("DFD9", "DDD9"),
    ],
)
def test_documented_aliases_do_the_same(alias: str, code: str) -> None:
    a, b = fpu(1.0, 2.0), fpu(1.0, 2.0)
    a.run(alias)
    b.run(code)
    a.state.fop = b.state.fop = 0
    assert a.state.as_dict() == b.state.as_dict()
