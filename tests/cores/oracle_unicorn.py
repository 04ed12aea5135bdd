"""Unicorn as an oracle, in a process of its own: reads requests from standard input, writes answers to standard output.

Unicorn is GPL-2.0 and is only ever run as a separate program by the tests; nothing imports it, nor this file. Run it as
`python oracle_unicorn.py`. Every message is a 32-bit length and that many bytes, little-endian throughout.

`B` boots a mode: mode number u8, 16 or 32 u8, memory size u32, first and last linear address of the boot code u32 each,
first and last address of memory that is told apart (page tables),
probes (count u16, then address and error code u32 each: instructions that raise it), the memory. The answer is the
EIP u32 and the segments that the boot code ended with; programs of the mode start from there.
`P` runs a program: mode u8, CS base u32, start EIP u32, EFLAGS u32, 8 general registers u32, most instructions u32,
patches (count u16, then address u32, length u32, bytes), table (count u16, then linear address u32, next u32,
undefined flags u32, kind u8). It runs while the instructions are in the table; after an exception it goes on at `next`,
and flags that an instruction leaves undefined are cleared. Iterations are not told apart. kind: 1 repeats, 2 tell the
x87 and SSE registers too, 4 jumps (a program ends with a jump to itself). The answer: count u32, then records; how it
ended u8; Unicorn's error number u32; CRC-32 of memory but for a part of it; 8 segments; that part.
`D` gives the memory of the mode u8 as it is now.
A record: linear address u32, vector i16, error u32, CR2 u32, EIP, EFLAGS, 8 registers u32; with kind 2 also FCW, FSW,
FTW (u16 each), MXCSR u32, 8 x 10 bytes of physical x87 registers, 8 x 16 bytes of XMM.
A segment: selector u32, base u32, limit u32, flags u32 (the second word of its descriptor); ES CS SS DS FS GS LDTR TR.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

REPEATS, FLOATS, JUMPS = 1, 2, 4
MOST = 200_000  # instructions and iterations in one go
REACH = 0x110000  # bytes that real mode can address
END_OUT, END_STEPS, END_STOPPED, END_ERROR = 0, 1, 2, 3


class Reader:
    """Takes a message apart."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next fields."""
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def bytes(self, n: int) -> bytes:
        """The next `n` bytes."""
        self.at += n
        return self.data[self.at - n : self.at]


def _drop(uc: Any, offset: int, size: int, value: int, data: Any) -> None:
    """A write where nothing answers."""


