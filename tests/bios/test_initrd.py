from __future__ import annotations

import bz2
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bios import initrd
from bios.image import Module, load_kernel
from bios.plan import ImageError
from tests.bios.kernels import MAP, bzimage
from tests.bios.mutations import mutated


def newc(*files: tuple[bytes, bytes]) -> bytes:
    out = b""
    for name, body in (*files, (b"TRAILER!!!", b"")):
        sizes = [0, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % size for size in sizes) + name + b"\0"
        out += bytes(-len(out) % 4) + body
        out += bytes(-len(out) % 4)
    return out


ARCHIVE = newc((b"init", b"#!/bin/sh\n"), (b"data", bytes(range(256)) * 5))
EXT2 = bytes(0x438) + b"\x53\xef" + bytes(1000)
MICROCODE = newc((b"kernel/x86/microcode", b"update"))


@pytest.mark.parametrize(
    "data",
    [
        ARCHIVE,
        gzip.compress(ARCHIVE),
        bz2.compress(ARCHIVE),
        EXT2,
        gzip.compress(EXT2),
        MICROCODE + bytes(512) + gzip.compress(ARCHIVE),
        gzip.compress(ARCHIVE) + bytes(3),
        bytes(8) + ARCHIVE,
    ],
)
def test_what_linux_takes_is_taken(data: bytes) -> None:
    initrd.check("a", data)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"hello\n", "68656c6c at offset 0x0: expected an initial RAM disk"),
        (bytes(4096), "nothing but zeros"),
        (b"\x7fELF" + bytes(2000), "7f454c46 at offset 0x0"),
        (b"070707" + ARCHIVE, "old form"),
        (ARCHIVE[:200], "a cpio archive that ends too early"),
        (ARCHIVE[:60], "a cpio archive that ends too early"),
        (gzip.compress(ARCHIVE)[:60], "truncated gzip data"),
        (gzip.compress(ARCHIVE)[:-6] + b"abcdef", "damaged gzip data"),
        (MICROCODE + gzip.compress(ARCHIVE)[:60], "truncated gzip data"),
    ],
)
def test_anything_else_is_refused_in_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        initrd.check("a", data)


def linux(version: bytes) -> bytes:
    kernel = bytearray(bzimage())
    kernel[0x20E:0x210] = (0x300).to_bytes(2, "little")
    kernel[0x500 : 0x500 + len(version)] = version
    return bytes(kernel)


def test_only_linux_itself_is_asked_for_an_archive() -> None:
    load_kernel("ipxe.lkrn", linux(b"iPXE 1.0"), MAP, modules=(Module(b"#!ipxe\n", "script"),))
    with pytest.raises(ImageError, match="script: 23216970"):
        load_kernel("vmlinuz", linux(b"6.1.0"), MAP, modules=(Module(b"#!ipxe\n", "script"),))


@settings(max_examples=200, deadline=None)
@given(st.one_of(*(mutated(data) for data in (ARCHIVE, gzip.compress(ARCHIVE), MICROCODE + gzip.compress(EXT2)))))
def test_a_mutated_archive_is_good_or_refused(data: bytes) -> None:
    try:
        initrd.check("a", data)
    except ImageError as error:
        assert "\n" not in str(error)
