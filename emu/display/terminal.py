"""-display curses: the text screen on the terminal, with its colours, its characters and all keys.

Alt-1 shows the guest's screen, Alt-2 the monitor, Alt-3 and on the serial ports that have no other end. Where the
terminal is too small, the part with the cursor is shown. Alt with a key is Escape with that key, as terminals send it.
"""

from __future__ import annotations

import curses
import os
import sys
from typing import TYPE_CHECKING, Any

from devices.vga import CP437
from emu.clock import wall
from emu.display.keysyms import key_of
from emu.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emu.display.screen import Screen
    from emu.display.textconsole import TextConsole

PERIOD = 1 / 30
ESCAPE_MS = 25
PAIRS = 256
TO_ANSI = (0, 4, 2, 6, 1, 5, 3, 7)
KEYS = {
    "KEY_UP": "up", "KEY_DOWN": "down", "KEY_LEFT": "left", "KEY_RIGHT": "right", "KEY_HOME": "home", "KEY_END": "end",
    "KEY_PPAGE": "pgup", "KEY_NPAGE": "pgdn", "KEY_IC": "insert", "KEY_DC": "delete", "KEY_BACKSPACE": "backspace",
    "KEY_ENTER": "kp_enter", "KEY_BTAB": "shift-tab", "KEY_SLEFT": "shift-left", "KEY_SRIGHT": "shift-right",
    "KEY_SHOME": "shift-home", "KEY_SEND": "shift-end", "KEY_SDC": "shift-delete", "KEY_A1": "kp_7", "KEY_A3": "kp_9",
    "KEY_B2": "kp_5", "KEY_C1": "kp_1", "KEY_C3": "kp_3",
    **{f"KEY_F({n})": f"f{n}" for n in range(1, 13)},
    **{f"KEY_F({n + 12})": f"shift-f{n}" for n in range(1, 13)},
    **{f"KEY_F({n + 24})": f"ctrl-f{n}" for n in range(1, 13)},
}  # fmt: skip
CONTROLS = {0x08: "backspace", 0x09: "tab", 0x0A: "ret", 0x0D: "ret", 0x1B: "esc", 0x7F: "backspace", 0x00: "ctrl-spc",
            0x1C: "ctrl-backslash", 0x1D: "ctrl-bracket_right", 0x1E: "ctrl-6", 0x1F: "ctrl-minus"}  # fmt: skip
SEQUENCES = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
             "delete": "\x1b[3~", "backspace": "\x7f", "kp_enter": "\r"}  # fmt: skip


def chord(char: str) -> list[str] | None:
    """The keys that type a character, pressed in this order; None for what a US keyboard lacks."""
    code = ord(char)
    if code in CONTROLS:
        return CONTROLS[code].split("-")
    if code <= 26:
        return ["ctrl", chr(code + 0x60)]
    found = key_of(code) if code < 0x80 else None
    if found is None:
        return None
    return ["shift", found[0]] if found[1] else [found[0]]


