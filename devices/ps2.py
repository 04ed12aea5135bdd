"""The two things one plugs into an 8042: a PS/2 keyboard and a PS/2 mouse.

Each takes command bytes (`command`), offers bytes (`waiting`, `take`) and is its own state. devices.i8042 moves the
bytes; time and interrupts are its business.

IBM PS/2 Hardware Interface Technical Reference: keyboards (101/102 keys), mouse; IntelliMouse identification sequence.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import keymap, state

ACK, RESEND, SELF_TEST_PASSED, ECHO = 0xFA, 0xFE, 0xAA, 0xEE
BUFFER = 16
REPLIES = 32


@dataclass
class Keyboard:
    """A keyboard with scan code sets 1, 2 and 3; commands come in at any time, keys through `keys`."""

    replies: list[int] = state.queue(REPLIES)
    codes: list[int] = state.queue(BUFFER)
    argument_of: int = state.uint(8)
    """The command whose argument is expected, 0 if none."""
    scan_set: int = state.ranged(1, 3, 2)
    scanning: bool = state.flag(True)
    leds: int = state.uint(3)
    rate: int = state.uint(7, 0x2B)
    last: int = state.uint(8)

    @property
    def waiting(self) -> bool:
        """There is a byte to take."""
        return bool(self.replies or self.codes)

    def take(self) -> int:
        """The next byte to the controller; replies come before keys."""
        self.last = self.replies.pop(0) if self.replies else self.codes.pop(0)
        return self.last

    @property
    def space(self) -> int:
        """Free bytes in the key buffer."""
        return BUFFER - len(self.codes)

    def keys(self, set1: bytes) -> bool:
        """Type set 1 bytes. False, and nothing is stored, if the buffer has no room for all of them."""
        if not self.scanning:
            return True
        codes = self._encode(set1)
        if len(codes) > self.space:
            return False
        self.codes += codes
        return True

    def _encode(self, set1: bytes) -> list[int]:
        """Set 1 bytes in the chosen set."""
        if self.scan_set == 1:
            return list(set1)
        out: list[int] = []
        if self.scan_set == 2:
            for code in set1:
                if code in (0xE0, 0xE1):
                    out.append(code)
                else:
                    out += [0xF0] * (code >> 7) + [keymap.SET2[code & 0x7F]]
            return out
        prefix = 0
        for code in set1:
            if code in (0xE0, 0xE1):
                prefix = code
                continue
            key = code & 0x7F
            if prefix == 0xE1 and key == 0x1D:
                continue
            if prefix == 0xE1:
                made = 0x62
            elif prefix:
                made = keymap.SET3_EXTENDED.get(key, 0)
            else:
                made = keymap.SET3[key] if key < len(keymap.SET3) else 0
            if made:
                out += [0xF0] * (code >> 7) + [made]
            prefix = 0
        return out

    def _reply(self, *data: int) -> None:
        self.replies += data[: REPLIES - len(self.replies)]

    def _defaults(self) -> None:
        self.codes.clear()
        self.rate = 0x2B
        self.scan_set = 2

    def command(self, value: int) -> None:
        """A byte from the host."""
        argument_of, self.argument_of = self.argument_of, 0
        if argument_of and value < 0x80:
            self._argument(argument_of, value)
        elif value == 0xEE:
            self._reply(ECHO)
        elif value in (0xED, 0xF0, 0xF3, 0xFB, 0xFC, 0xFD):
            self.argument_of = value
            self._reply(ACK)
        elif value == 0xF2:
            self._reply(ACK, 0xAB, 0x83)
        elif value in (0xF4, 0xF5, 0xF6):
            if value == 0xF4:
                self.codes.clear()
            else:
                self._defaults()
            self.scanning = value != 0xF5
            self._reply(ACK)
        elif 0xF7 <= value <= 0xFA:
            self._reply(ACK)
        elif value == RESEND:
            self._reply(self.last)
        elif value == 0xFF:
            self._defaults()
            self.scanning = True
            self.leds = 0
            self.replies.clear()
            self._reply(ACK, SELF_TEST_PASSED)
        else:
            self._reply(RESEND)

    def _argument(self, command: int, value: int) -> None:
        if command == 0xED:
            self.leds = value & 7
        elif command == 0xF3:
            self.rate = value
        elif command == 0xF0 and value > 3:
            self._reply(RESEND)
            return
        elif command == 0xF0 and value:
            self.scan_set = value
            self.codes.clear()
        self._reply(ACK)
        if command == 0xF0 and value == 0:
            self._reply(self.scan_set)


@dataclass
class Mouse:
    """A mouse that becomes one with a wheel (ID 3) or five buttons (ID 4) by the IntelliMouse sample rate sequences."""

    replies: list[int] = state.queue(REPLIES)
    packet: list[int] = state.queue(4)
    argument_of: int = state.uint(8)
    kind: int = state.ranged(0, 4)
    reporting: bool = state.flag()
    remote: bool = state.flag()
    wrap: bool = state.flag()
    double: bool = state.flag()
    resolution: int = state.ranged(0, 3, 2)
    rate: int = state.uint(8, 100)
    rates: list[int] = state.uints(3, 8)
    """The last three sample rates, which may spell an identification sequence."""
    buttons: int = state.uint(5)
    dx: int = state.ranged(-0x8000, 0x7FFF)
    dy: int = state.ranged(-0x8000, 0x7FFF)
    dz: int = state.ranged(-0x8000, 0x7FFF)
    moved: bool = state.flag()
    last: int = state.uint(8)

    @property
    def waiting(self) -> bool:
        """There is a byte to take."""
        return bool(self.replies or self.packet or (self.moved and self._streams()))

    def take(self) -> int:
        """The next byte to the controller."""
        if self.replies:
            self.last = self.replies.pop(0)
        else:
            if not self.packet:
                self.packet = self._make_packet()
            self.last = self.packet.pop(0)
        return self.last

    def move(self, dx: int, dy: int, dz: int, buttons: int) -> None:
        """Counts to the right, up and away from the user, and the buttons held (1 left, 2 right, 4 middle)."""
        self.dx = min(max(self.dx + dx, -0x8000), 0x7FFF)
        self.dy = min(max(self.dy + dy, -0x8000), 0x7FFF)
        self.dz = min(max(self.dz + dz, -0x8000), 0x7FFF)
        self.buttons = buttons & 0x1F
        self.moved = True

    def _streams(self) -> bool:
        return self.reporting and not self.remote and not self.wrap

    def _make_packet(self) -> list[int]:
        dx = min(max(self.dx, -255), 255)
        dy = min(max(self.dy, -255), 255)
        dz = min(max(self.dz, -8), 7)
        out = [self.buttons & 7 | 8 | (dx < 0) << 4 | (dy < 0) << 5, dx & 0xFF, dy & 0xFF]
        self.dx -= dx
        self.dy -= dy
        self.dz -= dz
        if self.kind == 3:
            out.append(dz & 0xFF)
        elif self.kind == 4:
            out.append(dz & 15 | self.buttons >> 3 << 4)
        else:
            self.dz = 0
        self.moved = bool(self.dx or self.dy or self.dz)
        return out

    def _reply(self, *data: int) -> None:
        self.replies += data[: REPLIES - len(self.replies)]

    def _defaults(self) -> None:
        self.reporting = self.remote = self.wrap = self.double = self.moved = False
        self.resolution, self.rate = 2, 100
        self.dx = self.dy = self.dz = 0
        self.packet.clear()

    def command(self, value: int) -> None:
        """A byte from the host."""
        if self.wrap and value not in (0xEC, 0xFF):
            self._reply(value)
            return
        argument_of, self.argument_of = self.argument_of, 0
        if argument_of:
            self._argument(argument_of, value)
        elif value in (0xE6, 0xE7):
            self.double = value == 0xE7
            self._reply(ACK)
        elif value in (0xE8, 0xF3):
            self.argument_of = value
            self._reply(ACK)
        elif value == 0xE9:
            held = (self.buttons & 1) << 2 | (self.buttons & 4) >> 1 | (self.buttons & 2) >> 1
            status = self.remote << 6 | self.reporting << 5 | self.double << 4 | held
            self._reply(ACK, status, self.resolution, self.rate)
        elif value in (0xEA, 0xF0):
            self.remote = value == 0xF0
            self._reply(ACK)
        elif value == 0xEB:
            self._reply(ACK, *self._make_packet())
        elif value in (0xEC, 0xEE):
            self.wrap = value == 0xEE
            self._reply(ACK)
        elif value == 0xF2:
            self._reply(ACK, self.kind)
        elif value in (0xF4, 0xF5):
            self.reporting = value == 0xF4
            self.packet.clear()
            self._reply(ACK)
        elif value == 0xF6:
            self._defaults()
            self._reply(ACK)
        elif value == RESEND:
            self._reply(self.last)
        elif value == 0xFF:
            self._defaults()
            self.kind = 0
            self.replies.clear()
            self._reply(ACK, SELF_TEST_PASSED, 0)
        else:
            self._reply(RESEND)

    def _argument(self, command: int, value: int) -> None:
        if command == 0xE8:
            if value > 3:
                self._reply(RESEND)
                return
            self.resolution = value
        else:
            self.rate = value
            self.rates = [*self.rates[1:], value]
            if self.rates == [200, 100, 80]:
                self.kind = 3
            elif self.rates == [200, 200, 80] and self.kind == 3:
                self.kind = 4
        self._reply(ACK)
