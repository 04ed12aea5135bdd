"""Unicorn's PowerPC as an oracle, in a process of its own: `python ppc_oracle.py MODEL [system]`.

Unicorn is GPL-2.0 and is only ever run as a separate program by the tests; nothing imports it, nor this file. Every
message is a 32-bit length and that many bytes, little-endian. A request: a `STATE`, the data that lies at DATA (4
pages and a read-only one), the instruction words. Each instruction runs alone at its place, whatever the one before it
did. The answer: for each a `RECORD` and the `STATE` behind it; then the data.

With `system` a request is 32 general registers, CR and the words, for a processor after its reset; the answer, for each
word, a `RECORD`, the general registers, CR and MSR.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
from typing import Any

CODE, DATA, DATA_SIZE, READ_ONLY = 0x10000, 0x20000, 0x5000, 0x24000
SPRS = (272, 273, 274, 275, 276, 277, 278, 279, 256, 26, 27, 58, 59)
"""SPRG0-7, USPRG0, SRR0-1, CSRR0-1."""
STATE = struct.Struct("<32Q32Q7IQ13I")
"""General and floating registers, CR LR CTR XER MSR FPSCR SPEFSCR, the accumulator, SPRS."""
RECORD = struct.Struct("<iIIII")
"""Exception (-1: none, 1: of memory, HALTS and nothing more), its kind if it is 6 or 96, address, 1 for a store, PC."""
SYSTEM = struct.Struct("<34I")
ILLEGAL, TRAP = 0, 0x7C000008 | 31 << 21
WAIT, HALTS = 1 << 18, -2  # Unicorn does not come back from the wait state
EVMRA, MTSPEFSCR = 0x10A504C4, 0x7CA083A6


class Processor:
    """One processor with memory for code and data."""

    def __init__(self, model: str) -> None:
        u: Any = importlib.import_module("unicorn")
        p: Any = importlib.import_module("unicorn.ppc_const")
        self.u, self.p = u, p
        self.lib: Any = importlib.import_module("unicorn.unicorn_py3.unicorn").uclib
        self.spe = "E500V" in model or "E500_" in model
        self.uc: Any = u.Uc(u.UC_ARCH_PPC, u.UC_MODE_PPC32 | u.UC_MODE_BIG_ENDIAN)
        self.uc.ctl_set_cpu_model(getattr(p, f"UC_CPU_PPC32_{model}"))
        self.uc.ctl_set_tlb_mode(u.UC_TLB_VIRTUAL)
        self.uc.mem_map(CODE, 0x1000)
        self.uc.mem_map(DATA, DATA_SIZE)
        self.exception = -1
        self.fault: tuple[int, int] | None = None
        self.uc.hook_add(u.UC_HOOK_INTR, self._interrupt)
        self.uc.hook_add(u.UC_HOOK_MEM_UNMAPPED | u.UC_HOOK_MEM_PROT, self._memory)
        self.raw = self.uc.context_save()

    def _memory_rights(self) -> None:
        u = self.u
        self.uc.mem_protect(READ_ONLY, 0x1000, u.UC_PROT_READ)
        self.uc.mem_protect(CODE, 0x1000, u.UC_PROT_READ | u.UC_PROT_EXEC)

    def _interrupt(self, uc: Any, number: int, data: Any) -> None:
        if self.exception < 0:
            self.exception = number
        uc.emu_stop()

    def _memory(self, uc: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        if access in (self.u.UC_MEM_FETCH_UNMAPPED, self.u.UC_MEM_FETCH_PROT):
            return False  # where it went is told by PC
        if self.fault is None:
            self.fault = (address, int(access in (self.u.UC_MEM_WRITE_UNMAPPED, self.u.UC_MEM_WRITE_PROT)))
        return False

    def step(self, at: int) -> int:
        self.exception, self.fault = -1, None
        return int(self.lib.uc_emu_start(self.uc._uch, at, 0, 0, 1))

    def one(self, word: int) -> None:
        """Run a word outside of any program."""
        self.uc.mem_write(CODE + 0xF00, word.to_bytes(4, "big"))
        self.uc.ctl_flush_tb()
        self.step(CODE + 0xF00)

    def general(self) -> list[int]:
        """The general registers, CR and MSR."""
        p = self.p
        names = [p.UC_PPC_REG_0 + n for n in range(32)] + [p.UC_PPC_REG_CR, p.UC_PPC_REG_MSR]
        return [self.uc.reg_read(name) & 0xFFFFFFFF for name in names]

    def read(self) -> bytes:
        self.uc.context_update(self.raw)
        return bytes(self.raw)


class Oracle(Processor):
    """One that takes and gives its whole state."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.calibrate()
        self._memory_rights()

    def calibrate(self) -> None:
        """Find what has no register name in the structure that a context is, by values put there."""
        p, uc = self.p, self.uc
        uc.reg_write(p.UC_PPC_REG_MSR, 1 << 25 | 1 << 13)
        for n in range(32):
            uc.reg_write(p.UC_PPC_REG_0 + n, 0x5A17C000 + n)
            uc.reg_write(p.UC_PPC_REG_FPR0 + n, 0x7654321FEDCBA900 + n)
        raw = self.read()
        self.at_gpr = raw.index(struct.pack("<32I", *range(0x5A17C000, 0x5A17C020)))
        self.fpr_step = 16
        first = raw.index(struct.pack("<Q", 0x7654321FEDCBA900))
        self.at_fpr = first
        self.fpr_step = raw.index(struct.pack("<Q", 0x7654321FEDCBA901)) - first
        for n, spr in enumerate(SPRS[:4]):
            uc.reg_write(p.UC_PPC_REG_5, 0x1BADB000 + n)
            self.one(0x7CA003A6 | (spr & 31) << 16 | (spr >> 5) << 11)
        self.at_spr = self.read().index(struct.pack("<4I", *range(0x1BADB000, 0x1BADB004))) - 4 * SPRS[0]
        self.at_code = self.find_code()
        self.at_acc = self.at_fscr = -1
        if self.spe:
            uc.reg_write(p.UC_PPC_REG_5, 0x3C5AF00D)
            self.one(EVMRA)
            raw = self.read()
            gpr5 = self.at_gpr + 20
            found = [
                k for k in range(0, len(raw) - 8, 8) if struct.unpack_from("<Q", raw, k)[0] & 0xFFFFFFFF == 0x3C5AF00D
            ]
            self.at_acc = next(k for k in found if k not in (gpr5, gpr5 - 4))
            uc.reg_write(p.UC_PPC_REG_5, 0x00C0C000)
            self.one(MTSPEFSCR)
            raw = self.read()
            found = [
                k
                for k in range(self.at_acc - 64, self.at_acc + 64, 4)
                if struct.unpack_from("<I", raw, k)[0] == 0x00C0C000
            ]
            self.at_fscr = found[0] if found else -1

    def find_code(self) -> int:
        """Where QEMU keeps what kind of program interrupt it is: 0x21 after an illegal word, 0x40 after a trap."""
        self.one(ILLEGAL)
        first = self.read()
        self.one(TRAP)
        second = self.read()
        found = [
            k
            for k in range(0, len(first) - 4, 4)
            if first[k : k + 4] == b"\x21\0\0\0" and second[k : k + 4] == b"\x40\0\0\0"
        ]
        return found[0] if found else -1

    def code(self) -> int:
        return int(struct.unpack_from("<I", self.read(), self.at_code)[0]) if self.at_code >= 0 else 0

    def put(self, state: tuple[int, ...]) -> None:
        """Become this state."""
        p, uc = self.p, self.uc
        gpr, fpr, rest = state[:32], state[32:64], state[64:]
        cr, lr, ctr, xer, msr, fpscr, spefscr, acc = rest[:8]
        uc.reg_write(p.UC_PPC_REG_MSR, msr)
        uc.reg_write(p.UC_PPC_REG_CR, cr)
        uc.reg_write(p.UC_PPC_REG_LR, lr)
        uc.reg_write(p.UC_PPC_REG_CTR, ctr)
        uc.reg_write(p.UC_PPC_REG_FPSCR, fpscr)
        self.read()
        base = int(ctypes.cast(self.raw.context, ctypes.c_void_p).value or 0)

        def poke(at: int, layout: str, *values: int) -> None:
            data = struct.pack(layout, *values)
            ctypes.memmove(base + at, data, len(data))

        poke(self.at_gpr, "<64I", *(v & 0xFFFFFFFF for v in gpr), *(v >> 32 for v in gpr))
        poke(self.at_gpr + 296, "<4I", xer & 0x1FFFFFFF, xer >> 31, xer >> 30 & 1, xer >> 29 & 1)
        for n, v in enumerate(fpr):
            poke(self.at_fpr + n * self.fpr_step, "<Q", v)
        for n, v in zip(SPRS, rest[8:], strict=True):
            poke(self.at_spr + 4 * n, "<I", v)
        if self.spe:
            poke(self.at_acc, "<Q", acc)
            poke(self.at_fscr, "<I", spefscr)
        uc.context_restore(self.raw)

    def get(self) -> bytes:
        raw = self.read()
        p, uc = self.p, self.uc
        words = struct.unpack_from("<64I", raw, self.at_gpr)
        gpr = [low | high << 32 for low, high in zip(words[:32], words[32:], strict=True)]
        fpr = struct.unpack_from("<" + f"Q{self.fpr_step - 8}x" * 31 + "Q", raw, self.at_fpr)
        names = (p.UC_PPC_REG_CR, p.UC_PPC_REG_LR, p.UC_PPC_REG_CTR, p.UC_PPC_REG_MSR, p.UC_PPC_REG_FPSCR)
        rest = [uc.reg_read(name) & 0xFFFFFFFF for name in names]
        low, so, ov, ca = struct.unpack_from("<4I", raw, self.at_gpr + 296)
        rest.insert(3, low & 0x1FFFFFFF | so << 31 | ov << 30 | ca << 29)
        acc, fscr = 0, 0
        if self.spe:
            (acc,) = struct.unpack_from("<Q", raw, self.at_acc)
            (fscr,) = struct.unpack_from("<I", raw, self.at_fscr)
        sprs = [struct.unpack_from("<I", raw, self.at_spr + 4 * n)[0] for n in SPRS]
        return STATE.pack(*gpr, *fpr, *rest, fscr, acc, *sprs)

    def program(self, request: bytes) -> bytes:
        state = STATE.unpack_from(request)
        data = request[STATE.size : STATE.size + DATA_SIZE]
        code = request[STATE.size + DATA_SIZE :]
        uc = self.uc
        uc.mem_write(CODE, code.ljust(0x1000, b"\0"))
        uc.mem_write(DATA, data)
        uc.ctl_flush_tb()
        self.put(state)
        msr, out = state[68], []
        for at in range(CODE, CODE + len(code), 4):
            word = int.from_bytes(code[at - CODE : at - CODE + 4], "big")
            source = self.p.UC_PPC_REG_0 + (word >> 21 & 31)
            if word & 0xFC0007FE == 0x7C000124 and uc.reg_read(source) & WAIT:
                out.append(RECORD.pack(HALTS, 0, 0, 0, 0) + bytes(STATE.size) * (1 + (CODE + len(code) - at) // 4))
                break
            self.step(at)
            address, store = self.fault or (0, 0)
            kind = self.exception if self.exception >= 0 else (1 if self.fault else -1)
            which = self.code() if kind > 1 else 0
            out.append(RECORD.pack(kind, which, address & 0xFFFFFFFF, store, uc.reg_read(self.p.UC_PPC_REG_PC)))
            out.append(self.get())
            uc.reg_write(self.p.UC_PPC_REG_MSR, msr)
        return b"".join(out) + bytes(uc.mem_read(DATA, DATA_SIZE))


def system(request: bytes) -> bytes:
    """Run a program of the supervisor on a new processor."""
    processor = Processor(sys.argv[1])
    uc, p = processor.uc, processor.p
    start = struct.unpack_from("<33I", request)
    code = request[132:]
    uc.mem_write(CODE, code.ljust(0x1000, b"\0"))
    uc.reg_write(p.UC_PPC_REG_MSR, 0)
    uc.reg_write(p.UC_PPC_REG_CR, start[32])
    for n in range(32):
        uc.reg_write(p.UC_PPC_REG_0 + n, start[n])
    out = []
    for at in range(CODE, CODE + len(code), 4):
        processor.step(at)
        out.append(RECORD.pack(processor.exception, 0, 0, 0, uc.reg_read(p.UC_PPC_REG_PC)))
        out.append(SYSTEM.pack(*processor.general()))
    return b"".join(out)


def serve() -> None:
    """Answer until the input ends."""
    answered = system if sys.argv[2:] == ["system"] else Oracle(sys.argv[1]).program
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(4)) == 4:
        answer = answered(source.read(struct.unpack("<I", head)[0]))
        sink.write(struct.pack("<I", len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    serve()
