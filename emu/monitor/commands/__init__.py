"""The commands, by what they are about; each module registers its own (`emu.monitor.registry`)."""

from __future__ import annotations

from importlib import import_module

MODULES = (
    "run",
    "memory",
    "processor",
    "board",
    "drives",
    "wires",
    "keys",
    "screens",
    "stops",
    "dump",
    "bochs",
    "later",
)


def load() -> None:
    """Import all of them."""
    for name in MODULES:
        import_module(f"emu.monitor.commands.{name}")
