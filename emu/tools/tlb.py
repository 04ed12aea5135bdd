"""Translations and special purpose registers of a PowerPC in words: for `--dump-tlb`, the monitor and the debugger.

entries(cpu)           a line for each valid entry of the UTLB (440), or of TLB0 and TLB1 (e500)
lookup(cpu, ea, need)  which entry translates an address, or why none does: `--page`, `monitor page`
special(cpu)           the special purpose registers of the model
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cores.ppc import state as S
from cores.ppc.models import FEATURES
from cores.ppc.spr import SPRS
from emu.media import size_text

UTLB_COUNT = 64
_RIGHTS = ("execute", "write", "read")
_WORDS = {"W": "write-through", "I": "inhibited", "M": "coherent", "G": "guarded", "E": "little-endian"}


@dataclass(frozen=True)
class Entry:
    """One valid entry, of whichever TLB. `attributes` are WIMGE from the left, the rights X, W, R from the left."""

    where: str
    ea: int
    size: int
    physical: int
    tid: int
    space: int
    attributes: int
    supervisor: int
    user: int
    protected: bool = False
    partition: int = 0
    guest: bool = False
    virtual_fault: bool = False

    def covers(self, ea: int) -> bool:
        """Whether the page has this address, in whatever space."""
        return self.ea <= ea < self.ea + self.size

    def letters(self) -> str:
        """`-I-G-`."""
        return "".join(c if self.attributes >> (4 - k) & 1 else "-" for k, c in enumerate("WIMGE"))

    def text(self) -> str:
        """Addresses, size, who it is for, attributes and rights."""
        who = "any TID" if self.tid == 0 else f"TID {self.tid:02x}"
        extra = ", protected" if self.protected else ""
        extra += f", guest of LPID {self.partition}" if self.guest else ""
        extra += ", every access faults to the hypervisor" if self.virtual_fault else ""
        last = self.ea + self.size - 1
        page = f"{self.ea:08x}-{last & 0xFFFFFFFF:08x} -> {self.physical:09x} {size_text(self.size):>8}"
        allowed = f"supervisor {rights(self.supervisor)}; user {rights(self.user)}"
        return f"{self.where:10} {page}  space {self.space}, {who:7} {self.letters()}  {allowed}{extra}"


def rights(bits: int) -> str:
    """`read write`, or `nothing`."""
    return " ".join(word for k, word in enumerate(_RIGHTS[::-1]) if bits >> k & 1) or "nothing"


def all_entries(cpu: Any) -> Iterator[Entry]:
    """The valid entries in the order in which they are numbered."""
    return _e500(cpu) if cpu.reg("mmu_kind") else _440(cpu)


def _440(cpu: Any) -> Iterator[Entry]:
    for n in range(UTLB_COUNT):
        tag, place, how = (cpu.reg(f"utlb{word}[{n}]") for word in range(3))
        if not tag >> 9 & 1:
            continue
        size = 0x400 << 2 * (tag >> 4 & 15)
        physical = (place & 15) << 32 | place & 0xFFFFFC00 & ~(size - 1)
        yield Entry(
            f"UTLB {n}", tag & 0xFFFFFC00 & ~(size - 1), size, physical, cpu.reg(f"utlb_tid[{n}]"), tag >> 8 & 1,
            how >> 7 & 31, how & 7, how >> 3 & 7,
        )  # fmt: skip


def _e500(cpu: Any) -> Iterator[Entry]:
    ways = cpu.reg("tlb0_ways")
    for n in range(S.TLB1_FIRST + cpu.reg("tlb1_size")):
        mas1 = cpu.reg(f"etlb_mas1[{n}]")
        if not mas1 >> 31:
            continue
        mas2, mas3, mas7, mas8 = (cpu.reg(f"etlb_mas{k}[{n}]") for k in (2, 3, 7, 8))
        size = 0x400 << 2 * (mas1 >> 8 & 15)
        inside = size - 1
        where = f"TLB1 {n - S.TLB1_FIRST}"
        if n < S.TLB1_FIRST:
            if n % 4 >= ways:
                continue
            where = f"TLB0 {n // 4:3}.{n % 4}"
        yield Entry(
            where, mas2 & 0xFFFFF000 & ~inside, size, mas7 << 32 | mas3 & 0xFFFFF000 & ~inside, mas1 >> 16 & 0xFF,
            mas1 >> 12 & 1, mas2 & 31, _every_second(mas3), _every_second(mas3 >> 1), bool(mas1 >> 30 & 1),
            mas8 & 0x3F, bool(mas8 >> 31), bool(mas8 >> 30 & 1),
        )  # fmt: skip


def _every_second(bits: int) -> int:
    """UX SX UW SW UR SR hold the rights of both states in turn."""
    return bits & 1 | (bits >> 2 & 1) << 1 | (bits >> 4 & 1) << 2


def entries(cpu: Any) -> list[str]:
    """A line for each valid entry."""
    return [entry.text() for entry in all_entries(cpu)] or ["no valid entry"]


def pids(cpu: Any) -> list[int]:
    """The process numbers that entries are compared with."""
    return [cpu.reg(f"pid[{n}]") & 0xFF for n in range(3 if cpu.reg("features") & FEATURES["spe"] else 1)]


def lookup(cpu: Any, ea: int, need: str = "read") -> list[str]:
    """What translates an effective address now, or why nothing does: each entry of the page with what is wrong.

    `need` is read, write or execute."""
    msr = cpu.reg("msr")
    space = msr >> (S.MSR_IS if need == "execute" else S.MSR_DS) & 1
    user = bool(msr >> S.MSR_PR & 1)
    known = pids(cpu)
    names = "/".join(f"{pid:02x}" for pid in known)
    out = [f"{ea:08x} for {'user' if user else 'supervisor'} {need}: space {space}, PID {names}"]
    for entry in all_entries(cpu):
        if not entry.covers(ea):
            continue
        why = []
        if entry.space != space:
            why.append(f"it is for space {entry.space}, not {space}")
        if entry.tid and entry.tid not in known:
            why.append(f"its TID {entry.tid:02x} is not PID {names}")
        if cpu.reg("features") & FEATURES["e500mc"]:
            if entry.guest != bool(msr >> S.MSR_GS & 1):
                why.append("it is for the guest state" if entry.guest else "it is for the hypervisor")
            if entry.partition not in (0, cpu.reg("lpid") & 0x3F):
                why.append(f"its partition {entry.partition} is not LPID {cpu.reg('lpid') & 0x3F}")
        if why:
            out.append(f"{entry.where} has the page, but {' and '.join(why)}")
            continue
        allowed = rights(entry.user if user else entry.supervisor)
        out.append(entry.text())
        if need not in allowed:
            out.append(f"{entry.where} matches, but allows {allowed}")
        else:
            out.append(f"-> {entry.physical + ea - entry.ea:09x} ({describe(entry.attributes)})")
        return out
    if len(out) == 1:
        out.append("no valid entry has this page")
    return out


def describe(attributes: int) -> str:
    """WIMGE in words."""
    words = [_WORDS[c] for k, c in enumerate("WIMGE") if attributes >> (4 - k) & 1]
    return ", ".join(words) or "cached"


def special(cpu: Any, per_line: int = 4) -> list[str]:
    """The special purpose registers of the model with their numbers, in the order of these."""
    has = cpu.reg("features")
    rows = [("xer", 1), ("lr", 8), ("ctr", 9)]
    for row in SPRS.values():
        if row.register is not None and row.readable and (not row.needs or FEATURES[row.needs] & has):
            rows.append((row.name, row.number))
    cells = [f"{name:>8} ({number:4}) {cpu.reg(name):08x}" for name, number in sorted(rows, key=lambda r: r[1])]
    return ["  ".join(cells[k : k + per_line]) for k in range(0, len(cells), per_line)]


def dump(cpu: Any) -> list[str]:
    """What `--dump-tlb` prints."""
    return [*entries(cpu), "", *special(cpu)]
