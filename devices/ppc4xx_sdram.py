"""SDRAM controllers of 4xx chips. Firmware and boot wrappers read the size of memory from them.

    sdram = Sdram440Ep(size=256 << 20)                              # 440EP: DDR
    map_dcrs(0x10, 2, sdram.read_dcr, sdram.write_dcr)

    sdram = Sdram460Ex(size=512 << 20)                              # 460EX: DDR2 behind the memory queue
    map_dcrs(0x10, 2, sdram.read_dcr, sdram.write_dcr)
    map_dcrs(0x40, 0x11, sdram.read_queue, sdram.write_queue)

The bank registers start as firmware would leave them for `size` bytes of RAM from address 0. What a guest writes there
is kept, but RAM stays where the board has it: 440EP from 8 MiB to 1 GiB and 460EX up to 4 GiB, in at most four banks
whose sizes are powers of two. ECC errors never happen.

PPC440EP user's manual, "DDR SDRAM Controller"; PPC460EX user's manual, "DDR2/DDR1 SDRAM Controller", "Memory Queue".
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import IndirectDcr, words
from devices.registers import Bank

MIB = 1 << 20
MOST_BANKS = 4
SMALLEST = 8 * MIB


def split(size: int, largest: int) -> list[tuple[int, int]]:
    """(base, size) of the banks that hold `size` bytes. Raises ValueError if four banks cannot."""
    banks: list[tuple[int, int]] = []
    base = 0
    while base < size and len(banks) < MOST_BANKS:
        piece = min(largest, 1 << ((size - base).bit_length() - 1))
        if piece < SMALLEST:
            break
        banks.append((base, piece))
        base += piece
    if base != size or not banks:
        raise ValueError(
            f"RAM of {size / MIB:g} MiB: at most {MOST_BANKS} banks of a power of two from {SMALLEST // MIB} to "
            f"{largest // MIB} MiB"
        )
    return banks


@device("ppc440ep-sdram", "DDR SDRAM controller of the 440EP")
class Sdram440Ep(IndirectDcr):
    """`size` bytes of RAM. Raises ValueError for a size that four banks of up to 256 MiB cannot have."""

    LARGEST = 256 * MIB
    ENABLE = 0x8000_0000

    regs = Bank(0x400, width=4)
    words(regs, (0x00, "BESR0"), (0x08, "BESR1"), (0x10, "BEAR"), (0x18, "SLIO"))
    cfg0 = regs.register(0x80, "CFG0", reset=ENABLE, fields={"DCEN": 31})
    words(regs, (0x21, "CFG1"), (0x22, "DEVOPT"), (0x30, "RTR", 0x0400_0000), (0x34, "PMIT"), (0x38, "UABBA"))
    regs.register(0x90, "MCSTS", mask=0)
    words(regs, *((0x40 + 4 * n, f"B{n}CR") for n in range(MOST_BANKS)))
    words(regs, (0x80, "TR0"), (0x81, "TR1"), (0x82, "CLKTR"), (0x83, "WDDCTR"), (0x84, "DLYCAL"))
    eccesr = regs.register(0x260, "ECCESR")

    def __init__(self, *, size: int) -> None:
        self.layout = split(size, self.LARGEST)
        super().__init__()

    def clear(self) -> None:
        super().clear()
        for n, (base, size) in enumerate(self.layout):
            code = size.bit_length() - (4 * MIB).bit_length()
            self.registers[f"B{n}CR"] = base | code << 17 | 1

    @regs.on_read(0x90, "MCSTS")
    def read_status(self) -> int:
        """The mode registers of the memory are set as soon as the controller is enabled."""
        return 0x8000_0000 if self.cfg0 & self.ENABLE else 0

    @regs.on_write(0x260, "ECCESR")
    def write_ecc_status(self, value: int) -> None:
        """Ones clear."""
        self.eccesr &= ~value


@device("ppc460ex-sdram", "DDR2 SDRAM controller and memory queue of the 460EX")
class Sdram460Ex(IndirectDcr):
    """`size` bytes of RAM. Raises ValueError for a size that four banks of up to 4 GiB cannot have."""

    LARGEST = 4096 * MIB
    ENABLE = 0x0800_0000
    TRIGGER = 0x2000_0000

    regs = Bank(0x400, width=4)
    regs.register(0x50, "MCSTAT", mask=0, reset=0x8000_0000, fields={"MIC": 31, "SRMS": 30})
    regs.register(0x7C, "MCSTS", mask=0, reset=0x8000_0000)
    words(regs, (0x20, "MCOPT1"))
    mcopt2 = regs.register(
        0x84, "MCOPT2", mask=0xFFFF_FFFF & ~TRIGGER, reset=ENABLE, fields={"SREN": 31, "IPTR": 29, "DCEN": 27}
    )
    words(regs, (0x22, "MODT0"), (0x23, "MODT1"), (0x24, "MODT2"), (0x25, "MODT3"), (0x26, "CODT"), (0x27, "VVPR"))
    words(regs, (0x28, "OPARS"), (0x29, "OPAR"), (0x2A, "OPART"), (0x30, "RTR", 0x0618_0000), (0x34, "PMIT"))
    words(regs, *((0x40 + 4 * n, f"MB{n}CF") for n in range(MOST_BANKS)))
    words(regs, *((0x50 + n, f"INITPLR{n}") for n in range(16)))
    words(regs, (0x70, "RQDC"), (0x74, "RFDC"), (0x78, "RDCC"))
    regs.register(0x1E8, "DLCR", mask=0xFC00_0000, reset=0x0200_0000, fields={"DLCS": (25, 24)})
    words(regs, (0x80, "CLKTR"), (0x81, "WRDTR"), (0x85, "SDTR1"), (0x86, "SDTR2"), (0x87, "SDTR3"))
    words(regs, (0x88, "MMODE"), (0x89, "MEMODE"))
    ecces = regs.register(0x260, "ECCES")

    queue = Bank(0x44, width=4)
    words(queue, *((n, f"R{n}BAS") for n in range(MOST_BANKS)), (0x4, "MQ44"), (0x5, "CONF1HB"))
    words(queue, (0x6, "MQ46"), (0x7, "ERRSTATHB"), (0x8, "ERRADDUHB"), (0x9, "ERRADDLHB"), (0xA, "PLBADDULL"))
    words(queue, (0xB, "CONF1LL"))
    errstatll = queue.register(0x30, "ERRSTATLL")
    words(queue, (0xD, "ERRADDULL"), (0xE, "ERRADDLLL"), (0xF, "CONFPATHB"), (0x10, "PLBADDUHB"))

    def __init__(self, *, size: int) -> None:
        self.layout = split(size, self.LARGEST)
        super().__init__()

    def clear(self) -> None:
        super().clear()
        for n, (base, size) in enumerate(self.layout):
            self.registers[f"R{n}BAS"] = base >> 2 & 0xFFE0_0000 | (0x1000 - (size >> 21)) << 4 & 0xFFF0 | 1
            self.registers[f"MB{n}CF"] = 0x8001

    def read_queue(self, offset: int) -> int:
        """The memory queue's DCR at `offset`."""
        return self.queue.read(self, 4 * offset, 4)

    def write_queue(self, offset: int, value: int) -> None:
        """The memory queue's DCR at `offset`."""
        self.queue.write(self, 4 * offset, 4, value)

    @regs.on_write(0x260, "ECCES")
    def write_ecc_status(self, value: int) -> None:
        """Ones clear."""
        self.ecces &= ~value

    @queue.on_write(0x30, "ERRSTATLL")
    def write_queue_errors(self, value: int) -> None:
        """Ones clear."""
        self.errstatll &= ~value
