"""Random guests on a whole PC: port and device-memory accesses, PCI ranges that move, and plain random code.

`python -m tests.emu.fuzz_board [--seconds S] [--seed N] [--cases N] [--engine FILE]`: status 0 when nothing went wrong,
1 at the first exception, with the seed that repeats it. `--engine` names another build of the compiled tier, such as
the one with sanitizers that `emu.tools.sanitize` makes.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

from emu.clock import wall

if TYPE_CHECKING:
    from emu.machine import Machine

CASES_PER_MACHINE = 40
LENGTH = 200
STEPS = 2500


def load_engine(path: str, core: str = "x86") -> None:
    """Let this file be the compiled engine of a core; before anything imports it."""
    name = f"emu.engine._{core}"
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))
    if spec is None or spec.loader is None:
        raise OSError(f"{path}: not a Python extension")
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def number(rng: random.Random) -> int:
    """A value for a register of a device."""
    return rng.choice((0, 0xFFFFFFFF, 1 << rng.randrange(32), *(rng.getrandbits(bits) for bits in (8, 16, 32))))


def moves(register: str, value: int) -> bytes:
    """mov eax/ecx/edi/esi/edx, value in 16-bit code."""
    return (
        b"\x66"
        + bytes([0xB8 + ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi").index(register)])
        + (value & 0xFFFFFFFF).to_bytes(4, "little")
    )


def port_access(rng: random.Random, places: Sequence[tuple[int, int]]) -> bytes:
    """IN, OUT, INS or OUTS somewhere, mostly where something answers."""
    base, size = rng.choice(places)
    port = base + rng.randrange(-1, size + 1) if rng.random() < 0.9 else rng.randrange(0x10000)
    code = moves("edx", port & 0xFFFF)
    kind = rng.randrange(10)
    if kind < 7:
        return code + moves("eax", number(rng)) + bytes.fromhex(rng.choice(("ec", "ed", "66ed", "ee", "ef", "66ef")))
    code += moves("ecx", rng.randrange(1, 600)) + moves("esi", rng.randrange(0x9000)) + moves("edi", 0x9000)
    return code + bytes.fromhex(rng.choice(("f36c", "f36d", "f3666d", "f36e", "f36f", "f3666f", "fdf36cfc")))


def memory_access(rng: random.Random, places: Sequence[tuple[int, int]]) -> bytes:
    """A load, a store, a read-modify-write or a block at a 32-bit address; DS and ES span everything."""
    base, size = rng.choice(places)
    near = rng.choice((rng.randrange(size + 4), rng.randrange(min(size, 0x400) + 4), size)) - 2
    at = (base + near if rng.random() < 0.95 else rng.getrandbits(32)) & 0xFFFFFFFF
    where = at.to_bytes(4, "little")
    kind = rng.randrange(8)
    if kind < 6:
        access = rng.choice(("67a0", "67a1", "6667a1", "67a2", "67a3", "6667a3", "6667f705", "f06667ff05", "67fe05"))
        tail = number(rng).to_bytes(4, "little") if access == "6667f705" else b""
        short = access in ("6667f705", "f06667ff05", "67fe05")
        return moves("eax", number(rng)) + bytes.fromhex(access) + where + (tail if short else b"")
    code = moves("ecx", rng.randrange(1, 300)) + moves("eax", number(rng))
    code += moves("esi", at if kind == 6 else rng.randrange(0x9000)) + moves("edi", 0x9000 if kind == 6 else at)
    return code + bytes.fromhex(rng.choice(("f367a4", "f36667a5", "f367aa", "f36667ab", "f367ac", "f367a6", "f367ae")))


def configuration(rng: random.Random) -> bytes:
    """A read or write of PCI configuration space: base addresses and the command register more often than others."""
    device, register = (
        rng.randrange(4),
        rng.choice((0x10, 0x14, 0x20, 0x04, 0x40, 0x59, 0x5A, 0x80, rng.randrange(0x100))),
    )
    address = 1 << 31 | device << 11 | rng.randrange(4) << 8 | register & 0xFC
    moved = rng.choice((0xC000, 0x1F0, 0xFFFFFFFF, 0xE0000000, 0xFEC00000, 0xA0000, 0, number(rng), 7))
    access = rng.choice(("66ef", "66ef", "ef", "ee", "66ed"))
    code = moves("edx", 0xCF8) + moves("eax", address) + bytes.fromhex("66ef")
    return code + moves("edx", 0xCFC + (register & 3)) + moves("eax", moved) + bytes.fromhex(access)


def places_of(machine: Machine) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(base, size) of what answers now, in port space and in memory."""
    ports = [(m.base, m.size) for m in machine.bus._ports.mappings]
    memory = [(m.base, m.size) for m in machine.bus._mmio.mappings]
    return ports, [*memory, (0xC0000, 0x40000), (machine.ram.size - 16, 64), (0xFFFFFFF0, 16)]


