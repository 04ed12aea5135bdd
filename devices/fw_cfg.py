"""fw_cfg: named items that a machine hands to its firmware and kernels.

QEMU's specification "QEMU Firmware Configuration (fw_cfg) Device", which guests probe for by its signature. Ports
510h-511h go to `read`/`write`, the DMA address register 514h-51Bh to `read_dma`/`write_dma`. Items are read-only.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices.contracts import GuestMemory
from devices.device import Device, device
from devices.state import octets, uint

SIGNATURE, ID, UUID, RAM_SIZE, NOGRAPHIC, CPUS = range(6)
NUMA, BOOT_MENU, MAX_CPUS, DIRECTORY, FIRST_FILE = 0x0D, 0x0E, 0x0F, 0x19, 0x20
IRQ0_OVERRIDE, HPET = 0x8002, 0x8004
"""Items of the PC: interrupt 0 is input 2 of the I/O APIC; the event timer blocks."""
HPET_BLOCK = (0x8086A201, 0xFED00000, 0, 0)
HPET_BLOCKS = 8
WRITE_CHANNEL = 0x4000
"""A bit of the selector that names no other item."""
FILES_MAX = 0x4000 - FIRST_FILE
NAME_MAX = 55

ERROR, READ, SKIP, SELECT, WRITE = 0x01, 0x02, 0x04, 0x08, 0x10
CHUNK = 1 << 16
ZEROS_MAX = 1 << 24
"""Bytes past an item's end that one DMA may ask for; more is refused, so that no request is without bound."""


@dataclass
class FwCfgState:
    key: int = uint(16)
    position: int = uint(32)
    address: bytearray = octets(8, 8)
    """The DMA address register, highest byte first."""


@device("fw-cfg", "firmware configuration (fw_cfg)")
class FwCfg(Device):
    """Raises ValueError, from the methods that add, for keys or names taken twice or too long."""

    State = FwCfgState
    state: FwCfgState

    def __init__(
        self,
        *,
        memory: GuestMemory,
        ram_size: int,
        cpus: int = 1,
        uuid: bytes = bytes(16),
        hpet: bool = False,
        menu: bool = False,
    ) -> None:
        super().__init__()
        self.memory = memory
        self._items: dict[int, bytes] = {}
        self._files: dict[str, int] = {}
        self.add_item(SIGNATURE, b"QEMU")
        self.add_item(ID, (3).to_bytes(4, "little"))
        self.add_item(UUID, uuid)
        self.add_item(RAM_SIZE, ram_size.to_bytes(8, "little"))
        self.add_item(NOGRAPHIC, (0).to_bytes(2, "little"))
        self.add_item(CPUS, cpus.to_bytes(2, "little"))
        self.add_item(MAX_CPUS, cpus.to_bytes(2, "little"))
        self.add_item(NUMA, bytes(8 * (1 + cpus)))  # no nodes, and so no processor in one
        self.add_item(BOOT_MENU, menu.to_bytes(2, "little"))
        self.add_item(IRQ0_OVERRIDE, (1).to_bytes(4, "little"))
        blocks = b"".join(part.to_bytes(size, "little") for part, size in zip(HPET_BLOCK, (4, 8, 2, 1), strict=True))
        self.add_item(HPET, bytes((hpet,)) + (blocks if hpet else b"").ljust(HPET_BLOCKS * 15, b"\0"))
        self._make_directory()

    def add_item(self, key: int, data: bytes) -> None:
        """An item under a number 0..FFFFh."""
        if not 0 <= key <= 0xFFFF or key in self._items:
            raise ValueError(f"fw_cfg key {key:#x} is taken or out of range")
        self._items[key] = bytes(data)

    def add_file(self, name: str, data: bytes) -> int:
        """A named item, listed in the directory. Gives its key."""
        encoded = name.encode("utf-8", "replace")
        if not 1 <= len(encoded) <= NAME_MAX or name in self._files or len(self._files) >= FILES_MAX:
            raise ValueError(f"fw_cfg file {name!r}: expected a new name of 1 to {NAME_MAX} bytes")
        key = FIRST_FILE + len(self._files)
        self.add_item(key, data)
        self._files[name] = key
        self._make_directory()
        return key

    def _make_directory(self) -> None:
        directory = bytearray(len(self._files).to_bytes(4, "big"))
        for name in sorted(self._files):
            key = self._files[name]
            directory += len(self._items[key]).to_bytes(4, "big") + key.to_bytes(2, "big") + bytes(2)
            directory += name.encode("utf-8", "replace").ljust(NAME_MAX + 1, b"\0")
        self._items[DIRECTORY] = bytes(directory)

    def _select(self, key: int) -> None:
        self.state.key = key
        self.state.position = 0

    def _item(self) -> bytes:
        return self._items.get(self.state.key & ~WRITE_CHANNEL, b"")

    def read_data_block(self, nbytes: int) -> bytes:
        """What `nbytes` byte reads of the data port give: the item from where reading stands, then zeros."""
        s = self.state
        data = self._item()[s.position : s.position + nbytes]
        s.position = min(s.position + nbytes, 0xFFFFFFFF)
        return data + bytes(nbytes - len(data))

    # Selector and data

    def read(self, offset: int, width: int) -> int:
        """A byte of the item, at either port: the selector is write-only."""
        return self.read_data_block(1)[0] if width == 1 else 0

    def write(self, offset: int, width: int, value: int) -> None:
        """A word at 510h selects an item. Data cannot be written."""
        if offset == 0 and width == 2:
            self._select(value)

    # DMA

    def read_dma(self, offset: int, width: int) -> int:
        """The signature that says DMA is there."""
        return int.from_bytes(b"QEMU CFG"[offset : offset + width], "little")

    def write_dma(self, offset: int, width: int, value: int) -> None:
        """The address of a request, highest byte first; its last byte starts it."""
        address = self.state.address
        address[offset : offset + width] = value.to_bytes(width, "little")
        if offset + width == 8:
            where = int.from_bytes(address, "big")
            address[:] = bytes(8)
            self._transfer(where)

    def _transfer(self, where: int) -> None:
        """Carry out the request (control, length, address; all big-endian) at physical address `where`."""
        request = self.memory.read(where, 16)
        control, length = int.from_bytes(request[0:4], "big"), int.from_bytes(request[4:8], "big")
        target = int.from_bytes(request[8:16], "big")
        s = self.state
        if control & SELECT:
            self._select(control >> 16)
        left = max(0, len(self._item()) - s.position)
        if control & READ:
            failed = length > left + ZEROS_MAX
            while length and not failed:
                count = min(length, CHUNK)
                self.memory.write(target, self.read_data_block(count))
                target += count
                length -= count
        elif control & WRITE:
            failed = True
        else:
            failed = False
            if control & SKIP:
                s.position = min(s.position + length, 0xFFFFFFFF)
        self.memory.write(where, (ERROR if failed else 0).to_bytes(4, "big"))
