"""A host end that is shown as text by `-display curses`: the monitor and the serial port have one each.

It understands what our monitor and plain programs send: CR, LF, backspace, tab, cursor left and right, erase to the end
of the line. Other escape sequences are left out.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from emu.chardev import Host

if TYPE_CHECKING:
    from emu.options import Chardev

LINES = 1000
WIDEST = 500
_SEQUENCE = re.compile(r"\x1b\[([0-9;?]{0,16})([@-~])|\x1b[^\[]|\x1b\[?[0-9;?]{0,16}$")
_UNFINISHED = re.compile(r"\x1b(\[[0-9;?]{0,16})?$")


class TextConsole(Host):
    """Lines of text, the last one with the cursor."""

    def __init__(self, spec: Chardev, label: str) -> None:
        super().__init__(spec, label)
        self.lines = [""]
        self.column = 0
        self.changes = 0
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def live(self) -> bool:
        """See `Host`: the person at the terminal."""
        return True

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """See `Host`."""
        text = self._rest + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        self._rest = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self._rest)]
        at = 0
        for match in _SEQUENCE.finditer(text):
            self._show(text[at : match.start()])
            self._control(match[1] or "", match[2] or "")
            at = match.end()
        self._show(text[at:])
        self.changes += 1

    def typed(self, text: str) -> None:
        """Keys of the person, for the front."""
        if self.front is not None:
            self.front.receive(text.encode("utf-8", "replace"))

    def _show(self, text: str) -> None:
        for char in text:
            if char == "\n":
                self.lines.append("")
                del self.lines[:-LINES]
                self.column = 0
            elif char == "\r":
                self.column = 0
            elif char == "\b":
                self.column = max(0, self.column - 1)
            elif char == "\t":
                self.column = min(WIDEST, (self.column | 7) + 1)
            elif char.isprintable() and self.column < WIDEST:
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[: self.column] + char + line[self.column + 1 :]
                self.column += 1

    def _control(self, numbers: str, letter: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        if letter == "K" and numbers in ("", "0"):
            self.lines[-1] = self.lines[-1][: self.column]
        elif letter == "D":
            self.column = max(0, self.column - count)
        elif letter == "C":
            self.column = min(WIDEST, self.column + count)
        elif letter == "J" and numbers == "2":
            self.lines = [""]
            self.column = 0
