"""Machine state as a core declares it: registers and register files, each with a width and a name.

`to_c` makes the CPU struct of it, `to_python` the state class of the reference, and `trace` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Register:
    """A register of `width` bits, or a file of `count` of them. `hidden` ones are not part of the state digest."""

    name: str
    width: int
    count: int = 0  # 0: a single register
    doc: str = ""
    reset: int = 0
    hidden: bool = False

    @property
    def c_type(self) -> str:
        """The C type that holds it."""
        for bits in (8, 16, 32, 64):
            if self.width <= bits:
                return f"uint{bits}_t"
        raise ValueError(f"register {self.name} is {self.width} bits wide")


@dataclass
class State:
    """All registers of a core in declaration order."""

    registers: dict[str, Register] = field(default_factory=dict)

    def register(
        self, name: str, width: int, count: int = 0, *, doc: str = "", reset: int = 0, hidden: bool = False
    ) -> Register:
        """Declare a register; names are unique."""
        if name in self.registers:
            raise ValueError(f"register {name} is declared twice")
        if not 1 <= width <= 64:
            raise ValueError(f"register {name}: width {width} is not within 1 to 64")
        reg = Register(name, width, count, doc, reset, hidden)
        self.registers[name] = reg
        return reg

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers.values())
