from __future__ import annotations

from bios.pc import rom, tables
from bios.pc.font import font_16
from tests.bios.fake_host import FakeHost, Machine, floppy, hard_disk


def test_every_vector_points_into_the_rom_but_the_users() -> None:
    pc = Machine()
    for vector in range(256):
        pointer = pc.dword(4 * vector)
        if vector in range(0x60, 0x68):
            assert pointer == 0
        elif vector not in (0x41, 0x46):
            assert pointer >> 16 == rom.SEGMENT
    assert pc.word(4 * 0x13) == 0xE3FE
    assert pc.word(4 * 0x99) == rom.DUMMY_IRET


def test_the_interrupt_controllers_are_programmed_as_on_the_at() -> None:
    host = FakeHost()
    Machine(host, post=False).hook("post")
    words = [(port, value) for port, value in host.written if port in (0x20, 0x21, 0xA0, 0xA1)]
    assert words[:4] == [(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)]
    assert words[4:8] == [(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01)]
    assert host.ports[0x21] & 0b0000_0111 == 0  # timer, keyboard, cascade open


def test_caches_are_on_and_memory_types_are_those_of_a_pc() -> None:
    host = FakeHost()
    host.cpu_features |= 1 << 12
    host.regs["cr0"] = 0x6000_0010
    Machine(host, post=False).hook("post")
    assert host.regs["cr0"] == 0x10
    assert host.msrs["msr_mtrr_def"] == 0xC06
    assert host.msrs["msr_mtrr_fixed[0]"] == host.msrs["msr_mtrr_fixed[1]"] == 0x0606060606060606
    assert host.msrs["msr_mtrr_fixed[2]"] == 0
    assert {host.msrs[f"msr_mtrr_fixed[{n}]"] for n in range(3, 11)} == {0x0505050505050505}
    assert (host.msrs["msr_mtrr_var[0]"], host.msrs["msr_mtrr_var[1]"]) == (0xE0000000, 0xFE0000800)


def test_a_processor_without_memory_types_gets_none() -> None:
    host = FakeHost()
    host.cpu_features &= ~(1 << 12)
    Machine(host, post=False).hook("post")
    assert host.msrs == {}


def test_the_timer_runs_at_18_hz() -> None:
    host = FakeHost()
    Machine(host, post=False).hook("post")
    assert (0x43, 0x36) in host.written
    assert [value for port, value in host.written if port == 0x40] == [0, 0]


def test_the_data_area_describes_the_machine() -> None:
    pc = Machine(FakeHost(disks=[floppy(), floppy(720), hard_disk()]))
    assert pc.word(0x40E) == 0x9FC0
    assert pc.word(0x413) == 639
    assert pc.word(0x410) & 0xC1 == 0x41  # two floppies
    assert pc.word(0x410) & 0x30 == 0x20  # 80 columns, colour
    assert pc.host.ram[0x475] == 1
    assert (pc.word(0x41A), pc.word(0x41C), pc.word(0x480), pc.word(0x482)) == (0x1E, 0x1E, 0x1E, 0x3E)
    assert (pc.host.ram[0x449], pc.word(0x44A), pc.host.ram[0x484]) == (3, 80, 24)


def test_serial_ports_that_answer_are_listed() -> None:
    host = FakeHost()
    host.ports.update({0x3F9: 0, 0x3FA: 1})
    pc = Machine(host)
    assert [pc.word(0x400 + 2 * n) for n in range(4)] == [0x3F8, 0, 0, 0]
    assert pc.word(0x410) >> 9 & 7 == 1


def test_cmos_holds_drive_types_sizes_and_a_checksum() -> None:
    host = FakeHost(16 << 20, [floppy(1440), floppy(360), hard_disk()])
    Machine(host)

    def cmos(index: int) -> int:
        return host.indexed[(0x70, index)]

    assert cmos(0x10) == 0x41
    assert cmos(0x12) == 0xF0
    assert cmos(0x15) | cmos(0x16) << 8 == 640
    assert cmos(0x2E) << 8 | cmos(0x2F) == sum(host.indexed.get((0x70, n), 0) for n in range(0x10, 0x2E))


