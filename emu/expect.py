"""`--expect` and `--send`: a conversation with the guest, in the order given.

Serial output is looked at byte by byte as the guest sends it, the text screen at fixed virtual intervals, so that a
scripted run is the same run every time. An expectation on the serial line matches in what came since the last match,
one on the screen anywhere in what is shown. Text is typed where the last expectation was seen; before any, on the
serial line if the guest has used it, else on the keyboard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.clock import Clock

KEPT = 1 << 20
SCREEN_INTERVAL = 20_000_000
"""Virtual ns between two looks at the screen."""


class Script:
    """The steps of one run.

    `screen` gives the rows of the text screen (each full width; empty in graphics modes), `type_serial` and `type_keys`
    queue text, `typing` counts what is still queued, `finished` is called once after the last step.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, str]],
        clock: Clock,
        *,
        screen: Callable[[], Sequence[str]],
        type_serial: Callable[[bytes], None],
        type_keys: Callable[[str], None],
        typing: Callable[[], int],
        finished: Callable[[], None],
    ) -> None:
        self._steps = list(steps)
        self._clock = clock
        self._screen = screen
        self._type_serial = type_serial
        self._type_keys = type_keys
        self._typing = typing
        self._finished = finished
        self._next = 0
        self._fresh = bytearray()
        self._serial_used = False
        self._on_serial: bool | None = None
        self._done = not self._steps
        self._timer = clock.timer("expect", self._poll, background=True)

    def start(self) -> None:
        """Begin; called once before the guest runs."""
        if not self._done:
            self._advance()
            self._timer.arm(self._clock.now() + SCREEN_INTERVAL)

    @property
    def done(self) -> bool:
        """True after the last step."""
        return self._done

    @property
    def waiting_for(self) -> str | None:
        """The text of the expectation that has not been seen yet."""
        for kind, text in self._steps[self._next :]:
            if kind == "expect":
                return text
        return None

    def serial(self, data: bytes) -> None:
        """Bytes that the guest sent on its serial line."""
        self._serial_used = True
        if self._done:
            return
        self._fresh += data
        if len(self._fresh) > 2 * KEPT:
            del self._fresh[:-KEPT]
        self._advance()

    def look(self) -> None:
        """Look at the screen now: the guest has come to rest."""
        if not self._done:
            self._advance(look=True)

    def _poll(self) -> None:
        self._advance(look=True)
        if not self._done:
            self._timer.arm(self._clock.now() + SCREEN_INTERVAL)

    def _advance(self, look: bool = False) -> None:
        while self._next < len(self._steps):
            if self._typing():
                return
            kind, text = self._steps[self._next]
            if kind == "send":
                self._send(text)
            elif not self._seen(text, look):
                return
            self._next += 1
        if not self._typing():
            self._done = True
            self._timer.cancel()
            self._finished()

    def _send(self, text: str) -> None:
        serial = self._serial_used if self._on_serial is None else self._on_serial
        if serial:
            self._type_serial(_bytes(text))
        else:
            self._type_keys(text)

    def _seen(self, text: str, look: bool) -> bool:
        wanted = text.encode("utf-8", "surrogateescape")
        at = self._fresh.find(wanted)
        if at >= 0:
            del self._fresh[: at + len(wanted)]
            self._on_serial = True
            return True
        if look and self._on_screen(text):
            self._on_serial = False
            return True
        return False

    def _on_screen(self, text: str) -> bool:
        rows = self._screen()
        return text in "\n".join(rows) or text in "\n".join(row.rstrip() for row in rows)


def _bytes(text: str) -> bytes:
    """Characters up to U+00FF that came from \\xNN are bytes; anything else is UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def last_lines(rows: Sequence[str], serial: bytes, count: int = 20) -> list[str]:
    """What a person would have seen last: the text screen if anything is on it, else the end of the serial output."""
    lines = [row.rstrip() for row in rows]
    while lines and not lines[-1]:
        lines.pop()
    if not any(lines):
        text = serial.decode("utf-8", "replace").replace("\r", "")
        lines = ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text.split("\n")]
        while lines and not lines[-1]:
            lines.pop()
    return lines[-count:]
