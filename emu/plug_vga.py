"""The display card of -vga, and of -device VGA with its properties."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from emu.options import DEVICES, UsageError, number, shown, switch, unknown

if TYPE_CHECKING:
    from devices.pci import Moved
    from devices.vga import Vga
    from emu.boards import Setup
    from emu.machine import Machine
    from emu.options import Config
    from emu.plug import PciBoard

NAME = "VGA"
SLOT = 2
ROM_PLACES = ("/usr/share/seabios", "/usr/share/vgabios", "/usr/share/qemu")
ROM_FILE = "vgabios-stdvga.bin"
LARGEST_ROM = 1 << 20


def properties(config: Config) -> dict[str, str] | None:
    """What the command line says of the card; None without one."""
    found = [props for name, props in config.devices if name == NAME]
    if len(found) > 1:
        raise UsageError("-device VGA: only one display card is possible")
    if not found and (config.vga == "none" or (config.nodefaults and not config.vga)):
        return None
    for key in config.vga_props:
        if key not in DEVICES[NAME]:
            raise unknown("property of VGA:", key, DEVICES[NAME])
    return {**config.vga_props, **(found[0] if found else {})}


def video_memory(config: Config) -> int:
    """Bytes of the card's frame buffer; 0 without a card. Raises UsageError."""
    props = properties(config)
    if props is None:
        return 0
    size = number(props.get("vgamem_mb", "16"), "VGA vgamem_mb", 1, 256)
    if size & (size - 1):
        raise UsageError(f"VGA vgamem_mb: expected a power of two, found {size}")
    return size << 20


def plug_vga(machine: Machine, setup: Setup, board: PciBoard, vga: Vga, moved: Moved) -> None:
    """Put the card into its slot. Raises UsageError."""
    from devices.vga_pci import VgaPci
    from emu.plug import ADDRESS, Slot

    props = properties(setup.config) or {}
    slot = SLOT
    if "addr" in props:
        match = ADDRESS.fullmatch(props["addr"])
        if match is None or int(match[1], 16) not in board.slots or match[2] not in (None, "0"):
            raise UsageError(f"-device VGA: addr: expected a slot such as 5, found '{shown(props['addr'])}'")
        slot = int(match[1], 16)
    mode = None
    if switch(props.get("edid", "on"), "VGA edid"):
        mode = (
            number(props.get("xres", "1280"), "VGA xres", 8, 4088),
            number(props.get("yres", "800"), "VGA yres", 1, 4095),
        )
    try:
        card = VgaPci(slot=Slot(board, slot), vga=vga, moved=moved, mode=mode)
    except ValueError as error:
        raise UsageError(f"-device VGA: {error}") from None
    image = _rom(setup.config, props)
    if image:
        card.set_rom(image)
    machine.devices["vga-pci"] = card
    board.bus.add(slot, 0, card)


def _rom(config: Config, props: dict[str, str]) -> bytes:
    """The option ROM: romfile=, or SeaBIOS' for a firmware of -bios, if the host has it; ours needs none."""
    from emu.media import read_file

    if props.get("rombar", "1") in ("0", "off"):
        return b""
    path = props.get("romfile")
    if path is None:
        if config.bios is None:
            return b""
        path = next((f"{place}/{ROM_FILE}" for place in ROM_PLACES if os.path.isfile(f"{place}/{ROM_FILE}")), "")
    if not path:
        return b""
    image = read_file(path, "an option ROM", LARGEST_ROM)
    if image[:2] != b"\x55\xaa":
        raise UsageError(f"-device VGA: romfile={shown(path)}: expected an option ROM, which begins with 55 AA")
    return image
