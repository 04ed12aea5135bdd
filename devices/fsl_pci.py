"""PCI host bridge of MPC85xx chips (PCI, not PCI Express), 4 KiB at CCSR + 0x8000.

    pci = FslPci(memory=dma, message=mpic.pci_message)
    map_mmio(ccsr + 0x8000, 0x1000, pci.read, pci.write)
    pci.add(slot, 0, function)                      # the bridge itself is slot 0, function 0, of bus 0
    Bar(n, size, pci.outbound.range(size, moved))   # `moved` maps a range of memory or I/O with swap=True, for PCI is
                                                    # little-endian; it is told physical addresses
    function = Thing(memory=pci.inbound, ...)       # DMA

Interrupt pin p (1..4) of slot s is pin (s + p - 1) % 4 of the bridge, counted from INTA = 0 (`fsl_pin`); INTA to INTD
are MPIC inputs 1 to 4, shared through an `IrqRouter`. Two outbound windows that a machine needs from the start may be
set by `open_window`, as firmware would.

MPC8544E reference manual, chapter 17. Errors are never found, so the error registers are storage; the default
windows (outbound 0) show nothing, as they depend on local access windows that are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.contracts import GuestMemory
from devices.device import device
from devices.pci import Bar, Moved, PciBus, PciFunction
from devices.pci_windows import Inbound, Outbound, Window
from devices.registers import Bank

OUTBOUND = 5
INBOUND = (1, 2, 3)
ENABLE = 1 << 31
IO_TYPE = 0x8
RESET_POWAR = 0x0004_401F
CCSR_SIZE = 1 << 20
MSIIR = 0x41740
"""Where in CCSR messages are written."""


def fsl_pin(slot: int, pin: int) -> int:
    """The bridge's interrupt pin 0..3 that interrupt pin 1..4 of a slot is wired to."""
    return (slot + pin - 1) & 3


def _declare_windows(regs: Bank) -> None:
    for n in range(OUTBOUND):
        at = 0xC00 + 0x20 * n
        regs.register(at, f"POTAR{n}")
        regs.register(at + 4, f"POTEAR{n}", mask=0x000F_FFFF)
        if n:
            regs.register(at + 8, f"POWBAR{n}", mask=0x00FF_FFFF)
        regs.register(
            at + 0x10,
            f"POWAR{n}",
            mask=0xF00F_F03F,
            reset=RESET_POWAR if n else RESET_POWAR | ENABLE,
            fields={"EN": 31, "RTT": (19, 16), "WTT": (15, 12), "OWS": (5, 0)},
        )
    for n in INBOUND:
        at = 0xE00 - 0x20 * n
        regs.register(at, f"PITAR{n}", mask=0x00FF_FFFF)
        regs.register(at + 8, f"PIWBAR{n}")
        regs.register(at + 0xC, f"PIWBEAR{n}", mask=0x000F_FFFF)
        regs.register(
            at + 0x10,
            f"PIWAR{n}",
            mask=0xA0FF_F03F,
            fields={"EN": 31, "PF": 29, "TGI": (23, 20), "RTT": (19, 16), "WTT": (15, 12), "IWS": (5, 0)},
        )


@device("fsl-pci-bridge", "MPC85xx host bridge, as PCI sees it")
class FslPciBridge(PciFunction):
    """00.0: `moved` is told where in PCI memory the chip's own registers (PCSRBAR) are."""

    vendor = 0x1957
    product = 0x0030
    class_code = 0x0B2000
    subsystem = 0

    def __init__(self, *, moved: Moved) -> None:
        super().__init__((Bar(0, CCSR_SIZE, moved),))
        self.declare(0x0C, 2, 0, 0xFFFF)  # cache line size, latency timer
        self.declare(0x44, 4, 0, 0xFFFF_FFFF)  # bus function, arbiter configuration
        self.clear()


