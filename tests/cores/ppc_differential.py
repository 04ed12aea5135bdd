"""Programs drawn from the spec on the compiled PowerPC and on Unicorn in a process of its own.

Each instruction runs alone at its place with the state that the one before it left; all registers are compared behind
each, memory behind the last. Where the two may differ (`EXCUSES`), ours goes on with Unicorn's registers.
"""

from __future__ import annotations

import select
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from cores.ppc import state as S
from cores.ppc import strategies
from cores.ppc.decoder import decode, mnemonic
from cores.ppc.forms import Form
from cores.ppc.models import model as model_of
from cores.ppc.models import reset_values
from emu.memory import GuestRam
from tests.cores.ppc_oracle import CODE, DATA, DATA_SIZE, HALTS, READ_ONLY, RECORD, STATE
from tests.cores.ppc_tiers import Bus
from tests.cores.tiers import against_the_oracle

PATIENCE = 5.0
SYNDROMES = {0x10: S.ESR_FP, 0x20: S.ESR_PIL, 0x30: S.ESR_PPR, 0x40: S.ESR_PTR}
"""ESR by the kind of program interrupt that QEMU keeps."""
VECTORS, VECTORS_AT = 0x70000000, 0x40000
CR, LR, CTR, XER, MSR, FPSCR, SPEFSCR, ACC, SPR = 64, 65, 66, 67, 68, 69, 70, 71, 72
NAMES = [f"r{n}" for n in range(32)] + [f"f{n}" for n in range(32)]
NAMES += ["cr", "lr", "ctr", "xer", "msr", "fpscr", "spefscr", "acc", *(f"sprg{n}" for n in range(8)), "usprg0"]
NAMES += ["srr0", "srr1", "csrr0", "csrr1"]
MODELS = {"440EP": "440EPX", "460EX": "460EXB", "e500v1": "E500_V20", "e500v2": "E500V2_V30", "e500mc": "E500MC"}
MOVED = {"xer", "lr", "ctr", "usprg0", "srr0", "srr1", "csrr0", "csrr1", *(f"sprg{n}" for n in range(8))}
SYSTEM = {"mflr", "mfctr", "mtlr", "mtctr", "mfxer", "mtxer", "mfmsr", "mtmsr", "wrtee", "wrteei", "isel"}
LEFT_OUT = {
    "wait": "halts",
    "msgsnd": "a doorbell would interrupt the next instruction",
    "msgclr": "as msgsnd",
    "ehpriv": "Unicorn's models have no hypervisor",
    "rfgi": "as ehpriv",
    "rfdi": "a debug class that Unicorn takes for SRR",
    "rfmci": "Unicorn keeps MCSRR elsewhere",
    "dlmzb": "Unicorn reads rows of 8 bytes from the other end",
    "icbt": "Unicorn knows only the encoding of Book III-E",
    "dccci": "Unicorn knows no operands of it",
    "iccci": "as dccci",
}


class Event(NamedTuple):
    """What came of an instruction on both sides."""

    name: str
    word: int
    before: tuple[int, ...]
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    ivor: int = -1
    """Of the interrupt that ours took, -1 for none."""
    kind: int = -1
    """The number that Unicorn gives it."""

    @property
    def raised(self) -> bool:
        """Whether either side had an interrupt."""
        return self.ivor >= 0 or self.kind >= 0

    def field(self, shift: int) -> int:
        """A register number."""
        return self.word >> shift & 31

    @property
    def result(self) -> tuple[int, int]:
        """FRT on both sides."""
        n = 32 + self.field(21)
        return self.ours[n], self.theirs[n]


class Excuse(NamedTuple):
    """Why an instruction of some kind may differ, and in what."""

    why: str
    applies: Callable[[Event], bool]
    registers: frozenset[str] | None
    """Registers beside RT, "f" for FRT; None: in anything."""
    interrupt: bool = False
    """Whether one side may have an interrupt that the other has not."""


class Outcome(NamedTuple):
    problem: str = ""
    failed: str = ""


def _is(*names: str) -> Callable[[Event], bool]:
    return lambda e: e.name in names


def _destination(word: int) -> str:
    return f"r{word >> 21 & 31}"


