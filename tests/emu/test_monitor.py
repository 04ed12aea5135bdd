"""The monitor for people: commands, expressions, views in QEMU's line shapes, editing of a line."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from devices.backends import MemoryDisk
from emu.boards import Setup, board
from emu.machine import Cause
from emu.media import Medium
from emu.monitor.registry import HMP, INFO, unique
from emu.options import Drive, parse
from tests.emu.monitored import Monitored
from tests.emu.pc_machine import boot_image, full_pc, run_code

pytest.importorskip("emu.engine._x86")


@pytest.fixture
def pc() -> Monitored:
    return Monitored()


def paging(m: Monitored, *, pae: bool = False) -> None:
    """4 MiB of memory at its own place and at C0000000, its third page not writable and its fourth the user's."""
    ram = m.machine.ram
    if pae:
        ram.load(0x1000, struct.pack("<4Q", 0x2001, 0, 0, 0x2001))
        ram.load(0x2000, struct.pack("<2Q", 0x3007, 0x200083))
        entries = [n << 12 | 3 for n in range(512)]
        entries[5] |= 1 << 63
        entries[6] = 0
        ram.load(0x3000, struct.pack("<512Q", *entries))
        m.machine.cpu.set_reg("cr4", 0x20)
    else:
        directory = [0] * 1024
        directory[0] = directory[768] = 0x2007
        directory[769] = 0x00400083
        ram.load(0x1000, struct.pack("<1024I", *directory))
        entries = [n << 12 | 3 for n in range(1024)]
        entries[2], entries[3] = 0x2001, 0x3067
        ram.load(0x2000, struct.pack("<1024I", *entries))
        m.machine.cpu.set_reg("cr4", 0x10)
    m.machine.cpu.set_reg("cr3", 0x1000)
    m.machine.cpu.set_reg("cr0", 0x80000011)


def test_every_command_has_a_line_of_help(pc: Monitored) -> None:
    lines = pc.say("help").splitlines()
    assert len(lines) == len(list(unique(HMP))) and all(" -- " in line for line in lines)
    assert pc.say("info") == pc.say("help info")
    assert len(pc.say("info").splitlines()) == len(list(unique(INFO)))
    assert pc.say("help sendkey").startswith("sendkey keys [hold_ms] -- ")
    assert "did you mean sendkey?" in pc.say("help sendkeys")


def test_an_unknown_command_is_named_and_a_beginning_that_one_has_is_enough(pc: Monitored) -> None:
    assert pc.say("frobnicate now") == "unknown command: 'frobnicate'\n"
    assert pc.say("info frob") == "unknown command: 'info frob'\n"
    assert pc.say("info stat") == "VM status: running\n"
    assert pc.say("") == "" and pc.say("# nothing") == ""


@pytest.mark.parametrize("name", sorted(name for name in INFO))
def test_every_view_shows_something_on_both_kinds_of_machine(name: str, tmp_path: Path) -> None:
    for m in (Monitored(), bamboo(tmp_path)):
        text = m.say(f"info {name}")
        assert "internal error" not in text and "unknown" not in text
        assert text == "" or text.endswith("\n")


def bamboo(folder: Path) -> Monitored:
    (folder / "code").write_bytes(b"\x48\0\0\0")
    machine = board("bamboo")(Setup(parse(["-M", "bamboo", "-m", "64", "-kernel", str(folder / "code")])))
    machine.power_on()
    return Monitored(machine)


