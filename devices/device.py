"""The base of every device: a name in the registry, declared registers, declared state, and saving both.

A device stands alone: lines, clock and host half come through the constructor. Everything that changes while the
guest runs is in `self.registers` (see devices.registers) or in `self.state` (see devices.state); both are the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from devices import state as declared
from devices.registers import UNIMP, Bank

REGISTRY: dict[str, type[Device]] = {}
"""Every device class by its registered name."""

NAMED = 50
"""How many unmodelled things one device names before it falls silent."""

D = TypeVar("D", bound="type[Device]")


def device(name: str, summary: str) -> Callable[[D], D]:
    """Register a device class under `name` with a one-line summary. Raises ValueError if the name is taken."""

    def register(cls: D) -> D:
        if name in REGISTRY:
            raise ValueError(f"device {name}: already registered by {REGISTRY[name].__qualname__}")
        cls.name = name
        cls.summary = summary
        REGISTRY[name] = cls
        return cls

    return register


class Device:
    """A chip. Subclasses set `State` to a dataclass of fields from devices.state and add their own constructor."""

    name: ClassVar[str] = "device"
    summary: ClassVar[str] = ""
    State: ClassVar[type[Any]]
    banks: ClassVar[tuple[Bank, ...]] = ()
    _ranges: ClassVar[dict[str, int]] = {}

    state: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.banks = tuple(vars(base)[key] for base in cls.__mro__ for key in vars(base) if _is_bank(base, key))
        cls._ranges = {}
        for bank in cls.banks:
            for reg in bank.registers.values():
                if reg.name in cls._ranges:
                    raise ValueError(f"{cls.__qualname__}: two registers are called {reg.name}")
                cls._ranges[reg.name] = reg.limit

    def __init__(self) -> None:
        self.registers: dict[str, int] = {}
        self._named: set[str] = set()
        self.clear()

    def clear(self) -> None:
        """Give every register its reset value and every field of the state its default."""
        for bank in self.banks:
            bank.reset(self)
        if hasattr(type(self), "State"):
            self.state = self.State()

    def reset(self) -> None:
        """The reset pin. The default is `clear`; a device with lines or timers also puts those back."""
        self.clear()

    def home(self) -> None:
        """End a loan to a processor, where there is one (`devices.lending`)."""

    def save(self) -> dict[str, object]:
        """The whole state as plain data: ints, bools, bytes, lists, dicts."""
        own = declared.dump(self.state) if hasattr(type(self), "State") else {}
        return {"registers": dict(self.registers), "state": own}

    def load(self, state: dict[str, object]) -> None:
        """Take over a saved state. Raises ValueError naming the first bad field, and then nothing has changed."""
        if type(state) is not dict or set(state) != {"registers", "state"}:
            raise ValueError(f"{self.name}: expected the two records registers and state")
        registers = self._check_registers(state["registers"])
        if hasattr(type(self), "State"):
            new = declared.restore(self.State, state["state"])
            self.check(registers, new)
            self.state = new
        self.registers = registers
        self.restored()

    def _check_registers(self, data: object) -> dict[str, int]:
        if type(data) is not dict:
            raise ValueError("registers: expected a record")
        for name in data:
            if name not in self._ranges:
                raise ValueError(f"registers.{str(name)[:40]}: no such register")
        out = {}
        for name, limit in self._ranges.items():
            value = data.get(name)
            if type(value) is not int or not 0 <= value <= limit:
                raise ValueError(f"registers.{name}: expected an integer in 0..{limit:#x}")
            out[name] = value
        return out

    def check(self, registers: dict[str, int], state: Any) -> None:
        """Refuse, with ValueError, a saved state whose fields do not fit together. Called before anything is stored."""

    def restored(self) -> None:
        """Put timers back after `load`. Lines are not driven: their other ends restore their own level."""

    def unimplemented(self, what: str) -> None:
        """Name something that is not modelled, once for each device, and at most `NAMED` things."""
        if what not in self._named and len(self._named) < NAMED:
            self._named.add(what)
            last = "" if len(self._named) < NAMED else "; further ones are not named"
            UNIMP.warning("%s: %s not modelled%s", self.name, what, last)


def _is_bank(owner: type[Any], key: str) -> bool:
    return isinstance(vars(owner)[key], Bank)
