"""What stops a run: breakpoints, watchpoints and conditions, in Bochs' words, on every tier."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cores.x86.assembler import assemble_program
from devices.backends import MemoryDisk
from emu.__main__ import main
from emu.boards import Setup, board
from emu.machine import Machine
from emu.media import Medium
from emu.options import Drive, parse
from emu.stops import mode_name, stops_of
from tests.emu.monitored import Monitored

GUEST = """
              org 0x7c00
              bits 16
start:        mov ax, 0x1234
              mov [0x500], ax
              mov bx, [0x500]
              xchg bx, bx
              mov al, 0x77
              out 0x80, al
              in al, 0x61
              int3
              int 0x12
              cli
              lgdt [table]
              mov eax, cr0
              or al, 1
              mov cr0, eax
              jmp 8:protected
              bits 32
protected:    mov ax, 16
              mov ds, ax
              mov ss, ax
              mov esp, 0x7000
              mov eax, 0x83
              mov [0x10000], eax
              mov dword [0x10004], 0
              mov eax, 0x10000
              mov cr3, eax
              mov eax, cr4
              or al, 0x10
              mov cr4, eax
              mov eax, cr0
              or eax, 0x80000000
              mov cr0, eax
              jmp $
              align 8
gdt:          dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:        dw 23
              dd gdt
              times 510 - ($ - $$) db 0
              dw 0xaa55
