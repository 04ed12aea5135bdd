from __future__ import annotations

import pytest

from bios.pc import rom
from bios.pc.host import Action
from tests.bios.fake_host import Machine

LEFT_SHIFT, CTRL, ALT, CAPS, NUM = 0x2A, 0x1D, 0x38, 0x3A, 0x45


@pytest.fixture
def pc() -> Machine:
    return Machine()


def press(pc: Machine, *codes: int) -> None:
    """Deliver scan codes one interrupt at a time."""
    for code in codes:
        pc.host.input[0x60] = [code]
        pc.hook("irq1")


def tap(pc: Machine, *codes: int) -> None:
    for code in codes:
        press(pc, code, code | 0x80)


def test_a_key_goes_into_the_buffer_and_the_interrupt_is_ended(pc: Machine) -> None:
    press(pc, 0x1E)
    assert pc.keys() == [0x1E61]
    assert (0x20, 0x20) in pc.host.written
    assert pc.eip == rom.LABELS["irq1.done"]


@pytest.mark.parametrize(
    ("modifier", "word"), [((), 0x1E61), ((LEFT_SHIFT,), 0x1E41), ((CTRL,), 0x1E01), ((ALT,), 0x1E00)]
)
def test_modifiers_choose_the_word(pc: Machine, modifier: tuple[int, ...], word: int) -> None:
    press(pc, *modifier, 0x1E)
    assert pc.keys() == [word]


def test_a_released_modifier_counts_no_more(pc: Machine) -> None:
    press(pc, LEFT_SHIFT, LEFT_SHIFT | 0x80, 0x1E)
    assert pc.keys() == [0x1E61]


def test_caps_lock_touches_letters_only_and_shift_undoes_it(pc: Machine) -> None:
    tap(pc, CAPS)
    press(pc, 0x1E, 0x02, LEFT_SHIFT, 0x1E)
    assert pc.keys() == [0x1E41, 0x0231, 0x1E61]


def test_num_lock_makes_the_keypad_digits(pc: Machine) -> None:
    press(pc, 0x48)
    tap(pc, NUM)
    press(pc, 0x48)
    assert pc.keys() == [0x4838, 0x4800]


def test_a_grey_key_carries_e0(pc: Machine) -> None:
    press(pc, 0xE0, 0x48)
    assert pc.keys() == [0x48E0]
    assert not pc.host.ram[0x496] & 0x02


def test_the_padding_shifts_of_grey_keys_change_nothing(pc: Machine) -> None:
    press(pc, 0xE0, 0x2A, 0xE0, 0x48)
    assert pc.host.ram[0x417] & 0x03 == 0
    assert pc.keys() == [0x48E0]


def test_alt_and_the_keypad_type_a_character_by_number(pc: Machine) -> None:
    press(pc, ALT)
    tap(pc, 0x50, 0x4D, 0x4C)  # 2, 6, 5: taken modulo 256
    press(pc, ALT | 0x80)
    assert pc.keys() == [0x0009]


@pytest.mark.parametrize(
    ("codes", "word"),
    [
        *(((0x3B,), 0x3B00), ((LEFT_SHIFT, 0x3B), 0x5400), ((CTRL, 0x3B), 0x5E00), ((ALT, 0x3B), 0x6800)),
        *(((0x57,), 0x8500), ((0x1C,), 0x1C0D), ((0x39,), 0x3920), ((0x0E,), 0x0E08), ((LEFT_SHIFT, 0x0F), 0x0F00)),
        *(((0xE0, 0x35), 0xE02F), ((0xE0, 0x1C), 0xE00D), ((CTRL, 0xE0, 0x4B), 0x73E0), ((ALT, 0xE0, 0x4B), 0x9B00)),
        *(((LEFT_SHIFT, 0x33), 0x333C), ((LEFT_SHIFT, 0x28), 0x2822), ((LEFT_SHIFT, 0x03), 0x0340)),
    ],
)
def test_special_keys(pc: Machine, codes: tuple[int, ...], word: int) -> None:
    press(pc, *codes)
    assert pc.keys() == [word]


def test_a_full_buffer_keeps_its_fifteen_keys(pc: Machine) -> None:
    press(pc, *[0x1E] * 20)
    assert len(pc.keys()) == 15


def test_ctrl_alt_del_asks_for_a_reset_and_marks_it_warm(pc: Machine) -> None:
    press(pc, CTRL, ALT, 0x53)
    assert pc.host.resets == 1
    assert pc.word(0x472) == 0x1234


def test_ctrl_break_empties_the_buffer_and_goes_to_int_1bh(pc: Machine) -> None:
    press(pc, 0x1E, CTRL, 0xE0, 0x46)
    assert pc.keys() == [0]
    assert pc.host.ram[0x471] == 0x80
    assert pc.eip == rom.LABELS["irq1.break"]


def test_print_screen_goes_to_int_5(pc: Machine) -> None:
    press(pc, 0xE0, 0x37)
    assert pc.eip == rom.LABELS["irq1.print"]


