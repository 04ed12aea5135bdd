from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bios import fdt
from bios.fdt import Node, Tree, read
from bios.plan import ImageError
from tests.bios.mutations import mutated

DTC = shutil.which("dtc")


def sample() -> Tree:
    tree = Tree(boot_cpu=3, reservations=[(0x1000, 0x2000), (1 << 40, 1 << 20)])
    root = tree.root
    root.set("#address-cells", 2)
    root.set("#size-cells", 1)
    root.set("compatible", ["one,board", "two"])
    root.set("model", "A board")
    pic = root.node("pic@10", device_type="open-pic")
    pic.reg((0x10, 4))
    serial = root.node("soc").node("serial@4500", clocks=400_000_000)
    serial.set("interrupts", [pic, 42, 2])
    serial.set("odd", b"\x01\x02\x03")
    return tree


def trees() -> st.SearchStrategy[Tree]:
    names = st.text("abcz019,._+-", min_size=1, max_size=31)
    values = st.binary(max_size=40)
    level = st.recursive(
        st.dictionaries(names, values, max_size=4).map(lambda values: (values, {})),
        lambda deeper: st.tuples(
            st.dictionaries(names, values, max_size=4), st.dictionaries(names, deeper, max_size=4)
        ),
        max_leaves=12,
    )  # fmt: skip
    numbers = st.integers(0, (1 << 63) - 1)
    return st.builds(_grown, level, st.lists(st.tuples(numbers, numbers.map(lambda n: n | 1)), max_size=3))


def _grown(level: tuple, reservations: list[tuple[int, int]]) -> Tree:
    tree = Tree(reservations=reservations)
    _grow(tree.root, level)
    return tree


def _grow(node: Node, level: tuple) -> None:
    values, children = level
    node.properties.update(values)
    for name, deeper in children.items():
        _grow(node.node(name), deeper)


def shape(node: Node) -> tuple:
    return list(node.properties.items()), [(name, shape(child)) for name, child in node.children.items()]


def test_a_tree_comes_back_as_it_was() -> None:
    tree = sample()
    again = read("a.dtb", tree.write())
    assert shape(again.root) == shape(tree.root)
    assert (again.reservations, again.boot_cpu) == (tree.reservations, 3)


@given(trees())
def test_every_tree_comes_back_as_it_was(tree: Tree) -> None:
    again = read("a.dtb", tree.write())
    assert shape(again.root) == shape(tree.root)
    assert again.reservations == tree.reservations
    assert again.write() == tree.write()


def test_nodes_are_found_by_path_with_and_without_their_unit_address() -> None:
    tree = sample()
    serial = tree.find("/soc/serial")
    assert serial is not None
    assert serial.path == "/soc/serial@4500"
    assert serial is tree.find("/soc/serial@4500")
    assert tree.find("/soc/parallel") is None
    assert tree.find("/") is tree.root


def test_a_reference_gives_the_other_node_a_phandle() -> None:
    tree = sample()
    pic, serial = tree.find("/pic"), tree.find("/soc/serial")
    assert pic is not None and serial is not None
    assert pic.number("phandle") == 1
    assert serial.cells("interrupts") == (1, 42, 2)
    assert serial.phandle() == 2


def test_reg_follows_the_cells_of_the_parent() -> None:
    pic = sample().find("/pic")
    assert pic is not None
    assert pic.cells("reg") == (0, 0x10, 4)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 256])
def test_a_name_that_no_kernel_reads_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Tree().root.set(name, 1)
    with pytest.raises(ValueError, match="is no"):
        Tree().root.node(name)


