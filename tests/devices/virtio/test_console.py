"""The virtio console: ports, control messages, and data in both directions."""

from __future__ import annotations

import struct

import pytest

from devices.backends import MemoryConsole
from devices.virtio import console
from devices.virtio.console import Console, Port, numbered
from tests.devices.virtio.guest import DIALECTS, MODERN, NAMES, Dialect, Guest, Memory

TO_GUEST, FROM_GUEST = 2, 3


class Made(Guest):
    """A console on port 0, a channel on port 1, and one without a host's end on port 5."""

    def __init__(self, dialect: Dialect = MODERN, *, features: int | None = None) -> None:
        memory = Memory()
        self.ends = [MemoryConsole(), MemoryConsole()]
        ports = {
            0: Port(self.ends[0]),
            1: Port(self.ends[1], False, "org.emu.test"),
            5: Port(MemoryConsole(), False, "", False),
        }
        self.console = Console(memory=memory, ports=ports, most=8, big_endian=dialect.big_endian)
        super().__init__(self.console, memory, dialect, features=features)

    def control(self, port: int, event: int, value: int) -> None:
        self.put(FROM_GUEST, self.pack("IHH", port, event, value))

    def told(self) -> list[tuple[int, int, int, bytes]]:
        found = []
        for used in self.used(TO_GUEST):
            port, event, value = struct.unpack(self.dialect.order + "IHH", used.data[:8])
            found.append((port, event, value, used.data[8:]))
        return found

    def shake_hands(self) -> None:
        for _ in range(12):
            self.put(TO_GUEST, 64)
        self.control(0xFFFFFFFF, 0, 1)
        for port in (0, 1, 5):
            self.control(port, 3, 1)
        self.told()


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_the_driver_learns_of_ports_step_by_step(dialect: Dialect) -> None:
    g = Made(dialect)
    for _ in range(12):
        g.put(TO_GUEST, 64)
    assert g.told() == []
    g.control(0xFFFFFFFF, 0, 1)
    assert g.told() == [(0, 1, 1, b""), (1, 1, 1, b""), (5, 1, 1, b"")]
    g.control(0, 3, 1)
    assert g.told() == [(0, 4, 1, b""), (0, 6, 1, b"")]
    g.control(1, 3, 1)
    assert g.told() == [(1, 7, 1, b"org.emu.test"), (1, 6, 1, b"")]
    g.control(5, 3, 1)
    assert g.told() == []
    g.console.connect(5, True)
    g.console.connect(5, True)
    assert g.told() == [(5, 6, 1, b"")]
    assert g.device.read_config(4, 4) == struct.unpack("<I", g.pack("I", 8))[0]


def test_messages_wait_for_buffers() -> None:
    g = Made()
    g.control(0xFFFFFFFF, 0, 1)
    assert g.told() == []
    for _ in range(3):
        g.put(TO_GUEST, 64)
    assert [m[:2] for m in g.told()] == [(0, 1), (1, 1), (5, 1)]
    assert g.transport.queues.count(TO_GUEST) == 3


def test_what_a_port_sends_reaches_its_end() -> None:
    g = Made()
    g.put(1, b"con", b"sole")
    g.put(5, b"channel")
    g.put(15, b"no port")
    assert [bytes(end.data) for end in g.ends] == [b"console", b"channel"]
    assert [len(g.used(n)) for n in (1, 5, 15)] == [1, 1, 1]


def test_a_channel_takes_input_only_while_a_program_has_it_open() -> None:
    g = Made()
    assert g.console.receive(0, b"x") == 0
    g.shake_hands()
    g.put(4, 8)
    assert g.console.receive(1, b"x") == 0
    g.control(1, 6, 1)
    assert g.console.receive(1, b"0123456789") == 8
    assert [u.data for u in g.used(4)] == [b"01234567"]
    assert g.console.receive(1, b"x") == 0
    g.control(1, 6, 0)
    g.put(4, 8)
    assert g.console.receive(1, b"x") == 0
    assert g.console.receive(3, b"x") == 0


