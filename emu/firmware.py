"""The machine as its firmware sees it: satisfies `bios.pc.host.Host` for any board with our BIOS."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bios.pc.host import Drive, LinearFault
from emu.cpu import GuestFault

if TYPE_CHECKING:
    from bios.pc.acpi import Board
    from bios.pc.smbios import Words
    from bios.plan import LoadPlan
    from emu.machine import Machine

LOG = logging.getLogger("emu.bios")


class BiosHost:
    """What the BIOS may do to a machine. See `bios.pc.host.Host` for the meaning of each part."""

    def __init__(
        self,
        machine: Machine,
        *,
        disks: Sequence[Drive],
        boot_order: str,
        direct_boot: LoadPlan | None,
        apic: bool,
        acpi: Board | None,
        smbios: Words,
        cpu_signature: int,
        cpu_features: int,
    ) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self._bus = machine.bus
        self.disks = disks
        self.boot_order = boot_order
        self.direct_boot = direct_boot
        self.apic = apic
        self.acpi = acpi
        self.smbios = smbios
        self.cpu_signature = cpu_signature
        self.cpu_features = cpu_features
        self.ram_size = machine.ram.size

    def reg(self, name: str) -> int:
        return self._cpu.reg(name)

    def set_reg(self, name: str, value: int) -> None:
        self._cpu.set_reg(name, value)

    def read_linear(self, address: int, length: int) -> bytes:
        try:
            return self._cpu.read_linear(address, length)
        except GuestFault as fault:
            raise LinearFault(str(fault)) from None

    def write_linear(self, address: int, data: bytes) -> None:
        try:
            self._cpu.write_linear(address, data)
        except GuestFault as fault:
            raise LinearFault(str(fault)) from None

    def read_phys(self, address: int, length: int) -> bytes:
        return self._bus.phys_read(address, length)

    def write_phys(self, address: int, data: bytes) -> None:
        self._bus.phys_write(address, data)

    def port_read(self, port: int, width: int) -> int:
        return self._bus.port_read(port, width)

    def port_write(self, port: int, width: int, value: int) -> None:
        self._bus.port_write(port, width, value)

    def now(self) -> int:
        return self._machine.clock.now()

    def request_reset(self) -> None:
        self._machine.request_reset()

    def log(self, message: str) -> None:
        LOG.info("%s", message)
