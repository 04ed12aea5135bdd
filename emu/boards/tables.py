"""What firmware is told of a PC: the items of fw_cfg, and the descriptions from which ACPI and SMBIOS tables are made.

Our own BIOS takes the descriptions as they are (`emu.firmware.BiosHost`), other firmware finds the finished tables in
fw_cfg and places them.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from bios.pc import acpi, smbios
from cores.x86.models import cpu_model, cpuid
from devices.fw_cfg import FwCfg
from emu.boards.boot import boot_order_file
from emu.media import read_file
from emu.options import UsageError, shown

if TYPE_CHECKING:
    from devices.contracts import GuestMemory
    from emu.boards import Setup
    from emu.machine import Machine
    from emu.options import Config

SERIAL_PORTS = ((0x3F8, 4), (0x2F8, 3))
LOADER, LOADER_PLACES = "genroms/linuxboot_dma.bin", ("/usr/share/qemu/linuxboot_dma.bin",)
FILE_LIMIT = 16 << 20
STRUCTURE_LIMIT = 0x1000
RAM = 1


def board(setup: Setup, *, apic: bool) -> acpi.Board:
    """What the ACPI tables say."""
    config = setup.config
    present = setup.serial[: len(SERIAL_PORTS)]
    serial = tuple(port for port, console in zip(SERIAL_PORTS, present, strict=False) if console is not None)
    states = tuple({3, 4} - config.no_sleep)
    return acpi.Board(config.memory, apic=apic, hpet=config.hpet, floppy=True, serial=serial, states=states)


def words(config: Config) -> smbios.Words:
    """What the SMBIOS tables say. Raises UsageError."""
    out = smbios.Words()
    if config.uuid:
        out.uuid = smbios.uuid_bytes(config.uuid)
    for kind, given in config.smbios:
        try:
            if kind >= 0:
                out.add(kind, {key: text for key, text in given.items() if key != "uuid"})
            else:
                out.add_structure(read_file(given["file"], "an SMBIOS structure", STRUCTURE_LIMIT))
            smbios.structures(out, ram_size=config.memory, cpu_signature=0, cpu_features=0, bios=True)
        except ValueError as error:
            raise UsageError(f"-smbios: {shown(str(error), 300)}") from None
    return out


def configuration(setup: Setup, memory: GuestMemory, *, uuid: bytes) -> FwCfg:
    """fw_cfg with what every firmware and guest finds in it, and with what -fw_cfg adds. Raises UsageError."""
    config = setup.config
    made = FwCfg(memory=memory, ram_size=config.memory, uuid=uuid, hpet=config.hpet, menu=config.boot_menu)
    made.add_file("etc/e820", struct.pack("<QQI", 0, config.memory, RAM))
    for name, text, path in config.fw_cfg:
        content = text.encode() if text is not None else read_file(path or "", "a file for -fw_cfg", FILE_LIMIT)
        try:
            made.add_file(name, content)
        except ValueError as error:
            raise UsageError(f"-fw_cfg: {shown(str(error))}") from None
    return made


def _loader() -> bytes:
    """QEMU's option ROM that boots a kernel in fw_cfg, if the host has it. SeaBIOS itself loads none."""
    for place in LOADER_PLACES:
        if os.path.exists(place):
            return read_file(place, "an option ROM", FILE_LIMIT)
    return b""


def tell_firmware(m: Machine, setup: Setup, cfg: FwCfg, description: acpi.Board, said: smbios.Words) -> None:
    """Add what only the firmware of -bios needs: the tables, and the order of boot devices. Raises UsageError."""
    signature, _, _, features = cpuid(cpu_model(setup.config.cpu), 1)
    files = smbios.firmware_files(said, ram_size=m.ram.size, cpu_signature=signature, cpu_features=features)
    if setup.config.acpi:
        files |= acpi.firmware_files(description)
    if setup.config.boot_wait is not None:
        files["etc/boot-menu-wait"] = setup.config.boot_wait.to_bytes(2, "little")
    if setup.config.reboot_timeout is not None:
        files["etc/boot-fail-wait"] = setup.config.reboot_timeout.to_bytes(4, "little", signed=True)
    order = boot_order_file(m, setup)
    given = {name for name, _, _ in setup.config.fw_cfg}
    if setup.config.kernel is not None and LOADER not in given and (loader := _loader()):
        files[LOADER] = loader
        order = f"/rom@{LOADER}\n".encode() + (order or b"\0")
    if order and "bootorder" not in given:
        files["bootorder"] = order
    for name, content in files.items():
        try:
            cfg.add_file(name, content)
        except ValueError:
            raise UsageError(f"-fw_cfg: {name} is the board's own") from None
