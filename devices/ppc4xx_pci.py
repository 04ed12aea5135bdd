"""PCI host bridges of the 440EP (PCI) and the 460EX (PCI-X), and the PCI Express ports of the 460EX.

    pci = Pci440Ep(memory=dma)
    map_mmio(0xEEC00000, 8, pci.read_config, pci.write_config, swap=True)
    map_mmio(0xEED00000, 4, pci.read_cycle, pci.write_cycle, swap=True)
    map_mmio(0xEF400000, 0x40, pci.read, pci.write, swap=True)

    pcix = Pci460Ex(memory=dma)
    map_mmio(0xC0EC00000, 8, pcix.read_config, pcix.write_config, swap=True)
    map_mmio(0xC0ED00000, 4, pcix.read_cycle, pcix.write_cycle, swap=True)
    map_mmio(0xC0EC80000, 0x200, pcix.read, pcix.write, swap=True)

    pcie = [Pcie460Ex(port=0), Pcie460Ex(port=1)]
    map_dcrs(0x100 or 0x120, 0x20, port.read_dcr, port.write_dcr)
    map_mmio(0xC08010000 or 0xC08011000, 0x1000, port.read_utl, port.write_utl)
    map_mmio(0xD10000000 or 0xD30000000, 0x1000, port.read_config, port.write_config, swap=True)

PCI functions go into both hosts as into one of a PC: `host.add(slot, 0, function)`, with `host.inbound` for their DMA
and `Bar(n, size, host.outbound.range(size, moved))`, where `moved` is told physical addresses (with `io=True` those in
the I/O window) and maps the range with `swap=True`. Slot 0 is the bridge, `host.bridge`, with a reset of its own. What
the windows do not show reads all ones.

Interrupts come from the slots, not from the bridges. Bamboo ties the four pins of a slot together: slots 1, 2, 3, 4 are
inputs 28, 27, 26, 25 of UIC0, active low. Canyonlands has one line for all, input 0 of UIC1, active low.

PPC440EP user's manual, "PCI Interface"; PPC460EX user's manual, "PCI-X Interface" and "PCI Express Interface". Windows
to PCI addresses beyond 4 GiB show nothing here, and PCI errors never happen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from devices.contracts import GuestMemory
from devices.device import device
from devices.pci import COMMAND, MEMORY_ENABLE, PciBus, PciFunction
from devices.pci_windows import Inbound, Outbound, Window
from devices.ppc4xx_dcr import DcrDevice, words
from devices.registers import Bank

PAGE_MASK = 0xFFFF_F000
FOUR_GIB = 1 << 32
ENABLE = 1


def window_size(mask: int) -> int:
    """The bytes of a window whose address is compared under a mask of 32 bits: its lowest one, 4 GiB if it has none."""
    return (mask | FOUR_GIB) & -(mask | FOUR_GIB)


class _Bridge(PciFunction):
    """The bridge as PCI sees it. `changed` is called after each write."""

    vendor = 0x1014
    product = 0x027F
    revision = 1
    class_code = 0x068000
    subsystem = 0

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self.declare(0x0C, 2, 0, 0xFFFF)  # cache line size, latency timer

    def applied(self) -> None:
        super().applied()
        self._changed()

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        self._changed()

    @property
    def answers(self) -> bool:
        """Memory accesses from PCI are taken."""
        return bool(self.get(COMMAND, 2) & MEMORY_ENABLE)


class _Host(PciBus, ABC):
    """What both hosts do: configuration cycles, and windows that follow the registers."""

    def __init__(self, memory: GuestMemory) -> None:
        super().__init__()
        self.outbound = Outbound(self.unimplemented)
        self.inbound = Inbound(memory)

    def reset(self) -> None:
        """Windows closed. The functions, and `bridge`, have resets of their own."""
        self.clear()
        self.follow()

    def restored(self) -> None:
        self.follow()

    @abstractmethod
    def follow(self) -> None:
        """Make the windows what the registers say."""

    def read_config(self, offset: int, width: int) -> int:
        """CFGADDR at 0, CFGDATA at 4."""
        if offset & 4:
            return self.read_data(offset & 3, width)
        return self.state.address >> 8 * offset & (1 << 8 * width) - 1

    def write_config(self, offset: int, width: int, value: int) -> None:
        """CFGADDR at 0, CFGDATA at 4."""
        if offset & 4:
            self.write_data(offset & 3, width, value)
        else:
            hole = (1 << 8 * width) - 1 << 8 * offset
            self.state.address = (self.state.address & ~hole | value << 8 * offset) & 0x80FF_FFFF

    def read_cycle(self, offset: int, width: int) -> int:
        """An interrupt acknowledge cycle, which nobody answers."""
        return (1 << 8 * width) - 1

    def write_cycle(self, offset: int, width: int, value: int) -> None:
        """A special cycle, which nobody listens to."""


@device("ppc440ep-pci-bridge", "host bridge of the 440EP, as PCI sees it")
class Bridge440Ep(_Bridge):
    """`masks` are the two PTM masks: a base address register has only the bits that its mask has."""

    PTM_BARS = (0x14, 0x18)

    def __init__(self, *, changed: Callable[[], None], masks: Callable[[], tuple[int, int]]) -> None:
        super().__init__(changed)
        self._masks = masks
        for register in self.PTM_BARS:
            self.declare(register, 4, 0x08, PAGE_MASK)
        self.declare(0x44, 4, 0, 0x0000_0001)
        for register in (0x48, 0x4C, 0x50, 0x60, 0x64):  # errors and bridge options
            self.declare(register, 4, 0, 0xFFFF_FFFF)
        self.declare(0x54, 4, 0)
        self.clear()

    def config_read(self, register: int, width: int) -> int:
        for bar, mask in zip(self.PTM_BARS, self._masks(), strict=True):
            if bar <= register < bar + 4:
                shown = self.get(bar, 4) & (mask & PAGE_MASK | 0x0F) if mask & ENABLE else 0
                return shown >> 8 * (register - bar) & (1 << 8 * width) - 1
        return super().config_read(register, width)


def _declare_440(regs: Bank) -> None:
    for n in range(3):
        regs.register(0x10 * n, f"PMM{n}LA", mask=PAGE_MASK)
        regs.register(0x10 * n + 4, f"PMM{n}MA", mask=PAGE_MASK | 3, fields={"PRE": 1, "ENA": 0})
        regs.register(0x10 * n + 8, f"PMM{n}PCILA", mask=PAGE_MASK)
        regs.register(0x10 * n + 12, f"PMM{n}PCIHA")
    for n in (1, 2):
        regs.register(0x28 + 8 * n, f"PTM{n}MS", mask=PAGE_MASK | ENABLE, fields={"ENA": 0})
        regs.register(0x2C + 8 * n, f"PTM{n}LA", mask=PAGE_MASK)


@device("ppc440ep-pci", "PCI host bridge of the 440EP")
class Pci440Ep(_Host):
    """`memory` is guest RAM for DMA. Only bus 0 exists."""

    MEMORY = (0x8000_0000, 0xE800_0000)
    """Physical addresses that the three memory windows can be in."""
    IO = (Window(0xE800_0000, 0, 0x1_0000, True), Window(0xE880_0000, 0x80_0000, 0x380_0000, True))

    regs = Bank(0x40, width=4)
    _declare_440(regs)

    def __init__(self, *, memory: GuestMemory) -> None:
        super().__init__(memory)
        self.bridge = Bridge440Ep(changed=self.follow_inbound, masks=self._masks)
        self.add(0, 0, self.bridge)
        self.follow()

    def read(self, offset: int, width: int) -> int:
        """The window registers."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """The window registers."""
        self.regs.write(self, offset, width, value)
        self.follow()

    def _masks(self) -> tuple[int, int]:
        return self.registers["PTM1MS"], self.registers["PTM2MS"]

    def follow(self) -> None:
        r = self.registers
        windows = []
        for n in range(3):
            mask = r[f"PMM{n}MA"] & PAGE_MASK
            local, size = r[f"PMM{n}LA"] & mask, window_size(mask)
            pci = r[f"PMM{n}PCIHA"] << 32 | r[f"PMM{n}PCILA"] & mask
            if r[f"PMM{n}MA"] & ENABLE and self.MEMORY[0] <= local <= self.MEMORY[1] - size:
                windows.append(Window(local, pci, size))
        self.outbound.set([*windows, *self.IO])
        self.follow_inbound()

    def follow_inbound(self) -> None:
        """Make the windows for DMA what the registers here and in the bridge say."""
        windows = []
        for n, bar in zip((1, 2), self.bridge.PTM_BARS, strict=True):
            mask = self.registers[f"PTM{n}MS"]
            if mask & ENABLE and self.bridge.answers:
                mask &= PAGE_MASK
                local = self.registers[f"PTM{n}LA"] & mask
                windows.append(Window(local, self.bridge.get(bar, 4) & mask, window_size(mask)))
        self.inbound.windows = tuple(windows)


@device("ppc460ex-pcix-bridge", "PCI-X host bridge of the 460EX: its configuration space is its register block")
class Bridge460Ex(_Bridge):
    """Outbound windows are POM0 and POM1, inbound ones PIM0 to PIM2."""

    POMS = ((0x68, 0x6C, 0x70, 0x74, 0x78), (0x7C, 0x80, 0x84, 0x88, 0x8C))
    """Local address low and high, size, PCI address low and high."""
    PIMS = ((0x98, 0xF8, 0x9C, 0xA0, 0x10), (0xA4, 0, 0xA8, 0xAC, 0x18), (0xB0, 0xFC, 0xB4, 0xB8, 0x1C))
    """Size low and high, local address low and high, base address register."""

    def __init__(self, *, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        for register in (0x10, 0x18, 0x1C):
            self.declare(register, 4, 0x0C if register != 0x18 else 0x08, PAGE_MASK)
        for register in (0x14, 0x20, 0x24, 0x40, 0x44, 0x50, 0x54, 0x58, 0x5C, 0x60):
            self.declare(register, 4, 0, 0xFFFF_FFFF)
        for register in (*range(0x68, 0x94, 4), *range(0x98, 0xBC, 4), 0xC4, 0xC8, 0xCC, 0xD4, 0xF8, 0xFC):
            self.declare(register, 4, 0, 0xFFFF_FFFF)
        self.clear()

    def config_read(self, register: int, width: int) -> int:
        """A base address register has only the bits that the size of its PIM has, and none while that is disabled."""
        for size_low, size_high, _, _, bar in self.PIMS:
            if bar <= register < bar + (8 if size_high else 4):
                mask = self._mask(size_low, size_high) | 0x0F
                value = self.get(bar, 8) & mask if self.get(size_low, 4) & ENABLE else 0
                return value >> 8 * (register - bar) & (1 << 8 * width) - 1
        return super().config_read(register, width)

    def _mask(self, size_low: int, size_high: int) -> int:
        """The 64 bits of a PIM's size. A high half that was never written counts as ones."""
        high = self.get(size_high, 4) if size_high else 0
        return (high or 0xFFFF_FFFF) << 32 | self.get(size_low, 4) & PAGE_MASK

    def outbound(self) -> list[Window]:
        """The enabled POMs."""
        windows = []
        for low, high, size, pci_low, pci_high in self.POMS:
            control = self.get(size, 4)
            mask = control & PAGE_MASK
            if control & ENABLE:
                local = self.get(high, 4) << 32 | self.get(low, 4) & mask
                windows.append(
                    Window(local, self.get(pci_high, 4) << 32 | self.get(pci_low, 4) & mask, window_size(mask))
                )
        return windows

    def inbound(self) -> list[Window]:
        """The enabled PIMs."""
        windows = []
        for size_low, size_high, low, high, bar in self.PIMS:
            mask = self._mask(size_low, size_high)
            if self.get(size_low, 4) & ENABLE and self.answers:
                pci = (self.get(bar + 4, 4) << 32 if size_high else 0) | self.get(bar, 4) & PAGE_MASK
                local = self.get(high, 4) << 32 | self.get(low, 4)
                windows.append(Window(local & mask, pci & mask, mask & -mask))
        return windows


