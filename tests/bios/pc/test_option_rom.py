"""Option ROMs: which images are run and how they are entered, what they may call, and that no image harms the BIOS."""

from __future__ import annotations

import os
import random

import pytest

from bios.pc import rom
from bios.pc.option_rom import x86_image
from tests.bios.fake_host import FakeHost, Machine

ROUNDS = int(os.environ.get("EMU_FUZZ_BIOS", "15"))
"""How many broken images; by hand many more."""
BACK = rom.SEGMENT << 16 | rom.LABELS["post.roms"]


def summed(image: bytes) -> bytes:
    """With the checksum in its last byte."""
    return image[:-1] + bytes((-sum(image[:-1]) & 0xFF,))


def image(
    *, units: int = 4, size: int | None = None, bev: int = 0, bcv: int = 0, pci: bool = False, kind: int = 0
) -> bytes:
    """An option ROM; with `bev` or `bcv` it has a PnP header, with `pci` a PCI data structure."""
    out = bytearray(units * 512)
    out[:4] = bytes((0x55, 0xAA, units if size is None else size, 0xCB))
    if pci:
        out[0x18] = 0x40
        out[0x40:0x58] = b"PCIR\xf4\x1a\0\x10\0\0\x18\0\0\0\0\x02" + bytes((units, 0, 0, 0, kind, 0x80, 0, 0))
    if bev or bcv:
        out[0x1A] = 0x60
        table = bytearray(b"$PnP\x01\x02".ljust(32, b"\0"))
        table[0x16:0x18], table[0x1A:0x1C] = bcv.to_bytes(2, "little"), bev.to_bytes(2, "little")
        table[9] = -sum(table) & 0xFF
        out[0x60:0x80] = table
    return summed(bytes(out))


def started(*images: tuple[int, bytes], ram: int = 8 << 20) -> Machine:
    """A machine past POST with images in memory, stopped where the first one is entered."""
    host = FakeHost(ram_size=ram)
    for at, data in images:
        host.ram[at : at + len(data)] = data
    pc = Machine(host)
    pc.hook("roms")
    return pc


def test_an_image_is_entered_by_a_far_call_that_returns_to_post() -> None:
    pc = started((0xD0000, image()))
    assert (pc.cs, pc.eip) == (0xD000, 3)
    assert pc.dword(pc.ss * 16 + pc.host.reg("esp")) == BACK
    assert pc.host.ram[pc.es * 16 + pc.di :][:4] == b"$PnP"
    assert pc.host.reg("es.limit") == 0xFFFFFFFF, "the memory manager's users are in big real mode"
    pc.host.set_reg("cs", 0xF000)
    pc.hook("roms")
    assert pc.cs == 0xF000, "there is no other one"
    assert pc.host.reg("es.limit") == 0xFFFF


def test_images_are_found_at_every_2_kib_and_not_inside_one_another() -> None:
    inner = bytearray(image(units=8))
    inner[0x800:0x804] = b"\x55\xaa\x01\xcb"
    pc = started((0xC0000, image()), (0xC8800, summed(bytes(inner))), (0xEF800, image()))
    seen = []
    while pc.cs != 0xF000:
        seen.append(pc.cs)
        pc.host.set_reg("cs", 0xF000)
        pc.hook("roms")
    assert seen == [0xC000, 0xC880, 0xEF80]


@pytest.mark.parametrize(
    "data",
    [
        image()[:-1] + b"\x99",
        b"\xaa\x55" + image()[2:],
        image(size=0),
        summed(image(units=4, size=255)),
    ],
)
def test_an_image_that_is_not_whole_is_not_run(data: bytes) -> None:
    assert started((0xE8000, data)).cs == rom.SEGMENT


def test_bootstrap_entry_vectors_are_what_the_letter_n_boots() -> None:
    pc = started((0xC8000, image(bev=0x123)))
    pc.hook("roms")
    pc.host.boot_order = "n"
    pc.interrupt(0x19)
    assert (pc.cs, pc.eip) == (0xC800, 0x123)
    assert pc.dword(pc.ss * 16 + pc.host.reg("esp")) == rom.SEGMENT << 16 | rom.LABELS["boot.return"]


def test_boot_connection_vectors_are_called_after_all_images_are_initialised() -> None:
    pc = started((0xC8000, image(bcv=0x50)), (0xD8000, image()))
    pc.hook("roms")
    assert pc.cs == 0xD800
    pc.hook("roms")
    assert (pc.cs, pc.eip) == (0xC800, 0x50)
    pc.host.set_reg("cs", 0xF000)
    pc.hook("roms")
    assert pc.cs == 0xF000


