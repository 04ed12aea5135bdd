"""Sectors that a disk lends to the compiled processor are read as from the disk, and so is the status meanwhile."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from devices.ata import AtaChannel, AtaDisk
from devices.backends import MemoryDisk
from emu.bus import Bus
from tests.cores.insn_machine import DATA, InsnMachine
from tests.devices.conftest import FakeClock, FakeLine

pytest.importorskip("emu.engine._x86")

DISK = random.Random(5).randbytes(400 * 512)
BASE, CONTROL = 0x1F0, 0x3F6


class Polling:
    """A processor that reads a disk without interrupts."""

    def __init__(self, lending: bool) -> None:
        self.m = InsnMachine()
        self.line, self.clock, self.bus = FakeLine(), FakeClock(), Bus()
        self.disk = MemoryDisk(DISK)
        self.channel = AtaChannel(
            intr=self.line,
            clock=self.clock,  # type: ignore[arg-type]
            drives=[AtaDisk(self.disk)],
        )
        data = self.bus.map_ports(BASE, 8, self.channel.read, self.channel.write, max_width=4)
        data.read_block, data.room = self.channel.read_data_block, self.channel.data_room
        self.bus.map_ports(CONTROL, 1, self.channel.read_control, self.channel.write_control)
        if lending:
            self.channel.lend_data = partial(self.m.cpu.lend_data, (BASE, CONTROL))
        self.m.cpu._boundary.connect(self.bus, self.bus)
        self.out(CONTROL, 2)

    def go(self, code: bytes, **regs: int) -> None:
        gpr = [0] * 17
        gpr[4] = 0x30000
        for name, value in regs.items():
            gpr[("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi").index(name)] = value
        at = self.m.place(code)
        self.m.cpu.load_state({"eip": at, "halted": 0, "gpr": gpr})
        self.m.cpu.set_reg("eflags", 2)
        self.m.cpu.run(100_000)

    def out(self, port: int, value: int) -> None:
        self.go(b"\xee", edx=port, eax=value)

    def inb(self, port: int) -> int:
        self.go(b"\xec", edx=port)
        return int(self.m.cpu.reg("al"))

    def words(self, count: int, width: int) -> bytes:
        """REP INSW or INSD."""
        self.go(b"\xf3\x6d" if width == 4 else b"\x66\xf3\x6d", edx=BASE, ecx=count, edi=DATA)
        return self.m.peek(DATA, count * width)

    def word(self) -> int:
        self.go(b"\x66\xed", edx=BASE)
        return int(self.m.cpu.reg("ax"))

    def read(self, lba: int, count: int, opcode: int = 0x20) -> None:
        self.out(BASE + 6, 0xE0)
        for register, value in ((2, count), (3, lba & 0xFF), (4, lba >> 8), (5, 0), (7, opcode)):
            self.out(BASE + register, value & 0xFF)
        self.clock.advance(5000)


def everything(p: Polling) -> dict[str, Any]:
    return {**p.channel.save(), "line": p.line.level}


@pytest.mark.parametrize("seed", range(6))
def test_random_reads_of_data_and_registers_are_the_same_with_and_without_a_loan(seed: int) -> None:
    rng = random.Random(seed)
    both = [Polling(False), Polling(True)]
    lent = 0
    for _ in range(12):
        opcode, lba, count = rng.choice((0x20, 0xC4)), rng.randrange(100), rng.choice((1, 2, 40, 0))
        steps = [rng.choice("dddddsssaawcir") for _ in range(rng.randrange(60))]
        sizes = [(rng.choice((128, 256, rng.randrange(2, 2000))), rng.choice((2, 4))) for _ in steps]
        seen: list[list[Any]] = []
        for p in both:
            p.out(CONTROL, 2)
            p.read(lba, count, opcode)
            said: list[Any] = []
            for step, (n, width) in zip(steps, sizes, strict=True):
                if step == "d":
                    said.append(p.words(n, width))
                elif step == "s":
                    said.append(p.inb(BASE + 7))
                elif step == "a":
                    said.append(p.inb(CONTROL))
                elif step == "w":
                    said.append(p.word())
                elif step == "c":
                    said.append([p.inb(BASE + k) for k in range(1, 7)])
                elif step == "i":
                    p.out(CONTROL, 0)
                    said.append(p.line.level)
                    p.out(CONTROL, 2)
                else:
                    p.channel.load(p.channel.save())
                lent += p.channel._take_back is not None
            said.append(everything(p))
            seen.append(said)
        assert seen[0] == seen[1]
    assert lent


def test_a_disk_that_is_polled_reads_its_medium_in_large_pieces() -> None:
    p = Polling(True)
    reads = []
    inner = p.disk.read
    p.disk.read = lambda at, length: reads.append((at, length)) or inner(at, length)  # type: ignore[func-returns-value,method-assign]
    p.read(3, 200)
    assert b"".join(p.words(256, 2) for _ in range(200)) == DISK[3 * 512 : 203 * 512]
    assert len(reads) == 2


def test_a_polled_drive_goes_on_without_a_timer() -> None:
    p = Polling(False)
    p.read(0, 3)
    assert all(timer.deadline is None for timer in p.clock.timers)
    assert p.inb(CONTROL) == 0x58
    p.words(256, 2)
    assert p.inb(CONTROL) == 0x58 and not p.line.level
    p.out(CONTROL, 0)
    assert p.line.level
