"""Delivery by class, and which interrupt is due, by model."""

from __future__ import annotations

import pytest

from cores.ppc import state as S
from tests.cores.ppc_machine import Interrupt, Machine

CE, EE, PR, ME, DE, IS, DS, WE, GS = (
    1 << n for n in (S.MSR_CE, S.MSR_EE, S.MSR_PR, S.MSR_ME, S.MSR_DE, S.MSR_IS, S.MSR_DS, S.MSR_WE, S.MSR_GS)
)
ALL_440 = 0x0006FF30
PC = 0x1234
NONE = 0xFF


def machine(name: str = "440EP", msr: int = 0) -> Machine:
    m = Machine(name)
    m.s.pc, m.s.msr = PC, msr
    m.s.ivpr = 0xC0000000
    m.s.ivor = [0x100 * n & 0xFFF0 for n in range(42)]
    m.s.esr, m.s.dear = 0xAAAA, 0xBBBB
    return m


@pytest.mark.parametrize(("name", "ivor", "saved", "left"), [
    ("440EP", 4, "srr", CE | ME | DE), ("440EP", 13, "srr", CE | ME | DE), ("440EP", 0, "csrr", ME),
    ("440EP", 12, "csrr", ME), ("440EP", 15, "csrr", ME), ("440EP", 1, "csrr", 0), ("460EX", 1, "mcsrr", 0),
    ("e500v2", 1, "mcsrr", 0), ("e500v2", 15, "csrr", ME), ("e500v2", 32, "srr", CE | ME | DE),
])  # fmt: skip
def test_an_interrupt_saves_and_clears_by_its_class(name: str, ivor: int, saved: str, left: int) -> None:
    msr = ALL_440 & Machine(name).s.msr_mask
    m = machine(name, msr)
    m.call("deliver", ivor, 0, 0)
    assert (getattr(m.s, f"{saved}0"), getattr(m.s, f"{saved}1")) == (PC, msr)
    assert m.s.msr == left
    assert m.s.pc == 0xC0000000 + 0x100 * ivor
    others = {"srr", "csrr", "mcsrr", "dsrr"} - {saved}
    assert all(getattr(m.s, f"{other}1") == 0 for other in others)
    assert "mode_changed" in m.calls


@pytest.mark.parametrize(("ivor", "saved", "left"), [
    (15, "dsrr", CE | ME), (0, "csrr", ME | DE), (37, "csrr", ME | DE), (36, "srr", CE | ME | DE),
    (38, "gsrr", CE | ME | DE),
    (41, "srr", CE | ME | DE),
])  # fmt: skip
def test_the_e500mc_has_a_debug_class_of_its_own(ivor: int, saved: str, left: int) -> None:
    msr = CE | EE | ME | DE | GS
    m = machine("e500mc", msr)
    m.call("deliver", ivor, 0, 0)
    assert (getattr(m.s, f"{saved}0"), getattr(m.s, f"{saved}1"), m.s.msr) == (PC, msr, left)


@pytest.mark.parametrize(("ivor", "esr", "dear"), [
    (2, 0x00800000, 0xDEAD0000), (3, 0x00800000, 0xBBBB), (4, 0xAAAA, 0xBBBB), (5, 0x00800000, 0xDEAD0000),
    (6, 0x00800000, 0xBBBB), (7, 0xAAAA, 0xBBBB), (8, 0xAAAA, 0xBBBB), (10, 0xAAAA, 0xBBBB),
    (13, 0x00800000, 0xDEAD0000), (14, 0x00800000, 0xBBBB),
])  # fmt: skip
def test_only_some_interrupts_set_esr_and_dear(ivor: int, esr: int, dear: int) -> None:
    m = machine()
    m.call("deliver", ivor, 0x00800000, 0xDEAD0000)
    assert (m.s.esr, m.s.dear) == (esr, dear)


def test_only_a_machine_check_clears_ri() -> None:
    ri = 1 << S.MSR_RI
    for ivor in (0, 2, 4, 6, 12, 13, 15, 36, 37, 41):
        m = machine("e500mc", ri | EE | ME)
        m.call("deliver", ivor, 0, 0)
        assert m.s.msr & (ri | EE) == ri, ivor
    m = machine("e500mc", ri | ME)
    m.call("deliver", 1, 0, 0)
    assert m.s.msr == 0 and m.s.mcsrr1 == ri | ME


