"""The terminal of the person at the keyboard: raw input, the Ctrl-A keys, and stdout for the guest.

Standard input is put into raw mode only if it is a terminal, and put back on every way out that Python survives.
Keys follow QEMU's serial multiplexer ("Keys in the character backend multiplexer" in its manual).
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import stat
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

DEFAULT_ESCAPE = 0x01

KEYS = """\
{0} h    print this help
{0} x    exit emulator
{0} s    save disk data back to file
{0} t    toggle console timestamps
{0} b    send break (magic sysrq)
{0} c    switch between console and monitor
{0} {0}  sends {0}
"""


class OutputClosed(Exception):
    """Nobody reads our standard output any more."""


def key_name(code: int) -> str:
    """How an escape character is written: 1 is C-a."""
    return f"C-{chr(code + 0x60)}" if 0 < code < 27 else repr(chr(code))


def write_all(fd: int, data: bytes) -> None:
    """Write every byte to a descriptor, non-blocking ones included. Raises OutputClosed when the reader is gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [], 1.0)
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            if error.errno == errno.EIO:
                raise OutputClosed from None
            raise


class Escapes:
    """Finds the escape keys in what is typed. `help` receives their list."""

    def __init__(self, escape: int = DEFAULT_ESCAPE, help: Callable[[str], None] = lambda text: None) -> None:
        self.escape = escape
        self.actions: dict[str, Callable[[], None]] = {}
        """What the keys x, s, t, b, c do; a key without an action is swallowed."""
        self._help = help
        self._escaped = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What is left of typed bytes; keys are acted upon between two pieces."""
        out = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == self.escape:
                    out.append(byte)
                    continue
                if out:
                    yield bytes(out)
                    out.clear()
                self._key(chr(byte))
            elif byte == self.escape:
                self._escaped = True
            else:
                out.append(byte)
        if out:
            yield bytes(out)

    def _key(self, key: str) -> None:
        if key in "h?":
            self._help(KEYS.format(key_name(self.escape)))
        action = self.actions.get(key)
        if action is not None:
            action()


class Terminal:
    """Standard input and output. `mux` turns the escape keys on; `signals` leaves Ctrl-C to the emulator."""

    def __init__(self, *, mux: bool, signals: bool, escape: int = DEFAULT_ESCAPE, stdin: int = 0, stdout: int = 1):
        self.mux = mux
        self.signals = signals
        self.escapes = Escapes(escape, self.message)
        self.stdin = stdin
        self.stdout = stdout
        self.timestamps: Callable[[], str] | None = None
        """When set, called at the start of each line of output."""
        self.eof = not _readable(stdin)
        self.is_tty = not self.eof and os.isatty(stdin)
        self.live = self.is_tty or (not self.eof and _may_grow(stdin))
        """True if somebody may still type: a terminal, pipe or socket that has not ended."""
        self.alarm: int | None = None
        """A descriptor that also ends `wait`: signals write to it."""
        self.others: Callable[[], tuple[list[int], list[int]]] = lambda: ([], [])
        """Descriptors of others to wait for: to read and to write."""
        self.full: Callable[[], bool] = lambda: False
        """Whether input is to be left where it is for now."""
        self._saved: list[Any] | None = None
        self._line_start = True

    @property
    def actions(self) -> dict[str, Callable[[], None]]:
        """What the escape keys do; see `Escapes`."""
        return self.escapes.actions

    @actions.setter
    def actions(self, actions: dict[str, Callable[[], None]]) -> None:
        self.escapes.actions = actions

    def open(self) -> None:
        """Enter raw mode if standard input is a terminal. `close` (also called at exit) undoes it."""
        if not self.is_tty or self._saved is not None:
            return
        try:
            saved = termios.tcgetattr(self.stdin)
        except termios.error:
            return
        self._saved = saved
        atexit.register(self.close)
        self._raw()

    def _raw(self) -> None:
        mode = termios.tcgetattr(self.stdin)
        mode[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        mode[1] |= termios.OPOST
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
        if not self.signals:
            mode[3] &= ~termios.ISIG
        mode[6][termios.VMIN] = 1
        mode[6][termios.VTIME] = 0
        termios.tcsetattr(self.stdin, termios.TCSANOW, mode)

    def close(self) -> None:
        """Put the terminal back as it was found. Harmless when it was never changed."""
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self.stdin, termios.TCSADRAIN, saved)
            except termios.error:
                pass  # the terminal has gone away
            atexit.unregister(self.close)

    def resume(self) -> None:
        """Back to raw mode after the shell had the terminal (SIGCONT)."""
        if self._saved is not None:
            try:
                self._raw()
            except termios.error:
                pass

    # -- input

    def wait(self, seconds: float | None) -> bool:
        """Sleep until there is input, here or for `others`, at most `seconds` (None: for ever). True for either."""
        watched = [] if self.alarm is None else [self.alarm]
        readers, writers = self.others()
        stdin = [] if self.eof or self.full() else [self.stdin]
        try:
            ready = select.select([*stdin, *watched, *readers], writers, [], seconds)
        except (OSError, ValueError):
            self._ended()
            return False
        return bool(set(ready[0]) - set(watched) or ready[1])

    def _ready(self) -> bool:
        try:
            return bool(select.select([self.stdin], [], [], 0)[0])
        except (OSError, ValueError):
            self._ended()
            return False

    def read(self) -> bytes:
        """What the guest is to receive of the input that is there, without blocking; escape keys are acted upon."""
        return self.filter(self.typed())

    def typed(self) -> bytes:
        """The input that is there, escape keys and all; never blocks."""
        if self.eof or not self._ready():
            return b""
        try:
            data = os.read(self.stdin, 4096)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self._ended()
        return data

    def _ended(self) -> None:
        self.eof = True
        self.live = False

    def filter(self, data: bytes) -> bytes:
        """Take the escape keys out of typed bytes and act on them."""
        return b"".join(self.escapes.pieces(data)) if self.mux else data

    # -- output

    def send(self, data: bytes) -> None:
        """Guest output, at once (`devices.contracts.Console`). Raises OutputClosed."""
        if self.timestamps is not None:
            stamped = bytearray()
            for line in data.splitlines(keepends=True):
                if self._line_start:
                    stamped += self.timestamps().encode()
                stamped += line
                self._line_start = line.endswith(b"\n")
            data = bytes(stamped)
        write_all(self.stdout, data)

    def message(self, text: str) -> None:
        """A line of ours, on standard error, with the line ends a raw terminal needs."""
        if self._saved is not None:
            text = text.replace("\n", "\r\n")
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass


def _readable(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _may_grow(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