# -- expressions and formats


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("0x10 | 3", 0x13), ("~0 & 0xff", 255), ("-1", -1), ("010", 8),
        ("7 / 2", 3), ("7 % 4", 3), ("'A'", 65), ("1 + 2 & 3", 3), ("$eax + 1", 0x12345679), ("$AL", 0x78),
        ("6 ^ 5", 3), ("2 - 5", -3), ("0xffffffffffffffff + 2", 1), ("$pc", -16),
    ],
)  # fmt: skip
def test_expressions(pc: Monitored, text: str, value: int) -> None:
    pc.machine.cpu.set_reg("eax", 0x12345678)
    assert pc.say(f"p {text}") == f"{value}\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unexpected end of expression"), ("1 +", "unexpected end of expression"), ("(1", "')' expected"),
        ("$nothing", "unknown register"), ("1 / 0", "division by zero"), ("'A", "missing terminating"),
        ("09", "invalid char in expression"), ("@", "invalid char in expression"), ("1 2", "too many arguments"),
        ("9" * 20, "number too large"), ("(" * 100, "nested too deeply"), ("/q 1", "invalid char in format"),
    ],
)  # fmt: skip
def test_what_is_no_expression_gets_a_reason(pc: Monitored, text: str, why: str) -> None:
    answer = pc.say(f"print {text}")
    assert why in answer and 'Try "help print" for more information' in answer


def test_memory_is_shown_in_the_formats_of_qemu(pc: Monitored) -> None:
    pc.machine.ram.load(0x1000, bytes(range(1, 33)) + b"\xffA\n'\\")
    assert pc.say("xp/4xw 0x1000") == "0000000000001000: 0x04030201 0x08070605 0x0c0b0a09 0x100f0e0d\n"
    assert pc.say("xp /9xb 0x1000") == (
        "0000000000001000: 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08\n0000000000001008: 0x09\n"
    )
    assert pc.say("xp /1xg 0x1000") == "0000000000001000: 0x0807060504030201\n"
    assert pc.say("x /2dh 0x1020") == "00001020: 16895 9994\n"
    assert pc.say("x /3oh 0x1000") == "00001000: 0001001 0002003 0003005\n"
    assert pc.say("x /5cb 0x1020") == "00001020: '\\xff' 'A' '\\n' '\\'' '\\\\'\n"
    assert pc.say("x/1ub 0x1020").split() == ["00001020:", "255"]
    assert pc.say("x 0x1000") == "00001000: 0x04030201\n"
    assert pc.say("p/x 255") == "0xff\n" and pc.say("p/c 65") == "'A'\n" and pc.say("p /o 8") == "010\n"


def test_memory_that_is_not_mapped_is_said_to_be_so(pc: Monitored) -> None:
    paging(pc)
    assert pc.say("x /2xw 0x80000000") == "80000000: Cannot access memory\n"
    assert pc.say("x /8xw 0xc03ffff0").splitlines()[1].startswith("c0400000: 0x")
    assert pc.say("x /1xw 0xd0000000") == "d0000000: Cannot access memory\n"
    assert pc.say("xp /1xw 0xfffffffff") == "0000000fffffffff: Cannot access memory\n"
    assert "at most" in pc.say("xp /99999999xg 0")


def test_instructions_are_shown(pc: Monitored) -> None:
    pc.machine.ram.load(0x1000, bytes.fromhex("b83412 90 f4"))
    lines = pc.say("xp /3i 0x1000").splitlines()
    assert [line.split()[0] for line in lines] == ["0x00001000:", "0x00001003:", "0x00001004:"]
    assert [line.split()[-1] for line in lines] == ["0x1234", "nop", "hlt"]


def test_ports_are_read_and_written_through_the_gate(pc: Monitored) -> None:
    assert pc.say("o/b 0x70 0x8f") == "" and pc.say("o/b 0x61 1") == ""
    assert re.fullmatch(r"portb\[0x0061\] = 0x[0-9a-f]1\n", pc.say("i/b 0x61"))
    assert re.fullmatch(r"portw\[0x03c4\] = 0x[0-9a-f]{4}\n", pc.say("i/h 0x3c4"))
    assert [entry.data for entry in pc.machine.inputs.record if entry.channel == "monitor"][:2] == [
        b'["port_write", 112, 1, 143]', b'["port_write", 97, 1, 1]',
    ]  # fmt: skip


# -- the processor


