"""The Python reference on its own: its externs, its protocol, what a debugger sees. For equality see test_tiers."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

from cores.lang.tier import Exit, GuestFault
from cores.lang.trace import Extern
from cores.x86 import externs
from cores.x86.decoder import tables
from cores.x86.reference import X86Cpu, compile_form
from tests.cores.flat import FlatRam, OpenBus, make_cpu


def start(code: str, bus: Any = None, **registers: int) -> tuple[Any, FlatRam]:
    """A processor in real mode at 0:7C00 with this code."""
    cpu, ram = make_cpu("reference", bus=bus)
    image = bytes.fromhex(code.replace(" ", ""))
    ram.view[0x7C00 : 0x7C00 + len(image)] = image
    cpu.set_reg("cs", 0)
    cpu.set_reg("eip", 0x7C00)
    for name, value in registers.items():
        cpu.set_reg(name, value)
    return cpu, ram


def declared() -> list[Extern]:
    found: list[Extern] = []
    for value in vars(externs).values():
        found += [value] if isinstance(value, Extern) else []
        found += [x for x in value.values() if isinstance(x, Extern)] if isinstance(value, dict) else []
    return found


def test_every_extern_of_the_spec_is_there() -> None:
    missing = [extern.name for extern in declared() if not callable(getattr(X86Cpu, extern.name, None))]
    assert len(declared()) > 100
    assert missing == []


def test_it_counts_what_retires_and_stops_at_the_budget() -> None:
    cpu, _ = start("40 40 40 f4")
    assert cpu.run(2) == Exit.BUDGET
    assert (cpu.icount, cpu.reg("ax"), cpu.reg("ip")) == (2, 2, 0x7C02)
    assert cpu.run(10) == Exit.HALT
    assert (cpu.icount, cpu.halted) == (4, True)
    assert cpu.run(10) == Exit.HALT
    assert cpu.icount == 4
    assert cpu.stats()["tier"] == "reference"


def test_code_that_changes_itself_is_seen_at_once() -> None:
    # mov byte [7C05],41h makes an inc cx of the inc ax behind it.
    cpu, ram = start("c606057c41 40 f4")
    cpu.run(2)
    assert (cpu.reg("ax"), cpu.reg("cx")) == (0, 1)
    ram.view[0x7C05] = 0x43
    cpu.set_reg("eip", 0x7C05)
    cpu.run(1)
    assert (cpu.reg("cx"), cpu.reg("bx")) == (1, 1)


def test_a_fault_is_not_counted_but_its_delivery_is() -> None:
    cpu, ram = start("0f0b")
    ram.view[6 * 4 : 6 * 4 + 4] = (0x9000).to_bytes(4, "little")
    cpu.set_reg("esp", 0x1000)
    cpu.run(1)
    assert (cpu.icount, cpu.reg("ip"), cpu.reg("sp")) == (1, 0x9000, 0xFFA)
    assert [(r["vector"], r["kind"], r["icount"]) for r in cpu.exceptions()] == [(6, 0, 1)]


def test_a_triple_fault_ends_the_run_and_tells_its_story() -> None:
    cpu, _ = start("0f0b")
    cpu.set_reg("idtr.limit", 0)
    assert cpu.run(10) == Exit.SHUTDOWN
    assert "first cause: #UD" in cpu.fault_story()[-1]


class Ports(OpenBus):
    def __init__(self) -> None:
        self.cpu: Any = None
        self.seen: list[tuple[int, int]] = []
        self.error: Exception | None = None

    def port_write(self, port: int, width: int, value: int) -> None:
        self.seen.append((self.cpu.icount, value))
        if self.error is not None:
            raise self.error
        if port == 0xE4:
            self.cpu.hook(value)
        else:
            self.cpu.stop()


def test_a_port_callback_sees_the_exact_count_and_may_stop_the_run() -> None:
    bus = Ports()
    cpu, _ = start("40 e680 40 e6e4 f4", bus)
    bus.cpu = cpu
    assert cpu.run(100) == Exit.STOP
    assert (bus.seen, cpu.icount) == ([(1, 1)], 2)
    assert cpu.run(100) == Exit.HOOK
    assert (cpu.hook_value, cpu.icount) == (2, 4)


def test_what_a_device_raises_leaves_run_after_the_instruction() -> None:
    bus = Ports()
    cpu, _ = start("e680 40 f4", bus)
    bus.cpu, bus.error = cpu, RuntimeError("broken device")
    with pytest.raises(RuntimeError, match="broken device"):
        cpu.run(100)
    assert (cpu.icount, cpu.reg("ip")) == (1, 0x7C02)
    assert cpu.run(1) == Exit.BUDGET


def test_memory_from_outside_goes_through_the_page_tables() -> None:
    cpu, ram = start("f4")
    ram.view[0x1000:0x1004] = (0x2003).to_bytes(4, "little")
    ram.view[0x2000:0x2008] = (0x5003).to_bytes(4, "little") + (0x6003).to_bytes(4, "little")
    cpu.set_reg("cr3", 0x1000)
    cpu.set_reg("cr0", 0x80000011)
    cpu.write_linear(0xFFE, b"abcd")
    assert bytes(ram.view[0x5FFE:0x6002]) == b"abcd"
    assert cpu.read_linear(0xFFE, 4) == b"abcd"
    assert ram.view[0x2000] == 3, "looking sets no accessed bit"
    with pytest.raises(GuestFault, match="0x00002000 is not mapped"):
        cpu.read_linear(0x1FFF, 2)


def test_a_state_is_checked_before_any_of_it_is_loaded() -> None:
    cpu, _ = start("f4")
    before = cpu.state()
    for wrong in ({"eip": 1 << 32}, {"gpr": [0]}, {"nothing": 0}, {"cf": [0]}):
        with pytest.raises(ValueError, match="register"):
            cpu.load_state({"eip": 5, **wrong})
    assert cpu.state() == before
    cpu.load_state({**before, "eip": 7})
    assert cpu.reg("eip") == 7


def test_a_debugger_finds_the_text_of_a_body() -> None:
    form = next(form for form in tables().forms if form.mnemonic == "aaa")
    code = compile_form(form).__code__
    assert "aaa" in code.co_filename
    assert "def op_aaa" in linecache.getline(code.co_filename, code.co_firstlineno)
