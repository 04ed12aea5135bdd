"""A halted processor passes idle time by itself, up to what is due outside, as the machine's loop does in more runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devices.contracts import Wire
from devices.lapic import Lapic
from emu.clock import Clock, IdlePacer, Pacer
from emu.machine import Cause, Machine
from emu.options import parse
from emu.session import Session
from images.ppc.build import BOARDS, image
from tests.cores.insn_machine import InsnMachine

pytest.importorskip("emu.engine._ppc", reason="the engine is not built")
pytest.importorskip("emu.engine._x86")


def ticking(folder: Path, board: str) -> Machine:
    """Five decrementer ticks at 100 Hz, waited for in the wait state, then the end."""
    (folder / "code").write_bytes(image(board, ["timer"]))
    words = ["-M", board, "-m", "16", "-kernel", str(folder / "code"), "-serial", "null", "-display", "none"]
    return Session(parse([*words, "-monitor", "none", "-no-reboot"], arch="ppc"), attached=False).build()


def runs(machine: Machine) -> int:
    """Run to the end; how often the processor was started."""
    count, execute = [0], machine.execute

    def counted(budget: int) -> Any:
        count[0] += 1
        return execute(budget)

    machine.execute = counted
    machine.run()
    return count[0]


@pytest.mark.parametrize("board", BOARDS)
def test_ticks_of_the_decrementer_do_not_end_a_run_that_waits_for_them(tmp_path: Path, board: str) -> None:
    alone, led = ticking(tmp_path, board), ticking(tmp_path, board)
    led._idles = False
    few, many = runs(alone), runs(led)
    assert alone.digest() == led.digest() and alone.retired == led.retired
    assert alone.ending is not None and alone.ending.cause in (Cause.RESET, Cause.POWEROFF)
    assert many >= few + 5


def device_ticks(machine: Machine) -> list[tuple[int, int]]:
    """When nine ticks of a device came, in ns and instructions."""
    fired: list[tuple[int, int]] = []

    def fire() -> None:
        fired.append((machine.clock.now(), machine.retired))
        if len(fired) < 9:
            timer.arm(machine.clock.now() + 3_141_592)

    timer = machine.clock.timer("device", fire)
    timer.arm(1_000_000)
    machine.run()
    return fired


def test_a_timer_of_a_device_ends_the_wait_at_its_instruction(tmp_path: Path) -> None:
    alone, led = ticking(tmp_path, "bamboo"), ticking(tmp_path, "bamboo")
    led._idles = False
    seen = device_ticks(alone)
    assert seen == device_ticks(led) and len(seen) == 9


def test_an_eager_timer_is_told_of_a_halt(tmp_path: Path) -> None:
    machine, fired = ticking(tmp_path, "bamboo"), []
    timer = machine.clock.timer("device", lambda: fired.append(machine.clock.now()))
    timer.eager = True
    timer.arm(40_000_000)
    machine.run()
    # The first halt is long before the first tick, which comes after ten milliseconds.
    assert fired and fired[0] < 10_000_000


def test_a_paced_machine_passes_no_more_than_its_lead_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.clock.wall", lambda: 100.0)
    machine = ticking(tmp_path, "bamboo")
    machine.pacer = Pacer(machine.clock)
    machine._let_idle()
    assert machine.cpu.idle_until == int(Pacer.IDLE_LEAD * 1e9)  # type: ignore[attr-defined]
    machine.patience = lambda: IdlePacer(machine.clock)
    machine._let_idle()
    assert machine.cpu.idle_until == int(Pacer.LEAD * 1e9)  # type: ignore[attr-defined]
    machine.pacer = None
    machine.cpu.idle_until = 0  # type: ignore[attr-defined]
    machine._let_idle()
    assert machine.cpu.idle_until == 0  # type: ignore[attr-defined]


class Keyboard:
    """Says whether something has come."""

    eof, came = False, False

    def wait(self, seconds: float | None) -> bool:
        return self.came


def test_a_guest_that_has_been_still_for_a_while_passes_longer_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("emu.session.wall", lambda: now[0])
    (tmp_path / "code").write_bytes(image("bamboo", ["timer"]))
    words = ["-M", "bamboo", "-m", "16", "-kernel", str(tmp_path / "code"), "-serial", "null", "-display", "none"]
    session = Session(parse([*words, "-clock", "paced", "-monitor", "none"], arch="ppc"), attached=False)
    machine, keyboard = session.build(), Keyboard()
    session._keyboard = keyboard  # type: ignore[assignment]
    pacer = machine.pacer
    assert pacer is not None and session.serial[0] is not None

    def lead(later: float, *, came: bool = False) -> float:
        now[0] += later
        keyboard.came = came
        session.wait(machine, 0.01)
        return pacer.idle_lead

    assert lead(0.0, came=True) == Pacer.IDLE_LEAD
    assert lead(1.5) == Pacer.IDLE_LEAD and lead(1.0) == Pacer.STILL_LEAD
    session.serial[0].send(b"x")
    assert lead(0.0) == Pacer.IDLE_LEAD
    assert lead(3.0) == Pacer.STILL_LEAD and lead(0.0, came=True) == Pacer.IDLE_LEAD


def test_ticks_of_a_lent_apic_do_not_end_a_run_that_waits_for_them() -> None:
    m = InsnMachine("interp")
    cpu: Any = m.cpu
    clock = Clock(cpu)
    apic = Lapic(clock=clock, intr=Wire(cpu.set_intr), end_of_interrupt=lambda vector: None)
    cpu.lend_apic(apic)
    m.poke(0x50000, b"\x43\xc7\x05\xb0\x00\xe0\xfe\x00\x00\x00\x00\xcf")  # inc ebx; mov dword [EOI], 0; iret
    m.poke(0x9000 + 8 * 0x30, (8 << 16 | 0x8E << 40 | 5 << 48).to_bytes(8, "little"))
    for register, value in ((0xF0, 0x1FF), (0x3E0, 0xB), (0x320, 0x20030), (0x380, 100_000)):
        apic.write(register, 4, value)
    cpu.load_state({"eip": m.place(b"\xf4\xeb\xfd")})
    cpu.set_reg("ebx", 0)
    cpu.set_reg("eflags", 0x202)
    cpu.run(1)
    clock.budget(10_000)
    cpu.idle_until = clock.idle(10_050_000)
    cpu.run(10_000)
    # A period is 100,000 ns, a count of the timer 1 ns.
    assert cpu.halted and cpu.reg("ebx") == 100 and clock.next_deadline() == 10_100_000
