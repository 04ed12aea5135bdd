"""`X86Cpu`: the compiled tiers of the x86 core behind the `Cpu` protocol."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from cores.lang.draft import Draft
from cores.x86 import models, validate
from cores.x86 import registers_by_name as names
from cores.x86 import state as S
from emu.engine import _x86
from emu.engine.common import CompiledCpu, bind

ffi, lib = _x86.ffi, _x86.lib
ARRIVAL = struct.Struct("<QQI4x")
"""`struct NetArrival` of cores/x86/members.h."""
bind(ffi, lib)


def _give_ring(ring: Any, loan: dict[str, int]) -> None:
    """See `devices.virtio.ring.Queue.loan`."""
    for name, value in loan.items():
        setattr(ring, name, value)
    ring.asked = -1


def _take_ring(ring: Any) -> dict[str, int]:
    return {name: getattr(ring, name) for name in ("next", "used", "signalled", "fresh")}


class X86Cpu(CompiledCpu):
    """A 32-bit x86 processor. `bus` answers ports, MMIO and interrupt acknowledge; `ram` is a `GuestRam`."""

    ffi, lib, STATE = ffi, lib, S.STATE
    MAGIC = True

    def __init__(
        self, bus: Any, ram: Any, model: str = "qemu32", *, accel: str = "interp", jit_size: int | None = None
    ) -> None:
        self.model = models.cpu_model(model)
        self._apic: Any = None
        self.lent_disks: list[Any] = []
        self.lent_net: Any = None
        self.outer = 0
        """Set before a run: the virtual time (ns) at which a timer is due that no processor serves."""
        self.pace: tuple[int, int] | None = None
        """And what virtual time (second, ns) must not be ahead of, when the wall's (first) was that."""
        self._build(bus, ram, bus, accel, jit_size)
        c = self._c
        for k, word in enumerate(self.model.features):
            c.features[k] = word
        leaves = models.leaves(self.model)
        c.cpuid_count = len(leaves)
        for k, leaf in enumerate(leaves):
            entry = c.cpuid[k]
            entry.leaf, entry.subleaf = leaf, 0xFFFFFFFF
            entry.eax, entry.ebx, entry.ecx, entry.edx = models.cpuid(self.model, leaf)
        self._regions()
        self.reset()

    @property
    def interruptible(self) -> bool:
        """IF is set."""
        return bool(self._c.eflags & 0x200)

    def mode(self) -> int:
        """See `emu.cpu.DebuggedCpu`."""
        c = self._c
        code = int(c.seg_attr[1]) >> 14 & 1
        return int(c.cr0) & 1 | int(c.cr0) >> 31 << 1 | (int(c.eflags) >> 17 & 1) << 2 | code << 3 | int(c.cpl) << 4

    def lend_apic(self, apic: Any) -> None:
        """See `emu.cpu.PcCpu.lend_apic`."""
        self._apic = apic

    def lend_disk(self, disk: Any) -> None:
        """See `emu.cpu.PcCpu.lend_disk`."""
        if disk not in self.lent_disks and self._c.blk_count < len(self._c.blk):
            self._c.blk_count += 1
            self.lent_disks.append(disk)

    def lend_data(
        self, ports: tuple[int, int], data: bytes, span: tuple[int, int], block: int, status: int
    ) -> Callable[[], tuple[int, bool]] | None:
        """See `emu.cpu.PcCpu.lend_data`."""
        for k in range(len(self._c.pio)):
            p = self._c.pio[k]
            if not p.data:
                p.port, p.control = ports
                p.at, p.end = span
                p.block, p.status, p.pending = block, status, 1
                kept = ffi.from_buffer(data)
                p.data = ffi.cast("uint8_t *", kept)
                return partial(self._take_data, k, kept)
        return None

    def _take_data(self, k: int, kept: Any) -> tuple[int, bool]:
        p = self._c.pio[k]
        p.data = ffi.NULL
        return int(p.at), bool(p.pending)

    def lend_net(self, card: Any) -> None:
        """See `emu.cpu.PcCpu.lend_net`."""
        if self.lent_net is None:
            self.lent_net = card

    def run(self, budget: int) -> Any:
        """See `emu.cpu.Cpu.run`."""
        card, n = self.lent_net, self._c.net
        if card is not None and not n.lent:
            loan = card.lend(self._take_net)
            if loan is not None:
                self._give_net(loan)
        for k, disk in enumerate(self.lent_disks):
            if not self._c.blk[k].lent:
                loan = disk.lend(partial(self._take_disk, k))
                if loan is not None:
                    self._give_disk(k, loan)
        apic, c = self._apic, self._c.apic
        if apic is not None and not c.lent:
            loan = apic.lend(self._take_apic)
            if loan is not None:
                self._give_apic(loan)
        self._c.outer, self.outer = self.outer, 0
        self._c.pace_wall, self._c.pace_virtual = self.pace or (0, 0)
        try:
            return super().run(budget)
        finally:
            if n.lent:
                self._net_moved(card, n)
            if c.moved:
                c.moved = 0
                if c.lent:
                    apic.moved(None if c.armed < 0 else c.armed)
            for k, disk in enumerate(self.lent_disks):
                b = self._c.blk[k]
                if b.moved:
                    b.moved = 0
                    if b.lent:
                        disk.moved(b.requests[0].due if b.inflight else None)

    def _give_disk(self, k: int, loan: dict[str, Any]) -> None:
        b = self._c.blk[k]
        for name, value in loan.items():
            if name == "ring":
                _give_ring(b.ring, value)
            else:
                setattr(b, name, value)
        b.lent, b.moved, b.count, b.inflight = 1, 0, 0, 0
        for kind in b.moved_by_kind:
            kind[0] = kind[1] = kind[2] = 0

    def _take_disk(self, k: int) -> dict[str, Any]:
        b = self._c.blk[k]
        b.lent = b.moved = 0
        loan: dict[str, Any] = {"ring": _take_ring(b.ring), "transfer_end": b.transfer_end, "count": b.count}
        loan["moved"] = [tuple(kind) for kind in b.moved_by_kind]
        loan["requests"] = [
            (q.head, q.due, None if q.kind else bytes(ffi.buffer(q.data, q.length)), q.length,
             [(s.address, s.length) for s in q.seg[0 : q.segments]])
            for q in b.requests[0 : b.inflight]
        ]  # fmt: skip
        lib.emu_blk_free(self._c, k)
        return loan

    def _give_net(self, loan: dict[str, Any]) -> None:
        n = self._c.net
        for name, value in loan.items():
            if name in ("rx", "tx"):
                _give_ring(getattr(n, name), value)
            elif name == "wire":
                n.wire = ffi.cast("struct Wire *", value)
            else:
                setattr(n, name, value)
        n.lent, n.moved, n.stuck, n.arriving, n.look = 1, 0, 0, -1, 0

    def _net_moved(self, card: Any, n: Any) -> None:
        """A run is over that may have moved frames."""
        card.brought(self._arrivals(n))
        if n.stuck:
            card.home()
        elif n.moved:
            n.moved = 0
            card.moved(None if n.sending < 0 else n.sending)

    def _arrivals(self, n: Any) -> list[tuple[int, int, bytes]]:
        """What has come since the last time."""
        if not n.kept:
            return []
        data, now, at = bytes(ffi.buffer(n.arrivals, n.kept)), self.icount, 0
        out = []
        while at < len(data):
            icount, time, length = ARRIVAL.unpack_from(data, at)
            at += ARRIVAL.size
            out.append((now - icount, time, data[at : at + length]))
            at += length + 7 & ~7
        lib.emu_net_free(self._c)
        return out

    def _take_net(self) -> dict[str, Any]:
        n = self._c.net
        n.lent = n.moved = 0
        loan: dict[str, Any] = {"rx": _take_ring(n.rx), "tx": _take_ring(n.tx)}
        loan["sending"], loan["arriving"], loan["arrivals"] = n.sending, n.arriving, self._arrivals(n)
        return loan

    def _give_apic(self, loan: dict[str, Any]) -> None:
        c = self._c.apic
        for name in ("irr", "isr", "tmr"):
            ffi.buffer(getattr(c, name))[:] = loan[name].to_bytes(32, "little")
        for name in ("base", "tpr", "lvt_timer", "tmict", "divisor", "counting", "started"):
            setattr(c, name, loan[name])
        c.armed = -1 if loan["armed"] is None else loan["armed"]
        c.lent, c.moved = 1, 0

    def _take_apic(self) -> dict[str, Any]:
        c = self._c.apic
        c.lent = c.moved = 0
        loan: dict[str, Any] = {
            name: int.from_bytes(ffi.buffer(getattr(c, name)), "little") for name in ("irr", "isr", "tmr")
        }
        loan.update(tmict=c.tmict, counting=bool(c.counting), started=c.started)
        loan["armed"] = None if c.armed < 0 else c.armed
        return loan

    stuck = False
    """A PC's NMI can wake any loop."""

    def set_intr(self, level: bool) -> None:
        """Drive INTR."""
        lib.emu_set_intr(self._c, int(level))

    def nmi(self) -> None:
        """Latch an NMI."""
        lib.emu_nmi(self._c)

    @property
    def a20(self) -> bool:
        """Whether address line 20 is driven."""
        return bool(self._c.a20_mask >> 20 & 1)

    def set_a20(self, enabled: bool) -> None:
        """Gate address line 20."""
        lib.emu_set_a20(self._c, int(enabled))

    def reset(self) -> None:
        """Power-on state."""
        lib.emu_reset(self._c, self.model.signature)

    def reg(self, name: str) -> int:
        """A register by its manual name."""
        if name == "eflags":
            return int(lib.emu_get_eflags(self._c))
        return names.read(self._c, name)

    def set_reg(self, name: str, value: int) -> None:
        """Write a register by its manual name. Raises KeyError, and ValueError for a state that cannot be."""
        if name in names.PLAIN:
            names.write(self._c, name, value)
            return
        draft = Draft(self._c)
        names.write(draft, name, value)
        self._store(draft, False)

    def validate(self, draft: Draft, whole: bool) -> None:
        """See `cores.x86.validate`."""
        validate.check(draft, self.model, whole=whole)

    def fault_story(self) -> list[str]:
        """After SHUTDOWN: the chain of faults in plain words."""
        from cores.x86.story import tell

        return tell(self.exceptions(), self.reg("idtr.limit"), bool(self.reg("cr0") & 1))