def test_registers_have_the_lines_of_qemu(pc: Monitored) -> None:
    lines = pc.say("info registers").splitlines()
    assert lines[:2] == ["", "CPU#0"]
    assert re.fullmatch(r"EAX=[0-9a-f]{8} EBX=[0-9a-f]{8} ECX=[0-9a-f]{8} EDX=[0-9a-f]{8}", lines[2])
    assert re.fullmatch(r"EIP=0000fff0 EFL=00000002 \[-------\] CPL=0 II=0 A20=1 SMM=0 HLT=0", lines[4])
    assert any(re.fullmatch(r"FCW=0040 FSW=0000 \[ST=0\] FTW=[0-9a-f]{2} MXCSR=00001f80", line) for line in lines)
    assert any(re.fullmatch(r"FPR6=[0-9a-f]{16} [0-9a-f]{4} FPR7=[0-9a-f]{16} [0-9a-f]{4}", x) for x in lines)
    assert re.fullmatch(r"XMM06=[0-9a-f]{16} [0-9a-f]{16} XMM07=[0-9a-f]{16} [0-9a-f]{16}", lines[-1])


def test_registers_of_a_powerpc_have_the_lines_of_qemu(tmp_path: Path) -> None:
    m = bamboo(tmp_path)
    before = m.machine.digest()
    lines = m.say("info registers").splitlines()
    assert lines[2].startswith("NIP ") and re.fullmatch(r"TB [0-9a-f]{8} [0-9a-f]{8} DECR [0-9]+", lines[4])
    assert any(re.fullmatch(r"GPR28( [0-9a-f]{16}){4}", line) for line in lines)
    assert any(line.startswith("CSRR0 ") for line in lines)
    assert m.machine.digest() == before


def test_the_tlb_of_a_powerpc_has_the_lines_of_qemu(tmp_path: Path) -> None:
    m = bamboo(tmp_path)
    for name, value in (("utlb0[7]", 0x30000230), ("utlb1[7]", 0x40000001), ("utlb2[7]", 0x50F), ("utlb_tid[7]", 5)):
        m.machine.cpu.set_reg(name, value)
    lines = m.say("info tlb").splitlines()
    assert lines[:3] == ["", "TLB:", "Effective          Physical           Size PID   Prot     Attr"]
    assert "0x0000000030000000 0x0000000140000000  64k 5     00000079 00000500" in lines


def test_mappings_are_listed_as_qemu_lists_them(pc: Monitored) -> None:
    assert pc.say("info mem") == pc.say("info tlb") == "PG disabled\n"
    paging(pc)
    tlb = pc.say("info tlb").splitlines()
    assert tlb[2] == "0000000000002000: 0000000000002000 ---------"
    assert tlb[3] == "0000000000003000: 0000000000003000 ---DA--UW"
    assert tlb[-1] == "00000000c0400000: 0000000000400000 --P-----W"
    assert len(tlb) == 2049
    assert pc.say("info mem").splitlines()[:4] == [
        "0000000000000000-0000000000002000 0000000000002000 -rw",
        "0000000000002000-0000000000003000 0000000000001000 -r-",
        "0000000000003000-0000000000004000 0000000000001000 urw",
        "0000000000004000-0000000000400000 00000000003fc000 -rw",
    ]
    assert pc.say("info mem").splitlines()[-1] == "00000000c0004000-00000000c0800000 00000000007fc000 -rw"


def test_mappings_with_wide_entries_too(pc: Monitored) -> None:
    paging(pc, pae=True)
    tlb = pc.say("info tlb").splitlines()
    assert tlb[5] == "0000000000005000: 0000000000005000 X-------W"
    assert tlb[6].startswith("0000000000007000: ")
    assert tlb[-1] == "00000000c0200000: 0000000000200000 --P-----W"
    assert pc.say("gva2gpa 0xc0205678") == "gpa: 0x205678\n" and pc.say("gva2gpa 0x6000") == "Unmapped\n"


def test_a_page_is_explained_level_by_level(pc: Monitored) -> None:
    assert pc.say("page 0x1234") == "-> 0x00001234 (paging is off)\n"
    paging(pc)
    lines = pc.say("page 0xc0003123").splitlines()
    assert lines[0].startswith("PDE   at 0x00001c00: 0x00002007") and lines[1].startswith(
        "PTE   at 0x0000200c: 0x00003067"
    )
    assert lines[2] == "-> 0x00003123 (4K, RW, U)"
    assert pc.say("page 0xc0410000").splitlines()[-1] == "-> 0x00410000 (4M, RW, S)"
    assert pc.say("page 0xd0000000").splitlines()[-1] == "stops at PDE: P=0"