@device("fsl-pci", "MPC85xx PCI host bridge")
class FslPci(PciBus):
    """`message(data)` gets the bytes that a function writes to MSIIR. Only bus 0 exists."""

    regs = Bank(0x1000, width=4, big_endian=True)
    _declare_windows(regs)
    err_dr = regs.register(0xE00, "ERR_DR")
    err_cap_dr = regs.register(0xE04, "ERR_CAP_DR")
    err_en = regs.register(0xE08, "ERR_EN")
    err_attrib = regs.register(0xE0C, "ERR_ATTRIB")
    err_addr = regs.register(0xE10, "ERR_ADDR")
    err_ext_addr = regs.register(0xE14, "ERR_EXT_ADDR")
    err_dl = regs.register(0xE18, "ERR_DL")
    err_dh = regs.register(0xE1C, "ERR_DH")
    gas_timr = regs.register(0xE20, "GAS_TIMR")

    def __init__(self, *, memory: GuestMemory, message: Callable[[bytes], None] | None = None) -> None:
        super().__init__()
        self.message = message
        self.outbound = Outbound(self.unimplemented)
        self.inbound = Inbound(memory, self._to_registers)
        self.inbound.registers_size = CCSR_SIZE
        self.bridge = FslPciBridge(moved=self._registers_moved)
        self.add(0, 0, self.bridge)

    def reset(self) -> None:
        """Windows closed. The functions, and `bridge`, have resets of their own."""
        self.clear()
        self._windows_changed()

    def restored(self) -> None:
        self._windows_changed()

    def open_window(self, n: int, local: int, pci: int, size: int, *, io: bool = False) -> None:
        """Set outbound window 1..4 as a guest would. `size` is a power of two of at least 4 KiB."""
        if not 1 <= n < OUTBOUND or size < 0x1000 or size & (size - 1) or (local | pci) & (size - 1):
            raise ValueError(f"outbound window {n}: {local:#x}, {pci:#x}, {size:#x}")
        kind = 0x0008_8000 if io else 0x0004_4000
        values = (pci >> 12 & 0xFFFF_FFFF, pci >> 44, local >> 12, ENABLE | kind | size.bit_length() - 2)
        for name, value in zip(("POTAR", "POTEAR", "POWBAR", "POWAR"), values, strict=True):
            self.registers[f"{name}{n}"] = value
        self._windows_changed()

    # Access.

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        if 4 <= offset < 8 and width <= 8 - offset:
            # Configuration data is little-endian: its first byte is the least significant of the PCI register.
            return _swap(self.read_data(offset - 4, width), width)
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        if 4 <= offset < 8 and width <= 8 - offset:
            self.write_data(offset - 4, width, _swap(value, width))
            return
        self.regs.write(self, offset, width, value)
        if 0xC00 <= offset < 0xE00:
            self._windows_changed()

    @regs.on_read(0x000, "CONFIG_ADDR")
    def read_address(self) -> int:
        """Enable, bus, device, function, register."""
        return self.state.address

    @regs.on_write(0x000, "CONFIG_ADDR")
    def write_address(self, value: int) -> None:
        """Enable, bus, device, function, register."""
        self.state.address = value & 0x80FF_FFFC

    @regs.on_read(0x008, "INT_ACK")
    def read_int_ack(self) -> int:
        """An interrupt acknowledge cycle, which nobody on the bus answers."""
        return 0xFFFF_FFFF

    @regs.on_read(0xBF8, "BLK_REV1")
    def read_revision(self) -> int:
        """Only PCI Express controllers have a revision."""
        return 0

    @regs.on_write(0xE00, "ERR_DR")
    def write_err_dr(self, value: int) -> None:
        """Writing 1 clears an error."""
        self.err_dr &= ~value

    # Windows.

    def _windows_changed(self) -> None:
        r = self.registers
        windows = []
        for n in range(1, OUTBOUND):
            powar = r[f"POWAR{n}"]
            size = 2 << (powar & 0x3F)
            if powar & ENABLE and size >= 0x1000:
                pci = (r[f"POTEAR{n}"] << 32 | r[f"POTAR{n}"]) << 12
                local = r[f"POWBAR{n}"] << 12
                windows.append(Window(local & -size, pci & -size, size, powar >> 16 & 15 == IO_TYPE))
        self.outbound.set(windows)
        windows = []
        for n in INBOUND:
            piwar = r[f"PIWAR{n}"]
            size = 2 << (piwar & 0x3F)
            if piwar & ENABLE and size >= 0x1000:
                pci = (r[f"PIWBEAR{n}"] << 32 | r[f"PIWBAR{n}"]) << 12
                windows.append(Window(r[f"PITAR{n}"] << 12 & -size, pci & -size, size))
        self.inbound.windows = tuple(windows)

    def _registers_moved(self, place: int | None) -> None:
        self.inbound.registers_at = place

    def _to_registers(self, offset: int, data: bytes) -> None:
        """A function wrote to the chip's registers: messages arrive this way."""
        if offset == MSIIR and len(data) == 4 and self.message is not None:
            self.message(data)
        else:
            self.unimplemented(f"write of {len(data)} bytes from PCI to CCSR + {offset:#x}")


def _swap(value: int, width: int) -> int:
    """The bytes of a number the other way round."""
    return int.from_bytes(value.to_bytes(width, "little"), "big")
