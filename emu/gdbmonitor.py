"""What `monitor WORDS` of gdb answers: the commands of the monitor (`emu.monitor`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.monitor.control import Control
from emu.options import Config

if TYPE_CHECKING:
    from emu.machine import Machine

NOTE = """\
For gdb eip is linear: CS.base + EIP. Without a file gdb is told of 16-bit and 32-bit code as of new programs.
"""


def control_of(machine: Machine) -> Control:
    """For a machine that no session has given one."""
    return Control(machine, Config(machine=machine.name))


def answer(control: Control, line: str) -> str:
    """The text for a command; gdb's own users get a word about addresses with the help."""
    text = control.run_line(line or "help")
    return text + NOTE if line in ("", "help", "?") and control.machine.pc_name == "eip" else text
