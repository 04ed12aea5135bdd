"""All of a machine's networking: builds what the command line names, gives cards their wires, and is polled.

`Session` owns one. In a replay no back end is opened: what came in is in the recording.

How long idle time waits for the network
----------------------------------------
A machine whose peers live on wall time must not let its virtual time run away while it waits for them, or its own TCP
would time out between two of their packets.

- As long as somebody outside may speak first (a forwarded port, another machine on the wire) the network is `live`: a
  run without `--clock` is paced.
- With `--clock warp`, or when nothing is live, idle time is skipped, unless the network is `busy`: libslirp has sockets
  open for the guest, or a peer is connected, and a frame passed in the last `wire.PATIENCE` seconds; or frames wait for
  their rate or latency. While that is so an idle nanosecond of the guest costs one on the wall, counted anew at each
  halt, so that a slow guest owes nothing. What the stack answers by itself (ARP, DHCP, TFTP, the router's ping) comes
  at once and makes nothing busy.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.clock import IdlePacer, Pacer, wall
from emu.net.dump import Dump
from emu.net.hub import Hub, HubPort
from emu.net.options import Netdev, hub_of, kinds, mac_address
from emu.net.user import User
from emu.net.wire import Backend, Wire
from emu.options import UsageError, number, shown, unknown

if TYPE_CHECKING:
    from emu.boards import Date
    from emu.machine import Machine

Say = Callable[[str], None]
FIRST_MAC = 0x525400123456
EAGER, EAGER_POLL = 0.05, 0.0002
"""Seconds after a frame for which the network is polled more often than the rest, and how often that is."""


class Network:
    """The wires of one machine by the id of their -netdev."""

    def __init__(
        self,
        netdevs: Sequence[Netdev],
        filters: Sequence[tuple[str, dict[str, str]]] = (),
        *,
        say: Say,
        opened: bool = True,
        date: Date = (2025, 1, 1, 0, 0, 0),
    ) -> None:
        """`opened` False: nothing outside is opened, for a replay. `date`: the guest's calendar at power-on.

        Raises UsageError.
        """
        self.wires: dict[str, Wire] = {}
        self.hubs: dict[int, Hub] = {}
        self._say = say
        self._macs: set[str] = set()
        self._dumps: list[Dump] = []
        self._machine: Machine | None = None
        self._pacer: Pacer | None = None
        self._polled = 0.0
        self._since = timegm(date)
        try:
            for netdev in netdevs:
                self.wires[netdev.id] = self._wire(netdev, opened)
            for netdev in netdevs:
                if netdev.kind == "hubport":
                    self._join_hub(netdev)
            for kind, props in filters:
                self._filter(kind, props)
        except UsageError:
            self.close()
            raise

    # -- building

    def _wire(self, netdev: Netdev, opened: bool) -> Wire:
        if netdev.kind == "hubport":
            hub_number, _ = hub_of(netdev)
            hub = self.hubs.setdefault(hub_number, Hub(hub_number))
            # The hub's output has the rate, so that it is shared fairly.
            port = HubPort(netdev.id, hub, rate=netdev.rate, latency=netdev.latency)
            return Wire(port)
        make = kinds()[netdev.kind].make
        backend = Backend(netdev.id) if not opened or make is None else make(netdev.id, netdev.props, self._say)
        rate = netdev.rate
        latency = netdev.latency
        return Wire(backend, rate=rate, latency=latency)

    def _join_hub(self, netdev: Netdev) -> None:
        """A hubport with netdev= has that one's wire in place of a card."""
        _, other = hub_of(netdev)
        if other is None:
            return
        if other not in self.wires:
            raise unknown("netdev", other, self.wires)
        here, there = self.wires[netdev.id], self.wires[other]
        if here is there or here.taken or there.taken:
            raise UsageError(f"-netdev hubport,id={shown(netdev.id)}: netdev={shown(other)} is in use")
        here.taken = there.taken = True

        def to(wire: Wire) -> Callable[[bytes], bool]:
            def send(frame: bytes) -> bool:
                wire.send(frame)
                return True

            return send

        here.attach_outside(to(there))
        there.attach_outside(to(here))

    def _filter(self, kind: str, props: dict[str, str]) -> None:
        name = props.get("netdev", "")
        what = f"-object {kind}"
        if name not in self.wires:
            raise unknown("netdev", name, self.wires)
        queue = props.get("queue", "all")
        if queue not in ("all", "rx", "tx"):
            raise unknown(f"{what} queue", queue, ("all", "rx", "tx"))
        wire = self.wires[name]
        if kind == "filter-dump":
            if not props.get("file"):
                raise UsageError(f"{what}: expected file=FILE")
            most = number(props.get("maxlen", "65536"), f"{what} maxlen", 1, 1 << 24)
            dump = Dump(props["file"], most, queue, self._calendar, self._say)
            self._dumps.append(dump)
            wire.watchers.append(dump.watch)
        elif props.get("status", "on") != "off":
            interval = number(props.get("interval", ""), f"{what} interval", 1, 60_000_000)
            wire.hold(interval / 1e6, queue)

    def _calendar(self) -> int:
        now = self._machine.clock.now() if self._machine is not None else 0
        return self._since * 1_000_000_000 + now

    # -- cards

    def mac(self, text: str | None) -> bytes:
        """The MAC address of a card: as given, else the next one that nobody has. Raises UsageError."""
        if text is not None:
            given = mac_address(text, "mac")
            self._macs.add(given)
            return bytes(int(part, 16) for part in given.split(":"))
        following = FIRST_MAC
        while (shape := following.to_bytes(6, "big").hex(":")) in self._macs:
            following += 1
        self._macs.add(shape)
        return following.to_bytes(6, "big")

    def port(self, machine: Machine, name: str | None, what: str) -> Wire:
        """The wire for a card with netdev=`name`; without one a cable that is not plugged in. Raises UsageError."""
        if not name:
            return Wire(Backend("unplugged"))
        wire = self.wires.get(name)
        if wire is None:
            raise unknown("netdev", name, self.wires)
        if wire.taken:
            raise UsageError(f"{what}: netdev={shown(name)} has a card already")
        wire.taken = True
        wire.join(machine.inputs)
        return wire

    def connect(self, machine: Machine) -> None:
        """The machine is built: time runs from now."""
        self._machine = machine
        for name, wire in self.wires.items():
            if not wire.taken:
                self._say(f"warning: netdev {shown(name)} has no card")
            if isinstance(wire.backend, User):
                wire.backend.connect_clock(machine.clock)
        self._pacer = IdlePacer(machine.clock)
        machine.patience = self.pace

    # -- the outside

    @property
    def live(self) -> bool:
        """Somebody outside may speak first."""
        return any(wire.backend.live for wire in self.wires.values())

    @property
    def busy(self) -> bool:
        """The guest waits for somebody outside, or frames are under way."""
        return any(wire.pending or (wire.active and wire.backend.busy) for wire in self.wires.values())

    @property
    def eager(self) -> bool:
        """A frame passed just now, so the next one may come any moment, and nobody has looked for a while."""
        now = wall()
        if now - self._polled < EAGER_POLL:
            return False
        return any(now - wire.activity < EAGER for wire in self.wires.values())

    def pace(self) -> Pacer | None:
        """Asked when an unpaced machine halts: the pace of this idle time, None to skip it."""
        if self._pacer is None or not self.busy:
            return None
        return self._pacer

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""
        readers: list[int] = []
        writers: list[int] = []
        for wire in self.wires.values():
            more, out = wire.backend.descriptors()
            readers += more
            writers += out
        return readers, writers

    def timeout(self) -> float | None:
        """Seconds until `poll` is due even if no descriptor is ready."""
        return min((t for wire in self.wires.values() if (t := wire.timeout()) is not None), default=None)

    def poll(self) -> None:
        """Bring to the gate what has come."""
        self._polled = wall()
        for wire in self.wires.values():
            wire.poll()

    def close(self) -> None:
        """Give everything back to the host."""
        for wire in self.wires.values():
            wire.backend.close()
        for dump in self._dumps:
            dump.close()

    def describe(self) -> list[str]:
        """Lines as of QEMU's `info network`."""
        return [wire.describe() for wire in self.wires.values()]
