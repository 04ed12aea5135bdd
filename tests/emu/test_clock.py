from __future__ import annotations

import pytest

from emu.clock import Clock, Pacer
from emu.errors import DeviceError


class Source:
    def __init__(self) -> None:
        self.icount = 0
        self.time_offset = 0
        self.stops: list[int] = []

    def now(self) -> int:
        return self.icount * 10 + self.time_offset

    def stop_at(self, deadline: int) -> None:
        self.stops.append(deadline)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock(source: Source) -> Clock:
    return Clock(source)


def test_time_is_ten_nanoseconds_an_instruction_plus_idle_time(source: Source, clock: Clock) -> None:
    source.icount = 7
    clock.skip_to(1000)
    source.icount = 8
    assert clock.now() == 1010


@pytest.mark.parametrize(("deadline", "insns"), [(0, 0), (1, 1), (10, 1), (11, 2), (99, 10), (100, 10), (101, 11)])
def test_a_deadline_is_met_at_the_first_instruction_that_reaches_it(clock: Clock, deadline: int, insns: int) -> None:
    clock.timer("t", lambda: None).arm(deadline)
    assert clock.budget(1_000_000) == insns


def test_timers_fire_in_order_of_deadline_then_creation(source: Source, clock: Clock) -> None:
    fired: list[str] = []
    late = clock.timer("late", lambda: fired.append("late"))
    first = clock.timer("first", lambda: fired.append("first"))
    second = clock.timer("second", lambda: fired.append("second"))
    second.arm(20)
    first.arm(20)
    late.arm(30)
    source.icount = 2
    clock.fire()
    assert fired == ["first", "second"]
    source.icount = 3
    clock.fire()
    assert fired == ["first", "second", "late"]
    assert late.deadline is None


def test_arming_again_replaces_the_deadline_and_cancel_forgets_it(source: Source, clock: Clock) -> None:
    fired: list[int] = []
    timer = clock.timer("t", lambda: fired.append(clock.now()))
    timer.arm(10)
    timer.arm(50)
    source.icount = 2
    clock.fire()
    assert fired == []
    source.icount = 5
    clock.fire()
    clock.fire()
    assert fired == [50]
    timer.arm(60)
    timer.cancel()
    assert clock.next_deadline() is None


def test_a_timer_armed_inside_a_slice_stops_the_processor_only_if_it_is_sooner(source: Source, clock: Clock) -> None:
    timer = clock.timer("t", lambda: None)
    assert clock.budget(100) == 100
    timer.arm(1000)
    assert source.stops == []
    timer.arm(990)
    timer.arm(995)
    assert source.stops == [990]


def test_a_halted_machine_is_woken_by_devices_but_not_by_watchers(clock: Clock) -> None:
    clock.timer("watch", lambda: None, background=True).arm(5)
    assert clock.next_wakeup() is None
    clock.timer("pit", lambda: None).arm(9)
    assert (clock.next_wakeup(), clock.next_deadline()) == (9, 5)


def test_a_halt_makes_eager_timers_due_and_leaves_the_others(source: Source, clock: Clock) -> None:
    fired: list[str] = []
    timers = {name: clock.timer(name, lambda name=name: fired.append(name)) for name in ("eager", "patient", "idle")}
    timers["eager"].eager = timers["idle"].eager = True
    timers["patient"].arm(100)
    assert not clock.hurry()
    timers["eager"].arm(500)
    source.icount = 3
    assert clock.hurry() and timers["eager"].deadline == 30
    clock.fire()
    assert fired == ["eager"] and not clock.hurry() and timers["patient"].deadline == 100


def test_time_never_goes_back(source: Source, clock: Clock) -> None:
    clock.skip_to(100)
    clock.skip_to(50)
    assert clock.now() == 100
    source.icount = 10

    def reset() -> None:
        source.icount = 0

    clock.across_reset(reset)
    assert clock.now() == 200


def test_a_timer_that_never_lets_time_pass_is_named(clock: Clock) -> None:
    timer = clock.timer("mad", lambda: timer.arm(0))
    timer.arm(0)
    with pytest.raises(DeviceError, match="timer mad keeps firing"):
        clock.fire()


def test_an_exception_in_a_callback_names_its_timer(clock: Clock) -> None:
    def fail() -> None:
        raise KeyError("lost")

    clock.timer("rtc", fail).arm(0)
    with pytest.raises(DeviceError, match="timer rtc: KeyError: 'lost'"):
        clock.fire()


def test_rearming_forever_does_not_grow_the_queue(source: Source, clock: Clock) -> None:
    timer = clock.timer("pit", lambda: None)
    for i in range(10_000):
        timer.arm(1_000_000 - i)
        clock.budget(1)
    assert len(clock._heap) < 100


def test_a_guest_that_fell_far_behind_is_not_rushed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = [100.0]
    monkeypatch.setattr("emu.clock.wall", lambda: wall[0])
    pacer = Pacer(clock)
    assert pacer.ahead(2_000_000_000) == pytest.approx(2.0)
    wall[0] += 10
    assert pacer.ahead(2_000_000_000) == pytest.approx(-8.0)
    assert pacer.ahead(3_000_000_000) == pytest.approx(1.0)
    wall[0] += 0.25
    assert pacer.reached() == pytest.approx(2_250_000_000)


def test_a_few_ticks_of_an_idle_guest_pass_for_one_sleep(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.clock.wall", lambda: 100.0)
    pacer = Pacer(clock)
    ticks = [pacer.ahead(4_000_000 * n, Pacer.IDLE_LEAD) for n in range(1, 7)]
    assert ticks == [0, 0, 0, 0, pytest.approx(0, abs=0.02), pytest.approx(0.024)]
    assert pacer.ahead(4_000_000) == pytest.approx(0.004)