class Terminal:
    """The display (`emu.display.start.Display`)."""

    live = True

    def __init__(self, screen: Screen, consoles: Sequence[TextConsole]) -> None:
        self.screen = screen
        self.consoles = list(consoles)
        self.shown = 0
        """0 the guest, n the text console n - 1."""
        self._pairs: dict[tuple[int, int], int] = {}
        self._drawn: list[object] = []
        self._moment: object = None
        self._next = 0.0
        self._window: Any = None
        os.environ.setdefault("ESCDELAY", str(ESCAPE_MS))
        self._window = curses.initscr()
        curses.raw()
        curses.noecho()
        curses.nonl()
        self._window.keypad(True)
        self._window.nodelay(True)
        if curses.has_colors():
            curses.start_color()

    # -- `Display`

    def descriptors(self) -> tuple[list[int], list[int]]:
        """See `Display`."""
        return [0], []

    def timeout(self) -> float | None:
        """See `Display`."""
        return None if self._now() == self._moment else max(0.0, self._next - wall())

    def poll(self) -> None:
        """See `Display`."""
        self._read()
        now = wall()
        if now >= self._next and self._now() != self._moment:
            self._moment = self._now()
            self._draw()
            self._next = now + PERIOD

    def close(self) -> None:
        """See `Display`."""
        if self._window is not None:
            self._window = None
            curses.endwin()

    def _now(self) -> object:
        console = self._console
        return (self.shown, self.screen.moment if console is None else console.changes)

    @property
    def _console(self) -> TextConsole | None:
        return self.consoles[self.shown - 1] if self.shown else None

    # -- keys

    def _read(self) -> None:
        while (key := self._key()) is not None:
            if key == "\x1b":
                after = self._key()
                if after is None:
                    self._type(["esc"], "\x1b")
                elif isinstance(after, str) and after.isdigit():
                    self._show(int(after) - 1)
                else:
                    self._typed(after, alt=True)
            else:
                self._typed(key)

    def _key(self) -> str | int | None:
        """A character, or the number of a key that has none."""
        try:
            key: str | int = self._window.get_wch()
        except curses.error:
            return None
        return key

    def _typed(self, key: str | int, *, alt: bool = False) -> None:
        if isinstance(key, int):
            if key == curses.KEY_RESIZE:
                self._again()
                return
            name = KEYS.get(curses.keyname(key).decode("ascii", "replace"))
            if name is None:
                return
            keys: list[str] | None = name.split("-")
            text = SEQUENCES.get(name, "")
        else:
            keys, text = chord(key), key
        if keys is not None:
            self._type([*(["alt"] if alt else []), *keys], text)
        elif self._console is not None:
            self._console.typed(text)

    def _type(self, keys: list[str], text: str) -> None:
        console = self._console
        if console is None:
            self.screen.keys(keys, True)
            self.screen.keys(keys[::-1], False)
        else:
            console.typed(text)

    def _show(self, number: int) -> None:
        if 0 <= number <= len(self.consoles):
            self.shown = number
            self._again()

    def _again(self) -> None:
        """Draw everything."""
        curses.update_lines_cols()
        self._window.clear()
        self._drawn.clear()
        self._moment = None
        self._next = 0.0

    # -- drawing

    def _draw(self) -> None:
        height, width = self._window.getmaxyx()
        console = self._console
        if console is not None:
            rows: list[Any] = list(console.lines[-height:])
            cursor: tuple[int, int] | None = (console.column, len(rows) - 1)
        else:
            rows, cursor = self._guest(height)
        rows += [""] * (height - len(rows))
        left = max(0, cursor[0] - width + 1) if cursor is not None else 0
        for y, row in enumerate(rows[:height]):
            look = (row, left)
            if y < len(self._drawn) and self._drawn[y] == look:
                continue
            self._row(y, width, row, left)
        self._drawn = [(row, left) for row in rows[:height]]
        try:
            curses.curs_set(1 if cursor is not None else 0)
            if cursor is not None:
                self._window.move(max(0, min(cursor[1], height - 1)), max(0, min(cursor[0] - left, width - 1)))
        except curses.error:
            pass  # a terminal that cannot hide its cursor, or one that has just become smaller
        self._window.refresh()

    def _guest(self, height: int) -> tuple[list[Any], tuple[int, int] | None]:
        """Rows of (character code, attribute) bytes, or of text, from the one on that brings the cursor into sight."""
        vga = self.screen.vga
        if vga is None:
            return ["The machine has no screen; Alt-3 is its serial port."], None
        cells = vga.text_cells()
        if not cells:
            rows, columns = self.screen.picture().shape
            return [f"{columns} x {rows} Graphics mode"], None
        cursor = vga.cursor()
        first = 0
        if len(cells) > height:
            first = min(len(cells) - height, max(0, cursor[1] - height + 1)) if cursor is not None else 0
        return cells[first:], None if cursor is None else (cursor[0], cursor[1] - first)

    def _row(self, y: int, width: int, row: Any, left: int) -> None:
        try:
            self._window.move(y, 0)
            self._window.clrtoeol()
            if isinstance(row, str):
                self._window.addstr(y, 0, row[left : left + width])
                return
            codes, attributes = row[2 * left :: 2][:width], row[2 * left + 1 :: 2][:width]
            x = 0
            while x < len(codes):
                end = x
                while end < len(codes) and attributes[end] == attributes[x]:
                    end += 1
                text = "".join(CP437[code] for code in codes[x:end])
                self._window.addstr(y, x, text, self._look(attributes[x]))
                x = end
        except curses.error:
            pass  # the last place of the last row cannot be written without going on

    def _look(self, attribute: int) -> int:
        """What curses calls a VGA attribute."""
        blinks = self.screen.vga is not None and bool(self.screen.vga.state.atc[0x10] & 8)
        fore, back = attribute & 15, attribute >> 4 & (7 if blinks else 15)
        look = 0
        if blinks and attribute & 0x80:
            look |= curses.A_BLINK
        if not curses.has_colors():
            return look | (curses.A_REVERSE if back else 0) | (curses.A_BOLD if fore & 8 else 0)
        many = curses.COLORS >= 16
        if fore & 8 and not many:
            look |= curses.A_BOLD
        pair = TO_ANSI[fore & 7] | (fore & 8 if many else 0), TO_ANSI[back & 7] | (back & 8 if many else 0)
        number = self._pairs.get(pair)
        if number is None:
            if len(self._pairs) + 1 >= min(PAIRS, curses.COLOR_PAIRS):
                return look
            number = self._pairs[pair] = len(self._pairs) + 1
            curses.init_pair(number, *pair)
        return look | curses.color_pair(number)


def open_terminal(screen: Screen, consoles: Sequence[TextConsole]) -> Terminal:
    """Take the terminal. Raises UsageError where there is none."""
    if not (os.isatty(0) and os.isatty(1)) or sys.__stdout__ is None:
        raise UsageError("-display curses: standard input and output must be a terminal")
    try:
        return Terminal(screen, consoles)
    except curses.error as error:
        raise UsageError(f"-display curses: {error} (TERM={os.environ.get('TERM', '')})") from None
