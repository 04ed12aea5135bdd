"""QEMU's protocol for device tests (`-qtest`), by which a program is the processor: ports, memory, time, interrupts.

Lines of words in, a line `OK ...`, `FAIL ...` or `ERR ...` out; `IRQ raise N` and `IRQ lower N` come in between for the
inputs that were asked for. With `-accel qtest` the processor never runs and time stands still but for `clock_step` and
`clock_set`. Numbers are as in C. QEMU manual, "QTest Device Emulation Testing Framework".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from devices.ioapic import IoApic
from emu.clock import wall
from emu.monitor.registry import Refused
from emu.options import CORES

if TYPE_CHECKING:
    from emu.chardev import Host
    from emu.monitor.control import Control

LONGEST = 1 << 20
"""Bytes of a line."""
MOST = 1 << 20
"""Bytes of one read or memset; a longer one is done in pieces by who asks."""
LATEST = 1 << 62
BACKLOG = 1 << 16
TURN = 0.02
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,32}|0[0-7]{0,30}|[1-9][0-9]{0,30}")
_WIDTHS = {"b": 1, "w": 2, "l": 4, "q": 8}


class Qtest:
    """A server on a host end (`emu.chardev.Front`)."""

    def __init__(self, control: Control, host: Host) -> None:
        self.control = control
        self.host = host
        self._buffer = bytearray()
        self._lines: deque[str] = deque()
        self._levels: dict[tuple[str, int], bool] = {}
        self._order = "big" if CORES[control.config.machine].arch == "ppc" else "little"
        self._watched: set[str] = set()

    # -- Front

    def room(self) -> int:
        """See `Front`."""
        return 0 if self._lines or self.host.backlog > BACKLOG else 1 << 16

    def receive(self, data: bytes) -> None:
        """See `Front`."""
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        self._lines.extend(line.decode("latin-1") for line in lines)
        if len(self._buffer) > LONGEST:
            self._buffer.clear()
            self._send("ERR the line is too long")
            self.host.hang_up()
        self.poll()

    def opened(self) -> None:
        """See `Front`."""
        self._buffer.clear()
        self._lines.clear()

    def closed(self) -> None:
        """See `Front`."""

    def focus(self, here: bool) -> None:
        """See `Front`."""

    @property
    def busy(self) -> bool:
        """Whether there is something to do at once."""
        return bool(self._lines) and self.host.backlog <= BACKLOG and self.control.machine.ending is None

    def poll(self) -> None:
        """Carry out the lines that wait."""
        end = wall() + TURN
        while self.busy:
            words = self._lines.popleft().split()
            if words:
                self._send(self._answer(words))
            if wall() >= end:
                break

    def _send(self, line: str) -> None:
        self.host.send(line.encode("latin-1", "replace") + b"\n", whole=True)

    # -- commands

    def _answer(self, words: list[str]) -> str:
        name, *rest = words
        command = self._commands().get(name)
        if command is None:
            return f"FAIL Unknown command '{name[:100]}'"
        wanted, run = command
        if len(rest) not in wanted:
            return f"ERR {name} takes {' or '.join(map(str, wanted))} words"
        try:
            result = run(*rest)
        except Refused as error:
            return f"ERR {error}"
        return "OK" if result is None else f"OK {result}"

    def _commands(self) -> dict[str, tuple[tuple[int, ...], Callable[..., Any]]]:
        table: dict[str, tuple[tuple[int, ...], Callable[..., Any]]] = {
            "clock_step": ((0, 1), self._clock_step),
            "clock_set": ((1,), lambda text: self._clock(_number(text))),
            "read": ((2,), lambda at, n: "0x" + self._read(at, n).hex()),
            "write": ((3,), lambda at, n, data: self._write(at, n, _digits(data))),
            "b64read": ((2,), lambda at, n: base64.b64encode(self._read(at, n)).decode()),
            "b64write": ((3,), lambda at, n, data: self._write(at, n, _base64(data))),
            "memset": ((3,), self._memset),
            "endianness": ((0,), lambda: self._order),
            "irq_intercept_in": ((1,), self._intercept),
            "irq_intercept_out": ((1,), self._intercept_out),
            "set_irq_in": ((4,), self._set_irq),
        }
        for letter, width in _WIDTHS.items():
            if width < 8:
                table[f"in{letter}"] = ((1,), lambda at, w=width: f"0x{self._port(at, w):04x}")
                table[f"out{letter}"] = ((2,), lambda at, value, w=width: self._port(at, w, value))
            table[f"read{letter}"] = ((1,), lambda at, w=width: f"0x{self._memory(at, w):016x}")
            table[f"write{letter}"] = ((2,), lambda at, value, w=width: self._memory(at, w, value))
        return table

    def _port(self, at: str, width: int, value: str | None = None) -> Any:
        port = _number(at) & 0xFFFF
        if value is None:
            return self.control.actions.do("port_read", port, width)
        return self.control.actions.do("port_write", port, width, _number(value) & (1 << 8 * width) - 1)

    def _memory(self, at: str, width: int, value: str | None = None) -> Any:
        if value is None:
            data = self._read_at(_number(at), width)
            return int.from_bytes(data, self._order)  # type: ignore[arg-type]
        number = _number(value) & (1 << 8 * width) - 1
        return self._write_at(_number(at), number.to_bytes(width, self._order))  # type: ignore[arg-type]

    def _read(self, at: str, size: str) -> bytes:
        length = _number(size)
        if not 0 < length <= MOST:
            raise Refused(f"expected 1 to {MOST} bytes")
        return self._read_at(_number(at), length)

    def _read_at(self, at: int, length: int) -> bytes:
        return bytes.fromhex(self.control.actions.do("memory_read", at, length))

    def _write(self, at: str, size: str, data: bytes) -> None:
        length = _number(size)
        if length > MOST:
            raise Refused(f"expected at most {MOST} bytes")
        self._write_at(_number(at), data[:length].ljust(length, b"\0"))

    def _write_at(self, at: int, data: bytes) -> None:
        self.control.actions.do("memory_write", at, data.hex())

    def _memset(self, at: str, size: str, value: str) -> None:
        self._write(at, size, bytes((_number(value) & 0xFF,)) * min(_number(size), MOST))

    # -- time

    def _clock_step(self, text: str = "") -> int:
        clock = self.control.machine.clock
        if text:
            return self._clock(clock.now() + _number(text))
        deadline = clock.next_deadline()
        return self._clock(clock.now() if deadline is None else deadline)

    def _clock(self, to: int) -> int:
        if to > LATEST:
            raise Refused("that is beyond the end of time")
        now: int = self.control.actions.do("clock", to)
        return now

    # -- interrupts

    def _device(self, path: str) -> tuple[str, Any]:
        """A device by the end of QEMU's path for it, or our name."""
        name = path.rstrip("/").rpartition("/")[2]
        names = {"ioapic0": "ioapic", "i8259": "pic", "isa-i8259": "pic", "pic[0]": "pic"}
        key = names.get(name, name)
        device = self.control.machine.devices.get(key)
        if device is None:
            raise Refused(f"Unknown device {path[:100]}")
        return key, device

    def _intercept(self, path: str) -> None:
        key, device = self._device(path)
        drive = getattr(device, "drive", None)
        if drive is None:
            raise Refused(f"{path[:100]} has no interrupt inputs")
        if key in self._watched:
            return
        self._watched.add(key)
        turned = isinstance(device, IoApic)

        def watched(pin: int, level: bool) -> None:
            # QEMU's interrupt 0 is pin 2 of the I/O APIC, and known by the former number here.
            self._pin(key, 0 if turned and pin == 2 else pin, bool(level))
            drive(pin, level)

        device.drive = watched

    def _intercept_out(self, path: str) -> None:
        key, device = self._device(path)
        line = getattr(device, "irq", None) or getattr(device, "intr", None) or getattr(device, "sci", None)
        if line is None:
            raise Refused(f"{path[:100]} has no interrupt output")
        if f"{key} out" in self._watched:
            return
        self._watched.add(f"{key} out")
        drive = line.set

        def watched(level: bool) -> None:
            self._pin(f"{key} out", 0, bool(level))
            drive(level)

        line.set = watched

    def _pin(self, key: str, pin: int, level: bool) -> None:
        if self._levels.get((key, pin), False) != level:
            self._levels[key, pin] = level
            self._send(f"IRQ {'raise' if level else 'lower'} {pin}")

    def _set_irq(self, path: str, name: str, number: str, level: str) -> None:
        key, device = self._device(path)
        if not hasattr(device, "drive"):
            raise Refused(f"{path[:100]} has no interrupt inputs")
        self.control.actions.do("interrupt", key, _number(number), bool(_number(level)))


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise Refused(f"expected a number, found '{text[:40]}'")
    base = 16 if text[:2] in ("0x", "0X") else 8 if text[0] == "0" else 10
    return int(text, base) & (1 << 64) - 1


def _digits(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise Refused("expected hexadecimal digits") from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("expected base64") from None
