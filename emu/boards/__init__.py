"""Boards: one function each, which builds a `Machine` and reads like the memory map in its manual.

A board gets a `Setup`: the command line's wishes with their files already opened and their consoles made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from emu.options import CORES, UsageError

if TYPE_CHECKING:
    from devices.contracts import Console
    from emu.bus import Bus
    from emu.chardev import Entrance
    from emu.cpu import Cpu, EmbeddedCpu
    from emu.machine import Machine
    from emu.media import Medium
    from emu.memory import GuestRam
    from emu.net.network import Network
    from emu.options import Config

BOARDS = {
    "pc": ("emu.boards.pc", "pc"),
    "bamboo": ("emu.boards.bamboo", "bamboo"),
    "sam460ex": ("emu.boards.sam460ex", "sam460ex"),
    "mpc8544ds": ("emu.boards.mpc8544ds", "mpc8544ds"),
    "ppce500": ("emu.boards.ppce500", "ppce500"),
}

Date = tuple[int, int, int, int, int, int]


@dataclass
class Setup:
    """What a board is built from.

    `serial[i]` is the host half of serial port i, None for a port that is not there; `debugcon` that of port 0xE9;
    `consoles` those of other devices by chardev id; `date` what the clock chip shows at power-on.
    """

    config: Config
    serial: list[Console | None] = field(default_factory=list)
    debugcon: Console | None = None
    consoles: dict[str, Console | None] = field(default_factory=dict)
    media: list[Medium] = field(default_factory=list)
    network: Network | None = None
    date: Date = (2025, 1, 1, 0, 0, 0)
    connect: Callable[[str, Entrance, Entrance | None], None] = lambda name, channel, presence: None
    """Lets what comes from outside by a chardev, named by its id, go to a channel of the gate, and to another one, if
    it is given, a byte 1 when somebody has come there and 0 when they left."""
    make_cpu: Callable[[str, Bus, GuestRam, str], Cpu] | None = None
    """Replaces `make_cpu`, for tests."""

    def processor(self, bus: Bus, ram: GuestRam) -> Any:
        """The processor that the command line asks for. Raises UsageError; warns if it is of another tier."""
        config = self.config
        if self.make_cpu is not None:
            return self.make_cpu(config.accel, bus, ram, config.cpu)
        make: Callable[..., Any] = make_ppc_cpu if CORES[config.machine].arch == "ppc" else make_cpu
        cpu = make(config.accel, bus, ram, config.cpu, config.jit_size)
        if config.accel == "jit" and cpu.tier != "jit":
            config.warn("--accel jit: no back end for this host; using interp")
        if config.perfmap and (cpu.tier != "jit" or not cpu.name_code()):
            config.warn("-perfmap: there is no code of the JIT to name, or no file for the names; ignored")
        return cpu


def board(name: str) -> Callable[[Setup], Machine]:
    """The function that builds a board. Raises KeyError for an unknown name."""
    module, function = BOARDS[name]
    built: Callable[[Setup], Machine] = getattr(import_module(module), function)
    return built


def make_cpu(accel: str, bus: Bus, ram: GuestRam, model: str, jit_size: int | None = None) -> Cpu:
    """A processor of the tier that `--accel` names; auto takes the fastest that is there. Raises UsageError.

    `jit_size` bounds the code that the JIT makes, in bytes. Where the JIT has no back end, "jit" gives interp.
    """
    cpu: Cpu = _tier(accel, "x86", "X86Cpu", jit_size)(bus, ram, model=model)
    return cpu


def make_ppc_cpu(accel: str, bus: Bus, ram: GuestRam, model: str, jit_size: int | None = None) -> EmbeddedCpu:
    """The same for a PowerPC board."""
    cpu: EmbeddedCpu = _tier(accel, "ppc", "PpcCpu", jit_size)(bus, ram, model=model)
    return cpu


def _tier(accel: str, core: str, name: str, jit_size: int | None) -> Callable[..., Any]:
    """What makes a core's processor in a tier."""
    if accel != "reference":
        try:
            compiled: Callable[..., Any] = getattr(import_module("emu.engine"), name)
        except ImportError as error:
            if accel != "auto":
                raise UsageError(f"--accel {accel}: the engine is not built ({error}); run `make build`") from None
        else:
            return partial(compiled, accel="interp" if accel == "interp" else "jit", jit_size=jit_size)
    try:
        interpreted: Callable[..., Any] = getattr(import_module(f"cores.{core}.reference"), name)
    except ModuleNotFoundError as error:
        raise UsageError(f"--accel {accel}: no processor is available ({error}); run `make build`") from None
    return interpreted
