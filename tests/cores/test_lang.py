"""The spec language: what it refuses and how, the IR, and the text of its lowerings.

`python -m tests.cores.test_lang` writes `golden.c` anew, after a change to the C lowering that is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cores.lang.ir import (
    PURE,
    Break,
    If,
    Let,
    SetReg,
    SpecError,
    Src,
    Value,
    ends,
    may_fault,
    show,
    signed,
    sweep,
    verify,
)
from cores.lang.state import State
from cores.lang.to_c import Style
from cores.lang.to_c import body_text as c_text
from cores.lang.to_python import body_text as python_text
from cores.lang.to_python import compile_text, state_class
from cores.lang.trace import (
    Extern,
    Proc,
    RegisterLocation,
    Tracer,
    Val,
    branch,
    break_,
    concat,
    const,
    finish_,
    loop,
    otherwise,
    return_,
    select,
    value,
    var,
    when,
)
from cores.x86 import decoder, forms
from cores.x86.decoder import tables
from cores.x86.generate import handler_text

STATE = State()
A = STATE.register("a", 32)
B = STATE.register("b", 32)
FLAG = STATE.register("flag", 1)
FILE = STATE.register("file", 64, 4)
LOAD = Extern("load", (32,), (32,), faults=True)
RAISE = Extern("raise_it", (8,), raises=True)
GOLDEN = Path(__file__).with_name("golden.c")
GOLDEN_FORMS = (
    "adc_Gv_Ev_13_o32_m and_Eb_Ib_80_s4_m inc_Zv_40_o32 shl_Ev_Ib_C1_s4_o32_r bswap_Zv_0FC8_o32 "
    "setne_Eb_0F95_r cmove_Gv_Ev_0F44_o32_r xchg_Ev_Gv_87_o16_m lea_Gv_M_8D_o32_m push_Zv_50_o32 "
    "jne_Jb_75_o32 ret_C3_o32 loop_Jb_E2_o32_a32 clc_F8"
).split()


def a() -> Any:
    return RegisterLocation(A)


def b() -> Any:
    return RegisterLocation(B)


def trace(body: Callable[[], None]) -> list[Any]:
    with Tracer() as t:
        body()
        return t.finish("body")


def line_of(body: Callable[..., object], offset: int) -> str:
    code = body.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}: "


def refused(body: Callable[[], None], offset: int, sentence: str) -> None:
    """The body is refused at the `offset`th line after its `def`, in these words."""
    with pytest.raises(SpecError) as caught:
        trace(body)
    assert str(caught.value).splitlines()[0] == line_of(body, offset) + sentence


# --- what tracing refuses --------------------------------------------------------------------------------------------


def test_a_run_time_value_in_a_plain_if_is_refused() -> None:
    def body() -> None:
        if a() == 0:
            b().set(0)

    refused(body, 1, "a run-time value cannot decide a plain `if`; use `when(...)` or `select(...)`")


def test_a_location_in_a_plain_if_is_refused() -> None:
    def body() -> None:
        if RegisterLocation(FLAG):
            b().set(0)

    refused(body, 1, "a run-time value cannot decide a plain `if`; use `when(...)` or `select(...)`")


def test_widths_that_differ_are_refused() -> None:
    def body() -> None:
        b().set(a().read().low(8))

    refused(body, 1, "8 bits where 32 are wanted (use .zext, .sext or .low)")


def test_a_sum_of_two_widths_is_refused() -> None:
    def body() -> None:
        b().set(a() + a().read().low(16))

    refused(body, 1, "16 bits where 32 are wanted (use .zext, .sext or .low)")


def test_an_int_that_does_not_fit_is_refused() -> None:
    def body() -> None:
        RegisterLocation(FLAG).set(2)

    refused(body, 1, "2 does not fit 1 bits")


def test_an_int_without_a_width_is_refused() -> None:
    def body() -> None:
        value(5)

    refused(body, 1, "a plain int has no width; use const(value, width)")


def test_what_is_no_value_is_refused() -> None:
    def body() -> None:
        b().set("five")

    refused(body, 1, "'five' is not a value")


def test_a_result_that_nothing_uses_is_refused() -> None:
    def body() -> None:
        a() + 1
        b().set(0)

    refused(body, 1, "body: the result of add is never used")


def test_a_value_used_outside_its_when_is_refused() -> None:
    def body() -> None:
        kept = []
        with when(RegisterLocation(FLAG).read()):
            kept.append(a() + 1)
        b().set(kept[0])

    refused(body, 3, "body: add is used outside the `when` or `loop` that computes it (use a var)")


def test_a_statement_that_is_never_reached_is_refused() -> None:
    def body() -> None:
        finish_()
        b().set(0)

    refused(body, 2, "body: a statement that is never reached")


def test_break_outside_a_loop_is_refused() -> None:
    def body() -> None:
        break_()

    refused(body, 1, "body: `break_` outside a loop")


def test_otherwise_without_a_when_is_refused() -> None:
    def body() -> None:
        b().set(0)
        with otherwise():
            b().set(1)

    refused(body, 2, "`otherwise` must follow a `when`")


def test_a_second_otherwise_is_refused() -> None:
    def body() -> None:
        with when(RegisterLocation(FLAG)):
            b().set(0)
        with otherwise():
            b().set(1)
        with otherwise():
            b().set(2)

    refused(body, 5, "`otherwise` must follow a `when`")


def test_a_register_file_without_an_index_is_refused() -> None:
    def body() -> None:
        RegisterLocation(FILE)

    refused(body, 1, "register file needs an index")


def test_a_register_with_an_index_is_refused() -> None:
    def body() -> None:
        RegisterLocation(A, 1)

    refused(body, 1, "register a has no index")


def test_a_call_with_too_few_operands_is_refused() -> None:
    def body() -> None:
        LOAD()

    refused(body, 1, "load takes 1 operands, not 0")


def test_an_operation_on_two_ints_is_refused() -> None:
    def body() -> None:
        concat()

    refused(body, 1, "nothing to join")


def test_run_time_values_outside_tracing_are_refused() -> None:
    with pytest.raises(SpecError, match=r"test_lang\.py:\d+: run-time values exist only while an entry is traced"):
        a().read()


def test_results_with_values_outside_a_procedure_are_refused() -> None:
    def body() -> None:
        return_(a())

    refused(body, 1, "1 results where 0 are declared")


def procedure_refused(fn: Callable[..., None], results: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        Proc(fn, (), results).trace()
    assert str(caught.value).startswith(line_of(fn, 0) + sentence)


def test_a_procedure_that_may_end_without_its_result_is_refused() -> None:
    def half() -> None:
        with when(RegisterLocation(FLAG)):
            return_(a())

    procedure_refused(half, (32,), "procedure half may end without `return_`")


def test_a_procedure_that_calls_itself_is_refused() -> None:
    procs: list[Proc] = []

    def again() -> None:
        procs[0]()

    procs.append(Proc(again, (), ()))
    with pytest.raises(SpecError, match="procedure again calls itself"):
        procs[0].trace()


def test_a_branch_in_a_procedure_is_refused() -> None:
    def leap() -> None:
        branch(a())

    with pytest.raises(SpecError, match=r"test_lang\.py:\d+: leap: `branch` inside a procedure"):
        Proc(leap, (), ()).trace()


# --- what entries are refused for ------------------------------------------------------------------------------------


@pytest.fixture
def entries() -> Iterator[list[forms.Entry]]:
    """The list of entries, as it was before once the test is over."""
    tables()
    before = list(forms.ENTRIES)
    yield forms.ENTRIES
    forms.ENTRIES[:] = before


def entry_refused(sentence: str, make: Callable[[], object], body: Callable[..., object] | None = None) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    text = str(caught.value)
    if body is not None:
        assert text.startswith(line_of(body, 0))
    assert re.match(r".*\.py:\d+: ", text)
    assert sentence in text


def silent(dst: Any) -> None: ...


def spoken(dst: Any) -> None:
    """Nothing."""


def with_statics(dst: Any, *, colour: str) -> None:
    """Nothing."""


def test_an_entry_without_prose_is_refused(entries: list[forms.Entry]) -> None:
    entry_refused(
        "the entry 'none {dst}' has no sentence of prose",
        lambda: forms.insn("none {dst}", "0F 04 /r Ev")(silent),
        silent,
    )


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        ("0F 04 /r Ek", "operand code 'Ek' in '0F 04 /r Ek' is not known"),
        ("0F 04 /r Ev,Gv", "'0F 04 /r Ev,Gv' has 2 operands, the body takes 1"),
        ("/r Ev", "'/r Ev' has no opcode"),
        ("0F 04 05 /r Ev", "'0F 04 05 /r Ev' has 2 opcode bytes"),
        ("[8m] /r Ev", "'[8m]' is not an opcode byte"),
    ],
)
def test_an_encoding_that_makes_no_sense_is_refused(entries: list[forms.Entry], encoding: str, sentence: str) -> None:
    forms.insn("none {dst}", encoding)(spoken)
    entry_refused(sentence, lambda: forms.expand(entries[-1]), spoken)


def test_statics_that_nothing_gives_a_value_are_refused(entries: list[forms.Entry]) -> None:
    forms.insn("none {dst}", "0F 04 /r Ev")(with_statics)
    entry_refused("nothing gives a value to colour", lambda: forms.expand(entries[-1]), with_statics)


def test_a_family_of_unequal_names_is_refused(entries: list[forms.Entry]) -> None:
    forms.insn("none {dst}", "0F 04 /r Ev")(spoken)
    entry_refused("the names of a family must be equally many", lambda: forms.family(a="xy", b="xyz")(spoken), spoken)


def test_a_family_below_its_entry_is_refused(entries: list[forms.Entry]) -> None:
    entry_refused("@family stands above @insn", lambda: forms.family(a="xy")(silent), silent)


def test_an_unknown_ending_is_refused(entries: list[forms.Entry]) -> None:
    entry_refused(
        "ends='never' is not '', 'block' or 'far'", lambda: forms.insn("x", "0F 04", ends="never")(spoken), spoken
    )


def test_two_entries_for_the_same_bytes_are_refused(entries: list[forms.Entry]) -> None:
    forms.insn("none {dst}", "0F C8+r Zv")(spoken)
    with pytest.raises(
        SpecError, match=r"test_lang\.py:\d+: none_Zv_0FC8_o16 overlaps bswap_Zv_0FC8_o16 of .*alu\.py:\d+"
    ):
        decoder.tables.__wrapped__()


def test_an_opcode_with_and_without_modrm_is_refused(entries: list[forms.Entry]) -> None:
    forms.insn("none {dst}", "0F C8 /r Ev")(spoken)
    with pytest.raises(SpecError, match=r"opcode 1c8 is with and without ModRM \(see .*alu\.py:\d+\)"):
        decoder.tables.__wrapped__()


# --- folding, sweeping, printing -------------------------------------------------------------------------------------


def test_constants_are_folded() -> None:
    def body() -> None:
        b().set((const(5, 32) + 3) * 2 - const(0xFFFFFFFF, 32))

    assert show(trace(body)) == "b := 0x11:32"


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x + 0,
        lambda x: x & 0xFFFFFFFF,
        lambda x: x | 0,
        lambda x: x << 0,
        lambda x: x * 1,
        lambda x: ~~x,
        lambda x: x.zext(64).low(32),
        lambda x: select(const(1, 1), x, x + 0),
        lambda x: x & x,
    ],
)
def test_operations_that_change_nothing_disappear(make: Callable[[Val], Val]) -> None:
    def body() -> None:
        b().set(make(a().read()))

    assert show(trace(body)) == "%1:32 = get a\nb := %1:32"


def test_a_value_minus_itself_is_zero() -> None:
    def body() -> None:
        x = a().read()
        b().set(x - x)

    assert show(trace(body)) == "b := 0x0:32"


def test_folding_agrees_with_the_python_lowering() -> None:
    def build(op: str, x: int, y: int, folded: bool) -> list[Any]:
        def body() -> None:
            left = const(x, 32) if folded else a().read()
            right = const(y, 32) if folded else b().read()
            b().set(getattr(left, op)(right))

        return trace(body)

    cls = state_class(STATE, "Cpu")
    infix = "__add__ __sub__ __mul__ __and__ __or__ __xor__ __lshift__ __rshift__"
    for op in [*infix.split(), "ashr", "rotl", "udiv", "urem", "sdiv", "srem", "mulhu"]:
        for x, y in ((0x80000001, 3), (7, 0xFFFFFFFF), (0xDEADBEEF, 0x1F), (0, 0), (0x80000000, 0xFFFFFFFF), (9, 31)):
            if op == "rotl":
                y &= 31
            space: dict[str, Any] = {}
            compile_text(python_text("f", build(op, x, y, False)), f"<{op}>", space)
            state = cls()
            state.a, state.b = x, y
            space["f"](state, None, None)
            assert show(build(op, x, y, True)) == f"b := {state.b:#x}:32", (op, x, y)


def test_the_printed_body_shows_every_kind_of_statement() -> None:
    def body() -> None:
        count = var(32, 4, "count")
        with loop():
            with when(count.read() == 0):
                break_()
            count.set(count.read() - 1)
        x: Val = LOAD(a())
        with when(x.bit(31)):
            RegisterLocation(FILE, 2, width=8, how="byte").set(x.low(8))
            RAISE(13)
        with otherwise():
            RegisterLocation(FILE, x.low(8), width=16, how="part").set(x.low(16))
        branch(x)

    assert [line.rstrip() for line in show(trace(body)).splitlines()] == [
        "count.1 := 0x4:32",
        "loop:",
        "  %1:32 = var count",
        "  %2:1 = eq %1, 0x0",
        "  if %2:",
        "    break",
        "  %3:32 = var count",
        "  %4:32 = sub %3, 0x1",
        "  count.1 := %4:32",
        "%5:32 = get a",
        "%6:32 = load(%5)",
        "%7:32 = lshr %6, 0x1f",
        "%8:1 = low %7",
        "if %8:",
        "  %9:8 = low %6",
        "  file[0x2] byte := %9:8",
        "  raise_it(0xd)",
        "else:",
        "  %10:8 = low %6",
        "  %11:16 = low %6",
        "  file[%10] part := %11:16",
        "branch.1 %6",
    ]


def test_sweeping_removes_what_nothing_uses_and_keeps_calls() -> None:
    src = Src("x", 1)
    x = Value("get", 32, (), A, src)
    y = Value("not", 32, (x,), None, src)
    block: list[Any] = [Let(x), Let(y), If(x, [], [], src)]
    sweep(block)
    assert block == []


def test_the_verifier_knows_the_width_of_every_operation() -> None:
    src = Src("x.py", 7)
    narrow = Value("get", 8, (), A, src)
    wide = Value("get", 32, (), A, src)
    for op in PURE:
        count = 1 if op in ("not", "neg", "clz", "ctz", "popcount", "bswap", "zext", "sext", "low") else 2
        args = (narrow, wide)[:count] if op != "select" else (narrow, wide, wide)
        width = 4 if op in ("zext", "sext") else 16
        v = Value(op, width, args, None, src)
        with pytest.raises(SpecError, match=rf"x\.py:7: body: {op} of widths .* cannot give width {width}"):
            verify([Let(narrow), Let(wide), Let(v), SetReg(A, None, v, "all", src)])


def test_the_verifier_refuses_unknown_operations_and_constants_that_do_not_fit() -> None:
    src = Src("x.py", 7)
    with pytest.raises(SpecError, match="unknown operation frob"):
        verify([Let(Value("frob", 8, (), None, src))])
    with pytest.raises(SpecError, match="constant 256 does not fit 8 bits"):
        verify([Let(Value("const", 8, (), 256, src))])
    with pytest.raises(SpecError, match="width 65 of get is not within 1 to 64"):
        verify([Let(Value("get", 65, (), A, src))])


def test_what_ends_and_what_may_fault() -> None:
    def raising() -> None:
        with when(RegisterLocation(FLAG)):
            RAISE(1)
        with otherwise():
            finish_()

    def loading() -> None:
        b().set(LOAD(a()))

    assert ends(trace(raising))
    assert may_fault(trace(raising))
    assert may_fault(trace(loading))
    assert not ends(trace(loading))
    assert not ends([])
    assert ends([Break(Src("", 0))])


def test_signed_reads_twos_complement() -> None:
    assert [signed(x, 8) for x in (0, 127, 128, 255, 0x1FF)] == [0, 127, -128, -1, -1]


# --- lowerings -------------------------------------------------------------------------------------------------------


def small() -> None:
    x = a().read()
    total = x + b()
    with when(total < x):
        RegisterLocation(FLAG).set(1)
    with otherwise():
        RegisterLocation(FLAG).set(0)
    RegisterLocation(FILE, 1).set(total.zext(64) << 4)
    b().set(LOAD(total))


def test_the_c_text_of_a_small_body() -> None:
    assert (
        "\n".join(c_text(trace(small), Style()))
        == """\
    const uint32_t t1 = cpu->a;
    const uint32_t t2 = cpu->b;
    const uint32_t t3 = t1 + t2;
    if (t3 < t1) {
        cpu->flag = 1u;
    } else {
        cpu->flag = 0u;
    }
    cpu->file[1u] = (uint64_t)t3 << 4;
    uint32_t t7;
    if (unlikely(load(cpu, t3, &t7))) return 1;
    cpu->b = t7;
    return 0;"""
    )


def test_the_python_text_of_a_small_body() -> None:
    assert (
        python_text("f", trace(small), doc="Adds.")
        == '''\
def f(s, m, i):
    """Adds."""
    t1 = s.a
    t2 = s.b
    t3 = ((t1 + t2) & 0xffffffff)
    if int(t3 < t1):
        s.flag = 1
    else:
        s.flag = 0
    s.file[1] = ((t3 << 4) & 0xffffffffffffffff)
    t7 = m.load(t3)
    s.b = t7
'''
    )


def golden_text() -> str:
    """The C of the golden forms."""
    by_name = {f.ident: f for f in tables().forms}
    out = ["/* Handlers of some forms as the C lowering writes them; see test_lang.py. */", ""]
    for name in GOLDEN_FORMS:
        form = by_name[name]
        if not form.block:
            form.trace()
        out.append(handler_text(form, line_directives=False))
    return "\n".join(out)


@pytest.mark.parametrize("name", GOLDEN_FORMS)
def test_golden_c(name: str) -> None:
    def pick(text: str) -> str:
        return text[text.index(f"*op_{name}(") :].split("\n}\n")[0]

    assert pick(golden_text()) == pick(GOLDEN.read_text(encoding="utf-8"))


if __name__ == "__main__":
    GOLDEN.write_text(golden_text(), encoding="utf-8")
