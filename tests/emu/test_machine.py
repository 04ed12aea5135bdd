from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from emu.bus import Bus
from emu.clock import Clock
from emu.cpu import Exit
from emu.errors import MachineError
from emu.machine import SLICE, Cause, Machine, Vacuum
from emu.memory import Dma, GuestRam
from tests.emu.fake_cpu import FakeCpu, Insn, hlt, nop
from tests.emu.pc_machine import full_pc


def machine(*program: Insn) -> tuple[Machine, FakeCpu]:
    cpu = FakeCpu(program or (nop,))
    ram = GuestRam(1 << 20)
    made = Machine(cpu=cpu, bus=Bus(ram), ram=ram, clock=Clock(cpu), name="test")
    made.power_on()
    return made, cpu


class World:
    """An outside with a plan: one action for each wait."""

    def __init__(self, *plan: Callable[[Machine], bool]) -> None:
        self.plan = list(plan)
        self.waits: list[float | None] = []
        self.rests = 0

    def poll(self, machine: Machine) -> None:
        pass

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        self.waits.append(seconds)
        return self.plan.pop(0)(machine) if self.plan else False

    def at_rest(self, machine: Machine) -> None:
        self.rests += 1


def test_timers_fire_at_their_exact_instruction() -> None:
    m, cpu = machine()
    seen: list[int] = []
    timer = m.clock.timer("t", lambda: seen.append(cpu.icount))
    timer.arm(12_345)
    m.max_insns = 5000
    ending = m.run()
    assert seen == [1235]
    assert (ending.cause, ending.status, cpu.icount) == (Cause.LIMIT, 124, 5000)


def test_a_timer_armed_by_an_instruction_cuts_its_slice() -> None:
    seen: list[int] = []

    def arm(cpu: FakeCpu) -> None:
        if cpu.icount == 3:
            timer.arm(m.clock.now() + 25)

    m, cpu = machine(arm)
    timer = m.clock.timer("t", lambda: seen.append(cpu.icount))
    m.max_insns = 100
    m.run()
    assert seen == [6]


def test_a_halted_processor_jumps_to_the_next_deadline() -> None:
    m, cpu = machine(hlt)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(m.clock.now())
        cpu.set_intr(True)
        timer.arm(ticks[-1] + 1_000_000)
        if len(ticks) == 3:
            m.end(Cause.QUIT)

    timer = m.clock.timer("pit", tick)
    timer.arm(1_000_000)
    assert m.run().cause == Cause.QUIT
    assert ticks == [1_000_000, 2_000_000, 3_000_000]
    assert cpu.icount == 3


def test_a_halt_with_interrupts_off_is_the_end_in_one_line() -> None:
    def cli(cpu: FakeCpu) -> None:
        cpu.regs["eflags"] &= ~0x200

    m, _ = machine(cli, hlt)
    m.clock.timer("pit", lambda: None).arm(10**9)
    world = World()
    ending = m.run(world)
    assert (ending.cause, ending.status) == (Cause.DEAD, 0)
    assert ending.text.startswith("the processor halted with interrupts off at eip 0x0")
    assert world.rests == 1


def test_a_halt_that_only_the_outside_can_end_waits_for_it() -> None:
    m, cpu = machine(hlt)

    def key(machine: Machine) -> bool:
        cpu.set_intr(True)
        return True

    world = World(key, key)
    ending = m.run(world)
    assert (ending.cause, ending.status) == (Cause.DEAD, 0)
    assert world.waits == [None, None, None]
    assert len(cpu.taken) == 2


def test_a_watcher_alone_does_not_keep_time_running() -> None:
    m, _ = machine(hlt)
    m.clock.timer("expect", lambda: pytest.fail("nothing can have changed"), background=True).arm(1000)
    assert m.run().cause == Cause.DEAD


def test_a_firmware_hook_is_served_before_the_next_instruction() -> None:
    served: list[tuple[int, int]] = []
    m, cpu = machine(nop, lambda c: c.hook(0x42), nop)
    m.on_hook = lambda value: served.append((value, cpu.icount))
    m.max_insns = 3
    m.run()
    assert served == [(0x42, 2)]


@pytest.mark.parametrize(
    ("failure", "no_reboot", "cause", "status"),
    [(True, False, Cause.SHUTDOWN, 3), (True, True, Cause.SHUTDOWN, 3), (False, True, Cause.SHUTDOWN, 0)],
)
def test_a_triple_fault_ends_the_run(failure: bool, no_reboot: bool, cause: Cause, status: int) -> None:
    m, _ = machine(nop, FakeCpu.shut_down)
    m.shutdown_is_failure, m.no_reboot = failure, no_reboot
    ending = m.run()
    assert (ending.cause, ending.status) == (cause, status)


def test_a_triple_fault_restarts_the_machine_as_qemu_does() -> None:
    m, _ = machine(nop, FakeCpu.shut_down)
    m.max_insns = 10
    resets: list[int] = []
    m.on_reset.append(lambda: resets.append(m.retired))
    assert m.run().cause == Cause.LIMIT
    assert resets == [2, 4, 6, 8, 10]
    assert (m.retired, m.resets, m.clock.now()) == (10, 5, 100)


def test_a_reset_request_takes_effect_after_the_instruction() -> None:
    m, cpu = machine(lambda c: m.request_reset() if m.retired == 5 else None)
    m.max_insns = 9
    m.run()
    assert (m.resets, cpu.icount, m.retired) == (1, 3, 9)


def test_no_reboot_ends_where_the_guest_would_restart() -> None:
    m, _ = machine(lambda c: m.request_reset())
    m.no_reboot = True
    assert (m.run().cause, m.run().status) == (Cause.RESET, 0)


