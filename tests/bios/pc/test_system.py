from __future__ import annotations

import itertools

import pytest

from bios.pc.host import Action
from bios.pc.memory_map import memory_map
from bios.plan import ACPI_DATA, RAM
from tests.bios.fake_host import FakeHost, Machine

SMAP = 0x534D4150


def e820(pc: Machine) -> list[tuple[int, int, int]]:
    found, index = [], 0
    while True:
        pc.interrupt(0x15, eax=0xE820, ebx=index, ecx=20, edx=SMAP, es=0x500, di=0)
        assert not pc.carry
        assert (pc.host.reg("eax"), pc.host.reg("ecx")) == (SMAP, 20)
        raw = bytes(pc.host.ram[0x5000:0x5014])
        found.append(
            (int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:16], "little"), int.from_bytes(raw[16:], "little"))
        )
        index = pc.host.reg("ebx")
        if index == 0:
            return found


def test_e820_walks_the_whole_memory_map() -> None:
    pc = Machine(FakeHost(8 << 20))
    assert e820(pc) == [(entry.start, entry.size, entry.kind) for entry in memory_map(8 << 20)]


@pytest.mark.parametrize("mib", [1, 2, 4, 16, 64, 3584])
def test_ranges_are_in_order_apart_and_inside_ram(mib: int) -> None:
    ranges = memory_map(mib << 20)
    for before, after in itertools.pairwise(ranges):
        assert before.end <= after.start
    usable = [entry for entry in ranges if entry.kind in (RAM, ACPI_DATA)]
    assert all(entry.end <= mib << 20 for entry in usable)


@pytest.mark.parametrize(("edx", "ebx", "ecx"), [(0, 0, 20), (SMAP, 99, 20), (SMAP, 0, 19)])
def test_e820_refuses_what_it_does_not_know(edx: int, ebx: int, ecx: int) -> None:
    pc = Machine()
    pc.interrupt(0x15, eax=0xE820, ebx=ebx, ecx=ecx, edx=edx, es=0x500, di=0)
    assert (pc.carry, pc.ah) == (True, 0x86)


def test_memory_sizes_agree_with_the_map() -> None:
    pc = Machine(FakeHost(64 << 20))
    usable = next(entry for entry in memory_map(64 << 20) if entry.start == 0x100000).size
    pc.interrupt(0x15, ah=0x88)
    assert pc.ax == usable >> 10
    pc.interrupt(0x15, ax=0xE801)
    assert (pc.ax, pc.cx) == (0x3C00, 0x3C00)
    assert pc.bx == pc.dx == (usable - 0xF00000) >> 16
    pc.interrupt(0x12)
    assert pc.ax == 639


def test_ah_88_stops_at_63_mib() -> None:
    pc = Machine(FakeHost(128 << 20))
    pc.interrupt(0x15, ah=0x88)
    assert pc.ax == 0xFC00


def test_the_equipment_word_comes_from_the_data_area() -> None:
    pc = Machine()
    pc.poke(0x410, b"\x34\x12")
    pc.interrupt(0x11)
    assert pc.ax == 0x1234


def test_a20_is_switched_through_port_92h() -> None:
    pc = Machine()
    pc.host.ports[0x92] = 0x00
    pc.interrupt(0x15, ax=0x2401)
    assert pc.host.ports[0x92] == 0x02
    pc.interrupt(0x15, ax=0x2402)
    assert (pc.al, pc.ah, pc.carry) == (1, 0, False)
    pc.interrupt(0x15, ax=0x2400)
    assert pc.host.ports[0x92] == 0x00
    pc.interrupt(0x15, ax=0x2403)
    assert pc.bx == 3


def descriptor(base: int) -> bytes:
    return b"\xff\xff" + base.to_bytes(4, "little")[:3] + b"\x93\x00" + (base >> 24).to_bytes(1, "little")


def test_a_block_move_copies_physical_memory() -> None:
    pc = Machine()
    pc.poke(0x200000, b"0123456789")
    pc.poke(0x5000, bytes(16) + descriptor(0x200000) + descriptor(0x300000))
    pc.interrupt(0x15, ah=0x87, cx=4, es=0x500, si=0)
    assert (pc.ah, pc.carry, pc.zero) == (0, False, True)
    assert pc.host.ram[0x300000:0x30000A] == b"01234567\0\0"


def test_a_block_move_of_more_than_64_kib_is_refused() -> None:
    pc = Machine()
    pc.interrupt(0x15, ah=0x87, cx=0x8001, es=0x500, si=0)
    assert pc.carry


def tick_rtc(pc: Machine, times: int) -> None:
    for _ in range(times):
        pc.host.indexed[(0x70, 0x0C)] = 0x40
        pc.hook("irq8")


def test_waiting_takes_as_many_rtc_periods_as_the_time_has() -> None:
    pc = Machine()
    assert pc.interrupt(0x15, ah=0x86, cx=0, dx=3000) is Action.WAIT
    assert pc.host.indexed[(0x70, 0x0B)] & 0x40
    tick_rtc(pc, 3)
    assert pc.interrupt(0x15, resumed=True, ah=0x86) is Action.WAIT
    tick_rtc(pc, 1)
    assert pc.interrupt(0x15, resumed=True, ah=0x86) is Action.CONTINUE
    assert not pc.carry
    assert not pc.host.indexed[(0x70, 0x0B)] & 0x40


def test_a_second_wait_is_refused_while_one_runs() -> None:
    pc = Machine()
    pc.interrupt(0x15, ah=0x83, al=0, cx=1, dx=0, es=0x500, bx=0)
    assert not pc.carry
    assert pc.interrupt(0x15, ah=0x86, cx=0, dx=1000) is Action.CONTINUE
    assert pc.carry


def test_an_event_wait_sets_the_programs_flag() -> None:
    pc = Machine()
    pc.interrupt(0x15, ax=0x8300, cx=0, dx=900, es=0x500, bx=0x10)
    tick_rtc(pc, 1)
    assert pc.host.ram[0x5010] == 0x80


def test_a_cancelled_event_wait_never_sets_it() -> None:
    pc = Machine()
    pc.interrupt(0x15, ax=0x8300, cx=0, dx=900, es=0x500, bx=0x10)
    pc.interrupt(0x15, ax=0x8301)
    tick_rtc(pc, 2)
    assert pc.host.ram[0x5010] == 0


def test_the_configuration_table_says_pc_at() -> None:
    pc = Machine()
    pc.interrupt(0x15, ah=0xC0)
    at = pc.es * 16 + pc.bx
    assert pc.host.ram[at : at + 4] == b"\x08\x00\xfc\x00"


def test_the_ebda_is_the_last_kib_of_base_memory() -> None:
    pc = Machine()
    pc.interrupt(0x15, ah=0xC1)
    assert pc.es == 0x9FC0
    assert pc.host.ram[0x9FC00] == 1


@pytest.mark.parametrize("ax", [0xC200, 0x8400, 0xFF00, 0xE881])
def test_what_is_not_there_answers_86h(ax: int) -> None:
    pc = Machine()
    pc.interrupt(0x15, ax=ax)
    assert (pc.carry, pc.ah) == (True, 0x86)


def test_the_key_intercept_returns_the_scan_code_with_carry() -> None:
    pc = Machine()
    pc.interrupt(0x15, ax=0x4F1E)
    assert (pc.carry, pc.al) == (True, 0x1E)
