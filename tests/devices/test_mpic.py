"""MPIC: routing, nesting, messages and timers, and agreement with an independent model over random operations."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.mpic import Mpic
from tests.devices.conftest import FakeClock, FakeLine

FRR, GCR, PIR, IPIVPR, SVR = 0x1000, 0x1020, 0x1090, 0x10A0, 0x10E0
TCR, TIMERS = 0x1300, 0x1100
IPIDR, CTPR, WHOAMI, IACK, EOI = 0x20040, 0x20080, 0x20090, 0x200A0, 0x200B0
MASKED, ACTIVE, LEVEL = 0x8000_0000, 0x4000_0000, 0x0040_0000
MIXED, PROXY = 0x2000_0000, 0x6000_0000
INHIBIT = TOGGLE = 0x8000_0000
TICK = 1_000
"""ns; `make` gives the timers a clock of 1 MHz."""


def vpr(source: int) -> int:
    return 0x10000 + 0x20 * source


def make(clock: FakeClock | None = None, version: str = "2.0") -> Mpic:
    dev = Mpic(
        clock=clock or FakeClock(),
        int_line=FakeLine(),
        cint_line=FakeLine(),
        mck_line=FakeLine(),
        out_line=FakeLine(),
        core_reset=FakeLine(),
        version=version,
        ccb_hz=8_000_000,
    )
    dev.write(GCR, 4, MIXED if version == "2.0" else PROXY)
    dev.write(CTPR, 4, 0)
    return dev


def enable(dev: Mpic, source: int, priority: int, vector: int, bits: int = 0) -> None:
    dev.write(vpr(source), 4, bits | priority << 16 | vector)


def test_the_identity_registers_tell_the_two_versions_apart():
    old, new = make(), make(version="4.2")
    assert [dev.read(0, 4) for dev in (old, new)] == [0x00400200, 0x00400402]
    assert [dev.read(FRR, 4) for dev in (old, new)] == [0x004F0002, 0x00C30002]
    assert old.read(WHOAMI, 4) == 0


def test_after_reset_every_source_is_masked_and_the_task_priority_is_highest():
    dev = make()
    enable(dev, 3, 5, 0x33)
    dev.write(GCR, 4, 0x8000_0000)
    assert dev.read(GCR, 4) == 0
    assert dev.read(CTPR, 4) == 15
    assert dev.read(SVR, 4) == 0xFFFF
    assert dev.read(vpr(3), 4) == 0x8000_0000
    assert dev.read(vpr(16), 4) == 0x8080_0000
    assert dev.read(vpr(3) + 0x10, 4) == 1


def test_a_level_interrupt_is_taken_served_and_taken_again_while_its_line_is_high():
    dev = make()
    line = dev.line(42)
    enable(dev, 42, 8, 0x2A)
    line.set(True)
    assert dev.int_line.level
    assert dev.read(vpr(42), 4) & ACTIVE
    assert dev.read(IACK, 4) == 0x2A
    assert not dev.int_line.level
    dev.write(EOI, 4, 0)
    assert dev.int_line.level
    assert dev.read(IACK, 4) == 0x2A
    line.set(False)
    dev.write(EOI, 4, 0)
    assert not dev.int_line.level
    assert not dev.read(vpr(42), 4) & ACTIVE


def test_an_edge_interrupt_is_taken_once():
    dev = make()
    line = dev.line(2)
    enable(dev, 2, 8, 0x22)
    line.set(True)
    assert dev.read(IACK, 4) == 0x22
    dev.write(EOI, 4, 0)
    assert not dev.int_line.level
    line.set(False)
    line.set(True)
    line.set(False)
    assert dev.int_line.level


def test_an_edge_on_a_masked_pin_waits_for_the_mask_to_go():
    dev = make()
    enable(dev, 2, 8, 0x22, MASKED)
    dev.drive(2, True)
    dev.drive(2, False)
    assert not dev.int_line.level
    enable(dev, 2, 8, 0x22)
    assert dev.read(IACK, 4) == 0x22


def test_a_level_request_that_goes_away_leaves_the_spurious_vector():
    dev = make()
    dev.write(SVR, 4, 0xABCD)
    enable(dev, 1, 8, 0x11, LEVEL)
    dev.drive(1, True)
    dev.drive(1, False)
    assert not dev.int_line.level
    assert dev.read(IACK, 4) == 0xABCD
    dev.write(EOI, 4, 0)
    dev.drive(1, True)
    assert dev.read(IACK, 4) == 0x11


def test_only_a_higher_priority_interrupts_a_handler():
    dev = make()
    for source, priority in ((20, 5), (21, 5), (22, 9)):
        enable(dev, source, priority, source)
    dev.drive(20, True)
    assert dev.read(IACK, 4) == 20
    dev.drive(21, True)
    assert not dev.int_line.level
    dev.drive(22, True)
    assert dev.int_line.level
    assert dev.read(IACK, 4) == 22
    dev.drive(22, False)
    dev.write(EOI, 4, 0)
    assert not dev.int_line.level
    dev.drive(20, False)
    dev.write(EOI, 4, 0)
    assert dev.read(IACK, 4) == 21


def test_the_task_priority_holds_back_what_is_not_above_it():
    dev = make()
    enable(dev, 20, 5, 20)
    dev.write(CTPR, 4, 5)
    dev.drive(20, True)
    assert not dev.int_line.level
    assert dev.read(IACK, 4) == 0xFFFF
    dev.write(CTPR, 4, 4)
    assert dev.int_line.level


def test_priority_0_is_never_delivered():
    dev = make()
    enable(dev, 20, 0, 20)
    dev.drive(20, True)
    assert not dev.int_line.level


def test_the_registers_of_the_processor_are_also_at_the_start_of_the_range():
    dev = make()
    dev.write(0x80, 4, 7)
    assert dev.read(CTPR, 4) == 7
    dev.write(CTPR, 4, 0)
    enable(dev, 20, 5, 20)
    dev.drive(20, True)
    assert dev.read(0xA0, 4) == 20
    dev.drive(20, False)
    dev.write(0xB0, 4, 0)
    assert not dev.read(vpr(20), 4) & ACTIVE


def test_an_inter_processor_interrupt_to_itself():
    dev = make()
    dev.write(IPIVPR + 0x10, 4, 0x000A_0101)
    dev.write(IPIDR + 0x10, 4, 2)
    assert not dev.int_line.level
    dev.write(IPIDR + 0x10, 4, 1)
    assert dev.read(IACK, 4) == 0x101


def test_pass_through_wires_pin_0_to_the_processor():
    dev = make()
    dev.write(GCR, 4, 0)
    enable(dev, 20, 5, 20)
    dev.drive(20, True)
    assert not dev.int_line.level
    dev.drive(0, True)
    assert dev.int_line.level
    dev.drive(0, False)
    assert not dev.int_line.level
    dev.write(GCR, 4, MIXED)
    assert dev.int_line.level


def test_external_proxy_mode_gives_the_vector_without_a_read():
    dev = make(version="4.2")
    enable(dev, 20, 5, 0x123)
    dev.drive(20, True)
    assert dev.acknowledge() == 0x123
    assert not dev.int_line.level
    assert dev.acknowledge() == 0xFFFF
    dev.write(GCR, 4, MIXED)
    dev.write(EOI, 4, 0)
    assert dev.acknowledge() == 0
    assert dev.int_line.level


def test_version_2_routes_to_the_critical_input_and_the_pin_by_destination_whatever_the_mask():
    dev = make()
    dev.write(vpr(20) + 0x10, 4, 0x4000_0000)
    dev.drive(20, True)
    assert (dev.int_line.level, dev.cint_line.level, dev.out_line.level) == (False, True, False)
    dev.write(vpr(20) + 0x10, 4, 0x8000_0000)
    assert (dev.int_line.level, dev.cint_line.level, dev.out_line.level) == (False, False, True)
    dev.drive(20, False)
    assert not dev.out_line.level


def test_version_4_routes_by_level_register_and_minds_the_mask():
    dev = make(version="4.2")
    dev.write(vpr(20) + 0x18, 4, 1)
    dev.drive(20, True)
    assert not dev.cint_line.level
    enable(dev, 20, 0, 0)
    assert (dev.cint_line.level, dev.mck_line.level, dev.int_line.level) == (True, False, False)
    dev.write(vpr(20) + 0x18, 4, 2)
    assert (dev.cint_line.level, dev.mck_line.level, dev.int_line.level) == (False, True, False)
    assert dev.read(vpr(20) + 0x18, 4) == 2


def test_an_msi_sets_a_bit_that_reading_takes_away():
    dev = make()
    enable(dev, 224 + 5, 6, 0xE5)
    dev.write(0x1740, 4, 5 << 29 | 17 << 24)
    assert dev.read(0x1720, 4) == 1 << 5
    assert dev.read(IACK, 4) == 0xE5
    assert dev.read(0x1650, 4) == 1 << 17
    assert dev.read(0x1650, 4) == 0
    dev.write(EOI, 4, 0)
    assert not dev.int_line.level


def test_an_msi_from_pci_carries_its_number_in_the_first_byte_but_for_version_2_in_the_last():
    new, old = make(version="4.2"), make()
    new.pci_message(bytes((3 << 5 | 9, 0, 0, 0)))
    old.pci_message(bytes((0, 0, 0, 3 << 5 | 9)))
    assert (new.read(0x1630, 4), old.read(0x1630, 4)) == (1 << 9, 1 << 9)


def test_a_message_interrupts_while_enabled_and_until_it_is_read():
    dev = make()
    enable(dev, 176 + 6, 6, 0xB6)
    dev.write(0x2420, 4, 0x1234)
    assert not dev.int_line.level
    dev.write(0x2500, 4, 1 << 2)
    dev.write(0x2420, 4, 0x5678)
    assert dev.int_line.level
    assert dev.read(0x2510, 4) == 1 << 2
    assert dev.read(0x2420, 4) == 0x5678
    assert dev.read(0x2510, 4) == 0
    assert not dev.int_line.level


def test_the_processor_initialization_register_drives_the_core_reset():
    dev = make()
    dev.write(PIR, 4, 3)
    assert (dev.core_reset.level, dev.read(PIR, 4)) == (True, 1)
    dev.write(PIR, 4, 0)
    assert not dev.core_reset.level


def test_the_bytes_of_a_register_count_from_the_most_significant():
    dev = make()
    enable(dev, 3, 5, 0x1234)
    assert [dev.read(vpr(3) + at, 1) for at in range(4)] == [0x00, 0x05, 0x12, 0x34]
    dev.write(vpr(3) + 1, 1, 7)
    assert dev.read(vpr(3), 4) == 0x0007_1234
    assert dev.read(vpr(3) + 2, 2) == 0x1234


def test_a_storm_on_one_level_line_reaches_the_processor_as_that_many_edges_and_no_more():
    dev = make()
    enable(dev, 42, 8, 42)
    for _ in range(10_000):
        dev.drive(42, True)
        dev.drive(42, True)
        dev.drive(42, False)
    assert len(dev.int_line.changes) == 20_000


def timer(n: int) -> int:
    return TIMERS + 0x1000 * (n >> 2) + 0x40 * (n & 3)


def start(dev: Mpic, n: int, base: int) -> None:
    dev.write(timer(n) + 0x10, 4, base | INHIBIT)
    dev.write(timer(n) + 0x10, 4, base)


@pytest.mark.parametrize("n", [0, 3, 4, 7])
def test_a_timer_interrupts_each_time_its_count_reaches_zero(n):
    clock = FakeClock()
    dev = make(clock)
    dev.write(timer(n) + 0x20, 4, 0x0005_0077)
    start(dev, n, 10)
    clock.advance(9 * TICK)
    assert (dev.int_line.level, dev.read(timer(n), 4)) == (False, 1)
    clock.advance(TICK)
    assert (dev.int_line.level, dev.read(timer(n), 4)) == (True, TOGGLE | 10)
    assert dev.read(IACK, 4) == 0x77
    dev.write(EOI, 4, 0)
    clock.advance(10 * TICK)
    assert (dev.int_line.level, dev.read(timer(n), 4)) == (True, 10)


def test_an_inhibited_timer_stands_still_and_starts_over_from_its_base():
    clock = FakeClock()
    dev = make(clock)
    start(dev, 1, 100)
    clock.advance(30 * TICK)
    dev.write(timer(1) + 0x10, 4, 50 | INHIBIT)
    clock.advance(500 * TICK)
    assert dev.read(timer(1), 4) == 70
    dev.write(timer(1) + 0x10, 4, 50)
    assert dev.read(timer(1), 4) == 50


def test_the_clock_ratio_slows_all_timers_of_a_group():
    clock = FakeClock()
    dev = make(clock)
    dev.write(TCR, 4, 0x300)
    start(dev, 0, 100)
    start(dev, 4, 100)
    clock.advance(80 * TICK)
    assert dev.read(timer(0), 4) == 90
    assert dev.read(timer(4), 4) == 20


def test_a_base_count_of_0_never_interrupts():
    clock = FakeClock()
    dev = make(clock)
    dev.write(timer(0) + 0x20, 4, 0x0005_0077)
    start(dev, 0, 0)
    clock.advance(1 << 40)
    assert (dev.int_line.level, dev.read(timer(0), 4), clock.fired) == (False, 0, 0)


def test_a_cascaded_timer_counts_the_zeros_of_the_one_below():
    clock = FakeClock()
    dev = make(clock)
    dev.write(TCR, 4, 3)
    dev.write(timer(2) + 0x20, 4, 0x0005_0077)
    for n, base in enumerate((5, 3, 2)):
        start(dev, n, base)
    clock.advance(29 * TICK)
    assert not dev.int_line.level
    assert [dev.read(timer(n), 4) & ~TOGGLE for n in range(3)] == [1, 1, 1]
    clock.advance(TICK)
    assert dev.read(IACK, 4) == 0x77


def test_a_cascaded_timer_that_rolls_over_goes_on_from_all_ones():
    clock = FakeClock()
    dev = make(clock)
    dev.write(TCR, 4, 0x0100_0001)
    start(dev, 0, 5)
    start(dev, 1, 3)
    clock.advance(6 * TICK)
    assert dev.read(timer(0), 4) == TOGGLE | 0x7FFF_FFFE
    assert dev.read(timer(1), 4) == 2


def test_a_chain_of_the_longest_timers_is_no_deadline_at_all():
    clock = FakeClock()
    dev = make(clock)
    dev.write(TCR, 4, 7)
    dev.write(timer(3) + 0x20, 4, 0x0005_0077)
    for n in range(4):
        start(dev, n, 0x7FFF_FFFF)
    assert dev.state.armed is None
    assert dev.save()


def test_a_clock_that_jumps_centuries_ahead_costs_one_step():
    clock = FakeClock()
    dev = make(clock)
    dev.write(timer(0) + 0x20, 4, 0x0005_0077)
    start(dev, 0, 1)
    clock.time = 1 << 61
    assert dev.read(timer(0), 4) & ~TOGGLE == 1
    assert dev.int_line.level


def test_the_shortest_timers_make_no_more_than_a_thousand_events_in_a_millisecond():
    clock = FakeClock()
    dev = Mpic(clock=clock, int_line=FakeLine(), ccb_hz=2_000_000_000)
    dev.write(GCR, 4, MIXED)
    dev.write(CTPR, 4, 0)
    for n in range(8):
        dev.write(timer(n) + 0x20, 4, 0x0005_0070 | n)
        start(dev, n, 1)
    for _ in range(1_000_000 // 50):
        clock.advance(50)
        dev.read(IACK, 4)
        dev.write(EOI, 4, 0)
    assert 900 <= clock.fired <= 1_001


class Model:
    """One processor's MPIC as a list of plain facts, timers counted tick by tick, with a few sources."""

    SOURCES = (0, 1, 5, 11, 16, 42, 79, 177, 229)

    def __init__(self, version: str) -> None:
        self.version = version
        self.mode = MIXED if version == "2.0" else PROXY
        self.ctpr, self.spurious = 0, 0xFFFF
        self.target = dict.fromkeys((*self.SOURCES, *range(256, 268)), 0)
        self.lines = dict.fromkeys(self.SOURCES, False)
        self.edge = {}
        self.reg = {}
        for source in (*self.SOURCES, *range(256, 268)):
            self.edge[source] = False
            self.reg[source] = [MASKED | (0x0080_0000 if 16 <= source < 256 else 0), 1]
        self.service = []
        self.timers = [[0, INHIBIT, 0] for _ in range(8)]
        self.tcr = [0, 0]
        self.msir, self.mer, self.msr = 0, 0, 0

    def level(self, source: int) -> bool:
        return 16 <= source < 256 or (source < 16 and bool(self.reg[source][0] & LEVEL))

    def asks(self, source: int) -> bool:
        return self.lines[source] if self.level(source) else self.edge[source]

    def priority(self, source: int) -> int:
        return self.reg[source][0] >> 16 & 15

    def drive(self, source: int, level: bool) -> None:
        if level and not self.lines[source] and not self.level(source):
            self.edge[source] = True
        self.lines[source] = level

    def best(self) -> int | None:
        floor = max([self.ctpr, *(priority for _, priority in self.service)])
        found = [
            source
            for source, (word, target) in self.reg.items()
            if self.asks(source) and not word & MASKED and target == 1 and self.priority(source) > floor
            if self.target[source] == 0
        ]
        return min(found, key=lambda source: (-self.priority(source), source)) if found else None

    def outputs(self) -> tuple[bool, bool, bool, bool]:
        """Interrupt, critical interrupt, machine check, pin."""
        if not self.mode:
            return self.lines[0], False, False, False
        high = [source for source in self.SOURCES if self.lines[source]]
        if self.version == "2.0":
            pin = any(self.reg[s][1] & 0x8000_0000 for s in high)
            return self.best() is not None, any(self.reg[s][1] & 0xC000_0000 == 0x4000_0000 for s in high), False, pin
        heard = [self.target[s] for s in high if not self.reg[s][0] & MASKED and self.reg[s][1]]
        return self.best() is not None, 1 in heard, 2 in heard, False

    def take(self) -> int:
        source = self.best()
        if source is None:
            return self.spurious
        if not self.level(source):
            self.edge[source] = False
        self.service.append((source, self.priority(source)))
        return self.reg[source][0] & 0xFFFF

    def end(self) -> None:
        if self.service:
            self.service.remove(max(self.service, key=lambda entry: entry[1]))

    def write_vpr(self, source: int, value: int) -> None:
        free = {"2.0": 0x0080_0000, "4.2": 0}[self.version] if source >= 16 else 0x00C0_0000
        fixed = 0x0080_0000 & ~free if 16 <= source < 256 else 0
        self.reg[source][0] = value & (0x800F_FFFF | (free if source < 256 else 0)) | fixed
        if self.level(source):
            self.edge[source] = False

    def read_vpr(self, source: int) -> int:
        busy = self.asks(source) if source < 256 else self.edge[source]
        return self.reg[source][0] | (ACTIVE if busy or any(s == source for s, _ in self.service) else 0)

    def tick(self, time: int) -> None:
        for group in (0, 1):
            if time % (1 << (self.tcr[group] >> 8 & 3)) == 0:
                self.group_tick(group)

    def group_tick(self, group: int) -> None:
        carry = True
        for i in range(4):
            timer = self.timers[4 * group + i]
            counts = i == 0 or carry or not self.tcr[group] >> (i - 1) & 1
            carry = False
            if not counts or timer[1] & INHIBIT:
                continue
            feeds = i < 3 and self.tcr[group] >> i & 1
            again = 0x7FFF_FFFF if feeds and self.tcr[group] >> (24 + i) & 1 else timer[1]
            left = timer[0] or again
            if not left:
                continue
            timer[0] = left - 1
            if timer[0] == 0:
                timer[0], carry = again, True
                timer[2] ^= 1
                self.edge[260 + 4 * group + i] = True

    def write_base(self, n: int, value: int) -> None:
        if self.timers[n][1] & INHIBIT and not value & INHIBIT:
            self.timers[n][0], self.timers[n][2] = value, 0
        self.timers[n][1] = value


