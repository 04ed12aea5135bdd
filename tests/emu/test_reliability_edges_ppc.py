"""The edges of memory on the PowerPC boards (A12): what a guest's load or store finds around every border of the map.

Where nobody answers, a load gives all ones and the board raises a machine check, behind the access; in PCI windows
there are the ones alone. The map is that of the device trees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bios.ppc import trees
from cores.ppc import state as S
from cores.ppc.decoder import encode
from emu.machine import Machine
from tests.emu.test_boards_ppc import BOARDS, machine

pytest.importorskip("emu.engine._ppc")

CODE, STRIDE, EA = 0x4000, 0x20, 0x40000000
RAM, LARGE = 64 << 20, 16 << 20
M32 = 0xFFFFFFFF
NEAR = 17
LOADS = {"lbz": 1, "lhz": 2, "lwz": 4, "lhbrx": 2, "lwbrx": 4, "lfd": 8}
STORES = {"stb": 1, "sth": 2, "stw": 4, "sthbrx": 2, "stwbrx": 4, "stfd": 8}
DATA = 0x1122334455667788


def windows(name: str) -> list[tuple[int, int]]:
    """(from, to) of what PCI shows to the processor."""
    if name in ("bamboo", "sam460ex"):
        board = trees.BAMBOO if name == "bamboo" else trees.CANYONLANDS
        found = [*board.windows, *(window for port in board.pcie for window in port.windows)]
    else:
        e500 = trees.MPC8544DS if name == "mpc8544ds" else trees.PPCE500
        found = [e500.pci_memory, e500.pci_io]
    return [(w.address, w.address + w.size) for w in found]


class Guest:
    """A board whose guest makes single accesses; two large pages lead to both sides of an edge."""

    def __init__(self, made: Machine, name: str, edge: int) -> None:
        cpu: Any = made.cpu
        self.made, self.cpu = made, cpu
        self.model = self.cpu.model
        self.windows = windows(name)
        self.below = (edge - 1) & -LARGE
        pages = [(0, 0), (EA, self.below), (EA + LARGE, self.below + LARGE)]
        if self.model.has("440"):
            self.cpu.load_values({
                "utlb0": {**dict.fromkeys(range(64), 0), **{k: ea | 0x270 for k, (ea, _) in enumerate(pages)}},
                "utlb1": {k: (real & M32) | real >> 32 for k, (_, real) in enumerate(pages)},
                "utlb2": dict.fromkeys(range(3), 0x3F),
            })  # fmt: skip
            return
        first = S.TLB1_FIRST
        self.cpu.load_values({
            "etlb_mas1": {**dict.fromkeys(range(576), 0), **dict.fromkeys(range(first, first + 3), 0xC0000700)},
            "etlb_mas2": {first + k: ea for k, (ea, _) in enumerate(pages)},
            "etlb_mas3": {first + k: (real & M32) | 0x3F for k, (_, real) in enumerate(pages)},
            "etlb_mas7": {first + k: real >> 32 for k, (_, real) in enumerate(pages)},
        })  # fmt: skip

    def answers(self, at: int) -> bool:
        """Whether an access to a byte is no bus error."""
        return at < RAM or any(low <= at < high for low, high in self.windows)

    def start(self, pc: int, **more: Any) -> None:
        self.cpu.load_values({
            "pc": pc, "msr": 1 << S.MSR_ME | (1 << S.MSR_FP & self.model.msr_mask), "ivpr": 0, "pins": 0, "mcsr": 0,
            "ivor": {n: STRIDE * n for n in range(42)}, "tcr": 0, "fpr": {9: DATA}, **more,
        })  # fmt: skip

    def access(self, op: str, at: int) -> tuple[bool, int]:
        """One access; whether a machine check came behind it, and what the register became."""
        cpu, made = self.cpu, self.made
        made.ram.view[RAM - 64 : RAM] = b"\x5a" * 64
        target = ("frs" if op == "stfd" else "rs") if op in STORES else "frt" if op == "lfd" else "rt"
        code = [encode(op, **{target: 9, "ra": 3, **({"rb": 7} if op.endswith("x") else {})}), 0x60000000]
        made.ram.load(CODE, b"".join(word.to_bytes(4, "big") for word in code))
        self.start(CODE, gpr={3: EA + at - self.below, 7: 0, 9: DATA & M32})
        before = len(cpu.exceptions())
        made.step(1)
        assert cpu.reg("pc") == CODE + 4, f"{op} at {at:#x}: pc {cpu.reg('pc'):#x}"
        value = int(cpu.reg("f9" if op == "lfd" else "r9"))
        made.step(1)
        if cpu.reg("pc") == CODE + 8:
            return False, value
        story = cpu.exceptions()[-1]
        assert (story["vector"], story["kind"], story["pc"]) == (S.MACHINE_CHECK, 2, CODE + 4), f"{op} at {at:#x}"
        assert before < 16 or story["icount"] == cpu.icount
        return True, value


def edges(name: str) -> list[int]:
    """The end of RAM, and both ends of each window."""
    return sorted({RAM, *(edge for window in windows(name) for edge in window)})


@pytest.mark.parametrize("name", BOARDS)
def test_accesses_around_every_edge_of_a_board(name: str, tmp_path: Path) -> None:
    made = machine(tmp_path, name)
    seen = set()
    for edge in edges(name):
        guest = Guest(made, name, edge)
        around = [edge + k for k in range(-NEAR, NEAR + 8)]
        if any(at >= 1 << 36 or made.bus.find("memory", at) is not None for at in around):
            continue  # a device: what it says is its own business
        seen.add(edge)
        for at in around[:-8]:
            for op, size in (*LOADS.items(), *STORES.items()):
                if size == 8 and not guest.model.has("fpu"):
                    continue
                what = f"{op} at {at:#x}"
                checked, value = guest.access(op, at)
                assert checked != all(guest.answers(at + k) for k in range(size)), what
                order: Any = "little" if op.endswith("brx") else "big"
                before = bytes(0x5A if at + k < RAM else 0xFF for k in range(size))
                end = bytearray(b"\x5a" * 64)
                if op in LOADS:
                    assert value == int.from_bytes(before, order), what
                else:
                    data = (DATA & (1 << 8 * size) - 1).to_bytes(size, order)
                    for k, b in enumerate(data):
                        if RAM - 64 <= at + k < RAM:
                            end[at + k - RAM] = b
                assert bytes(made.ram.view[RAM - 64 : RAM]) == end, what
    assert RAM in seen and len(seen) > 2


@pytest.mark.parametrize("name", BOARDS)
def test_code_where_nobody_answers_ends_in_a_machine_check(name: str, tmp_path: Path) -> None:
    made = machine(tmp_path, name)
    guest = Guest(made, name, RAM)
    guest.start(EA + LARGE + 0x100)
    made.ram.load(0, b"\x48\x00\x00\x00".ljust(STRIDE, b"\0") * 42)
    made.step(4)
    assert guest.cpu.exceptions()[-1]["vector"] == S.MACHINE_CHECK
    assert guest.cpu.reg("pc") == STRIDE * S.MACHINE_CHECK
