"""Debug events of internal debug mode: fetch, completion, branches, data, traps, returns, interrupts."""

from __future__ import annotations

from random import Random

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import encode
from tests.cores.ppc_machine import Interrupt, Machine
from tests.cores.ppc_tiers import CODE, STRIDE, VECTORS, Pair

DE, PR, IS = 1 << S.MSR_DE, 1 << S.MSR_PR, 1 << S.MSR_IS
IDM, ICMP, BRT, IRPT, TRAP, IAC1, IAC2, IAC3, DAC1R, DAC1W, DAC2R, DAC2W, RET = (
    1 << n for n in (30, 27, 26, 25, 24, 23, 22, 21, 19, 18, 17, 16, 15)
)
IDE = 1 << 31
PC = 0x1000


def machine(dbcr0: int, msr: int = DE, name: str = "440EP") -> Machine:
    m = Machine(name)
    m.s.pc, m.s.msr, m.s.dbcr0 = PC, msr, IDM | dbcr0
    return m


@pytest.mark.parametrize(("dbcr0", "msr", "mode"), [
    (0, DE, 0), (ICMP, DE, 1), (ICMP, 0, 0), (BRT, DE, 1), (IAC1, 0, 1), (IAC3, DE, 1), (DAC1R, DE, 3), (DAC2W, 0, 3),
    (TRAP | RET | IRPT, DE, 0),
])  # fmt: skip
def test_debug_mode_asks_for_what_the_events_need(dbcr0: int, msr: int, mode: int) -> None:
    m = machine(dbcr0, msr)
    assert m.call("debug_mode") == mode
    m.s.dbcr0 &= ~IDM
    assert m.call("debug_mode") == 0


def test_an_instruction_address_stops_before_its_instruction() -> None:
    m = machine(IAC1 | IAC2)
    m.mtspr("iac2", PC)
    m.s.pc = PC
    assert m.call("debug_fetch") == 1
    assert m.s.dbsr == IAC2
    m.s.pc = PC + 4
    assert m.call("debug_fetch") == 0


def test_an_event_while_de_is_0_is_kept_until_it_is_1() -> None:
    m = machine(IAC1, 0)
    m.s.iac[0] = PC
    assert m.call("debug_fetch") == 0
    assert m.s.dbsr == IDE | IAC1
    assert m.call("pending") == 0xFF
    m.s.msr = DE
    assert m.call("pending") == 15
    m.s.dbsr &= IDE
    assert m.call("pending") == 0xFF


@pytest.mark.parametrize(("us", "er", "msr", "hit"), [
    (0, 0, DE, 1), (2, 0, DE, 1), (2, 0, DE | PR, 0), (3, 0, DE | PR, 1), (3, 0, DE, 0), (0, 2, DE, 1),
    (0, 2, DE | IS, 0),
    (0, 3, DE | IS, 1), (0, 3, DE, 0),
])  # fmt: skip
def test_an_address_compare_may_be_for_one_mode_or_space(us: int, er: int, msr: int, hit: int) -> None:
    m = machine(IAC1, msr)
    m.s.iac[0] = PC
    m.s.dbcr1 = us << 30 | er << 28
    assert m.call("debug_fetch") == hit


@pytest.mark.parametrize(("mode", "pc", "hit"), [
    (2, 0x0FFC, 0), (2, 0x1000, 1), (2, 0x1FFC, 1), (2, 0x2000, 0), (3, 0x0FFC, 1), (3, 0x1000, 0), (3, 0x2000, 1),
    (1, 0x1000, 0),
])  # fmt: skip
def test_a_pair_of_compares_is_a_range(mode: int, pc: int, hit: int) -> None:
    m = machine(IAC1)
    m.s.iac[0], m.s.iac[1], m.s.pc = 0x1000, 0x2000, pc
    m.s.dbcr1 = mode << 22
    assert m.call("debug_fetch") == (hit if mode != 1 else 1)


def test_the_second_pair_has_its_own_fields() -> None:
    m = machine(IAC3)
    m.s.iac[2], m.s.iac[3] = 0x1000, 0x2000
    m.s.dbcr1 = 2 << 6
    assert m.call("debug_fetch") == 1 and m.s.dbsr == IAC3
    m.s.dbcr1 = 2 << 6 | 3 << 14  # users only
    m.s.dbsr = 0
    assert m.call("debug_fetch") == 0


def test_a_completed_instruction_is_an_event() -> None:
    m = machine(ICMP)
    assert m.call("debug_fetch") == 0
    m.do("addi", rt=3, ra=0, si=1)
    assert m.call("debug_done") == 1
    assert m.s.dbsr == ICMP and m.s.pc == PC + 4


def test_the_return_that_turns_events_on_is_none_itself() -> None:
    m = machine(ICMP, 0)
    m.call("debug_fetch")
    m.s.srr1 = DE
    m.do("rfi")
    assert m.call("debug_done") == 0 and m.s.dbsr == 0


