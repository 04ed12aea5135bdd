"""S3 on the PC: asleep by PM1_CNT, woken by the clock's alarm, the button or a monitor, and on in the guest's code."""

from __future__ import annotations

import pytest

from devices.backends import MemoryDisk
from emu.machine import Cause, Machine
from tests.emu.monitored import Monitored
from tests.emu.pc_machine import full_pc, run_code

pytest.importorskip("emu.engine._x86")

PM = 0x600
SLEEP = bytes.fromhex("ba0406 b80024 ef fa f4")  # mov dx,604h; mov ax,2400h; out dx,ax; cli; hlt
MARK = bytes.fromhex("2ec7060030 3412 fa f4")  # at 200:0: mov word cs:[3000h],1234h; cli; hlt
MARKED = b"\x34\x12"
BOOT = bytes.fromhex("fb ebfe").ljust(510, b"\0") + b"\x55\xaa"  # sti; jmp $


def booted(vector: int = 0x2000) -> Machine:
    """A PC whose guest runs, and has left code at its waking vector."""
    machine = full_pc(disk=MemoryDisk(BOOT.ljust(1 << 20, b"\0")))
    machine.step(10_000)
    facs = next(at for at in range(0, machine.ram.size, 64) if machine.ram.view[at : at + 4] == b"FACS")
    machine.ram.load(facs + 12, vector.to_bytes(4, "little"))
    machine.ram.load(0x2000, MARK)
    return machine


def sleeping(vector: int = 0x2000) -> Machine:
    """Such a PC asleep."""
    machine = booted(vector)
    run_code(machine, SLEEP, 3)
    assert machine.asleep
    return machine


def marked(machine: Machine) -> bool:
    return bytes(machine.ram.view[0x5000:0x5002]) == MARKED


def cmos(machine: Machine, index: int, value: int) -> None:
    machine.bus.port_write(0x70, 1, index)
    machine.bus.port_write(0x71, 1, value)


def test_the_alarm_of_the_clock_wakes_the_guest_at_its_vector() -> None:
    machine = booted()
    before = machine.clock.now()
    for index, value in ((1, 0x10), (3, 0xFF), (5, 0xFF), (0xB, 0x22)):  # at second 10 of any minute
        cmos(machine, index, value)
    machine.bus.port_write(PM + 2, 2, 0x0400)
    run_code(machine, SLEEP, 3)
    assert machine.asleep and not marked(machine)
    machine.step(10_000)
    assert not machine.asleep and marked(machine)
    assert 9_000_000_000 < machine.clock.now() - before < 11_000_000_000
    assert machine.bus.port_read(PM, 2) & 0x8400 == 0x8400
    assert machine.bus.port_read(PM + 2, 2) == 0
    assert machine.resets == 0


def test_an_alarm_that_is_not_enabled_as_an_event_wakes_nobody() -> None:
    machine = sleeping()
    for index, value in ((1, 0x10), (3, 0xFF), (5, 0xFF), (0xB, 0x22)):
        cmos(machine, index, value)
    machine.step(10_000, until=machine.clock.now() + 60_000_000_000)
    assert machine.asleep


def test_the_power_button_and_a_monitor_wake_it_and_programs_are_told() -> None:
    for command in ("system_powerdown", "system_wakeup"):
        machine = sleeping()
        pc = Monitored(machine)
        pc.greet()
        assert pc.ask("query-status")["status"] == "suspended"
        assert pc.ask("query-current-machine") == {"wakeup-suspend-support": True}
        pc.ask(command)
        machine.step(10_000)
        assert marked(machine)
        assert "WAKEUP" in pc.programs.take()
        assert machine.bus.port_read(PM, 2) & 0x8100 == 0x8100
        assert pc.ask("query-status")["status"] == "running"
        assert pc.ask("system_wakeup")["desc"] == "Unable to wake up: guest is not in suspended state"


def test_a_guest_that_left_no_vector_starts_over() -> None:
    machine = sleeping(vector=0)
    button = machine.devices["acpi"]
    button.press_power_button()  # type: ignore[attr-defined]
    machine.step(10_000)
    assert not machine.asleep and not marked(machine)


def test_a_reset_ends_a_sleep() -> None:
    machine = sleeping()
    machine.reset()
    machine.step(10_000)
    assert not machine.asleep and not marked(machine)


def test_a_sleep_that_nothing_can_end_ends_the_run() -> None:
    machine = sleeping()
    for device in machine.devices.values():
        device.reset()
    ending = machine.run()
    assert ending.cause is Cause.DEAD and "sleeps" in ending.text