def step(dev: Mpic, model: Model, clock: FakeClock, rng: random.Random) -> None:
    """One operation on both; what the operation reads must be the same."""
    what = rng.randrange(15)
    plain = rng.choice([s for s in Model.SOURCES if s not in (177, 229)])
    any_source = rng.choice(list(model.reg))
    if what < 3:
        level = rng.random() < 0.6
        dev.drive(plain, level)
        model.drive(plain, level)
    elif what < 5:
        word = (
            rng.randrange(16) << 16 | rng.randrange(0x10000) | rng.choice((0, 0, 0, MASKED)) | rng.getrandbits(2) << 22
        )
        at = vpr(any_source) if any_source < 256 else IPIVPR + 0x10 * (any_source - 256)
        if any_source >= 260:
            at = timer(any_source - 260) + 0x20
        dev.write(at, 4, word | rng.choice((0, ACTIVE, 0x0730_0000)))
        model.write_vpr(any_source, word)
        assert dev.read(at, 4) == model.read_vpr(any_source)
    elif what == 5:
        if any_source < 256:
            value = rng.choice((1, 1, 1, 0, 0x4000_0000, 0x8000_0000, 0xC000_0001))
            dev.write(vpr(any_source) + 0x10, 4, value | 0x0000_0F00)
            model.reg[any_source][1] = value if model.version == "2.0" else value & 1
            target = rng.randrange(3)
            dev.write(vpr(any_source) + 0x18, 4, target)
            model.target[any_source] = target if model.version != "2.0" else 0
    elif what < 7:
        assert dev.read(rng.choice((0xA0, IACK)), 4) == model.take()
    elif what == 7:
        assert dev.acknowledge() == (model.take() if model.mode == PROXY else 0)
    elif what < 10:
        dev.write(rng.choice((0xB0, EOI)), 4, rng.randrange(9))
        model.end()
    elif what == 10:
        model.ctpr = rng.choice((0, 0, 0, 1, 4, 8, 14, 15))
        dev.write(CTPR, 4, model.ctpr)
    elif what == 11:
        n = rng.randrange(4)
        dev.write(IPIDR + 0x10 * n, 4, 1)
        model.edge[256 + n] = True
    elif what == 12:
        kind = rng.randrange(6)
        if kind < 2:
            bit = rng.randrange(32)
            dev.write(0x1740, 4, 5 << 29 | bit << 24)
            model.msir |= 1 << bit
        elif kind == 2:
            assert dev.read(0x1650, 4) == model.msir
            model.msir = 0
        elif kind == 3:
            dev.write(0x1410, 4, 77)
            model.msr |= model.mer
        elif kind == 4:
            model.mer = rng.randrange(2)
            dev.write(0x1500, 4, model.mer << 1)
        else:
            dev.read(0x1410, 4)
            model.msr = 0
        model.drive(229, model.msir != 0)
        model.drive(177, bool(model.msr & model.mer))
    elif what == 13:
        n = rng.randrange(8)
        kind = rng.randrange(4)
        if kind == 0:
            model.tcr[n >> 2] = rng.randrange(8) << 24 | rng.randrange(4) << 8 | rng.randrange(8)
            dev.write(TCR + 0x1000 * (n >> 2), 4, model.tcr[n >> 2])
        elif kind == 1:
            value = rng.choice((0, 1, 2, 3, 7, 0x7FFF_FFFF)) | rng.choice((0, 0, INHIBIT))
            dev.write(timer(n) + 0x10, 4, value)
            model.write_base(n, value)
        else:
            assert dev.read(timer(n), 4) == model.timers[n][0] | model.timers[n][2] << 31
    else:
        kind = rng.randrange(20)
        if kind == 0:
            model.mode = rng.choice((0, MIXED, MIXED, PROXY if model.version != "2.0" else MIXED))
            dev.write(GCR, 4, model.mode | 0x0800_0000)
        elif kind == 1:
            dev.load(dev.save())
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            clock.advance(TICK)
            model.tick(clock.now() // TICK)
    lines = (dev.int_line, dev.cint_line, dev.mck_line, dev.out_line)
    assert tuple(line.level for line in lines) == model.outputs()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(("2.0", "4.2")))
def test_it_agrees_with_a_simple_model_over_long_runs_of_operations(seed, version):
    rng, clock, model = random.Random(seed), FakeClock(), Model(version)
    dev = make(clock, version)
    for _ in range(600):
        step(dev, model, clock, rng)
    for source in model.reg:
        if source < 256:
            assert dev.read(vpr(source), 4) == model.read_vpr(source)
