"""A machine: processor, memory, bus, clock, inputs and devices, and the loop that runs them.

The loop is the same for every board and tier. It runs the processor up to the next timer, fires what is due, serves
firmware hooks, lets a halted processor's time jump, and asks the `Outside` about the world between slices. Nothing in
it depends on the host's speed except when outside input arrives, and that is stamped by `emu.inputs`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from emu.aio import DiskQueue, Workers
from emu.bus import Bus
from emu.clock import Clock, Pacer, wall
from emu.cpu import (
    EVENT_APIC_BASE,
    EVENT_FERR,
    EVENT_FLUSH,
    EVENT_INTERRUPT,
    EVENT_MODE,
    EVENT_RESET,
    EVENT_TSC_DEADLINE,
    EVENT_UNIMPLEMENTED,
    FOREVER,
    NS_PER_INSN,
    Cpu,
    Exit,
)
from emu.errors import MachineError
from emu.inputs import Inputs
from emu.memory import GuestRam

if TYPE_CHECKING:
    from devices.contracts import Disk
    from devices.device import Device
    from emu.stops import Stops

SLICE = 4_000_000
"""Instructions after which the outside gets a look even if no timer is due: a second of the slowest (code that
changes itself), because signals and keys wait for it where a guest turns slow all at once."""
BRISK_SLICE = 500_000
"""The same while somebody outside waits for answers: about half a millisecond."""
FIRST_SLICE = 50_000
SLICE_SECONDS = 0.01
"""Wall time that a slice should take: slow guests (and tiers) get shorter slices, which no guest can notice."""
LONGEST_SLICE = 0.03
LOOK = SLICE
"""Instructions from one look for a stuck processor to the next: where a run ends must not depend on the wall."""
LATE_SECONDS = 0.02
"""How long a processor that waits for a slow disk and for nothing else waits before it looks outside."""
HALT_WAKEUPS = 100_000
"""Timers that may fire in a halt, in `Machine.step`, before it counts as one that nothing ends."""

INTERRUPT_FLAG = 0x200
REGISTER_KINDS = {1: "MSR %#x", 2: "SPR %d"}
"""Registers that are not modelled, as `EVENT_UNIMPLEMENTED` numbers their kinds and as the manuals write them."""
MAX_NAMED = 4096
UNIMP = logging.getLogger("emu.unimp")


class Cause(Enum):
    """Why a run ended."""

    POWEROFF = "the guest powered off"
    RESET = "the guest restarted"
    SHUTDOWN = "the processor stopped after a fault"
    DEBUG_EXIT = "the guest wrote to the debug-exit port"
    DEAD = "the processor can never wake"
    SCRIPT = "the script is done"
    TIMEOUT = "time is up"
    LIMIT = "the instruction limit is reached"
    QUIT = "quit"
    SIGNAL = "signal"


@dataclass(frozen=True)
class Ending:
    """How a run ended: `status` is the exit status of `emu`, `text` a line for the person (may be empty)."""

    cause: Cause
    status: int
    text: str = ""


class Outside(Protocol):
    """The world around the machine, asked between instructions."""

    def poll(self, machine: Machine) -> None:
        """Bring input to `machine.inputs`, or end the run. Must not block."""

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        """Sleep at most `seconds` (None: until something comes). True if something may have come; False if it is over.

        With None and nothing that could ever come, returns False at once.
        """

    def at_rest(self, machine: Machine) -> None:
        """The guest has halted and only the outside can wake it: a last look at what it shows."""


class Vacuum:
    """No outside at all."""

    def poll(self, machine: Machine) -> None:
        """Nothing comes."""

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        """Nothing ever comes."""
        return False

    def at_rest(self, machine: Machine) -> None:
        """Nobody looks."""


class Machine:
    """One board with its processor. A function in `emu.boards` builds it; `run` runs it to its `Ending`.

    Attributes for the board to fill: `devices` by name, `on_reset` (called in order after the processor's reset; the
    first time by `power_on`), `on_wake` (the same where it wakes from sleep, with RAM as it was), `on_hook` (a firmware
    stub asks for its service), `screen` (rows of the text screen),
    `type_keys` (text for the keyboard), `send_break` (on the first serial line), `disks` (to be flushed at the end).
    """

    def __init__(self, *, cpu: Cpu, bus: Bus, ram: GuestRam, clock: Clock, name: str) -> None:
        self.name = name
        self.cpu = cpu
        self.bus = bus
        self.ram = ram
        self.clock = clock
        self.inputs = Inputs(clock, lambda: self.retired)
        self.devices: dict[str, Device] = {}
        self.on_reset: list[Callable[[], None]] = []
        self.on_wake: list[Callable[[], None]] = []
        self.on_hook: Callable[[int], None] | None = None
        self.screen: Callable[[], Sequence[str]] = lambda: ()
        self.type_keys: Callable[[str], None] = lambda text: None
        self.send_break: Callable[[], None] | None = None
        self.disks: list[Disk] = []
        self.workers = Workers()
        """Threads that wait for the host's disks."""
        self.ending: Ending | None = None
        self.no_reboot = False
        self.no_shutdown = False
        self.shutdown_is_failure = False
        """True: a triple fault ends with status 3. False: it restarts the machine, as QEMU does."""
        self.shutdown_name = "triple fault"
        self.shutdown_restarts = True
        """False: nothing restarts this board when its processor stops; the run ends with status 3."""
        self.max_insns: int | None = None
        self.pacer: Pacer | None = None
        self.patience: Callable[[], Pacer | None] = lambda: None
        """Without a pacer: asked at a halt for one, while an answer from outside may be on its way."""
        self.resets = 0
        self._retired_before = 0
        self._reset_wanted = False
        self._parked = False
        self._slice = FIRST_SLICE
        self.brisk = False
        """Somebody outside waits for answers; set by the outside when it polls."""
        self._slice_over: float = FOREVER
        bus.on_pulse = self._look_at_wall
        self.fixed_slice: int | None = None
        """Instructions of a slice, whatever the host's speed: where slices end is then the same in every run."""
        self.on_interrupt: list[Callable[[int, int], None]] = []
        """Called with (vector | kind << 8, error code) before each delivery; see `cores.x86.interrupts` for kinds."""
        self.on_flush: list[Callable[[int, int], None]] = []
        """Called after a TLB flush with CR3, and 0 for a new CR3 or 1 for a new paging mode."""
        self.on_mode: list[Callable[[int, int], None]] = []
        """Called with a new mode and the one before, when a debugger has asked for that."""
        self.on_ferr: Callable[[], None] | None = None
        """The processor drives FERR#."""
        self.pc_name = "eip"
        """How the processor calls its instruction pointer."""
        self.masked: Callable[[], bool] = lambda: not self.cpu.reg("eflags") & INTERRUPT_FLAG
        """Whether a halted processor would not take an interrupt."""
        self.stuck: Callable[[], bool] | None = None
        """Whether a running processor does nothing and can never be interrupted; asked every `LOOK` instructions, and
        at the limit."""
        self.paused = False
        """A debugger keeps the processor where it is."""
        self.asleep = False
        """The guest has switched the processor off, but not the power (S3); devices may wake it."""
        self._wake_wanted = False
        self.frozen = False
        """The processor never runs, and time stands still: somebody outside takes its place."""
        self.last_look: Callable[[Cause, str], bool] | None = None
        """Asked before a fault or a halt for ever ends the run: True pauses the machine first."""
        self.on_change: list[Callable[[str, dict[str, object]], None]] = []
        """Told what a monitor tells its clients: STOP, RESUME, RESET, SHUTDOWN and the like, with their data."""
        self.patient = False
        """Somebody outside may end even a halt that nothing inside can end: such a halt is waited out."""
        self._reset_reason = "guest-reset"
        self._deferred: Callable[[], None] | None = None
        self._named: set[tuple[int, int]] = set()
        self.stops: Stops | None = None
        """Who stops it for debuggers, once somebody debugs it (`emu.stops.stops_of`)."""
        self.execute: Callable[[int], Exit] = cpu.run
        """Runs the processor; replaced by what watches single instructions."""
        self._idles = hasattr(cpu, "idle_until")
        if self._idles:
            clock.on_eager = cpu.stay_awake  # type: ignore[attr-defined]
        self._nets = hasattr(cpu, "lent_net")
        cpu.on_event(self._event)
        ram.on_remap.append(cpu.remap)
        ram.on_write.append(cpu.invalidate)

    # -- what devices, firmware and people may ask for

    @property
    def retired(self) -> int:
        """Instructions retired since power-on, resets included."""
        return self._retired_before + self.cpu.icount

    def disk_queue(self, disk: Disk, name: str) -> DiskQueue:
        """`disk` as a controller with DMA wants it. `name` is one drive's; asked for again, its medium changes."""
        for queue in self.workers.queues:
            if queue.name == name:
                queue.change(disk)
                return queue

        def patient() -> bool:
            return self.pacer is None

        made = DiskQueue(disk, name=name, inputs=self.inputs, workers=self.workers, patient=patient)
        made.stop_machine = self._disk_failed
        return made

    def _disk_failed(self, name: str, writes: bool, error: OSError) -> None:
        """werror=stop or rerror=stop: pause; `go_on` tries again."""
        self.tell(
            "BLOCK_IO_ERROR",
            device=name,
            operation="write" if writes else "read",
            action="stop",
            nospace=error.errno == errno.ENOSPC,
            reason=str(error.strerror or error),
        )
        self.pause()

    def end(self, cause: Cause, status: int = 0, text: str = "") -> None:
        """End the run at the next instruction boundary; the first reason counts."""
        if self.ending is None:
            self.ending = Ending(cause, status, text)
        self.cpu.stop()

    def tell(self, event: str, **data: object) -> None:
        """Tell `on_change`."""
        for callback in self.on_change:
            callback(event, data)

    def request_reset(self, reason: str = "guest-reset") -> None:
        """Reset the whole machine at the next instruction boundary; `reason` as QMP's events name it."""
        self._reset_wanted = True
        self._reset_reason = reason
        self.cpu.stop()

    def pause(self) -> None:
        """Stop at the next instruction boundary, until `go_on`."""
        if not self.paused:
            self.paused = True
            self.tell("STOP")
        self.cpu.stop()

    def go_on(self) -> None:
        """End a pause. The time on the wall that it took is not caught up with."""
        if self.paused:
            self.paused = False
            for queue in self.workers.queues:
                queue.retry()
            self.tell("RESUME")
        if self.pacer is not None:
            self.pacer = Pacer(self.clock)

    def power_off(self) -> None:
        """The guest switched the power off."""
        if self.no_shutdown:
            self._stay("guest-shutdown")
        else:
            self.end(Cause.POWEROFF)

    def sleep(self) -> None:
        """The guest sleeps from the next instruction boundary on, until `wake`."""
        self.asleep = True
        self.tell("SUSPEND")
        self.cpu.stop()

    def wake(self) -> None:
        """End a sleep at the next instruction boundary."""
        self._wake_wanted = self.asleep
        self.cpu.stop()

    def _wake_up(self) -> None:
        self.asleep = self._wake_wanted = False
        self._start_over(self.on_wake)
        self.tell("WAKEUP")

    def _stay(self, reason: str) -> None:
        """-no-shutdown: the machine stops where it is and waits to be ended, or reset, from outside."""
        if not self._parked:
            self._parked = True
            self.tell("SHUTDOWN", guest=True, reason=reason)
            self.tell("STOP")
        self.cpu.stop()

    @property
    def parked(self) -> bool:
        """The guest is switched off and stays (-no-shutdown)."""
        return self._parked

    def switch_on(self) -> None:
        """Reset a machine that is `parked`; it is paused then."""
        self._parked = False
        self.paused = True
        self.reset("host-qmp-system-reset")

    # -- what the processor reports

    def log_interrupts(self) -> None:
        """Have the processor report what `on_interrupt` and `on_flush` want."""
        self.cpu.on_event(self._event, log_interrupts=True)

    def _event(self, kind: int, a: int, b: int) -> None:
        if kind == EVENT_UNIMPLEMENTED:
            self._unimplemented(a, b)
        elif kind == EVENT_INTERRUPT:
            for callback in self.on_interrupt:
                callback(a, b)
        elif kind == EVENT_FLUSH:
            for callback in self.on_flush:
                callback(a, b)
        elif kind == EVENT_MODE:
            for callback in self.on_mode:
                callback(a, b)
        elif kind == EVENT_APIC_BASE and self.bus.apic_base is not None:
            self.bus.apic_base(a)
        elif kind == EVENT_TSC_DEADLINE and self.bus.tsc_deadline is not None:
            self.bus.tsc_deadline(_signed(a | b << 32) if a or b else None)
        elif kind == EVENT_FERR and self.on_ferr is not None:
            self.on_ferr()
        elif kind == EVENT_RESET:
            self.request_reset()

    def _unimplemented(self, kind: int, number: int) -> None:
        """Name a register that the processor does not have, once."""
        if (kind, number) not in self._named and len(self._named) < MAX_NAMED:
            self._named.add((kind, number))
            what = REGISTER_KINDS.get(kind, "register %#x") % number
            UNIMP.info("processor: %s is not modelled", what)

    # -- running

    def power_on(self) -> None:
        """Bring everything to its reset state; called once, before `run`."""
        self.cpu.reset()
        for callback in self.on_reset:
            callback()

    def reset(self, reason: str = "host-qmp-system-reset") -> None:
        """The reset button: virtual time and RAM stay, everything else starts over."""
        self.resets += 1
        self.asleep = self._wake_wanted = False
        self._start_over(self.on_reset)
        self.tell("RESET", guest=reason.startswith("guest"), reason=reason)

    def _start_over(self, callbacks: Sequence[Callable[[], None]]) -> None:
        self._retired_before += self.cpu.icount
        self.clock.across_reset(self.cpu.reset)
        for callback in callbacks:
            callback()

    def run(self, outside: Outside | None = None) -> Ending:
        """Run until something ends the machine.

        Raises what a device raised (`emu.errors.DeviceError`) and MachineError for a fault of the processor itself.
        """
        world: Outside = Vacuum() if outside is None else outside
        while self.ending is None:
            self.clock.fire()
            if self.workers.late:
                self.workers.poll()
            world.poll(self)
            if self.ending is not None:
                break
            if self._reset_wanted:
                self._restart()
                continue
            if self.paused or self.frozen:
                if not world.wait(self, None):
                    self.end(Cause.QUIT, 0, "nothing can start the processor")
                continue
            if self._deferred is not None:
                last, self._deferred = self._deferred, None
                last()
                continue
            if self._parked:
                if not world.wait(self, None):
                    self.end(Cause.POWEROFF)
                continue
            if self.asleep:
                if self._wake_wanted:
                    self._wake_up()
                else:
                    self._sleep(world)
                continue
            budget = self._budget()
            if budget:
                started, before = wall(), self.cpu.icount
                self._slice_over = started + LONGEST_SLICE
                if self._idles:
                    self._let_idle()
                if self._nets and self.cpu.lent_net is not None:  # type: ignore[attr-defined]
                    self._let_wait()
                reason = self.execute(budget)
                self._adapt(self.cpu.icount - before, wall() - started)
                self._leave(reason, world)
        return self.ending

    def step(self, count: int, *, until: int | None = None) -> Exit:
        """Retire at most `count` instructions, with timers, without the outside. Returns the last exit.

        Also returns when virtual time reaches `until` (absolute ns), and on a halt that only the outside could end:
        one with interrupts off, without a timer, or that `HALT_WAKEUPS` timers in a row did not end.
        """
        target = self.retired + count
        reason = Exit.BUDGET
        halted_at, wakeups = -1, 0
        while self.retired < target and self.ending is None:
            self.clock.fire()
            if self._reset_wanted:
                self._restart()
                continue
            if self._wake_wanted:
                self._wake_up()
            budget = self.clock.budget(target - self.retired)
            if until is not None:
                budget = min(budget, -((self.clock.now() - until) // NS_PER_INSN))
                if self.clock.now() >= until:
                    return reason
            if not budget:
                continue
            reason = Exit.HALT if self.asleep else self.execute(budget)
            if reason == Exit.HOOK:
                self._serve()
            elif reason == Exit.HALT:
                if self.clock.next_wakeup() is None or (self.masked() and not self.asleep):
                    return reason
                if self.clock.hurry():
                    continue
                if self.retired != halted_at:
                    halted_at, wakeups = self.retired, 0
                wakeups += 1
                if until is None and wakeups > HALT_WAKEUPS:
                    return reason
                deadline = self.clock.next_deadline()
                if deadline is not None:
                    self.clock.skip_to(deadline if until is None else min(deadline, until))
            elif reason in (Exit.SHUTDOWN, Exit.ERROR):
                return reason
        return reason

    def _look_at_wall(self) -> None:
        """A slice that turns slow all at once, by its accesses to devices, ends early: the outside waits for it."""
        if self.fixed_slice is None and wall() > self._slice_over:
            self._slice_over = FOREVER
            self.cpu.stop()

    def _adapt(self, done: int, seconds: float) -> None:
        if seconds > 2 * SLICE_SECONDS:
            self._slice = max(1000, int(done * SLICE_SECONDS / seconds))
        elif seconds < SLICE_SECONDS and self._slice < SLICE:
            self._slice = min(SLICE, 2 * self._slice)

    def _budget(self) -> int:
        limit = self.fixed_slice or (min(self._slice, BRISK_SLICE) if self.brisk else self._slice)
        if self.max_insns is not None:
            left = self.max_insns - self.retired
            if left <= 0:
                self.end(Cause.LIMIT, 124, f"stopped after {self.retired} instructions (--max-insns)")
                return 0
            limit = min(limit, left)
        if self.stuck is not None:
            limit = min(limit, LOOK - self.retired % LOOK)
        return self.clock.budget(limit)

    def _let_idle(self) -> None:
        """A processor that waits for its timers or a disk in its care does so by itself where nobody could tell."""
        pacer, talks = self.pacer, self.patience()
        if self.clock.wakeful:
            return
        if pacer is not None and (talks is not None or self.workers.busy):
            # Who is behind the wall looks outside while it catches up, or answers would come late in its time.
            lead = int(pacer.LEAD * 1e9)
            limit = min(pacer.limit(pacer.LEAD), self.clock.now() + lead)
        elif pacer is not None:
            limit = pacer.limit(pacer.idle_lead)
        elif talks is None:
            limit = FOREVER
        else:
            return
        self.cpu.idle_until = self.clock.idle(limit)  # type: ignore[attr-defined]

    def _let_wait(self) -> None:
        """A processor that waits for frames from outside does so by itself, for a short while."""
        self.cpu.outer = self.clock.idle(FOREVER)  # type: ignore[attr-defined]
        self.cpu.pace = None if self.pacer is None else self.pacer.origin()  # type: ignore[attr-defined]

    def _leave(self, reason: Exit, world: Outside) -> None:
        if reason == Exit.HALT:
            self._halted(world)
        elif reason == Exit.BUDGET:
            looks = self.retired % LOOK == 0 or self.retired == self.max_insns
            if self.stuck is not None and looks and self.stuck():
                world.at_rest(self)
                if self.patient:
                    world.wait(self, None)
                elif self.ending is None:
                    where = self.cpu.reg(self.pc_name)
                    self._dead(f"the processor loops on itself with interrupts off at {self.pc_name} {where:#x}")
        elif reason == Exit.HOOK:
            self._serve()
        elif reason == Exit.SHUTDOWN:
            if self.last_look is not None and self.last_look(Cause.SHUTDOWN, self.shutdown_name):
                self.pause()
                self._deferred = self._shutdown
            else:
                self._shutdown()
        elif reason == Exit.ERROR:
            raise MachineError("the processor reported an internal error")

    def _serve(self) -> None:
        """The firmware's turn."""
        if self.on_hook is None:
            return
        try:
            self.on_hook(self.cpu.hook_value)
        except MachineError:
            raise
        except Exception as error:
            raise MachineError(f"firmware: {type(error).__name__}: {error}") from error

    def _halted(self, world: Outside) -> None:
        if not self.cpu.halted or self._reset_wanted or self._parked or self.ending is not None:
            return
        masked = self.masked()
        if not masked and self.clock.hurry():
            return
        wake = self.clock.next_wakeup()
        if masked or wake is None:
            world.at_rest(self)
            if self.ending is not None:
                return
            if masked:
                if self.patient:
                    world.wait(self, None)
                    return
                where = self.cpu.reg(self.pc_name)
                self._dead(f"the processor halted with interrupts off at {self.pc_name} {where:#x}")
                return
            if self.clock.next_wakeup() is not None:
                return  # the last look has queued input
            if self.workers.late and self.workers.finished.wait(LATE_SECONDS):
                return
            if not self.workers.late and not world.wait(self, None):
                if self.ending is None:
                    self.end(Cause.DEAD, 0, "the processor waits for an interrupt, and no device has one to give")
                return
            if self.pacer is not None:
                self.clock.skip_to(self.pacer.reached())
            return
        self._pass_time(world)

    def _sleep(self, world: Outside) -> None:
        """Nothing runs until a device or somebody outside wakes the machine."""
        if self.clock.next_deadline() is not None:
            self._pass_time(world)
        elif not world.wait(self, None):
            self.end(Cause.DEAD, 0, "the guest sleeps, and nothing can wake it")
        elif self.pacer is not None:
            self.clock.skip_to(self.pacer.reached())

    def _pass_time(self, world: Outside) -> None:
        """Go on to the next timer, or wait for it on the wall."""
        deadline = self.clock.next_deadline()
        if deadline is None:
            return
        pacer, talks = self.pacer, self.patience()
        seconds = 0.0
        if pacer is not None and talks is None and not self.workers.busy:
            seconds = pacer.ahead(deadline, pacer.idle_lead)
        elif (pacer := pacer or talks) is not None:
            seconds = pacer.ahead(deadline)
        if pacer is not None and seconds > 0 and world.wait(self, seconds):
            self.clock.skip_to(min(deadline, pacer.reached()))
            return
        self.clock.skip_to(deadline)

    def _dead(self, text: str) -> None:
        text = f"{text}: nothing can wake it"
        if self.last_look is not None and self.last_look(Cause.DEAD, text):
            self.pause()
        else:
            self.end(Cause.DEAD, 0, text)

    def _shutdown(self) -> None:
        if self.shutdown_is_failure or not self.shutdown_restarts:
            self.end(Cause.SHUTDOWN, 3, self.shutdown_name)
        elif self.no_reboot:
            if self.no_shutdown:
                self._stay("guest-reset")
            else:
                self.end(Cause.SHUTDOWN, 0)
        else:
            self._restart()

    def _restart(self) -> None:
        self._reset_wanted = False
        if self.no_reboot:
            if self.no_shutdown:
                self._stay("guest-reset")
            else:
                self.end(Cause.RESET)
        else:
            reason, self._reset_reason = self._reset_reason, "guest-reset"
            self.reset(reason)

    # -- looking at it from outside

    def digest(self) -> str:
        """Hex SHA-256 over processor, memory, time and devices: equal runs have equal digests."""
        total = hashlib.sha256()
        total.update(self.cpu.digest().encode())
        total.update(self.clock.now().to_bytes(16, "little"))
        block = 1 << 20
        zeros = bytes(block)
        view = self.ram.view
        for start in range(0, view.nbytes, block):
            part = bytes(view[start : start + block])
            if part != zeros[: len(part)]:
                total.update(start.to_bytes(8, "little"))
                total.update(part)
        for name in sorted(self.devices):
            total.update(name.encode())
            total.update(_canonical(self.devices[name].save()))
        return total.hexdigest()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _canonical(value: Any) -> bytes:
    """Plain data as bytes, the same for equal data."""
    if isinstance(value, dict):
        return b"{" + b",".join(str(k).encode() + b":" + _canonical(value[k]) for k in sorted(value, key=str)) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(_canonical(item) for item in value) + b"]"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return hashlib.sha256(value).digest()
    return repr(value).encode()
