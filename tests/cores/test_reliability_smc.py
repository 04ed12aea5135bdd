"""Code that changes (A6): every kind of writer, at every distance, for many rounds.

A loop writes the operand of an instruction ahead of the writer, or behind it, then runs it and adds up what it loaded:
each round must see its own byte. The sum is known beforehand, and both tiers must agree all the way.
EMU_RELIABILITY_FULL takes more distances and rounds.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cores.x86 import state as S
from emu.cpu import Exit
from emu.memory import Dma
from tests.cores import twins as T
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

ALL = T.P | T.W | T.U | 0x60
BASE, AFAR = 0x20000, 0x38000
SCRATCH = 0x30000
PORT = 0x66
DISTANCES = (0, 1, 3, 14, 31, 64, 130, 700) if not T.FULL else (*range(70), 128, 130, 255, 700, 2000, 4000)
ROUNDS = 400 if T.FULL else 40


def word(value: int) -> str:
    return (value & 0xFFFFFFFF).to_bytes(4, "little").hex()


# What stores AL over the byte at linear address `at`; EBX, ECX, ESI, EDI and EBP are free, and so is the x87 and MMX.
MERGE = "8b1d{at} 88c3"  # mov ebx, [at]; mov bl, al
WRITERS = {
    "mov": "a2{at}",
    "mov through a register": "bf{at} 8807",
    "mov of a word": "668b1d{at} 88c3 66891d{at}",
    "mov of a doubleword": MERGE + "891d{at}",
    "stos": "bf{at} aa",
    "rep stos": "bf{at} b901000000 f3aa",
    "movs": "a2{scratch} be{scratch} bf{at} a4",
    "rep movs": "a2{scratch} be{scratch} bf{at} b901000000 f3a4",
    "rep movs over itself": "a2{at} be{here} bf{here} b940000000 f3a4",
    "xchg": "88c3 861d{at}",
    "add": "88c3 2a1d{at} 001d{at}",
    "lock xor": "88c3 321d{at} f0301d{at}",
    "cmpxchg": "88c3 88c7 a0{at} 0fb01d{at} 88f8",
    "neg twice": "a2{at} f61d{at} f61d{at}",
    "inc": "88c3 fecb 881d{at} fe05{at}",
    "bts and xor": "88c3 80f301 881d{at} 0fba3d{at}00",
    "shl": "88c3 d0c3 881d{at} d00d{at}",
    "push": MERGE + "89e5 bc{behind} 53 89ec",
    "fistp": MERGE + "891d{scratch} db05{scratch} db1d{at}",
    "fstp": MERGE + "891d{scratch} 8b1d{behind} 891d{beside} dd05{scratch} dd1d{at}",
    "movd": MERGE + "0f6ec3 0f7e05{at} 0f77",
    "movups": "0f1005{at} 0f1105{scratch} a2{scratch} 0f1005{scratch} 0f1105{at}",
    "movntps": "0f1005{line} 0f1105{scratch} a2{inline} 0f2805{scratch} 0f2b05{line}",
    "a device by DMA": "e6" + f"{PORT:02x}",
    "a page of other code": "a2{other}",
}


def hexes(template: str, **names: int) -> bytes:
    for name, value in names.items():
        template = template.replace("{" + name + "}", word(value))
    return bytes.fromhex(template.replace(" ", ""))


class Program:
    """The loop for one writer: where it lies, what it adds up."""

    def __init__(self, writer: str, distance: int, place: int, *, alias: int = 0, behind: bool = False) -> None:
        self.place = place
        code, at = self._layout(writer, distance, 0, alias, behind)
        for _ in range(2):
            code, at = self._layout(writer, distance, at, alias, behind)
        self.code, self.operand, self.behind = code, at, behind

    def _layout(self, writer: str, distance: int, at: int, alias: int, behind: bool) -> tuple[bytes, int]:
        """Code and the address of the operand, if that lay at `at`."""
        start = bytes.fromhex("b801000000 31d2".replace(" ", ""))
        value = bytes.fromhex("6bc005 83c007 25ffffff00".replace(" ", ""))  # imul eax, 5; add eax, 7; and eax, FFFFFFh
        target, add = b"\xb3\0", bytes.fromhex("0fb6db 01da".replace(" ", ""))  # mov bl, 0; movzx ebx, bl; add edx, ebx
        target += b"\x90" * 14  # stores of up to 16 bytes stay within it
        seen = at + alias
        line = seen & ~15
        names = {
            "at": seen,
            "behind": seen + 4,
            "here": self.place,
            "scratch": SCRATCH,
            "beside": SCRATCH + 4,
            "line": line,
            "other": seen,
        }
        write = hexes(WRITERS[writer], **names, inline=SCRATCH + (seen & 15))
        filler = b"\x90" * distance
        count = bytes.fromhex(f"ff0d{word(SCRATCH + 64)}")
        if behind:
            body = target + add + filler + value + write + count
            operand = len(start) + 1
        else:
            body = value + write + filler + target + add + count
            operand = len(start + value + write + filler) + 1
        jump = b"\x0f\x85" + (-(len(body) + 6) & 0xFFFFFFFF).to_bytes(4, "little")
        return start + body + jump + b"\xf4", self.place + operand

    def total(self, rounds: int) -> int:
        """What EDX holds in the end."""
        total, value, shown = 0, 1, 0
        for _ in range(rounds):
            value = (value * 5 + 7) & 0xFFFFFF
            total += shown if self.behind else value & 0xFF
            shown = value & 0xFF
        return total & 0xFFFFFFFF


def run(
    writer: str, distance: int, offset: int, *, alias: bool = False, behind: bool = False, split: bool = False
) -> None:
    """One program on both tiers, in pieces of odd lengths."""
    what = f"{writer}, {distance} apart at {offset:#x}, alias {alias}, behind {behind}, split {split}"
    both = twins()
    p = Program(
        writer, distance, (T.WINDOW if split else BASE) + offset, alias=BASE_TO_WINDOW if alias else 0, behind=behind
    )
    # `split`: the pages of the window lie in frames that are not neighbours.
    frames = [AFAR, BASE] if split else [BASE, BASE + 0x1000]
    memory = {
        T.WINDOW_TABLE: T.entries(frame | ALL for frame in (*frames, BASE + 0x2000)),
        SCRATCH + 64: word_bytes(ROUNDS),
    }
    if split:
        memory[AFAR + offset] = p.code[: 0x1000 - offset]
        memory[BASE] = p.code[0x1000 - offset :]
    else:
        memory[BASE + offset] = p.code
    state = flat_state(0, eip=p.place)
    state["fctrl"] = 0x37F
    physical = p.operand if not split else frames[p.operand - T.WINDOW >> 12] + (p.operand & 0xFFF)
    both.start(memory, state)
    for k, bus in enumerate(both.buses):
        dma = Dma(both.rams[k])
        bus.on_port = lambda _bus, _port, value, dma=dma: dma.write(physical, bytes([value & 0xFF]))
    rng = Random(distance * 4099 + offset)
    left = ROUNDS * (distance + 120)
    while left > 0:
        count = 1 + rng.randrange(300)
        reasons = both.run(count)
        assert reasons[0] == reasons[1], what
        left -= count
        if reasons[0] == Exit.HALT:
            break
    assert both.difference() == "", what
    assert both.cpus[0].halted, what
    assert both.cpus[0].exceptions() == [], what
    assert both.cpus[0].reg("edx") == p.total(ROUNDS), what


BASE_TO_WINDOW = T.WINDOW - BASE


def word_bytes(value: int) -> bytes:
    return value.to_bytes(4, "little")


@pytest.fixture(autouse=True)
def _no_device(tiers: object) -> Any:
    yield
    for bus in twins().buses:
        bus.on_port = None


@pytest.mark.parametrize("writer", WRITERS)
def test_new_bytes_run_at_once_whoever_wrote_them(writer: str) -> None:
    for distance in (0, 3, 57):
        run(writer, distance, 0x100)
    run(writer, 8, 0x100, alias=True)
    run(writer, 8, 0x100, behind=True)


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
def test_new_bytes_run_at_once_at_every_distance_and_across_pages(writer: str) -> None:
    for distance in DISTANCES:
        for behind in (False, True):
            for alias in (False, True):
                run(writer, distance, 0x40, alias=alias, behind=behind)
                # The writer before a page edge, the target behind it.
                run(writer, distance, 0x1000 - 40 - min(distance, 60), alias=alias, behind=behind)
            run(writer, distance, 0x1000 - 30, behind=behind, split=True)


def halting(code: str, **names: int) -> tuple[T.Twins, dict[int, bytes]]:
    both = twins()
    return both, {BASE: hexes(code, **names) + b"\xf4"}


@pytest.mark.parametrize("length", range(1, 8))
def test_an_instruction_that_overwrites_itself_runs_as_it_was_fetched(length: int) -> None:
    # mov dword [BASE + length - 4], 90909090h: lies over its own last bytes, or behind itself.
    both, memory = halting("c705{at}41424344 9090909090", at=BASE + 3 + length)
    both.start(memory, flat_state(0, paging=False, eip=BASE))
    both.run(1)
    assert both.difference() == ""
    assert both.memory(BASE + 3 + length, 4) == bytes.fromhex("41424344")
    assert both.cpus[0].reg("eip") == BASE + 10
    both.run(8)
    assert both.difference() == ""


def test_the_host_may_change_code_between_any_two_instructions() -> None:
    both = twins()
    for at in range(8):
        both.start({BASE: b"\x40" * 8 + b"\xf4"}, flat_state(0, eip=BASE))
        both.run(at)
        for k, cpu in enumerate(both.cpus):
            if at % 3 == 0:
                cpu.write_linear(BASE + at, b"\x48")
            elif at % 3 == 1:
                both.rams[k].load(BASE + at, b"\x48")
            else:
                Dma(both.rams[k]).write(BASE + at, b"\x48")
        both.run(20)
        assert both.difference() == ""
        assert both.cpus[0].reg("eax") == 6


def test_a_loaded_state_does_not_bring_old_code_back() -> None:
    both = twins()
    both.start({BASE: b"\x40\x40\xeb\xfc"}, flat_state(0, eip=BASE))
    both.run(50)
    for k, cpu in enumerate(both.cpus):
        saved = cpu.state()
        both.rams[k].load(BASE, b"\x48\x48\xf4")
        cpu.load_state({**saved, "eip": BASE, "gpr": [7, *saved["gpr"][1:]]})
    both.run(50)
    assert both.difference() == ""
    assert both.cpus[0].reg("eax") == 5


@pytest.mark.parametrize("how", ["invlpg", "cr3", "a20", "accessed bit"])
def test_code_follows_the_page_tables(how: str) -> None:
    both = twins()
    one, two = 0x28000, 0x29000
    entry = T.WINDOW_TABLE
    # call window; change the entry; flush; call window again; hlt
    flush = {"invlpg": "0f013d{window}", "cr3": "0f20d9 0f22d9", "a20": "90", "accessed bit": "0f013d{window}"}[how]
    code = hexes("bb{window} ffd3 c705{entry}{new} " + flush + " ffd3 f4", window=T.WINDOW, entry=entry, new=two | ALL)
    memory = {
        BASE: code,
        one: b"\x40\xc3",
        two: b"\x83\xc0\x10\xc3",
        entry: T.entries([one | ALL & ~(0x20 if how == "accessed bit" else 0)]),
    }
    both.start(memory, flat_state(0, eip=BASE))
    both.run(5 if how == "a20" else 30)
    if how == "a20":
        for cpu in both.cpus:
            cpu.set_a20(False)
        both.run(30)
    assert both.difference() == ""
    assert both.cpus[0].reg("eax") == 0x11


def test_a_page_table_that_is_also_code_stays_both() -> None:
    """The entry of the window's first page is an instruction too; walking sets its accessed bit."""
    both = twins()
    entry = 0x28047  # inc edi; add byte [edx], 0
    memory = {
        BASE: hexes(
            "bb{table} ba{scratch} ffd3 a1{window} ffd3 f4", table=T.WINDOW_TABLE, scratch=SCRATCH, window=T.WINDOW
        ),
        T.WINDOW_TABLE: T.entries([entry, 0x00C3C3C3]),
        SCRATCH: b"\x01\x02\x03\x04" * 8,
    }
    both.start(memory, flat_state(0, eip=BASE))
    for _ in range(12):
        both.run(1)
        assert both.difference() == ""
    assert both.memory(T.WINDOW_TABLE, 1)[0] & 0x20


def test_decoded_code_outlives_ten_thousand_changes() -> None:
    both = twins()
    interp = both.cpus[0]
    before = interp.stats()
    both.start({BASE: hexes("b910270000 880d{at} b300 01da e2f4 f4", at=BASE + 12)}, flat_state(0, eip=BASE))
    assert interp.run(100_000) == Exit.HALT
    after = interp.stats()
    assert interp.reg("edx") == sum(k & 0xFF for k in range(1, 10_001))
    assert after["page_invalidations"] - before["page_invalidations"] >= 9_000
    assert after["code_cache_bytes"] < 64 << 20
    assert interp.state()["gpr"][S.ECX] == 0
