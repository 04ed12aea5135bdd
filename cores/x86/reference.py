"""The reference tier: the same entries lowered to Python, one instruction at a time, with nothing to compile.

`X86Cpu` satisfies the `Cpu` protocol of the hub and runs a guest exactly as the C run loop does (`emu/engine/run.c`,
`cores/x86/mmu.c`): the same state after the same number of instructions, the same accesses to devices at the same
counts. The body of a form becomes a Python function at its first use, registered so that a debugger steps into it.

What is modelled beside the entries: the translation cache (2 x 512 direct-mapped entries for data, as many pairs for
fetches), because a guest that changes its tables without a flush can tell; delivery of exceptions and interrupts
between instructions (SDM vol. 3, chapter 6); debug registers (vol. 3, 17.2). Decoded instructions are kept, but each
use compares their bytes with memory, so changed code is seen at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from struct import Struct
from typing import Any

from ..lang import softfloat
from ..lang.draft import Draft, take
from ..lang.ir import Block, Call, Procedure, walk
from ..lang.outside import READS, WRITES, Debugged
from ..lang.tier import NS_PER_INSN, Exit, GuestFault
from ..lang.to_python import body_text, compile_text, state_class
from . import models, paging, story, validate
from . import registers_by_name as names
from . import state as S
from .decoder import Insn, TooLong, decode
from .forms import Form
from .generate import roots

M32 = 0xFFFFFFFF
PAGE = 4096
LOW = PAGE - 1
STOP, HOOK, ERROR, SHUTDOWN = 1, 2, 4, 8
TLB_SIZE, FETCH_SIZE = 512, 512
WRITE, USER, FETCH = 1, 2, 4  # bits of an access
RIGHT_GLOBAL = 1 << paging.GLOBAL
RF, IF, AC = 1 << S.FLAG_RF, 1 << S.FLAG_IF, 1 << S.FLAG_AC
VIF_AND_VIP = 1 << S.FLAG_VIF | 1 << S.FLAG_VIP
ATTENTION = 1 << S.FLAG_TF | 1 << S.FLAG_RF | 1 << S.FLAG_VIP
DECODED_MAX = 1 << 17
COUNTERS = (
    "decoded", "tlb_fills", "tlb_flushes", "interrupts", "exceptions", "mmio_reads", "mmio_writes", "port_reads",
    "port_writes",
)  # fmt: skip
_PIECE = {1: Struct("<B"), 2: Struct("<H"), 4: Struct("<I"), 8: Struct("<Q")}

State = state_class(S.STATE, "X86State")
Body = Callable[[Any, Any, Any], None]

_space: dict[str, Any] = {}
_bodies: dict[str, Body] = {}


class Fault(Exception):
    """An exception of the guest leaves the instruction."""

    def __init__(self, vector: int, error: int) -> None:
        super().__init__(vector, error)
        self.vector = vector
        self.error = error


def _compile_procedures(block: Block) -> None:
    """Make the functions of all procedures that a body reaches."""
    for stmt in walk(block):
        if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
            compile_procedure(stmt.callee)


def compile_procedure(proc: Any) -> Callable[..., Any]:
    """The Python function of a procedure of the spec: `f(s, m, ...)`."""
    name = f"proc_{proc.name}"
    if name not in _space:
        if hasattr(proc, "trace"):
            proc.trace()
        _space[name] = None
        _compile_procedures(proc.body)
        compile_text(body_text(name, proc.body, proc.args, proc, proc.doc), f"<x86 procedure {proc.name}>", _space)
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
        compile_text(body_text(name, form.block, doc=form.entry.doc), f"<x86 {form.ident}: {form.syntax}>", _space)
        body = _bodies[form.ident] = _space[name]
    return body


def undefined(s: Any, m: Any, i: Any) -> None:
    """#UD: the body of bytes that are no instruction."""
    raise Fault(S.UD, 0)


