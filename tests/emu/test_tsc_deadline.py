"""IA32_TSC_DEADLINE from the instruction to the interrupt, on every tier."""

from __future__ import annotations

import pytest

from devices.backends import MemoryDisk
from devices.lapic import Lapic
from emu.machine import Machine
from tests.emu.pc_machine import full_pc, run_code

pytest.importorskip("emu.engine._x86")

BOOT = bytes.fromhex("fb ebfe").ljust(510, b"\0") + b"\x55\xaa"  # sti; jmp $
READ = bytes.fromhex("66b9e0060000 0f32 f4")  # mov ecx,6e0h; rdmsr; hlt
# rdtsc; add eax,1000000; adc edx,0; mov ecx,6e0h; wrmsr; rdmsr; then wait: jmp $
WRITE = bytes.fromhex("0f31 660540420f00 6683d200 66b9e0060000 0f30 0f32 ebfe")
LVT_TIMER, SVR, IRR = 0x320, 0xF0, 0x200
DEADLINE, VECTOR = 0x40000, 0x55


def machine(tier: str, model: str = "max") -> Machine:
    made = full_pc("-accel", tier, "-cpu", model, disk=MemoryDisk(BOOT.ljust(1 << 20, b"\0")))
    made.step(10_000)
    made.bus.phys_write(0xFEE00000 + SVR, (0x1FF).to_bytes(4, "little"))
    return made


def requested(m: Machine) -> bool:
    word = int.from_bytes(m.bus.phys_read(0xFEE00000 + IRR + 16 * (VECTOR // 32), 4), "little")
    return bool(word >> VECTOR % 32 & 1)


@pytest.mark.parametrize("tier", ["jit", "interp", "reference"])
def test_the_timer_expires_when_the_counter_gets_there_and_the_register_is_0_again(tier: str) -> None:
    m = machine(tier)
    m.bus.phys_write(0xFEE00000 + LVT_TIMER, (DEADLINE | VECTOR).to_bytes(4, "little"))
    started = m.clock.now()
    run_code(m, WRITE, 8)
    assert m.cpu.reg("edx") << 32 | m.cpu.reg("eax") == m.cpu.reg("msr_misc[4]") > 0
    while not requested(m) and m.clock.now() < started + 10_000_000:
        m.step(1_000)
    assert 1_000_000 <= m.clock.now() - started < 1_100_000
    run_code(m, READ, 2)
    assert m.cpu.reg("eax") == m.cpu.reg("edx") == 0


def test_without_the_mode_the_register_stays_0(tier: str = "interp") -> None:
    m = machine(tier)
    run_code(m, WRITE, 8)
    assert m.cpu.reg("eax") == m.cpu.reg("edx") == 0
    m.step(200_000)
    lapic = m.devices["lapic"]
    assert isinstance(lapic, Lapic) and lapic.state.irr == 0


def test_a_processor_without_deadlines_has_no_such_register() -> None:
    m = machine("interp", "qemu32")
    run_code(m, READ, 2)
    assert m.cpu.reg("eip") != 0x1008  # general protection