M32, M64 = 0xFFFFFFFF, (1 << 64) - 1
NOTHING: frozenset[str] = frozenset()
FLOAT = frozenset({"cr", "fpscr", "f"})
EXTENDED, UNDERFLOW = 0x7FF, 0x381
VX, VE, RN, FEX = 0x01F80700, 0x80, 3, 1 << 30


def _plain32(v: int) -> bool:
    """Far from what the EFP does in its own way: NaN, infinity, denormals, and results that overflow or underflow."""
    return v << 1 & M32 == 0 or 0x60 <= v >> 23 & 0xFF <= 0x9E


def _plain64(v: int) -> bool:
    return v << 1 & M64 == 0 or 0x300 <= v >> 52 & 0x7FF <= 0x4FE


def _odd_operand(e: Event) -> bool:
    name = e.name
    if not name.startswith(("efs", "efd", "evfs")):
        return False
    a, b = e.before[e.field(16)], e.before[e.field(11)]
    if "cfu" in name or ("cfs" in name and name not in ("efscfd", "efdcfs")):
        return False
    if name.startswith("evfs"):
        return not all(_plain32(v >> n & M32) for v in (a, b) for n in (0, 32)) or (
            name == "evfsdiv" and not (b << 1 & M32 and b >> 31 & M32)
        )
    double = (name.startswith("efd") and name != "efdcfs") or name == "efscfd"
    if "cfd" in name or "cfs" in name or "ct" in name:
        operands: tuple[int, ...] = (b,)
    else:
        operands = (a,) if name[3:] in ("abs", "neg", "nabs") else (a, b)
    if name == "efscfd":
        return not (b << 1 & M64 == 0 or 0x3A0 <= b >> 52 & 0x7FF <= 0x45E)
    if double:
        return not all(_plain64(v) for v in operands) or (name == "efddiv" and not b << 1 & M64)
    return not all(_plain32(v & M32) for v in operands) or (name == "efsdiv" and not b << 1 & M32)


UNICORN_HAS = {"evmwumi", "evmwumia", "evmwumiaa", "evmwsmi", "evmwsmia", "evmwsmiaa", "evmra"}
SPE_SIZES = {
    "evldd": 8,
    "evldw": 8,
    "evldh": 8,
    "evstdd": 8,
    "evstdw": 8,
    "evstdh": 8,
    "evlhh": 2,
    "evlw": 4,
    "evst": 4,
}


def _misaligned_spe(e: Event) -> bool:
    size = next((n for stem, n in SPE_SIZES.items() if e.name.startswith(stem)), 0)
    base = e.before[e.field(16)] if e.field(16) else 0
    more = e.before[e.field(11)] if e.name.endswith("x") else e.field(11) * size
    return bool(size and (base + more) & (size - 1))


def _not_in_unicorn(e: Event) -> bool:
    kinds = ("evmh", "evmw", "evdiv", "evadd", "evsubf")
    return e.name.startswith(kinds) and e.kind == 96 and e.name not in UNICORN_HAS


def _undivided(e: Event) -> bool:
    a, b = e.before[e.field(16)] & M32, e.before[e.field(11)] & M32
    return e.name.startswith("divw") and (b == 0 or (a == 1 << 31 and b == M32))


def _is_single(v: int) -> bool:
    exponent = v >> 52 & EXTENDED
    return not v & 0x1FFFFFFF and (UNDERFLOW <= exponent <= 0x47E or v << 1 & M64 == 0 or exponent == EXTENDED)


def _doubles_in_single(e: Event) -> bool:
    if e.name.rstrip(".") not in ("fadds", "fsubs", "fmuls", "fdivs"):
        return False
    second = e.field(6) if e.name.startswith("fmul") else e.field(11)
    return not (_is_single(e.before[32 + e.field(16)]) and _is_single(e.before[32 + second]))


def _is_nan(v: int) -> bool:
    return v << 1 & M64 > EXTENDED << 53


def _fused_single(e: Event) -> bool:
    """One unit in the last place of a single, and what is said of it; or operands that are no singles."""
    if e.name.rstrip(".") not in ("fmadds", "fmsubs", "fnmadds", "fnmsubs"):
        return False
    ours, theirs = e.result
    operands = [e.before[32 + e.field(k)] for k in (16, 11, 6)]
    small = any(v >> 52 & EXTENDED < UNDERFLOW + 1 for v in (ours, theirs))
    return small or not all(map(_is_single, operands)) or abs(ours - theirs) <= 1 << 29 or _negated(e)


