from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.clock import Clock
from emu.errors import ReplayError
from emu.inputs import Input, Inputs
from tests.emu.fake_cpu import FakeCpu


class World:
    """A clock, a gate and a processor that only counts."""

    def __init__(self) -> None:
        self.cpu = FakeCpu()
        self.clock = Clock(self.cpu)
        self.gate = Inputs(self.clock, lambda: self.cpu.icount)

    def run(self, count: int, doing: dict[int, Callable[[], None]] | None = None) -> None:
        """Retire instructions one by one; `doing` is done before the one it names."""
        for _ in range(count):
            self.clock.fire()
            if doing is not None and self.cpu.icount in doing:
                doing.pop(self.cpu.icount)()
            self.cpu.icount += 1
        self.clock.fire()


def test_bytes_reach_the_device_as_it_takes_them() -> None:
    world = World()
    got: list[tuple[int, bytes]] = []

    def accept(data: bytes) -> int:
        got.append((world.cpu.icount, data[:2]))
        return len(data[:2])

    channel = world.gate.channel("serial0", accept, retry=100)
    world.cpu.icount = 5
    channel.put(b"hel")
    channel.put(b"lo")
    assert world.gate.waiting == 5
    world.run(30)
    assert got == [(6, b"he"), (16, b"ll"), (26, b"o")]
    assert world.gate.waiting == 0
    assert world.gate.record == [Input(6, "serial0", b"hello", 51)]


def test_a_device_that_is_full_is_asked_again_later() -> None:
    world = World()
    room = [0]
    channel = world.gate.channel("kbd", lambda data: min(room[0], len(data)), retry=1000, at_once=1)
    channel.put(b"ab")
    world.run(50)
    assert world.gate.waiting == 2
    room[0] = 10
    world.run(60)
    assert world.gate.waiting == 1
    channel.clear()
    assert (world.gate.waiting, world.clock.next_deadline()) == (0, None)


def test_a_channel_name_is_used_once() -> None:
    gate = World().gate
    gate.channel("x", len, retry=1)
    for again in (
        lambda: gate.channel("x", len, retry=1),
        lambda: gate.messages("x", lambda data: True),
        lambda: gate.decision("x"),
    ):
        with pytest.raises(ValueError, match="input channel x exists"):
            again()


def test_messages_stay_whole_and_in_order_until_the_device_has_room() -> None:
    world = World()
    room, got = [1], []

    def accept(message: bytes) -> bool:
        if not room[0]:
            return False
        room[0] -= 1
        got.append((world.cpu.icount, message))
        return True

    port = world.gate.messages("net0", accept)
    port.put(b"first")
    port.put(b"")
    port.put(b"third")
    world.run(10)
    assert (got, port.waiting) == ([(1, b"first")], 2)
    room[0] = 5
    world.run(10)
    assert port.waiting == 2, "nobody said that there is room"
    port.poke()
    world.run(1)
    assert (got[1:], port.waiting) == ([(20, b""), (20, b"third")], 0)
    assert [entry.data for entry in world.gate.record] == [b"first", b"", b"third"]


def test_a_message_that_is_refused_is_offered_again_after_a_while() -> None:
    world = World()
    offers: list[int] = []

    def accept(message: bytes) -> bool:
        offers.append(world.cpu.icount)
        return len(offers) == 3

    world.gate.messages("9p", accept, retry=50).put(b"reply")
    world.run(40)
    assert offers == [1, 6, 11]


def test_what_a_device_does_with_a_message_may_put_and_poke() -> None:
    world = World()
    got: list[bytes] = []

    def accept(message: bytes) -> bool:
        got.append(message)
        port.poke()
        if len(got) < 3:
            port.put(b"again")
        return True

    port = world.gate.messages("loop", accept)
    port.put(b"once")
    world.run(20)
    assert got == [b"once", b"again", b"again"]


def busy_world(world: World, log: list[object]) -> dict[int, Callable[[], None]]:
    """Two channels and a port whose devices are often full, a timer, and input that comes in on its own time."""
    rooms = {"a": 0, "b": 3, "m": 1}

    def tick() -> None:
        for name in rooms:
            rooms[name] = min(4, rooms[name] + 1)
        log.append(("tick", world.cpu.icount))
        port.poke()
        timer.arm(world.clock.now() + 70)

    def take(name: str) -> Callable[[bytes], int]:
        def accept(data: bytes) -> int:
            count = min(len(data), rooms[name])
            rooms[name] -= count
            log.append((name, data[:count], world.cpu.icount))
            return count

        return accept

    def message(data: bytes) -> bool:
        taken = rooms["m"] > 0
        rooms["m"] -= taken
        log.append(("m", data, taken, world.cpu.icount))
        return taken

    a = world.gate.channel("a", take("a"), retry=30)
    timer = world.clock.timer("tick", tick)
    port = world.gate.messages("m", message, retry=200)
    b = world.gate.channel("b", take("b"), retry=10, at_once=2)
    world.gate.decision("d")
    timer.arm(1)

    def ask(number: int, answer: bytes) -> Callable[[], None]:
        def ask_now() -> None:
            log.append(("d", world.gate.decide("d", bytes([number]), lambda: answer), world.cpu.icount))

        return ask_now

    def together() -> None:
        b.put(b"xyz")
        port.put(b"one")
        a.put(b"123456")
        port.put(b"two")

    return {
        0: lambda: a.put(b"start"),
        7: together,
        8: lambda: port.put(b"three"),
        9: ask(1, b""),
        20: ask(2, b"late"),
        33: together,
        34: ask(3, b"error"),
    }


def test_a_replay_gives_everything_at_the_same_instruction() -> None:
    first: list[object] = []
    world = World()
    world.run(300, busy_world(world, first))
    record = list(world.gate.record)
    again: list[object] = []
    other = World()
    doing = busy_world(other, again)
    other.gate.replay(record)
    for at, what in list(doing.items()):
        if at not in (9, 20, 34):  # questions are asked again; input comes from the recording, whatever is put
            del doing[at]
            doing[at + 3] = what
    doing[20] = lambda: again.append(("d", other.gate.decide("d", b"\2", lambda: b"wrong"), other.cpu.icount))
    other.run(300, doing)
    assert again == first
    assert other.gate.record == record
    assert len([entry for entry in first if isinstance(entry, tuple) and entry[0] == "d"]) == 3


@pytest.mark.parametrize("change", ["icount", "channel", "question"])
def test_a_replay_of_another_run_is_stopped(change: str) -> None:
    world = World()
    world.gate.decision("d")
    world.gate.channel("a", len, retry=10)
    entries = {
        "icount": [Input(7, "a", b"x", 60)],
        "channel": [Input(6, "b", b"x", 60)],
        "question": [Input(6, "d", b"\0late", 60)],
    }
    expected = {
        "icount": "input for a came after 7 instructions, and now after 6",
        "channel": "input for b, which this machine does not have",
        "question": "after 6 instructions d had something to say, and now, after 7, it was not asked",
    }
    with pytest.raises(ReplayError, match=expected[change]):
        world.gate.replay(entries[change])
        world.run(20)


def test_old_input_leaves_memory_but_is_counted() -> None:
    world = World()
    port = world.gate.messages("net0", lambda frame: True)
    for _ in range(200):
        port.put(bytes(1 << 16))
        world.run(1)
    assert world.gate.count == 200
    assert 0 < len(world.gate.record) < 130
    assert world.gate.dropped == 200 - len(world.gate.record)
