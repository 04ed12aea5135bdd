"""The compiled PowerPC and the Python reference give the same state after the same number of instructions."""

from __future__ import annotations

from random import Random

import pytest

from cores.lang.tier import GuestFault
from cores.ppc.decoder import allowed, forms
from cores.ppc.models import model as model_of
from tests.cores.ppc_tiers import DATA, WINDOW, pair

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.usefixtures("tiers")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")


@pytest.mark.parametrize("model", MODELS)
def test_both_tiers_run_drawn_programs_alike(model: str) -> None:
    both = pair(model)
    before = both.executed
    for seed in range(8):
        assert both.run(Random(seed), both.families, 24, 120) == "", f"seed {seed}"
    assert both.executed > before + 500


def test_both_tiers_show_from_outside_what_anybody_may_read_or_run() -> None:
    both = pair("440EP")
    both.start(Random(1), both.families, 4)
    for cpu in both.cpus:
        # Word 2 of the last page of the window: only the user may execute it.
        cpu.load_values({"utlb2": {5: 0x20}})
        assert cpu.translate(WINDOW + 0x3008) == DATA + 0x3008
        with pytest.raises(GuestFault):
            cpu.translate(WINDOW + 0x4000)


def test_timer_registers_are_shown_as_of_now() -> None:
    both = pair("440EP")
    both.start(Random(2), both.families, 4)
    for cpu in both.cpus:
        cpu.set_reg("tcr", 0)
        cpu.set_reg("dec", 1000)
        before = cpu.icount
        cpu.run(20)
        assert cpu.icount > before
        # 10 ns an instruction, at 400 MHz
        assert cpu.reg("dec") == 1000 - 4 * (cpu.icount - before)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_both_tiers_agree_for_forty_thousand_instructions_of_a_model(model: str) -> None:
    both = pair(model)
    start, seed = both.executed, 10_000
    while both.executed - start < 40_000:
        assert both.run(Random(seed), both.families, 24, 120) == "", f"seed {seed}"
        seed += 1
    # The reference makes a function of each form that it meets.
    assert both.cpus[1].stats().get("functions", len(forms())) > len(forms()) * 0.4


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_both_tiers_agree_on_every_form(model: str) -> None:
    both = pair(model)
    for form in forms():
        if allowed(form, model_of(model).features):
            assert both.run(Random(form.ident), [[form]], 8, 40) == "", form.ident
