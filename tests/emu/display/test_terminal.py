"""-display curses on a pseudo terminal, and the text consoles behind Alt-2 and Alt-3."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from emu.display.terminal import KEYS, chord
from emu.display.textconsole import TextConsole
from emu.options import Chardev, UsageError, parse

# Echoes keys in yellow on blue through the BIOS: mov ah,0; int 16h; mov ah,9; mov bx,1eh; mov cx,1; int 10h;
# mov ah,0eh; int 10h; jmp
ECHO = bytes.fromhex("fb b400 cd16 b409 bb1e00 b90100 cd10 b40e cd10 ebec")


def console() -> TextConsole:
    return TextConsole(Chardev("vc"), "compat_monitor0")


def test_characters_are_typed_with_the_keys_of_a_us_keyboard() -> None:
    assert chord("a") == ["a"] and chord("A") == ["shift", "a"] and chord("?") == ["shift", "slash"]
    assert chord("\r") == ["ret"] and chord("\x03") == ["ctrl", "c"] and chord("\x1b") == ["esc"]
    assert chord("\x7f") == ["backspace"] and chord("\u20ac") is None


def test_every_key_that_curses_names_is_one() -> None:
    from devices.keymap import key_make

    for keys in KEYS.values():
        for key in keys.split("-"):
            assert key_make(key)


def test_a_text_console_keeps_lines_and_follows_the_cursor() -> None:
    made = console()
    made.send(b"one\r\ntwo\b\bWO\r\n\tx")
    assert made.lines == ["one", "tWO", "        x"]
    made.send(b"\r\x1b[Kabc\x1b[2D")
    assert made.lines[-1] == "abc" and made.column == 1
    made.send(b"X\x1b[")
    made.send(b"31mY\xc3")
    made.send(b"\xa9")
    assert made.lines[-1] == "aXY\u00e9"


def test_a_text_console_is_bounded() -> None:
    made = console()
    made.send(b"x" * 10000 + b"\n" * 5000 + b"\x1b[99999999999999999999C")
    assert len(made.lines) <= 1000 and max(map(len, made.lines)) <= 500


def test_the_terminal_has_one_user() -> None:
    with pytest.raises(UsageError, match="curses"):
        parse(["-display", "curses", "-serial", "stdio"])
    with pytest.raises(UsageError, match="no windows"):
        parse(["-display", "sdl"])
    with pytest.raises(UsageError, match="did you mean curses"):
        parse(["-display", "cursed"])


def test_without_a_terminal_there_is_one_line() -> None:
    line = [sys.executable, "-m", "emu", "run", "-display", "curses", "-m", "2"]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "emu: -display curses: standard input and output must be a terminal\n"


class Person:
    """Somebody at an 80 x 25 terminal."""

    def __init__(self, *words: str) -> None:
        self.fd, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
        line = [sys.executable, "-m", "emu", "run", "-display", "curses", "--timeout", "60", *words]
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            line, stdin=end, stdout=end, stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        os.close(end)
        self.seen = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until the terminal has got this since the last time."""
        for _ in range(300):
            if found := re.search(pattern, self.seen):
                self.seen = self.seen[found.end() :]
                return found
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        raise AssertionError(f"no {pattern!r} in {self.seen!r}")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())


@pytest.mark.guest
def test_a_person_types_looks_at_the_monitor_and_quits(tmp_path: Path) -> None:
    image = tmp_path / "echo.img"
    image.write_bytes(ECHO.ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 2879))
    person = Person("-fda", str(image), "-m", "2")
    try:
        person.until("Booting from")
        person.type("hQ")
        person.until(r"38;5;11m.*48;5;4m.*h|93m.*44m.*h")
        person.until("Q")
        person.type("\x1b2")
        person.until(r"\(qemu\)")
        person.type("info status\r")
        person.until("VM status: running")
        person.type("\x1b3\x1b1")
        person.until("h")
        person.type("\x1b2quit\r")
        assert person.process.wait(timeout=30) == 0
    finally:
        person.process.kill()
        os.close(person.fd)
