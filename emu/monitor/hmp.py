"""The monitor for people: a prompt, lines with editing, commands as text.

Whoever is at the other end sees what is typed, so a terminal in raw mode, a socket with socat and `telnet` all work.
Keys are those of GNU readline that fingers know: C-a C-e C-b C-f C-p C-n C-d C-h C-k C-u C-w, Tab, arrows, Home, End.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from emu.clock import wall
from emu.monitor.registry import HMP, INFO, unique
from emu.monitor.words import LONGEST
from emu.options import VERSION

if TYPE_CHECKING:
    from emu.chardev import Host
    from emu.monitor.control import Control

PROMPT = "(qemu) "
"""As QEMU's: scripts wait for it."""
HISTORY = 200
LINES = 256
"""Lines that may wait while the client reads slowly."""
BACKLOG = 1 << 16
TURN = 0.02
"""Seconds of commands in one go, so that the guest and others have their turn."""
ESCAPED = {"A": "\x10", "B": "\x0e", "C": "\x06", "D": "\x02", "H": "\x01", "F": "\x05"}
NUMBERED = {"1": "\x01", "7": "\x01", "4": "\x05", "8": "\x05", "3": "\x04"}


class Hmp:
    """A monitor on a host end (`emu.chardev.Front`)."""

    def __init__(self, control: Control, host: Host, *, shared: bool = False) -> None:
        """`shared`: behind a `Mux`; it says nothing before it has the keyboard."""
        self.control = control
        self.host = host
        self._shared = shared
        self._line: list[str] = []
        self._at = 0
        self._history: list[str] = []
        self._place = 0
        self._lines: deque[str] = deque()
        self._escape = ""
        self._last = ""
        self._greeted = False
        control.on_text.append(self._tell)

    # -- Front

    def room(self) -> int:
        """See `Front`."""
        return 0 if len(self._lines) >= LINES or self.host.backlog > BACKLOG else 4096

    def receive(self, data: bytes) -> None:
        """See `Front`."""
        for char in data.decode("utf-8", "replace"):
            self._key(char)
        self.poll()

    def opened(self) -> None:
        """See `Front`."""
        if not self._shared:
            self._greet()

    def closed(self) -> None:
        """See `Front`."""
        self._line.clear()
        self._lines.clear()
        self._at = 0
        self._greeted = False

    def focus(self, here: bool) -> None:
        """See `Front`."""
        if not here:
            return
        if self._greeted:
            self._print("\r\n")
            self._redraw()
        else:
            self._greet()

    def _greet(self) -> None:
        self._greeted = True
        self._print(f"Emu {VERSION} monitor - type 'help' for more information\r\n{PROMPT}")

    # -- commands

    def poll(self) -> None:
        """Carry out lines that wait, as long as their output is read."""
        end = wall() + TURN
        while self.busy:
            line = self._lines.popleft()
            text = self._answer(line)
            self._print(text.replace("\n", "\r\n"))
            if self.control.machine.ending is None and not self._lines:
                self._print(PROMPT + "".join(self._line))
            if wall() >= end:
                break

    @property
    def busy(self) -> bool:
        """Whether there is something to do at once."""
        return bool(self._lines) and self.host.backlog <= BACKLOG and self.control.machine.ending is None

    def _tell(self, text: str) -> None:
        """Something happened: it is shown above the line that is being typed."""
        if self._greeted and self.host.backlog <= BACKLOG:
            self._print("\r\x1b[K" + text.replace("\n", "\r\n"))
            self._redraw()

    def _answer(self, line: str) -> str:
        if re.fullmatch(r"info\s+history", line.strip()):
            return "".join(f"{n}: '{past}'\n" for n, past in enumerate(self._history))
        return self.control.run_line(line)

    def _print(self, text: str) -> None:
        self.host.send(text.encode("utf-8", "replace"), whole=True)

    # -- editing

    def _key(self, char: str) -> None:
        if self._escape:
            char = self._escaped(char)
            if not char:
                return
        elif char == "\x1b":
            self._escape = char
            return
        before, self._last = self._last, char
        if char == "\n" and before == "\r":
            return
        if char in "\r\n":
            self._enter()
        elif char.isprintable():
            self._insert(char)
        else:
            self._control(char)

    def _escaped(self, char: str) -> str:
        """The key that an escape sequence stands for; "" while it goes on, or if it is none that is known."""
        self._escape += char
        if self._escape == "\x1b[" or self._escape == "\x1bO" or (char.isdigit() and len(self._escape) < 8):
            return ""
        body, self._escape = self._escape[2:], ""
        if body.endswith("~"):
            return NUMBERED.get(body[:-1], "")
        return ESCAPED.get(body, "")

    def _insert(self, char: str) -> None:
        if len(self._line) >= LONGEST:
            return
        self._line.insert(self._at, char)
        self._at += 1
        if self._at == len(self._line):
            self._print(char)
        else:
            self._redraw()

    def _enter(self) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._at = 0
        self._print("\r\n")
        if line.strip() and (not self._history or self._history[-1] != line):
            self._history.append(line)
            del self._history[:-HISTORY]
        self._place = len(self._history)
        self._lines.append(line)
        self.poll()

    def _control(self, char: str) -> None:
        line, at = self._line, self._at
        if char in "\x08\x7f" and at:
            del line[at - 1]
            self._at -= 1
        elif char == "\x01":
            self._at = 0
        elif char == "\x05":
            self._at = len(line)
        elif char == "\x02":
            self._at = max(0, at - 1)
        elif char == "\x06":
            self._at = min(len(line), at + 1)
        elif char == "\x04" and at < len(line):
            del line[at]
        elif char == "\x0b":
            del line[at:]
        elif char == "\x15":
            del line[:at]
            self._at = 0
        elif char == "\x17":
            start = len("".join(line[:at]).rstrip().rpartition(" ")[0])
            start += bool(start)
            del line[start:at]
            self._at = start
        elif char == "\x10":
            self._recall(-1)
        elif char == "\x0e":
            self._recall(1)
        elif char == "\t":
            self._complete()
            return
        elif char == "\x03":
            line.clear()
            self._at = 0
        self._redraw()

    def _recall(self, way: int) -> None:
        self._place = max(0, min(len(self._history), self._place + way))
        line = self._history[self._place] if self._place < len(self._history) else ""
        self._line[:] = line
        self._at = len(self._line)

    def _complete(self) -> None:
        """The rest of a command's name, or the names that fit."""
        words = "".join(self._line[: self._at]).split(" ")
        if len(words) == 1 or (len(words) == 2 and words[0] in ("help", "?", "info")):
            table = INFO if words[0] == "info" and len(words) == 2 else HMP
            names = sorted(name for command in unique(table) for name in command.names if name.startswith(words[-1]))
            if len(names) == 1:
                for char in names[0][len(words[-1]) :] + " ":
                    self._insert(char)
            elif names:
                self._print("\r\n" + " ".join(names) + "\r\n")
                self._redraw()

    def _redraw(self) -> None:
        text = "".join(self._line)
        back = len(self._line) - self._at
        self._print(f"\r{PROMPT}{text}\x1b[K" + (f"\x1b[{back}D" if back else ""))