"""


def disk() -> bytes:
    return assemble_program(GUEST, file="guest", big=False).data.ljust(1474560, b"\0")


class Debugged(Monitored):
    """A PC that waits at its reset, with monitors."""

    def __init__(self, tier: str) -> None:
        setup = Setup(
            parse(["-m", "8", "--accel", tier]), media=[Medium(Drive("disk", "floppy", 0), MemoryDisk(disk()))]
        )
        machine: Machine = board("pc")(setup)
        machine.power_on()
        super().__init__(machine)
        self.hmp.opened()
        self.people.take()
        machine.pause()

    def go(self, word: str = "c") -> str:
        """Let it run; what people see when it has stopped."""
        self.say(word)
        self.machine.max_insns = self.machine.retired + 200_000
        self.machine.run()  # to a pause, in which nobody outside could wake it
        self.machine.ending = None
        return self.people.take()


@pytest.fixture(params=["jit", "interp", "reference"])
def pc(request: pytest.FixtureRequest) -> Debugged:
    return Debugged(request.param)


def test_breakpoints_of_each_kind_are_met_and_listed(pc: Debugged) -> None:
    pc.say("b 0x7c00")
    pc.say("lb 0x7c03")
    pc.say("vb 0:0x7c06")
    assert "mov ax, 0x1234" in pc.go()
    seen = pc.go()
    assert "(0) Breakpoint 2, 0x0000000000007c03" in seen and "0000:7c03 (unk. ctxt): mov [0x500], ax" in seen
    pc.say("bpd 3")
    listed = pc.say("info break")
    assert re.search(r"1 pbreakpoint +keep y +0x0*7c00", listed) and re.search(r"3 vbreakpoint +keep n", listed)
    pc.say("bpe 3")
    assert "Breakpoint 3" in pc.go()
    pc.say("d 1")
    assert "there is no breakpoint 1" in pc.say("d 1")


def test_watchpoints_stop_behind_the_access(pc: Debugged) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    pc.say("watch w 0x500")
    pc.say("watch r 0x500 2")
    seen = pc.go()
    assert "write watch point at 0x500" in seen and "0000:7c06" in seen
    assert "read watch point at 0x500" in pc.go()
    pc.say("unwatch")
    assert "0x500" not in pc.say("watch")


def test_steps_go_as_far_as_they_say(pc: Debugged) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    assert "0000:7c03" in pc.go("s")
    assert "0000:7c0a" in pc.go("step 2")
    assert pc.machine.paused


@pytest.mark.parametrize(
    ("condition", "seen"),
    [
        ("magic", "Magic breakpoint"),
        ("port 0x80", "Caught port: write of port 0x80"),
        ("port 0x61 r", "Caught port: read of port 0x61"),
        ("interrupt 0x12", "Caught interrupt: interrupt 0x12"),
        ("interrupt 3", "Caught interrupt: interrupt 0x3"),
        ("cr3", "Caught cr3: CR3 = 0x10000"),
        ("cr3 0x10000", "Caught cr3: CR3 = 0x10000"),
        ("mode", "Caught mode: from real mode to protected mode"),
    ],
)
def test_a_condition_stops_where_it_is_met(pc: Debugged, condition: str, seen: str) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    pc.say(f"stopon {condition}")
    assert f"stopon {condition.split()[0]}" in pc.say("info break")
    assert seen in pc.go()
    pc.say("stopon none")
    assert "stopon" not in pc.say("info break")


def test_modes_are_told_one_after_the_other(pc: Debugged) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    assert "enabled" in pc.say("modebp")
    seen = [re.search(r"Caught mode: (.*)\r", pc.go())[1] for _ in range(3)]  # type: ignore[index]
    assert [text.split(" to ")[1] for text in seen] == [
        "protected mode, 16-bit code",
        "protected mode, 32-bit code",
        "protected mode, 32-bit code, paging",
    ]


def test_a_physical_address_is_found_through_page_tables(pc: Debugged) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    pc.say("modebp")
    for _ in range(3):
        pc.go()
    assert "mapped nowhere" in pc.say("b 0x600000")
    pc.say("b 0x7c00")
    assert "0x000000007c00" in pc.say("blist")


def test_a_trace_shows_each_instruction(pc: Debugged) -> None:
    pc.say("lb 0x7c00")
    pc.go()
    pc.say("trace on")
    seen = pc.go("s 3")
    assert seen.index("mov ax, 0x1234") < seen.index("mov [0x500], ax") < seen.index("mov bx, [0x500]")
    pc.say("trace off")
    assert "mov al, 0x77" not in pc.go("s 3").split("Next at")[0]


def test_a_run_that_is_stopped_is_the_same_run() -> None:
    plain, stopped = Debugged("jit"), Debugged("jit")
    for line in ("lb 0x7c03", "watch w 0x500", "stopon magic", "stopon port 0x80", "modebp"):
        stopped.say(line)
    for _ in range(12):
        stopped.go()
    plain.machine.go_on()
    plain.machine.max_insns = stopped.machine.retired
    plain.machine.run()
    assert plain.machine.digest() == stopped.machine.digest()


def test_without_a_debugger_the_magic_instruction_is_an_exchange() -> None:
    pc = Debugged("interp")
    pc.machine.go_on()
    pc.machine.step(100_000)
    assert not pc.machine.paused and pc.machine.cpu.reg("cr0") >> 31


@pytest.mark.parametrize(
    "line",
    ["lb", "vb 7c00", "vb x:y", "bpe 7", "d 0", "watch q 5", "watch w 5 0", "stopon", "stopon thing", "stopon port",
     "stopon port 0x12345", "stopon cpl 4", "stopon mode 3", "stopon port 3 q", "trace maybe"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(line: str) -> None:
    pc = Debugged("interp")
    answer = pc.say(line)
    assert re.search("rror|xpected|missing|help", answer), answer


def test_modes_have_names() -> None:
    assert mode_name(0) == "real mode"
    assert mode_name(0b0101) == "virtual 8086 mode"
    assert mode_name(0b1011) == "protected mode, 32-bit code, paging"


def test_a_machine_has_one_set_of_stops() -> None:
    pc = Debugged("interp")
    assert stops_of(pc.machine) is stops_of(pc.machine)


def test_emu_break_runs_to_a_condition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(disk())
    assert main(["break", "--cr3", "-fda", str(image), "-snapshot", "--timeout", "30"]) == 0
    seen = capsys.readouterr().err
    assert "CR3 = 0x10000" in seen and "EIP=" in seen and "mov eax, cr4" in seen
    assert main(["break", "--cpl", "3", "-fda", str(image), "-snapshot", "--max-insns", "100000"]) == 124
    assert main(["break", "-fda", str(image)]) == 1
    assert "expected" in capsys.readouterr().err
