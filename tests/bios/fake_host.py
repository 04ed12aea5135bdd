"""A machine for BIOS tests: registers in a dict, RAM in a bytearray, ports that remember what was written."""

from __future__ import annotations

from collections.abc import Sequence

from bios.pc import rom
from bios.pc.acpi import Board
from bios.pc.firmware import Bios
from bios.pc.host import Action, Drive, DriveKind, LinearFault
from bios.pc.smbios import Words
from bios.plan import LoadPlan

WIDE = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
STACK = 0x2000
FRAME = STACK - 6
CALLER = (0x1234, 0x0050)  # CS, IP of the interrupted program
INDEXED = {0x70: 0x71, 0x3C4: 0x3C5, 0x3CE: 0x3CF, 0x3D4: 0x3D5, 0x3B4: 0x3B5}


class Medium:
    """A disk in memory. `broken` makes every access fail as a host disk does."""

    def __init__(self, data: bytes, *, read_only: bool = False) -> None:
        self.data = bytearray(data)
        self.read_only = read_only
        self.broken = False
        self.reads = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        if self.broken or offset < 0 or offset + length > self.size:
            raise OSError(5, "Input/output error")
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if self.read_only:
            raise PermissionError(1, "read-only")
        if self.broken or offset < 0 or offset + len(data) > self.size:
            raise OSError(28, "No space left on device")
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Nothing is buffered."""


def floppy(kib: int = 1440, **options: bool) -> Drive:
    """A floppy whose sectors each begin with their number."""
    data = bytearray(kib << 10)
    for n in range(kib * 2):
        data[n * 512 : n * 512 + 4] = n.to_bytes(4, "little")
    return Drive(DriveKind.FLOPPY, Medium(bytes(data), **options))


def hard_disk(sectors: int = 16 * 63 * 20, **options: bool) -> Drive:
    """A hard disk whose sectors each begin with their number."""
    data = bytearray(sectors * 512)
    for n in range(sectors):
        data[n * 512 : n * 512 + 4] = n.to_bytes(4, "little")
    return Drive(DriveKind.HD, Medium(bytes(data), **options))


class FakeHost:
    """Satisfies `bios.pc.host.Host`. Memory above `ram_size` reads as ones; linear addresses below `hole` fault."""

    def __init__(self, ram_size: int = 4 << 20, disks: Sequence[Drive] = (), *, apic: bool = True) -> None:
        self.ram_size = ram_size
        self.ram = bytearray(ram_size)
        self.high: dict[int, bytes] = {}
        self.disks = list(disks)
        self.boot_order = "acd"
        self.direct_boot: LoadPlan | None = None
        self.apic = apic
        self.acpi: Board | None = Board(ram_size, apic=apic)
        self.smbios = Words()
        self.cpu_signature = 0x673
        self.cpu_features = 0x383FBFF
        self.regs: dict[str, int] = dict.fromkeys((*WIDE, "eip", "eflags", "cr0"), 0)
        for name in ("cs", "ds", "es", "fs", "gs", "ss"):
            self.regs[name] = self.regs[f"{name}.base"] = 0
        self.msrs: dict[str, int] = {}
        self.ports: dict[int, int] = {}
        self.indexed: dict[tuple[int, int], int] = {}
        self.written: list[tuple[int, int]] = []
        self.input: dict[int, list[int]] = {}
        self.time = 0
        self.resets = 0
        self.lines: list[str] = []
        self.unmapped: range = range(0)
        self.ports[0x64] = 0x1C

    def reg(self, name: str) -> int:
        if name in self.regs:
            return self.regs[name]
        if len(name) == 2 and name[1] in "lh":
            return self.regs[f"e{name[0]}x"] >> (8 if name[1] == "h" else 0) & 0xFF
        return self.regs[f"e{name}"] & 0xFFFF

    def set_reg(self, name: str, value: int) -> None:
        if name in self.regs:
            limit = 0x10000 if name in ("cs", "ds", "es", "fs", "gs", "ss") else 1 << 32
            assert 0 <= value < limit, f"{name} = {value:#x}"
            self.regs[name] = value
            if f"{name}.base" in self.regs:
                self.regs[f"{name}.base"] = value << 4
        elif name.startswith("msr_"):
            assert 0 <= value < 1 << 64, f"{name} = {value:#x}"
            self.msrs[name] = value
        elif name.endswith((".base", ".limit", ".attr")):
            self.regs[name] = value
        elif len(name) == 2 and name[1] in "lh":
            assert 0 <= value < 0x100, f"{name} = {value:#x}"
            shift = 8 if name[1] == "h" else 0
            wide = f"e{name[0]}x"
            self.regs[wide] = self.regs[wide] & ~(0xFF << shift) | value << shift
        else:
            assert 0 <= value < 0x10000, f"{name} = {value:#x}"
            self.regs[f"e{name}"] = self.regs[f"e{name}"] & ~0xFFFF | value

    def read_linear(self, address: int, length: int) -> bytes:
        assert 0 <= address < 1 << 32, hex(address)
        if address in self.unmapped:
            raise LinearFault(hex(address))
        return self.read_phys(address, length)

    def write_linear(self, address: int, data: bytes) -> None:
        assert 0 <= address < 1 << 32, hex(address)
        if address in self.unmapped:
            raise LinearFault(hex(address))
        self.write_phys(address, data)

    def read_phys(self, address: int, length: int) -> bytes:
        assert address >= 0, hex(address)
        assert 0 <= length <= 0x200000, length
        found = bytes(self.ram[address : address + length])
        return found + b"\xff" * (length - len(found))

    def write_phys(self, address: int, data: bytes) -> None:
        assert address >= 0, hex(address)
        if address + len(data) <= self.ram_size:
            self.ram[address : address + len(data)] = data
        else:
            self.high[address] = data

    def port_read(self, port: int, width: int) -> int:
        assert 0 <= port < 0x10000, hex(port)
        waiting = self.input.get(port)
        if waiting:
            return waiting.pop(0)
        for index, data in INDEXED.items():
            if port == data:
                return self.indexed.get((index, self.ports.get(index, 0)), 0)
        return self.ports.get(port, (1 << 8 * width) - 1)

    def port_write(self, port: int, width: int, value: int) -> None:
        assert 0 <= port < 0x10000, hex(port)
        assert width in (1, 2, 4), width
        assert 0 <= value < 1 << 8 * width, (hex(port), hex(value))
        self.written.append((port, value))
        for index, data in INDEXED.items():
            if port == data:
                self.indexed[(index, self.ports.get(index, 0))] = value
                return
        if port != 0x64:
            self.ports[port] = value

    def now(self) -> int:
        return self.time

    def request_reset(self) -> None:
        self.resets += 1

    def log(self, message: str) -> None:
        assert "\n" not in message
        self.lines.append(message)


class Machine:
    """A BIOS on a fake host, past POST unless told otherwise."""

    def __init__(self, host: FakeHost | None = None, *, post: bool = True) -> None:
        self.host = host or FakeHost()
        self.bios = Bios(self.host)
        self.host.ram[0xF0000:0x100000] = self.bios.rom()
        if post:
            self.hook("post")
            self.host.written.clear()

    def hook(self, name: str, *, resumed: bool = False, vector: int | None = None) -> Action:
        """Arrive just after the OUT of a named hook."""
        for at, point in rom.HOOK_POINTS.items():
            if point.name == name and point.resumed == resumed and vector in (None, point.vector):
                self.host.set_reg("cs", rom.SEGMENT)
                self.host.set_reg("eip", at)
                return self.bios.dispatch()
        raise LookupError(name)

    def interrupt(self, vector: int, *, resumed: bool = False, flags: int = 0x202, **registers: int) -> Action:
        """INT n with the registers given: builds the frame, runs the service."""
        for name, value in registers.items():
            self.host.set_reg(name, value)
        self.host.set_reg("ss", 0)
        self.host.set_reg("esp", FRAME)
        segment, offset = CALLER
        frame = offset.to_bytes(2, "little") + segment.to_bytes(2, "little") + flags.to_bytes(2, "little")
        self.host.ram[FRAME:STACK] = frame
        return self.hook(f"int{vector:02x}", resumed=resumed)

    def __getattr__(self, name: str) -> int:
        """A register of 8 or 16 bits, or EIP."""
        if len(name) == 2 or name == "eip":
            return self.host.reg(name)
        raise AttributeError(name)

    @property
    def flags(self) -> int:
        """The FLAGS that IRET will restore."""
        return int.from_bytes(self.host.ram[FRAME + 4 : FRAME + 6], "little")

    @property
    def carry(self) -> bool:
        return bool(self.flags & 1)

    @property
    def zero(self) -> bool:
        return bool(self.flags & 0x40)

    def word(self, address: int) -> int:
        return int.from_bytes(self.host.ram[address : address + 2], "little")

    def dword(self, address: int) -> int:
        return int.from_bytes(self.host.ram[address : address + 4], "little")

    def poke(self, address: int, data: bytes) -> None:
        self.host.ram[address : address + len(data)] = data

    def screen(self, row: int, *, base: int = 0xB8000) -> str:
        """The characters of a text row."""
        return self.host.ram[base + row * 160 : base + row * 160 + 160 : 2].decode("cp437").rstrip()

    def keys(self) -> list[int]:
        """The words in the keyboard buffer, oldest first."""
        head, tail = self.word(0x41A), self.word(0x41C)
        out = []
        while head != tail:
            out.append(self.word(0x400 + head))
            head = 0x1E if head == 0x3C else head + 2
        return out
