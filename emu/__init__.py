"""Emu: a PC in software. Python describes and composes, generated C does the hot work.

    import emu

    m = emu.build("-m", "64", "-hda", "disk.img", "-snapshot")
    m.step(1_000_000)
    print("\\n".join(m.screen()))

`build` takes the words of the command line; `Machine` is what it gives. Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.machine import Machine
    from emu.options import VERSION as __version__

__all__ = ["Machine", "__version__", "build"]


def build(*words: str) -> Machine:
    """A machine as `emu run WORDS` would build it, powered on and not yet run. Raises `emu.options.UsageError`.

    Its serial ports and debug console lead nowhere unless they go to files.
    """
    from emu.options import parse
    from emu.session import Session

    return Session(parse(words), attached=False).build()


def __getattr__(name: str) -> Any:
    if name == "Machine":
        from emu.machine import Machine

        return Machine
    if name == "__version__":
        from emu.options import VERSION

        return VERSION
    raise AttributeError(f"module emu has no {name}")