def test_a_system_call_returns_behind_itself() -> None:
    m = machine()
    with pytest.raises(Interrupt) as stopped:
        m.do("sc")
    assert stopped.value.ivor == S.SYSTEM_CALL
    m.call("deliver", stopped.value.ivor, stopped.value.esr, 0)
    assert m.s.srr0 == PC + 4
    m.do("rfi")
    assert (m.s.pc, m.s.msr) == (PC + 4, 0)


@pytest.mark.parametrize("name", ["440EP", "e500v2", "e500mc"])
def test_sc_1_calls_a_hypervisor_only_where_one_can_be(name: str) -> None:
    m = machine(name)
    with pytest.raises(Interrupt) as stopped:
        m.do("sc", lev=1)
    assert stopped.value.ivor == (40 if name == "e500mc" else 8)


def test_rfmci_is_no_instruction_of_the_440ep() -> None:
    with pytest.raises(Interrupt) as stopped:
        machine("440EP").do("rfmci")
    assert stopped.value.esr == 0x08000000
    m = machine("460EX")
    m.s.mcsrr0, m.s.mcsrr1 = 0x2003, ME | EE
    m.do("rfmci")
    assert (m.s.pc, m.s.msr) == (0x2000, ME | EE)


@pytest.mark.parametrize(("name", "register", "v"), [
    ("440EP", "esr", 0x80000000), ("460EX", "mcsr", 0xA0000000), ("e500v2", "mcsr", 0x80000008),
])  # fmt: skip
def test_a_machine_check_tells_its_cause(name: str, register: str, v: int) -> None:
    m = machine(name, ME)
    m.s.mcsr = v & 0x80000000
    m.s.pins = 5
    m.call("deliver", S.MACHINE_CHECK, v if name == "440EP" else v & 0x7FFFFFFF, 0x9000)
    assert getattr(m.s, register) == v
    assert m.s.pins == 1 and m.resets == []


def test_the_pin_is_the_cause_where_none_is_given() -> None:
    m = machine("e500v2", ME)
    m.call("deliver", S.MACHINE_CHECK, 0, 0)
    assert m.s.mcsr == 0x80000000


def test_a_machine_check_that_is_not_enabled_stops_the_processor() -> None:
    m = machine("e500v2", EE)
    m.call("deliver", S.MACHINE_CHECK, 0, 0)
    assert m.resets == [S.CHECKSTOP]
    assert (m.s.pc, m.s.msr, m.s.mcsrr1) == (PC, EE, 0)


@pytest.mark.parametrize(("name", "msr", "hid0", "ivor"), [
    ("440EP", ME, 0, 1), ("440EP", 0, 0, NONE), ("e500v2", 0, 0, NONE), ("e500v2", 0, 1 << 31, 1), ("e500v2", ME, 0, 1),
])  # fmt: skip
def test_the_machine_check_pin_waits_for_me_or_checks_the_processor(name: str, msr: int, hid0: int, ivor: int) -> None:
    m = machine(name, msr)
    m.s.hid0, m.s.pins = hid0, 4
    assert m.call("pending") == ivor


DUE = (
    ("pins", 2, CE, 0),
    ("tsr", 1 << 30, CE, 12),
    ("pins", 1, EE, 4),
    ("tsr", 1 << 26, EE, 11),
    ("tsr", 1 << 27, EE, 10),
)
ENABLED = 1 << 27 | 1 << 26 | 1 << 23  # TCR: WIE, DIE, FIE


@pytest.mark.parametrize(("register", "bits", "enable", "ivor"), DUE)
def test_an_interrupt_is_due_when_its_cause_and_its_enables_are_there(
    register: str, bits: int, enable: int, ivor: int
) -> None:
    m = machine(msr=enable)
    m.s.tcr = ENABLED
    assert m.call("pending") == NONE
    setattr(m.s, register, bits)
    assert m.call("pending") == ivor
    m.s.msr = ALL_440 & ~enable & ~DE
    assert m.call("pending") == NONE
    m.s.msr, m.s.tcr = enable, 0
    assert m.call("pending") == (ivor if register == "pins" else NONE)


def test_interrupts_come_in_the_order_of_the_manual() -> None:
    m = machine("e500v2", ME | CE | EE | DE)
    m.s.tcr, m.s.tsr, m.s.pins = ENABLED, 1 << 30 | 1 << 27 | 1 << 26, 7
    m.s.dbcr0, m.s.dbsr = 1 << 30, 1 << 27
    order = []
    while (ivor := m.call("pending")) != NONE:
        order.append(ivor)
        if ivor == 1:
            m.s.pins &= 3
        elif ivor == 15:
            m.s.dbsr = 0
        elif ivor in (0, 4):
            m.s.pins &= ~(2 if ivor == 0 else 1)
        else:
            m.s.tsr &= ~{12: 1 << 30, 11: 1 << 26, 10: 1 << 27}[ivor]
    assert order == [1, 15, 0, 12, 4, 11, 10]


