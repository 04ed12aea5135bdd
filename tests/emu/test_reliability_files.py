"""Files that nobody should boot: mutated kernels, initial RAM disks and disk images load inside RAM or are refused in
one line; and the machine they come to runs on."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import emu
from bios.image import ImageError, Module, load_kernel
from bios.pc.memory_map import memory_map
from bios.plan import LoadPlan, fits
from emu.machine import Machine
from emu.options import UsageError
from tests.bios.kernels import bzimage, elf, multiboot_header, pvh_note

CASES = int(os.environ.get("EMU_FILE_CASES", "1000"))
RAM = 32 << 20
MAP = memory_map(RAM)
CODE = b"\xeb\xfe" + bytes(range(64))
EDGES = (
    0,
    1,
    2,
    31,
    32,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x100000,
    RAM - 1,
    RAM,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFF0,
    0xFFFFFFFF,
)

BZIMAGE = bzimage(kernel=CODE * 40, init_size=0x20000)
ELF = elf((0x100000, 0x100000, CODE, 0x4000), (0x200000, 0x200000, CODE * 3, 0x1000), entry=0x100000)
PVH = elf((0x100000, 0x100000, CODE, 0x4000), notes=pvh_note(0x100000))
MULTIBOOT_ELF = elf((0x100000, 0x100000, multiboot_header(3) + CODE, 0x4000), entry=0x10000C)
MULTIBOOT_RAW = multiboot_header(0x10003, 0x200000, 0x200000, 0x200000 + 200, 0x201000, 0x200020) + CODE * 3
KERNELS: dict[str, Callable[[], bytes]] = {
    "elf": lambda: ELF,
    "pvh": lambda: PVH,
    "multiboot elf": lambda: MULTIBOOT_ELF,
    "multiboot": lambda: MULTIBOOT_RAW,
    "bzImage": lambda: BZIMAGE,
}
HEADERS = {"bzImage": (0x1F1, 0x268)}


def mutated(rng: random.Random, data: bytes, header: tuple[int, int]) -> bytes:
    """A few header fields set to edge values, some bits turned over, sometimes cut or with a tail."""
    out = bytearray(data)
    low, high = header
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        dice = rng.random()
        if dice < 0.65:
            size = rng.choice((1, 2, 4, 4, 8))
            at = min(rng.randrange(low, high), len(out) - 1)
            if rng.random() < 0.5:
                at &= ~(size - 1)
            value = rng.choice((*EDGES, rng.getrandbits(32), len(data), len(data) - 1, len(data) + 1))
            out[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif dice < 0.85:
            at = rng.randrange(len(out))
            out[at] ^= 1 << rng.randrange(8)
        else:
            at = rng.randrange(len(out))
            out[at : at + 4] = rng.randbytes(4)
    dice = rng.random()
    if dice < 0.15:
        del out[rng.randrange(len(out)) :]
    elif dice < 0.2:
        out += rng.randbytes(rng.randrange(1, 5000))
    return bytes(out)


def inside(plan: LoadPlan) -> None:
    """Nothing of a plan lies outside RAM, and no part upon another."""
    spans = []
    for start, data in plan.segments:
        assert fits(MAP, start, len(data)), hex(start)
        spans.append((start, start + len(data)))
    for start, size in plan.zeros:
        assert size >= 0
        assert fits(MAP, start, size), hex(start)
    spans.sort()
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):  # noqa: RUF007
        assert end <= start
    assert sum(end - start for start, end in spans) < RAM


def one_line(error: Exception) -> None:
    text = str(error)
    assert text
    assert len(text.splitlines()) == 1
    assert len(text) < 700


@pytest.mark.parametrize("kind", KERNELS)
def test_a_mutated_kernel_is_placed_inside_memory_or_refused(kind: str) -> None:
    data = KERNELS[kind]()
    header = HEADERS.get(kind, (0, min(len(data), 140)))
    inside(load_kernel("kernel", data, MAP))
    loaded = refused = 0
    for seed in range(CASES):
        rng = random.Random(f"{kind} {seed}")
        modules = [Module(rng.randbytes(rng.choice((0, 1, 4096, 70000))), "m")] if rng.random() < 0.3 else []
        try:
            plan = load_kernel(
                "kernel", mutated(rng, data, header), MAP, command_line="x" * rng.choice((0, 5, 3000)), modules=modules
            )
        except ImageError as error:
            one_line(error)
            refused += 1
        else:
            inside(plan)
            loaded += 1
    assert loaded > CASES // 20
    assert refused > CASES // 20


def test_an_initial_ram_disk_of_any_size_fits_or_is_refused() -> None:
    for kernel in (BZIMAGE, MULTIBOOT_ELF, PVH):
        fitted = 0
        for size in (1, 4095, 4096, 1 << 20, RAM - (24 << 20), RAM - (1 << 20), RAM, RAM + 1, 128 << 20):
            try:
                plan = load_kernel("kernel", kernel, MAP, modules=[Module(bytes(size), "initrd")])
            except ImageError as error:
                one_line(error)
            else:
                inside(plan)
                fitted += 1
        assert 3 <= fitted <= 6


def test_a_bomb_of_zeros_stops_at_the_size_of_memory() -> None:
    with pytest.raises(ImageError, match="unpacks to more than"):
        load_kernel("bomb.gz", gzip.compress(bytes(128 << 20), 9), MAP)


def start(*words: str) -> Machine | None:
    """Build and run a little; None if it was refused in one line."""
    try:
        machine = emu.build("-m", "32", *words)
    except UsageError as error:
        one_line(error)
        return None
    machine.max_insns = 5_000
    machine.no_reboot = machine.shutdown_is_failure = True
    assert machine.run().status in (0, 3, 124)
    return machine


@pytest.mark.parametrize("kind", KERNELS)
def test_a_machine_started_with_a_mutated_kernel_runs_or_refuses(kind: str, tmp_path: Path) -> None:
    data = KERNELS[kind]()
    header = HEADERS.get(kind, (0, min(len(data), 140)))
    path, initrd = tmp_path / "kernel", tmp_path / "initrd"
    initrd.write_bytes(bytes(5000))
    ran = 0
    for seed in range(CASES // 40):
        rng = random.Random(f"run {kind} {seed}")
        path.write_bytes(mutated(rng, data, header) or b"x")
        words = ["-kernel", str(path), "-append", "a=b"]
        if rng.random() < 0.3 and kind != "elf":
            words += ["-initrd", str(initrd)]
        ran += start(*words) is not None
    assert ran


def disk() -> bytes:
    """A boot sector that jumps to itself, with a partition table."""
    sector = bytearray(b"\xeb\xfe".ljust(510, b"\x90") + b"\x55\xaa")
    sector[446:462] = bytes.fromhex("80 010100 06 0f3f20 3f000000 00100000")
    return bytes(sector) + bytes(40 * 512)


@pytest.mark.parametrize(
    "seeds", [range(50), pytest.param(range(50, CASES), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_a_mutated_disk_image_boots_or_is_refused(seeds: range, tmp_path: Path) -> None:
    data, path, ran = disk(), tmp_path / "disk", 0
    for seed in seeds:
        rng = random.Random(seed)
        image = mutated(rng, data, (0, 600))
        path.write_bytes(image or b"x")
        before = path.read_bytes()
        option = rng.choice(("-hda", "-fda", "-cdrom", "-hdb"))
        ran += start(option, str(path), "-snapshot") is not None
        assert path.read_bytes() == before
    assert ran > len(seeds) // 2


def test_a_mutated_compressed_image_boots_or_is_refused(tmp_path: Path) -> None:
    data, path = gzip.compress(disk()), tmp_path / "disk.gz"
    for seed in range(CASES // 20):
        rng = random.Random(seed)
        path.write_bytes(mutated(rng, data, (0, len(data))) or b"x")
        start("-hda", str(path))


def test_a_rom_of_any_bytes_and_size_runs(tmp_path: Path) -> None:
    path = tmp_path / "rom"
    for seed in range(CASES // 40):
        rng = random.Random(seed)
        path.write_bytes(rng.randbytes(rng.choice((1, 16, 511, 4096, 65536, 65537, 1 << 18))))
        assert start("-bios", str(path)) is not None
    path.write_bytes(bytes((16 << 20) + 1))
    assert start("-bios", str(path)) is None
