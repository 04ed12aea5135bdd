"""What the BIOS remembers between calls, apart from the guest's own memory. It is all plain data."""

from __future__ import annotations

from dataclasses import astuple, dataclass

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


# A guest that asks this many times in a row without news, this close together, waits for an interrupt. After each such
# wait it has to ask some more times before the next.
IDLE_POLLS = 256
IDLE_GAP_NS = 100_000
POLLS_BETWEEN_WAITS = 32


@dataclass(frozen=True)
class CdBoot:
    """What was booted from a CD-ROM, in the words of El Torito.

    Attributes:
        media: 0 no emulation, 1..3 floppy of 1.2, 1.44 or 2.88 MB, 4 hard disk.
        drive: the BIOS drive number the image has.
        start: its first sector of 2048 bytes.
        size: bytes of the emulated disk, 0 without emulation.
        segment: where it was loaded.
        sectors: how many sectors of 512 bytes were.
    """

    media: int
    drive: int
    start: int
    size: int
    segment: int
    sectors: int


class BiosState:
    """The machine and the little that outlives a service call.

    Attributes:
        host: the machine.
        geometries: cylinders, heads and sectors of the hard disks, fixed at POST.
        boot_rest: the boot devices still to be tried.
        cd_boot: the image booted from a CD-ROM, as long as its emulation lasts.
        idle_polls: how many times in a row the guest has asked for what it knew already.
        last_poll: when it last did, in virtual nanoseconds.
        last_ticks: the tick count it was last told.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.geometries: list[Geometry] = []
        self.boot_rest = ""
        self.cd_boot: CdBoot | None = None
        self.idle_polls = 0
        self.last_poll = 0
        self.last_ticks = 0
        self._logged: set[str] = set()

    def log_once(self, message: str) -> None:
        """A log line that is not repeated; bounded, because guests choose what is in it."""
        if message not in self._logged and len(self._logged) < 256:
            self._logged.add(message)
            self.host.log(message)

    def busy(self) -> None:
        """The guest does something other than waiting."""
        self.idle_polls = 0

    def no_news(self, *, resumed: bool) -> bool:
        """Count a question without news. True if there have been enough to call it waiting."""
        now = self.host.now()
        near = now - self.last_poll <= IDLE_GAP_NS
        self.last_poll = now
        if resumed:
            self.idle_polls = IDLE_POLLS - POLLS_BETWEEN_WAITS
            return False
        self.idle_polls = self.idle_polls + 1 if near else 0
        return self.idle_polls >= IDLE_POLLS

    def save(self) -> dict[str, object]:
        """What outlives a service call, as plain data."""
        return {
            "geometries": [[g.cylinders, g.heads, g.sectors] for g in self.geometries],
            "boot_rest": self.boot_rest,
            "cd_boot": None if self.cd_boot is None else list(astuple(self.cd_boot)),
            "idle_polls": self.idle_polls,
            "last_poll": self.last_poll,
            "last_ticks": self.last_ticks,
        }

    def load(self, state: dict[str, object]) -> None:
        """Restore what `save` gave. Raises ValueError for anything else."""
        rows, rest = state.get("geometries"), state.get("boot_rest")
        if not isinstance(rows, list) or not isinstance(rest, str):
            raise ValueError("BIOS state: geometries must be a list and boot_rest a string")
        numbers = []
        for name in ("idle_polls", "last_poll", "last_ticks"):
            value = state.get(name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"BIOS state: {name} must be a whole number")
            numbers.append(value)
        geometries = []
        for row in rows:
            if not isinstance(row, list) or len(row) != 3 or not all(isinstance(n, int) and n > 0 for n in row):
                raise ValueError("BIOS state: a geometry is three positive numbers")
            geometries.append(Geometry(*row))
        cd = state.get("cd_boot")
        if cd is not None and not (isinstance(cd, list) and len(cd) == 6 and all(isinstance(n, int) for n in cd)):
            raise ValueError("BIOS state: cd_boot must be nothing or six numbers")
        self.geometries, self.boot_rest = geometries, rest
        self.cd_boot = None if cd is None else CdBoot(*cd)
        self.idle_polls, self.last_poll, self.last_ticks = numbers
