"""16550A: what drivers probe, interrupts, FIFOs."""

from __future__ import annotations

import pytest

from devices.uart16550 import SEND_NS, Uart16550

THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7


@pytest.fixture
def uart(clock, line, console):
    return Uart16550(clock=clock, irq=line, console=console)


def put(uart, register, value):
    uart.write(register, 1, value)


def get(uart, register):
    return uart.read(register, 1)


def test_bytes_written_to_thr_reach_the_console(uart, console):
    for byte in b"hello":
        put(uart, THR, byte)
    assert console.sent == b"hello"
    assert get(uart, LSR) == 0x60


def test_enabling_the_transmitter_interrupt_raises_it_each_time(uart, line):
    put(uart, IER, 2)
    assert line.level
    assert get(uart, IIR) == 0x02
    assert get(uart, IIR) == 0x01
    assert not line.level
    put(uart, IER, 0)
    put(uart, IER, 2)
    assert line.level


def test_a_write_to_thr_raises_the_transmit_interrupt_a_little_later(uart, clock, line):
    put(uart, IER, 2)
    put(uart, THR, 0x41)
    assert not line.level
    assert get(uart, IIR) == 0x01
    clock.advance(SEND_NS)
    assert line.level
    assert get(uart, IIR) == 0x02


def test_a_handler_that_fills_the_fifo_until_the_interrupt_is_gone_ends(uart, line):
    put(uart, FCR, 1)
    put(uart, IER, 2)
    loops = 0
    while not get(uart, IIR) & 1:
        loops += 1
        for _ in range(16):
            put(uart, THR, 0x2E)
    assert loops == 1


def test_a_received_byte_interrupts_until_it_is_read(uart, line):
    put(uart, IER, 1)
    assert uart.receive(b"x") == 1
    assert line.level
    assert get(uart, LSR) & 1
    assert get(uart, IIR) == 0x04
    assert get(uart, THR) == ord("x")
    assert not line.level


def test_without_fifo_one_byte_is_taken_at_a_time(uart):
    assert uart.receive(b"abc") == 1
    assert uart.room() == 0
    assert get(uart, THR) == ord("a")
    assert uart.receive(b"bc") == 1


def test_with_fifo_sixteen_bytes_are_taken_in_order(uart):
    put(uart, FCR, 1)
    assert uart.receive(bytes(range(40))) == 16
    assert [get(uart, THR) for _ in range(17)] == [*range(16), 0]


def test_the_trigger_level_holds_the_interrupt_until_the_character_timeout(uart, clock, line):
    put(uart, FCR, 0xC1)
    put(uart, IER, 1)
    uart.receive(b"abc")
    assert not line.level
    clock.advance(10_000_000)
    assert line.level
    assert get(uart, IIR) == 0xCC
    get(uart, THR)
    assert not line.level
    clock.advance(10_000_000)
    assert get(uart, IIR) == 0xCC


def test_the_trigger_level_raises_the_interrupt(uart, line):
    put(uart, FCR, 0x81)
    put(uart, IER, 1)
    uart.receive(b"1234567")
    assert not line.level
    uart.receive(b"8")
    assert get(uart, IIR) == 0xC4


def test_fifo_enable_shows_in_iir_and_empties_the_fifo(uart):
    uart.receive(b"a")
    put(uart, FCR, 1)
    assert get(uart, IIR) == 0xC1
    assert not get(uart, LSR) & 1
    uart.receive(b"abc")
    put(uart, FCR, 3)
    assert not get(uart, LSR) & 1
    put(uart, FCR, 0)
    assert get(uart, IIR) == 0x01


def test_it_is_a_16550a_and_not_a_later_chip(uart):
    put(uart, IER, 0xFF)
    assert get(uart, IER) == 0x0F
    put(uart, LCR, 0x80)
    put(uart, FCR, 0x21)
    put(uart, LCR, 0x00)
    assert get(uart, IIR) & 0xE0 == 0xC0


def test_the_divisor_hides_behind_dlab(uart):
    put(uart, LCR, 0x83)
    put(uart, THR, 0x34)
    put(uart, IER, 0x12)
    assert (get(uart, THR), get(uart, IER)) == (0x34, 0x12)
    put(uart, LCR, 0x03)
    assert get(uart, IER) == 0
    assert get(uart, LCR) == 3


def test_scratch_and_modem_control_read_back(uart):
    put(uart, SCR, 0xA5)
    put(uart, MCR, 0xFF)
    assert (get(uart, SCR), get(uart, MCR)) == (0xA5, 0x1F)


def test_a_terminal_is_connected(uart):
    assert get(uart, MSR) == 0xB0


def test_loopback_ties_modem_outputs_to_inputs(uart):
    put(uart, MCR, 0x1A)
    assert get(uart, MSR) & 0xF0 == 0x90
    put(uart, MCR, 0x15)
    assert get(uart, MSR) & 0xF0 == 0x60
    put(uart, MCR, 0x00)
    assert get(uart, MSR) & 0xF0 == 0xB0


def test_loopback_receives_what_it_sends_and_overruns(uart, console):
    put(uart, MCR, 0x10)
    put(uart, THR, 0x55)
    put(uart, THR, 0x66)
    assert get(uart, LSR) == 0x63
    assert get(uart, LSR) == 0x61
    assert get(uart, THR) == 0x55
    assert console.sent == b""
    assert uart.receive(b"x") == 0


def test_a_modem_change_interrupts_until_msr_is_read(uart, line):
    put(uart, IER, 8)
    put(uart, MCR, 0x10)
    assert line.level
    assert get(uart, IIR) == 0x00
    assert get(uart, MSR) & 0x0F == 0x0B
    assert not line.level


def test_line_errors_come_first(uart, line):
    put(uart, IER, 0x0F)
    uart.receive_break()
    put(uart, MCR, 0x10)
    for source, clear in ((0x06, LSR), (0x04, THR), (0x02, None), (0x00, MSR)):
        assert get(uart, IIR) == source
        if clear is not None:
            get(uart, clear)
    assert get(uart, IIR) == 0x01
    assert not line.level


def test_interrupts_come_without_out2(uart, line):
    put(uart, MCR, 0)
    put(uart, IER, 1)
    uart.receive(b"x")
    assert line.level


def test_reset_lets_go_of_the_line(uart, line):
    put(uart, IER, 2)
    uart.reset()
    assert not line.level
