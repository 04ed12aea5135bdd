"""What the ACPI tables say of a PC, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """Addresses are those of the i440FX boards, where firmware puts the power management."""

    ram_size: int
    apic: bool = True
    """A local APIC and an I/O APIC."""
    hpet: bool = True
    floppy: bool = False
    """A floppy controller at 3F0h."""
    serial: tuple[tuple[int, int], ...] = ((0x3F8, 4), (0x2F8, 3))
    """Port and interrupt of COM1 and on."""
    parallel: tuple[tuple[int, int], ...] = ()
    """The same of LPT1 and on."""
    states: tuple[int, ...] = (3, 4)
    """The sleep states that are offered besides off, S5."""

    pm_base: int = 0x600
    gpe_base: int = 0xAFE0
    smi_port: int = 0xB2
    acpi_enable: int = 0xF1
    acpi_disable: int = 0xF0
    sci: int = 9
    links: tuple[int, ...] = (10, 11)
    """Interrupts that the PCI links may be routed to: all of them level-triggered."""
    local_apic: int = 0xFEE00000
    io_apic: int = 0xFEC00000
    hpet_base: int = 0xFED00000
    fw_cfg: int = 0x510

    @property
    def low_ram(self) -> int:
        """Where RAM ends and, up to the I/O APIC, addresses of PCI cards may begin."""
        return min((self.ram_size + 0xFFF) & ~0xFFF, 0xE0000000)


SLEEP_TYPES = {3: 1, 4: 2, 5: 0}
"""What the PIIX4 wants in SLP_TYP for a sleep state."""