def put(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + value.to_bytes(4, "big") + data[at + 4 :]


def structure(*tokens: int | bytes) -> bytes:
    """A tree with this structure block and the strings "reg" and "a/b"."""
    body = b"".join(struct.pack(">I", t) if isinstance(t, int) else t for t in tokens)
    names = b"reg\0a/b\0"
    at = 56
    head = struct.pack(">10I", fdt.MAGIC, at + len(body) + 8, at, at + len(body), 40, 17, 16, 0, 8, len(body))
    return head + bytes(16) + body + names


OPEN, CLOSE, PROPERTY, END = 1, 2, 3, 9
ROOT = (OPEN, bytes(4))


def nested(depth: int) -> bytes:
    return structure(*ROOT, *(OPEN, b"a\0\0\0") * depth, *(CLOSE,) * depth, CLOSE, END)


GOOD = sample().write()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "the header of a device tree has 40"),
        (put(GOOD, 0, 0xD00DFEEC), "magic 0xd00dfeec at offset 0"),
        (put(GOOD, 4, len(GOOD) + 1), "the file has"),
        (put(GOOD, 4, 2 << 20), "expected 40 to 1048576"),
        (GOOD[:-1], "the file has"),
        (put(GOOD, 20, 3), "version 3"),
        (put(GOOD, 24, 18), "compatible with 18"),
        (put(GOOD, 8, 41), "structure block at 0x29"),
        (put(GOOD, 8, len(GOOD)), "structure block"),
        (put(GOOD, 12, 0xFFFFFFF0), "strings block at 0xfffffff0"),
        (put(GOOD, 12, 0x60), "overlap the structure"),
        (put(GOOD, 16, 44), "reservation block at 0x2c"),
        (put(GOOD, 36, len(GOOD)), "structure block"),
        (put(GOOD, 16, len(GOOD) // 8 * 8 - 16), "reservation"),
        (structure(END), "the root is not complete"),
        (structure(*ROOT, END), "/ is not complete"),
        (structure(*ROOT, CLOSE), "stops before its end token"),
        (structure(*ROOT, CLOSE, OPEN, b"a\0\0\0", CLOSE, END), "a second root node"),
        (structure(CLOSE), "token 0x2 at offset 0x38"),
        (structure(*ROOT, 77), "token 0x4d"),
        (structure(OPEN, b"root\0\0\0\0", CLOSE, END), "a root node named 'root'"),
        (structure(*ROOT, OPEN, b"a/b\0", CLOSE, CLOSE, END), "a node named 'a/b'"),
        (structure(*ROOT, OPEN, b"a" * 400, CLOSE, CLOSE, END), "a node name at offset 0x44"),
        (structure(*ROOT, *(OPEN, b"a\0\0\0", CLOSE) * 2, CLOSE, END), "a second node a"),
        (structure(*ROOT, *(PROPERTY, 0, 0) * 2, CLOSE, END), "a second property /:reg"),
        (structure(*ROOT, PROPERTY, 0, 8, CLOSE, END), "no name there in 8 bytes"),
        (structure(*ROOT, PROPERTY, 0, 0xFFFFFFFF, CLOSE, END), "no name there"),
        (structure(*ROOT, PROPERTY, 0, 4, CLOSE, END), "named 'a/b'"),
        (structure(*ROOT, PROPERTY, 0xFFFFFFFF, 0, CLOSE, END), "4294967295 bytes in /:reg"),
        (structure(*ROOT, PROPERTY), "the structure block ends in it"),
        (structure(*ROOT, OPEN, b"a\0\0\0", CLOSE, PROPERTY, 0, 0, CLOSE, END), "properties come before"),
        (nested(64), "nested deeper than 64"),
    ],
)
def test_a_damaged_tree_is_refused_in_one_line_that_names_the_place(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError) as refusal:
        read("bad.dtb", data)
    text = str(refusal.value)
    assert complaint in text
    assert text.startswith("bad.dtb: ")
    assert "\n" not in text


def test_the_deepest_tree_that_is_allowed_is_read() -> None:
    assert len(list(read("a.dtb", nested(63)).root.walk())) == 64


def test_tokens_that_say_nothing_are_skipped() -> None:
    assert read("a.dtb", structure(4, *ROOT, 4, 4, CLOSE, 4, END)).root.properties == {}


def test_a_reservation_that_wraps_around_is_refused() -> None:
    tree = Tree(reservations=[((1 << 64) - 1, 2)])
    with pytest.raises(ImageError, match="wraps around"):
        read("a.dtb", tree.write())


def test_version_16_is_read_without_the_size_of_its_structure() -> None:
    data = put(put(GOOD, 20, 16), 36, 0)
    assert shape(read("a.dtb", data).root) == shape(sample().root)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(GOOD))
def test_a_mutated_tree_is_read_or_refused_by_name(data: bytes) -> None:
    try:
        tree = read("bad.dtb", data)
    except ImageError as error:
        assert str(error).startswith("bad.dtb: ")
        assert "\n" not in str(error)
    else:
        assert read("again", tree.write()).write() == tree.write()


@pytest.mark.skipif(DTC is None, reason="dtc is not installed")
def test_dtc_reads_what_we_write_and_we_read_what_dtc_writes(tmp_path: Path) -> None:
    def dtc(*words: str) -> None:
        subprocess.run([DTC or "dtc", "-q", *words], cwd=tmp_path, check=True, capture_output=True, timeout=20)

    (tmp_path / "a.dtb").write_bytes(GOOD)
    dtc("-I", "dtb", "-O", "dts", "a.dtb", "-o", "a.dts")
    assert "serial@4500" in (tmp_path / "a.dts").read_text()
    for version in ("16", "17"):
        dtc("-I", "dts", "-O", "dtb", "-V", version, "-b", "3", "a.dts", "-o", "b.dtb")
        again = read("b.dtb", (tmp_path / "b.dtb").read_bytes())
        assert shape(again.root) == shape(sample().root)
        assert again.reservations == sample().reservations