def test_the_font_is_in_plane_2_with_room_for_32_lines() -> None:
    host = FakeHost()
    writes: dict[int, bytes] = {}
    original = host.write_phys

    def spy(address: int, data: bytes) -> None:
        writes[address] = data
        original(address, data)

    host.write_phys = spy  # type: ignore[method-assign]
    Machine(host, post=False).hook("post")
    font = writes[0xA0000]
    assert len(font) == 256 * 32
    assert font[0x41 * 32 : 0x41 * 32 + 16] == font_16()[0x41 * 16 : 0x42 * 16]


def test_hard_disk_tables_hang_from_vectors_41h_and_46h() -> None:
    pc = Machine(FakeHost(disks=[hard_disk(16 * 63 * 30), hard_disk(16 * 63 * 40)]))
    for vector, cylinders in ((0x41, 30), (0x46, 40)):
        pointer = pc.dword(4 * vector)
        at = (pointer >> 16) * 16 + (pointer & 0xFFFF)
        assert (pc.word(at), pc.host.ram[at + 2], pc.host.ram[at + 14]) == (cylinders, 16, 63)


def test_a_program_that_reset_to_leave_protected_mode_is_resumed() -> None:
    host = FakeHost()
    pc = Machine(host)
    host.indexed[(0x70, 0x0F)] = 0x05
    pc.poke(0x467, b"\x34\x12\x00\x30")
    pc.hook("post")
    assert (pc.cs, pc.eip) == (0x3000, 0x1234)
    assert (0x20, 0x20) in host.written
    assert host.indexed[(0x70, 0x0F)] == 0


def test_reset_code_9_returns_by_iret_from_the_saved_stack() -> None:
    host = FakeHost()
    pc = Machine(host)
    host.indexed[(0x70, 0x0F)] = 0x09
    pc.poke(0x467, b"\x00\x01\x00\x30")
    pc.poke(0x30100, b"\x11\x22\x33\x44\x02\x02")
    pc.hook("post")
    assert (pc.eip, pc.cs) == (0x2211, 0x4433)
    assert (pc.ss, pc.host.reg("esp")) == (0x3000, 0x106)


def test_a_system_that_slept_goes_on_at_its_waking_vector_with_pci_set_up() -> None:
    host = FakeHost(16 << 20)
    pc = Machine(host)
    facs, _ = tables.place_acpi(host)["FACS"]
    for vector, resumed in ((0x9C084, True), (0, False), (0x100000, False)):
        pc.poke(facs + 12, vector.to_bytes(4, "little"))
        host.indexed[(0x70, 0x0F)] = 0xFE
        pc.poke(0x472, b"xy")
        pc.hook("post")
        assert ((pc.cs, pc.eip) == (0x9C08, 4)) == resumed
        assert (pc.word(0x472) == 0x7978) == resumed  # the data area is the sleeping system's
        assert host.indexed[(0x70, 0x0F)] == 0


def test_a_warm_start_keeps_its_mark() -> None:
    host = FakeHost()
    host.ram[0x472:0x474] = b"\x34\x12"
    assert Machine(host).word(0x472) == 0x1234


def test_the_local_apic_becomes_a_virtual_wire() -> None:
    host = FakeHost()
    Machine(host)
    assert int.from_bytes(host.high[0xFEE000F0], "little") & 0x100
    assert int.from_bytes(host.high[0xFEE00350], "little") & 0x700 == 0x700
    other = FakeHost(apic=False)
    Machine(other)
    assert 0xFEE000F0 not in other.high


def test_post_greets_unless_a_kernel_is_loaded_directly() -> None:
    assert Machine().screen(0) == "Emu BIOS"
