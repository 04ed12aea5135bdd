"""PIIX4 power management: timer, events, sleep."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.acpi_pm import AcpiPm

STATUS, ENABLE, CONTROL, TIMER = 0, 2, 4, 8


class Machine:
    def __init__(self, clock, sci):
        self.clock, self.sci = clock, sci
        self.off = self.sleeps = self.wakes = 0
        self.pm = AcpiPm(clock=clock, sci=sci, power_off=self.power_off, sleep=self.sleep, woken=self.woken)

    def power_off(self):
        self.off += 1

    def sleep(self):
        self.sleeps += 1

    def woken(self):
        self.wakes += 1


@pytest.fixture
def machine(clock, line):
    return Machine(clock, line)


def test_the_timer_counts_3579545_ticks_a_second_in_24_bits(machine, clock):
    assert machine.pm.read(TIMER, 4) == 0
    clock.advance(1_000_000_000)
    assert machine.pm.read(TIMER, 4) == 3_579_545
    clock.advance(9_000_000_000)
    assert machine.pm.read(TIMER, 4) == 35_795_450 & 0xFFFFFF
    machine.pm.write(TIMER, 4, 0)
    assert machine.pm.read(TIMER, 4) == 35_795_450 & 0xFFFFFF


def test_the_timer_status_is_set_when_its_top_bit_changes_and_cleared_by_a_one(machine, clock):
    clock.advance(2_300_000_000)
    assert machine.pm.read(STATUS, 2) & 1 == 0
    clock.advance(100_000_000)
    assert machine.pm.read(STATUS, 2) & 1
    machine.pm.write(STATUS, 2, 1)
    assert machine.pm.read(STATUS, 2) & 1 == 0
    clock.advance(2_343_500_000)
    assert machine.pm.read(STATUS, 2) & 1


def test_an_enabled_timer_event_interrupts_only_in_acpi_mode(machine, clock, line):
    machine.pm.write(ENABLE, 2, 1)
    clock.advance(2_400_000_000)
    assert not line.level
    machine.pm.write_smi(0, 1, 0xF1)
    assert line.level
    machine.pm.write(STATUS, 2, 1)
    assert not line.level
    clock.advance(2_400_000_000)
    assert line.level
    machine.pm.write_smi(0, 1, 0xF0)
    assert not line.level


def test_a_timer_that_nobody_listens_to_costs_no_events(machine, clock):
    clock.advance(100_000_000_000)
    assert clock.fired == 0


def test_the_smi_port_switches_acpi_mode_and_reads_back(machine):
    assert machine.pm.read(CONTROL, 2) & 1 == 0
    machine.pm.write_smi(0, 1, 0xF1)
    machine.pm.write_smi(1, 1, 0x55)
    assert machine.pm.read(CONTROL, 2) & 1 == 1
    assert machine.pm.read_smi(0, 2) == 0x55F1


def test_sleep_type_0_with_slp_en_powers_off(machine):
    machine.pm.write(CONTROL, 2, 0x0001)
    machine.pm.write(CONTROL, 2, 0x2001)
    assert machine.off == 1
    assert machine.pm.read(CONTROL, 2) == 1


def test_slp_en_in_a_byte_write_powers_off_too(machine):
    machine.pm.write(CONTROL + 1, 1, 0x20)
    assert machine.off == 1


def test_other_sleep_types_wake_at_once(machine):
    machine.pm.write(CONTROL, 2, 0x2001 | 5 << 10)
    assert (machine.off, machine.sleeps) == (0, 0)
    assert machine.pm.read(STATUS, 2) & 0x8000


def test_sleep_type_1_sleeps_and_type_2_powers_off(machine):
    machine.pm.write(CONTROL, 2, 0x2001 | 1 << 10)
    assert (machine.off, machine.sleeps, machine.wakes) == (0, 1, 0)
    machine.pm.write(CONTROL, 2, 0x2001 | 2 << 10)
    assert machine.off == 1


def test_the_reason_for_waking_is_found_after_the_reset_and_not_after_the_next(machine):
    machine.pm.wake()
    assert machine.wakes == 0
    machine.pm.write(CONTROL, 2, 0x2001 | 1 << 10)
    machine.pm.press_power_button()
    machine.pm.press_power_button()
    assert machine.wakes == 1
    machine.pm.reset()
    assert machine.pm.read(STATUS, 2) == 0x8100
    machine.pm.reset()
    assert machine.pm.read(STATUS, 2) == 0


def test_the_clocks_interrupt_is_an_event_and_wakes_where_it_is_enabled(machine, line):
    machine.pm.write(CONTROL, 2, 1)
    machine.pm.clock_input.set(True)
    assert machine.pm.read(STATUS, 2) == 0x0400 and not line.level
    machine.pm.write(STATUS, 2, 0x0400)
    machine.pm.clock_input.set(False)
    machine.pm.write(CONTROL, 2, 0x2001 | 1 << 10)
    machine.pm.clock_input.set(True)
    assert machine.wakes == 0
    machine.pm.reset()
    machine.pm.write(ENABLE, 2, 0x0400)
    machine.pm.write(CONTROL, 2, 0x2001 | 1 << 10)
    machine.pm.clock_input.set(True)
    assert machine.wakes == 1


def test_an_event_that_waits_already_does_not_let_the_guest_sleep(machine):
    machine.pm.press_power_button()
    machine.pm.write(ENABLE, 2, 0x0100)
    machine.pm.write(CONTROL, 2, 0x2001 | 1 << 10)
    assert (machine.sleeps, machine.wakes) == (1, 1)


def test_the_power_button_raises_sci_until_it_is_acknowledged(machine, line):
    machine.pm.write(CONTROL, 2, 1)
    machine.pm.write(ENABLE, 2, 0x0100)
    machine.pm.press_power_button()
    assert line.level
    machine.pm.write(STATUS + 1, 1, 0x01)
    assert not line.level and machine.pm.read(STATUS, 4) == 0x01000000


def test_a_byte_write_of_ones_clears_only_its_own_bits(machine, clock):
    clock.advance(2_400_000_000)
    machine.pm.press_power_button()
    machine.pm.write(STATUS, 1, 0xFF)
    assert machine.pm.read(STATUS, 2) == 0x0100


def test_a_double_word_write_reaches_status_and_enable(machine):
    machine.pm.press_power_button()
    machine.pm.write(STATUS, 4, 0x0021_0100)
    assert machine.pm.read(STATUS, 4) == 0x0021_0000


def test_general_purpose_events_interrupt_when_enabled(machine, line):
    machine.pm.write(CONTROL, 2, 1)
    machine.pm.raise_gpe(1)
    assert not line.level
    machine.pm.write_gpe(2, 2, 0x0002)
    assert line.level and machine.pm.read_gpe(0, 4) == 0x00020002
    machine.pm.write_gpe(0, 1, 0x02)
    assert not line.level


def test_a_saved_timer_event_still_comes(machine, clock, lines):
    machine.pm.write(CONTROL, 2, 1)
    machine.pm.write(ENABLE, 2, 1)
    clock.advance(1_000_000_000)
    saved = machine.pm.save()
    other = Machine(clock, lines())
    other.pm.load(saved)
    clock.advance(1_400_000_000)
    assert other.sci.level


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accesses=st.lists(
        st.tuples(
            st.sampled_from(["pm", "pm", "gpe", "smi", "time", "button"]),
            st.booleans(),
            st.integers(0, 63),
            st.sampled_from([1, 2, 4]),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=60,
    )
)
def test_no_access_raises_or_leaves_an_unsavable_state(clock, lines, accesses):
    clock = type(clock)()
    pm = Machine(clock, lines()).pm
    for kind, reading, offset, width, value in accesses:
        limit = (1 << (8 * width)) - 1
        if kind == "time":
            clock.advance(value)
        elif kind == "button":
            pm.press_power_button()
            pm.raise_gpe(value)
            pm.clock_input.set(reading)
            if value & 1:
                pm.reset()
        else:
            read, write, size = {
                "pm": (pm.read, pm.write, 64),
                "gpe": (pm.read_gpe, pm.write_gpe, 4),
                "smi": (pm.read_smi, pm.write_smi, 2),
            }[kind]
            width = min(width, size)
            offset = offset % size & ~(width - 1)
            if reading:
                assert 0 <= read(offset, width) <= limit
            else:
                write(offset, width, value & (1 << (8 * width)) - 1)
    saved = pm.save()
    pm.load(saved)
    assert pm.save() == saved