class X86Cpu(Debugged):
    """A 32-bit x86 processor. `bus` answers ports, MMIO and interrupt acknowledge; `ram` is a `GuestRam`.

    The methods named like the externs of `externs.py` are for the generated bodies.
    """

    tier = "reference"

    def __init__(self, bus: Any, ram: Any, model: str = models.DEFAULT) -> None:
        self.model = models.cpu_model(model)
        self.bus = bus
        self.ram = ram
        self.s: Any = State()
        self.icount = 0
        self.time_offset = 0
        self.hook_value = 0
        self._features = (*self.model.features, 0)
        for proc in roots():
            compile_procedure(proc)
        self._deliver_body: Callable[..., None] = _space["proc_deliver"]
        self._walk: Callable[..., tuple[int, int, int, int]] = _space["proc_walk"]
        self._segment_access: Callable[..., int] = _space["proc_segment_access"]
        self._view: memoryview = ram.view
        self._pages: dict[int, tuple[int, int] | None] = {}
        self._decoded: dict[tuple[int, int, int], tuple[Insn, Body, bytes]] = {}
        self._a20 = M32
        self._on_event: Any = None
        self._log_interrupts = False
        self._error: BaseException | None = None
        self._peeking = False
        self._delivered = 0
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._flags = 0
        self._intr = False
        self._nmi = False
        self._story: list[dict[str, int]] = []
        self._clear_tlb()
        self.reset()

    # --- running -------------------------------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """After HLT, until something wakes it."""
        return bool(self.s.halted)

    def run(self, budget: int) -> Exit:
        """Retire at most `budget` more instructions; see `emu.cpu.Cpu.run`."""
        reason = self._run(self.icount + max(budget, 0))
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return reason

    def _run(self, end: int) -> Exit:
        s = self.s
        while True:
            if (
                self._flags
                or self._hold
                or s.shadow
                or s.halted
                or s.debug_pending
                or s.eflags & ATTENTION
                or s.dr[7] & 0xFF
                or (self._intr and s.eflags & IF)
                or (self._nmi and not s.nmi_blocked)
            ):
                if self.icount >= end and not self._flags:
                    return Exit.BUDGET
                reason = self._attend()
                if reason is not None:
                    return reason
                continue
            if self.icount >= end:
                return Exit.BUDGET
            if (self._breaks or self._magic) and self._break_here((s.seg_base[S.CS] + s.eip) & M32):
                continue
            fault = self._step()
            if fault is not None:
                self._take(fault.vector, fault.error, 0)

    def _attend(self) -> Exit | None:
        """A device or the pins want something, or a rule asks for single steps."""
        s = self.s
        flags = self._flags
        if flags:
            self._flags = 0
            if flags & SHUTDOWN:
                return Exit.SHUTDOWN
            if flags & ERROR:
                return Exit.ERROR
            if flags & HOOK:
                self._flags = flags & STOP
                return Exit.HOOK
            return Exit.STOP
        if s.debug_pending and s.shadow != 2:
            s.dr[6] |= s.debug_pending
            s.debug_pending = 0
            s.halted = 0
            self._take(S.DB, 0, 0)
            return None
        if not s.shadow and not self._hold:
            if self._nmi and not s.nmi_blocked:
                self._nmi = False
                s.nmi_blocked = 1
                self._take(S.NMI, 0, 3)
                return None
            if self._intr and s.eflags & IF:
                s.halted = 0
                self._take(self._ask(self.bus.interrupt_acknowledge) & 0xFF, 0, 2)
                return None
        if s.halted:
            return Exit.HALT
        if s.eflags & VIF_AND_VIP == VIF_AND_VIP and self._virtual_interrupt_due():
            self._take(S.GP, 0, 0)
            return None
        if (self._breaks or self._magic) and self._break_here((s.seg_base[S.CS] + s.eip) & M32):
            return None
        if s.dr[7] & 0xFF and not s.eflags & RF:
            hit = self._code_breakpoints((s.seg_base[S.CS] + s.eip) & M32)
            if hit and s.shadow != 2:
                s.dr[6] |= hit
                self._take(S.DB, 0, 0)
                return None
        shadow, step, resume = s.shadow, s.eflags >> S.FLAG_TF & 1, s.eflags & RF
        delivered = self._delivered
        s.eflags &= ~RF
        fault = self._step()
        s.shadow &= ~shadow
        if fault is not None:
            s.eflags |= resume
            self._take(fault.vector, fault.error, 0)
        elif step and self._delivered == delivered and s.shadow != 2:
            # Behind MOV SS the step is lost, not late: only breakpoints wait.
            s.debug_pending |= 0x4000
        return None

    def _virtual_interrupt_due(self) -> bool:
        """With VIF and VIP both set: whether the monitor has to hand over an interrupt first (vol. 3, 20.3.2, 20.4)."""
        s = self.s
        enabled = s.cr4 >> (S.CR4_VME if s.eflags >> S.FLAG_VM & 1 else S.CR4_PVI) & 1
        return bool(enabled and s.cpl == 3 and s.eflags >> S.FLAG_IOPL & 3 != 3)

    def _code_breakpoints(self, lin: int) -> int:
        """DR6 bits of the instruction breakpoints at an address."""
        dr = self.s.dr
        enabled = [k for k in range(4) if dr[7] >> 2 * k & 3 and not dr[7] >> (16 + 4 * k) & 3]
        return sum(1 << k for k in enabled if dr[k] == lin)

    def _step(self) -> Fault | None:
        """Run the instruction at CS:EIP. A fault leaves EIP on it and is not counted."""
        s = self.s
        eip = s.eip
        try:
            insn, body = self._fetch(eip)
            s.eip = insn.next
            body(s, self, insn)
        except Fault as fault:
            s.eip = eip
            return fault
        self.icount += 1
        return None

    def _fetch(self, eip: int) -> tuple[Insn, Body]:
        """The decoded instruction at CS:EIP. Raises Fault."""
        s = self.s
        lin = (s.seg_base[S.CS] + eip) & M32
        big = s.seg_attr[S.CS] >> 14 & 1
        limit = s.seg_limit[S.CS]
        if eip > limit:
            raise Fault(S.GP, 0)
        k = lin >> 12 & (FETCH_SIZE - 1) | (FETCH_SIZE if s.cpl == 3 else 0)
        if self._fetch_tag[k] != lin >> 12:
            first = self.translate_access(lin, FETCH | (USER if s.cpl == 3 else 0))
            if self._fetch_tag[k] != lin >> 12:
                return self._decode(eip, big, None, first)
        at = self._fetch_at[k] + (lin & LOW)
        known = self._decoded.get((at, eip, big))
        if known is not None:
            insn, body, raw = known
            n = len(raw)
            if self._view[at : at + n] == raw and eip + n - 1 <= limit:
                return insn, body
        return self._decode(eip, big, at)

    def _decode(self, eip: int, big: int, at: int | None, first: int | None = None) -> tuple[Insn, Body]:
        """Decode byte by byte; `at` is the place in the RAM buffer if the first byte has one, `first` its physical
        address if that is known: tables in device memory are walked once for each byte."""
        s = self.s
        base, limit = s.seg_base[S.CS], s.seg_limit[S.CS]
        access = FETCH | (USER if s.cpl == 3 else 0)
        address = eip

        def byte() -> int:
            nonlocal address
            if address > limit:
                raise Fault(S.GP, 0)
            if first is not None and address == eip:
                place = first
            else:
                place = self.translate_access((base + address) & M32, access)
            value = self._phys_read(place, 1)
            address = (address + 1) & M32
            return value

        self._counts["decoded"] += 1
        try:
            insn = decode(byte, eip, bool(big), self._features)
        except TooLong:
            raise Fault(S.GP, 0) from None
        body = undefined if insn.form is None else compile_form(insn.form)
        if at is not None and (at & LOW) + len(insn.raw) <= PAGE:
            if len(self._decoded) >= DECODED_MAX:
                self._decoded.clear()
            self._decoded[at, eip, big] = insn, body, insn.raw
        return insn, body

    def _take(self, vector: int, error: int, kind: int) -> None:
        """Deliver a vector, with the rules for faults that meet while another is delivered (SDM vol. 3, table 6-5)."""
        s = self.s
        first, benign = vector, kind != 0
        s.halted = 0
        self._counts["interrupts" if kind else "exceptions"] += 1
        self._record(vector, error, kind)
        for _ in range(8):
            try:
                self._deliver_body(s, self, vector, error, kind, s.eip)
            except Fault as fault:
                second, code = fault.vector, fault.error
            else:
                self.icount += 1
                return
            self._record(second, code, 8)
            if first == S.DF_:
                break
            contributory = _contributory(second)
            if not benign and (
                (_contributory(first) and contributory) or (first == S.PF_ and (contributory or second == S.PF_))
            ):
                vector = first = S.DF_
                error = 0
                self._record(vector, 0, 16)
            else:
                vector = first = second
                error = code
            kind = 0
            benign = False
        self._record(S.DF_, 0, 32)
        self.icount += 1
        self._flags |= SHUTDOWN

    def _record(self, vector: int, error: int, kind: int) -> None:
        s = self.s
        self._story.append({
            "icount": self.icount + 1, "vector": vector, "error": error, "kind": kind,
            "cs": s.seg_sel[S.CS], "eip": s.eip, "cr2": s.cr2,
        })  # fmt: skip
        del self._story[:-16]

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
        """From a port callback: make `run` return HOOK after this instruction, with `hook_value` set."""
        self.hook_value = value & M32
        self._flags |= HOOK

    def set_intr(self, level: bool) -> None:
        """Drive INTR."""
        self._intr = bool(level)

    def nmi(self) -> None:
        """Latch an NMI."""
        self._nmi = True

    def set_a20(self, enabled: bool) -> None:
        """Gate address line 20."""
        mask = M32 if enabled else M32 & ~(1 << 20)
        if mask != self._a20:
            self._a20 = mask
            self._clear_tlb()

    @property
    def a20(self) -> bool:
        """Whether address line 20 is driven."""
        return bool(self._a20 >> 20 & 1)

    def lend_apic(self, apic: object) -> None:
        """It stays where it is."""

    def lend_disk(self, disk: object) -> None:
        """It stays where it is."""

    def lend_data(self, ports: object, data: bytes, span: object, block: int, status: int) -> None:
        """They stay where they are."""

    def lend_net(self, card: object) -> None:
        """It stays where it is."""

    def set_steady(self, paddr: int, value: int | None) -> None:
        """A promise about a device register; this tier asks the bus all the same."""

    def set_counter_port(self, port: int, hertz: int, mask: int) -> None:
        """A promise about a port, which is asked all the same."""

    def set_steady_port(self, port: int, value: int | None, until: int = 0, writes: bool = False) -> None:
        """A promise about a port, which is asked all the same."""

    def reset(self) -> None:
        """Power-on state; `icount` becomes 0."""
        s = self.s
        s.reset()
        for name, value in models.reset_values(self.model).items():
            if isinstance(value, dict):
                place = getattr(s, name)
                for k, x in value.items():
                    place[k] = x
            else:
                setattr(s, name, value)
        self.icount = 0
        self._intr = False
        self._nmi = False
        self._flags = 0
        self._story.clear()
        self._clear_tlb()

    # --- registers -----------------------------------------------------------------------------------------------

    def reg(self, name: str) -> int:
        """A register by its manual name."""
        if name == "eflags":
            return int(_space["proc_eflags_image"](self.s, self))
        return names.read(self.s, name)

    def set_reg(self, name: str, value: int) -> None:
        """Write a register by its manual name. Raises KeyError, and ValueError for a state that cannot be."""
        if name in names.PLAIN:
            names.write(self.s, name, value)
            return
        draft = Draft(self.s)
        names.write(draft, name, value)
        validate.check(draft, self.model, whole=False)
        draft.commit()
        self._clear_tlb()

    def state(self) -> dict[str, int | list[int]]:
        """All registers of `cores.x86.state` as plain data."""
        out: dict[str, int | list[int]] = self.s.as_dict()
        return out

    def load_state(self, state: dict[str, int | list[int]]) -> None:
        """Replace registers. Raises ValueError before anything changes if the result cannot be; see `validate`."""
        draft = Draft(self.s)
        take(draft, S.STATE, state)
        validate.check(draft, self.model)
        draft.commit()
        self._clear_tlb()

    # --- memory from outside -------------------------------------------------------------------------------------

    def translate(self, lin: int) -> int:
        """Physical address of a linear one, as the supervisor, leaving no trace. Raises GuestFault."""
        self._peeking = True
        try:
            ok, at, _, _ = self._walk(self.s, self, lin & M32, 0)
        finally:
            self._peeking = False
        if not ok:
            raise GuestFault(lin & M32)
        return self._gate(at)

    def _pieces(self, lin: int, n: int) -> list[tuple[int, int]]:
        out = []
        while n > 0:
            size = min(n, PAGE - (lin & LOW))
            out.append((self.translate(lin), size))
            lin += size
            n -= size
        return out

    def read_linear(self, lin: int, n: int) -> bytes:
        """`n` bytes at a linear address. Raises GuestFault."""
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
        """Write at a linear address, all or nothing. Raises GuestFault."""
        done = 0
        for at, size in self._pieces(lin, len(data)):
            for address, count, region in self.ram.pieces(at, size):
                if region is not None and region.kind in (0, 2):
                    start = region.offset + address - region.paddr
                    self._view[start : start + count] = data[done : done + count]
                done += count

    def invalidate(self, paddr: int, n: int) -> None:
        """Physical bytes changed from outside; nothing to do, since every use of decoded bytes compares them."""

    def remap(self) -> None:
        """The region list changed."""
        self._pages.clear()
        self._clear_tlb()

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
        """The last 16 deliveries, oldest first: icount, vector, error, kind, cs, eip, cr2."""
        return [dict(record) for record in self._story]

    def fault_story(self) -> list[str]:
        """After SHUTDOWN: the chain of faults in plain words."""
        return story.tell(self.exceptions(), self.reg("idtr.limit"), bool(self.reg("cr0") & 1))

    def on_event(self, callback: Any, *, log_interrupts: bool = False) -> None:
        """Call `callback(kind, a, b)` for the events of `emu.cpu`; deliveries and TLB flushes only if asked."""
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

    # --- physical memory -----------------------------------------------------------------------------------------

    def _gate(self, address: int) -> int:
        return address if self._a20 == M32 else address & ~(1 << 20)

    def _page(self, page: int) -> tuple[int, int] | None:
        """(offset in the RAM buffer, 1 if it may be written) of a physical page, None if it belongs to the bus."""
        try:
            return self._pages[page]
        except KeyError:
            found = None
            for r in self.ram.regions:
                if r.paddr <= page << 12 < r.paddr + r.size and int(r.kind) in (0, 1, 2):
                    found = (r.offset + (page << 12) - r.paddr, int(int(r.kind) != 1))
                    break
            self._pages[page] = found
            return found

    def _phys_read(self, address: int, size: int) -> int:
        """Read a piece that lies within one page."""
        address = self._gate(address)
        place = self._page(address >> 12)
        if place is not None:
            value: int = _PIECE[size].unpack_from(self._view, place[0] + (address & LOW))[0]
            return value
        if self._peeking:
            return (1 << 8 * size) - 1
        self._counts["mmio_reads"] += 1
        if size == 8:
            low = self._ask(self.bus.mmio_read, address, 4)
            return low | self._ask(self.bus.mmio_read, address + 4, 4) << 32
        return self._ask(self.bus.mmio_read, address, size) & ((1 << 8 * size) - 1)

    def _phys_write(self, address: int, size: int, value: int) -> None:
        if self._peeking:
            return
        address = self._gate(address)
        place = self._page(address >> 12)
        if place is not None:
            if place[1]:
                _PIECE[size].pack_into(self._view, place[0] + (address & LOW), value)
            return
        self._counts["mmio_writes"] += 1
        if size == 8:
            self._tell(self.bus.mmio_write, address, 4, value & M32)
            self._tell(self.bus.mmio_write, address + 4, 4, value >> 32)
        else:
            self._tell(self.bus.mmio_write, address, size, value)

    def phys_r32(self, address: int) -> int:
        """Extern."""
        return self._phys_read(address, 4)

    def phys_r64(self, address: int) -> int:
        """Extern."""
        return self._phys_read(address, 8)

    def phys_w32(self, address: int, value: int) -> None:
        """Extern."""
        self._phys_write(address, 4, value)

    def phys_w64(self, address: int, value: int) -> None:
        """Extern."""
        self._phys_write(address, 8, value)

    # --- linear memory -------------------------------------------------------------------------------------------

    def _clear_tlb(self) -> None:
        # Data: page numbers that may be read and written (ROM never may), their place in the RAM buffer, their frame.
        self._rtag = [-1] * (2 * TLB_SIZE)
        self._wtag = [-1] * (2 * TLB_SIZE)
        self._at = [0] * (2 * TLB_SIZE)
        self._physical = [0] * (2 * TLB_SIZE)
        self._global = [False] * (2 * TLB_SIZE)
        self._fetch_tag = [-1] * (2 * FETCH_SIZE)
        self._fetch_at = [0] * (2 * FETCH_SIZE)
        self._fetch_physical = [0] * (2 * FETCH_SIZE)
        self._fetch_global = [False] * (2 * FETCH_SIZE)
        # Beside each the entry before it: tag, place, frame, global.
        self._fetch_second = [(-1, 0, 0, False)] * (2 * FETCH_SIZE)
        self._counts["tlb_flushes"] += 1

    def _clear_local(self) -> None:
        """What does not outlive a new CR3."""
        for k, kept in enumerate(self._global):
            if not kept:
                self._rtag[k] = self._wtag[k] = -1
        for k, kept in enumerate(self._fetch_global):
            if not kept:
                self._fetch_tag[k] = -1
            if not self._fetch_second[k][3]:
                self._fetch_second[k] = (-1, 0, 0, False)
        self._counts["tlb_flushes"] += 1

    def _swap_fetch(self, k: int) -> None:
        """The entry at k becomes the second of its pair, and the second comes to the front."""
        first = (self._fetch_tag[k], self._fetch_at[k], self._fetch_physical[k], self._fetch_global[k])
        self._fetch_tag[k], self._fetch_at[k], self._fetch_physical[k], self._fetch_global[k] = self._fetch_second[k]
        self._fetch_second[k] = first

    def translate_access(self, lin: int, access: int) -> int:
        """Linear to physical with the rights of the access; fills the translation cache. Raises Fault (#PF)."""
        page = lin >> 12
        if access & FETCH:
            k = page & (FETCH_SIZE - 1) | (FETCH_SIZE if access & USER else 0)
            if self._fetch_second[k][0] == page != self._fetch_tag[k]:
                self._swap_fetch(k)
            if self._fetch_tag[k] == page:
                return self._fetch_physical[k] | lin & LOW
        else:
            k = page & (TLB_SIZE - 1) | (TLB_SIZE if access & USER else 0)
            if (self._wtag if access & WRITE else self._rtag)[k] == page:
                return self._physical[k] | lin & LOW
        ok, at, rights, error = self._walk(self.s, self, lin, access)
        if not ok:
            self.s.cr2 = lin
            raise Fault(S.PF_, error)
        at = self._gate(at)
        place = self._page(at >> 12)
        if place is None:
            return at
        self._counts["tlb_fills"] += 1
        if access & FETCH:
            self._swap_fetch(k)
            self._fetch_tag[k] = page
            self._fetch_global[k] = bool(rights & RIGHT_GLOBAL)
            self._fetch_at[k] = place[0]
            self._fetch_physical[k] = at & ~LOW
        else:
            self._rtag[k] = page
            self._global[k] = bool(rights & RIGHT_GLOBAL)
            self._wtag[k] = page if rights & place[1] else -1
            self._at[k] = place[0]
            self._physical[k] = at & ~LOW
        return at

    def _lin_read(self, lin: int, size: int, access: int) -> int:
        room = PAGE - (lin & LOW)
        first = self.translate_access(lin, access)
        if size <= room:
            return self._phys_read(first, size)
        second = self.translate_access((lin + room) & M32, access)
        places = [first + k if k < room else second + k - room for k in range(size)]
        return int.from_bytes(bytes(self._phys_read(at, 1) for at in places), "little")

    def _lin_write(self, lin: int, size: int, access: int, value: int) -> None:
        room = PAGE - (lin & LOW)
        first = self.translate_access(lin, access | WRITE)
        if size <= room:
            self._phys_write(first, size, value)
            return
        # Both pages are checked before either is written.
        second = self.translate_access((lin + room) & M32, access | WRITE)
        for k in range(size):
            self._phys_write(first + k if k < room else second + k - room, 1, value >> 8 * k & 0xFF)

    def _mem_check(self, seg: int, off: int, size: int, write: int) -> int:
        """The linear address of an access through a segment. Raises Fault."""
        s = self.s
        lin = self._segment_access(s, self, seg, off, size, write)
        if s.cpl == 3 and s.eflags & AC and s.cr0 >> S.CR0_AM & 1 and lin & (size - 1):
            raise Fault(S.AC, 0)
        return lin

    def _mem_read(self, seg: int, off: int, size: int, rmw: int) -> int:
        s = self.s
        lin = self._mem_check(seg, off, size, rmw)
        value = self._lin_read(lin, size, (USER if s.cpl == 3 else 0) | rmw)
        if s.dr[7] & 0xFF:
            self._watch_data(lin, size, False)
        if self._watches:
            self._watch(lin, size, READS)
        return value

    def _mem_write(self, seg: int, off: int, size: int, value: int) -> None:
        s = self.s
        lin = self._mem_check(seg, off, size, 1)
        self._lin_write(lin, size, USER if s.cpl == 3 else 0, value)
        if s.dr[7] & 0xFF:
            self._watch_data(lin, size, True)
        if self._watches:
            self._watch(lin, size, WRITES)

    def _watch_data(self, lin: int, size: int, write: bool) -> None:
        """Data breakpoints that an access meets (SDM vol. 3, 17.2.4)."""
        s = self.s
        control = s.dr[7]
        for k in range(4):
            kind = control >> (16 + 4 * k) & 3
            if not control >> 2 * k & 3 or kind in (0, 2) or (kind == 1 and not write):
                continue
            length = (1, 2, 8, 4)[control >> (18 + 4 * k) & 3]
            at = s.dr[k] & ~(length - 1)
            if (lin - at) & M32 < length or (at - lin) & M32 < size:
                s.debug_pending |= 1 << k

    def _probe(self, lin: int, size: int, access: int) -> None:
        if not size:
            return
        self.translate_access(lin, access)
        last = (lin + size - 1) & M32
        if last >> 12 != lin >> 12:
            self.translate_access(last & ~LOW, access)

    def mem_probe_r(self, seg: int, off: int, size: int) -> None:
        """Extern."""
        lin = self._segment_access(self.s, self, seg, off, size, 0)
        self._probe(lin, size, USER if self.s.cpl == 3 else 0)

    def mem_probe_w(self, seg: int, off: int, size: int) -> None:
        """Extern."""
        lin = self._segment_access(self.s, self, seg, off, size, 1)
        self._probe(lin, size, WRITE | (USER if self.s.cpl == 3 else 0))

    def lin_probe_w(self, lin: int, user: int, size: int) -> None:
        """Extern."""
        self._probe(lin, size, WRITE | (USER if user else 0))

    # --- other externs -------------------------------------------------------------------------------------------

    def raise_fault(self, vector: int, error: int) -> None:
        """Extern."""
        raise Fault(vector, error)

    def branch(self, target: int) -> None:
        """A near transfer ends the instruction."""
        self.s.eip = target

    def port_r(self, port: int, size: int) -> int:
        """Extern."""
        self._counts["port_reads"] += 1
        return self._ask(self.bus.port_read, port, size) & M32

    def port_w(self, port: int, size: int, value: int) -> None:
        """Extern."""
        self._counts["port_writes"] += 1
        self._tell(self.bus.port_write, port, size, value)

    def bulk_movs(self, *args: int) -> int:
        """Extern: one iteration at a time here."""
        return 0

    bulk_stos = bulk_ins = bulk_outs = bulk_movs

    def seg_changed(self, seg: int) -> None:
        """Extern: nothing is derived from segments here."""

    def mode_changed(self) -> None:
        """Extern: nothing is derived from the mode here."""
        if self._tell_modes:
            mode, before = self.mode(), self._mode_told
            self._mode_told = mode
            if mode != before:
                self._event(8, mode, before)

    def mode(self) -> int:
        """See `emu.cpu.DebuggedCpu`."""
        s = self.s
        code = s.seg_attr[S.CS] >> 14 & 1
        return int(s.cr0 & 1 | s.cr0 >> 31 << 1 | (s.eflags >> S.FLAG_VM & 1) << 2 | code << 3 | s.cpl << 4)

    def _magic_at(self, lin: int) -> bool:
        """XCHG BX,BX, as Bochs has it: in 32-bit code it has an operand-size prefix."""
        try:
            return self.read_linear(lin, 2) == b"\x87\xdb" or self.read_linear(lin, 3) == b"\x66\x87\xdb"
        except GuestFault:
            return False

    def debug_changed(self) -> None:
        """Extern: nothing is derived from the debug registers here."""

    def tlb_flush(self, everything: int) -> None:
        """Extern."""
        if everything:
            self._clear_tlb()
        else:
            self._clear_local()
        if self._log_interrupts:
            self._event(7, self.s.cr3, everything)

    def tlb_flush_page(self, lin: int) -> None:
        """Extern."""
        page = lin >> 12
        for k in (page & (TLB_SIZE - 1), page & (TLB_SIZE - 1) | TLB_SIZE):
            self._rtag[k] = self._wtag[k] = -1
        for k in (page & (FETCH_SIZE - 1), page & (FETCH_SIZE - 1) | FETCH_SIZE):
            self._fetch_tag[k] = -1
            self._fetch_second[k] = (-1, 0, 0, False)

    def virtual_ns(self) -> int:
        """Extern: the time at which this instruction began."""
        return (self.icount * NS_PER_INSN + self.time_offset) & 0xFFFFFFFFFFFFFFFF

    def cpuid_leaf(self, leaf: int, sub: int) -> tuple[int, int, int, int]:
        """Extern."""
        return models.cpuid(self.model, leaf, sub)

    def feature_word(self, word: int) -> int:
        """Extern."""
        return self._features[word & 3]

    def unimplemented(self, kind: int, number: int) -> None:
        """Extern."""
        self._event(1, kind, number)

    def apic_base_changed(self, base: int) -> None:
        """Extern: IA32_APIC_BASE was written."""
        self._event(4, base, 0)

    def tsc_deadline_changed(self, deadline: int) -> None:
        """Extern: IA32_TSC_DEADLINE was written."""
        self._event(9, deadline & 0xFFFFFFFF, deadline >> 32)

    def ferr(self) -> None:
        """Extern: a PC routes FERR# to IRQ 13."""
        self._event(3, 0, 0)

    def interrupt_coming(self, vector: int, kind: int, error: int, eip: int) -> None:
        """Extern."""
        if self._log_interrupts:
            self._event(2, vector | kind << 8, error)

    def interrupt_taken(self, vector: int, kind: int, error: int, eip: int) -> None:
        """Extern."""
        self._delivered += 1

    def _event(self, kind: int, a: int, b: int) -> None:
        if self._on_event is not None:
            self._tell(self._on_event, kind, a, b)