class Engine:
    """One mode: a Unicorn processor with its memory and the state to start from."""

    at_error = 0  # found by the first mode that has probes; all have the same structure
    at_flight = 0

    def __init__(
        self, bits: int, size: int, first: int, last: int, probes: list[tuple[int, int]], image: bytes
    ) -> None:
        unicorn: Any = importlib.import_module("unicorn")
        x: Any = importlib.import_module("unicorn.x86_const")
        self.lib: Any = importlib.import_module("unicorn.unicorn_py3.unicorn").uclib
        self.x = x
        self.bits = bits
        self.image = image
        self.apart = (0, 0)
        self.never = last + 0xFF0
        self.uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_16 if bits == 16 else unicorn.UC_MODE_32)
        self.uc.ctl_set_cpu_model(x.UC_CPU_X86_CORE2DUO)
        self.uc.mem_map(0, size)
        if bits == 16:  # the rest that real mode can reach: nothing answers there
            self.uc.mmio_map(size, REACH - size, lambda uc, at, n, data: (1 << 8 * n) - 1, None, _drop, None)
        self.invalid = unicorn.UC_ERR_INSN_INVALID
        self.no_code = (unicorn.UC_ERR_FETCH_UNMAPPED, unicorn.UC_ERR_FETCH_PROT)
        self.flush_tlb, self.write = unicorn.UC_CTL_TLB_FLUSH, unicorn.UC_CTL_IO_WRITE
        self.vector = -1
        self.current: int | None = None
        self.faulted = b""
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self._readers()
        self.context = self.uc.context_save()
        self.uc.mem_write(0, image)
        self._calibrate(first)
        self.start(first, last)
        self.uc.context_update(self.context)
        self.find_error_code(probes)
        self.uc.hook_add(unicorn.UC_HOOK_CODE, self._code)
        self.table: dict[int, tuple[int, int, int]] = {}

    def start(self, begin: int, until: int = 0) -> int:
        """Run from a linear address (16-bit) or an offset (32-bit); Unicorn's error number.

        The byte before `until` must be one that may be fetched, or Unicorn raises a page fault of its own."""
        return int(self.lib.uc_emu_start(self.uc._uch, begin, until or self.never, 0, MOST))

    # --- reading state ---------------------------------------------------------------------------------------------

    def _readers(self) -> None:
        x = self.x
        names = ("EIP", "EFLAGS", "EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI")
        self.general = self._batch([getattr(x, f"UC_X86_REG_{name}") for name in names])
        self.words = self._batch([x.UC_X86_REG_FPCW, x.UC_X86_REG_FPSW, x.UC_X86_REG_FPTAG, x.UC_X86_REG_MXCSR])

    def _batch(self, ids: list[int]) -> Callable[[], tuple[int, ...]]:
        n = len(ids)
        numbers = (ctypes.c_int * n)(*ids)
        values = (ctypes.c_uint64 * n)()
        places = (ctypes.c_void_p * n)(*(ctypes.addressof(values) + 8 * k for k in range(n)))
        read = self.lib.uc_reg_read_batch
        handle = self.uc._uch

        def get() -> tuple[int, ...]:
            for k in range(n):
                values[k] = 0
            read(handle, numbers, places, n)
            return tuple(values)

        return get

    def _raw(self) -> bytes:
        """The processor's own structure, in which Unicorn keeps what it has no register names for."""
        self.uc.context_update(self.context_now)
        return bytes(self.context_now)

    def _calibrate(self, scratch: int) -> None:
        """Find the general registers, x87, XMM and the error code in the structure by values put there."""
        x, uc = self.x, self.uc
        self.context_now = uc.context_save()
        before = {r: uc.reg_read(r) for r in (x.UC_X86_REG_EAX, x.UC_X86_REG_ECX)}
        uc.reg_write(x.UC_X86_REG_EAX, 0x5A17C0DE)
        uc.reg_write(x.UC_X86_REG_ECX, 0x1BADB002)
        uc.reg_write(x.UC_X86_REG_FP0, (0x87654321FEDCBA98, 0x4123))
        uc.reg_write(x.UC_X86_REG_XMM0, 0x0123456789ABCDEF55AA77CC33EE11FF)
        raw = self._raw()
        self.at_regs = raw.index(struct.pack("<QQ", 0x5A17C0DE, 0x1BADB002))
        self.at_segments = self.at_regs + 16 * 8 + 5 * 8 + 4 * 4
        self.at_cr2 = self.at_segments + 10 * 24 + 2 * 8
        self.at_fp = raw.index(struct.pack("<QH", 0x87654321FEDCBA98, 0x4123))
        self.at_xmm = raw.index((0x0123456789ABCDEF55AA77CC33EE11FF).to_bytes(16, "little"))
        for r, value in before.items():
            uc.reg_write(r, value)
        uc.reg_write(x.UC_X86_REG_XMM0, 0)

    def find_error_code(self, codes: list[tuple[int, int]]) -> None:
        """Where the error code of the last exception is: `codes` are places that fault, each with what it pushes."""
        if not codes:
            return
        found: set[int] = set()
        fresh: set[int] = set()
        for n, (address, error) in enumerate(codes):
            self.uc.context_restore(self.context)
            self.vector = -1
            self.start(address)
            raw = self.faulted
            here = {k for k in range(0, len(raw) - 4, 4) if struct.unpack_from("<I", raw, k)[0] == error}
            found = here if n == 0 else found & here
            gp = {k for k in range(0, len(raw) - 4, 4) if struct.unpack_from("<I", raw, k)[0] == 13}
            fresh = gp if n == 0 else fresh & gp
        if len(found) != 1:
            raise SystemExit(f"the error code may be at {sorted(found)}")
        Engine.at_error = found.pop()
        # The exception in flight: -1 until there is one. Nobody delivers it here, so it must be taken back.
        clean = bytes(self.context)
        fresh = {k for k in fresh if struct.unpack_from("<i", clean, k)[0] == -1}
        if len(fresh) != 1:
            raise SystemExit(f"the exception in flight may be at {sorted(fresh)}")
        Engine.at_flight = fresh.pop()
        self.uc.context_restore(self.context)

    def segments(self) -> bytes:
        """Eight segments as in an answer."""
        raw = self._raw()
        out = b""
        for k in range(8):
            selector, base, limit, flags = struct.unpack_from("<I4xQII", raw, self.at_segments + 24 * k)
            out += struct.pack("<4I", selector, base & 0xFFFFFFFF, limit, flags)
        return out

    def _record(self, address: int, kind: int, vector: int) -> None:
        eip, flags, *gpr = self.general()
        error = struct.unpack_from("<I", self.faulted, self.at_error)[0] if self.vector >= 0 else 0
        cr2 = struct.unpack_from("<I", self.faulted, self.at_cr2)[0] if self.vector >= 0 else 0
        self.flags, self.gpr = flags, gpr
        out = struct.pack("<IhII10I", address, vector, error, cr2, eip, flags, *gpr)
        if kind & FLOATS:
            fcw, fsw, ftw, mxcsr = self.words()
            raw = self._raw()
            out += struct.pack("<HHHI", fcw, fsw, ftw, mxcsr)
            out += b"".join(raw[self.at_fp + 16 * k : self.at_fp + 16 * k + 10] for k in range(8))
            out += b"".join(raw[self.at_xmm + 64 * k : self.at_xmm + 64 * k + 16] for k in range(8))
        self.records.append(out)

    def _forget_exception(self) -> None:
        self.uc.context_update(self.context_now)
        ctypes.memmove(self.context_now.context.value + self.at_flight, b"\xff" * 4, 4)
        self.uc.context_restore(self.context_now)

    # --- hooks -----------------------------------------------------------------------------------------------------

    def _interrupt(self, uc: Any, number: int, data: Any) -> None:
        if self.vector < 0:
            self.vector = number
            self.faulted = self._raw()
        uc.emu_stop()

    def _code(self, uc: Any, address: int, size: int, data: Any) -> None:
        current = self.current
        if current is not None:
            _, undefined, kind = self.table[current]
            if address == current and not kind & JUMPS:
                return  # another iteration, or once more after it wrote to code
            self._record(current, kind, -1)
            self.current = None
            if address == current:
                self.end = END_STEPS  # a jump to itself
                uc.emu_stop()
                return
            if undefined:
                self.undefined, self.resume = undefined, address
                uc.emu_stop()
                return
        if address not in self.table:
            self.end = END_OUT
            uc.emu_stop()
        elif len(self.records) >= self.most:
            self.end = END_STEPS
            uc.emu_stop()
        else:
            self.current = address

    # --- running ---------------------------------------------------------------------------------------------------

    def program(self, request: Reader) -> bytes:
        """Run a program; the answer."""
        base, eip, eflags, *gpr = request.take("III8I")
        (self.most,) = request.take("I")
        image = bytearray(self.image)
        for _ in range(request.take("H")[0]):
            address, size = request.take("II")
            image[address : address + size] = request.bytes(size)
        self.table = {}
        for _ in range(request.take("H")[0]):
            address, following, undefined, kind = request.take("IIIB")
            self.table[address] = (following, undefined, kind)
        uc, x = self.uc, self.x
        uc.context_restore(self.context)
        uc.mem_write(0, bytes(image))
        uc.ctl_flush_tb()
        uc.ctl(self.flush_tlb, self.write)
        names = (x.UC_X86_REG_EAX, x.UC_X86_REG_ECX, x.UC_X86_REG_EDX, x.UC_X86_REG_EBX, x.UC_X86_REG_ESP,
                 x.UC_X86_REG_EBP, x.UC_X86_REG_ESI, x.UC_X86_REG_EDI)  # fmt: skip
        for name, value in zip(names, gpr, strict=True):
            uc.reg_write(name, value)
        uc.reg_write(x.UC_X86_REG_EFLAGS, uc.reg_read(x.UC_X86_REG_EFLAGS) & ~0xCD5 | eflags)
        self.records: list[bytes] = []
        self.flags, self.gpr = uc.reg_read(x.UC_X86_REG_EFLAGS), gpr
        self.end = -1
        error = 0
        linear = (base + eip) & 0xFFFFFFFF
        while self.end < 0:
            self.current = None
            self.undefined = self.resume = 0
            self.vector = -1
            error = self.start(linear if self.bits == 16 else linear - base & 0xFFFFFFFF)
            if self.undefined:
                self.flags = uc.reg_read(x.UC_X86_REG_EFLAGS) & ~self.undefined
                uc.reg_write(x.UC_X86_REG_EFLAGS, self.flags)
                linear = self.resume
            elif self.end >= 0:
                break
            elif self.vector >= 0 or error in (self.invalid, *self.no_code):
                vector = self.vector if self.vector >= 0 else 6
                eip, _, *gpr = self.general()
                now = eip + struct.unpack_from("<I", self._raw(), self.at_segments + 24 + 8)[0] & 0xFFFFFFFF
                if self.current is None or now != self.current:
                    # Not the instruction itself: the fetch of the next one.
                    if self.current is not None:
                        self._record(self.current, self.table[self.current][2], -1)
                    self.end = END_OUT
                    break
                following, undefined, kind = self.table[self.current]
                if not kind & REPEATS and gpr == self.gpr:
                    # A fault leaves the flags alone; Unicorn has lost some of them when its hook is over.
                    uc.reg_write(x.UC_X86_REG_EFLAGS, self.flags)
                self._record(self.current, kind, vector)
                self._forget_exception()
                linear = following
                if linear not in self.table:
                    self.end = END_OUT
            elif error:
                self.end = END_ERROR
            else:
                self.end = END_STOPPED
        memory = uc.mem_read(0, len(self.image))
        entries = bytes(memory[self.apart[0] : self.apart[1]])
        memory[self.apart[0] : self.apart[1]] = bytes(len(entries))
        return (
            struct.pack("<I", len(self.records)) + b"".join(self.records)
            + struct.pack("<BII", self.end, error, zlib.crc32(memory)) + self.segments() + entries
        )  # fmt: skip


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the input ends."""
    engines: dict[int, Engine] = {}
    while True:
        head = source.read(4)
        if len(head) < 4:
            return
        request = Reader(source.read(struct.unpack("<I", head)[0]))
        command = request.bytes(1)
        if command == b"B":
            number, bits, size, first, last, *apart, probes = request.take("BBIIIIIH")
            codes = [request.take("II") for _ in range(probes)]
            engines[number] = Engine(bits, size, first, last, codes, request.data[request.at :])
            engine = engines[number]
            engine.apart = (apart[0], apart[1])
            answer = struct.pack("<I", engine.general()[0]) + engine.segments()
        elif command == b"P":
            answer = engines[request.take("B")[0]].program(request)
        else:
            engine = engines[request.take("B")[0]]
            answer = bytes(engine.uc.mem_read(0, len(engine.image)))
        sink.write(struct.pack("<I", len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
