from __future__ import annotations

import gzip
import itertools

import pytest
from hypothesis import HealthCheck, given, settings

from bios import fdt
from bios.fdt import Tree
from bios.plan import ImageError, LoadPlan
from bios.ppc import load
from bios.ppc.load import MIB, Boot, boot_plan, load_kernel, read_tree
from tests.bios.kernels import bzimage
from tests.bios.kernels import elf as x86_elf
from tests.bios.mutations import mutated
from tests.bios.ppc.images import CODE, elf, multi, uimage_file

RAM = 64 * MIB
VMLINUX = elf((0xC0000000, 0, CODE, 0x4000), (0xC0010000, 0x10000, b"data", 4), entry=0xC0000004)


def test_a_kernel_linked_high_goes_to_its_physical_addresses() -> None:
    kernel = load_kernel("vmlinux", VMLINUX, RAM)
    assert kernel.segments == ((0, CODE), (0x10000, b"data"))
    assert kernel.zeros == ((len(CODE), 0x4000 - len(CODE)),)
    assert (kernel.kind, kernel.entry, kernel.end) == ("elf", 4, 0x10004)


def test_a_uimage_goes_to_its_load_address() -> None:
    data = uimage_file(gzip.compress(CODE), compression=1, load=0x400000, entry=0x400010)
    kernel = load_kernel("uImage", data, RAM)
    assert (kernel.kind, kernel.entry, kernel.segments) == ("uimage", 0x400010, ((0x400000, CODE),))
    assert kernel.end >= 0x400000 + len(CODE) + 4 * MIB


def test_a_multi_file_uimage_brings_its_initrd_and_tree() -> None:
    kernel = load_kernel("uImage", multi(CODE, b"disk", b"tree"), RAM)
    assert (kernel.initrd, kernel.tree) == (b"disk", b"tree")


def test_raw_code_goes_to_address_0() -> None:
    kernel = load_kernel("a.bin", CODE, RAM)
    assert (kernel.kind, kernel.entry, kernel.segments) == ("raw", 0, ((0, CODE),))


@pytest.mark.parametrize("data", [VMLINUX, uimage_file(CODE), CODE])
def test_a_compressed_kernel_is_unpacked_first(data: bytes) -> None:
    assert load_kernel("a", gzip.compress(data), RAM) == load_kernel("a", data, RAM)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (VMLINUX[:3], "3 bytes"),
        (b"070701" + bytes(200), "a cpio archive"),
        (b"#!/bin/sh\necho kernel\n", "text"),
        (b"", "an empty file"),
        (bzimage(), "a Linux kernel for the x86"),
        (x86_elf((0, 0x100000, b"x", 1)), "expected 32-bit, big-endian"),
        (elf((0, 0, CODE, 5000), machine=8), r"ELF machine 8 for the MIPS at offset 18: expected the PowerPC \(20\)"),
        (elf((0, 0, CODE, 5000), klass=2), "64-bit ELF"),
        (elf((0, 0, CODE, 5000), kind=1), "ELF type 1"),
        (elf((0, RAM, CODE, 5000)), r"not all RAM \(see -m\)"),
        (elf((0, 0, CODE, 5000), entry=5000), "entry 0x1388 at offset 24: no segment"),
        (b"\x7fELG" + VMLINUX[4:], "an ELF file begins with 7f454c46"),
        (VMLINUX[:-1], "the file has"),
        (VMLINUX[:60], "program headers"),
        (b"\x27\x05\x19\x57" + uimage_file(CODE)[4:], "a uImage begins with 0x27051956"),
        (uimage_file(CODE, load=RAM), "64 MiB of RAM"),
        (uimage_file(CODE, load=0xFFFFFFFF, entry=0xFFFFFFFF), "64 MiB of RAM"),
        (uimage_file(CODE, load=0x1000), "entry 0x0 at its header"),
        (uimage_file(CODE, kind=3), r"type 3 \(ramdisk\) at offset 30: expected a kernel"),
        (Tree().write(), "a device tree at offset 0"),
        (gzip.compress(CODE)[:-4], "truncated gzip"),
    ],
)
def test_a_kernel_that_cannot_be_loaded_is_refused_in_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint) as refusal:
        load_kernel("bad", data, RAM)
    assert str(refusal.value).startswith("bad: ")
    assert "\n" not in str(refusal.value)


def test_an_initrd_in_a_uimage_is_taken_out_of_it() -> None:
    assert load.initrd_content("a", b"\x1f\x8bdata") == b"\x1f\x8bdata"
    assert load.initrd_content("a", uimage_file(b"data", kind=3)) == b"data"
    with pytest.raises(ImageError, match=r"type 2 \(kernel\) at offset 30: expected a RAM disk"):
        load.initrd_content("a", uimage_file(b"data"))


# -- the plan


def tree() -> Tree:
    made = Tree()
    made.root.set("#address-cells", 2)
    made.root.set("#size-cells", 1)
    made.root.node("cpus").node("cpu@0", device_type="cpu", reg=0)
    made.root.node("memory", device_type="memory")
    return made


def plan(kernel: bytes = VMLINUX, *, ram: int = RAM, initrd: bytes | None = None, line: str = "") -> LoadPlan:
    def enter(entry: int, tree_at: int, end: int) -> tuple[tuple[str, int], ...]:
        return (("pc", entry), ("r3", tree_at), ("r7", end))

    boot = Boot(load_kernel("k", kernel, ram), tree(), ram, enter, initrd, line, "/a")
    return boot_plan("k", boot)


