"""The reference tier: the same entries lowered to Python, one instruction at a time, with nothing to compile.

`PpcCpu` satisfies the `Cpu` protocol of the hub and runs a guest exactly as the C run loop does (`emu/engine/run.c`,
`events.c` and `mmu.c` of this folder): the same state after the same number of instructions, the same accesses to
devices at the same counts. The body of a form becomes a Python function at its first use, registered so that a debugger
steps into it.

Translations are kept until a body says that they are stale. Decoded words are kept by word and model, so changed code
is seen at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import gcd
from typing import Any

from ..lang import softfloat
from ..lang.draft import Draft, take
from ..lang.ir import Block, Call, Procedure, walk
from ..lang.outside import READS, WRITES, Debugged
from ..lang.tier import NS_PER_INSN, Exit, GuestFault
from ..lang.to_python import body_text, compile_text, state_class
from . import models, validate
from . import registers_by_name as names
from . import state as S
from .decoder import decode, field_names
from .forms import Form, field_of, syndrome
from .procedures import ROOTS
from .story import tell

M32, M64 = 0xFFFFFFFF, (1 << 64) - 1
PAGE = 4096
LOW = PAGE - 1
STOP, HOOK, ERROR, SHUTDOWN = 1, 2, 4, 8
STORE, USER, FETCH, EXTERNAL = 1, 2, 4, 8  # bits of an access
EPR, EAS, EGS = 31, 30, 29  # of EPLC and EPSC
LITTLE, SMALL = 2, 16  # rights of `walk`
EVENT_UNIMPLEMENTED, EVENT_INTERRUPT, EVENT_TIMERS, EVENT_RESET = 1, 2, 5, 6
NEVER = M64
BRANCH_TO_SELF = 0x48000000
# What a translation depends on, beside the PIDs and LPID.
CONTEXT = 1 << S.MSR_GS | 1 << S.MSR_PR | 1 << S.MSR_IS | 1 << S.MSR_DS
COUNTERS = ("decoded", "walks", "forgotten", "interrupts", "exceptions", "mmio_reads", "mmio_writes", "dcrs")

State = state_class(S.STATE, "PpcState")
Body = Callable[[Any, Any, Any], None]

_space: dict[str, Any] = {}
_bodies: dict[str, Body] = {}


class Interrupt(Exception):
    """An interrupt leaves the instruction; DEAR is in the state."""

    def __init__(self, ivor: int, esr: int) -> None:
        super().__init__(ivor, esr)
        self.ivor = ivor
        self.esr = esr


class Insn:
    """A decoded instruction: the fields of its form and the address behind it."""

    def __init__(self, form: Form, word: int) -> None:
        self.form = form
        for name in field_names(form.ident):
            setattr(self, name, field_of(word, name))
        self.next = 0


def _compile_procedures(block: Block) -> None:
    """Make the functions of all procedures that a body reaches."""
    for stmt in walk(block):
        if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
            compile_procedure(stmt.callee)


def compile_procedure(proc: Any) -> Callable[..., Any]:
    """The Python function of a procedure of the spec: `f(s, m, ...)`."""
    name = f"proc_{proc.name}"
    if name not in _space:
        proc.trace()
        _space[name] = None
        _compile_procedures(proc.body)
        compile_text(body_text(name, proc.body, proc.args, proc, proc.doc), f"<ppc procedure {proc.name}>", _space)
    function: Callable[..., Any] = _space[name]
    return function


def compile_form(form: Form) -> Body:
    """The Python function of a form: `f(s, m, i)`."""
    body = _bodies.get(form.ident)
    if body is None:
        if not form.block:
            form.trace()
        _compile_procedures(form.block)
        name = f"op_{form.ident}"
        compile_text(body_text(name, form.block, doc=form.entry.doc), f"<ppc {form.ident}: {form.syntax}>", _space)
        body = _bodies[form.ident] = _space[name]
    return body


class PpcCpu(Debugged):
    """A 32-bit Book E processor. `bus` answers MMIO, DCRs and interrupt acknowledge; `ram` is a `GuestRam`.

    The methods named like the externs of `externs.py` are for the generated bodies."""

    tier = "reference"

    def __init__(self, bus: Any, ram: Any, model: str = models.DEFAULT, tb_frequency: int = 400_000_000) -> None:
        self.model = models.model(model)
        self.bus = bus
        self.ram = ram
        self.s: Any = State()
        self.icount = 0
        self.time_offset = 0
        self.hook_value = 0
        unit = gcd(tb_frequency, 1_000_000_000)
        self._tb_num, self._tb_den = tb_frequency // unit, 1_000_000_000 // unit
        for proc in ROOTS:
            compile_procedure(proc)
        self._view: memoryview = ram.view
        self._timer: Any = None
        self._decoded: dict[int, tuple[Insn, Body] | None] = {}
        self._translations: dict[tuple[int, ...], tuple[int, int]] = {}
        self._on_event: Any = None
        self._log_interrupts = False
        self._error: BaseException | None = None
        self._flags = 0
        self._debugging = 0
        self._target: int | None = None
        self._story: list[dict[str, int]] = []
        self._counts = dict.fromkeys(COUNTERS, 0)
        self.reset()

    def _call(self, name: str, *args: int) -> Any:
        return _space[f"proc_{name}"](self.s, self, *args)

    # --- running -------------------------------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """Waiting for an interrupt."""
        return bool(self.s.halted)

    def run(self, budget: int) -> Exit:
        """Retire at most `budget` more instructions; see `emu.cpu.Cpu.run`."""
        reason = self._run(self.icount + max(budget, 0))
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return reason

    def _run(self, end: int) -> Exit:
        pending = _space["proc_pending"]
        while True:
            if self._flags:
                return self._asked()
            if self.icount >= end:
                return Exit.BUDGET
            ivor = S.NO_INTERRUPT if self._hold else pending(self.s, self)
            if ivor != S.NO_INTERRUPT:
                self._take(ivor, 0, 2)
                continue
            if self.s.halted:
                return Exit.HALT
            if self._breaks and self._break_here(self.s.pc):
                continue
            if self._debugging & 1:
                self._watched_step()
                continue
            interrupt = self._step()
            if interrupt is not None:
                self._take(interrupt.ivor, interrupt.esr, 0)

    def _asked(self) -> Exit:
        flags, self._flags = self._flags, 0
        if flags & SHUTDOWN:
            return Exit.SHUTDOWN
        if flags & ERROR:
            return Exit.ERROR
        if flags & HOOK:
            self._flags = flags & STOP
            return Exit.HOOK
        return Exit.STOP

    def _watched_step(self) -> None:
        """One instruction between the questions of debug mode."""
        if self._call("debug_fetch"):
            self._take(S.DEBUG, 0, 2)
            return
        interrupt = self._step()
        if interrupt is not None:
            self._take(interrupt.ivor, interrupt.esr, 0)
        elif self._debugging & 1:
            self._call("debug_done")  # what it records is an interrupt that waits

    def _step(self) -> Interrupt | None:
        """Run the instruction at PC. An interrupt leaves PC on it and is not counted."""
        s = self.s
        pc = s.pc
        try:
            insn, body = self._fetch(pc)
            insn.next = (pc + 4) & M32
            self._target = None
            body(s, self, insn)
        except Interrupt as interrupt:
            s.pc = pc
            if interrupt.ivor in (S.DATA_STORAGE, S.ALIGNMENT, S.DATA_TLB):
                interrupt.esr |= syndrome(insn.form)
            return interrupt
        if insn.form.entry.ends != "far":
            s.pc = insn.next if self._target is None else self._target
        self.icount += 1
        return None

    def _fetch(self, pc: int) -> tuple[Insn, Body]:
        at, rights = self._translate(pc, FETCH | self._privilege())
        word = self._piece_read(at, 4, rights & LITTLE)
        try:
            known = self._decoded[word]
        except KeyError:
            self._counts["decoded"] += 1
            found = decode(word, 0, self.model.features)
            known = None if found is None else (Insn(found.form, word), compile_form(found.form))
            self._decoded[word] = known
        if known is None:
            raise Interrupt(S.PROGRAM, S.ESR_PIL)
        return known

    def _take(self, ivor: int, esr: int, kind: int) -> None:
        """Deliver an interrupt; it counts as one instruction. kind 0: of an instruction, 2: asynchronous."""
        s = self.s
        self._counts["interrupts" if kind else "exceptions"] += 1
        self._story.append({
            "icount": self.icount + 1, "vector": ivor, "error": esr, "kind": kind, "pc": s.pc, "msr": s.msr,
            "dear": s.fault_dear,
        })  # fmt: skip
        del self._story[:-16]
        if self._log_interrupts:
            self._event(EVENT_INTERRUPT, ivor | kind << 8, esr)
        self._call("deliver", ivor, esr, s.fault_dear)
        self.icount += 1

    def stop(self) -> None:
        """Make `run` return STOP at the next instruction boundary."""
        self._flags |= STOP

    def now(self) -> int:
        """Virtual time in ns: of the beginning of an instruction, within it."""
        return self.icount * NS_PER_INSN + self.time_offset

    def stop_at(self, deadline: int) -> None:
        """Make `run` return at a virtual time at the latest: it returns at the next instruction boundary."""
        self.stop()

    def hook(self, value: int) -> None:
        """From a callback: make `run` return HOOK after this instruction, with `hook_value` set."""
        self.hook_value = value & M32
        self._flags |= HOOK

    # --- pins and time -------------------------------------------------------------------------------------------

    def _pin(self, bit: int, level: bool) -> None:
        self.s.pins = self.s.pins | 1 << bit if level else self.s.pins & ~(1 << bit)

    def set_intr(self, level: bool) -> None:
        """Drive the external input."""
        self._pin(S.PIN_EXTERNAL, level)

    def set_critical(self, level: bool) -> None:
        """Drive the critical input."""
        self._pin(S.PIN_CRITICAL, level)

    def machine_check(self) -> None:
        """Latch one machine check."""
        self._pin(S.PIN_MACHINE_CHECK, True)

    def nmi(self) -> None:
        """The nearest thing to an NMI: a machine check."""
        self.machine_check()

    def set_a20(self, enabled: bool) -> None:
        """There is no such gate."""

    @property
    def a20(self) -> bool:
        """There is no such gate."""
        return True

    def set_steady(self, paddr: int, value: int | None) -> None:
        """A promise about a device register; this tier asks the bus all the same."""

    def set_steady_port(self, port: int, value: int | None, until: int = 0, writes: bool = False) -> None:
        """A promise about a port, which is asked all the same."""

    def attach_clock(self, clock: Any) -> None:
        """Let the clock fire the decrementer and the other timers."""
        self._timer = clock.timer("timers of the processor", self._expired)
        self._arm()

    def detach_clock(self) -> None:
        """Its timers fire no more: another processor takes over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._call("timers_tick")
        self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            return
        ticks = self._call("timers_next")
        if ticks == NEVER:
            self._timer.cancel()
            return
        target = self.time_base() + ticks
        self._timer.arm(-(-target * self._tb_den // self._tb_num))

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def interruptible(self) -> bool:
        """Whether the wait state can end by an external, critical or timer interrupt."""
        return bool(self.s.msr & (1 << S.MSR_EE | 1 << S.MSR_CE))

    @property
    def stuck(self) -> bool:
        """Whether it runs in place with external interrupts masked: a branch to itself, or the wait state."""
        s = self.s
        if s.msr >> S.MSR_EE & 1:
            return False
        if s.halted:
            return True
        dear = s.fault_dear
        try:
            at, rights = self._translate(s.pc, FETCH | self._privilege())
        except Interrupt:
            s.fault_dear = dear
            return False
        return self._place(at) is not None and self._piece_read(at, 4, rights & LITTLE) == BRANCH_TO_SELF

    def reset(self) -> None:
        """The state after a hardware reset of the model; `icount` becomes 0."""
        self.s.reset()
        self.icount = 0
        self._flags = 0
        self._story.clear()
        self.load_values(models.reset_values(self.model))
        self._arm()

    def load_values(self, values: dict[str, int | dict[int, int]]) -> None:
        """Set state registers; elements of files by index (`models.reset_values`, `models.boot_values`)."""
        for name, value in values.items():
            if isinstance(value, dict):
                for k, x in value.items():
                    getattr(self.s, name)[k] = x
            else:
                setattr(self.s, name, value)
        self._refresh()

    def _refresh(self) -> None:
        self._translations.clear()
        self.mode_changed()

    def reg(self, name: str) -> int:
        """A register by its manual name; timer registers as of now."""
        if name in names.TIMERS:
            self._call("timers_tick")
        return names.read(self.s, name)

    def set_reg(self, name: str, value: int) -> None:
        """Write a register by its manual name. Raises KeyError, and ValueError for a state that cannot be."""
        if name in names.PLAIN:
            names.write(self.s, name, value)
            return
        if name in names.TIMERS:
            self._call("timers_tick")
        draft = Draft(self.s)
        names.write(draft, name, value)
        self._store(draft, False)
        self._arm()

    def _store(self, draft: Draft, whole: bool) -> None:
        validate.check(draft, self.model, whole=whole)
        draft.commit()
        self._refresh()

    def state(self) -> dict[str, int | list[int]]:
        """All registers of `cores.ppc.state` as plain data."""
        out: dict[str, int | list[int]] = self.s.as_dict()
        return out

    def load_state(self, state: dict[str, int | list[int]]) -> None:
        """Replace registers. Raises ValueError before anything changes if the result cannot be; see `validate`."""
        draft = Draft(self.s)
        take(draft, S.STATE, state)
        self._store(draft, True)

    # --- memory from outside -------------------------------------------------------------------------------------

    def translate(self, lin: int) -> int:
        """Physical address of an effective one that anybody may read or run. Raises GuestFault."""
        for access in (0, USER, FETCH, FETCH | USER):
            ok, at, _, _, _ = self._call("walk", lin & M32, access)
            if ok:
                return int(at)
        raise GuestFault(lin & M32)

    def _pieces(self, lin: int, n: int) -> list[tuple[int, int]]:
        out = []
        while n > 0:
            size = min(n, PAGE - (lin & LOW))
            out.append((self.translate(lin), size))
            lin += size
            n -= size
        return out

    def read_linear(self, lin: int, n: int) -> bytes:
        """`n` bytes at an effective address. Raises GuestFault."""
        parts = []
        for at, size in self._pieces(lin, n):
            for address, count, region in self.ram.pieces(at, size):
                if region is None or region.kind == 3:
                    parts.append(b"\xff" * count)
                else:
                    start = region.offset + address - region.paddr
                    parts.append(bytes(self._view[start : start + count]))
        return b"".join(parts)

    def write_linear(self, lin: int, data: bytes) -> None:
        """Write at an effective address, all or nothing. Raises GuestFault."""
        done = 0
        for at, size in self._pieces(lin, len(data)):
            for address, count, region in self.ram.pieces(at, size):
                if region is not None and region.kind in (0, 2):
                    start = region.offset + address - region.paddr
                    self._view[start : start + count] = data[done : done + count]
                done += count

    def invalidate(self, paddr: int, n: int) -> None:
        """Physical bytes changed from outside; nothing to do, since words are decoded as they are read."""

    def remap(self) -> None:
        """The region list changed; nothing is derived from it here."""

    # --- reports -------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """SHA-256 over the registers that are not hidden, in declaration order, eight bytes each."""
        h = hashlib.sha256()
        for r in S.STATE:
            if r.hidden:
                continue
            v = getattr(self.s, r.name)
            for x in v if r.count else (v,):
                h.update(x.to_bytes(8, "little"))
        return h.hexdigest()

    def stats(self) -> dict[str, Any]:
        """Counters of this tier."""
        return {"tier": self.tier, **self._counts, "functions": len(_bodies)}

    def exceptions(self) -> list[dict[str, int]]:
        """The last 16 deliveries, oldest first: icount, vector, error, kind, pc, msr, dear."""
        return [dict(record) for record in self._story]

    def fault_story(self) -> list[str]:
        """After SHUTDOWN: the last interrupts in plain words."""
        return tell(self.exceptions())

    def on_event(self, callback: Any, *, log_interrupts: bool = False) -> None:
        """Call `callback(kind, a, b)` for the events of `emu.cpu`; deliveries only if asked."""
        self._on_event = callback
        self._log_interrupts = log_interrupts

    # --- what callbacks go through -------------------------------------------------------------------------------

    def _ask(self, function: Callable[..., Any], *args: int) -> int:
        """Call the bus. What it raises is kept for `run`, and the guest sees all ones until the boundary."""
        try:
            return int(function(*args))
        except BaseException as error:
            self._failed(error)
            return M32

    def _tell(self, function: Callable[..., Any], *args: int) -> None:
        try:
            function(*args)
        except BaseException as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._flags |= ERROR

    def _event(self, kind: int, a: int, b: int) -> None:
        if self._on_event is not None:
            self._tell(self._on_event, kind, a, b)

    # --- memory --------------------------------------------------------------------------------------------------

    def _privilege(self) -> int:
        return USER if self.s.msr >> S.MSR_PR & 1 else 0

    def _translate(self, ea: int, access: int) -> tuple[int, int]:
        """Physical address and rights of an effective one. Raises Interrupt."""
        s = self.s
        if access & EXTERNAL:
            return self._translate_external(ea, access)
        key = (ea >> 12, access, s.msr & CONTEXT, *s.pid, s.lpid)
        known = self._translations.get(key)
        if known is not None:
            return known[0] | ea & LOW, known[1]
        self._counts["walks"] += 1
        ok, at, rights, ivor, esr = self._call("walk", ea, access)
        if not ok:
            s.fault_dear = ea
            raise Interrupt(ivor, esr)
        if not rights & SMALL:
            self._translations[key] = at & ~LOW, rights
        return at, rights

    def _translate_external(self, ea: int, access: int) -> tuple[int, int]:
        """In the context of EPLC or EPSC."""
        s = self.s
        context = s.epsc if access & STORE else s.eplc
        kept = s.msr, s.pid[0], s.lpid
        bits = (context >> EGS & 1) << S.MSR_GS | (context >> EAS & 1) << S.MSR_DS
        s.msr = s.msr & ~(1 << S.MSR_GS | 1 << S.MSR_DS) | bits
        s.pid[0], s.lpid = context & 0xFF, context >> 16 & 0x3F
        ok, at, rights, ivor, esr = self._call("walk", ea, access & STORE | (USER if context >> EPR & 1 else 0))
        s.msr, s.pid[0], s.lpid = kept
        if not ok:
            s.fault_dear = ea
            raise Interrupt(ivor, esr | S.ESR_EPID)
        return at, rights

    def _place(self, at: int) -> tuple[int, int] | None:
        """Offset in the RAM buffer and kind of region of a physical address, None if it belongs to the bus."""
        region = self.ram.find(at)
        if region is None or int(region.kind) == 3:
            return None
        return region.offset + at - region.paddr, int(region.kind)

    def _bus_read(self, at: int, size: int) -> int:
        self._counts["mmio_reads"] += 1
        return self._ask(self.bus.mmio_read, at, size) & ((1 << 8 * size) - 1)

    def _bus_write(self, at: int, size: int, value: int) -> None:
        self._counts["mmio_writes"] += 1
        self._tell(self.bus.mmio_write, at, size, value)

    def _piece_read(self, at: int, size: int, little: int) -> int:
        """A piece within one page. Devices speak in numbers, so theirs are turned only for a little-endian page."""
        place = self._place(at)
        if place is not None:
            return int.from_bytes(self._view[place[0] : place[0] + size], "little" if little else "big")
        if size == 8:
            value = self._bus_read(at, 4) << 32 | self._bus_read(at + 4, 4)
        elif at & (size - 1):
            value = 0
            for k in range(size):
                value = value << 8 | self._bus_read(at + k, 1)
        else:
            value = self._bus_read(at, size)
        return _turned(value, size) if little else value

    def _piece_write(self, at: int, size: int, little: int, value: int) -> None:
        place = self._place(at)
        if place is not None:
            if place[1] != 1:
                self._view[place[0] : place[0] + size] = value.to_bytes(size, "little" if little else "big")
            return
        if little:
            value = _turned(value, size)
        if size == 8:
            self._bus_write(at, 4, value >> 32)
            self._bus_write(at + 4, 4, value & M32)
        elif at & (size - 1):
            for k in range(size):
                self._bus_write(at + k, 1, value >> 8 * (size - 1 - k) & 0xFF)
        else:
            self._bus_write(at, size, value)

    def _read(self, ea: int, size: int, access: int) -> int:
        at, rights = self._translate(ea, access)
        room = PAGE - (ea & LOW)
        if size <= room:
            value = self._piece_read(at, size, rights & LITTLE)
        else:
            second, _ = self._translate((ea + room) & M32, access)
            value = 0
            for k in range(size):
                value = value << 8 | self._piece_read(at + k if k < room else second + k - room, 1, 0)
            if rights & LITTLE:
                value = _turned(value, size)
        if self._debugging & 2:
            self._call("debug_data", ea, size, 0, _turned(value, size) if rights & LITTLE else value)
        if self._watches:
            self._watch(ea, size, READS)
        return value

    def _write(self, ea: int, size: int, value: int, access: int) -> None:
        at, rights = self._translate(ea, access)
        room = PAGE - (ea & LOW)
        if size <= room:
            self._piece_write(at, size, rights & LITTLE, value)
        else:
            # Both pages are checked before either is written.
            second, _ = self._translate((ea + room) & M32, access)
            moved = _turned(value, size) if rights & LITTLE else value
            for k in range(size):
                place = at + k if k < room else second + k - room
                self._piece_write(place, 1, 0, moved >> 8 * (size - 1 - k) & 0xFF)
        if self._debugging & 2:
            self._call("debug_data", ea, size, 1, _turned(value, size) if rights & LITTLE else value)
        if self._watches:
            self._watch(ea, size, WRITES)

    def mem_probe_r(self, ea: int) -> None:
        """Extern."""
        self._translate(ea, self._privilege())

    def mem_probe_w(self, ea: int) -> None:
        """Extern."""
        self._translate(ea, self._privilege() | STORE)

    def physical(self, ea: int) -> int:
        """Extern."""
        return self._translate(ea, self._privilege())[0]

    def still_holds(self, ea: int, granule: int, value: int) -> int:
        """Extern. The granule of a reservation is 32 bytes."""
        at, rights = self._translate(ea, self._privilege() | STORE)
        return int(at & ~31 == granule and self._piece_read(at, 4, rights & LITTLE) == value)

    def zero_line(self, ea: int) -> None:
        """Extern: dcbz."""
        self._zero(ea, self._privilege() | STORE)

    def _zero(self, ea: int, access: int) -> None:
        """There is no line to make where nothing is cached."""
        size = self.model.line
        ea &= ~(size - 1)
        at, _ = self._translate(ea, access)
        if self._place(at) is None:
            self.s.fault_dear = ea
            raise Interrupt(S.ALIGNMENT, S.ESR_ST | (S.ESR_EPID if access & EXTERNAL else 0))
        for k in range(0, size, 8):
            self._piece_write(at + k, 8, 0, 0)
        if self._debugging & 2:
            self._call("debug_data", ea, size, 1, 0)
        if self._watches:
            self._watch(ea, size, WRITES)

    def external_read(self, ea: int, size: int) -> int:
        """Extern."""
        return self._read(ea, size, EXTERNAL)

    def external_write(self, ea: int, size: int, value: int) -> None:
        """Extern."""
        self._write(ea, size, value, EXTERNAL | STORE)

    def external_probe(self, ea: int) -> None:
        """Extern."""
        self._translate(ea, EXTERNAL)

    def external_zero(self, ea: int) -> None:
        """Extern."""
        self._zero(ea, EXTERNAL | STORE)

    def code_line(self, ea: int) -> None:
        """Extern: only its rights are checked."""
        self.mem_probe_r(ea)

    def context_synchronize(self) -> None:
        """Extern: nothing is fetched ahead here."""

    def tlb_forget(self, ea: int, mask: int) -> None:
        """Extern."""
        self._counts["forgotten"] += 1
        self._translations.clear()

    # --- other externs -------------------------------------------------------------------------------------------

    def raise_interrupt(self, ivor: int, esr: int) -> None:
        """Extern."""
        raise Interrupt(ivor, esr)

    def branch(self, target: int) -> None:
        """A near transfer ends the instruction."""
        self._target = target

    def mode_changed(self) -> None:
        """Extern."""
        self._debugging = self._call("debug_mode")

    def time_base(self) -> int:
        """Extern: raw ticks at which this instruction began."""
        return (self.icount * NS_PER_INSN + self.time_offset) * self._tb_num // self._tb_den

    def timers_changed(self) -> None:
        """Extern."""
        self._arm()

    def dcr_r(self, number: int) -> int:
        """Extern."""
        self._counts["dcrs"] += 1
        return self._ask(self.bus.dcrs.port_read, number, 4) & M32

    def dcr_w(self, number: int, value: int) -> None:
        """Extern."""
        self._counts["dcrs"] += 1
        self._tell(self.bus.dcrs.port_write, number, 4, value)

    def acknowledge(self) -> int:
        """Extern."""
        return self._ask(self.bus.interrupt_acknowledge) & M32

    def reset_request(self, kind: int) -> None:
        """Extern: a checkstop ends the run, the others are the board's."""
        if kind == S.CHECKSTOP:
            self._flags |= SHUTDOWN
        else:
            self._event(EVENT_RESET, kind, 0)

    def unimplemented(self, kind: int, number: int) -> None:
        """Extern."""
        self._event(EVENT_UNIMPLEMENTED, kind, number)


def _turned(value: int, size: int) -> int:
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _add_memory_externs(width: int) -> None:
    size = width // 8

    def mem_r(self: PpcCpu, ea: int) -> int:
        return self._read(ea, size, self._privilege())

    def mem_w(self: PpcCpu, ea: int, value: int) -> None:
        self._write(ea, size, value, self._privilege() | STORE)

    for function in (mem_r, mem_w):
        name = function.__name__ + str(width)
        function.__name__ = name
        function.__qualname__ = f"PpcCpu.{name}"
        setattr(PpcCpu, name, function)


def _add_float_externs() -> None:
    for name, function in softfloat.FUNCTIONS.items():
        setattr(PpcCpu, name, staticmethod(function))


for _width in (8, 16, 32, 64):
    _add_memory_externs(_width)
_add_float_externs()
