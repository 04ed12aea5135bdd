"""The x87 unit of the host processor as an oracle: random operands, all exceptions masked, documented instructions.

Functions whose last bit is the processor's own (sine, logarithm) and codes the manual leaves open stay out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import random
import struct
from collections.abc import Callable

import numpy as np
import pytest

from tests.cores.fpu_machine import Fpu, Real
from tests.cores.sse_machine import eflags

ARITHMETIC = 0x8D5
Run = Callable[[bytes, bytes, bytes, int], tuple[bytes, bytes, int]]


def native() -> Run | None:
    """A function that runs one instruction on the host: code, FRSTOR image, memory at [edi], flags."""
    if platform.machine() not in ("x86_64", "AMD64") or struct.calcsize("P") != 8 or platform.system() != "Linux":
        return None
    # One page seen twice: none is writable and executable.
    try:
        file = os.memfd_create("code")
        os.truncate(file, 4096)
        views = [mmap.mmap(file, 4096, prot=mmap.PROT_READ | way) for way in (mmap.PROT_WRITE, mmap.PROT_EXEC)]
        os.close(file)
    except OSError:
        return None
    at = np.frombuffer(views[1], dtype=np.uint8).ctypes.data
    kind = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)
    call = kind(at)

    def run(code: bytes, image: bytes, memory: bytes, flags: int) -> tuple[bytes, bytes, int]:
        # push rcx; frstor [rdi]; mov rdi, rdx; popfq; code; fnsave [rsi]; pushfq; pop rax; ret
        views[0].seek(0)
        views[0].write(bytes.fromhex("51DD274889D79D") + code + bytes.fromhex("DD369C58C3"))
        source = ctypes.create_string_buffer(image, 128)
        target = ctypes.create_string_buffer(128)
        data = ctypes.create_string_buffer(memory, 16)
        out = call(ctypes.addressof(source), ctypes.addressof(target), ctypes.addressof(data), flags)
        return target.raw[:108], data.raw[:10], out

    return run


def codes() -> list[tuple[str, int, int]]:
    """Name, opcode and ModRM: memory operands as [edi], register operands as ST(2)."""
    found = [(f"D8 /{d}", op, d << 3 | 7) for op in (0xD8, 0xDA, 0xDC, 0xDE) for d in range(8)]
    found += [(f"{op:02X} /{d} st", op, 0xC2 | d << 3) for op in (0xD8, 0xDC, 0xDE) for d in (0, 1, 4, 5, 6, 7)]
    for op, digits in ((0xD9, (0, 2, 3)), (0xDB, (0, 2, 3, 5, 7)), (0xDD, (0, 2, 3)), (0xDF, (0, 2, 3, 4, 5, 6, 7))):
        found += [("memory", op, d << 3 | 7) for d in digits]
    single = {
        0xD8: (0xD2, 0xDA),
        0xD9: (
            0xC2,
            0xCA,
            0xE0,
            0xE1,
            0xE4,
            0xE5,
            0xE8,
            0xE9,
            0xEA,
            0xEB,
            0xEC,
            0xED,
            0xEE,
            0xF4,
            0xF5,
            0xF6,
            0xF7,
            0xF8,
            0xFA,
            0xFC,
            0xFD,
        ),
        0xDA: (0xC2, 0xCA, 0xD2, 0xDA, 0xE9),
        0xDB: (0xC2, 0xCA, 0xD2, 0xDA),
        0xDD: (0xD2, 0xDA, 0xE2, 0xEA),
        0xDE: (0xD9,),
    }
    found += [("register", op, m) for op, modrms in single.items() for m in modrms]
    return found


class Draw:
    """Random operands with their edges."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def real(self) -> Real:
        rng = self.rng
        sign = rng.getrandbits(1) << 15
        kind = rng.randrange(12)
        if kind == 0:
            return 0, sign
        if kind == 1:
            return rng.choice((1 << 63, rng.getrandbits(63) | 1 << 63)), sign | 0x7FFF
        if kind == 2:
            return rng.getrandbits(rng.randrange(1, 65)), sign | rng.choice((0, 0, 1, 0x3FFF, 0x7FFF))
        sig = (
            rng.choice((rng.getrandbits(63), rng.getrandbits(12) << 51, 0, (1 << 63) - 1, rng.getrandbits(53) << 10))
            | 1 << 63
        )
        edges = (1, 64, 0x3FFF - 1074, 0x3FFF - 1022, 0x3FFF - 149, 0x3FFF - 126, 0x3FFF + 127, 0x3FFF + 1023, 0x7FFE)
        if kind < 5:
            return sig, sign | rng.choice(edges)
        return sig, sign | (rng.randrange(1, 0x7FFF) if kind == 5 else rng.randrange(0x3FF8, 0x4044))

    def memory(self, modrm: int, opcode: int) -> bytes:
        rng = self.rng
        if (opcode, modrm >> 3) == (0xDF, 4):
            return bytes(rng.randrange(10) << 4 | rng.randrange(10) for _ in range(9)) + rng.choice((b"\0", b"\x80"))
        if rng.randrange(2):
            return rng.getrandbits(80).to_bytes(10, "little")
        x = rng.choice((0.0, -0.0, 1.0, -1.5, 1e-310, 1e-40, float("inf"), float("nan"), 123456.789))
        return struct.pack("<d" if opcode in (0xDC, 0xDD) else "<f", x).ljust(10, b"\0")