def test_pause_waits_until_another_key_which_is_swallowed(pc: Machine) -> None:
    press(pc, 0xE1, 0x1D, 0x45)
    assert pc.eip == rom.LABELS["irq1.wait"]
    assert pc.hook("irq1.pause", resumed=True) is Action.WAIT
    press(pc, 0xE1, 0x9D, 0xC5)
    assert pc.hook("irq1.pause", resumed=True) is Action.WAIT
    press(pc, 0x1E)
    assert pc.hook("irq1.pause", resumed=True) is Action.CONTINUE
    assert pc.keys() == []


def test_a_hooked_int_15h_sees_the_scan_code_first(pc: Machine) -> None:
    pc.poke(0x15 * 4, b"\x00\x00\x00\x20")
    pc.host.input[0x60] = [0x1E]
    pc.hook("irq1")
    assert pc.host.input[0x60] == [0x1E]
    pc.hook("irq1.intercept")
    assert pc.ax == 0x4F1E
    pc.host.set_reg("al", 0x30)
    pc.host.set_reg("eflags", 1)
    pc.hook("irq1.key")
    assert pc.keys() == [0x3062]


def test_a_hooked_int_15h_can_swallow_the_key(pc: Machine) -> None:
    pc.poke(0x15 * 4, b"\x00\x00\x00\x20")
    pc.host.input[0x60] = [0x1E]
    pc.hook("irq1.intercept")
    pc.host.set_reg("eflags", 0)
    pc.hook("irq1.key")
    assert pc.keys() == []
    assert (0x20, 0x20) in pc.host.written


def test_reading_waits_in_the_stubs_loop_until_a_key_comes(pc: Machine) -> None:
    assert pc.interrupt(0x16, ah=0x00) is Action.WAIT
    stub = next(point for point in rom.HOOK_POINTS.values() if point.name == "int16")
    assert pc.eip == stub.wait_at
    press(pc, 0x1E)
    assert pc.interrupt(0x16, resumed=True, ah=0x00) is Action.CONTINUE
    assert pc.ax == 0x1E61
    assert pc.keys() == []


def test_checking_leaves_the_key_in_the_buffer(pc: Machine) -> None:
    pc.interrupt(0x16, ah=0x01)
    assert pc.zero
    press(pc, 0x1E)
    pc.interrupt(0x16, ah=0x01)
    assert not pc.zero
    assert pc.ax == 0x1E61
    assert pc.keys() == [0x1E61]


def test_the_old_calls_see_grey_keys_as_their_white_twins(pc: Machine) -> None:
    press(pc, 0xE0, 0x48, 0xE0, 0x1C)
    pc.interrupt(0x16, ah=0x00)
    assert pc.ax == 0x4800
    pc.interrupt(0x16, ah=0x00)
    assert pc.ax == 0x1C0D


def test_the_old_calls_skip_keys_they_cannot_name(pc: Machine) -> None:
    press(pc, 0x57, 0x1E)
    pc.interrupt(0x16, ah=0x00)
    assert pc.ax == 0x1E61


def test_the_enhanced_calls_see_them_all(pc: Machine) -> None:
    press(pc, 0x57)
    pc.interrupt(0x16, ah=0x10)
    assert pc.ax == 0x8500


def test_storing_a_key_reports_a_full_buffer(pc: Machine) -> None:
    for _ in range(15):
        pc.interrupt(0x16, ah=0x05, cx=0x1E61)
        assert pc.al == 0
    pc.interrupt(0x16, ah=0x05, cx=0x1E61)
    assert pc.al == 1


def test_shift_flags_are_reported_old_and_new(pc: Machine) -> None:
    press(pc, 0xE0, CTRL)
    pc.interrupt(0x16, ah=0x02)
    assert pc.al & 0x04
    pc.interrupt(0x16, ah=0x12)
    assert pc.ah & 0x04  # the right one


def test_asking_in_a_tight_loop_ends_in_a_halt_if_interrupts_are_on(pc: Machine) -> None:
    for _ in range(250):
        pc.host.time += 100
        assert pc.interrupt(0x16, ah=0x01) is Action.CONTINUE
    for _ in range(10):
        pc.host.time += 100
        last = pc.interrupt(0x16, ah=0x01)
    assert last is Action.WAIT
    assert pc.interrupt(0x16, ah=0x01, flags=0x0002) is Action.CONTINUE
    assert pc.interrupt(0x16, ah=0x01, resumed=True) is Action.CONTINUE
    assert pc.zero
    assert pc.interrupt(0x16, ah=0x01) is Action.CONTINUE


def test_another_call_in_between_is_no_waiting(pc: Machine) -> None:
    for _ in range(1000):
        pc.host.time += 100
        assert pc.interrupt(0x16, ah=0x01) is Action.CONTINUE
        pc.interrupt(0x10, ah=0x0F)


def test_asking_now_and_then_never_halts(pc: Machine) -> None:
    for _ in range(1000):
        pc.host.time += 200_000
        assert pc.interrupt(0x16, ah=0x01) is Action.CONTINUE
