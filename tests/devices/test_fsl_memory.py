"""MPC85xx registers around memory: local access windows, coherency module, DDR, local bus, L2; the spin table."""

from __future__ import annotations

import pytest

from devices.fsl_ddr import FslDdr
from devices.fsl_ecm import FslEcm
from devices.fsl_l2 import FslL2
from devices.fsl_law import FslLaw
from devices.fsl_lbc import FslLbc
from devices.spin_table import SIZE, SpinTable


def test_ccsrbar_says_where_the_registers_are_in_36_bits():
    assert FslLaw(base=0xE000_0000).read(0, 4) == 0x000E_0000
    assert FslLaw(base=0xF_E000_0000).read(0, 4) == 0x00FE_0000


def test_moving_the_registers_is_named_and_not_done(caplog):
    law = FslLaw(base=0xE000_0000)
    law.write(0, 4, 0x000E_0000)
    assert caplog.messages == []
    law.write(0, 4, 0x000F_0000)
    assert law.read(0, 4) == 0x000E_0000
    assert caplog.messages == ["fsl-law: CCSRBAR: moving the registers not modelled"]


@pytest.mark.parametrize("n", [0, 9])
def test_a_local_access_window_keeps_base_target_and_size(n):
    law = FslLaw(base=0xE000_0000)
    law.write(0xC08 + 0x20 * n, 4, 0xFF0C_0000)
    law.write(0xC10 + 0x20 * n, 4, 0xFFFF_FFFF)
    assert law.read(0xC08 + 0x20 * n, 4) == 0x000C_0000
    assert law.read(0xC10 + 0x20 * n, 4) == 0x81F0_003F


def test_chip_select_0_has_all_of_memory():
    ddr = FslDdr(memory=512 << 20)
    assert ddr.read(0x00, 4) == 0x0000_001F
    assert ddr.read(0x80, 4) == 0x8000_0000
    assert ddr.read(0x110, 4) & 0x8000_0000
    ddr.write(0x00, 4, 0)
    ddr.reset()
    assert ddr.read(0x00, 4) == 0x0000_001F


def test_what_the_memory_controller_is_told_to_do_is_done_when_asked_for():
    ddr = FslDdr(memory=1 << 28)
    ddr.write(0x114, 4, 0x0440_1010)
    ddr.write(0x120, 4, 0x8000_0001)
    assert (ddr.read(0x114, 4), ddr.read(0x120, 4)) == (0x0440_1000, 1)


def test_the_l2_cache_says_its_size_and_is_invalidated_at_once():
    l2 = FslL2()
    l2.write(0, 4, 0xFFFF_0000 & ~0x0007_0000)
    assert l2.read(0, 4) == 0x9FF8_0000


def test_errors_are_cleared_by_writing_1():
    for dev, offset, name in (
        (FslL2(), 0xE40, "L2ERRDET"),
        (FslDdr(memory=0), 0xE40, "ERR_DETECT"),
        (FslEcm(), 0xE00, "EEDR"),
        (FslLbc(), 0xB0, "LTESR"),
    ):
        dev.registers[name] = 0x8000_0005
        dev.write(offset, 4, 0x8000_0001)
        assert dev.read(offset, 4) == 4


def test_only_the_boot_flash_has_a_valid_chip_select_on_the_local_bus():
    lbc = FslLbc()
    assert [lbc.read(8 * n, 4) & 1 for n in range(8)] == [1, 0, 0, 0, 0, 0, 0, 0]
    lbc.write(8, 4, 0xFF80_1001)
    assert (lbc.read(8, 4), lbc.read(0xD4, 4) & 0x1F) == (0xFF80_1001, 8)


def test_the_processor_may_use_the_coherency_bus():
    assert FslEcm().read(0x10, 4) == 0x0100_0000


def test_an_entry_of_the_spin_table_waits_and_names_its_processor():
    spin = SpinTable()
    assert [spin.read(0x60 + at, 4) for at in range(0, 0x20, 4)] == [0, 1, 0, 3, 0, 3, 0, 0]
    spin.write(0x64, 4, 0x1234_5678)
    assert [spin.read(0x64 + at, 1) for at in range(4)] == [0x12, 0x34, 0x56, 0x78]
    spin.write(SIZE - 2, 2, 0xABCD)
    assert spin.read(SIZE - 1, 1) == 0xCD
    spin.reset()
    assert spin.read(0x64, 4) == 1
