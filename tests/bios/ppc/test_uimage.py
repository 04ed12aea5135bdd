from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from bios.plan import ImageError
from bios.ppc import uimage
from tests.bios.mutations import mutated
from tests.bios.ppc.images import CODE, multi, uimage_file

MKIMAGE = shutil.which("mkimage")
PACKERS = {"none": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}
PACKERS["lzma"] = lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize("packing", PACKERS)
def test_an_image_is_unpacked(packing: str) -> None:
    number = list(PACKERS).index(packing)
    image = uimage.parse("a", uimage_file(PACKERS[packing](CODE), compression=number, load=0x1000, entry=0x1004))
    assert image.content(1 << 20) == CODE
    assert (image.load, image.entry, image.title, image.kind) == (0x1000, 0x1004, "a test", uimage.KERNEL)


@pytest.mark.parametrize("packing", list(PACKERS)[1:])
def test_an_image_that_unpacks_to_more_than_fits_is_refused(packing: str) -> None:
    number = list(PACKERS).index(packing)
    image = uimage.parse("bomb", uimage_file(PACKERS[packing](bytes(1 << 20)), compression=number))
    assert len(image.content(1 << 20)) == 1 << 20
    with pytest.raises(ImageError, match=r"bomb: .*more than"):
        image.content((1 << 20) - 1)


@pytest.mark.parametrize("packing", list(PACKERS)[1:])
def test_packed_data_that_stops_early_is_refused(packing: str) -> None:
    number = list(PACKERS).index(packing)
    image = uimage.parse("cut", uimage_file(PACKERS[packing](CODE)[:-20], compression=number))
    with pytest.raises(ImageError, match=f"cut: truncated {packing} data"):
        image.content(1 << 20)


@pytest.mark.parametrize("packing", list(PACKERS)[1:])
def test_packed_data_of_another_kind_is_refused(packing: str) -> None:
    number = list(PACKERS).index(packing)
    image = uimage.parse("bad", uimage_file(b"\xff" * 100, compression=number))
    with pytest.raises(ImageError, match=f"bad: damaged {packing} data"):
        image.content(1 << 20)


def test_the_files_of_a_multi_file_image_are_told_apart() -> None:
    image = uimage.parse("a", multi(CODE, b"disk!", b"tree"))
    assert image.parts == (CODE, b"disk!", b"tree")
    assert image.content(1 << 20) == CODE


def damaged(at: int, data: bytes = b"\xff") -> bytes:
    whole = uimage_file(CODE)
    return whole[:at] + data + whole[at + len(data) :]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (uimage_file(CODE)[:63], "a uImage header has 64"),
        (damaged(0), "magic 0xff051956"),
        (damaged(8), "header checksum"),
        (damaged(63), "header checksum"),
        (damaged(64), "data checksum"),
        (damaged(-1), "data checksum"),
        (uimage_file(CODE)[:-1], f"a size of {len(CODE)} bytes at offset 12: {len(CODE) - 1} follow"),
        (uimage_file(CODE, arch=2), r"architecture 2 \(arm\) at offset 29: expected 7 \(powerpc\)"),
        (uimage_file(CODE, arch=99), r"architecture 99 \(\?\)"),
        (uimage_file(CODE, kind=6), r"type 6 \(script\)"),
        (uimage_file(CODE, compression=5), r"compression 5 \(lz4\)"),
        (uimage_file(b""), "an image of 0 bytes"),
        (uimage_file(b"\0\0\0\1", kind=4), "the list of sizes does not end"),
        (uimage_file(b"\0\0\0\1" * 40, kind=4), "at most 16"),
        (uimage_file(bytes(4), kind=4), "0 files"),
        (uimage_file(b"\0\0\0\5" + bytes(8), kind=4), "file 0 of 5 bytes"),
    ],
)
def test_a_bad_image_is_refused_in_one_line_with_what_was_found(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint) as refusal:
        uimage.parse("bad", data)
    assert str(refusal.value).startswith("bad: ")
    assert "\n" not in str(refusal.value)


def test_what_follows_the_data_is_not_part_of_it() -> None:
    assert uimage.parse("a", uimage_file(CODE) + b"trailer").parts == (CODE,)


@pytest.mark.skipif(MKIMAGE is None, reason="mkimage is not installed")
def test_what_mkimage_makes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CODE)
    (tmp_path / "b").write_bytes(b"initrd")
    words = "-A ppc -O linux -T multi -C none -a 400000 -e 400010 -n Both -d a:b out".split()
    subprocess.run([MKIMAGE or "mkimage", *words], cwd=tmp_path, check=True, capture_output=True, timeout=20)
    image = uimage.parse("out", (tmp_path / "out").read_bytes())
    assert image.parts == (CODE, b"initrd")
    assert (image.load, image.entry, image.title) == (0x400000, 0x400010, "Both")


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(mutated(uimage_file(gzip.compress(CODE), compression=1), 96))
def test_a_mutated_image_is_unpacked_or_refused_by_name(data: bytes) -> None:
    try:
        assert uimage.parse("bad", data).content(1 << 20) == CODE
    except ImageError as error:
        assert str(error).startswith("bad: ")
        assert "\n" not in str(error)
