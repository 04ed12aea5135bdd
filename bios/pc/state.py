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
        rom_queue: option ROMs still to be initialised: PCI functions, and addresses below zero.
        rom_now: the address of the one that is being initialised.
        rom_next: where the next one is copied to.
        rom_bevs: bootstrap entry vectors that option ROMs offer, as segment and offset.
        rom_bcvs: boot connection vectors still to be called.
        pmm: blocks of the POST memory manager: handle, address, size.
        idle_polls: how many times in a row the guest has asked for what it knew already.
        last_poll: when it last did, in virtual nanoseconds.
        last_ticks: the tick count it was last told.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.geometries: list[Geometry] = []
        self.boot_rest = ""
        self.cd_boot: CdBoot | None = None
        self.rom_queue: list[int] = []
        self.rom_now = 0
        self.rom_next = 0
        self.rom_bevs: list[list[int]] = []
        self.rom_bcvs: list[list[int]] = []
        self.pmm: list[list[int]] = []
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
            "roms": [list(self.rom_queue), self.rom_now, self.rom_next],
            "rom_vectors": [[list(v) for v in self.rom_bevs], [list(v) for v in self.rom_bcvs]],
            "pmm": [list(block) for block in self.pmm],
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
        roms, vectors, blocks = state.get("roms"), state.get("rom_vectors"), state.get("pmm")
        if not (isinstance(roms, list) and len(roms) == 3 and _numbers(roms[0], -0xF0000, 0xFF)):
            raise ValueError("BIOS state: roms must be a queue and two addresses")
        if not _numbers(roms[1:], 0, 0xF0000) or any(-0xC0000 < place < 0 for place in roms[0]):
            raise ValueError("BIOS state: roms must be a queue and two addresses")
        if not (isinstance(vectors, list) and len(vectors) == 2 and all(isinstance(v, list) for v in vectors)):
            raise ValueError("BIOS state: rom_vectors must be two lists")
        if not all(_numbers(v, 0, 0xFFFF, 2) for v in vectors[0] + vectors[1]) or len(vectors[0]) > 10:
            raise ValueError("BIOS state: a vector is a segment and an offset")
        if not isinstance(blocks, list) or not all(_numbers(b, 0, 0xFFFFFFFF, 3) for b in blocks):
            raise ValueError("BIOS state: a block of pmm is three numbers")
        self.geometries, self.boot_rest = geometries, rest
        self.rom_queue, self.rom_now, self.rom_next = list(roms[0]), roms[1], roms[2]
        self.rom_bevs, self.rom_bcvs = ([list(v) for v in group] for group in vectors)
        self.pmm = [list(block) for block in blocks]
        self.cd_boot = None if cd is None else CdBoot(*cd)
        self.idle_polls, self.last_poll, self.last_ticks = numbers


def _numbers(data: object, low: int, high: int, count: int | None = None) -> bool:
    """Whether something is a list of whole numbers in low..high, `count` of them if that is given."""
    if not isinstance(data, list) or (count is not None and len(data) != count):
        return False
    return all(type(number) is int and low <= number <= high for number in data)