def test_a_console_fills_as_many_buffers_as_there_are() -> None:
    g = Made()
    g.shake_hands()
    g.put(0, 4)
    g.put(0, 4)
    assert g.console.receive(0, b"0123456789") == 8
    assert [u.data for u in g.used(0)] == [b"0123", b"4567"]
    assert g.transport.queues.count(0) == 1
    g.put(0, 0)
    assert g.console.receive(0, b"x") == 0


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_without_multiport_there_is_one_console(dialect: Dialect) -> None:
    g = Made(dialect, features=0)
    g.put(0, 16)
    assert g.console.receive(0, b"hello") == 5
    assert g.console.receive(1, b"hello") == 0
    g.put(1, b"out")
    assert bytes(g.ends[0].data) == b"out"


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_an_emergency_character_needs_no_queue(dialect: Dialect) -> None:
    g = Made(dialect)
    g.device.set_status(0)
    g.device.set_status(1, dialect.legacy)
    g.device.write_config(8, 4, int.from_bytes(g.pack("I", ord("!")), "little"))
    g.device.write_config(0, 4, 0)
    assert bytes(g.ends[0].data) == b"!"


def test_a_driver_without_buffers_loses_messages_and_costs_no_memory() -> None:
    g = Made()
    for _ in range(3000):
        g.control(0xFFFFFFFF, 0, 1)
    assert len(g.console.state.outgoing) <= console.BACKLOG
    assert not g.needs_reset


@pytest.mark.parametrize("port", [2, 7, 31, 32, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("event", [*range(9), 0xFFFF])
def test_control_messages_for_no_port_change_nothing(port: int, event: int) -> None:
    g = Made()
    g.put(TO_GUEST, 64)
    for value in (2, 0xFFFF):
        g.control(port, event, value)
    assert g.told() == [] and g.console.state.known == g.console.state.opened == 0


def test_short_control_messages_and_tiny_buffers_are_survived() -> None:
    g = Made()
    g.put(FROM_GUEST, b"short")
    g.put(FROM_GUEST, b"")
    g.put(TO_GUEST, 0)
    g.put(TO_GUEST, 3)
    g.control(0xFFFFFFFF, 0, 1)
    assert [u.length for u in g.used(TO_GUEST)] == [0, 3]
    assert len(g.used(FROM_GUEST)) == 3


def test_one_buffer_passes_on_a_mebibyte_and_no_more() -> None:
    g = Made()
    g.ends[0].limit = 1 << 30
    state = g.device.queues[1].state
    for n in range(16):
        g.memory.write(state.desc + 16 * n, struct.pack("<QIHH", 0, 1 << 20, n < 15, n + 1))
    g.memory.write(state.driver, struct.pack("<HHH", 0, 1, 0))
    g.device.notify(1)
    assert len(g.ends[0].data) == 1 << 20 and len(g.used(1)) == 1


def test_what_is_open_is_saved() -> None:
    g, other = Made(), Made()
    g.shake_hands()
    g.control(1, 6, 1)
    other.device.load(g.device.save())
    assert other.console.listening(1) and not other.console.listening(5)


def test_a_new_size_is_told() -> None:
    memory = Memory()
    made = Console(memory=memory, ports={0: Port(MemoryConsole())}, size=(80, 25))
    g = Guest(made, memory, MODERN)
    assert (g.device.read_config(0, 2), g.device.read_config(2, 2)) == (80, 25)
    g.put(TO_GUEST, 64)
    g.put(TO_GUEST, 64)
    g.put(TO_GUEST, 64)
    g.put(FROM_GUEST, g.pack("IHH", 0, 3, 1))
    g.used(TO_GUEST)
    made.resize(132, 50)
    assert [u.data for u in g.used(TO_GUEST)] == [struct.pack("<IHHHH", 0, 5, 0, 132, 50)]


def test_ports_get_the_lowest_free_number_and_channels_never_get_zero() -> None:
    one, two, three = Port(MemoryConsole(), False), Port(MemoryConsole()), Port(MemoryConsole(), False)
    assert numbered([(None, one), (None, two), (1, three)], 31) == {1: three, 2: one, 0: two}
    with pytest.raises(ValueError, match="port 1 is taken"):
        numbered([(1, one), (1, two)], 31)
    with pytest.raises(ValueError, match="more than 2 ports"):
        numbered([(None, one), (None, three)], 2)
    with pytest.raises(ValueError, match="port 0 can only be a console"):
        Console(memory=Memory(), ports={0: one})
    with pytest.raises(ValueError, match="numbers from 0 to 3"):
        Console(memory=Memory(), ports={4: two}, most=4)
