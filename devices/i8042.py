"""8042 keyboard controller of a PS/2: keyboard port, mouse port, A20 gate and processor reset.

Ports 0x60 (data) and 0x64 (command and status). Answers of the controller itself are there at once; a byte from
keyboard or mouse takes `BYTE_NS` on its way, and port 0x60 keeps showing a byte that was read until the next one comes,
as programs that chain the keyboard interrupt expect. With translation on, set 2 codes reach the host as set 1.

IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; Intel UPI-41/42 manual.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import keymap, state
from devices.contracts import Clock, Line
from devices.device import Device, device
from devices.ps2 import Keyboard, Mouse

BYTE_NS = 200_000
"""From a byte being ready in keyboard or mouse to its arrival in the output buffer."""

INT_KBD, INT_AUX, SYSTEM, OFF_KBD, OFF_AUX, TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40
OUT_RESET, OUT_A20 = 0x01, 0x02
FROM_AUX = 0x100
REPLIES = 16


@device("i8042", "8042 keyboard controller with PS/2 keyboard and mouse")
class I8042(Device):
    """Ports 0x60 (`read_data`, `write_data`) and 0x64 (`read_status`, `write_command`).

    `a20` follows bit 1 of the output port whenever the guest writes it; `reset_line` is pulsed.
    """

    @dataclass
    class State:
        ram: list[int] = state.uints(32, 8)
        """Byte 0 is the command byte."""
        output_port: int = state.uint(8, 0xCF)
        data: int = state.uint(8)
        """What port 0x60 shows."""
        full: bool = state.flag()
        aux: bool = state.flag()
        """The byte in the output buffer came from the mouse port."""
        last_was_command: bool = state.flag()
        expects: int = state.uint(8)
        """The command whose data byte is expected at port 0x60, 0 if none."""
        breaking: bool = state.flag()
        """The translator has swallowed 0xF0."""
        replies: list[int] = state.queue(REPLIES, 9)
        armed: int | None = state.deadline()
        keyboard: Keyboard = state.record(Keyboard)
        mouse: Mouse = state.record(Mouse)

    state: State

    def __init__(self, *, clock: Clock, irq_kbd: Line, irq_aux: Line, a20: Line, reset_line: Line) -> None:
        super().__init__()
        self.clock = clock
        self.irq_kbd = irq_kbd
        self.irq_aux = irq_aux
        self.a20 = a20
        self.reset_line = reset_line
        self._timer = clock.timer("i8042", self._arrive)
        self.state.ram[0] = INT_KBD | SYSTEM | OFF_AUX | TRANSLATE

    def reset(self) -> None:
        """Back to what firmware leaves behind: keyboard on, translated, with interrupt; mouse port off; A20 on."""
        self.clear()
        self.state.ram[0] = INT_KBD | SYSTEM | OFF_AUX | TRANSLATE
        self._timer.cancel()
        self._lines()

    def restored(self) -> None:
        """Arm the timer for the byte on its way."""
        if self.state.armed is None:
            self._timer.cancel()
        else:
            self._timer.arm(self.state.armed)

    # From the host's keyboard and mouse.

    def key_scancode(self, set1: bytes) -> bool:
        """Type set 1 bytes (see devices.keymap). False, and nothing typed, while the keyboard has no room for them."""
        typed = self.state.keyboard.keys(set1)
        self._pump()
        return typed

    def space(self) -> int:
        """Free bytes in the keyboard's buffer of 16; a key needs up to 8, a chord of three up to 11."""
        return self.state.keyboard.space

    def mouse_move(self, dx: int, dy: int, dz: int = 0, buttons: int = 0) -> None:
        """Move the mouse by counts right, up, and wheel; `buttons` held: 1 left, 2 right, 4 middle."""
        self.state.mouse.move(dx, dy, dz, buttons)
        self._pump()

    # Ports.

    def read_data(self, offset: int, width: int) -> int:
        """Port 0x60."""
        value = self.state.data
        if self.state.full:
            self.state.full = False
            self._lines()
            self._pump()
        return value

    def read_status(self, offset: int, width: int) -> int:
        """Port 0x64."""
        s = self.state
        return s.full | s.ram[0] & SYSTEM | s.last_was_command << 3 | 0x10 | (s.full and s.aux) << 5

    def write_data(self, offset: int, width: int, value: int) -> None:
        """Port 0x60."""
        s = self.state
        s.last_was_command = False
        expects, s.expects = s.expects, 0
        if 0x60 <= expects <= 0x7F:
            s.ram[expects & 31] = value
            self._lines()
        elif expects == 0xD1:
            self._write_output_port(value)
        elif expects == 0xD2:
            self._answer(value)
        elif expects == 0xD3:
            self._answer(value | FROM_AUX)
        elif expects == 0xD4:
            s.ram[0] &= ~OFF_AUX
            s.mouse.command(value)
        else:
            s.ram[0] &= ~OFF_KBD
            s.keyboard.command(value)
        self._pump()

    def write_command(self, offset: int, width: int, value: int) -> None:
        """Port 0x64."""
        s = self.state
        s.last_was_command = True
        s.expects = 0
        if 0x20 <= value <= 0x3F:
            self._answer(s.ram[value & 31])
        elif 0x60 <= value <= 0x7F or 0xD1 <= value <= 0xD4:
            s.expects = value
        elif value >= 0xF0:
            if not value & 1:
                self._pulse_reset()
        elif value in (0xDD, 0xDF):
            self._write_output_port(s.output_port & ~OUT_A20 | (value & 2))
        elif value in (0xA7, 0xA8):
            s.ram[0] = s.ram[0] & ~OFF_AUX | (OFF_AUX if value == 0xA7 else 0)
        elif value in (0xAD, 0xAE):
            s.ram[0] = s.ram[0] & ~OFF_KBD | (OFF_KBD if value == 0xAD else 0)
        elif value == 0xAA:
            s.ram[0] |= SYSTEM
            self._answer(0x55)
        elif value in (0xA9, 0xAB):
            self._answer(0x00)
        elif value == 0xA4:
            self._answer(0xF1)
        elif value == 0xC0:
            self._answer(0x80)
        elif value == 0xD0:
            loaded = (s.full and not s.aux) << 4 | (s.full and s.aux) << 5
            self._answer(s.output_port & ~0x30 | loaded)
        elif value == 0xE0:
            self._answer(0x00)
        else:
            self.unimplemented(f"command {value:#04x}")
        self._pump()

    def _write_output_port(self, value: int) -> None:
        self.state.output_port = value | OUT_RESET
        self.a20.set(bool(value & OUT_A20))
        if not value & OUT_RESET:
            self._pulse_reset()

    def _pulse_reset(self) -> None:
        self.reset_line.set(True)
        self.reset_line.set(False)

    # The output buffer.

    def _answer(self, value: int) -> None:
        if len(self.state.replies) < REPLIES:
            self.state.replies.append(value)

    def _pump(self) -> None:
        """Fill the empty output buffer from the controller's answers, or send for a byte of keyboard or mouse."""
        s = self.state
        if s.full:
            return
        if s.replies:
            value = s.replies.pop(0)
            self._load(value & 0xFF, bool(value & FROM_AUX))
        elif s.armed is None and self._sender() is not None:
            s.armed = self.clock.now() + BYTE_NS
            self._timer.arm(s.armed)

    def _sender(self) -> Keyboard | Mouse | None:
        s = self.state
        if s.keyboard.waiting and not s.ram[0] & OFF_KBD:
            return s.keyboard
        if s.mouse.waiting and not s.ram[0] & OFF_AUX:
            return s.mouse
        return None

    def _arrive(self) -> None:
        """A byte of keyboard or mouse has come over its wire."""
        s = self.state
        s.armed = None
        while not s.full:
            sender = self._sender()
            if sender is None:
                return
            value = sender.take()
            if sender is s.mouse:
                self._load(value, True)
            elif not s.ram[0] & TRANSLATE:
                self._load(value, False)
            elif value == 0xF0:
                s.breaking = True
            else:
                self._load(keymap.TO_SET1.get(value, value) | s.breaking << 7, False)
                s.breaking = False

    def _load(self, value: int, aux: bool) -> None:
        self.state.data = value
        self.state.full = True
        self.state.aux = aux
        self._lines()

    def _lines(self) -> None:
        s = self.state
        self.irq_kbd.set(s.full and not s.aux and bool(s.ram[0] & INT_KBD))
        self.irq_aux.set(s.full and s.aux and bool(s.ram[0] & INT_AUX))