def _negated(e: Event) -> bool:
    """The sign of a NaN, and which way is up for what is negated behind its rounding."""
    if e.name.rstrip(".") not in ("fnmadd", "fnmsub", "fnmadds", "fnmsubs"):
        return False
    ours, theirs = e.result
    return (_is_nan(ours) and ours ^ theirs == 1 << 63) or bool(e.before[FPSCR] & 2)


def _estimate(e: Event) -> bool:
    """Within 1/256 for fres, 1/32 for frsqrte (Book I, 4.6.6), where the result is a number of usual size."""
    if e.name.rstrip(".") not in ("fres", "frsqrte"):
        return False
    ours, theirs = e.result
    if any(not UNDERFLOW < v >> 52 & EXTENDED < 0x47E for v in (ours, theirs)):
        return True
    a, b = (struct.unpack("<d", struct.pack("<Q", v))[0] for v in (ours, theirs))
    return bool(abs(a / b - 1) <= (1 / 256 if e.name.startswith("fres") else 1 / 32))


def _enabled_invalid(e: Event) -> bool:
    return e.name[0] == "f" and bool(e.before[FPSCR] & VE and (e.ours[FPSCR] | e.theirs[FPSCR]) & VX)


def _does_not_fit(e: Event) -> bool:
    return e.name.startswith("fctiw") and e.before[32 + e.field(11)] >> 52 & EXTENDED >= 0x41D


def _invalid_form(e: Event) -> bool:
    name = e.name.rstrip("x")
    if name.endswith("u") and name[0] in "ls" and not name.startswith("sub"):
        return e.field(16) == 0 or (name[0] == "l" and name[1] != "f" and e.field(16) == e.field(21))
    return False


EXCUSES: list[Excuse] = [
    Excuse(
        "lmw, lswx and their like stop anywhere, and multiples want words",
        lambda e: e.raised and e.name in ("lmw", "stmw", "lswi", "lswx", "stswi", "stswx"),
        None,
        True,
    ),
    Excuse("invalid forms of update", _invalid_form, None, True),
    Excuse(
        "no reservation: Unicorn keeps that of another program, and touches no memory without one",
        lambda e: e.name == "stwcx." and (e.kind, e.ivor) != (1, -1),
        frozenset({"cr"}),
        True,
    ),
    Excuse("quotients that are undefined", _undivided, frozenset({"cr"})),
    Excuse("SPE memory must be aligned (SPE PEM 2.5.3); Unicorn splices", _misaligned_spe, None, True),
    Excuse("most of the SPE's products Unicorn has not", _not_in_unicorn, None, True),
    Excuse("Unicorn loses what it shifted a word by a register to", _is("evsrwu", "evsrws", "evslw"), NOTHING),
    Excuse("Unicorn lets the sign of the lower integer into the upper", _is("evfsctsi", "evfsctsiz"), NOTHING),
    Excuse("Unicorn shifts the wrong half in evlwhsplat", _is("evlwhsplat", "evlwhsplatx"), NOTHING),
    Excuse("Unicorn mixes the upper halves of evldh with what RT held", _is("evldh", "evldhx"), NOTHING),
    Excuse("Unicorn keeps the wrong half in evrndw", _is("evrndw"), NOTHING),
    Excuse("Unicorn merges verdicts of 4", lambda e: e.name.startswith(("evfscmp", "evfstst")), frozenset({"cr"})),
    Excuse(
        "signed fractions have 31 bits; Unicorn divides by 2**32", lambda e: e.name.endswith(("cfsf", "ctsf")), NOTHING
    ),
    Excuse("Unicorn keeps the reserved bits of XER", _is("mfxer"), NOTHING),
    Excuse(
        "scalar singles need no MSR.SPV",
        lambda e: e.name.startswith("efs") and e.kind == 32 and not e.before[MSR] >> S.MSR_SPV & 1,
        None,
        True,
    ),
    Excuse("doubles given to single arithmetic", _doubles_in_single, FLOAT),
    Excuse("Unicorn rounds single sums of products twice", _fused_single, FLOAT),
    Excuse("Unicorn negates before it rounds, NaN too", _negated, FLOAT),
    Excuse("estimates leave FR, FI open and XX alone", _estimate, FLOAT),
    Excuse("Unicorn writes results of enabled invalid operations", _enabled_invalid, FLOAT),
    Excuse("Unicorn's integers of what does not fit", _does_not_fit, FLOAT),
    Excuse("NaN, infinity, denormals of the EFP", _odd_operand, frozenset({"cr"})),
    Excuse(
        "Unicorn lets users touch caches by external process ID",
        lambda e: e.name.endswith("ep") and bool(e.before[MSR] >> S.MSR_PR & 1) and e.ivor == 6,
        None,
        True,
    ),
]


