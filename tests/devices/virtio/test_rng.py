"""The virtio entropy device."""

from __future__ import annotations

from devices.virtio.rng import MOST, Rng
from tests.devices.virtio.guest import MODERN, Guest, Memory


def guest(seed: bytes = b"a", **more: object) -> Guest:
    memory = Memory()
    return Guest(Rng(memory=memory, seed=seed, **more), memory, MODERN)  # type: ignore[arg-type]


def drawn(g: Guest, count: int = 32) -> bytes:
    g.put(0, count)
    (used,) = g.used(0)
    return used.data


def test_every_run_gets_the_same_bytes_and_no_two_buffers_do() -> None:
    one, other = guest(), guest()
    first, second = drawn(one), drawn(one)
    assert len(first) == 32 and first != second
    assert [drawn(other), drawn(other)] == [first, second]
    assert drawn(guest(b"b")) != first


def test_a_reset_does_not_bring_the_same_bytes_again() -> None:
    g = guest()
    first = drawn(g)
    g.device.reset()
    g.start()
    assert drawn(g) != first


def test_a_saved_device_goes_on_where_it_was() -> None:
    g, other = guest(), guest()
    drawn(g)
    other.device.load(g.device.save())
    assert other.device.state.given == 1


def test_a_source_replaces_the_generator_and_may_have_little() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return b"xyz"

    g = guest(source=source)
    assert drawn(g, 100) == b"xyz"
    assert asked == [100]


def test_large_and_empty_buffers_come_back() -> None:
    g = guest()
    assert len(drawn(g, MOST + 5000)) == MOST
    g.put(0, 0)
    g.put(0, b"readable only")
    assert [u.length for u in g.used(0)] == [0, 0]
    assert not g.needs_reset
