"""Random guests on the PowerPC boards: device memory, DCRs, SPRs, TLB instructions, and plain random words.

`python -m tests.emu.fuzz_ppc_board [--seconds S] [--seed N] [--cases N] [--engine FILE]`, as `fuzz_board` for the PC.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cores.ppc.decoder import forms
from emu.clock import wall
from tests.emu.fuzz_board import load_engine, options

if TYPE_CHECKING:
    from emu.machine import Machine

BOARDS = ("bamboo", "sam460ex", "ppce500", "mpc8544ds")
CASES_PER_MACHINE = 30
LENGTH = 150
STEPS = 4000
CODE, HANDLER, WINDOW, PAGE = 0x4000, 0x100, 0x80000000, 0x1000
WINDOWS = 12
TLB1_FIRST = 512
SPIN = b"\x48\x00\x00\x00"
# Skips what interrupted: mfsrr0 r31; addi r31, r31, 4; mtsrr0 r31; rfi.
SKIP = (0x7FFA02A6, 0x3BFF0004, 0x7FFA03A6, 0x4C000064)
# Loads and stores of r4 at r3 or r3 + r0: by opcode, and by extended opcode under 31.
ACCESSES = [op << 26 | 4 << 21 | 3 << 16 for op in (32, 34, 36, 38, 40, 42, 44, 46, 47, 48, 50, 52, 54)]
ACCESSES += [
    31 << 26 | 4 << 21 | 3 << 11 | xo << 1
    for xo in (20, 23, 87, 150, 151, 215, 279, 343, 407, 534, 662, 790, 918, 983, 1014, 86, 54, 470, 982)
]
ACCESSES += [4 << 26 | 4 << 21 | 3 << 16 | xo for xo in (769, 771, 773, 801, 803, 805)]


def word(rng: random.Random) -> int:
    """An instruction of some model, or any word."""
    if rng.random() < 0.15:
        return rng.getrandbits(32)
    form = rng.choice(forms())
    return form.value | rng.getrandbits(32) & ~form.mask


def immediate(register: int, value: int) -> list[int]:
    """lis and ori."""
    upper = 15 << 26 | register << 21 | value >> 16 & 0xFFFF
    return [upper, 24 << 26 | register << 21 | register << 16 | value & 0xFFFF]


def number(rng: random.Random) -> int:
    """A value for a register."""
    return rng.choice((0, 0xFFFFFFFF, 1 << rng.randrange(32), *(rng.getrandbits(bits) for bits in (8, 16, 32))))


def halves(n: int) -> int:
    """The number of an SPR or DCR as its field has it."""
    return (n & 31) << 5 | n >> 5


def program(rng: random.Random, dcrs: Sequence[tuple[int, int]]) -> bytes:
    """One guest."""
    style = rng.randrange(3)
    code: list[int] = []
    for _ in range(LENGTH):
        dice = rng.random()
        if dice < (0.6, 0.2, 0.3)[style]:
            at = WINDOW + rng.randrange(WINDOWS) * PAGE + rng.choice((rng.randrange(0x100), rng.randrange(PAGE)))
            code += [*immediate(3, at), *immediate(4, number(rng)), rng.choice(ACCESSES)]
        elif dice < 0.75 and dcrs:
            base, size = rng.choice(dcrs)
            which = base + rng.randrange(size) if rng.random() < 0.9 else rng.randrange(0x400)
            code += [*immediate(4, number(rng)), 31 << 26 | 4 << 21 | halves(which) << 11 | rng.choice((323, 451)) << 1]
        elif dice < 0.85:
            which = rng.choice((rng.randrange(1024), rng.randrange(624, 640), 22, 336, 340, 48, 308, 1012))
            code += [*immediate(4, number(rng)), 31 << 26 | 4 << 21 | halves(which) << 11 | rng.choice((339, 467)) << 1]
        elif style == 2 and dice < 0.93:
            entry = rng.randrange(64) if rng.random() < 0.8 else 0
            code += [*immediate(3, entry), *immediate(4, number(rng))]
            xo = rng.choice((978, 978, 946, 914, 786, 18))
            code.append(31 << 26 | 4 << 21 | 3 << 16 | rng.randrange(3) << 11 | xo << 1)
        else:
            code.append(word(rng))
    return b"".join(w.to_bytes(4, "big") for w in code) + SPIN


def windows(rng: random.Random, machine: Machine) -> dict[str, int | dict[int, int]]:
    """TLB entries: RAM at 0, and pages of what answers in memory."""
    places = [m.base for m in machine.bus._mmio.mappings] + [machine.ram.size - PAGE, machine.ram.size, 1 << 35]
    pages = [(rng.choice(places) & ~(PAGE - 1)) + rng.choice((0, 0, PAGE)) for _ in range(WINDOWS)]
    if machine.cpu.reg("mmu_kind") == 0:
        first = {0: 0x290}, {0: 0}, {0: 0x3F}
        utlb0 = {k + 1: WINDOW + k * PAGE | 0x210 for k in range(WINDOWS)}
        utlb1 = {k + 1: page & 0xFFFFFC00 | page >> 32 for k, page in enumerate(pages)}
        utlb2 = {k + 1: 0x53F for k in range(WINDOWS)}
        return {"utlb0": first[0] | utlb0, "utlb1": first[1] | utlb1, "utlb2": first[2] | utlb2}
    at = TLB1_FIRST + 1
    return {
        "etlb_mas1": {TLB1_FIRST: 0xC0000800} | {at + k: 0x80000100 for k in range(WINDOWS)},
        "etlb_mas2": {TLB1_FIRST: 0} | {at + k: WINDOW + k * PAGE | 0xA for k in range(WINDOWS)},
        "etlb_mas3": {TLB1_FIRST: 0x3F} | {at + k: page & 0xFFFFF000 | 0x3F for k, page in enumerate(pages)},
        "etlb_mas7": {TLB1_FIRST: 0} | {at + k: page >> 32 for k, page in enumerate(pages)},
    }


def build(name: str, folder: Path) -> Machine:
    """A board, switched on."""
    from emu.boards import Setup, board
    from emu.options import parse
    from tests.emu.pc_machine import Sink

    kernel = folder / "code.bin"
    kernel.write_bytes(SPIN)
    config = parse(["-M", name, "-m", "32", "-kernel", str(kernel)])
    machine = board(name)(Setup(config, serial=[Sink(), Sink()]))
    machine.power_on()
    return machine


def case(machine: Machine, seed: int) -> None:
    """Run the guest of a seed on a machine that other guests may have left in any state."""
    rng = random.Random(seed)
    machine.ending = None
    machine.reset()
    dcrs = [(m.base, m.size) for m in machine.bus.dcrs.space.mappings]
    machine.ram.load(CODE, program(rng, dcrs))
    machine.ram.load(HANDLER, b"".join(w.to_bytes(4, "big") for w in SKIP))
    cpu = machine.cpu
    values: dict[str, int | dict[int, int]] = {
        "ivpr": 0,
        "ivor": dict.fromkeys(range(42), HANDLER),
        **windows(rng, machine),
    }
    cpu.load_values(values)  # type: ignore[attr-defined]
    msr = rng.choice((0, 0x8000, 0x1000, 0x4000, 0x2000000, 0x2B200)) & cpu.reg("msr_mask")
    cpu.set_reg("msr", msr)
    cpu.set_reg("pc", CODE)
    for _ in range(rng.choice((1, 1, 3))):
        machine.step(rng.randrange(1, STEPS), until=machine.clock.now() + 20_000_000)
        machine.clock.skip_to(machine.clock.now() + rng.choice((1000, 100_000, 60_000_000, 2_000_000_000)))
        machine.clock.fire()
        for channel in machine.inputs.channels.values():
            channel.put(rng.randbytes(rng.randrange(4)))
            if channel.waiting > 1000:
                channel.clear()


def run(seed: int, *, seconds: float, cases: int | None = None) -> int:
    """Cases from a seed on, board after board, until the time or their number is used up; how many ran."""
    end = wall() + seconds
    done = machines = 0
    with tempfile.TemporaryDirectory() as folder:
        while (done < cases) if cases is not None else (wall() < end):
            machine = build(BOARDS[machines % len(BOARDS)], Path(folder))
            machines += 1
            for number_of_case in range(seed * 1_000_003 + done, seed * 1_000_003 + done + CASES_PER_MACHINE):
                try:
                    case(machine, number_of_case)
                except BaseException:
                    print(f"fuzz_ppc_board: case {number_of_case} on {machine.name}", file=sys.stderr)
                    raise
                done += 1
                if cases is not None and done >= cases:
                    break
    return done


def main(words: Sequence[str]) -> int:
    """See the head of this file."""
    args = options("fuzz_ppc_board").parse_args(list(words))
    logging.disable(logging.CRITICAL)
    if args.engine:
        load_engine(args.engine, "ppc")
    start = wall()
    done = run(args.seed, seconds=args.seconds, cases=args.cases)
    print(json.dumps({"guests": done, "seconds": round(wall() - start, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