def _excused(excuse: Excuse, event: Event, found: set[str]) -> bool:
    """Whether an excuse covers everything in which an instruction differs."""
    if not excuse.applies(event) or ("interrupt" in found and not excuse.interrupt):
        return False
    if excuse.registers is None:
        return True
    allowed = {"interrupt", _destination(event.word), *excuse.registers}
    return found <= (allowed | {f"f{event.field(21)}"} if "f" in allowed else allowed)


def _inputs(word: int, before: tuple[int, ...]) -> str:
    named = [*(NAMES[word >> shift & 31] for shift in (21, 16, 11)), "xer", "msr"]
    named += [f"f{word >> shift & 31}" for shift in (16, 11, 6)] + ["fpscr"]
    return " ".join(f"{n}={before[NAMES.index(n)]:x}" for n in named)


class Oracle:
    """The process, with a limit to its silence."""

    def __init__(self, model: str, *more: str) -> None:
        self.model = model
        self.more = more
        self.process: Any = None

    def ask(self, request: bytes) -> bytes | None:
        """The answer, or None if there is none; the process is then a new one."""
        if self.process is None:
            command = [sys.executable, str(Path(__file__).with_name("ppc_oracle.py")), MODELS[self.model], *self.more]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.process.stdin.write(struct.pack("<I", len(request)) + request)
            self.process.stdin.flush()
            return self._take(struct.unpack("<I", self._take(4))[0])
        except (OSError, EOFError):
            self.close()
            return None

    def _take(self, n: int) -> bytes:
        out = b""
        while len(out) < n:
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise EOFError
            piece = self.process.stdout.read1(n - len(out))
            if not piece:
                raise EOFError
            out += piece
        return out

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


