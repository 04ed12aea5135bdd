from __future__ import annotations

import pytest

from bios.image import Module, load_kernel
from bios.multiboot import find_header
from bios.plan import FLAT_GDT, ImageError, LoadPlan
from tests.bios.kernels import MAP, elf, multiboot_header


def kernel(flags: int = 3, size: int = 0x3000) -> bytes:
    header = multiboot_header(flags)
    return elf((0x100000, 0x100000, header + b"code", size), entry=0x10000C)


def plan(data: bytes, **options: object) -> LoadPlan:
    return load_kernel("kernel.elf", data, MAP, **options)  # type: ignore[arg-type]


class Memory:
    """What a plan leaves in memory."""

    def __init__(self, made: LoadPlan) -> None:
        self.made = made
        self.registers = dict(made.registers)

    def read(self, address: int, size: int) -> bytes:
        for start, data in self.made.segments:
            if start <= address < start + len(data):
                return data[address - start : address - start + size]
        raise LookupError(hex(address))

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def text(self, address: int) -> str:
        return self.read(address, 4096).split(b"\0")[0].decode()


def test_the_kernel_is_entered_flat_with_the_magic_number() -> None:
    state = Memory(plan(kernel())).registers
    assert state["eax"] == 0x2BADB002
    assert state["eip"] == 0x10000C
    assert state["cr0"] & 1
    assert not state["eflags"] & 0x200
    for name in ("cs", "ds", "es", "fs", "gs", "ss"):
        assert (state[f"{name}.base"], state[f"{name}.limit"]) == (0, 0xFFFFFFFF)


def test_the_gdt_the_registers_name_is_there() -> None:
    memory = Memory(plan(kernel()))
    state = memory.registers
    assert memory.read(state["gdtr.base"], state["gdtr.limit"] + 1) == FLAT_GDT


def test_the_information_names_memory_command_line_and_loader() -> None:
    memory = Memory(plan(kernel(), command_line="a b"))
    info = memory.registers["ebx"]
    flags = memory.word(info)
    assert flags & 0b1001001101 == 0b1001001101 & flags
    assert (memory.word(info + 4), memory.word(info + 8)) == (639, 63 << 10)
    assert memory.text(memory.word(info + 16)) == "kernel.elf a b"
    assert memory.text(memory.word(info + 64)) == "Emu"


def test_the_memory_map_has_entries_of_20_bytes_and_their_size() -> None:
    memory = Memory(plan(kernel()))
    info = memory.registers["ebx"]
    length, at = memory.word(info + 44), memory.word(info + 48)
    assert length == 24 * len(MAP)
    for n, entry in enumerate(MAP):
        row = at + 24 * n
        assert [memory.word(row + 4 * k) for k in (0, 1, 3, 5)] == [20, entry.start, entry.size, 1]


def test_modules_lie_on_pages_above_the_kernel() -> None:
    memory = Memory(plan(kernel(size=0x5001), modules=(Module(b"one", "first arg"), Module(b"two" * 3000, "second"))))
    info = memory.registers["ebx"]
    assert memory.word(info + 20) == 2
    rows = [[memory.word(memory.word(info + 24) + 16 * n + 4 * k) for k in range(3)] for n in range(2)]
    assert rows[0][0] == 0x106000
    assert rows[1][0] == 0x107000
    assert memory.read(rows[0][0], rows[0][1] - rows[0][0]) == b"one"
    assert rows[1][1] - rows[1][0] == 9000
    assert [memory.text(row[2]) for row in rows] == ["first arg", "second"]


def test_the_information_stays_clear_of_a_kernel_in_low_memory() -> None:
    data = elf((0x90000, 0x90000, multiboot_header() + bytes(0xFC00 - 12), 0xFC00))
    made = plan(data)
    info = dict(made.registers)["ebx"]
    assert info + 0x1000 <= 0x90000


def test_memory_beyond_the_file_is_cleared() -> None:
    made = plan(kernel(size=0x3000))
    assert made.zeros == ((0x100000 + 16, 0x3000 - 16),)


def test_a_kernel_with_load_addresses_is_placed_by_them() -> None:
    header = multiboot_header(0x10000, 0x200010, 0x200000, 0x200040, 0x201000, 0x200030)
    data = bytes(8) + b"S" * 16 + header + b"X" * 100
    made = plan(data)
    assert dict(made.segments)[0x200000] == data[8 : 8 + 0x40]
    assert made.zeros == ((0x200040, 0xFC0),)
    assert made.entry == 0x200030


@pytest.mark.parametrize(
    ("addresses", "complaint"),
    [
        ((0x100000, 0x200000, 0, 0, 0), "below the load address"),
        ((0x300000, 0x200000, 0, 0, 0), "before the beginning"),
        ((0x200000, 0x200000, 0x900000, 0, 0), "the file has"),
        ((0x200000, 0x200000, 0x100000, 0, 0), "the file has"),
        ((0x200000, 0x200000, 0, 0xFFFFFFFF, 0), "not all RAM"),
        ((0xFFFFFFF0, 0xFFFFFFF0, 0, 0, 0), "not all RAM"),
    ],
)
def test_impossible_load_addresses_are_refused(addresses: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        plan(multiboot_header(0x10000, *addresses) + bytes(64))


def test_a_requirement_this_loader_does_not_know_is_refused() -> None:
    with pytest.raises(ImageError, match="requirement bits 0x0010"):
        plan(kernel(flags=0x13))


def test_a_module_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ImageError, match="a module of 67108864 bytes"):
        plan(kernel(), modules=(Module(bytes(64 << 20)),))


def test_the_header_must_be_aligned_in_the_first_8_kib_and_add_up() -> None:
    assert find_header(bytes(8) + multiboot_header()) == 8
    assert find_header(bytes(2) + multiboot_header()) is None
    assert find_header(bytes(8192) + multiboot_header()) is None
    assert find_header(multiboot_header()[:8] + bytes(4)) is None