def test_a_taken_branch_is_undone() -> None:
    m = machine(BRT)
    m.s.ctr, m.s.lr = 5, 7
    m.call("debug_fetch")
    m.do("bcl", bo=16, bi=0, bd=0x100)  # bdnzl
    assert m.s.pc == PC + 0x100
    assert m.call("debug_done") == 1
    assert (m.s.pc, m.s.ctr, m.s.lr, m.s.dbsr) == (PC, 5, 7, BRT)
    m.s.dbsr, m.s.ctr = 0, 1
    m.call("debug_fetch")
    m.do("bc", bo=16, bi=0, bd=0x100)  # not taken
    assert m.call("debug_done") == 0 and m.s.pc == PC + 4


def test_a_return_from_an_interrupt_is_no_branch() -> None:
    m = machine(BRT)
    m.call("debug_fetch")
    m.s.srr0, m.s.srr1 = 0x8000, DE
    m.do("rfi")
    assert m.call("debug_done") == 0 and m.s.pc == 0x8000


@pytest.mark.parametrize(("enabled", "ea", "size", "store", "bits"), [
    (DAC1R, 0x100, 4, 0, DAC1R), (DAC1R, 0x100, 4, 1, 0), (DAC1W, 0x100, 4, 1, DAC1W), (DAC1R, 0xFD, 4, 0, DAC1R),
    (DAC1R, 0xFC, 4, 0, 0), (DAC1R, 0x101, 4, 0, 0), (DAC2R | DAC2W, 0x200, 1, 0, DAC2R),
    (DAC1R | DAC2R, 0x1FE, 4, 0, DAC2R),
])  # fmt: skip
def test_a_data_address_is_met_by_any_byte_of_an_access(
    enabled: int, ea: int, size: int, store: int, bits: int
) -> None:
    m = machine(enabled)
    m.s.dac = [0x100, 0x200]
    m.call("debug_data", ea, size, store, 0)
    assert m.s.dbsr == bits
    m.call("debug_fetch")
    assert m.call("debug_done") == int(bits != 0)


@pytest.mark.parametrize(("mode", "ea", "hit"), [
    (2, 0xFC, 0), (2, 0xFE, 1), (2, 0x1FC, 1), (2, 0x200, 0), (3, 0xFF, 1), (3, 0x100, 0), (3, 0x1FE, 1), (3, 0x200, 1),
])  # fmt: skip
def test_data_addresses_pair_up_too(mode: int, ea: int, hit: int) -> None:
    m = machine(DAC1W)
    m.s.dac, m.s.dbcr2 = [0x100, 0x200], mode << 22
    m.call("debug_data", ea, 4, 1, 0)
    assert m.s.dbsr == (DAC1W if hit else 0)


@pytest.mark.parametrize(("mode", "lanes", "ea", "size", "v", "hit"), [
    (1, 0b1111, 0x100, 4, 0x11223344, 1), (1, 0b1111, 0x100, 4, 0x11223345, 0),  # all of them
    (1, 0b0011, 0x102, 2, 0x3344, 1), (1, 0b0111, 0x102, 2, 0x3344, 0),  # a byte that is not accessed
    (1, 0b0011, 0x100, 4, 0xFFFF3344, 1),
    (2, 0b1001, 0x100, 4, 0xFFFFFF44, 1), (2, 0b0110, 0x100, 4, 0x11FFFF44, 0), (2, 0b1000, 0x101, 1, 0x11, 0),  # any
    (3, 0b1111, 0x100, 4, 0x1122FFFF, 1), (3, 0b1111, 0x100, 4, 0x11FFFF44, 0), (3, 0b1100, 0x100, 4, 0xFFFF3344, 0),
    (0, 0b1111, 0x100, 4, 0, 1), (1, 0, 0x100, 4, 0, 1),  # no value is asked for
    (1, 0b1111, 0x100, 8, 0x1122334400000000, 1), (1, 0b1111, 0x0FC, 8, 0x0000000011223344, 1),
    (1, 0b1111, 0x0FE, 4, 0x33441122, 0),  # the two halves are in different words
    (1, 0b1111, 0x100, 32, 0, 0),
])  # fmt: skip
def test_a_data_value_is_met_byte_by_byte_in_its_word(
    mode: int, lanes: int, ea: int, size: int, v: int, hit: int
) -> None:
    for n, (bit, mode_at, lanes_at) in enumerate(((DAC1W, 18, 8), (DAC2W, 16, 0))):
        m = machine(bit)
        m.s.dac = [ea, ea]
        m.s.dbcr2 = mode << mode_at | lanes << lanes_at
        m.s.dvc[n] = 0x11223344
        m.call("debug_data", ea, size, 1, v)
        assert m.s.dbsr == (bit if hit else 0)


