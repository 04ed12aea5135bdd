"""The display card on the board: its memory for the processor, and the VESA services of our BIOS on it."""

from __future__ import annotations

import pytest

from devices.vga import Vga
from emu.boards import Setup, board
from emu.display.render import frame
from emu.machine import Machine
from emu.memory import Kind
from emu.options import UsageError, parse
from tests.emu.pc_machine import run_code

INFO, MODE = 0x5000, 0x6000
LINEAR = 0xE0000000


def pc(*words: str) -> Machine:
    machine = board("pc")(Setup(parse(["-m", "8", *words])))
    machine.power_on()
    for _ in range(10_000):  # until POST has given the card its addresses and looks for something to boot
        machine.step(1)
        if machine.cpu.halted:
            break
    machine.cpu.load_state({**machine.cpu.state(), "halted": 0})  # type: ignore[attr-defined]
    return machine


@pytest.fixture(scope="module")
def machine() -> Machine:
    return pc()


def vga_of(machine: Machine) -> Vga:
    vga = machine.devices["vga"]
    assert isinstance(vga, Vga)
    return vga


def video(machine: Machine, **registers: int) -> int:
    """INT 10h; gives AX."""
    run_code(machine, b"\xcd\x10\xeb\xfe", 200, **registers)
    return machine.cpu.reg("eax") & 0xFFFF


def memory(machine: Machine, at: int, size: int) -> bytes:
    return bytes(machine.ram.view[at : at + size])


def word(data: bytes, at: int, size: int = 2) -> int:
    return int.from_bytes(data[at : at + size], "little")


def test_the_controller_tells_its_memory_and_modes(machine: Machine) -> None:
    machine.ram.load(INFO, b"VBE2")
    assert video(machine, eax=0x4F00, edi=INFO) == 0x004F
    block = memory(machine, INFO, 512)
    assert block[:6] == b"VESA\x00\x03" and word(block, 18) == 256
    modes = word(block, 14) + 16 * word(block, 16)
    listed = memory(machine, modes, 200)
    numbers = [word(listed, at) for at in range(0, 200, 2)]
    assert {0x101, 0x118, 0x144, 0x192} < set(numbers[: numbers.index(0xFFFF)])


def test_a_mode_is_described_as_it_is_then_shown(machine: Machine) -> None:
    assert video(machine, eax=0x4F01, ecx=0x144, edi=MODE) == 0x004F
    block = memory(machine, MODE, 256)
    assert (word(block, 16), word(block, 18), word(block, 20), block[25]) == (4096, 1024, 768, 32)
    assert word(block, 40, 4) == LINEAR and word(block, 0) & 0x80
    assert video(machine, eax=0x4F02, ebx=0x4144) == 0x004F
    assert video(machine, eax=0x4F03) == 0x004F and machine.cpu.reg("ebx") & 0xFFFF == 0x4144
    machine.bus.phys_write(LINEAR + 4096 * 5 + 4 * 7, b"\x11\x22\x33\x00")
    picture = frame(vga_of(machine))
    assert picture.shape == (768, 1024) and picture[5, 7] == 0x332211


def test_a_window_at_a0000_is_a_bank_of_the_same_memory(machine: Machine) -> None:
    assert video(machine, eax=0x4F02, ebx=0x101) == 0x004F
    assert video(machine, eax=0x4F05, ebx=0, edx=2) == 0x004F
    region = machine.ram.find(0xA0000)
    assert region is not None and region.kind == Kind.DIRECT
    machine.bus.phys_write(0xA0010, b"\x5a")
    assert vga_of(machine).frame_buffer[0x20010] == 0x5A  # type: ignore[index]
    assert video(machine, eax=0x4F05, ebx=0x100) == 0x004F and machine.cpu.reg("edx") & 0xFFFF == 2
    video(machine, eax=3)
    region = machine.ram.find(0xA0000)
    assert region is not None and region.kind == Kind.MMIO and region.offset == 0xA0000
    assert vga_of(machine).text_screen()