def guest(rng: random.Random, machine: Machine) -> bytes:
    """One program."""
    ports, memory = places_of(machine)
    style = rng.randrange(4)
    code = b"\xfb" if rng.random() < 0.4 else b""
    for _ in range(LENGTH):
        dice = rng.random()
        if style == 3 and dice < 0.5:
            code += rng.randbytes(rng.randrange(1, 6))
        elif dice < (0.7, 0.2, 0.4, 0.6)[style]:
            code += port_access(rng, ports)
        elif dice < 0.9:
            code += memory_access(rng, memory)
        else:
            code += configuration(rng)
    return code + b"\xeb\xfe"


def case(machine: Machine, seed: int) -> None:
    """Run the guest of a seed on a machine that other guests may have left in any state."""
    from tests.emu.pc_machine import run_code

    rng = random.Random(seed)
    machine.ending = None
    machine.reset()
    code = guest(rng, machine)
    for name in ("ds", "es"):
        machine.cpu.set_reg(f"{name}.limit", 0xFFFFFFFF)
    run_code(machine, code, 0)
    for name in ("ds", "es"):
        machine.cpu.set_reg(f"{name}.limit", 0xFFFFFFFF)
    for _ in range(rng.choice((1, 1, 3))):
        # A guest that halts with every interrupt masked is left after some virtual time.
        machine.step(rng.randrange(1, STEPS), until=machine.clock.now() + 20_000_000)
        machine.clock.skip_to(machine.clock.now() + rng.choice((1000, 100_000, 60_000_000, 2_000_000_000)))
        machine.clock.fire()
        for channel in machine.inputs.channels.values():
            channel.put(rng.randbytes(rng.randrange(4)))
            if channel.waiting > 1000:
                channel.clear()


def settle(machine: Machine) -> None:
    """After any abuse a reset gives a machine that runs its firmware."""
    machine.ending = None
    machine.reset()
    before = machine.retired
    machine.step(1000)
    if machine.retired == before:
        raise RuntimeError("the machine does not run after a reset")


def run(seed: int, *, seconds: float, cases: int | None = None) -> int:
    """Cases from a seed on, until the time or their number is used up; how many ran."""
    from tests.emu.pc_machine import full_pc

    end = wall() + seconds
    done = 0
    while (done < cases) if cases is not None else (wall() < end):
        machine = full_pc()
        for number_of_case in range(seed * 1_000_003 + done, seed * 1_000_003 + done + CASES_PER_MACHINE):
            try:
                case(machine, number_of_case)
            except BaseException:
                first = number_of_case - (number_of_case - seed * 1_000_003) % CASES_PER_MACHINE
                print(f"fuzz_board: case {number_of_case} on the machine of {first}", file=sys.stderr)
                raise
            done += 1
            if cases is not None and done >= cases:
                break
        settle(machine)
    return done


def options(prog: str) -> argparse.ArgumentParser:
    """The command line of this program and of its PowerPC sister."""
    parser = argparse.ArgumentParser(prog=prog, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--engine", metavar="FILE")
    return parser


def main(words: Sequence[str]) -> int:
    """See the head of this file."""
    args = options("fuzz_board").parse_args(list(words))
    logging.disable(logging.CRITICAL)
    if args.engine:
        load_engine(args.engine)
    start = wall()
    done = run(args.seed, seconds=args.seconds, cases=args.cases)
    print(json.dumps({"guests": done, "seconds": round(wall() - start, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