def _contributory(vector: int) -> bool:
    return vector == S.DE or S.TS <= vector <= S.GP


def _add_memory_externs(width: int) -> None:
    """Give `X86Cpu` its `mem_*` and `lin_*` methods of one width.

    The first lines of each are the common case: a data segment that grows up, and a page already translated.
    """
    size = width // 8
    last = PAGE - size
    unpack, pack = _PIECE[size].unpack_from, _PIECE[size].pack_into

    def mem_r(self: X86Cpu, seg: int, off: int) -> int:
        s = self.s
        if s.seg_attr[seg] & 0x9C == 0x90 and off + size - 1 <= s.seg_limit[seg] and not s.dr[7] & 0xFF:
            lin = (s.seg_base[seg] + off) & M32
            k = lin >> 12 & (TLB_SIZE - 1) | (TLB_SIZE if s.cpl == 3 else 0)
            if self._rtag[k] == lin >> 12 and lin & LOW <= last and not (s.eflags & AC or self._watches):
                value: int = unpack(self._view, self._at[k] + (lin & LOW))[0]
                return value
        return self._mem_read(seg, off, size, 0)

    def mem_rw(self: X86Cpu, seg: int, off: int) -> int:
        s = self.s
        if s.seg_attr[seg] & 0x9E == 0x92 and off + size - 1 <= s.seg_limit[seg] and not s.dr[7] & 0xFF:
            lin = (s.seg_base[seg] + off) & M32
            k = lin >> 12 & (TLB_SIZE - 1) | (TLB_SIZE if s.cpl == 3 else 0)
            if self._wtag[k] == lin >> 12 and lin & LOW <= last and not (s.eflags & AC or self._watches):
                value: int = unpack(self._view, self._at[k] + (lin & LOW))[0]
                return value
        return self._mem_read(seg, off, size, 1)

    def mem_w(self: X86Cpu, seg: int, off: int, value: int) -> None:
        s = self.s
        if s.seg_attr[seg] & 0x9E == 0x92 and off + size - 1 <= s.seg_limit[seg] and not s.dr[7] & 0xFF:
            lin = (s.seg_base[seg] + off) & M32
            k = lin >> 12 & (TLB_SIZE - 1) | (TLB_SIZE if s.cpl == 3 else 0)
            if self._wtag[k] == lin >> 12 and lin & LOW <= last and not (s.eflags & AC or self._watches):
                pack(self._view, self._at[k] + (lin & LOW), value)
                return
        self._mem_write(seg, off, size, value)

    def lin_r(self: X86Cpu, lin: int, user: int) -> int:
        value = self._lin_read(lin, size, USER if user else 0)
        if self._watches:
            self._watch(lin, size, READS)
        return value

    def lin_w(self: X86Cpu, lin: int, user: int, value: int) -> None:
        self._lin_write(lin, size, USER if user else 0, value)
        if self._watches:
            self._watch(lin, size, WRITES)

    for function in (mem_r, mem_rw, mem_w, lin_r, lin_w):
        name = function.__name__ + str(width)
        function.__name__ = name
        function.__qualname__ = f"X86Cpu.{name}"
        setattr(X86Cpu, name, function)


def _add_float_externs() -> None:
    X86Cpu.x87_unseen = staticmethod(lambda: 0)  # type: ignore[attr-defined]
    for name, function in softfloat.FUNCTIONS.items():
        setattr(X86Cpu, name, staticmethod(function))


for _width in (8, 16, 32, 64):
    _add_memory_externs(_width)
_add_float_externs()