def called(pc: Machine, name: str, *words: int) -> int:
    """A far call to a service with words on the stack; DX:AX."""
    pc.host.set_reg("ss", 0)
    pc.host.set_reg("esp", 0x7000)
    pc.poke(0x7000, bytes(4) + b"".join(word.to_bytes(2, "little") for word in words))
    pc.hook(name)
    return pc.dx << 16 | pc.ax


def test_the_memory_manager_gives_blocks_that_do_not_overlap_and_finds_them() -> None:
    pc = started(ram=16 << 20)
    first = called(pc, "pmm", 0, 0x1000, 0, 0x1111, 0x2222, 2)
    second = called(pc, "pmm", 0, 0x1800, 0, 0x3333, 0x4444, 6)
    assert second >= 0x200000 and second + 0x18000 <= first and not second & 0x7FFF
    assert called(pc, "pmm", 1, 0x3333, 0x4444) == second
    assert called(pc, "pmm", 2, second & 0xFFFF, second >> 16) & 0xFFFF == 0
    assert called(pc, "pmm", 1, 0x3333, 0x4444) == 0
    assert called(pc, "pmm", 0, 0xFFFF, 0xFFFF, 0, 0, 2) == 0
    assert called(pc, "pmm", 0, 0x10, 0, 0, 0, 1) == 0, "no conventional memory"
    assert called(pc, "pmm", 9) == 0xFFFFFFFF


def test_the_pnp_entry_says_that_the_boot_specification_holds() -> None:
    pc = started()
    assert called(pc, "pnp", 0x60, 0x100, 0x5000, 0xF000) & 0xFFFF == 0
    assert pc.word(0x50100) == 0x0101
    assert called(pc, "pnp", 0x00) & 0xFFFF == 0x82


@pytest.mark.parametrize(("table", "at"), [("$PnP", rom.PNP_TABLE), ("$PMM", rom.PMM_TABLE)])
def test_the_tables_sum_to_zero(table: str, at: int) -> None:
    data = started().host.ram[0xF0000 + at :]
    length = data[5]
    assert bytes(data[:4]).decode() == table and not at & 15
    assert not sum(data[:length]) & 0xFF


def test_the_x86_image_of_a_card_is_found_behind_others() -> None:
    host = FakeHost()
    other = bytearray(image(pci=True, kind=3))
    other[0x55] = 0  # not the last image
    mine = image(units=6, pci=True)
    host.ram[0x100000 : 0x100000 + 0x2000] = (bytes(other) + mine).ljust(0x2000, b"\xff")
    assert x86_image(host, 0x100000) == mine
    host.ram[0x100000 + len(other) + 5] ^= 1
    assert x86_image(host, 0x100000) == "its checksum is wrong"
    host.ram[0x100000 + len(other)] = 0
    assert x86_image(host, 0x100000) == "no image that begins with 55 AA"


def test_random_and_truncated_images_never_raise() -> None:
    rng = random.Random(6)
    whole = image(units=8, pci=True, bev=0x70, bcv=0x80)
    for round in range(ROUNDS):
        data = bytearray(whole[: rng.randrange(1, len(whole))] if round & 1 else whole)
        for _ in range(rng.randrange(12)):
            data[rng.randrange(min(len(data), rng.choice((4, 0x60, 0x80, 4096))))] = rng.choice(
                (0, 255, rng.getrandbits(8))
            )
        if rng.random() < 0.7 and len(data) >= 512:
            end = min(len(data), max(data[2], 1) * 512)
            data[end - 1] = (data[end - 1] - sum(data[:end])) & 0xFF
        host = FakeHost(ram_size=2 << 20)
        host.ram[0x100000 : 0x100000 + len(data)] = data
        assert isinstance(x86_image(host, 0x100000), bytes | str)
        at = rng.choice((0xC0000, 0xC8000, 0xEF800, 0xE8000))
        pc = started((at, bytes(data)))
        for _ in range(20):
            if pc.cs == rom.SEGMENT:
                break
            pc.poke(at + 2, rng.randbytes(1))  # an image may change its size while it is initialised
            pc.host.set_reg("cs", rom.SEGMENT)
            pc.hook("roms")
        assert pc.cs == rom.SEGMENT
        pc.bios.load(pc.bios.save())