RUN = native()


@pytest.mark.skipif(RUN is None, reason="needs an x86-64 Linux host that lets a page be written and run")
@pytest.mark.parametrize("seed", range(4))
def test_the_host_processor_does_the_same(seed: int) -> None:
    if RUN is None:
        raise RuntimeError("no host")
    draw = Draw(seed)
    rng = draw.rng
    for name, opcode, modrm in codes() * 3:
        control = 0x7F | rng.choice((0, 2, 3, 3)) << 8 | rng.getrandbits(2) << 10
        status = rng.getrandbits(3) << 11 | rng.getrandbits(7)
        tags = rng.choice((0xFF, 0xFF, 0xFF, rng.getrandbits(8)))
        m = Fpu()
        s = m.state
        s.fctrl, s.fstat, s.ftag = control, status, tags
        if rng.randrange(2):
            s.ftag &= ~(1 << (m.top - 1 & 7))
        for p in range(8):
            s.fpr_sig[p], s.fpr_se[p] = draw.real()
        memory = draw.memory(modrm, opcode)
        m.poke(memory)
        flags = rng.getrandbits(12) & ARITHMETIC
        s.cf, s.cc_z, s.cc_s = flags & 1, int(not flags & 0x40), (flags >> 7 & 1) << 31 | int(not flags & 4)
        s.cc_aux = ((flags >> 11 ^ flags) & 1) << 31 | flags & 0x10
        tag_word = sum(3 << 2 * p for p in range(8) if not s.ftag >> p & 1)
        image = struct.pack("<7I", control, status, tag_word, 0, 0, 0, 0)
        for i in range(8):
            p = m.top + i & 7
            image += struct.pack("<QH", s.fpr_sig[p], s.fpr_se[p])
        m.run(f"{opcode:02X}{modrm & 0x38 | 5:02X}mem" if modrm < 0xC0 else f"{opcode:02X}{modrm:02X}")
        after, stored, host_flags = RUN(bytes((opcode, modrm)), image, memory, flags | 0x202)
        cw, sw, tw = struct.unpack_from("<HxxHxxH", after)
        top = sw >> 11 & 7
        registers = [struct.unpack_from("<QH", after, 28 + 10 * (p - top & 7)) for p in range(8)]
        used = sum(1 << p for p in range(8) if tw >> 2 * p & 3 != 3)
        got = (s.fctrl, hex(s.fstat), s.ftag, list(zip(s.fpr_sig, s.fpr_se, strict=True)), m.peek(10), eflags(s))
        assert got == (cw, hex(sw), used, registers, stored, host_flags & ARITHMETIC), (name, hex(opcode), hex(modrm))
