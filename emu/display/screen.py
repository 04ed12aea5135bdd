"""A machine's screen, keyboard and mouse, for whoever shows it: pictures, and input that goes through the gate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from devices.keymap import key_break, key_make
from devices.vga import Vga
from emu.display.render import frame
from emu.monitor.registry import Refused

if TYPE_CHECKING:
    from emu.display.render import Pixels
    from emu.machine import Machine
    from emu.monitor.actions import Actions

EMPTY = (480, 640)


class Screen:
    """What a display has of a machine. Input that cannot be taken now, or in a replay, is dropped."""

    def __init__(self, machine: Machine, actions: Actions) -> None:
        self.machine = machine
        self._actions = actions
        vga = machine.devices.get("vga")
        self.vga = vga if isinstance(vga, Vga) else None

    @property
    def moment(self) -> tuple[int, int]:
        """Changes whenever the picture may have changed."""
        return self.machine.retired, self.machine.resets

    def picture(self) -> Pixels:
        """What is shown now."""
        return frame(self.vga) if self.vga is not None else np.zeros(EMPTY, dtype=np.uint32)

    @property
    def leds(self) -> int:
        """Scroll (1), num (2) and caps lock (4)."""
        keyboard = self.machine.devices.get("kbd")
        return int(getattr(getattr(getattr(keyboard, "state", None), "keyboard", None), "leds", 0))

    def keys(self, names: Sequence[str], down: bool) -> None:
        """Press keys, or let them go."""
        codes = [(key_make if down else key_break)(name).hex() for name in names]
        self._do("keys", [(code, 0) for code in codes if code])

    def move(self, dx: int, dy: int, dz: int = 0) -> None:
        """Move the mouse right, down, and turn its wheel up."""
        self._do("mouse_move", dx, dy, dz)

    def buttons(self, held: int) -> None:
        """Which buttons are held: 1 left, 2 right, 4 middle."""
        self._do("mouse_buttons", held)

    def _do(self, name: str, *args: object) -> None:
        with suppress(Refused):
            self._actions.do(name, *args)
