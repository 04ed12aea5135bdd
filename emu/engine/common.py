"""What the compiled processors of all cores have in common: callbacks, run control, memory, state as plain data.

How an exception travels: (1) C calls a static callback; (2) the bus or a device raises; (3) cffi hands the exception
to `failed`, which keeps it and sets the error flag, and the guest's access reads as all ones; (4) C leaves `emu_run`
at the next instruction boundary with ERROR; (5) `run` raises the kept exception.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import Any

from cores.lang.draft import Draft, take
from emu.cpu import FOREVER, Exit, GuestFault

ARENA = 24 << 20
EXITS = tuple(Exit)
NO_PASS = (1 << 64) - 1
STOP, HOOK, ERROR = 1, 2, 4
NODES = 1 << 20
"""Characters for a trace as text: several times what the longest needs."""
TIMES = ("run_ns", "fill_ns")
LEAVING = (
    "attention", "jump", "branch", "fault", "end", "budget", "few_left", "hot", "no_trace_yet", "miss",
    "run_budget", "run_halt", "run_shutdown", "run_hook", "run_stop", "run_error",
)  # fmt: skip
"""What `exits` counts, in its order: why blocks and traces came back to the run loop, and why it came back."""
CALLBACKS = (
    "port_read", "port_write", "mmio_read", "mmio_write", "acknowledge", "port_read_block", "port_write_block", "event",
)  # fmt: skip


class Boundary:
    """What a callback finds behind its handle. `ports` answers the second address space: ports, or DCRs."""

    def __init__(self, bus: Any, cpu: Any, ports: Any) -> None:
        self.cpu = cpu
        self.error: BaseException | None = None
        self.on_event: Any = None
        self.connect(bus, ports)

    def connect(self, bus: Any, ports: Any) -> None:
        """Who answers from now on."""
        self.bus = bus
        self.ports = ports
        self.read_block = getattr(bus, "port_read_block", None)
        self.write_block = getattr(bus, "port_write_block", None)
        self.block_count = getattr(bus, "port_block_count", None)

    def block(self, port: int, size: int, count: int, move: Any) -> int:
        """Call `move(n)` for as many accesses as go at once, at the instruction count of the last of them."""
        n = self.block_count(port, size, count) if self.block_count is not None else 0
        if n < 2:
            return 0
        self.cpu.left -= n - 1
        try:
            move(n)
        finally:
            self.cpu.left += n - 1
        return n


def bind(ffi: Any, lib: Any) -> None:
    """Define the callbacks of one compiled core."""

    def failed(kind: Any, error: BaseException, trace: Any) -> None:
        handle = trace.tb_frame.f_locals.get("handle") if trace is not None else None
        if handle is None:
            return
        boundary: Boundary = ffi.from_handle(handle)
        if boundary.error is None:
            boundary.error = error
        lib.emu_stop(boundary.cpu, ERROR)

    def py_port_read(handle: Any, port: int, size: int) -> int:
        return ffi.from_handle(handle).ports.port_read(port, size)

    def py_port_write(handle: Any, port: int, size: int, value: int) -> None:
        ffi.from_handle(handle).ports.port_write(port, size, value)

    def py_mmio_read(handle: Any, address: int, size: int) -> int:
        return ffi.from_handle(handle).bus.mmio_read(address, size)

    def py_mmio_write(handle: Any, address: int, size: int, value: int) -> None:
        ffi.from_handle(handle).bus.mmio_write(address, size, value)

    def py_acknowledge(handle: Any) -> int:
        return ffi.from_handle(handle).bus.interrupt_acknowledge()

    def py_port_read_block(handle: Any, port: int, size: int, count: int, data: Any) -> int:
        boundary = ffi.from_handle(handle)

        def move(n: int) -> None:
            ffi.memmove(data, boundary.read_block(port, size, n), n * size)

        return boundary.block(port, size, count, move)

    def py_port_write_block(handle: Any, port: int, size: int, count: int, data: Any) -> int:
        boundary = ffi.from_handle(handle)
        return boundary.block(
            port, size, count, lambda n: boundary.write_block(port, size, bytes(ffi.buffer(data, n * size)))
        )

    def py_event(handle: Any, kind: int, a: int, b: int) -> None:
        boundary = ffi.from_handle(handle)
        if boundary.on_event is not None:
            boundary.on_event(kind, a, b)

    for callback, error in (
        (py_port_read, 0xFFFFFFFF), (py_mmio_read, 0xFFFFFFFF), (py_acknowledge, 0xFF),
        (py_port_read_block, 0), (py_port_write_block, 0),
    ):  # fmt: skip
        ffi.def_extern(error=error, onerror=failed)(callback)
    for callback in (py_port_write, py_mmio_write, py_event):
        ffi.def_extern(onerror=failed)(callback)


class CompiledCpu:
    """The part of a compiled processor that does not depend on its core; see `emu.cpu.Cpu`.

    A core's class gives `ffi`, `lib`, the declared `STATE`, and calls `_build`. One engine has two tiers: `accel` "jit"
    asks for translated code, and `tier` says what came of it, as not every host has a back end. `jit_size` bounds the
    translated code, in bytes.
    """

    ffi: Any
    lib: Any
    STATE: Any
    STATS: tuple[str, ...] = ()
    tier = "interp"

    @classmethod
    def has_jit(cls) -> bool:
        """Whether this host has a back end of the JIT for this core."""
        c = cls.lib.emu_new(ARENA)
        if c == cls.ffi.NULL:
            raise MemoryError("no memory for the engine")
        try:
            return bool(cls.lib.emu_jit(c, 1))
        finally:
            cls.lib.emu_free(c)

    def _build(self, bus: Any, ram: Any, ports: Any, accel: str, jit_size: int | None) -> None:
        if accel not in ("interp", "jit"):
            raise ValueError(f"accel {accel!r}: expected interp or jit")
        ffi, lib = self.ffi, self.lib
        self.ram = ram
        c = lib.emu_new(ARENA)
        if c == ffi.NULL:
            raise MemoryError("no memory for the engine")
        self._c = c
        self._owner = ffi.gc(c, lib.emu_free)
        self._buffer = ffi.from_buffer("uint8_t[]", ram.buffer, require_writable=True)
        self._guard()
        if lib.emu_attach_ram(c, self._buffer + ram.guard, ram.view.nbytes):
            raise MemoryError("no memory for the code map")
        self._boundary = Boundary(bus, c, ports)
        self._handle = ffi.new_handle(self._boundary)
        c.handle = self._handle
        c.break_pass = NO_PASS
        for name in CALLBACKS:
            setattr(c, name, getattr(lib, "py_" + name))
        if accel == "jit":
            if jit_size is not None:
                c.jit_size = jit_size
            if lib.emu_jit(c, 1):
                self.tier = "jit"

    MAGIC = False
    """Whether the core has an instruction that is a breakpoint where a debugger is."""

    @property
    def jit_threshold(self) -> int:
        """How often a block runs before it is translated; 1: at once."""
        return int(self._c.jit_threshold)

    @jit_threshold.setter
    def jit_threshold(self, value: int) -> None:
        self._c.jit_threshold = value

    def name_code(self) -> bool:
        """Tell perf(1) the names of translated code, in /tmp/perf-PID.map. Whether that can be."""
        return not self.lib.emu_jit_perf(self._c)

    def jit_heads(self) -> list[int]:
        """The instruction pointers at which traces begin, in the order in which they were made."""
        n = self.lib.emu_jit_heads(self._c, self.ffi.NULL, 0)
        out = self.ffi.new("uint32_t[]", max(1, n))
        return list(out[0 : self.lib.emu_jit_heads(self._c, out, n)])

    def jit_nodes(self) -> str:
        """The trace that begins at the instruction pointer as text (emu/engine/jit/show.c); empty for none."""
        return self._nodes(self.ffi.NULL, 0, self.ffi.NULL)

    def _nodes(self, code: Any, room: int, lengths: Any) -> str:
        out = self.ffi.new("char[]", NODES)
        size = self.lib.emu_jit_nodes(self._c, out, NODES, code, room, lengths)
        return bytes(self.ffi.buffer(out, size)).decode()

    def jit_listing(self) -> tuple[str, bytes, int, int]:
        """The same with where the host code of each instruction begins; that code, where exits begin, its address."""
        code, lengths = self.ffi.new("uint8_t[]", NODES), self.ffi.new("uint64_t[3]")
        text = self._nodes(code, NODES, lengths)
        return text, bytes(self.ffi.buffer(code, lengths[1])), int(lengths[0]), int(lengths[2])

    def jit_code(self) -> tuple[int, bytes]:
        """Where in the host the trace that begins at the instruction pointer is, and its code; empty for none."""
        size = self.ffi.new("uint64_t *")
        code = self.lib.emu_jit_code(self._c, size)
        if code == self.ffi.NULL:
            return 0, b""
        return int(self.ffi.cast("uintptr_t", code)), bytes(self.ffi.buffer(code, size[0]))

    def _guard(self) -> None:
        """Make what lies around RAM inaccessible: compiled code that strays ends the process, and changes nothing."""
        if not self.ram.guard:
            return
        last = len(self._buffer)
        behind = -(-(last - self.ram.guard) // mmap.PAGESIZE) * mmap.PAGESIZE
        for at, size in ((0, self.ram.guard), (behind, last - behind)):
            if size > 0 and self.lib.mprotect(self._buffer + at, size, 0):
                raise OSError(self.ffi.errno, os.strerror(self.ffi.errno))

    def _regions(self) -> None:
        c = self._c
        n = 0
        for region in self.ram.regions:
            kind = {0: 1, 1: 2, 2: 1}.get(int(region.kind), 0)
            if not kind:
                continue
            r = c.regions[n]
            r.base, r.size, r.offset, r.kind = region.paddr, region.size, region.offset, kind
            n += 1
        c.region_count = n

    # --- running -------------------------------------------------------------------------------------------------

    @property
    def icount(self) -> int:
        """Instructions retired; inside a callback the accessing one is not yet counted."""
        n = self.lib.emu_icount(self._c)
        return n - 1 if self._running else n

    @icount.setter
    def icount(self, value: int) -> None:
        """Go on counting from here; between runs only."""
        self._c.left, self._c.icount_end = 0, value

    def now(self) -> int:
        """See `emu.cpu.Cpu.now`."""
        return self.lib.emu_now(self._c)

    _running = False

    @property
    def time_offset(self) -> int:
        """Virtual nanoseconds spent idle."""
        return int(self._c.time_offset)

    @time_offset.setter
    def time_offset(self, value: int) -> None:
        self._c.time_offset = value

    @property
    def halted(self) -> bool:
        """Waiting for an interrupt."""
        return bool(self._c.halted)

    @property
    def hook_value(self) -> int:
        """The value of the last hook."""
        return int(self._c.hook_value)

    def run(self, budget: int) -> Exit:
        """See `emu.cpu.Cpu.run`."""
        return self._run(self.lib.emu_run, self._c, min(budget, FOREVER))

    def _run(self, start: Any, *args: Any) -> Exit:
        self._running = True
        self._c.idle_until, self.idle_until = self.idle_until, 0
        try:
            reason = start(*args)
        finally:
            self._running = False
        if self._boundary.error is not None:
            error, self._boundary.error = self._boundary.error, None
            raise error
        return EXITS[reason]

    # --- a debugger outside

    def set_breakpoints(self, addresses: Any) -> None:
        """See `emu.cpu.DebuggedCpu`. Raises ValueError for more than there is room for."""
        self._fits(addresses, self._c.breaks)
        for k, address in enumerate(addresses):
            self._c.breaks[k] = address
        self._c.break_count = len(addresses)
        self.lib.emu_debug_changed(self._c)

    def set_watchpoints(self, watches: Any) -> None:
        """See `emu.cpu.DebuggedCpu`. Raises ValueError for more than there is room for."""
        self._fits(watches, self._c.watches)
        for place, (at, size, kind) in zip(self._c.watches, watches, strict=False):
            place.at, place.size, place.kind = at, size, kind
        self._c.watch_count = len(watches)
        self.lib.emu_debug_changed(self._c)

    @staticmethod
    def _fits(wanted: Any, room: Any) -> None:
        if len(wanted) > len(room):
            raise ValueError(f"{len(wanted)} where {len(room)} is the limit")

    def set_conditions(self, *, magic: bool, modes: bool) -> None:
        """See `emu.cpu.DebuggedCpu`."""
        c = self._c
        magic = magic and self.MAGIC
        if modes and not c.tell_modes:
            c.mode_told = self.mode()
        if bool(c.magic_break) != magic:
            c.magic_break = magic
            self.lib.emu_debug_changed(c)
        c.tell_modes = modes

    def mode(self) -> int:
        """See `emu.cpu.DebuggedCpu`; 0 where processors have no modes."""
        return 0

    def pass_breakpoint(self, on: bool) -> None:
        """See `emu.cpu.DebuggedCpu`."""
        self._c.break_pass = self.lib.emu_icount(self._c) if on else NO_PASS

    def debug_stop(self) -> int:
        """See `emu.cpu.DebuggedCpu`."""
        stop, self._c.debug_stop = int(self._c.debug_stop), 0
        return stop

    def step(self) -> Exit:
        """See `emu.cpu.DebuggedCpu`."""
        return self._run(self.lib.emu_step, self._c)

    def stop(self) -> None:
        """See `emu.cpu.Cpu.stop`."""
        self.lib.emu_stop(self._c, STOP)

    def stop_at(self, deadline: int) -> None:
        """See `emu.cpu.Cpu.stop_at`."""
        self.lib.emu_stop_at(self._c, max(0, deadline))

    idle_until = 0
    """Set before a run: the virtual time (ns) up to which a halted processor may wait by itself for what it serves."""

    def stay_awake(self) -> None:
        """A halt must be told, in this run too."""
        self.idle_until = self._c.idle_until = 0

    def hook(self, value: int) -> None:
        """See `emu.cpu.Cpu.hook`."""
        self._c.hook_value = value & 0xFFFFFFFF
        self.lib.emu_stop(self._c, HOOK)

    def set_steady(self, paddr: int, value: int | None) -> None:
        """See `emu.cpu.CpuPins.set_steady`. Raises ValueError for more registers than there is room for."""
        known = {r.address: int(r.value) for r in self._c.steady[0 : self._c.steady_count]}
        known.pop(paddr, None)
        if value is not None:
            known[paddr] = value
        if len(known) > len(self._c.steady):
            raise ValueError("too many steady registers")
        for place, (address, word) in zip(self._c.steady, known.items(), strict=False):
            place.address, place.value = address, word
        self._c.steady_count = len(known)

    def set_steady_port(self, port: int, value: int | None, until: int = FOREVER, writes: bool = False) -> None:
        """See `emu.cpu.CpuPins.set_steady_port`. Raises ValueError for more ports than there is room for."""
        place = self._steady_port(port, value is not None)
        if place is None:
            return
        if value is None:
            place.kind = 0
        else:
            place.value, place.until, place.kind = value, until, 3 if writes else 1

    def set_counter_port(self, port: int, hertz: int, mask: int) -> None:
        """See `emu.cpu.CpuPins.set_counter_port`. Raises ValueError for more ports than there is room for."""
        place = self._steady_port(port, True)
        place.value, place.until, place.kind = hertz, mask, 4

    def _steady_port(self, port: int, make: bool) -> Any:
        places, count = self._c.steady_ports, self._c.steady_port_count
        for k in range(count):
            if places[k].port == port:
                return places[k]
        if not make:
            return None
        free = next((k for k in range(count) if not places[k].kind), count)
        if free == len(places):
            raise ValueError("too many steady ports")
        self._c.steady_port_count = max(count, free + 1)
        places[free].port = port
        return places[free]

    # --- state as plain data -------------------------------------------------------------------------------------

    def state(self) -> dict[str, int | list[int]]:
        """All declared registers as plain data."""
        out: dict[str, int | list[int]] = {}
        for r in self.STATE:
            v = getattr(self._c, r.name)
            out[r.name] = list(v) if r.count else int(v)
        return out

    def load_state(self, state: dict[str, int | list[int]]) -> None:
        """Replace registers. Raises ValueError before anything changes if the processor cannot be in the result."""
        draft = Draft(self._c)
        take(draft, self.STATE, state)
        self._store(draft, True)

    def _store(self, draft: Draft, whole: bool) -> None:
        """Make a draft the state if it passes `validate`."""
        self.validate(draft, whole)
        draft.commit()
        self.lib.emu_refresh(self._c)

    def validate(self, draft: Draft, whole: bool) -> None:
        """Raise ValueError for a state that cannot be. `whole`: not just one register of several that go together."""

    def digest(self) -> str:
        """SHA-256 over the registers that the state declares and does not hide."""
        h = hashlib.sha256()
        for r in self.STATE:
            if r.hidden:
                continue
            v = getattr(self._c, r.name)
            for x in v if r.count else (v,):
                h.update(int(x).to_bytes(8, "little"))
        return h.hexdigest()

    # --- memory --------------------------------------------------------------------------------------------------

    def translate(self, lin: int) -> int:
        """Physical address of a linear (effective) one, as the supervisor, leaving no trace. Raises GuestFault."""
        at = self.ffi.new("uint64_t *")
        if not self.lib.emu_translate(self._c, lin & 0xFFFFFFFF, at):
            raise GuestFault(lin & 0xFFFFFFFF)
        return int(at[0])

    def _pieces(self, lin: int, n: int) -> list[tuple[int, int]]:
        out = []
        while n > 0:
            size = min(n, 4096 - (lin & 0xFFF))
            out.append((self.translate(lin), size))
            lin += size
            n -= size
        return out

    def read_linear(self, lin: int, n: int) -> bytes:
        """`n` bytes at a linear address. Raises GuestFault."""
        return b"".join(self._read_physical(at, size) for at, size in self._pieces(lin, n))

    def _read_physical(self, at: int, n: int) -> bytes:
        parts = []
        for _address, count, region in self.ram.pieces(at, n):
            if region is None or region.kind == 3:
                parts.append(b"\xff" * count)
            else:
                start = region.offset + _address - region.paddr
                parts.append(bytes(self.ram.view[start : start + count]))
        return b"".join(parts)

    def write_linear(self, lin: int, data: bytes) -> None:
        """Write at a linear address, all or nothing. Raises GuestFault."""
        done = 0
        for at, size in self._pieces(lin, len(data)):
            for address, count, region in self.ram.pieces(at, size):
                if region is not None and region.kind in (0, 2):
                    start = region.offset + address - region.paddr
                    self.lib.emu_invalidate(self._c, address, count)
                    self.ram.view[start : start + count] = data[done : done + count]
                done += count

    def invalidate(self, paddr: int, n: int) -> None:
        """Physical bytes changed from outside."""
        self.lib.emu_invalidate(self._c, paddr, n)

    def remap(self) -> None:
        """The region list changed."""
        self._regions()
        self.lib.emu_remap(self._c)

    # --- reports -------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Counters of the engine."""
        st = self._c.stats
        out: dict[str, Any] = {"tier": self.tier}
        for name, _ in self.ffi.typeof("struct Stats").fields:
            if name not in TIMES and (self.tier == "jit" or not name.startswith("jit_")):
                out[name] = int(getattr(st, name))
        if self.tier == "jit":
            out["jit_s"] = round(out["jit_ns"] / 1e9, 3)
        out["code_cache_bytes"] = int(self._c.arena_used)
        for name in self.STATS:
            out[name] = int(getattr(self._c, name))
        counts = dict(zip(LEAVING, self._c.exits, strict=True))
        counts["fault"] = max(0, counts["fault"] - out["retries"])
        out["exits"] = {name: int(n) for name, n in counts.items() if n}
        return out

    def measure(self, metered: Any) -> None:
        """Measure where host time goes; `metered(bus, space)` is asked instead of the bus, and of the ports or DCRs."""
        bus, ports = self._boundary.bus, self._boundary.ports
        outer = metered(bus, "ports")
        self._boundary.connect(outer, outer if ports is bus else metered(ports, "dcrs"))
        self._c.timing = 1

    def times(self) -> dict[str, float]:
        """Seconds in the engine altogether, and therein making code and walking page tables."""
        st = self._c.stats
        return {"engine": st.run_ns / 1e9, "translate": st.jit_ns / 1e9, "tlb_fill": st.fill_ns / 1e9}

    def exceptions(self) -> list[dict[str, int]]:
        """The last 16 deliveries, oldest first, each with the members of the core's ExceptionRecord."""
        n = int(self._c.story_count)
        names = [name for name, _ in self.ffi.typeof("struct ExceptionRecord").fields]
        return [{f: int(getattr(self._c.story[k & 15], f)) for f in names} for k in range(max(0, n - 16), n)]

    def on_event(self, callback: Any, *, log_interrupts: bool = False) -> None:
        """See `emu.cpu.Cpu.on_event`."""
        self._boundary.on_event = callback
        self._c.log_flags = int(log_interrupts)
