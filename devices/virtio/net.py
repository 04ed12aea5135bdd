"""Virtio network card: frames between the guest's driver and a wire (`devices.contracts.NetPort`).

Queue 0 has buffers for what comes in, 1 frames to be sent, 2 commands. The driver may leave checksums and the cutting
of large TCP segments to the card: the first is done here, the second where the wire is (`NetPort.send_large`). What
comes in with a good checksum is marked so, if the driver wants to know.

VIRTIO 1.2, 5.1; checksums: RFC 1071.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devices.contracts import Clock, NetPort
from devices.device import device
from devices.ethernet import HEADER, IPV4, IPV6, LARGEST, LONGEST, TCP, VLAN, checksum, parse, total, whole
from devices.lending import Lending
from devices.state import deadline, flag, octets, uint
from devices.virtio.device import ACCESS_PLATFORM, DRIVER_OK, GUEST_ERRORS, VERSION_1, VirtioDevice, VirtioState
from devices.virtio.ring import RING_PACKED, Chain, RingMemory

QUEUE = 256
RX, TX, CONTROL = 0, 1, 2

CSUM, GUEST_CSUM, GUEST_OFFLOADS, MTU, MAC, GUEST_TSO4 = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 7
HOST_TSO4, HOST_TSO6, HOST_ECN = 1 << 11, 1 << 12, 1 << 13
MERGE, STATUS, CTRL, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA = 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20
ANNOUNCE, CTRL_MAC = 1 << 21, 1 << 23
OFFERED = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_OFFLOADS | MAC | HOST_TSO4 | HOST_TSO6 | HOST_ECN | MERGE | STATUS
OFFERED |= CTRL | CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | ANNOUNCE | CTRL_MAC
NEEDS_CTRL = CTRL | CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | ANNOUNCE | CTRL_MAC | GUEST_OFFLOADS

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_ECN = 0, 1, 4, 0x80
LINK_UP, ANNOUNCE_WANTED = 1, 2

TABLE = 64
"""MAC addresses of either kind that the filter holds; beyond that it lets all of the kind through."""
MOST_COMMAND = 1 << 16
GATHER = 800_000
"""Virtual ns from the bell to the sending, at most: what the driver makes ready meanwhile goes along for the same bell,
interrupt and answer, and often in one larger segment. A processor that halts has no more to add: then it is sent."""
LEAST_PAYLOAD = 32
"""Of the pieces of a TCP segment: less would make a flood out of one buffer."""
BROADCAST = b"\xff" * 6
UDP = 17


def transport_valid(frame: bytes) -> bool:
    """Whether a frame is an unfragmented TCP or UDP packet with a checksum that is right."""
    kind, at = int.from_bytes(frame[12:14], "big"), HEADER
    if kind == VLAN:
        kind, at = int.from_bytes(frame[16:18], "big"), HEADER + 4
    if kind == IPV4 and len(frame) >= at + 20:
        header = (frame[at] & 15) * 4
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        protocol, fragment = frame[at + 9], int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
        if frame[at] >> 4 != 4 or header < 20 or fragment:
            return False
        addresses = frame[at + 12 : at + 20]
    elif kind == IPV6 and len(frame) >= at + 40:
        header, length = 40, 40 + int.from_bytes(frame[at + 4 : at + 6], "big")
        protocol, addresses = frame[at + 6], frame[at + 8 : at + 40]
    else:
        return False
    segment = frame[at + header : at + length]
    if protocol not in (TCP, UDP) or len(segment) != length - header or len(segment) < (20 if protocol == TCP else 8):
        return False
    if protocol == UDP and segment[6:8] == b"\0\0":
        return False
    return (total(addresses) + protocol + len(segment) + total(segment)) % 0xFFFF == 0


def filled(frame: bytes, start: int, offset: int) -> bytes | None:
    """The frame with the checksum of everything from `start` put at `start + offset`; None where it has no room."""
    at = start + offset
    if at + 2 > len(frame):
        return None
    # 0xFFFF in place of 0, which UDP reads as "none".
    value = checksum(total(frame[start:])) or 0xFFFF
    return b"".join((frame[:at], value.to_bytes(2, "big"), frame[at + 2 :]))


@dataclass
class NetState(VirtioState):
    mac: bytearray = octets(6, 6)
    link: int = uint(16, LINK_UP)
    """The field `status` of the configuration space."""
    promiscuous: bool = flag(True)
    """Until the driver says what it wants: drivers without a control queue never do."""
    all_multicast: bool = flag()
    all_unicast: bool = flag()
    no_multicast: bool = flag()
    no_unicast: bool = flag()
    no_broadcast: bool = flag()
    unicast: bytearray = octets(6 * TABLE)
    multicast: bytearray = octets(6 * TABLE)
    unicast_full: bool = flag()
    multicast_full: bool = flag()
    vlans: bytearray = octets(512, 512)
    """A bit for each VLAN that is let through."""
    offloads: int = uint(64)
    """What the driver wants of GUEST_CSUM and the like."""
    starved: bool = flag()
    """A frame waits for buffers."""
    sending: int | None = deadline()
    """When the frames that the driver has rung for are sent."""


@device("virtio-net", "network card")
class Net(Lending, VirtioDevice):
    """`port` is the wire, `mac` six bytes, `mtu` the largest packet in bytes if the driver is to be told."""

    State = NetState
    state: NetState

    number = 1
    pci_class = 0x020000
    layout = "6sHHH"

    def __init__(
        self,
        *,
        memory: RingMemory,
        port: NetPort,
        mac: bytes,
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
        mtu: int = 0,
        without: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """`without` masks features that are not to be offered; without a `clock` frames are sent at the bell."""
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError("a MAC address has six bytes, and the first is even")
        if mtu and not 68 <= mtu <= 65535:
            raise ValueError("an MTU is 68 to 65535 bytes")
        self.mac = mac
        self.mtu = mtu
        self.without = without
        self.port = port
        self._clock = clock
        self._gather = clock.timer(f"{self.name} send", self._due) if clock is not None else None
        if self._gather is not None:
            self._gather.eager = True
        self.dropped = 0
        """Frames, either way, that were malformed, filtered, or for a guest that takes none."""
        super().__init__(
            memory=memory, queue_sizes=(QUEUE, QUEUE, 64), bus_memory=bus_memory, big_endian=big_endian, packed=packed
        )
        port.attach(self.receive)
        port.allow_large(self._takes_large)

    # -- for people

    def set_link(self, up: bool) -> None:
        """Plug the cable in, or pull it."""
        self.state.link = self.state.link & ~LINK_UP | up
        self.config_changed()

    def announce(self) -> None:
        """Ask the guest to tell its neighbours where it is now."""
        if self.accepted(ANNOUNCE):
            self.state.link |= ANNOUNCE_WANTED
            self.config_changed()

    # -- what the driver sees

    def offered(self) -> int:
        return (OFFERED | MTU * bool(self.mtu)) & ~self.without

    def fields(self) -> tuple[bytes, int, int, int]:
        return bytes(self.state.mac), self.state.link, 1, self.mtu

    def wrote_config(self, offset: int, data: bytes) -> None:
        if not self.accepted(VERSION_1):  # only legacy drivers set the address this way
            for at, byte in enumerate(data, offset):
                if at < 6:
                    self.state.mac[at] = byte

    def clear(self) -> None:
        super().clear()
        self.state.mac[:] = self.mac

    def reset(self) -> None:
        link = self.state.link & LINK_UP
        super().reset()
        self.state.link = link  # the cable is where it is

    def set_status(self, value: int, legacy: bool = False) -> None:
        before = self.running
        super().set_status(value, legacy)
        if self.running and not before and self.accepted(GUEST_CSUM):
            self.state.offloads = self.state.features & (GUEST_CSUM | GUEST_TSO4)

    def stopped(self) -> None:
        self.state.starved = False
        self._send_at(None)
        self.port.ready()

    def restored(self) -> None:
        sending = self.state.sending
        super().restored()
        self._send_at(sending)

    def notified(self, index: int) -> None:
        if index == RX:
            if self.state.starved:
                self.state.starved = False
                self.port.ready()
        elif index == TX and self._clock is not None:
            if self.state.sending is None:
                self._send_at(self._clock.now() + GATHER)
        else:
            self._work(index)

    # -- a loan to the processor: both queues of frames, while they hold nothing out of the ordinary

    def lend(self, take_back: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """What the processor needs to move frames by itself, or None while that cannot be.

        `take_back()` ends the loan and gives what has become of it.
        """
        s = self._state
        features, queues = s.features, self.queues[:2]
        if not s.status & DRIVER_OK or s.legacy or features & (RING_PACKED | ACCESS_PLATFORM) or self._gather is None:
            return None
        if not features & VERSION_1 or not s.link & LINK_UP or s.starved or s.no_unicast or s.no_broadcast:
            return None
        if any(q.chains or not q.running for q in queues):
            return None
        # Asked first: a look at the bells calls the local APIC home, and a run that does nothing else gets nowhere.
        lend = getattr(self.port, "lend", None)
        bell = getattr(self.transport, "bell", None)
        if lend is None or bell is None or not self.port.lends():  # type: ignore[attr-defined]
            return None
        places = [bell(RX), bell(TX)]
        wire = lend(self.home) if None not in places else None
        if wire is None:
            return None
        self.lent(take_back)
        rings = [q.loan(*place) for q, place in zip(queues, places, strict=True)]
        return {
            "header": 12, "merge": bool(features & MERGE), "csum": bool(features & CSUM),
            "tso": bool(features & HOST_TSO4), "marks": bool(s.offloads & GUEST_CSUM),
            "large": bool(s.offloads & GUEST_TSO4 and features & MERGE), "promiscuous": s.promiscuous,
            "mac": bytes(s.mac), "rx": rings[0], "tx": rings[1], "wire": wire, "gather": GATHER,
            "sending": -1 if s.sending is None else s.sending,
        }  # fmt: skip

    def moved(self, deadline: int | None) -> None:
        """What the driver has rung for is due at another time now."""
        if self._gather is not None:
            self._gather.inner = True
            self._arm(deadline)

    def brought(self, arrivals: list[tuple[int, int, bytes]]) -> None:
        """The processor has moved frames. What came: how many instructions ago, when (virtual ns), the frame."""
        self.port.brought(arrivals)  # type: ignore[attr-defined]

    def returned(self, loan: dict[str, Any]) -> None:
        """See `Lending`."""
        for q, ring in zip(self.queues, (loan["rx"], loan["tx"]), strict=False):
            q.returned(ring)
        if self._gather is not None:
            self._gather.inner = False
        self._send_at(None if loan["sending"] < 0 else loan["sending"])
        self.port.brought(loan["arrivals"])  # type: ignore[attr-defined]
        self.port.returned(None if loan["arriving"] < 0 else loan["arriving"])  # type: ignore[attr-defined]

    def save(self) -> dict[str, object]:
        self.home()
        return super().save()

    def _send_at(self, time: int | None) -> None:
        self.state.sending = time
        self._arm(time)

    def _arm(self, time: int | None) -> None:
        if self._gather is None:
            return
        if time is None:
            self._gather.cancel()
        else:
            self._gather.arm(time)

    def _due(self) -> None:
        self.state.sending = None
        self._work(TX)

    def _work(self, index: int) -> None:
        """All that the driver has made available in a queue, and one interrupt for it."""
        super().notified(index)
        self.queues[index].notify()

    def handle(self, index: int, chain: Chain) -> None:
        if index == TX:
            self._transmit(chain)
        elif index == CONTROL:
            self._command(chain)
        else:
            self.queues[index].unpop(chain)

    @property
    def header(self) -> int:
        """Bytes in front of each frame."""
        return 12 if self.accepted(VERSION_1 | MERGE) else 10

    # -- to the wire

    def _transmit(self, chain: Chain) -> None:
        header = self.header
        if chain.total < header:
            self.queues[TX].fail(f"a frame of {chain.total} bytes with its header")
            return
        if header + HEADER <= chain.total <= header + LARGEST:
            data = chain.read()
            if self.state.link & LINK_UP:
                self._send(data[:header], data[header:])
        else:
            self._drop("a frame of %d bytes", chain.total - header)
        chain.complete(0, notify=False)

    def _send(self, header: bytes, frame: bytes) -> None:
        flags, kind, _, size, start, offset = struct.unpack_from(self.order + "BBHHHH", header)
        if kind & ~GSO_ECN:
            if not (flags & NEEDS_CSUM and self._large(kind & ~GSO_ECN, size, start, frame)):
                self._drop("an offload of kind %#x that cannot be", kind)
            return
        if flags & NEEDS_CSUM:
            sealed = filled(frame, start, offset) if self.accepted(CSUM) else None
            if sealed is None:
                self._drop("a checksum at %d that cannot be", start + offset)
                return
            frame = sealed
        self.port.send(frame)

    def _large(self, kind: int, size: int, start: int, frame: bytes) -> bool:
        """A TCP segment that is cut up on the wire; False for what is none."""
        part = parse(frame)
        feature = {GSO_TCP4: HOST_TSO4, GSO_TCP6: HOST_TSO6}.get(kind, 0)
        if not self.accepted(feature) or part is None or part.v6 != (kind == GSO_TCP6) or part.tcp != start:
            return False
        if size < LEAST_PAYLOAD:
            return False
        if len(frame) - part.payload > size:
            self.port.send_large(frame, size)
            return True
        sealed = whole(frame)
        if sealed is not None:
            self.port.send(sealed)
        return sealed is not None

    def _drop(self, why: str, value: int) -> None:
        self.dropped += 1
        if self.dropped <= 16:
            GUEST_ERRORS.warning(f"%s: {why}", self.name, value)

    # -- from the wire

    def receive(self, frame: bytes) -> bool:
        """A frame from the wire; False: there is no room now, and `port.ready` will say when."""
        if not self.running or not self.queues[RX].running or not self.state.link & LINK_UP:
            return True
        if not HEADER <= len(frame) <= LARGEST or not self._wanted(frame):
            self.dropped += 1
            return True
        if len(frame) > LONGEST + 4:
            return self._deliver_large(frame)
        flags = DATA_VALID if self.state.offloads & GUEST_CSUM and transport_valid(frame) else 0
        return self._deliver(flags, frame)

    def _takes_large(self) -> bool:
        return bool(self.running and self.state.offloads & GUEST_TSO4 and self.accepted(MERGE))

    def _deliver_large(self, frame: bytes) -> bool:
        """Joined segments (`NetPort.allow_large`): the guest learns how long each was."""
        part = parse(frame)
        if part is None or part.v6 or not self._takes_large() or len(frame) - part.ip > 65535:
            self.dropped += 1
            return True
        size = int.from_bytes(frame[part.ip + 2 : part.ip + 4], "big") - (part.payload - part.ip)
        if size < LEAST_PAYLOAD:
            self.dropped += 1
            return True
        header = bytearray(frame[: part.payload])
        header[part.ip + 2 : part.ip + 4] = (len(frame) - part.ip).to_bytes(2, "big")
        header[part.ip + 10 : part.ip + 12] = b"\0\0"
        header[part.ip + 10 : part.ip + 12] = checksum(total(header[part.ip : part.tcp])).to_bytes(2, "big")
        pseudo = total(header[part.ip + 12 : part.ip + 20]) + TCP + len(frame) - part.tcp
        header[part.tcp + 16 : part.tcp + 18] = (0xFFFF - checksum(pseudo)).to_bytes(2, "big")
        gso = (GSO_TCP4, part.payload, size, part.tcp, 16)
        return self._deliver(NEEDS_CSUM, bytes(header) + frame[part.payload :], gso)

    def _deliver(self, flags: int, frame: bytes, gso: tuple[int, int, int, int, int] = (GSO_NONE, 0, 0, 0, 0)) -> bool:
        queue, header, merge = self.queues[RX], self.header, self.accepted(MERGE)
        wanted = header + len(frame)
        chains: list[Chain] = []
        room = 0
        while room < wanted:
            chain = queue.pop()
            if chain is None:
                if queue.running:
                    for chain in reversed(chains):
                        queue.unpop(chain)
                    self.state.starved = True
                    return False
                return True
            if not chain.room or (not chains and chain.room < header):
                queue.fail(f"{chain.room} bytes of room for a frame")
                return True
            chains.append(chain)
            room += chain.room
            if not merge and room < wanted:
                queue.unpop(chain)
                self.dropped += 1
                return True
        fields = struct.pack(self.order + "BBHHHH", flags, *gso)
        if header == 12:
            fields += struct.pack(self.order + "H", len(chains) if merge else 1)
        data = fields + frame
        for chain in chains:
            count = chain.write(data)
            data = data[count:]
            chain.complete(count, notify=False)
        queue.notify()
        return True

    def _wanted(self, frame: bytes) -> bool:
        s = self.state
        if self.accepted(CTRL_VLAN) and frame[12:14] == b"\x81\x00":
            vlan = int.from_bytes(frame[14:16], "big") & 0xFFF
            if len(frame) < 18 or not s.vlans[vlan >> 3] >> (vlan & 7) & 1:
                return False
        if s.promiscuous:
            return True
        to = frame[:6]
        if to == BROADCAST:
            return not s.no_broadcast
        if to[0] & 1:
            return not s.no_multicast and (s.all_multicast or s.multicast_full or _in(to, s.multicast))
        if s.no_unicast:
            return False
        return s.all_unicast or s.unicast_full or to == s.mac or _in(to, s.unicast)

    # -- commands

    def _command(self, chain: Chain) -> None:
        if chain.total < 2 or not chain.room:
            self.queues[CONTROL].fail(f"a command of {chain.total} bytes with {chain.room} bytes for its answer")
            return
        data = chain.read(0, min(chain.total, MOST_COMMAND))
        commands: dict[int, Callable[[int, bytes], bool]] = {
            0: self._receive_mode,
            1: self._addresses,
            2: self._vlan,
            3: self._announced,
            5: self._set_offloads,
        }
        command = commands.get(data[0])
        good = command is not None and command(data[1], data[2:])
        chain.complete(chain.write(b"\0" if good else b"\1"), notify=False)

    def _receive_mode(self, which: int, data: bytes) -> bool:
        modes = ("promiscuous", "all_multicast", "all_unicast", "no_multicast", "no_unicast", "no_broadcast")
        if which >= len(modes) or len(data) < 1 or not self.accepted(CTRL_RX if which < 2 else CTRL_RX_EXTRA):
            return False
        setattr(self.state, modes[which], bool(data[0]))
        return True

    def _addresses(self, which: int, data: bytes) -> bool:
        if which == 1 and len(data) >= 6 and self.accepted(CTRL_MAC):
            self.state.mac[:] = data[:6]
            return True
        if which != 0 or not self.accepted(CTRL_RX):
            return False
        tables = []
        for _ in range(2):
            if len(data) < 4:
                return False
            (count,) = struct.unpack_from(self.order + "I", data)
            if count * 6 > len(data) - 4:
                return False
            tables.append(data[4 : 4 + 6 * count])
            data = data[4 + 6 * count :]
        s = self.state
        s.unicast_full, s.multicast_full = (len(table) > 6 * TABLE for table in tables)
        s.unicast[:], s.multicast[:] = (b"" if len(table) > 6 * TABLE else table for table in tables)
        return True

    def _vlan(self, which: int, data: bytes) -> bool:
        if which > 1 or len(data) < 2 or not self.accepted(CTRL_VLAN):
            return False
        (vlan,) = struct.unpack_from(self.order + "H", data)
        if vlan >= 4096:
            return False
        bit = 1 << (vlan & 7)
        vlans = self.state.vlans
        vlans[vlan >> 3] = vlans[vlan >> 3] & ~bit if which else vlans[vlan >> 3] | bit
        return True

    def _announced(self, which: int, data: bytes) -> bool:
        if which != 0 or not self.state.link & ANNOUNCE_WANTED:
            return False
        self.state.link &= ~ANNOUNCE_WANTED
        return True

    def _set_offloads(self, which: int, data: bytes) -> bool:
        if which != 0 or len(data) < 8 or not self.accepted(GUEST_OFFLOADS):
            return False
        (wanted,) = struct.unpack_from(self.order + "Q", data)
        if wanted & ~(self.state.features & (GUEST_CSUM | GUEST_TSO4)):
            return False
        if wanted & GUEST_TSO4 and not wanted & GUEST_CSUM:
            return False
        self.state.offloads = wanted
        return True


def _in(address: bytes, table: bytearray) -> bool:
    return any(table[at : at + 6] == address for at in range(0, len(table), 6))
