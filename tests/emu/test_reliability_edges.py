"""The edges of memory (A12): every access size around every border of RAM, ROM, device and hole, and what lies beyond.

Both tiers and devices' DMA are held against a model of one byte at a time. Around the buffer itself lie guard pages.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cores.x86 import state as S
from emu.memory import FOUR_GIB, GUARD, Dma, GuestRam
from tests.cores import twins as T
from tests.cores.twins import device_byte

pytest.importorskip("emu.engine._x86")

MIB = 1 << 20
ROM_SIZE = 0x20000
CODE = 0x10000
NEAR = 16
OFFSETS = [
    pytest.param((-3, -1, 0), id="some"),
    pytest.param(range(-NEAR - 1, NEAR + 1), id="all", marks=pytest.mark.slow),
]
EDGES = {
    "RAM to device": 0xA0000,
    "device to ROM": 0xC0000,
    "ROM to the hole": MIB,
    "hole to flash": FOUR_GIB - ROM_SIZE,
    "4 GiB": FOUR_GIB,
}
LOADS = {1: "8a07", 2: "668b07", 4: "8b07", 8: "0f6f07", 16: "0f1007"}
STORES = {1: "8807", 2: "668907", 4: "8907", 8: "0f7f07", 16: "0f1107"}
CHANGES = {1: "f617", 2: "66f717", 4: "f717"}


@pytest.fixture
def both(tiers: object) -> T.Twins:
    """1 MiB of RAM and a flash below 4 GiB."""
    return T.twins(rom_size=ROM_SIZE)


def pattern(at: int) -> int:
    return (at * 7 + (at >> 12) * 31 + 3) & 0xFF


# (from, to, bytes) in the buffer, of which the flash is the end.
PATTERNS = [
    (low - shift, high - shift, np.array([pattern(k) for k in range(low, high)], dtype=np.uint8))
    for low, high, shift in (
        (0, 0x100, 0), (0x9FC00, 0xA0000, 0), (0xC0000, 0xC0400, 0), (0xFFC00, MIB, 0),
        (FOUR_GIB - ROM_SIZE, FOUR_GIB, FOUR_GIB - ROM_SIZE - MIB),
    )
]  # fmt: skip


def start(both: T.Twins, code: bytes, at: int, **more: Any) -> None:
    """Flat ring 0 without paging, EDI at an address, recognisable bytes around every edge."""
    state = T.flat_state(0, paging=False, eip=CODE)
    state["gpr"][7] = at & 0xFFFFFFFF
    state["gpr"][0] = 0xA1B2C3D4
    state["xmm_lo"] = [0x0102030405060708] + [0] * 15
    state["xmm_hi"] = [0x1112131415161718] + [0] * 15
    state["fpr_sig"] = [0x2122232425262728] + [0] * 7
    both.start({CODE: code + b"\xf4"}, {**state, **more})
    for array in both.arrays:
        for low, high, data in PATTERNS:
            array[low:high] = data


def byte_at(at: int) -> int:
    """What the model has at a physical address."""
    at %= FOUR_GIB
    if 0xA0000 <= at < 0xC0000:
        return device_byte(at)
    if at < MIB or at >= FOUR_GIB - ROM_SIZE:
        return pattern(at)
    return 0xFF


def writable(at: int) -> bool:
    return at % FOUR_GIB < 0xA0000


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("edge", EDGES)
def test_every_access_size_around_an_edge(both: T.Twins, edge: str, offsets: Any) -> None:
    loaded = {1: "eax", 2: "eax", 4: "eax", 8: "mm0", 16: "xmm0"}
    stored = {1: 0xD4, 2: 0xC3D4, 4: 0xA1B2C3D4, 8: 0x2122232425262728, 16: 0x11121314151617180102030405060708}
    for offset in offsets:
        at = EDGES[edge] + offset
        for size, code in LOADS.items():
            start(both, bytes.fromhex(code), at)
            both.run(1)
            assert both.difference() == "", f"load {size} at {at:#x}"
            want = int.from_bytes(bytes(byte_at(at + k) for k in range(size)), "little")
            got = both.cpus[0].reg(loaded[size]) & (1 << 8 * size) - 1
            assert got == want, f"load {size} at {at:#x}: {got:#x} instead of {want:#x}"
        for size, code in (*STORES.items(), *CHANGES.items()):
            change = code in CHANGES.values()
            start(both, bytes.fromhex(code), at)
            before = [bytes(ram.view) for ram in both.rams]
            both.run(1)
            assert both.difference() == "", f"store {size} at {at:#x}"
            after = bytearray(before[0])
            for k in range(size):
                if writable(at + k):
                    value = byte_at(at + k) ^ 0xFF if change else stored[size] >> 8 * k & 0xFF
                    after[(at + k) % FOUR_GIB] = value
            assert bytes(both.rams[0].view) == bytes(after), f"store {size} at {at:#x}"
            written = {a + k for kind, a, n, *_ in both.buses[0].log if kind == "w" for k in range(n)}
            device = {(at + k) % FOUR_GIB for k in range(size)}
            assert written == {a for a in device if MIB <= a < FOUR_GIB - ROM_SIZE or 0xA0000 <= a < 0xC0000}


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("edge", EDGES)
def test_dma_sees_the_same_edges(both: T.Twins, edge: str, offsets: Any) -> None:
    for offset in offsets:
        at = EDGES[edge] + offset
        for size in (1, 2, 4, 8, 16, 33):
            start(both, b"", 0)
            ram = both.rams[0]
            dma = Dma(ram)
            # A device's memory is not reached by DMA: it reads as a hole.
            want = bytes(0xFF if 0xA0000 <= (at + k) % FOUR_GIB < 0xC0000 else byte_at(at + k) for k in range(size))
            assert dma.read(at, size) == want
            before = bytearray(ram.view)
            dma.write(at, bytes(range(1, size + 1)))
            for k in range(size):
                if writable(at + k):
                    before[(at + k) % FOUR_GIB] = k + 1
            assert bytes(ram.view) == bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "code", ["a5", "f3a5", "aa", "ab", "66ab", "6d", "0fae07", "0fae0f", "db2f", "db3f", "dd37", "60"]
)
def test_wide_instructions_at_an_edge_are_the_same_on_both_tiers(both: T.Twins, edge: str, code: str) -> None:
    for offset in (-512, -496, -108, -32, *range(-NEAR, NEAR + 1)):
        at = EDGES[edge] + offset
        if code.startswith("0fae"):
            at &= ~15
        start(both, bytes.fromhex(code), at)
        for cpu in both.cpus:
            for name in ("esi", "esp"):
                cpu.set_reg(name, at & 0xFFFFFFFF)
            cpu.set_reg("ecx", 9)
            cpu.set_reg("edx", 0x60)
        both.run(9)
        assert both.difference() == "", f"{code} at {at:#x}"


@pytest.mark.parametrize("frame", [0xA0, 0xBF, 0xC0, 0xFF, 0x100, 0x101, 0x80000, 0xFFFDF, 0xFFFE0, 0xFFFFF])
@pytest.mark.parametrize("second", [0x9F, pytest.param(0x100, marks=pytest.mark.slow), 0xFFFFF])
def test_a_page_frame_beyond_ram_reads_all_ones_and_takes_nothing(both: T.Twins, frame: int, second: int) -> None:
    for at in range(0x1000 - NEAR, 0x1000 + 2):
        for size, code in (*LOADS.items(), *STORES.items()):
            state = T.flat_state(0, eip=CODE)
            state["gpr"][7] = T.WINDOW + at
            state["cr4"] |= 1 << S.CR4_PSE
            entries = T.entries([frame << 12 | 3, second << 12 | 3])
            both.start({CODE: bytes.fromhex(code) + b"\xf4", T.WINDOW_TABLE: entries}, state)
            both.run(1)
            assert both.difference() == "", f"{code} at {at:#x}"
            if size == 1 and code == LOADS[1]:
                place = (frame if at < 0x1000 else second) << 12 | at & 0xFFF
                hole = MIB <= place < FOUR_GIB - ROM_SIZE
                assert not hole or both.cpus[0].reg("al") == 0xFF


@pytest.mark.parametrize("table", [0xA0000, 0xC0000, MIB, FOUR_GIB - 0x1000, 0x80000000])
def test_page_tables_outside_ram_end_in_faults_not_in_crashes(both: T.Twins, table: int) -> None:
    for register in (True, False):
        state = T.flat_state(0, eip=CODE)
        memory = {CODE: b"\xa1\x00\x00\x40\x00\xf4"}
        if register:
            state["cr3"] = table
        else:
            memory[T.DIRECTORY + 4] = T.entries([table & 0xFFFFF000 | 7])
        both.start(memory, state)
        both.run(4)
        assert both.difference() == ""


@pytest.mark.parametrize("gated", [False, True])
def test_the_first_mebibyte_wraps_only_while_address_line_20_is_gated(both: T.Twins, gated: bool) -> None:
    for offset in range(-NEAR, NEAR + 1):
        for size, code in LOADS.items():
            start(both, bytes.fromhex(code), MIB + offset)
            for cpu in both.cpus:
                cpu.set_a20(not gated)
            both.run(1)
            assert both.difference() == ""
            if size == 4:
                places = [(MIB + offset + k) & (~MIB if gated else -1) for k in range(4)]
                assert both.cpus[0].reg("eax") == int.from_bytes(bytes(byte_at(p) for p in places), "little")


def test_ram_ends_anywhere_between_whole_pages() -> None:
    for size in (MIB + 0x1000, 2 * MIB, 3 * MIB + 0x7000):
        ram = GuestRam(size)
        dma = Dma(ram)
        dma.write(size - 4, bytes(range(1, 9)))
        assert dma.read(size - 8, 16) == b"\0\0\0\0\1\2\3\4" + b"\xff" * 8
        assert ram.view.nbytes == size


TOUCH = """
import sys
from emu.bus import Bus
from emu.engine import X86Cpu
from emu.engine._x86 import ffi
from emu.memory import GuestRam
ram = GuestRam(1 << 20, 0x20000)
cpu = X86Cpu(Bus(), ram)
place = int(sys.argv[1])
print(int(ffi.cast("uintptr_t", cpu._buffer)), ram.guard, ram.view.nbytes, flush=True)
base = cpu._buffer + ram.guard
for line in open("/proc/self/maps"):
    print(line, end="")
sys.stdout.flush()
print("read", base[place], flush=True)
"""


def touched(place: int) -> tuple[int, list[str]]:
    result = subprocess.run([sys.executable, "-c", TOUCH, str(place)], capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout.splitlines()


def test_a_stray_access_of_compiled_code_around_ram_ends_the_process() -> None:
    whole = MIB + ROM_SIZE
    for place in (0, whole - 1):
        code, lines = touched(place)
        assert (code, lines[-1].split()[0]) == (0, "read")
    for place in (-1, whole, -GUARD, whole + GUARD - 1):
        code, lines = touched(place)
        assert code == -signal.SIGSEGV
        start, guard, size = (int(word) for word in lines[0].split())
        closed = []
        for line in lines[1:]:
            low, high = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1].startswith("---"):
                closed.append((low, high))
        assert any(low <= start and start + guard <= high for low, high in closed)
        behind = start + guard + size
        assert any(low <= behind and behind + guard <= high for low, high in closed)
