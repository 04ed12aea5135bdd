"""Fakes for device tests: a line that remembers, and a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest


class FakeLine:
    """Remembers its level, every change of it, and counts the rising edges."""

    def __init__(self) -> None:
        self.level = False
        self.changes: list[bool] = []

    def set(self, level: bool) -> None:
        if level != self.level:
            self.level = level
            self.changes.append(level)

    @property
    def edges(self) -> int:
        return sum(self.changes)


class FakeTimer:
    def __init__(self, clock: FakeClock, name: str, callback: Callable[[], None]) -> None:
        self.clock = clock
        self.name = name
        self.callback = callback
        self.deadline: int | None = None
        self.eager = False

    def arm(self, deadline: int) -> None:
        self.deadline = deadline

    def cancel(self) -> None:
        self.deadline = None


class FakeClock:
    """A manual clock: `advance` moves it, firing due timers in the order of their deadlines at their deadlines."""

    def __init__(self) -> None:
        self.time = 0
        self.timers: list[FakeTimer] = []
        self.fired = 0

    def now(self) -> int:
        return self.time

    def timer(self, name: str, callback: Callable[[], None]) -> FakeTimer:
        made = FakeTimer(self, name, callback)
        self.timers.append(made)
        return made

    def advance(self, ns: int) -> None:
        end = self.time + ns
        while True:
            due = [t for t in self.timers if t.deadline is not None and t.deadline <= end]
            if not due:
                break
            first = min(due, key=lambda t: t.deadline or 0)
            self.time = max(self.time, first.deadline or 0)
            first.deadline = None
            self.fired += 1
            first.callback()
        self.time = end


class FakeConsole:
    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data


class FakeMemory:
    """64 KiB of guest RAM at 0."""

    def __init__(self) -> None:
        self.ram = bytearray(0x10000)

    def read(self, addr: int, length: int) -> bytes:
        return bytes(self.ram[a] if a < len(self.ram) else 0xFF for a in range(addr, addr + length))

    def write(self, addr: int, data: bytes) -> None:
        for at, byte in enumerate(data, addr):
            if at < len(self.ram):
                self.ram[at] = byte


@pytest.fixture
def line() -> FakeLine:
    return FakeLine()


@pytest.fixture
def lines() -> Callable[[], FakeLine]:
    """A maker of lines, for devices with several."""
    return FakeLine


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def console() -> FakeConsole:
    return FakeConsole()


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()