def test_the_picture_can_be_wider_than_the_screen_and_be_moved(machine: Machine) -> None:
    video(machine, eax=0x4F02, ebx=0x4103)
    assert video(machine, eax=0x4F06, ebx=0, ecx=1000) == 0x004F
    assert machine.cpu.reg("ecx") & 0xFFFF == 1000 and machine.cpu.reg("ebx") & 0xFFFF == 1000
    assert video(machine, eax=0x4F07, ebx=0, ecx=100, edx=50) == 0x004F
    machine.bus.phys_write(LINEAR + 1000 * 50 + 100, b"\x0f")
    assert frame(vga_of(machine))[0, 0] == 0xFFFFFF
    assert video(machine, eax=0x4F07, ebx=0, ecx=900, edx=0) != 0x004F


def test_palette_colours_of_eight_bits(machine: Machine) -> None:
    video(machine, eax=0x4F02, ebx=0x4101)
    assert video(machine, eax=0x4F08, ebx=0x0800) == 0x004F and machine.cpu.reg("ebx") >> 8 & 0xFF == 8
    machine.ram.load(INFO, bytes((0x12, 0x34, 0x56, 0)))
    assert video(machine, eax=0x4F09, ebx=0, ecx=1, edx=7, edi=INFO) == 0x004F
    machine.bus.phys_write(LINEAR, b"\x07")
    assert frame(vga_of(machine))[0, 0] == 0x563412


def test_the_monitor_says_what_it_likes_best(machine: Machine) -> None:
    assert video(machine, eax=0x4F15, ebx=1, ecx=0, edx=0, edi=INFO) == 0x004F
    told = memory(machine, INFO, 128)
    assert sum(told) & 0xFF == 0 and told[:8] == b"\x00\xff\xff\xff\xff\xff\xff\x00"
    timing = told[54:72]
    assert timing[2] | timing[4] >> 4 << 8 == 1280 and timing[5] | timing[7] >> 4 << 8 == 800


def test_modes_that_do_not_fit_and_functions_that_do_not_exist_fail(machine: Machine) -> None:
    assert video(machine, eax=0x4F02, ebx=0x4177) == 0x014F
    assert video(machine, eax=0x4F7F) == 0x0100
    small = pc("-device", "VGA,vgamem_mb=1")
    assert video(small, eax=0x4F02, ebx=0x4118) == 0x014F
    assert video(small, eax=0x4F02, ebx=0x4101) == 0x004F


def test_without_a_card_there_is_a_plain_vga() -> None:
    machine = pc("-vga", "none")
    assert "vga-pci" not in machine.devices
    assert video(machine, eax=0x4F00, edi=INFO) == 0x0100
    assert any(row.strip() for row in vga_of(machine).text_screen())


def test_the_frame_buffer_follows_its_base_address_and_keeps_off_other_memory() -> None:
    machine = pc()
    card = machine.devices["vga-pci"]
    card.config_write(0x10, 4, 0xD0000000)  # type: ignore[attr-defined]
    machine.bus.phys_write(0xD0000000, b"\x77")
    assert vga_of(machine).frame_buffer[0] == 0x77  # type: ignore[index]
    assert machine.ram.find(LINEAR) is None
    card.config_write(0x10, 4, 0xFE000000)  # type: ignore[attr-defined]
    assert machine.ram.find(0xFE000000) is None, "the I/O APIC is there"
    card.config_write(0x10, 4, LINEAR)  # type: ignore[attr-defined]
    card.config_write(0x04, 2, 0)  # type: ignore[attr-defined]
    assert machine.ram.find(LINEAR) is None


def test_properties_of_the_card_are_checked() -> None:
    for words in (["VGA,vgamem_mb=3"], ["VGA", "-device", "VGA"], ["VGA,addr=77"], ["VGA,xres=9,yres=9"]):
        with pytest.raises(UsageError):
            pc("-device", *words)
    assert vga_of(pc("-global", "VGA.vgamem_mb=32")).frame_buffer.nbytes == 32 << 20  # type: ignore[union-attr]