class Subject:
    """Ours, in the oracle's shape."""

    def __init__(self, model: str) -> None:
        self.model = model_of(model)
        self.ram, self.bus = GuestRam(1 << 20, flat=True), Bus()
        self.cpu = against_the_oracle("ppc", self.bus, self.ram, model)
        self.bus.cpu = self.cpu
        self.c: Any = self.cpu._c
        self.cpu.load_values(reset_values(self.model))
        stay = (0x48000000).to_bytes(4, "big").ljust(16, b"\0")
        self.ram.view[VECTORS_AT : VECTORS_AT + 16 * 64] = stay * 64
        everything = 0x3F
        pages = [
            (CODE, 0x1000, everything),
            (DATA, 0x4000, everything),
            (READ_ONLY, 0x1000, 0x33 & ~0xC),
            (VECTORS, 0x1000, everything),
        ]
        size440 = {0x1000: 1, 0x4000: 2, 0x10000: 3}
        values: dict[str, Any] = {"ivpr": VECTORS, "ivor": {n: 16 * n for n in range(42)}, "tb_stopped": 0}
        if self.model.has("440"):
            values["utlb0"] = {63: 0, **{k: ea | 0x200 | size440[size] << 4 for k, (ea, size, _) in enumerate(pages)}}
            values["utlb1"] = {k: VECTORS_AT if ea == VECTORS else ea for k, (ea, _, _) in enumerate(pages)}
            values["utlb2"] = {
                k: (0x2D if ea in (CODE, READ_ONLY) else rights) for k, (ea, _, rights) in enumerate(pages)
            }
        else:
            tsize = {0x1000: 1, 0x4000: 2, 0x10000: 3}
            at = S.TLB1_FIRST
            values["etlb_mas1"] = {at + k: 0xC0000000 | tsize[size] << 8 for k, (_, size, _) in enumerate(pages)}
            values["etlb_mas2"] = {at + k: ea for k, (ea, _, _) in enumerate(pages)}
            values["etlb_mas3"] = {
                at + k: (VECTORS_AT if ea == VECTORS else ea) | (0x33 if ea in (CODE, READ_ONLY) else rights)
                for k, (ea, _, rights) in enumerate(pages)
            }
        self.cpu.load_values(values)
        self.cpu.remap()

    def put(self, state: tuple[int, ...]) -> None:
        c = self.c
        gpr = struct.pack("<32Q", *state[:32])
        self.cpu.ffi.memmove(c.gpr, gpr, 256)
        self.cpu.ffi.memmove(c.fpr, struct.pack("<32Q", *state[32:64]), 256)
        c.cr, c.lr, c.ctr = state[CR : CR + 3]
        xer = state[XER]
        c.xer_so, c.xer_ov, c.xer_ca, c.xer_count = xer >> 31, xer >> 30 & 1, xer >> 29 & 1, xer & 0x7F
        c.fpscr, c.spefscr, c.spe_acc = state[FPSCR], state[SPEFSCR], state[ACC]
        for n in range(8):
            c.sprg[n] = state[SPR + n]
        c.usprg0, c.srr0, c.srr1, c.csrr0, c.csrr1 = state[SPR + 8 : SPR + 13]
        self.turn(state[MSR])

    def turn(self, msr: int) -> None:
        if self.c.msr != msr or self.c.halted:
            self.c.halted = 0
            self.cpu.load_values({"msr": msr})

    def get(self) -> bytes:
        c, buffer = self.c, self.cpu.ffi.buffer
        xer = c.xer_so << 31 | c.xer_ov << 30 | c.xer_ca << 29 | c.xer_count
        rest = struct.pack(
            "<7IQ13I",
            c.cr,
            c.lr,
            c.ctr,
            xer,
            c.msr,
            c.fpscr,
            c.spefscr,
            c.spe_acc,
            *c.sprg[0:8],
            c.usprg0,
            c.srr0,
            c.srr1,
            c.csrr0,
            c.csrr1,
        )
        return bytes(buffer(c.gpr)) + bytes(buffer(c.fpr)) + rest

    def step(self, at: int) -> int:
        """Run the instruction there; the interrupt's IVOR number or -1."""
        self.c.pc = at
        self.cpu.run(1)
        pc = int(self.c.pc)
        return (pc - VECTORS) >> 4 if pc & ~0x3FF == VECTORS else -1


