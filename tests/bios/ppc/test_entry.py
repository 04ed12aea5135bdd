from __future__ import annotations

import pytest

from bios.ppc.entry import enter_440, enter_e500, mapping_size

MIB = 1 << 20


def test_the_440_is_entered_with_256_mib_of_ram_for_the_supervisor() -> None:
    state = dict(enter_440(0x100, 0x1800000, ram_size=64 * MIB))
    assert state["utlb0[0]"] == 0x00000000 | 0x200 | 9 << 4  # EPN 0, valid, 256 MiB
    assert state["utlb1[0]"] == 0
    assert state["utlb2[0]"] == 7
    assert (state["pc"], state["r3"], state["r6"], state["r7"]) == (0x100, 0x1800000, 0x45504150, 256 * MIB)
    assert (state["r1"], state["r4"], state["r5"], state["r8"], state["r9"]) == (16 * MIB - 8, 0, 0, 0, 0)
    assert state["msr"] == 0
    assert "utlb0[1]" not in state


def test_devices_of_a_440_may_be_mapped_too() -> None:
    state = dict(enter_440(0, 0, ram_size=64 * MIB, devices=0x4E0000000))
    assert (state["utlb0[1]"], state["utlb1[1]"]) == (0xE0000290, 0xE0000004)
    assert state["utlb2[1]"] & 0xF80 == 0x500


def test_the_e500_is_entered_with_one_protected_entry_of_tlb1() -> None:
    state = dict(enter_e500(0, 0x2800000, 0x5000000, ram_size=512 * MIB))
    assert state["etlb_mas1[512]"] == 0xC0000000 | 9 << 8  # 4**9 KiB
    assert state["etlb_mas3[512]"] == 0x3F
    assert (state["r3"], state["r4"], state["r5"], state["r6"]) == (0x2800000, 0, 0, 0x45504150)
    assert (state["r7"], state["r8"], state["r9"]) == (256 * MIB, 0, 0)


@pytest.mark.parametrize(("end", "size"), [(1, 64), (64 * MIB, 64), (64 * MIB + 1, 256), (300 * MIB, 1024)])
def test_the_mapping_covers_all_that_was_loaded(end: int, size: int) -> None:
    assert mapping_size(end) == size * MIB


def test_the_stack_is_in_ram() -> None:
    assert dict(enter_440(0, 0, ram_size=8 * MIB))["r1"] == 8 * MIB - 8