# -- as Bochs shows them


def tables(m: Monitored) -> None:
    """A GDT with code, data and a TSS at 5000, an IDT with one gate at 6000."""
    ram, cpu = m.machine.ram, m.machine.cpu
    ram.load(0x5000, struct.pack("<4Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x0000890070000067))
    ram.load(0x6000, struct.pack("<2Q", 0x00008E0000081234, 0))
    for name, value in (("gdtr.base", 0x5000), ("gdtr.limit", 31), ("idtr.base", 0x6000), ("idtr.limit", 15)):
        cpu.set_reg(name, value)
    cpu.set_reg("cr0", 0x11)


def test_descriptor_tables_are_shown_as_bochs_shows_them(pc: Monitored) -> None:
    assert pc.say("info idt 0x10").splitlines()[1].startswith("INT# 10 > ")
    assert "not in use in real mode" in pc.say("info gdt") and len(pc.say("info gdt").splitlines()) == 2
    assert pc.say("info gdt 0 2").count("GDT[") == 3
    tables(pc)
    assert pc.say("info gdt").splitlines() == [
        "Global Descriptor Table (base=0x0000000000005000, limit=31):",
        "GDT[0x0000]=??? descriptor hi=0x00000000, lo=0x00000000",
        "GDT[0x0008]=Code segment, base=0x00000000, limit=0xffffffff, Execute/Read, Non-Conforming, Accessed, 32-bit",
        "GDT[0x0010]=Data segment, base=0x00000000, limit=0xffffffff, Read/Write, Accessed",
        "GDT[0x0018]=32-Bit TSS (Available) at 0x00007000, length 0x00067",
    ]
    assert pc.say("info gdt 3").splitlines()[1].startswith("GDT[0x0018]=")
    assert pc.say("info idt").splitlines()[1] == "IDT[0x00]=32-Bit Interrupt Gate target=0x0008:0x00001234, DPL=0"
    assert "ss:esp(0): 0x0000:0x00000000" in pc.say("info tss").splitlines()


def test_an_nmi_runs_vector_2_of_a_real_mode_guest_that_sleeps_with_interrupts_off(pc: Monitored) -> None:
    sleep, handler = b"\xfa\xf4\xeb\xfd", b"\x2e\xff\x06\x00\x12\xcf"  # cli; hlt; jmp to hlt. inc word [cs:1200h]; iret
    ram = pc.machine.ram
    ram.load(8, (0x1100).to_bytes(4, "little"))
    ram.load(0x1100, handler)
    ram.load(0x1200, bytes(2))
    run_code(pc.machine, sleep, 2)
    pc.machine.cpu.set_reg("esp", 0x7000)
    for count in (1, 2):
        pc.say("nmi")
        pc.machine.cpu.run(100)
        assert pc.machine.cpu.halted and pc.machine.cpu.reg("eip") == 0x1002
        assert ram.view[0x1200] == count


def test_registers_are_shown_as_bochs_shows_them(pc: Monitored) -> None:
    pc.machine.cpu.set_reg("eax", 0xFFFFFFFE)
    lines = pc.say("r").splitlines()
    assert lines[0] == "eax: 0xfffffffe -2" and lines[-1].endswith("nt IOPL=0 of df if tf sf zf af pf cf")
    assert pc.say("creg").startswith("CR0=0x60000010: pg CD NW ac wp ne ET ts em mp pe\n")
    sreg = pc.say("sreg").splitlines()
    assert sreg[2].startswith("cs:0xf000, dh=0xff009b") and "Code segment, base=0xffff0000" in sreg[3]
    assert pc.say("ptime") == "ptime: 0\n" and "DR6=0xffff0ff0: bt bs bd b3 b2 b1 b0\n" in pc.say("dreg")


def test_pages_code_and_stack_are_shown_as_bochs_shows_them(pc: Monitored) -> None:
    assert pc.say("info tab") == "paging off\n"
    pc.machine.ram.load(0x7C00, bytes.fromhex("b83412 90"))
    for name, value in (("ss", 0), ("esp", 0x7C00), ("cs", 0), ("eip", 0x7C00)):
        pc.machine.cpu.set_reg(name, value)
    assert pc.say("print-stack 2").splitlines() == [
        "Stack address size 2",
        " | STACK 0x7c00 [0x34b8] (<unknown>)",
        " | STACK 0x7c02 [0x9012] (<unknown>)",
    ]
    assert [line[8:17] for line in pc.say("u /2").splitlines()] == ["00007c00:", "00007c03:"]
    paging(pc)
    assert pc.say("info tab").splitlines()[:2] == [
        "cr3: 0x000000001000",
        "0x0000000000000000-0x00000000003fffff -> 0x000000000000-0x0000003fffff",
    ]


# -- files


def test_memory_is_saved_to_files(pc: Monitored, tmp_path: Path) -> None:
    pc.machine.ram.load(0x3000, b"somewhere")
    paging(pc)
    assert pc.say(f'pmemsave 0x3000 9 "{tmp_path}/p"') == "" and (tmp_path / "p").read_bytes() == b"somewhere"
    pc.machine.ram.load(0x4000, b"elsewhere")
    assert pc.say(f"memsave 0xc0004000 9 {tmp_path}/v") == "" and (tmp_path / "v").read_bytes() == b"elsewhere"
    assert "Invalid addr" in pc.say(f"memsave 0xd0000000 9 {tmp_path}/v")
    assert "No such file" in pc.say("pmemsave 0 9 /nowhere/at/all")
    assert "Cannot access memory" in pc.say(f"pmemsave 0xffffffff0 99 {tmp_path}/q")


def test_the_dump_of_memory_is_an_elf_core(pc: Monitored, tmp_path: Path) -> None:
    pc.machine.ram.load(0x3000, b"somewhere")
    pc.machine.cpu.set_reg("eax", 0x12345678)
    paging(pc)
    for flags, linear in (("", 0), ("-p ", 0xC0000000)):
        assert pc.say(f"dump-guest-memory {flags}{tmp_path}/core") == ""
        core = (tmp_path / "core").read_bytes()
        assert core[:7] == b"\x7fELF\x01\x01\x01" and struct.unpack_from("<HH", core, 16) == (4, 3)
        count = struct.unpack_from("<H", core, 44)[0]
        headers = [struct.unpack_from("<8I", core, 52 + 32 * n) for n in range(count)]
        assert headers[0][0] == 4 and struct.unpack_from("<I", core, headers[0][1] + 20 + 72 + 24)[0] == 0x12345678
        low = next(h for h in headers[1:] if h[2] <= linear + 0x3000 < h[2] + h[5] and h[3] <= 0x3000)
        at = low[1] + linear + 0x3000 - low[2]
        assert core[at : at + 9] == b"somewhere"
    assert "go together" in pc.say(f"dump-guest-memory {tmp_path}/core 0")


def test_the_screen_is_dumped_as_png_and_ppm(pc: Monitored, tmp_path: Path) -> None:
    pc.machine.ram.load(0xB8000, b"E\x1fm\x1fu\x1f")
    assert pc.say(f"screendump {tmp_path}/a.png") == "" and pc.say(f"screendump {tmp_path}/a.ppm") == ""
    image = (tmp_path / "a.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack_from(">II", image, 16)
    size = struct.unpack_from(">I", image, 33)[0]
    rows = zlib.decompress(image[41 : 41 + size])
    pixels = b"".join(rows[at + 1 : at + 1 + 3 * width] for at in range(0, len(rows), 3 * width + 1))
    assert (tmp_path / "a.ppm").read_bytes() == b"P6\n%d %d\n255\n" % (width, height) + pixels
    assert len(pixels) == 3 * width * height
    assert "No such file" in pc.say("screendump /nowhere/at/all.png")


# -- the board


def test_the_board_is_shown(pc: Monitored) -> None:
    assert "    00000000000a0000-00000000000bffff (prio 0, i/o): vga memory\n" in pc.say("info mtree")
    assert "    0000000000000020-0000000000000021 (prio 0, i/o): pic master\n" in pc.say("info mtree")
    assert "  Bus  0, device   1, function 1:\n    IDE controller: PCI device 8086:7010\n" in pc.say("info pci")
    assert "pic0: irr=00 imr=00 isr=00 hprio=0 irq_base=00 rr_sel=0 elcr=00 fnm=0\n" in pc.say("info pic")
    assert "  pin 0  0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed  physical\n" in pc.say("info pic")
    assert "SPIV\t 0x000000ff APIC disabled, focus=off, spurious vec 255\n" in pc.say("info lapic")
    assert 'id "vga"\n' in pc.say("info qtree") and "      dev: piix3" in pc.say("info qtree")


def test_drives_are_shown_and_media_change(tmp_path: Path) -> None:
    m = drives()
    (tmp_path / "new.iso").write_bytes(b"\0" * 4096)
    shown = m.say("info block")
    assert "ide0-hd0: disk (raw)\n" in shown and "cd: cd (raw, read-only)\n" in shown
    assert "ide1-cd1: [not inserted]\n" in shown and "    Removable device: not locked, tray closed\n" in shown
    assert m.say("eject cd") == "" and "cd: [not inserted]" in m.say("info block cd")
    assert m.say(f"change cd {tmp_path}/new.iso") == "" and "new.iso (raw, read-only)" in m.say("info block cd")
    assert "Error: Device 'ide0-hd0' is not removable" in m.say("eject ide0-hd0")
    assert "Error: Device 'nothing' not found" in m.say("eject nothing")
    assert "no such file" in m.say("change cd /nowhere/at/all")
    assert m.control.block("cd").device.disk.size == 4096


def test_the_medium_of_a_floppy_drive_changes_and_the_guest_can_see_it(tmp_path: Path) -> None:
    (tmp_path / "new.img").write_bytes(b"\x11" * (720 << 10))
    media = [Medium(Drive("old", "floppy", 0), MemoryDisk(bytes(1440 << 10))), Medium(Drive(None, "floppy", 1), None)]
    machine = board("pc")(Setup(parse(["-m", "2", "-nographic"]), media=media))
    machine.power_on()
    machine.media_for_tests = media  # type: ignore[attr-defined]
    m = Monitored(machine)
    fdc: Any = machine.devices["fdc"]
    fdc.see_medium(0)
    shown = m.say("info block")
    assert "floppy0: old (raw)\n" in shown and "floppy1: [not inserted]\n" in shown
    assert m.say(f"change floppy0 {tmp_path}/new.img raw") == "" and "new.img (raw)" in m.say("info block floppy0")
    assert fdc.medium_changed(0) and fdc.drives[0].disk.read(0, 1) == b"\x11"
    assert fdc.drives[0].format.sectors == 9
    assert m.say("eject floppy0") == "" and fdc.drives[0].disk is None
    assert m.say(f"change floppy1 {tmp_path}/new.img") == "" and fdc.drives[1].disk.size == 720 << 10


def test_a_locked_tray_stays_shut_unless_forced() -> None:
    m = drives()
    m.control.block("cd").device.s.locked = True
    assert "is locked" in m.say("eject cd") and "is locked" in m.say("change cd x")
    assert m.say("eject -f cd") == ""


def drives() -> Monitored:
    machine = full_pc()
    media = [
        Medium(Drive("disk", "ide", 0), MemoryDisk(bytes(1 << 20))),
        Medium(
            Drive("cd", "ide", 2, media="cdrom", read_only=True, id="cd"), MemoryDisk(bytes(1 << 20), read_only=True)
        ),
        Medium(Drive(None, "ide", 3, media="cdrom", read_only=True), None),
    ]
    machine.media_for_tests = media  # type: ignore[attr-defined]
    return Monitored(machine)


# -- cards


def test_the_balloon_is_asked_and_tells() -> None:
    assert Monitored().say("info balloon") == "Error: No balloon device has been activated\n"
    words = ("-device", "virtio-balloon-pci,id=b")
    m = Monitored(full_pc(*words), *words)
    told: list[Any] = []
    m.control.on_event.append(lambda event, data: told.append((event, data)))
    m.monitors.poll()
    assert m.say("info balloon") == "balloon: actual=8\n" and m.say("balloon 5") == ""
    assert m.control.balloon.state.wanted == (3 << 20) // 4096
    m.control.balloon.state.actual = 256
    m.monitors.poll()
    assert told == [("BALLOON_CHANGE", {"actual": 7 << 20})]
    assert "expects a size" in m.say("balloon 0")
    assert 'id "b"' in m.say("info pci")


def test_a_cable_is_pulled_and_put_back() -> None:
    words = ("-device", "virtio-net-pci,id=n1")
    m = Monitored(full_pc(*words), *words)
    (card,) = (device for device in m.machine.devices.values() if hasattr(device, "set_link"))
    for on, bit in (("off", 0), ("on", 1)):
        assert m.say(f"set_link n1 {on}") == "" and card.state.link & 1 == bit
    assert m.say("set_link n2 off") == "Error: Device 'n2' not found\n"
    assert "Expected 'on' or 'off'" in m.say("set_link n1 maybe")


# -- keys


def set1(m: Monitored) -> bytes:
    """What the keyboard controller gives a guest, everything read at once."""
    out = bytearray()
    kbd: Any = m.machine.devices["kbd"]
    for _ in range(200):
        m.machine.clock.skip_to(m.machine.clock.now() + 10_000_000)
        m.machine.clock.fire()
        while kbd.read_status(0, 1) & 1:
            out.append(kbd.read_data(0, 1))
            m.machine.clock.skip_to(m.machine.clock.now() + 2_000_000)
            m.machine.clock.fire()
    return bytes(out)


def test_keys_are_pressed_held_and_let_go(pc: Monitored) -> None:
    assert pc.say("sendkey ctrl-alt-f1") == ""
    assert set1(pc) == bytes.fromhex("1d383b bbb89d")
    assert pc.say("sendkey a 1") == pc.say("sendkey -") == pc.say("sendkey 0x1e") == ""
    assert set1(pc) == bytes.fromhex("1e9e 0c8c 1e9e")


def test_what_is_no_key_is_named(pc: Monitored) -> None:
    assert pc.say("sendkey ctrl-nokey") == "Error: invalid parameter: nokey\n"
    assert "Expected 1 to 16 keys" in pc.say("sendkey " + "-".join("a" * 20))
    assert "hold time" in pc.say("sendkey a 99999999")


def test_keys_need_a_keyboard(tmp_path: Path) -> None:
    assert "no keyboard" in bamboo(tmp_path).say("sendkey a")
    assert "no keyboard" in bamboo(tmp_path).say("mouse_move 1 1")


# -- the run


def test_a_run_is_stopped_and_goes_on(pc: Monitored) -> None:
    assert pc.say("stop") == "" and pc.say("info status") == "VM status: paused\n"
    assert pc.machine.paused
    assert pc.say("c") == "" and not pc.machine.paused


def test_a_reset_happens_also_while_the_machine_is_stopped(pc: Monitored) -> None:
    pc.machine.cpu.set_reg("eip", 0x1234)
    pc.say("stop")
    pc.say("system_reset")
    assert pc.machine.cpu.reg("eip") == 0xFFF0 and pc.machine.paused


def test_quit_ends_the_run(pc: Monitored) -> None:
    pc.say("quit")
    assert pc.machine.ending is not None and pc.machine.ending.cause == Cause.QUIT


def test_a_machine_that_is_switched_off_and_stays_is_reset_before_it_goes_on() -> None:
    m = Monitored()
    m.machine.no_shutdown = True
    m.machine.power_off()
    assert m.say("info status") == "VM status: paused (shutdown)\n"
    assert "Resetting the Virtual Machine is required" in m.say("cont")
    assert m.say("system_reset") == "" and m.say("info status") == "VM status: paused\n"
    assert m.say("cont") == "" and m.say("info status") == "VM status: running\n"


@pytest.mark.parametrize(
    "line", ["savevm a", "loadvm a", "delvm a", "migrate tcp:0:1", "device_add e1000", "netdev_del n"]
)
def test_what_is_not_there_is_said_in_one_line(pc: Monitored, line: str) -> None:
    assert re.fullmatch(r"Error: [^\n]+\n", pc.say(line))


def test_actions_are_refused_while_a_recording_is_replayed(pc: Monitored) -> None:
    pc.machine.inputs.replay([])
    assert pc.say("sendkey a") == "Error: The run comes from a recording; nothing may change it\n"
    assert pc.say("info status") == "VM status: running\n"


def test_an_action_is_done_again_at_its_place_when_it_is_replayed() -> None:
    def run(replayed: list[Any] | None) -> tuple[str, list[Any]]:
        m = Monitored(full_pc(disk=MemoryDisk(bytes.fromhex("fbebfe").ljust(510, b"\0") + b"\x55\xaa" + bytes(512))))
        if replayed is not None:
            m.machine.inputs.replay(replayed)
        for target in (1_000_000, 2_000_000, 3_000_000):
            m.run(target - m.machine.retired)
            if replayed is None:
                m.say("sendkey a")
                m.say("mouse_move 3 4")
        m.run(1_000_000)
        return m.machine.digest(), [e for e in m.machine.inputs.record if e.channel == "monitor"]

    first, record = run(None)
    assert len(record) == 6
    assert run(record)[0] == first


# -- a line


def test_a_line_is_edited(pc: Monitored) -> None:
    pc.hmp.opened()
    assert pc.people.take() == "Emu 0.1.0 monitor - type 'help' for more information\r\n(qemu) "
    pc.hmp.receive(b"p 12\x7f3\r\n")
    assert pc.people.take().endswith("\r\n13\r\n(qemu) ")
    pc.hmp.receive(b"\x1b[A\x01\x06\x06\x0b99\r")
    assert pc.people.take().endswith("\r\n99\r\n(qemu) ")
    pc.hmp.receive(b"p 4\x1b[D5\x05\x156\x17p 7 + \x1b[1~\x1b[4~1\n")
    assert pc.people.take().endswith("\r\n8\r\n(qemu) ")
    pc.hmp.receive(b"\x10\x10\n")
    assert pc.people.take().endswith("\r\n99\r\n(qemu) ")
    pc.hmp.receive(b"info his\t\n")
    assert "2: 'p 7 + 1'" in pc.people.take()


def test_names_are_completed(pc: Monitored) -> None:
    pc.hmp.opened()
    pc.people.take()
    pc.hmp.receive(b"sendk\t")
    assert pc.people.take().endswith("sendkey ")
    pc.hmp.receive(b"\x15info re\t")
    assert "registers replay" in pc.people.take()


def test_a_client_that_does_not_read_is_not_answered_more(pc: Monitored) -> None:
    pc.hmp.opened()
    pc.people.unread = 1 << 20
    pc.hmp.receive(b"stop\n" * 300)
    assert not pc.machine.paused and pc.hmp.room() == 0 and not pc.hmp.busy
    pc.people.unread = 0
    assert pc.hmp.busy
    pc.monitors.poll()
    assert pc.machine.paused


# -- a terminal


def test_the_monitor_is_behind_a_key_of_the_terminal(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    image = boot_image(tmp_path, bytes.fromhex("fbebfe"))
    command = [sys.executable, "-m", "emu", "run", image, "-nographic", "--timeout", "60s"]
    got = b""

    def until(text: bytes) -> None:
        nonlocal got
        while text not in got:
            got += os.read(mine, 4096)
        got = got.partition(text)[2]

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        while termios.tcgetattr(mine)[3] & termios.ECHO:
            assert process.poll() is None
            time.sleep(0.02)
        os.write(mine, b"\x01c")
        until(b"type 'help' for more information")
        os.write(mine, b"info status\rp 6*7\r")
        until(b"VM status: running")
        until(b"\n42\r")
        os.write(mine, b"\x01h")
        until(b"switch between console and monitor")
        os.write(mine, b"\x01cx\x01cquit\r")
        assert process.wait(30) == 0
    os.close(mine)
