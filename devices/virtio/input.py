"""Virtio keyboard and tablet: events as the input layer of Linux numbers them.

A person's keys come in by `key` and `key_scancode` (set 1 codes, as a PC's keyboard sends them), the pointer by `move`
and `button`. The driver asks what the device is by writing a selector to the configuration space.

VIRTIO 1.2, 5.8; numbers of events and codes: Linux, input-event-codes.h. There is no legacy interface.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devices.device import device
from devices.keymap import EXTENDED, key_make
from devices.state import octets, uint
from devices.virtio.device import VirtioDevice, VirtioState
from devices.virtio.ring import Chain, RingMemory

QUEUE = 64
EVENTS, STATUS = 0, 1
EVENT = 8
BACKLOG = 64 * EVENT
UNSET, NAME, SERIAL, IDS, PROPERTIES, BITS, ABSOLUTE = 0, 1, 2, 3, 0x10, 0x11, 0x12
SYN, KEY, REL, ABS, LED, REP = 0, 1, 2, 3, 0x11, 0x14
WHEEL = 8
BUS_VIRTUAL = 6
VENDOR = 0x0627
LARGEST = 0x7FFF
"""The pointer's right and lower end."""
BUTTONS = {"left": 0x110, "right": 0x111, "middle": 0x112}

# Keys that set 1 puts behind E0h: Linux numbers them on their own, the others as set 1 does.
FAR_KEYS = {
    "kp_enter": 96,
    "ctrl_r": 97,
    "kp_divide": 98,
    "print": 99,
    "alt_r": 100,
    "home": 102,
    "up": 103,
    "pgup": 104,
    "left": 105,
    "right": 106,
    "end": 107,
    "down": 108,
    "pgdn": 109,
    "insert": 110,
    "delete": 111,
    "pause": 119,
    "meta_l": 125,
    "meta_r": 126,
    "menu": 127,
    "audiomute": 113, "volumedown": 114, "volumeup": 115, "power": 116, "stop": 128, "again": 129, "props": 130,
    "undo": 131, "front": 132, "copy": 133, "paste": 135, "find": 136, "cut": 137, "help": 138, "calculator": 140,
    "sleep": 142, "wake": 143, "mail": 155, "ac_bookmarks": 156, "computer": 157, "ac_back": 158, "ac_forward": 159,
    "audionext": 163, "audioplay": 164, "audioprev": 165, "audiostop": 166, "ac_home": 172, "ac_refresh": 173,
    "f17": 187, "f18": 188, "f19": 189, "f21": 191, "f22": 192, "mediaselect": 226,
}  # fmt: skip
FAR_CODES = {code: FAR_KEYS[name] for name, code in EXTENDED.items()} | {0x37: 99}
LAST_NEAR = 0x58


@dataclass(frozen=True)
class Model:
    """What kind of device it is: which codes of which event types it sends."""

    name: str
    product: int
    codes: Mapping[int, Iterable[int]]
    axes: Mapping[int, tuple[int, int]] = field(default_factory=dict)


KEYBOARD = Model(
    "Emu virtio keyboard", 1, {KEY: (*range(1, LAST_NEAR + 1), *FAR_KEYS.values()), LED: (0, 1, 2), REP: (0, 1)}
)
TABLET = Model(
    "Emu virtio tablet", 3, {KEY: BUTTONS.values(), REL: (WHEEL,), ABS: (0, 1)}, {0: (0, LARGEST), 1: (0, LARGEST)}
)


@dataclass
class InputState(VirtioState):
    select: int = uint(8)
    subselect: int = uint(8)
    outgoing: bytearray = octets(BACKLOG)
    """Events that wait for buffers."""
    leds: int = uint(16)
    """A bit for each light that the guest has on."""


