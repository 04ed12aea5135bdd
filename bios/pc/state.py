"""What the BIOS remembers between calls, apart from the guest's own memory. It is all plain data."""

from __future__ import annotations

from dataclasses import dataclass

from bios.pc.host import Host


@dataclass(frozen=True)
class Geometry:
    """Cylinders, heads, sectors a track."""

    cylinders: int
    heads: int
    sectors: int

    @property
    def total(self) -> int:
        return self.cylinders * self.heads * self.sectors


class BiosState:
    """The machine and the little that outlives a service call.

    Attributes:
        host: the machine.
        geometries: cylinders, heads and sectors of the hard disks, fixed at POST.
        boot_rest: the boot devices still to be tried.
        idle_polls: how many times in a row the guest has asked for a key that was not there.
        last_poll: when it last did, in virtual nanoseconds.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.geometries: list[Geometry] = []
        self.boot_rest = ""
        self.idle_polls = 0
        self.last_poll = 0
        self._logged: set[str] = set()

    def log_once(self, message: str) -> None:
        """A log line that is not repeated; bounded, because guests choose what is in it."""
        if message not in self._logged and len(self._logged) < 256:
            self._logged.add(message)
            self.host.log(message)

    def save(self) -> dict[str, object]:
        """What outlives a service call, as plain data."""
        return {
            "geometries": [[g.cylinders, g.heads, g.sectors] for g in self.geometries],
            "boot_rest": self.boot_rest,
            "idle_polls": self.idle_polls,
            "last_poll": self.last_poll,
        }

    def load(self, state: dict[str, object]) -> None:
        """Restore what `save` gave. Raises ValueError for anything else."""
        rows, rest = state.get("geometries"), state.get("boot_rest")
        polls, last = state.get("idle_polls"), state.get("last_poll")
        if not isinstance(rows, list) or not isinstance(rest, str):
            raise ValueError("BIOS state: geometries must be a list and boot_rest a string")
        if not isinstance(polls, int) or not isinstance(last, int) or polls < 0 or last < 0:
            raise ValueError("BIOS state: idle_polls and last_poll must be whole numbers")
        geometries = []
        for row in rows:
            if not isinstance(row, list) or len(row) != 3 or not all(isinstance(n, int) and n > 0 for n in row):
                raise ValueError("BIOS state: a geometry is three positive numbers")
            geometries.append(Geometry(*row))
        self.geometries, self.boot_rest, self.idle_polls, self.last_poll = geometries, rest, polls, last