def test_power_off_ends_the_run_or_parks_it() -> None:
    m, cpu = machine(lambda c: m.power_off())
    assert m.run().cause == Cause.POWEROFF
    m, cpu = machine(lambda c: m.power_off())
    m.no_shutdown = True
    world = World(lambda machine: True, lambda machine: False)
    assert m.run(world).cause == Cause.POWEROFF
    assert world.waits == [None, None]
    assert cpu.icount == 1


def test_the_first_reason_to_end_counts() -> None:
    m, _ = machine()
    m.end(Cause.DEBUG_EXIT, 33)
    m.end(Cause.QUIT, 0)
    assert m.run().status == 33


def test_slices_end_where_the_outside_must_be_looked_at() -> None:
    budgets: list[int] = []

    class Fast(FakeCpu):
        def run(self, budget: int) -> Exit:
            budgets.append(budget)
            self.icount += budget
            return Exit.BUDGET

    cpu = Fast()
    ram = GuestRam(1 << 20)
    m = Machine(cpu=cpu, bus=Bus(ram), ram=ram, clock=Clock(cpu), name="test")
    m.max_insns = 5 * SLICE + 5
    m.run()
    assert max(budgets) == SLICE
    assert sum(budgets) == m.max_insns


def test_a_slow_processor_gets_short_slices() -> None:
    budgets: list[int] = []

    class Slow(FakeCpu):
        def run(self, budget: int) -> Exit:
            budgets.append(budget)
            self.icount += budget
            wall[0] += budget / 1_000_000
            return Exit.BUDGET

    wall = [0.0]
    cpu = Slow()
    ram = GuestRam(1 << 20)
    m = Machine(cpu=cpu, bus=Bus(ram), ram=ram, clock=Clock(cpu), name="test")
    m.max_insns = 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emu.machine.wall", lambda: wall[0])
        m.run()
    assert max(budgets[1:]) <= 20_000


def test_an_engine_error_is_ours_and_stops_the_machine() -> None:
    class Broken(FakeCpu):
        def run(self, budget: int) -> Exit:
            return Exit.ERROR

    ram = GuestRam(1 << 20)
    cpu = Broken()
    with pytest.raises(MachineError):
        Machine(cpu=cpu, bus=Bus(ram), ram=ram, clock=Clock(cpu), name="test").run()


def test_dma_and_remapping_reach_the_processor() -> None:
    m, cpu = machine()
    Dma(m.ram).write(0x5000, b"code")
    m.ram.set_direct(True)
    assert (cpu.invalidated, cpu.remaps) == ([(0x5000, 4)], 1)


def test_equal_runs_have_equal_digests_and_others_do_not() -> None:
    def run(insns: int, byte: bytes) -> str:
        m, _ = machine()
        m.ram.load(0x1234, byte)
        m.max_insns = insns
        m.run()
        return m.digest()

    assert run(50, b"a") == run(50, b"a")
    assert len({run(50, b"a"), run(51, b"a"), run(50, b"b")}) == 3


def test_stepping_counts_instructions_and_serves_timers() -> None:
    m, cpu = machine()
    seen: list[int] = []
    m.clock.timer("t", lambda: seen.append(cpu.icount)).arm(40)
    assert m.step(10) == Exit.BUDGET
    assert (cpu.icount, seen) == (10, [4])


def test_stepping_stops_at_a_time_as_well() -> None:
    m, cpu = machine(nop)
    m.step(1000, until=55)
    assert cpu.icount == 6
    m, cpu = machine(hlt)
    m.clock.timer("t", lambda: None).arm(10**9)
    m.step(1000, until=5000)
    assert m.clock.now() == 5000


def test_a_halt_without_any_way_out_ends_a_step() -> None:
    m, cpu = machine(nop, hlt)
    assert m.step(10) == Exit.HALT
    assert cpu.icount == 2


def test_a_halt_that_no_timer_ends_ends_a_step() -> None:
    m, cpu = machine(nop, hlt)

    def tick() -> None:
        timer.arm(m.clock.now() + 1000)

    timer = m.clock.timer("t", tick)
    timer.arm(1000)
    assert m.step(10) == Exit.HALT
    assert cpu.icount == 2
    cpu.regs["eflags"] = 0
    before = m.clock.now()
    assert m.step(10) == Exit.HALT
    assert m.clock.now() == before


@pytest.mark.parametrize("slow", [1000, 4321, SLICE])
def test_where_a_stuck_processor_is_noticed_does_not_depend_on_the_length_of_slices(slow: int) -> None:
    m, cpu = machine()
    m.stuck = lambda: cpu.icount > SLICE + 10
    m.fixed_slice = slow
    assert m.run().cause is Cause.DEAD
    assert cpu.icount == 2 * SLICE


def test_a_guest_that_does_nothing_but_touch_devices_does_not_keep_the_outside_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("emu.engine._x86")
    guest = full_pc("--accel", "interp")
    guest.ram.load(0x1000, bytes.fromhex("e464 ebfc"))  # in al,64h; jmp 1000h
    guest.cpu.set_reg("cs", 0)
    guest.cpu.set_reg("eip", 0x1000)
    guest.max_insns = 40_000
    now = [0.0]

    def wall() -> float:
        now[0] += 0.001
        return now[0]

    monkeypatch.setattr("emu.machine.wall", wall)
    looks: list[int] = []

    class Watcher(Vacuum):
        def poll(self, machine: Machine) -> None:
            looks.append(machine.retired)

    guest.run(Watcher())
    assert max(after - before for before, after in pairwise(looks)) <= 5000
