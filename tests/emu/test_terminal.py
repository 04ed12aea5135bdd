from __future__ import annotations

import os
import pty
import termios

import pytest

from emu.terminal import OutputClosed, Terminal, key_name, write_all


def test_the_escape_keys_act_and_are_not_given_to_the_guest() -> None:
    terminal = Terminal(mux=True, signals=False, stdin=-1)
    done: list[str] = []
    terminal.actions = {"x": lambda: done.append("x"), "c": lambda: done.append("c")}
    assert terminal.filter(b"ls\x01") == b"ls"
    assert terminal.filter(b"xrest\x01c\x01\x01\x01qend") == b"rest\x01end"
    assert done == ["x", "c"]


def test_another_escape_character_can_be_chosen() -> None:
    terminal = Terminal(mux=True, signals=False, escape=0x14, stdin=-1)
    done: list[str] = []
    terminal.actions = {"x": lambda: done.append("x")}
    assert terminal.filter(b"\x01x\x14x") == b"\x01x"
    assert done == ["x"]
    assert key_name(0x14) == "C-t"


def test_without_multiplexer_every_byte_is_the_guests() -> None:
    assert Terminal(mux=False, signals=True, stdin=-1).filter(b"\x01x\x03") == b"\x01x\x03"


def test_a_terminal_is_raw_while_open_and_as_before_afterwards() -> None:
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        terminal = Terminal(mux=True, signals=False, stdin=slave)
        assert terminal.is_tty
        assert terminal.live
        terminal.open()
        during = termios.tcgetattr(slave)
        assert not during[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        terminal.close()
        terminal.close()
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)


def test_ctrl_c_stays_a_signal_when_the_guest_does_not_want_it() -> None:
    master, slave = pty.openpty()
    try:
        terminal = Terminal(mux=False, signals=True, stdin=slave)
        terminal.open()
        assert termios.tcgetattr(slave)[3] & termios.ISIG
        terminal.close()
    finally:
        os.close(master)
        os.close(slave)


def test_the_end_of_a_pipe_is_harmless() -> None:
    read, write = os.pipe()
    terminal = Terminal(mux=False, signals=True, stdin=read)
    assert terminal.live
    assert terminal.read() == b""
    os.write(write, b"abc")
    assert terminal.wait(5)
    assert terminal.read() == b"abc"
    os.close(write)
    assert terminal.read() == b""
    assert (terminal.eof, terminal.live) == (True, False)
    assert terminal.read() == b""
    os.close(read)


def test_a_file_or_nothing_as_standard_input_is_nobody_who_types() -> None:
    with open(os.devnull, "rb") as null:
        assert not Terminal(mux=False, signals=True, stdin=null.fileno()).live
    closed = Terminal(mux=False, signals=True, stdin=-1)
    assert closed.eof
    assert not closed.wait(0)


def test_output_to_a_closed_pipe_says_so() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(OutputClosed):
        write_all(write, b"x")
    os.close(write)


def test_a_slow_reader_gets_every_byte() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = bytes(range(256)) * 4096
    pid = os.fork()
    if pid == 0:
        try:
            write_all(write, data)
        finally:
            os._exit(0)
    os.close(write)
    got = bytearray()
    while chunk := os.read(read, 65536):
        got += chunk
    os.waitpid(pid, 0)
    os.close(read)
    assert bytes(got) == data


def test_timestamps_stand_at_the_start_of_each_line(capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(mux=False, signals=True, stdin=-1)
    terminal.timestamps = lambda: "[t] "
    terminal.send(b"one\ntw")
    terminal.send(b"o\n")
    assert capfd.readouterr().out == "[t] one\n[t] two\n"
