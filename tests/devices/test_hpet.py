"""The event timers: one-shot, periodic, level and edge, and legacy replacement."""

from __future__ import annotations

import pytest

from devices.hpet import Hpet
from tests.devices.conftest import FakeLine

CONFIG, STATUS, COUNTER = 0x10, 0x20, 0xF0
ENABLE, LEGACY = 1, 2
LEVEL, INTERRUPTS, PERIODIC, SET_VALUE, SHORT = 0x02, 0x04, 0x08, 0x40, 0x100


class Bench:
    def __init__(self, clock, routes=(16, 17)):
        self.clock = clock
        self.irq0, self.irq8 = FakeLine(), FakeLine()
        self.routes = {number: FakeLine() for number in routes}
        self.dev = Hpet(clock=clock, legacy=(self.irq0, self.irq8), routes=self.routes)

    def get(self, at):
        return self.dev.read(at, 4) | self.dev.read(at + 4, 4) << 32

    def put(self, at, value):
        self.dev.write(at, 4, value & 0xFFFFFFFF)

    def start(self, config=ENABLE):
        self.put(CONFIG, config)


@pytest.fixture
def hpet(clock):
    return Bench(clock)


def conf(n):
    return 0x100 + 0x20 * n


def comp(n):
    return 0x108 + 0x20 * n


def test_the_block_says_what_it_is(hpet):
    assert hpet.get(0) == 10_000_000 << 32 | 0x8086A201
    assert hpet.get(conf(0)) == 0x30000 << 32 | 0x30
    assert hpet.get(comp(2)) == (1 << 64) - 1
    assert hpet.get(conf(3)) == 0


def test_the_counter_counts_hundreds_of_millions_a_second_while_it_is_enabled(hpet):
    hpet.clock.advance(1000)
    assert hpet.get(COUNTER) == 0
    hpet.put(COUNTER, 0xFFFFFFF0)
    hpet.start()
    hpet.clock.advance(1000)
    assert hpet.get(COUNTER) == 0xFFFFFFF0 + 100
    hpet.put(COUNTER, 5)  # a running counter is not set
    hpet.put(CONFIG, 0)
    hpet.clock.advance(1000)
    assert hpet.get(COUNTER) == 0xFFFFFFF0 + 100


def test_enabling_again_does_not_lose_parts_of_ticks(hpet):
    hpet.start()
    for _ in range(10):
        hpet.clock.advance(15)
        hpet.start(ENABLE | LEGACY)
    assert hpet.get(COUNTER) == 15


def test_a_one_shot_timer_fires_once_at_its_tick(hpet):
    hpet.start()
    hpet.put(comp(0), 50)
    hpet.put(comp(0) + 4, 0)
    hpet.put(conf(0), INTERRUPTS | 16 << 9)
    hpet.clock.advance(499)
    assert hpet.routes[16].edges == 0
    hpet.clock.advance(1)
    assert hpet.routes[16].edges == 1
    hpet.clock.advance(10_000_000)
    assert hpet.routes[16].edges == 1
    assert hpet.get(STATUS) == 0


def test_a_short_one_shot_comes_again_when_32_bits_have_wrapped(hpet):
    hpet.start()
    hpet.put(comp(0), 50)
    hpet.put(conf(0), INTERRUPTS | SHORT | 16 << 9)
    hpet.clock.advance(500 + (1 << 32) * 10 - 1)
    assert hpet.routes[16].edges == 1
    hpet.clock.advance(1)
    assert hpet.routes[16].edges == 2


def test_linux_sets_a_period_by_two_writes(hpet):
    hpet.start(ENABLE | LEGACY)
    hpet.clock.advance(105)
    hpet.put(conf(0), INTERRUPTS | PERIODIC | SET_VALUE | SHORT)
    hpet.put(comp(0), 10 + 1000)
    hpet.clock.advance(1000)
    hpet.put(comp(0), 1000)
    hpet.clock.advance(9_000 - 6)
    assert hpet.irq0.edges == 0
    hpet.clock.advance(1)
    assert hpet.irq0.edges == 1
    hpet.clock.advance(50_000)
    assert hpet.irq0.edges == 6
    assert hpet.get(comp(0)) == 10 + 7000


def test_a_level_interrupt_stays_until_its_status_is_cleared(hpet):
    hpet.start()
    hpet.put(comp(1), 10)
    hpet.put(conf(1), INTERRUPTS | LEVEL | SHORT | 17 << 9)
    hpet.clock.advance(200)
    assert hpet.routes[17].level
    assert hpet.get(STATUS) == 2
    hpet.put(STATUS, 1)
    assert hpet.routes[17].level
    hpet.put(STATUS, 2)
    assert not hpet.routes[17].level
    assert hpet.get(STATUS) == 0


def test_legacy_replacement_takes_the_interrupts_of_timer_and_clock(hpet):
    pit, rtc = hpet.dev.legacy_input(0), hpet.dev.legacy_input(1)
    pit.set(True)
    assert hpet.irq0.level
    hpet.start(ENABLE | LEGACY)
    assert not hpet.irq0.level
    rtc.set(True)
    assert not hpet.irq8.level
    hpet.put(comp(1), hpet.get(COUNTER) + 5)
    hpet.put(conf(1), INTERRUPTS | SHORT | 16 << 9)
    hpet.clock.advance(50)
    assert hpet.irq8.edges == 1
    assert hpet.routes[16].edges == 0
    hpet.start(0)
    assert hpet.irq0.level
    assert hpet.irq8.level
    hpet.dev.reset()
    assert hpet.irq0.level


def test_a_route_that_is_not_offered_is_not_taken(hpet):
    hpet.put(conf(0), 17 << 9)
    hpet.put(conf(0), 3 << 9)
    assert hpet.get(conf(0)) >> 9 & 31 == 17


def test_a_guest_cannot_ask_for_more_than_a_million_interrupts_a_second(hpet):
    hpet.start(ENABLE | LEGACY)
    hpet.put(conf(0), INTERRUPTS | PERIODIC | SET_VALUE | SHORT)
    hpet.put(comp(0), 1)
    before = hpet.clock.fired
    hpet.clock.advance(1_000_000)
    assert 900 < hpet.clock.fired - before < 1100
    assert hpet.get(comp(0)) - hpet.get(COUNTER) <= 1


def test_narrow_and_wide_accesses_meet_the_same_registers(hpet):
    hpet.dev.write(comp(0) + 1, 2, 0x1234)
    assert hpet.get(comp(0)) == 0xFFFFFFFFFF1234FF
    assert hpet.dev.read(comp(0) + 2, 4) == 0xFFFFFF12
    assert hpet.dev.read(0x3FE, 4) == 0


def test_a_saved_timer_goes_on_where_it_was(hpet, clock):
    hpet.start(ENABLE | LEGACY)
    hpet.put(conf(0), INTERRUPTS | PERIODIC | SET_VALUE | SHORT)
    hpet.put(comp(0), 1000)
    hpet.clock.advance(12_345)
    other = Bench(clock)
    other.dev.load(hpet.dev.save())
    hpet.clock.advance(7_654)
    assert other.irq0.edges == 0
    hpet.clock.advance(1)
    assert other.irq0.edges == 1
    assert other.get(COUNTER) == hpet.get(COUNTER) == 2000
