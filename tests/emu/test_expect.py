from __future__ import annotations

from emu.clock import Clock
from emu.expect import SCREEN_INTERVAL, Script, last_lines
from emu.options import unescape
from tests.emu.fake_cpu import FakeCpu


class Guest:
    """What a script sees of a guest."""

    def __init__(self, *steps: tuple[str, str]) -> None:
        self.cpu = FakeCpu()
        self.clock = Clock(self.cpu)
        self.rows: list[str] = []
        self.typed: list[bytes | str] = []
        self.queue = 0
        self.finished = 0
        self.script = Script(
            steps,
            self.clock,
            screen=lambda: self.rows,
            type_serial=self.typed.append,
            type_keys=self.typed.append,
            typing=lambda: self.queue,
            finished=self.finish,
        )
        self.script.start()

    def finish(self) -> None:
        self.finished += 1

    def pass_time(self) -> None:
        self.clock.skip_to(self.clock.now() + SCREEN_INTERVAL)
        self.clock.fire()


def test_text_is_seen_across_pieces_and_each_match_uses_up_what_came() -> None:
    guest = Guest(("expect", "login: "), ("send", "root\n"), ("expect", "# "))
    guest.script.serial(b"boot # log")
    assert guest.typed == []
    guest.script.serial(b"in: ")
    assert guest.typed == [b"root\n"]
    assert guest.finished == 0
    guest.script.serial(b"# ")
    assert guest.finished == 1
    guest.script.serial(b"more")
    assert guest.finished == 1


def test_text_on_the_screen_is_answered_on_the_keyboard() -> None:
    guest = Guest(("expect", "A:\\>"), ("send", "ver\n"))
    guest.script.serial(b"\0")
    guest.pass_time()
    assert guest.typed == []
    guest.rows = ["FreeDOS".ljust(80), "A:\\>".ljust(80)]
    guest.pass_time()
    assert guest.typed == ["ver\n"]
    assert guest.finished == 1


def test_blanks_at_the_end_of_a_row_count_and_rows_can_be_joined() -> None:
    guest = Guest(("expect", "login: "), ("expect", "one\ntwo"))
    guest.rows = ["login:".ljust(80), "one".ljust(80), "two".ljust(80)]
    guest.pass_time()
    assert guest.script.done


def test_the_script_waits_until_what_it_types_has_arrived() -> None:
    guest = Guest(("send", "a"), ("expect", "b"))
    assert guest.typed == ["a"]
    guest = Guest(("expect", "x"), ("send", "a"), ("expect", "b"), ("expect", "c"))
    guest.queue = 1
    guest.script.serial(b"xb")
    assert guest.script.waiting_for == "x"
    guest.queue = 0
    guest.pass_time()
    assert guest.script.waiting_for == "c"


def test_what_is_still_awaited_is_known() -> None:
    guest = Guest(("send", "a"), ("expect", "b"))
    assert guest.script.waiting_for == "b"
    assert not guest.script.done


def test_looking_at_a_guest_at_rest_can_finish_the_script() -> None:
    guest = Guest(("expect", "halted"))
    guest.rows = ["System halted"]
    guest.script.look()
    assert guest.finished == 1


def test_bytes_typed_by_number_are_bytes() -> None:
    guest = Guest(("expect", ">"), ("send", unescape(r"\x03\xff\e[A\q")))
    guest.script.serial(b">")
    assert guest.typed == [b"\x03\xff\x1b[A\\q"]


def test_the_last_lines_are_those_of_the_screen_or_else_of_the_serial_line() -> None:
    assert last_lines(["a  ", "b", "  "], b"ignored") == ["a", "b"]
    assert last_lines(["", ""], b"x\r\ny\x07\n") == ["x", "y?"]
    assert last_lines([], b"".join(b"%d\n" % i for i in range(50))) == [str(i) for i in range(30, 50)]