@device("ppc460ex-pcix", "PCI-X host bridge of the 460EX")
class Pci460Ex(_Host):
    """`memory` is guest RAM for DMA. Only bus 0 exists."""

    MEMORY = (0xC_0EE0_0000, 0xE_0000_0000)
    """Physical addresses that the memory windows can be in."""
    IO = (Window(0xC_0800_0000, 0, 0x1_0000, True),)

    messages = Bank(0x100, width=4)
    words(messages, (0, "MSGIL"), (1, "MSGIH"), (2, "MSGOL"), (3, "MSGOH"), (0x3E, "IM"))

    def __init__(self, *, memory: GuestMemory) -> None:
        super().__init__(memory)
        self.bridge = Bridge460Ex(changed=self.follow)
        self.add(0, 0, self.bridge)
        self.follow()

    def read(self, offset: int, width: int) -> int:
        """The register block: configuration space of the bridge, then messages."""
        if offset < 0x100:
            return self.bridge.config_read(offset, width)
        return self.messages.read(self, offset - 0x100, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """The register block: configuration space of the bridge, then messages."""
        if offset < 0x100:
            self.bridge.config_write(offset, width, value)
        else:
            self.messages.write(self, offset - 0x100, width, value)

    def follow(self) -> None:
        first, end = self.MEMORY
        windows = [w for w in self.bridge.outbound() if first <= w.local <= end - w.size]
        self.outbound.set([*windows, *self.IO])
        self.inbound.windows = tuple(self.bridge.inbound())


HEADER = 0x200
"""Where the root port's own configuration space has what its header shows read-only."""


OUTBOUND_REGISTERS = [
    (n, i, f"OMR{n + 1}{what}") for n in range(3) for i, what in enumerate(("BAH", "BAL", "MSKH", "MSKL"))
]


@device("ppc460ex-pcie", "PCI Express port of the 460EX with nothing in it")
class Pcie460Ex(DcrDevice):
    """`port` is 0 or 1. The root port is there; the link never comes up (`Sdr460Ex` says so), so it has no bus."""

    regs = Bank(0x80, width=4)
    words(regs, (0x00, "CFGBAH"), (0x01, "CFGBAL"), (0x02, "CFGMSK"), (0x03, "MSGBAH"), (0x04, "MSGBAL"))
    words(regs, (0x05, "MSGMSK"), (0x12, "REGBAH"), (0x13, "REGBAL"), (0x14, "REGMSK"), (0x15, "SPECIAL"))
    words(regs, *((6 + 4 * n + i, name) for n, i, name in OUTBOUND_REGISTERS))
    words(regs, (0x16, "CFG", 0x1000_0000))
    esr = regs.register(0x5C, "ESR")
    words(regs, (0x18, "EARH"), (0x19, "EARL"), (0x1A, "EATR"))

    utl = Bank(0x1000, width=4, big_endian=True)
    words(utl, (0x00, "PBCTL"), (0x08, "PBBSZ"), (0x1A, "OPDBSZ"), (0x1C, "IPHBSZ"), (0x1E, "IPDBSZ"))
    words(utl, (0x24, "OUTTR"), (0x26, "INTR"), (0x28, "PCTL"), (0x2E, "RCIRQEN"))
    rcsta = utl.register(0xB0, "RCSTA", fields={"CRS": 18})

    root = Bank(0x1000, width=4)
    root.register(0x000, "ID", mask=0)
    root.register(0x004, "COMMAND", mask=0x0000_0547)
    root.register(0x008, "CLASS", mask=0)
    root.register(0x00C, "HEADER", mask=0x0000_00FF, reset=0x0001_0000)
    bar0 = root.register(0x010, "BAR0")
    words(root, (0x14 // 4, "BAR1"), (0x18 // 4, "BUSES"))
    root.register(0x01C, "IOLIMIT", mask=0x0000_F0F0, reset=0x0000_0101)
    root.register(0x020, "MEMORYLIMIT", mask=0xFFF0_FFF0)
    root.register(0x024, "PREFETCHLIMIT", mask=0xFFF0_FFF0, reset=0x0001_0001)
    words(root, (0x28 // 4, "PREFETCHBASEH"), (0x2C // 4, "PREFETCHLIMITH"))
    root.register(0x030, "IOLIMITH", mask=0)
    root.register(0x034, "CAPABILITIES", mask=0)
    root.register(0x038, "ROM", mask=0)
    root.register(0x03C, "BRIDGECONTROL", mask=0x005B_00FF, reset=0x0000_0100)
    words(root, (0x74 // 4, "ECRTCTL"))
    header_id = root.register(HEADER, "HEADERID")
    header_class = root.register(HEADER + 8, "HEADERCLASS")
    words(root, (0x210 // 4, "BAR0LMPA"), (0x214 // 4, "BAR0HMPA"), (0x218 // 4, "BAR1MPA"))
    words(root, (0x220 // 4, "BAR2LMPA"), (0x224 // 4, "BAR2HMPA"), (0x33C // 4, "PIMEN"))
    words(root, *((0x340 // 4 + n, f"PIM{n}") for n in range(6)))
    words(root, *((0x380 // 4 + n, f"POM{n}") for n in range(6)))

    def __init__(self, *, port: int) -> None:
        if port not in (0, 1):
            raise ValueError(f"PCI Express port {port}: the chip has 0 and 1")
        self.port = port
        super().__init__()

    @regs.on_write(0x5C, "ESR")
    def write_errors(self, value: int) -> None:
        """Ones clear."""
        self.esr &= ~value

    def read_utl(self, offset: int, width: int) -> int:
        """The upper transaction layer's registers."""
        return self.utl.read(self, offset, width)

    def write_utl(self, offset: int, width: int, value: int) -> None:
        """The upper transaction layer's registers."""
        self.utl.write(self, offset, width, value)

    @utl.on_write(0xB0, "RCSTA")
    def write_root_status(self, value: int) -> None:
        """Ones clear."""
        self.rcsta &= ~value

    def read_config(self, offset: int, width: int) -> int:
        """The root port's own configuration space."""
        return self.root.read(self, offset, width)

    def write_config(self, offset: int, width: int, value: int) -> None:
        """The root port's own configuration space."""
        self.root.write(self, offset, width, value)

    @root.on_read(0x010, "BAR0")
    def read_bar0(self) -> int:
        """Only the bits that BAR0LMPA has."""
        shape = self.registers["BAR0LMPA"]
        return self.bar0 & shape & ~0xF | shape & 0xF

    @root.on_read(0x000, "ID")
    def read_id(self) -> int:
        """Vendor and device are what software put there."""
        return self.header_id

    @root.on_read(0x008, "CLASS")
    def read_class(self) -> int:
        """Class and revision are what software put there."""
        return self.header_class