def parts(made: LoadPlan) -> tuple[int, Tree, dict[int, bytes]]:
    """The address of the tree, the tree, and all that is loaded."""
    at, data = made.segments[-1]
    return at, fdt.read("tree", data), dict(made.segments)


def test_the_kernel_is_told_of_memory_initrd_console_and_command_line() -> None:
    made = plan(initrd=b"initial disk", line="console=ttyS0 quiet")
    _, told, loaded = parts(made)
    memory, chosen = told.find("/memory"), told.find("/chosen")
    assert memory is not None and chosen is not None
    assert memory.cells("reg") == (0, 0, RAM)
    assert chosen.texts("bootargs") == ("console=ttyS0 quiet",)
    assert chosen.texts("linux,stdout-path") == ("/a",)
    start, end = chosen.number("linux,initrd-start"), chosen.number("linux,initrd-end")
    assert start is not None and end is not None
    assert loaded[start] == b"initial disk"
    assert end - start == len(b"initial disk")


@pytest.mark.parametrize("ram", [1 * MIB, 8 * MIB, 16 * MIB, 25 * MIB, 64 * MIB, 512 * MIB])
@pytest.mark.parametrize("kernel", [VMLINUX, uimage_file(CODE), CODE])
def test_nothing_overlaps_and_all_is_in_ram(kernel: bytes, ram: int) -> None:
    made = plan(kernel, ram=ram, initrd=bytes(100_000))
    at, told, _ = parts(made)
    spans = sorted([(start, start + len(data)) for start, data in made.segments] + [(a, a + n) for a, n in made.zeros])
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert spans[-1][1] <= ram
    assert told.reservations[0][0] == at
    assert len(told.reservations) == 2


def test_the_tree_is_reserved_and_stays_away_from_where_kernels_unpack() -> None:
    at, told, _ = parts(plan())
    assert at == 24 * MIB
    assert told.reservations == [(at, 0x11000)]


def test_a_larger_kernel_pushes_the_tree_up() -> None:
    at, _, _ = parts(plan(elf((0, 0, CODE, 40 * MIB))))
    assert at == 40 * MIB


def test_the_entry_state_is_asked_for_with_the_places() -> None:
    made = plan(initrd=b"x")
    at, _, loaded = parts(made)
    end = max(loaded) + 1
    assert made.registers == (("pc", 4), ("r3", at), ("r7", end))


@pytest.mark.parametrize(
    ("initrd", "line", "complaint"),
    [
        (bytes(RAM), "", "no room for an initrd of 67108864 bytes at address"),
        (None, "a\0b", "a zero byte at the command line"),
        (None, "a" * 40000, "a command line of 40000 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(initrd: bytes | None, line: str, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        plan(initrd=initrd, line=line)


def test_a_kernel_that_fills_ram_leaves_no_room_for_the_tree() -> None:
    with pytest.raises(ImageError, match="no room for a device tree"):
        plan(elf((0, 0, CODE, RAM - 0x1000)))


# -- trees that a person gives


def test_a_given_tree_keeps_its_command_line_unless_there_is_one() -> None:
    given_tree = tree()
    given_tree.root.node("chosen", bootargs="from the tree")
    load.choose(given_tree, "k", "", None)
    chosen = given_tree.find("/chosen")
    assert chosen is not None
    assert chosen.texts("bootargs") == ("from the tree",)
    load.choose(given_tree, "k", "mine", None)
    assert chosen.texts("bootargs") == ("mine",)


def test_only_the_first_memory_node_of_a_given_tree_stays() -> None:
    given_tree = tree()
    given_tree.root.node("memory@40000000", device_type="memory").reg((0x40000000, 0x1000))
    load.set_memory(given_tree, RAM)
    assert [node for node in given_tree.root.children if "memory" in node] == ["memory"]


def lacking(path: str) -> bytes:
    made = tree()
    del made.root.children[path]
    return made.write()


def celled(count: int) -> bytes:
    made = tree()
    made.root.set("#address-cells", count)
    return made.write()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (lacking("cpus"), "no processor at /cpus"),
        (lacking("memory"), "no memory node at /: expected /memory"),
        (celled(0), "0 address cells"),
        (celled(0xFFFFFFFF), "4294967295 address cells"),
    ],
)
def test_a_tree_that_no_kernel_could_use_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        read_tree("bad.dtb", data)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(VMLINUX, 116))
def test_a_mutated_kernel_is_placed_in_ram_or_refused_by_name(data: bytes) -> None:
    try:
        kernel = load_kernel("bad", data, MIB)
        made = boot_plan("bad", Boot(kernel, tree(), MIB, lambda *places: ()))
    except ImageError as error:
        assert str(error).startswith("bad: ")
        assert "\n" not in str(error)
    else:
        assert all(at >= 0 and at + len(part) <= MIB for at, part in made.segments)
        assert all(at >= 0 and at + size <= MIB for at, size in made.zeros)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(tree().write()))
def test_a_mutated_tree_boots_or_is_refused_by_name(data: bytes) -> None:
    try:
        read = read_tree("bad.dtb", data)
        made = boot_plan("k", Boot(load_kernel("k", CODE, RAM), read, RAM, lambda *places: (), b"initrd", "quiet"))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        memory = load.memory_node(fdt.read("told", made.segments[-1][1]))
        assert memory is not None
        assert "reg" in memory