class Bench:
    """Both sides of one model."""

    def __init__(self, model: str) -> None:
        self.model = model_of(model)
        self.oracle, self.subject = Oracle(model), Subject(model)
        self.executed = 0
        self.counts: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self.families = [
            kept for f in strategies.families(self.model.features) if (kept := [x for x in f if self.comparable(x)])
        ]
        self.spe, self.fpu = self.model.has("spe"), self.model.has("fpu")
        self.gpr_mask = (1 << 64) - 1 if self.spe else 0xFFFFFFFF

    def comparable(self, form: Form) -> bool:
        """Whether Unicorn has it, and without an MMU or time of its own."""
        name, chapter = mnemonic(form), form.entry.body.__module__.rpartition(".")[2]
        # Unicorn drops sums of products, or saturates those that fit: test_ppc_mac.py has them by hand.
        if name in LEFT_OUT or (chapter == "mac" and "mac" in name):
            return False
        if chapter == "spr":
            return name[:2] in ("mf", "mt") and name[2:] in MOVED and not form.entry.fallback
        if chapter == "system":
            return name in SYSTEM
        return not chapter.startswith("mmu")

    def draw(self, rng: Random, length: int = 24) -> tuple[tuple[int, ...], bytes, list[int]]:
        """State, data and words of a program."""
        words = [strategies.word(rng, rng.choice(rng.choice(self.families)), reserved=False) for _ in range(length)]
        places = (
            DATA,
            DATA + 0x100,
            DATA + 0xFFC,
            DATA + 0x1FF8,
            READ_ONLY,
            READ_ONLY - 4,
            READ_ONLY + 0xFF8,
            DATA + DATA_SIZE,
        )
        if self.spe and rng.random() < 0.5:
            gpr = [strategies.single(rng) | strategies.single(rng) << 32 for _ in range(32)]
            if rng.random() < 0.4:
                gpr = [strategies.double(rng) for _ in range(32)]
        else:
            gpr = [strategies.integer(rng) | (strategies.integer(rng) << 32 if self.spe else 0) for _ in range(32)]
        for k in (3, 4, 5, 6):
            gpr[k] = rng.choice(places) + rng.choice((0, 0, 0, 4, 1, 2, 8))
        gpr[7] = rng.choice((0, 4, 1, 0xFFFFFFFC))
        fpr = [strategies.double(rng) if self.fpu else 0 for _ in range(32)]
        msr = rng.choice((0, 1 << S.MSR_PR)) | rng.choice((0, 1 << S.MSR_EE))
        if rng.random() < 0.95:
            msr |= 1 << S.MSR_FP if self.fpu else 1 << S.MSR_SPV if self.spe else 0
        xer = rng.getrandbits(3) << 29 | rng.randrange(20)
        state = (
            *gpr,
            *fpr,
            rng.getrandbits(32),
            rng.choice((CODE + 8, rng.getrandbits(32))),
            rng.choice((1, 2, CODE)),
            xer,
            msr,
            rng.getrandbits(2) if self.fpu else 0,
            0,
            rng.getrandbits(64) if self.spe else 0,
            *(rng.getrandbits(32) for _ in range(9)),
            CODE,
            0,
            CODE,
            0,
        )
        return state, rng.randbytes(DATA_SIZE), words

    def run(self, state: tuple[int, ...], data: bytes, words: list[int]) -> Outcome:
        """Run on both and compare."""
        code = b"".join(w.to_bytes(4, "big") for w in words)
        answer = self.oracle.ask(STATE.pack(*state) + data + code)
        if answer is None:
            return Outcome(failed="no answer")
        subject = self.subject
        subject.ram.view[CODE : CODE + 0x1000] = code.ljust(0x1000, b"\0")
        subject.ram.view[DATA : DATA + DATA_SIZE] = data
        subject.cpu.invalidate(CODE, 0x1000)
        subject.put(state)
        msr = state[MSR]
        before = state
        at, k = 0, 0
        spoilt = False
        for k, word in enumerate(words):
            kind, code, address, store, pc = RECORD.unpack_from(answer, at)
            if kind == HALTS:
                return Outcome()
            theirs = answer[at + RECORD.size : at + RECORD.size + STATE.size]
            at += RECORD.size + STATE.size
            place = CODE + 4 * k
            subject.c.esr = 0
            ivor = subject.step(place)
            self.executed += 1
            insn = decode(word, place, self.model.features)
            name = mnemonic(insn.form) if insn else "illegal"
            self.counts[name] += 1
            raw = subject.get()
            ours_state, their_state = STATE.unpack(raw), STATE.unpack(theirs)
            event = Event(name, word, before, ours_state, their_state, ivor, kind)
            wrong = self._interrupts(event, code, address, store)
            found: set[str] = set()
            if ivor >= 0:
                # Ours delivered; nothing but what the delivery saves may have changed.
                mask = [n for n in range(STATE_COUNT) if n not in (MSR, SPR + 9, SPR + 10, SPR + 11, SPR + 12)]
                found = {NAMES[n] for n in mask if ours_state[n] != before[n]} & {*NAMES[:64], "cr", "xer"}
                if name in ("lmw", "stmw", "lswi", "lswx", "stswi", "stswx") or ivor in (6, 33, 34):
                    found = set()
            elif kind < 0 and not wrong:
                if raw != theirs:
                    found = self._different(ours_state, their_state, name, before[FPSCR])
                if not found and int(subject.c.pc) != pc:
                    found = {"pc"}
            if kind == 6 and ivor == -1 and insn and insn.form.entry.body.__module__.endswith(".float"):
                wrong = ""  # Unicorn takes enabled exceptions though MSR.FE0 and FE1 are 0
                self.used["MSR.FE0 and FE1"] += 1
            if kind == 1 and ivor < 0 and address & -0x1000 == VECTORS:
                return Outcome()  # only ours has the vectors there
            if name == "sc" and ivor == 40:
                wrong = ""  # and has no hypervisor
            if wrong:
                found.add("interrupt")
            if found:
                excuse = next((e for e in EXCUSES if _excused(e, event, found)), None)
                if excuse is not None:
                    self.used[excuse.why] += 1
                    spoilt = True
                    if name.startswith(("st", "evst", "evfscmp", "evfstst", "dcbz")):
                        break  # memory, or fields of CR beyond their 4 bits, are not the same from here on
                else:
                    pairs = {n: (ours_state[NAMES.index(n)], their_state[NAMES.index(n)]) for n in found if n in NAMES}
                    shown = ", ".join(f"{n} {a:x} for {b:x}" for n, (a, b) in pairs.items()) + wrong
                    return Outcome(f"{name} {word:08x} at {k}: {shown}; before {_inputs(word, before)}")
            if name.startswith(("st", "evst")) and ivor >= 0:
                spoilt = True
                break  # Unicorn may have stored some of the bytes
            next_state = list(their_state)
            next_state[MSR] = msr
            next_state[XER] &= 0xE000007F
            if not self.spe:
                next_state[:32] = [v & 0xFFFFFFFF for v in next_state[:32]]
            before = tuple(next_state)
            if raw != theirs or ivor >= 0:
                subject.put(before)
            subject.turn(msr)
        if not spoilt and bytes(subject.ram.view[DATA : DATA + DATA_SIZE]) != answer[at:]:
            where = next(n for n in range(DATA_SIZE) if subject.ram.view[DATA + n] != answer[at + n])
            return Outcome(f"memory at {DATA + where:x}")
        return Outcome()

    def _interrupts(self, event: Event, code: int, address: int, store: int) -> str:
        ivor, kind = event.ivor, event.kind
        if kind < 0 and ivor < 0:
            return ""
        esr, dear = int(self.subject.c.esr), int(self.subject.c.dear)
        if kind == 1 and ivor in (2, 13):
            if event.name.startswith("icbi"):
                dear &= -self.model.line  # Unicorn's is that of the line
            if dear != address & (-self.model.line if event.name.startswith("icbi") else -1):
                return f"DEAR {dear:x} for {address:x}"
            # To Unicorn dcbi is a load that stores what it found.
            same = event.name == "dcbi" or bool(esr & S.ESR_ST) == bool(store)
            return "" if same else f"ESR {esr:08x} for store {store}"
        if ivor == 32 and not event.before[MSR] >> S.MSR_SPV & 1:
            return ""  # Unicorn asks for MSR.SPV here and there only
        if {96: 6}.get(kind, kind) == ivor:
            wanted = SYNDROMES.get(code & 0xF0, 0) if ivor == 6 else esr if ivor in (5, 32, 33, 34) else 0
            return "" if esr == wanted else f"ESR {esr:08x} for code {code:x}"
        return f"IVOR{ivor} ESR {esr:08x} for {kind}"

    def _different(self, ours: tuple[int, ...], theirs: tuple[int, ...], name: str, before: int) -> set[str]:
        found = set()
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if n < 32:
                b &= self.gpr_mask
                a &= self.gpr_mask
            if n == MSR:
                mask = self.model.msr_mask & 0x0200F130
                a, b = a & mask, b & mask
            if n == FPSCR:
                # Unicorn has no FR and no NI, and clears FI where nothing is rounded.
                mask = (
                    0xFFFFFFFF
                    & ~0x40004
                    & ~(0x20000 if name.startswith(("mtfs", "fcmp", "mffs", "mcrfs", "fctiw")) else 0)
                )
                if before & 0x3A000000:
                    mask &= ~0x80000000  # it sets FX again for what was set already
                mask &= ~(0x10000 if name.startswith("fcmp") else 0)  # and C besides FPCC
                mask &= ~(0x1F000 if name.startswith("fctiw") else 0)  # FPRF is undefined
                mask &= ~(
                    0x10000 if name.rstrip(".") in ("fadds", "fsubs", "fmuls", "fdivs", "frsp") else 0
                )  # and knows no denormal single
                a, b = a & mask, b & mask
            if n == CR and name[0] in "fm" and name[-1] == "." and before & 0x3A000000:
                a, b = a & ~0x08000000, b & ~0x08000000
            if 32 <= n < 64 and name.startswith("fctiw"):
                a, b = a & M32, b & M32  # the upper half is undefined
            if n == XER:
                a, b = a & 0xE000007F, b & 0xE000007F
            if n == SPEFSCR and name[:3] in ("efs", "efd", "evf"):
                continue  # Unicorn does not keep its flags
            if a != b:
                found.add(NAMES[n])
        return found

    def close(self) -> None:
        self.oracle.close()


STATE_COUNT = len(NAMES)
