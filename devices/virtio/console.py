"""Virtio console: `virtconsole` ports (hvc0 ...) and named `virtserialport` channels behind one device.

A port's host half is a `Console` for what the guest sends; what comes from outside goes in by `receive(port, data)`.
With the feature MULTIPORT the driver learns of ports by messages on two control queues; without it there is port 0,
a console. Queues: port 0 in 0 and 1, control in 2 and 3, port n in 2n + 2 and 2n + 3; the even ones lead to the guest.

VIRTIO 1.2, 5.3.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from devices.contracts import Console as ConsoleEnd
from devices.contracts import NullConsole
from devices.device import device
from devices.state import octets, uint
from devices.virtio.device import GUEST_ERRORS, VirtioDevice, VirtioState
from devices.virtio.ring import Chain, RingMemory

QUEUE = 128
MOST_PORTS = 31
SIZE, MULTIPORT, EMERGENCY = 1 << 0, 1 << 1, 1 << 2
TO_GUEST, FROM_GUEST = 2, 3
"""The control queues."""
READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, OPEN, NAME = range(8)
MESSAGE = 8
"""Bytes of a control message: port, event, value."""
MOST = 1 << 20
"""Bytes of one buffer of the guest that are passed on; drivers send at most 32 KiB."""
PIECE = 1 << 16
BACKLOG = 1 << 14
"""Bytes of control messages that wait for a driver that gives no buffers."""


@dataclass
class Port:
    """A port: its host half, whether it is a console, its name, and whether somebody is at the other end."""

    end: ConsoleEnd
    console: bool = True
    name: str = ""
    connected: bool = True


@dataclass
class ConsoleState(VirtioState):
    opened: int = uint(32)
    """A bit for each port that a program of the guest has open."""
    known: int = uint(32)
    """A bit for each port that the driver has taken."""
    outgoing: bytearray = octets(BACKLOG)
    """Control messages that wait for a buffer, each behind its length (2 bytes, little-endian)."""


@device("virtio-console", "console and serial ports")
class Console(VirtioDevice):
    """`ports` by number, at most 31; `size` is (columns, rows) if it is to be told."""

    State = ConsoleState
    state: ConsoleState

    number = 3
    pci_class = 0x078000
    layout = "HHII"

    def __init__(
        self,
        *,
        memory: RingMemory,
        ports: dict[int, Port],
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
        most: int = MOST_PORTS,
        multiport: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        if not 1 <= most <= MOST_PORTS or any(not 0 <= number < most for number in ports):
            raise ValueError(f"ports have numbers from 0 to {most - 1}, and there are at most {MOST_PORTS}")
        if any(not port.console for number, port in ports.items() if number == 0 or not multiport):
            raise ValueError("port 0 can only be a console")
        self.ports = ports
        self.most = most
        self.multiport = multiport
        self.size = size
        count = 2 * most + 2 if multiport else 2
        super().__init__(
            memory=memory, queue_sizes=[QUEUE] * count, bus_memory=bus_memory, big_endian=big_endian, packed=packed
        )

    # -- for the host

    def receive(self, port: int, data: bytes) -> int:
        """Bytes from outside for a port; returns how many the guest's driver had room for."""
        if not self.listening(port):
            return 0
        queue = self.queues[self._queue(port)]
        done = 0
        while done < len(data) and (chain := queue.pop()) is not None:
            count = chain.write(data[done : done + PIECE])
            chain.complete(count, notify=False)
            done += count
            if not count:
                break
        if done:
            queue.notify()
        return done

    def listening(self, port: int) -> bool:
        """Whether the guest's driver reads a port. A program need not have a console open, but it must a channel."""
        if port not in self.ports or not self.running:
            return False
        if not self.accepted(MULTIPORT):
            return port == 0
        mask = self.state.known if self.ports[port].console else self.state.opened
        return bool(mask >> port & 1)

    def connect(self, port: int, connected: bool) -> None:
        """Somebody came to the host's end of a port, or left it."""
        there = self.ports[port]
        if there.connected != connected:
            there.connected = connected
            if self.state.known >> port & 1:
                self._tell(port, OPEN, int(connected))

    def resize(self, columns: int, rows: int) -> None:
        """The window that shows port 0 has another size now."""
        self.size = columns & 0xFFFF, rows & 0xFFFF
        if self.accepted(MULTIPORT) and self.state.known & 1:
            self._tell(0, RESIZE, 0, struct.pack(self.order + "HH", *self.size))
        elif self.accepted(SIZE):
            self.config_changed()

    # -- what the driver sees

    def offered(self) -> int:
        return SIZE * (self.size is not None) | MULTIPORT * self.multiport | EMERGENCY

    def fields(self) -> tuple[int, ...]:
        return (*(self.size or (0, 0)), self.most if self.multiport else 0, 0)

    def wrote_config(self, offset: int, data: bytes) -> None:
        if offset == 8 and 0 in self.ports:  # emerg_wr: one character, before there are queues
            self.ports[0].end.send(data[-1:] if self.order == ">" else data[:1])

    @staticmethod
    def _queue(port: int) -> int:
        return 2 * port + 2 if port else 0

    def notified(self, index: int) -> None:
        if index == TO_GUEST and self.multiport:
            self._deliver()
        elif index & 1:
            super().notified(index)
            self.queues[index].notify()

    def handle(self, index: int, chain: Chain) -> None:
        if index == FROM_GUEST and self.multiport:
            self._control(chain)
        elif index & 1:
            self._output(self.ports.get(0 if index == 1 else index - 3 >> 1), chain)
        else:
            self.queues[index].unpop(chain)  # room for input: it waits in the ring

    def _output(self, port: Port | None, chain: Chain) -> None:
        end: ConsoleEnd = NullConsole() if port is None else port.end
        total = min(chain.total, MOST)
        for at in range(0, total, PIECE):
            end.send(chain.read(at, min(PIECE, total - at)))
        if chain.total > MOST:
            GUEST_ERRORS.warning("%s: %d bytes in one buffer; %d are lost", self.name, chain.total, chain.total - MOST)
        chain.complete(0, notify=False)

    # -- control messages

    def _control(self, chain: Chain) -> None:
        data = chain.read(0, min(chain.total, MESSAGE))
        chain.complete(0, notify=False)
        if len(data) < MESSAGE:
            return
        number, event, value = struct.unpack(self.order + "IHH", data)
        if event == READY:
            for there in sorted(self.ports) if value == 1 else ():
                self._tell(there, ADD, 1)
            return
        port = self.ports.get(number)
        if port is None:
            return
        bit = 1 << number
        if event == PORT_READY and value == 1:
            self.state.known |= bit
            if port.console:
                self._tell(number, CONSOLE_PORT, 1)
            if port.name:
                self._tell(number, NAME, 1, port.name.encode()[:255])
            if port.connected:
                self._tell(number, OPEN, 1)
        elif event == OPEN:
            self.state.opened = self.state.opened | bit if value else self.state.opened & ~bit

    def _tell(self, port: int, event: int, value: int, more: bytes = b"") -> None:
        message = struct.pack(self.order + "IHH", port, event, value) + more
        outgoing = self.state.outgoing
        if len(outgoing) + 2 + len(message) > BACKLOG:
            GUEST_ERRORS.warning("%s: the driver takes no control messages; one is lost", self.name)
            return
        outgoing += struct.pack("<H", len(message)) + message
        self._deliver()

    def _deliver(self) -> None:
        outgoing = self.state.outgoing
        queue = self.queues[TO_GUEST]
        done = False
        while len(outgoing) > 2 and (chain := queue.pop()) is not None:
            length = int.from_bytes(outgoing[:2], "little")
            chain.complete(chain.write(bytes(outgoing[2 : 2 + length])), notify=False)
            del outgoing[: 2 + length]
            done = True
        if done:
            queue.notify()


def numbered(ports: Sequence[tuple[int | None, Port]], most: int) -> dict[int, Port]:
    """Give ports without a number the lowest free one; 0 goes to consoles only. Raises ValueError."""
    made: dict[int, Port] = {}
    for number, port in ports:
        if number is not None:
            if number in made:
                raise ValueError(f"port {number} is taken")
            made[number] = port
    for number, port in ports:
        if number is None:
            free = [n for n in range(0 if port.console else 1, most) if n not in made]
            if not free:
                raise ValueError(f"there are more than {most} ports")
            made[free[0]] = port
    return made
