"""Guests that never come to an end (A14): whatever they do, the machine can be stopped from outside, soon.

Soon is measured in processor time of this process, so a busy host does not matter; a machine that cannot be stopped at
all fails by the timeout of the join.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from devices.backends import MemoryDisk
from emu.machine import Cause, Machine
from tests.cores import twins as T
from tests.cores.tier_machine import descriptor
from tests.emu.pc_machine import full_pc

pytest.importorskip("emu.engine._x86")

CODE = T.FREE
LONG = b"\xb9\xff\xff\xff\xff"  # mov ecx, 2^32 - 1
BOUND = 1.0  # seconds of processor time; the aim is 0.25
MIB = 1 << 20
RING = (T.TSS + 0x400, T.TSS + 0x800)


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def at(address: int) -> bytes:
    """mov edi, address; mov esi, address."""
    return b"\xbf" + word(address) + b"\xbe" + word(address)


def again(body: bytes) -> bytes:
    return body + b"\xe9" + word(-(len(body) + 5) & 0xFFFFFFFF)


FAST_FIRST = b"\xb9" + word(60_000_000) + b"\x49\x75\xfd"  # long slices first: dec ecx; jnz
LOOPS = {
    "jmp $": b"\xeb\xfe",
    "a long way to itself": again(b"\x90" * 3000),
    "fast": FAST_FIRST,
    "rep stos in RAM": again(at(2 * MIB) + LONG + b"\xf3\xab"),
    "rep movs in RAM": again(b"\xbe" + word(MIB) + b"\xbf" + word(MIB + 4096) + b"\xb9" + word(1 << 18) + b"\xf3\xa5"),
    "rep lods": again(LONG + b"\xf3\xac"),
    "repe cmps": again(LONG + b"\x89\xf7\xf3\xa6"),
    "repne scas": again(LONG + b"\xb0\x5a\xf2\xae"),
    "rep stos to a device": again(at(0xA0000) + b"\xb9" + word(0x8000) + b"\xf3\xaa"),
    "rep lods from a device": again(at(0xFEE00000) + LONG + b"\xf3\xad"),
    "rep lods from nothing": again(at(0x40000000) + LONG + b"\xf3\xad"),
    "rep outs": again(at(CODE) + LONG + b"\x66\xba\x80\x00\xf3\x6e"),
    "rep ins": again(at(MIB) + b"\xb9" + word(1 << 18) + b"\x66\xba\x60\x00\xf3\x6c"),
    "rep nop": again(LONG + b"\xf3\x90"),
    "out": again(b"\xe6\x80"),
    "hlt": b"\xfb\xf4\xeb\xfd",
    "hlt without a timer": b"\xf4",
    "mov cr3": again(b"\x0f\x20\xd8\x0f\x22\xd8"),
    "invlpg": again(b"\x0f\x01\x38"),
    "code that changes itself": again(b"\xfe\x05" + word(CODE + 7) + b"\x04\x00"),
    "x87": again(b"\xd9\xe8\xd9\xf2\xdd\xd8\xdd\xd8"),
    "fxsave": again(b"\x0f\xae\x05" + word(MIB)),
    "cpuid": again(b"\x0f\xa2"),
    "single steps": again(b"\x9c\x80\x4c\x24\x01\x01\x9d\x90\x90\x90"),
    "nested faults": b"\x0f\x0b",
    "tasks in a ring": b"\xea\0\0\0\0" + (T.TSS_SEL + 0x20).to_bytes(2, "little"),
    "resets": b"\xb0\xfe\xe6\x64\xeb\xfe",
    "triple faults": b"\x0f\x01\x1d" + word(MIB - 0x1000) + b"\xcc",
    "page tables in device memory": b"\xb8" + word(0xA0000) + b"\x0f\x22\xd8\xeb\xfe",
    "page tables in the APIC": b"\xb8" + word(0xFEE00000) + b"\x0f\x22\xd8\xeb\xfe",
    "page tables in themselves": again(b"\xff\x05" + word(T.DIRECTORY + 0x800)),
}
SLOW = ("mov cr3", "code that changes itself", "single steps", "nested faults", "x87", "rep stos to a device")


def machine(name: str, code: bytes) -> Machine:
    """A PC whose processor starts in flat ring 0 with paging, tables and code as the loop wants them."""
    boot = (b"\xfa\x0f\x01\x1e\x00\x7d\xcc").ljust(510, b"\0") + b"\x55\xaa"  # a boot sector that faults thrice
    m = full_pc(disk=MemoryDisk(boot.ljust(MIB, b"\0"))) if name in ("triple faults", "resets") else full_pc()
    for place, data in T.tables().items():
        m.ram.load(place, data)
    m.ram.load(T.TABLE, T.entries(page << 12 | 7 for page in range(1024)))
    # 4 MiB on themselves, then devices and the rest by large pages.
    m.ram.load(T.DIRECTORY, T.entries([T.TABLE | 7, *(k << 22 | 0x87 for k in range(1, 1024))]))
    state = T.flat_state(0, eip=CODE)
    state["cr4"] |= 0x10
    state["gdtr_limit"] = 0x6F
    if name == "page tables in themselves":
        table = [0] * 1024
        for page in (0, 1, T.DIRECTORY >> 12, CODE >> 12):
            table[page] = page << 12 | 7
        table[0] = T.DIRECTORY | 7
        m.ram.load(T.DIRECTORY, T.entries(table))
    if name == "nested faults":
        m.ram.load(T.HANDLERS + 16 * 6, b"\x0f\x0b")
    if name == "single steps":
        m.ram.load(T.HANDLERS + 16, b"\xcf")
    for k, place in enumerate(RING):
        tss = bytearray(0x68)
        tss[0x1C:0x20] = word(T.DIRECTORY)
        tss[0x20:0x28] = word(CODE + 0x40) + word(2)
        tss[0x38:0x3C] = word(T.STACK0)
        for n, selector in enumerate((T.DATA0, T.CODE0, *[T.DATA0] * 4)):
            tss[0x48 + 4 * n : 0x4C + 4 * n] = word(selector)
        m.ram.load(place, bytes(tss))
        m.ram.load(T.GDT + 0x48 + 8 * k, descriptor(place, 0x67, 0x89).to_bytes(8, "little"))
    if name == "tasks in a ring":
        # Each task jumps to the other whenever it runs.
        m.ram.load(CODE, b"\xea\0\0\0\0\x48\0" + b"\xea\0\0\0\0\x50\0" + b"\xea\0\0\0\0\x48\0" + b"\xeb\xf0")
        for place in RING:
            m.ram.load(place + 0x20, word(CODE + (0 if place == RING[1] else 7)))
    else:
        m.ram.load(CODE, code)
    m.cpu.load_state(state)  # type: ignore[attr-defined]
    return m


def stopped(name: str, code: bytes, seconds: float = 0.15) -> tuple[Machine, float]:
    """Run in a thread, end it from this one; the processor time that took."""
    m = machine(name, code)
    failed: list[BaseException] = []

    def go() -> None:
        try:
            m.run()
        except BaseException as error:
            failed.append(error)

    depth = sys.getrecursionlimit()
    runner = threading.Thread(target=go, daemon=True)
    runner.start()
    runner.join(seconds)
    start = time.process_time()
    m.end(Cause.QUIT)
    runner.join(60)
    assert not runner.is_alive(), f"{name} does not stop"
    assert failed == []
    assert sys.getrecursionlimit() == depth
    return m, time.process_time() - start


@pytest.mark.parametrize("name", LOOPS)
def test_a_guest_that_never_ends_can_be_ended(name: str) -> None:
    m, took = stopped(name, LOOPS[name])
    assert m.ending is not None
    assert m.ending.cause in (Cause.QUIT, Cause.DEAD)
    assert m.retired > 0
    assert took < BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_worst_slice_is_short_even_behind_fast_code(name: str) -> None:
    slow = LOOPS[name]
    if name == "code that changes itself":
        slow = again(b"\xfe\x05" + word(CODE + len(FAST_FIRST) + 7) + b"\x04\x00")
    assert signalled(name, FAST_FIRST + slow, 0.4) < BOUND


def signalled(name: str, code: bytes, seconds: float) -> float:
    """Run in this thread until a signal ends it; the processor time from the signal to the end.

    Python's handlers run only when compiled code comes back, so this takes as long as a slice."""
    m = machine(name, code)
    sent: list[float] = []

    def send() -> None:
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGUSR1)

    old = signal.signal(signal.SIGUSR1, lambda number, frame: m.end(Cause.SIGNAL, 128 + number))
    try:
        timer = threading.Timer(seconds, send)
        timer.start()
        m.run()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert m.ending is not None and m.ending.cause is Cause.SIGNAL
    return time.process_time() - sent[0]


@pytest.mark.parametrize("name", ["jmp $", "mov cr3", "rep lods", "single steps"])
def test_a_signal_ends_a_guest_that_never_ends(name: str) -> None:
    assert signalled(name, LOOPS[name], 0.15) < BOUND


def test_faults_that_nest_for_ever_need_no_host_stack() -> None:
    """A thread of 256 KiB of stack runs them."""
    threading.stack_size(256 << 10)
    try:
        for name in ("nested faults", "triple faults", "tasks in a ring", "page tables in themselves"):
            stopped(name, LOOPS[name], 0.1)
    finally:
        threading.stack_size(0)