def test_epr_takes_the_vector_of_the_controller() -> None:
    m = machine("e500mc", EE)
    m.vector = 0x42
    m.call("deliver", S.EXTERNAL, 0, 0)
    assert m.s.epr == 0x42


# --- guests of the e500mc --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ivor", "epcr"), [(2, 28), (3, 27), (4, 31), (13, 30), (14, 29), (8, None)])
def test_the_hypervisor_gives_a_guest_its_own_interrupts(ivor: int, epcr: int | None) -> None:
    m = machine("e500mc", GS | EE | PR | ME)
    m.s.givpr, m.s.givor[ivor] = 0xD0000000, 0x640
    m.s.epcr = 0 if epcr is None else 1 << epcr
    m.call("deliver", ivor, 0x00800000, 0x7000)
    assert m.s.pc == 0xD0000640
    assert m.s.msr == GS | ME
    assert (m.s.gsrr0, m.s.gsrr1) == (PC + (4 if ivor == 8 else 0), GS | EE | PR | ME)
    assert m.s.srr1 == 0 and m.s.esr == 0xAAAA and m.s.dear == 0xBBBB
    assert m.s.gesr == (0x00800000 if ivor in (2, 3, 13, 14) else 0)
    assert m.s.gdear == (0x7000 if ivor in (2, 13) else 0)


@pytest.mark.parametrize("ivor", [2, 3, 4, 5, 6, 10, 13, 14, 41])
def test_the_rest_goes_to_the_hypervisor(ivor: int) -> None:
    m = machine("e500mc", GS | EE)
    m.call("deliver", ivor, 0, 0)
    assert m.s.msr == 0 and m.s.srr1 == GS | EE and m.s.pc == 0xC0000000 + 0x100 * ivor


def test_the_hypervisors_interrupts_do_not_wait_for_the_guests_ee() -> None:
    m = machine("e500mc", GS)
    m.s.pins = 1
    assert m.call("pending") == 4
    m.s.epcr = 1 << 31  # external interrupts are the guest's
    assert m.call("pending") == NONE
    m.s.msr = GS | EE
    assert m.call("pending") == 4
    m.s.msr = EE  # and not the hypervisor's
    assert m.call("pending") == NONE


@pytest.mark.parametrize(("bell", "msr", "ivor"), [
    (1, EE, 36), (1, GS, 36), (2, CE, 37), (4, GS | EE, 38), (4, EE, NONE), (4, GS, NONE), (8, GS | CE, 39),
    (16, GS | ME, 39), (24, GS, NONE), (1, 0, NONE),
])  # fmt: skip
def test_a_doorbell_is_heard_where_it_is_enabled_and_then_forgotten(bell: int, msr: int, ivor: int) -> None:
    m = machine("e500mc", msr)
    m.s.doorbells = bell
    assert m.call("pending") == ivor
    if ivor != NONE:
        m.call("deliver", ivor, 0, 0)
        assert m.s.doorbells == 0


def test_rfi_in_a_guest_is_its_own_and_rfgi_enters_it() -> None:
    m = machine("e500mc")
    m.s.gsrr0, m.s.gsrr1 = 0x5000, GS | EE
    m.do("rfgi")
    assert (m.s.pc, m.s.msr) == (0x5000, GS | EE)
    m.s.srr0, m.s.srr1 = 0x6000, 0
    m.s.gsrr0, m.s.gsrr1 = 0x7000, PR
    m.do("rfi")
    assert (m.s.pc, m.s.msr) == (0x7000, GS | PR)
    m.s.msr = GS
    for name in ("rfgi", "rfci", "rfmci", "rfdi"):
        with pytest.raises(Interrupt) as stopped:
            m.do(name)
        assert stopped.value.ivor == S.HYPERVISOR_PRIVILEGE


@pytest.mark.parametrize("name", ["rfi", "rfci", "rfmci", "rfdi", "rfgi"])
def test_returns_are_privileged(name: str) -> None:
    m = machine("e500mc", PR)
    with pytest.raises(Interrupt) as stopped:
        m.do(name)
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, 0x04000000)


def test_ehpriv_calls_the_hypervisor() -> None:
    m = machine("e500mc", GS | PR)
    with pytest.raises(Interrupt) as stopped:
        m.do("ehpriv", oc=5)
    assert stopped.value.ivor == 41
