"""What the BIOS asks of the machine it runs on.

A board satisfies `Host`; the BIOS never sees a CPU, bus or device object. Addresses and port numbers are plain
integers, register names are lower case ("eax", "al", "es", "es.base", "gdtr.limit").
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from bios.pc.acpi.board import Board
from bios.pc.smbios import Words
from bios.plan import LoadPlan


class LinearFault(Exception):
    """A linear address that the guest's page tables do not map."""


class Action(Enum):
    """What the machine loop should know after a BIOS service."""

    CONTINUE = "continue"  # resume the guest
    WAIT = "wait"  # resume too: the guest is now in the ROM's halt loop and will come back


class Disk(Protocol):
    """Bytes behind a drive. `read` and `write` raise OSError when the host fails."""

    @property
    def size(self) -> int: ...

    @property
    def read_only(self) -> bool: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def flush(self) -> None: ...


class DriveKind(Enum):
    FLOPPY = "floppy"
    HD = "hd"
    CD = "cd"


class Unit(Protocol):
    """A drive whose media come and go."""

    @property
    def disk(self) -> Disk | None: ...

    @property
    def changed(self) -> bool:
        """The change line of a floppy drive: the medium is another one since `see`."""

    def see(self) -> None:
        """Step the head, which ends the change signal if there is a medium."""


class Drive:
    """One drive as INT 13h sees it: its kind decides the number it gets, in the order of the list.

    `disk` is the medium, None without one; `unit` says what it is now where it may change.
    """

    def __init__(self, kind: DriveKind, disk: Disk | None, unit: Unit | None = None) -> None:
        self.kind = kind
        self.unit = unit
        self._disk = disk

    @property
    def disk(self) -> Disk | None:
        return self._disk if self.unit is None else self.unit.disk

    def new_medium(self) -> bool:
        """Whether the medium is another one than at the last call."""
        if self.unit is None or not self.unit.changed:
            return False
        self.unit.see()
        return not self.unit.changed


class Host(Protocol):
    """The machine, seen from the firmware.

    Attributes:
        ram_size: bytes of RAM from physical address 0.
        disks: drives in BIOS order (first floppy is 00h, first hard disk 80h).
        boot_order: letters as on the command line: a floppy, c hard disk, d CD-ROM.
        direct_boot: a prepared kernel that is entered instead of a boot sector.
        apic: whether the board has a local APIC and an I/O APIC.
        acpi: what the ACPI tables say of the board; None if there are to be none.
        smbios: what a person wants the SMBIOS tables to say.
        cpu_signature: EAX of CPUID leaf 1, for the SMBIOS and MP tables.
        cpu_features: EDX of CPUID leaf 1.
    """

    @property
    def ram_size(self) -> int: ...

    @property
    def disks(self) -> Sequence[Drive]: ...

    @property
    def boot_order(self) -> str: ...

    @property
    def direct_boot(self) -> LoadPlan | None: ...

    @property
    def apic(self) -> bool: ...

    @property
    def acpi(self) -> Board | None: ...

    @property
    def smbios(self) -> Words: ...

    @property
    def cpu_signature(self) -> int: ...

    @property
    def cpu_features(self) -> int: ...

    def reg(self, name: str) -> int:
        """A CPU register. Flags are "eflags"; segment parts are "ss.base", "cs.limit", "cs.attr"."""

    def set_reg(self, name: str, value: int) -> None:
        """Set a CPU register. A segment set by its plain name in real mode gets base = selector * 16."""

    def read_linear(self, address: int, length: int) -> bytes:
        """Guest memory through paging and A20. Raises LinearFault."""

    def write_linear(self, address: int, data: bytes) -> None:
        """Guest memory through paging and A20. Raises LinearFault."""

    def read_phys(self, address: int, length: int) -> bytes:
        """Physical memory, RAM or device; all ones where nothing answers."""

    def write_phys(self, address: int, data: bytes) -> None:
        """Physical memory, RAM or device; dropped where nothing answers."""

    def port_read(self, port: int, width: int) -> int:
        """An I/O port; width in bytes (1, 2, 4)."""

    def port_write(self, port: int, width: int, value: int) -> None:
        """An I/O port; width in bytes (1, 2, 4)."""

    def now(self) -> int:
        """Virtual time in nanoseconds since reset."""

    def request_reset(self) -> None:
        """Reset the machine after this service."""

    def log(self, message: str) -> None:
        """One line for the machine's log."""
