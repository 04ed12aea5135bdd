from __future__ import annotations

from bios.pc import pci
from tests.bios.fake_host import FakeHost, Machine


class PciHost(FakeHost):
    """A fake host with configuration space: {devfn: bytes} and the sizes of base address registers."""

    def __init__(self) -> None:
        super().__init__()
        self.space: dict[int, bytearray] = {}
        self.bars: dict[tuple[int, int], int] = {}
        self.address = 0

    def add(
        self, device: int, function: int, identity: int, klass: int = 0, *, pin: int = 0, many: bool = False
    ) -> int:
        space = bytearray(256)
        space[0:4] = identity.to_bytes(4, "little")
        space[8:12] = (klass << 8).to_bytes(4, "little")
        space[0x0E] = 0x80 if many else 0
        space[0x3D] = pin
        devfn = device << 3 | function
        self.space[devfn] = space
        return devfn

    def _selected(self) -> bytearray | None:
        if not self.address & 0x80000000 or self.address >> 16 & 0xFF:
            return None
        return self.space.get(self.address >> 8 & 0xFF)

    def port_read(self, port: int, width: int) -> int:
        if 0xCFC <= port <= 0xCFF:
            space = self._selected()
            if space is None:
                return (1 << 8 * width) - 1
            at = (self.address & 0xFC) + port - 0xCFC
            return int.from_bytes(space[at : at + width], "little")
        return super().port_read(port, width)

    def port_write(self, port: int, width: int, value: int) -> None:
        super().port_write(port, width, value)
        if port == 0xCF8:
            self.address = value
        elif 0xCFC <= port <= 0xCFF:
            space = self._selected()
            if space is None:
                return
            at = (self.address & 0xFC) + port - 0xCFC
            if 0x10 <= at < 0x28:
                size = self.bars.get((self.address >> 8 & 0xFF, at), 0)
                kind = 1 if size & 1 else 0
                value = (value & -(size & ~1) & 0xFFFFFFFF) | kind if size else 0
            if at in (0x3D, 0x00):
                return
            space[at : at + width] = value.to_bytes(width, "little")


def test_every_base_address_register_gets_a_place_of_its_own() -> None:
    host = PciHost()
    disk = host.add(4, 0, 0x10011AF4, 0x010000, pin=1)
    card = host.add(5, 0, 0x100E8086, 0x020000, pin=1)
    host.bars = {(disk, 0x10): 0x41, (disk, 0x14): 0x1000, (card, 0x10): 0x20000, (card, 0x14): 0x41}
    pci.set_up(host)

    def bar(devfn: int, at: int) -> int:
        return int.from_bytes(host.space[devfn][at : at + 4], "little")

    assert bar(disk, 0x10) == 0xC001
    assert bar(card, 0x14) == 0xC041
    assert bar(disk, 0x14) == 0xE0000000
    assert bar(card, 0x10) == 0xE0020000
    assert host.space[disk][4] & 3 == 3


def test_interrupt_lines_follow_slot_and_pin() -> None:
    host = PciHost()
    devices = [host.add(slot, 0, 0x10001AF4, pin=1) for slot in (2, 3, 4, 5)]
    pci.set_up(host)
    assert [host.space[devfn][0x3C] for devfn in devices] == [10, 11, 11, 10]


def test_the_piix_gets_its_routes_and_level_triggers() -> None:
    host = PciHost()
    bridge = host.add(1, 0, 0x70008086, 0x060100, many=True)
    ide = host.add(1, 1, 0x70108086, 0x010180)
    power = host.add(1, 3, 0x71138086, 0x068000, pin=1)
    pci.set_up(host)
    assert host.space[bridge][0x60:0x64] == bytes((10, 10, 11, 11))
    assert host.ports[0x4D1] == 0x0E  # 9, 10, 11
    assert host.space[ide][0x41] & 0x80
    assert host.space[ide][4] & 1
    assert int.from_bytes(host.space[power][0x40:0x44], "little") == 0x601
    assert host.space[power][0x3C] == 9


def test_without_pci_nothing_is_touched() -> None:
    host = FakeHost()
    pci.set_up(host)
    assert {port for port, _ in host.written} == {0xCF8}


def test_the_pci_bios_is_there() -> None:
    pc = Machine(PciHost())
    pc.interrupt(0x1A, ax=0xB101)
    assert pc.host.reg("edx") == 0x20494350
    assert (pc.ah, pc.carry) == (0, False)


def test_devices_are_found_by_identity_and_class() -> None:
    host = PciHost()
    host.add(3, 0, 0x100E8086, 0x020000)
    host.add(6, 0, 0x100E8086, 0x020000)
    pc = Machine(host)
    pc.interrupt(0x1A, ax=0xB102, cx=0x100E, dx=0x8086, si=1)
    assert (pc.bx, pc.ah) == (6 << 3, 0)
    pc.interrupt(0x1A, ax=0xB103, ecx=0x020000, si=0)
    assert pc.bx == 3 << 3
    pc.interrupt(0x1A, ax=0xB102, cx=0x100E, dx=0x8086, si=2)
    assert (pc.ah, pc.carry) == (0x86, True)
    pc.interrupt(0x1A, ax=0xB102, cx=0x100E, dx=0xFFFF, si=0)
    assert pc.ah == 0x83


def test_configuration_space_is_read_and_written() -> None:
    host = PciHost()
    devfn = host.add(3, 0, 0x100E8086)
    pc = Machine(host)
    pc.interrupt(0x1A, ax=0xB10A, bx=devfn, di=0)
    assert pc.host.reg("ecx") == 0x100E8086
    pc.interrupt(0x1A, ax=0xB10B, bx=devfn, di=0x3C, ecx=0x55)
    pc.interrupt(0x1A, ax=0xB108, bx=devfn, di=0x3C)
    assert pc.cl == 0x55
    pc.interrupt(0x1A, ax=0xB109, bx=devfn, di=0x3D)
    assert (pc.ah, pc.carry) == (0x87, True)


def test_routing_options_need_room_for_the_table() -> None:
    pc = Machine(PciHost())
    pc.poke(0x5000, b"\x10\x00\x00\x10\x00\x00")
    pc.interrupt(0x1A, ax=0xB10E, es=0x500, di=0)
    assert pc.ah == 0x89
    size = pc.word(0x5000)
    pc.interrupt(0x1A, ax=0xB10E, es=0x500, di=0)
    assert (pc.ah, pc.carry) == (0, False)
    assert pc.host.ram[0x1000 : 0x1000 + size] == pci.routing_entries()
