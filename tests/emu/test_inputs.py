from __future__ import annotations

import pytest

from emu.clock import Clock
from emu.inputs import Input, Inputs
from tests.emu.fake_cpu import FakeCpu


def test_bytes_reach_the_device_as_it_takes_them_and_are_stamped() -> None:
    cpu = FakeCpu()
    clock = Clock(cpu)
    gate = Inputs(clock, lambda: cpu.icount)
    got = bytearray()

    def accept(data: bytes) -> int:
        taken = data[:2]
        got.extend(taken)
        return len(taken)

    channel = gate.channel("serial0", accept, retry=100)
    cpu.icount = 5
    channel.put(b"hello")
    clock.fire()
    assert (bytes(got), gate.waiting) == (b"he", 3)
    while gate.waiting:
        cpu.icount += clock.budget(1000)
        clock.fire()
    assert bytes(got) == b"hello"
    assert gate.record == [Input(5, "serial0", b"he"), Input(15, "serial0", b"ll"), Input(25, "serial0", b"o")]


def test_a_device_that_is_full_is_asked_again_later() -> None:
    cpu = FakeCpu()
    clock = Clock(cpu)
    gate = Inputs(clock, lambda: cpu.icount)
    room = [0]
    channel = gate.channel("kbd", lambda data: min(room[0], len(data)), retry=1000, at_once=1)
    channel.put(b"ab")
    clock.fire()
    assert (gate.waiting, gate.record) == (2, [])
    room[0] = 10
    cpu.icount += clock.budget(10**6)
    clock.fire()
    assert gate.record == [Input(100, "kbd", b"a")]
    channel.clear()
    assert (gate.waiting, clock.next_deadline()) == (0, None)


def test_a_channel_name_is_used_once() -> None:
    gate = Inputs(Clock(FakeCpu()), lambda: 0)
    gate.channel("x", len, retry=1)
    with pytest.raises(ValueError, match="input channel x exists"):
        gate.channel("x", len, retry=1)