@device("virtio-input", "keyboard or tablet")
class Input(VirtioDevice):
    """`model` is KEYBOARD or TABLET."""

    State = InputState
    state: InputState

    number = 18
    pci_class = 0x090000
    layout = "BBB5x128s"

    def __init__(
        self,
        *,
        memory: RingMemory,
        model: Model,
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
    ) -> None:
        self.model = model
        super().__init__(
            memory=memory, queue_sizes=(QUEUE, QUEUE), bus_memory=bus_memory, big_endian=big_endian, packed=packed
        )

    # -- for people

    def send(self, *events: tuple[int, int, int]) -> bool:
        """Events (type, code, value) that belong together; False: the guest takes none, and they are lost."""
        data = b"".join(
            struct.pack("<HHI", kind, code, value & 0xFFFFFFFF) for kind, code, value in (*events, (SYN, 0, 0))
        )
        if not self.running or len(self.state.outgoing) + len(data) > BACKLOG:
            return False
        self.state.outgoing += data
        self._deliver()
        return True

    def key(self, name: str, down: bool) -> bool:
        """A key by the name that `devices.keymap` gives it. Raises KeyError for a name nobody knows."""
        code = FAR_KEYS.get(name)
        return self.send((KEY, key_make(name)[-1] if code is None else code, int(down)))

    def key_scancode(self, codes: bytes) -> bool:
        """Keys as the set 1 bytes that a PC's keyboard sends."""
        events = []
        far = False
        for code in codes:
            if code in (0xE0, 0xE1):
                far = True
                continue
            number = FAR_CODES.get(code & 0x7F) if far else code & 0x7F if code & 0x7F <= LAST_NEAR else None
            if number:
                events.append((KEY, number, int(not code & 0x80)))
            far = False
        sent = [self.send(event) for event in events]
        return all(sent)

    def move(self, x: int, y: int) -> bool:
        """The pointer, from 0 to 0x7FFF in both directions."""
        return self.send((ABS, 0, max(0, min(x, LARGEST))), (ABS, 1, max(0, min(y, LARGEST))))

    def button(self, name: str, down: bool) -> bool:
        """A button: left, middle or right. Raises KeyError."""
        return self.send((KEY, BUTTONS[name], int(down)))

    def wheel(self, steps: int) -> bool:
        """The wheel; away from the person is positive."""
        return self.send((REL, WHEEL, steps))

    # -- what the driver sees

    def fields(self) -> tuple[int, int, int, bytes]:
        s = self.state
        answer = self._answer(s.select, s.subselect)
        return s.select, s.subselect, len(answer), answer

    def _answer(self, select: int, which: int) -> bytes:
        model = self.model
        if select == BITS and which in model.codes:
            bits = sum(1 << code for code in set(model.codes[which]))
            return bits.to_bytes(-(-bits.bit_length() // 8), "little")
        if select == ABSOLUTE and which in model.axes:
            return struct.pack("<5I", *model.axes[which], 0, 0, 0)
        if which:
            return b""
        if select == NAME:
            return model.name.encode()
        if select == IDS:
            return struct.pack("<4H", BUS_VIRTUAL, VENDOR, model.product, 1)
        return b""

    def wrote_config(self, offset: int, data: bytes) -> None:
        for at, byte in enumerate(data, offset):
            if at == 0:
                self.state.select = byte
            elif at == 1:
                self.state.subselect = byte

    def notified(self, index: int) -> None:
        if index == EVENTS:
            self._deliver()
        else:
            super().notified(index)

    def handle(self, index: int, chain: Chain) -> None:
        if index == EVENTS:
            self.queues[index].unpop(chain)
            return
        data = chain.read(0, min(chain.total, EVENT))
        if len(data) == EVENT:
            kind, code, value = struct.unpack("<HHI", data)
            if kind == LED and code < 16:
                self.state.leds = self.state.leds & ~(1 << code) | bool(value) << code
        chain.complete(0)

    def _deliver(self) -> None:
        outgoing = self.state.outgoing
        queue = self.queues[EVENTS]
        done = False
        while outgoing and (chain := queue.pop()) is not None:
            chain.complete(chain.write(bytes(outgoing[:EVENT])), notify=False)
            del outgoing[:EVENT]
            done = True
        if done:
            queue.notify()
