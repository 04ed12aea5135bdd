"""Debug console, Bochs shutdown port, debug exit, port 0x92."""

from __future__ import annotations

import pytest

from devices.debug_exit import DebugExit
from devices.debugcon import Debugcon, ShutdownPort
from devices.port92 import Port92


def test_debugcon_prints_and_says_that_it_is_there(console):
    dev = Debugcon(console=console)
    for byte in b"hi":
        dev.write(0, 1, byte)
    assert console.sent == b"hi"
    assert dev.read(0, 1) == 0xE9


def test_the_word_shutdown_ends_the_run_even_after_a_false_start():
    calls = []
    dev = ShutdownPort(shutdown=lambda: calls.append(1))
    for byte in b"ShutdowShutdow":
        dev.write(0, 1, byte)
    assert calls == []
    dev.write(0, 1, ord("n"))
    assert calls == [1]


@pytest.mark.parametrize(("value", "status"), [(0x10, 33), (0, 1), (0x31, 99), (0xFFFFFFFF, 0xFF)])
def test_debug_exit_gives_twice_the_value_plus_one(value, status):
    statuses = []
    dev = DebugExit(leave=statuses.append, iobase=0xF4, iosize=4)
    dev.write(0, 4, value)
    assert statuses == [status]
    assert dev.read(0, 1) == 0


@pytest.mark.parametrize(("base", "size"), [(-1, 1), (0xFFFF, 2), (0, 0), (0, 5), (0x10000, 1)])
def test_debug_exit_refuses_ports_that_do_not_exist(base, size):
    with pytest.raises(ValueError, match="isa-debug-exit: no ports"):
        DebugExit(leave=lambda status: None, iobase=base, iosize=size)


def test_port_92_drives_a20_and_reads_back(lines):
    a20, reset = lines(), lines()
    dev = Port92(a20=a20, reset_line=reset)
    dev.write(0, 1, 0xFE)
    assert a20.level
    assert dev.read(0, 1) == 2
    dev.write(0, 1, 0)
    assert not a20.level
    assert reset.changes == []


def test_port_92_resets_when_bit_0_rises(lines):
    reset = lines()
    dev = Port92(a20=lines(), reset_line=reset)
    dev.write(0, 1, 1)
    dev.write(0, 1, 1)
    assert reset.changes == [True, False]
