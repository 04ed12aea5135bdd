"""Configuration mechanism 1 and the functions of the chip set, through the ports that guests use."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.pci import Bar, I440fx, PciFunction, PciHost, Piix3Ide, Piix3Isa, Piix4Pm, link_of


class Machine:
    def __init__(self, lines):
        self.reset_line = lines()
        self.irqs = {}
        self.shadows = []
        self.moves = []
        self.host = PciHost(reset_line=self.reset_line)
        self.bridge = I440fx(shadow=lambda *args: self.shadows.append(args))
        self.isa = Piix3Isa(irq_source=lambda irq: self.irqs.setdefault(irq, lines()))
        self.ide = Piix3Ide(bus_master=lambda base: self.moves.append(("bm", base)))
        self.pm = Piix4Pm(
            moved=lambda base: self.moves.append(("pm", base)),
            smbus_moved=lambda base: self.moves.append(("smb", base)),
        )
        self.host.add(0, 0, self.bridge)
        self.host.add(1, 0, self.isa)
        self.host.add(1, 1, self.ide)
        self.host.add(1, 3, self.pm)

    def select(self, slot, function, register):
        self.host.write_address(0, 4, 0x80000000 | slot << 11 | function << 8 | register & 0xFC)
        return register & 3

    def read(self, slot, function, register, width=4):
        return self.host.read_data(self.select(slot, function, register), width)

    def write(self, slot, function, register, value, width=4):
        self.host.write_data(self.select(slot, function, register), width, value)


@pytest.fixture
def machine(lines):
    return Machine(lines)


def test_a_scan_finds_the_chip_set_and_nothing_else(machine):
    found = {}
    for slot in range(32):
        for function in range(8):
            identity = machine.read(slot, function, 0)
            if identity != 0xFFFFFFFF:
                found[slot, function] = (identity, machine.read(slot, function, 8))
    assert found == {
        (0, 0): (0x12378086, 0x06000002),
        (1, 0): (0x70008086, 0x06010000),
        (1, 1): (0x70108086, 0x01018000),
        (1, 3): (0x71138086, 0x06800003),
    }
    assert machine.read(1, 0, 0x0E, 1) == 0x80


def test_the_probe_for_mechanism_1_succeeds(machine):
    machine.host.write_address(3, 1, 1)
    machine.host.write_address(0, 4, 0x80000000)
    assert machine.host.read_address(0, 4) == 0x80000000
    machine.host.write_address(0, 2, 0x1234)
    assert machine.host.read_address(0, 4) == 0x80000000


@pytest.mark.parametrize("address", [0x00000000, 0x80010000, 0x80001000, 0x8000F800])
def test_disabled_addresses_other_buses_and_empty_slots_read_ones(machine, address):
    machine.host.write_address(0, 4, address)
    assert machine.host.read_data(0, 4) == 0xFFFFFFFF
    assert machine.host.read_data(2, 2) == 0xFFFF
    machine.host.write_data(0, 4, 0)


def test_bytes_and_words_of_a_register_can_be_accessed(machine):
    assert machine.read(0, 0, 2, 2) == 0x1237
    assert machine.read(0, 0, 0, 1) == 0x86
    machine.write(1, 1, 0x41, 0x80, 1)
    assert machine.read(1, 1, 0x40) == 0x00008000


def test_identity_registers_cannot_be_written(machine):
    for register in (0, 8, 0x0C, 0x2C):
        before = machine.read(1, 1, register)
        machine.write(1, 1, register, ~before & 0xFFFFFFFF)
        assert machine.read(1, 1, register) == before


def test_a_bar_is_sized_placed_enabled_and_moved(machine):
    machine.write(1, 1, 0x20, 0xFFFFFFFF)
    assert machine.read(1, 1, 0x20) == 0xFFFFFFF1
    machine.write(1, 1, 0x20, 0xC000)
    assert machine.moves == []
    machine.write(1, 1, 4, 5, 2)
    assert machine.moves == [("bm", 0xC000)]
    machine.write(1, 1, 0x20, 0xC010)
    assert machine.moves[1:] == [("bm", None), ("bm", 0xC010)]
    machine.write(1, 1, 4, 0, 2)
    assert machine.moves[-1] == ("bm", None)
    machine.write(1, 1, 4, 5, 2)
    machine.ide.reset()
    assert machine.moves[-1] == ("bm", None)
    assert machine.read(1, 1, 0x20) == 1


def test_a_refused_address_leaves_the_range_unmapped_and_can_be_left_again():
    calls = []

    def moved(base):
        calls.append(base)
        if base == 0x10000:
            raise ValueError("taken")

    function = PciFunction([Bar(0, 0x1000, moved)])
    function.config_write(4, 2, 2)
    function.config_write(0x10, 4, 0x10000)
    function.config_write(0x10, 4, 0x20000)
    assert calls == [0x10000, 0x20000]


def test_memory_bars_show_their_kind_and_refuse_sizes_that_are_no_power_of_two():
    function = PciFunction([Bar(2, 0x1000, lambda base: None, prefetchable=True)])
    function.config_write(0x18, 4, 0xFFFFFFFF)
    assert function.config_read(0x18, 4) == 0xFFFFF008
    with pytest.raises(ValueError):
        PciFunction([Bar(0, 0x1800, lambda base: None)])


def test_pam_registers_tell_who_reads_and_writes_shadow_memory(machine):
    machine.write(0, 0, 0x59, 0x30, 1)
    assert machine.shadows == [(0xF0000, 0x10000, True, True)]
    machine.write(0, 0, 0x5A, 0x21, 1)
    assert machine.shadows[1:] == [(0xC0000, 0x4000, True, False), (0xC4000, 0x4000, False, True)]
    machine.write(0, 0, 0x5C, 0x33333333)
    assert len(machine.shadows) == 3 + 8
    machine.bridge.reset()
    assert machine.shadows[-1][2:] == (False, False)
    assert len(machine.shadows) == 2 * 11


def test_interrupt_pins_reach_the_irq_that_their_link_is_routed_to(machine):
    first, second = machine.isa.link(3, 1), machine.isa.link(7, 1)
    assert link_of(3, 1) == link_of(7, 1) == 2
    first.set(True)
    assert not any(line.level for line in machine.irqs.values())
    machine.write(1, 0, 0x60, 0x0B0B0A0A)
    assert machine.irqs[11].level and not machine.irqs[10].level
    second.set(True)
    first.set(False)
    assert machine.irqs[11].level
    machine.write(1, 0, 0x62, 0x05, 1)
    assert machine.irqs[5].level and not machine.irqs[11].level
    machine.write(1, 0, 0x62, 0x85, 1)
    assert not machine.irqs[5].level


def test_pmbase_and_smbus_follow_their_enable_bits(machine):
    machine.write(1, 3, 0x40, 0x601)
    assert machine.read(1, 3, 0x40) == 0x601
    assert machine.moves == []
    machine.write(1, 3, 0x80, 1, 1)
    machine.write(1, 3, 0x90, 0x701)
    machine.write(1, 3, 0xD2, 9, 1)
    assert machine.moves == [("pm", 0x600), ("smb", 0x700)]
    machine.write(1, 3, 0x80, 0, 1)
    assert machine.moves[-1] == ("pm", None)


def test_firmware_finds_system_management_mode_set_up_already(machine):
    assert machine.read(1, 3, 0x58) >> 25 & 1


def test_the_reset_control_register_pulses_the_reset_line(machine):
    machine.host.write_address(1, 1, 0x02)
    assert machine.host.read_address(1, 1) == 0x02 and machine.reset_line.edges == 0
    machine.host.write_address(1, 1, 0x06)
    assert machine.reset_line.edges == 1 and not machine.reset_line.level


def test_a_saved_function_is_mapped_again_and_a_forged_identity_refused(machine, lines):
    machine.write(1, 1, 0x20, 0xC000)
    machine.write(1, 1, 4, 1, 2)
    saved = machine.ide.save()
    other = Machine(lines)
    other.ide.load(saved)
    assert other.moves == [("bm", 0xC000)]
    saved["state"]["config"] = b"\0" + saved["state"]["config"][1:]
    with pytest.raises(ValueError, match="register 0x00"):
        other.ide.load(saved)


def test_a_place_can_be_taken_once(machine):
    with pytest.raises(ValueError):
        machine.host.add(1, 1, Piix3Ide(bus_master=lambda base: None))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accesses=st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from([0, 8, 9, 11, 16]),
            st.integers(0, 255),
            st.sampled_from([1, 2, 4]),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=60,
    )
)
def test_no_configuration_access_raises_or_maps_a_range_that_does_not_fit(lines, accesses):
    machine = Machine(lines)
    for reading, devfn, register, width, value in accesses:
        register &= ~(width - 1)
        if reading:
            assert 0 <= machine.read(devfn >> 3, devfn & 7, register, width) < 1 << (8 * width)
        else:
            machine.write(devfn >> 3, devfn & 7, register, value & (1 << (8 * width)) - 1, width)
    for what, base in machine.moves:
        assert base is None or 0 < base <= 0x10000 - {"bm": 16, "pm": 64, "smb": 16}[what]
    for function in machine.host.functions.values():
        saved = function.save()
        function.load(saved)
        assert function.save() == saved
