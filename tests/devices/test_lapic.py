"""Local APIC: priorities, local vector table, command register, timer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from devices.lapic import Lapic

ID, VER, TPR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR, ICR_HIGH = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
TIMER, LINT0, LINT1, ERROR, INITIAL, CURRENT, DIVIDE = 0x320, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3E0
FIXED, NMI, INIT, STARTUP, EXTINT = 0, 4, 5, 6, 7
MASKED, PERIODIC = 0x10000, 0x20000


@pytest.fixture
def log():
    return SimpleNamespace(eoi=[], nmi=[], init=[], startup=[], sent=[])


@pytest.fixture
def apic(clock, line, log):
    """Software enabled, spurious vector 0xFF."""
    dev = Lapic(
        clock=clock,
        intr=line,
        extint_vector=lambda: 0x20,
        end_of_interrupt=log.eoi.append,
        nmi=lambda: log.nmi.append(1),
        init=lambda: log.init.append(1),
        startup=log.startup.append,
        send=lambda *message: log.sent.append(message),
    )
    dev.write(SVR, 4, 0x1FF)
    return dev


def fixed(apic, vector, level=False):
    assert apic.deliver(0, False, FIXED, vector, level)


def test_reset_values_are_the_manuals(clock, line):
    dev = Lapic(clock=clock, intr=line, apic_id=3)
    assert dev.read(ID, 4) == 3 << 24
    assert dev.read(VER, 4) == 0x00050014
    assert dev.read(SVR, 4) == 0xFF
    assert dev.read(DFR, 4) == 0xFFFFFFFF
    assert all(dev.read(lvt, 4) == MASKED for lvt in range(TIMER, ERROR + 1, 0x10))


def test_an_interrupt_goes_from_irr_to_isr_and_out(apic, line):
    fixed(apic, 0x41)
    assert line.level
    assert apic.read(IRR + 0x20, 4) == 2
    assert apic.acknowledge() == 0x41
    assert not line.level
    assert apic.read(IRR + 0x20, 4) == 0
    assert apic.read(ISR + 0x20, 4) == 2
    assert apic.read(PPR, 4) == 0x40
    apic.write(EOI, 4, 0)
    assert apic.read(ISR + 0x20, 4) == 0


def test_only_a_higher_class_interrupts_the_one_in_service(apic, line):
    fixed(apic, 0x41)
    apic.acknowledge()
    fixed(apic, 0x4F)
    assert not line.level
    fixed(apic, 0x51)
    assert apic.acknowledge() == 0x51
    apic.write(EOI, 4, 0)
    assert not line.level
    apic.write(EOI, 4, 0)
    assert apic.acknowledge() == 0x4F


def test_the_task_priority_holds_back_its_class_and_lower_ones(apic, line):
    apic.write(TPR, 4, 0x40)
    fixed(apic, 0x4F)
    assert not line.level
    fixed(apic, 0x50)
    assert line.level
    apic.acknowledge()
    apic.write(EOI, 4, 0)
    apic.write(TPR, 4, 0)
    assert line.level


def test_an_acknowledge_with_nothing_pending_is_spurious_and_needs_no_eoi(apic):
    fixed(apic, 0x41)
    apic.write(TPR, 4, 0xFF)
    assert apic.acknowledge() == 0xFF
    assert apic.read(ISR + 0x20, 4) == 0


def test_the_end_of_a_level_interrupt_is_told_to_the_ioapic(apic, log):
    for vector, level in ((0x41, True), (0x42, False)):
        fixed(apic, vector, level)
        apic.acknowledge()
        apic.write(EOI, 4, 0)
    assert log.eoi == [0x41]


def test_an_illegal_vector_is_an_error_that_esr_shows_after_a_write(apic, line):
    apic.write(ERROR, 4, 0xFE)
    fixed(apic, 5)
    assert apic.acknowledge() == 0xFE
    assert apic.read(ESR, 4) == 0
    apic.write(ESR, 4, 0)
    assert apic.read(ESR, 4) == 0x40
    apic.write(ESR, 4, 0)
    assert apic.read(ESR, 4) == 0


def test_physical_and_logical_destinations(apic):
    apic.write(ID, 4, 2 << 24)
    apic.write(LDR, 4, 0x14 << 24)
    assert apic.addressed(2, False)
    assert apic.addressed(0xFF, False)
    assert not apic.addressed(1, False)
    assert apic.addressed(0x04, True)
    assert not apic.addressed(0x02, True)
    apic.write(DFR, 4, 0)
    assert apic.read(DFR, 4) == 0x0FFFFFFF
    assert apic.addressed(0x14, True)
    assert not apic.addressed(0x24, True)
    assert apic.addressed(0xF4, True)


def test_disabled_by_software_it_passes_the_8259_straight_through(apic, line):
    apic.write(SVR, 4, 0xFF)
    apic.set_extint(True)
    assert line.level
    assert apic.acknowledge() == 0x20
    assert not apic.deliver(0, False, FIXED, 0x41, False)


def test_disabled_globally_it_passes_the_8259_and_its_registers_are_gone(apic, line):
    apic.set_enabled(False)
    apic.set_extint(True)
    assert line.level
    assert apic.acknowledge() == 0x20
    assert apic.read(VER, 4) == 0xFFFFFFFF
    apic.set_enabled(True)
    assert apic.read(SVR, 4) == 0xFF


def test_enabled_it_passes_the_8259_only_through_an_extint_entry(apic, line):
    apic.set_extint(True)
    assert not line.level
    apic.write(LINT0, 4, EXTINT << 8)
    assert line.level
    assert apic.acknowledge() == 0x20
    apic.write(LINT0, 4, MASKED | EXTINT << 8)
    assert not line.level


def test_a_fixed_lint0_turns_each_edge_into_its_vector(apic):
    apic.write(LINT0, 4, 0x31)
    apic.set_extint(True)
    assert apic.acknowledge() == 0x31
    apic.write(EOI, 4, 0)
    apic.set_extint(True)
    assert apic.read(IRR + 0x10, 4) == 0
    apic.set_extint(False)
    apic.set_extint(True)
    assert apic.acknowledge() == 0x31


def test_lint1_as_nmi_fires_on_edges(apic, log):
    apic.set_lint1(True)
    assert log.nmi == []
    apic.set_lint1(False)
    apic.write(LINT1, 4, NMI << 8)
    apic.set_lint1(True)
    apic.set_lint1(True)
    assert log.nmi == [1]


def test_the_local_vector_table_stays_masked_while_disabled(apic):
    apic.write(TIMER, 4, 0x30)
    apic.write(SVR, 4, 0xFF)
    assert apic.read(TIMER, 4) & MASKED
    apic.write(TIMER, 4, 0x30)
    assert apic.read(TIMER, 4) == MASKED | 0x30


@pytest.mark.parametrize("icr", [0x40041, 0x80041, 0x00041])
def test_an_interrupt_to_itself_arrives(apic, icr):
    apic.write(ICR_HIGH, 4, 0)
    apic.write(ICR, 4, icr)
    assert apic.read(ICR, 4) == icr
    assert apic.acknowledge() == 0x41


def test_init_and_startup_for_another_processor_are_sent(apic, log):
    apic.write(ICR_HIGH, 4, 1 << 24)
    apic.write(ICR, 4, 0xC500)
    apic.write(ICR, 4, 0x8500)
    apic.write(ICR, 4, 0x0608)
    assert log.sent == [(1, False, INIT, 0), (1, False, STARTUP, 8)]
    assert log.init == log.startup == []


def test_all_but_self_does_not_reach_self(apic, line, log):
    apic.write(ICR, 4, 0xC0041)
    assert not line.level
    assert log.sent == [(0xFF, False, FIXED, 0x41)]


def test_sending_an_illegal_vector_is_an_error(apic, log):
    apic.write(ICR, 4, 0x40005)
    apic.write(ESR, 4, 0)
    assert apic.read(ESR, 4) == 0x20
    assert log.sent == []


def test_a_one_shot_timer_interrupts_once(apic, clock, line):
    apic.write(DIVIDE, 4, 0x0B)
    apic.write(TIMER, 4, 0x40)
    apic.write(INITIAL, 4, 1000)
    clock.advance(400)
    assert apic.read(CURRENT, 4) == 600
    assert not line.level
    clock.advance(600)
    assert apic.read(CURRENT, 4) == 0
    assert apic.acknowledge() == 0x40
    apic.write(EOI, 4, 0)
    clock.advance(100_000)
    assert line.edges == 1


def test_a_periodic_timer_keeps_its_phase(apic, clock, line):
    apic.write(DIVIDE, 4, 0x03)
    apic.write(TIMER, 4, PERIODIC | 0x40)
    apic.write(INITIAL, 4, 1000)
    for turn in range(1, 6):
        clock.advance(16_000 * turn - clock.time)
        assert apic.acknowledge() == 0x40
        apic.write(EOI, 4, 0)
        assert apic.read(CURRENT, 4) == 1000
    assert line.edges == 5


@pytest.mark.parametrize(("code", "divisor"), [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)])
def test_the_divider_codes(apic, clock, code, divisor):
    apic.write(DIVIDE, 4, code)
    apic.write(INITIAL, 4, 100)
    clock.advance(50 * divisor)
    assert apic.read(CURRENT, 4) == 50


def test_a_masked_timer_counts_without_interrupts(apic, clock, line):
    apic.write(TIMER, 4, MASKED | PERIODIC | 0x40)
    apic.write(INITIAL, 4, 0xFFFFFFFF)
    clock.fired = 0
    clock.advance(2_000_000)
    assert apic.read(CURRENT, 4) == 0xFFFFFFFF - 1_000_000
    assert clock.fired == 0


def test_unmasking_a_timer_under_way_lets_its_interrupt_come(apic, clock, line):
    apic.write(TIMER, 4, MASKED | 0x40)
    apic.write(INITIAL, 4, 1000)
    clock.advance(1000)
    apic.write(TIMER, 4, 0x40)
    clock.advance(999)
    assert not line.level
    clock.advance(1)
    assert line.level


def test_an_expired_timer_stays_expired_whatever_is_changed(apic, clock, line):
    apic.write(TIMER, 4, MASKED | 0x40)
    apic.write(INITIAL, 4, 10)
    clock.advance(1000)
    apic.write(TIMER, 4, PERIODIC | 0x40)
    apic.write(DIVIDE, 4, 0x0A)
    clock.advance(10_000)
    assert not line.level
    assert apic.read(CURRENT, 4) == 0


def test_a_changed_divider_goes_on_from_the_current_count(apic, clock):
    apic.write(DIVIDE, 4, 0x0B)
    apic.write(INITIAL, 4, 1000)
    clock.advance(500)
    apic.write(DIVIDE, 4, 0x00)
    assert apic.read(CURRENT, 4) == 500
    clock.advance(500)
    assert apic.read(CURRENT, 4) == 250


DEADLINE = 0x40000


def test_a_deadline_interrupts_once_and_is_then_gone(apic, clock, line):
    gone = []
    apic.write(TIMER, 4, DEADLINE | 0x31)
    apic.deadline_gone = lambda: gone.append(clock.now())
    apic.set_deadline(5_000)
    clock.advance(4_999)
    assert not line.level and not gone
    clock.advance(1)
    assert line.level and gone == [5_000]
    assert apic.acknowledge() == 0x31
    apic.write(EOI, 4, 0)
    clock.advance(1_000_000)
    assert not line.level
    apic.set_deadline(-5)  # has passed long since
    clock.advance(0)
    assert line.level and len(gone) == 2


def test_a_deadline_can_be_taken_back_and_the_initial_count_means_nothing_then(apic, clock, line):
    apic.write(TIMER, 4, DEADLINE | 0x31)
    apic.set_deadline(5_000)
    apic.write(INITIAL, 4, 100)
    apic.write(DIVIDE, 4, 0xB)
    assert apic.read(INITIAL, 4) == apic.read(CURRENT, 4) == 0
    apic.set_deadline(None)
    clock.advance(10_000)
    assert not line.level


def test_a_change_of_mode_ends_a_deadline_and_other_modes_know_none(apic, clock, line):
    gone = []
    apic.deadline_gone = lambda: gone.append(1)
    apic.set_deadline(5_000)
    assert gone == [1]
    apic.write(TIMER, 4, DEADLINE | 0x31)
    apic.set_deadline(5_000)
    apic.write(TIMER, 4, 0x31)
    clock.advance(10_000)
    assert not line.level and len(gone) == 3


def test_a_masked_deadline_passes_in_silence_and_a_saved_one_comes(apic, clock, line):
    apic.write(TIMER, 4, DEADLINE | MASKED | 0x31)
    apic.set_deadline(5_000)
    clock.advance(5_000)
    assert not line.level
    apic.write(TIMER, 4, DEADLINE | 0x31)
    apic.set_deadline(9_000)
    saved = apic.save()
    apic.set_deadline(None)
    apic.load(saved)
    clock.advance(4_000)
    assert line.level


def test_a_count_of_0_stops_the_timer(apic, clock, line):
    apic.write(TIMER, 4, PERIODIC | 0x40)
    apic.write(INITIAL, 4, 1000)
    apic.write(INITIAL, 4, 0)
    clock.advance(100_000)
    assert not line.level


def test_a_period_of_one_tick_does_not_flood(apic, clock):
    apic.write(DIVIDE, 4, 0x0B)
    apic.write(TIMER, 4, PERIODIC | 0x40)
    apic.write(INITIAL, 4, 1)
    clock.fired = 0
    clock.advance(1_000_000)
    assert clock.fired == 1000


def test_place_and_identity_are_told_whenever_they_change(clock, line):
    told = []
    dev = Lapic(clock=clock, intr=line, apic_id=1)
    dev.show_to(lambda *what: told.append(what))
    dev.write(ID, 4, 0x0500_0000)
    assert told == [(0xFEE00000, 1 << 24), (0xFEE00000, dev.read(ID, 4))]
    dev.set_base(0xFED4_0900)
    assert told[-1] == (0xFED40000, dev.read(ID, 4))
    dev.set_base(0xFED4_0100)
    assert told[-1] == (0xFED40000, None)
    dev.reset()
    assert told[-1] == (0xFEE00000, 1 << 24)


def test_asking_whom_a_message_is_for_ends_no_loan(clock, line):
    lapic = Lapic(clock=clock, intr=line)
    lapic.write(0xF0, 4, 0x1FF)
    ended = []
    assert lapic.lend(lambda: ended.append(True)) is not None
    assert lapic.addressed(0, False) and not lapic.addressed(5, False) and not lapic.addressed(1, True)
    assert not ended