@pytest.mark.parametrize(("name", "bits"), [("dcbf", DAC1W), ("dcbst", DAC1W), ("dcbi", DAC1W), ("icbi", DAC1R)])
def test_cache_instructions_meet_the_address_of_their_line_but_no_value(name: str, bits: int) -> None:
    for model, ea, dbcr2, hit in (
        ("440EP", 0x11F, 0, 1), ("440EP", 0x120, 0, 0), ("e500mc", 0x13F, 0, 1), ("440EP", 0x11F, 1 << 18 | 0xF00, 0),
    ):  # fmt: skip
        m = machine(DAC1R | DAC1W, name=model)
        m.s.dac[0], m.s.dbcr2, m.s.gpr[4] = 0x101, dbcr2, ea
        m.do(name, ra=0, rb=4)
        assert m.s.dbsr == (bits if hit else 0)
    m = machine(DAC1R | DAC1W)
    m.s.dbcr0 &= ~IDM
    m.do(name, ra=0, rb=4)
    assert m.s.dbsr == 0


def test_a_range_turns_inside_out_with_each_event_where_it_is_asked() -> None:
    m = machine(IAC1)
    m.s.iac, m.s.dbcr1 = [0x2000, 0x3000, 0, 0], 2 << 22 | 1 << 16
    seen = []
    for pc in (0x1000, 0x2000, 0x2004, 0x3000, 0x1000, 0x2004):
        m.s.pc = pc
        seen.append((m.call("debug_fetch"), m.s.dbsr))
        m.s.dbsr &= 3
    assert seen == [(0, 0), (1, IAC1 | 2), (0, 2), (1, IAC1), (0, 0), (1, IAC1 | 2)]
    assert m.call("pending") == 0xFF  # that it is turned asks for nothing
    m.s.msr, m.s.pc = 0, 0x5000
    assert m.call("debug_fetch") == 0 and m.s.dbsr == 2  # ranges wait for MSR.DE


def test_a_trap_is_a_debug_interrupt_where_traps_are_events() -> None:
    for dbcr0, msr, ivor, esr, dbsr in (
        (TRAP, DE, 15, 0, TRAP), (TRAP, 0, 6, 0x02000000, IDE | TRAP), (0, DE, 6, 0x02000000, 0),
    ):  # fmt: skip
        m = machine(dbcr0, msr)
        with pytest.raises(Interrupt) as stopped:
            m.do("tw", to=31)
        assert (stopped.value.ivor, stopped.value.esr, m.s.dbsr) == (ivor, esr, dbsr)


def test_a_return_event_takes_the_place_of_the_return() -> None:
    m = machine(RET)
    with pytest.raises(Interrupt) as stopped:
        m.do("rfi")
    assert (stopped.value.ivor, m.s.pc, m.s.dbsr) == (15, PC, RET)
    m = machine(RET, 0)
    m.s.srr0 = 0x2000
    m.do("rfi")
    assert (m.s.pc, m.s.dbsr) == (0x2000, IDE | RET)
    m = machine(RET, 0)
    m.do("rfci")  # would else never come back from its handler
    assert m.s.dbsr == 0


def test_an_interrupt_taken_is_an_event_at_its_handler() -> None:
    m = machine(IRPT)
    m.s.ivpr, m.s.ivor[6] = 0xC0000000, 0x700
    m.call("deliver", 6, 0, 0)
    assert m.s.dbsr == IRPT and m.call("pending") == 15
    m.call("deliver", 15, 0, 0)
    assert m.s.csrr0 == 0xC0000700 and m.call("pending") == 0xFF


def test_a_critical_interrupt_taken_is_an_event_of_the_e500mc_alone() -> None:
    for name, dbsr in (("440EP", 0), ("e500mc", 0x40)):
        m = machine(IRPT | 0x40, name=name)
        m.call("deliver", 0, 0, 0)
        assert m.s.dbsr == dbsr


def test_the_hypervisor_can_keep_events_to_its_guests() -> None:
    m = machine(IAC1, name="e500mc")
    m.s.iac[0], m.s.epcr = PC, 1 << 26
    assert m.call("debug_mode") == 0 and m.call("debug_fetch") == 0
    m.s.msr |= 1 << S.MSR_GS
    assert m.call("debug_mode") == 1 and m.call("debug_fetch") == 1


def test_a_run_ends_with_its_budget_though_a_debug_interrupt_is_due() -> None:
    pytest.importorskip("emu.engine._ppc")
    both = Pair("440EP")
    both.start(Random(1), both.families, 1)
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[CODE : CODE + 4] = encode("addi", rt=3, ra=0, si=1).to_bytes(4, "big")
        cpu.invalidate(CODE, 4)
        cpu.load_values({"msr": DE, "dbcr0": IDM | ICMP, "dbsr": 0, "tcr": 0})
        cpu.run(1)
        assert (cpu.icount, cpu.reg("pc"), cpu.reg("dbsr")) == (1, CODE + 4, ICMP)
        cpu.run(1)
        assert (cpu.icount, cpu.reg("pc"), cpu.reg("csrr0")) == (2, VECTORS + 15 * STRIDE, CODE + 4)
