"""NE2000 on PCI: National Semiconductor DP8390D with 16 KiB of buffer memory, as the Realtek RTL8029AS.

DP8390D/NS32490D data sheet, whose registers the banks below name; RTL8029AS data sheet (ports, ID). 32 ports: the
8390's registers in three pages, a data port for remote DMA at 10h, reset at 1Fh. The buffer memory lies at 4000h, the
address PROM at 0 with each byte twice. The wire is a `NetPort`; a frame is sent inside the write of the command.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import zlib
from dataclasses import dataclass

from devices import ethernet
from devices.contracts import NetPort
from devices.device import device
from devices.pci import Bar
from devices.pci_card import CardState, PciCard, PciSlot
from devices.registers import Bank
from devices.state import flag, octets, uint

PORTS = 32
DATA, RESET = 0x10, 0x1F
MEMORY, MEMORY_SIZE = 0x4000, 0x4000
PROM = 32
STP, STA, TXP, RD = 0x01, 0x02, 0x04, 0x38
READ, WRITE = 1, 2
PRX, PTX, RDC, RST = 0x01, 0x02, 0x40, 0x80
AB, AM, PRO, MON = 0x04, 0x08, 0x10, 0x20
WTS = 0x01
LOOPBACK = 0x06
RECEIVED_OK, RECEIVED_GROUP = 0x01, 0x20
SENT = 0x01
HEADER = 4
LONGEST = 1518


@dataclass
class Ne2000State(CardState):
    memory: bytearray = octets(MEMORY_SIZE, MEMORY_SIZE)
    command: int = uint(8, 0x21)
    status: int = uint(8, RST)
    """ISR."""
    remote: int = uint(16)
    """CRDA: where remote DMA is."""
    count: int = uint(16)
    """Bytes that remote DMA still moves."""
    mac: bytearray = octets(6, 6)
    """PAR0 to PAR5."""
    hash: bytearray = octets(8, 8)
    """MAR0 to MAR7."""
    current: int = uint(8)
    """CURR: the page at which the next frame is put."""
    stalled: bool = flag()
    """A frame waits at the wire for room in the ring."""


@device("ne2k_pci", "RTL8029AS, an NE2000 on PCI")
class Ne2000(PciCard):
    """`mac` is what the PROM holds, `port` the wire."""

    vendor, product, class_code, subsystem = 0x10EC, 0x8029, 0x020000, 0x1100_1AF4
    State = Ne2000State
    state: Ne2000State

    page0 = Bank(16)
    pstart = page0.register(0x01, "PSTART")
    pstop = page0.register(0x02, "PSTOP")
    bnry = page0.register(0x03, "BNRY")
    tpsr = page0.register(0x04, "TPSR")
    tbcr0 = page0.register(0x05, "TBCR0")
    tbcr1 = page0.register(0x06, "TBCR1")
    rsr = page0.register(0x0C, "RSR", mask=0)
    tcr = page0.register(0x0D, "TCR")
    dcr = page0.register(0x0E, "DCR")
    imr = page0.register(0x0F, "IMR")

    page1 = Bank(16)
    page2 = Bank(16)
    rcr = page2.register(0x0C, "RCR", mask=0)
    tsr = page2.register(0x03, "TSR", mask=0)
    """No register of page 2: the transmit status, which page 0 reads where it writes TPSR."""

    def __init__(self, *, slot: PciSlot, port: NetPort, mac: bytes) -> None:
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        self.port = port
        self.mac = mac
        prom = mac + b"\0" * 8 + b"WW"
        self.prom = bytes(byte for pair in zip(prom, prom, strict=True) for byte in pair)
        self._ports = slot.range(PORTS, self.read, self.write, io=True, name="ne2k_pci")
        super().__init__(slot, (Bar(0, PORTS, self._ports, io=True),))
        port.attach(self.receive)

    def restored(self) -> None:
        super().restored()
        if self.state.stalled:
            self.port.ready()

    def _reset_chip(self) -> None:
        """The reset port: the chip stops. Registers keep their values."""
        self.state.command = 0x21
        self.state.status = RST
        self._update()

    # -- ports

    def read(self, offset: int, width: int) -> int:
        """The 32 ports; only the data port is wider than a byte."""
        if DATA <= offset < RESET - 7:
            return self._read_data(width)
        value = 0
        for n in range(width):
            value |= self._read_port(offset + n) << 8 * n
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        """The 32 ports."""
        if DATA <= offset < RESET - 7:
            self._write_data(width, value)
            return
        for n in range(width):
            self._write_port(offset + n, value >> 8 * n & 0xFF)

    def _bank(self) -> Bank | None:
        return (self.page0, self.page1, self.page2, None)[self.state.command >> 6]

    def _read_port(self, offset: int) -> int:
        if offset >= 16:
            if offset == RESET:
                self._reset_chip()
            return 0xFF
        if offset == 0:
            return self.state.command
        bank = self._bank()
        return 0xFF if bank is None else bank.read(self, offset, 1)

    def _write_port(self, offset: int, value: int) -> None:
        if offset >= 16:
            return  # the end of the reset pulse
        if offset == 0:
            self._write_command(value)
            return
        bank = self._bank()
        if bank is not None:
            bank.write(self, offset, 1, value)

    # -- page 0

    @page0.on_read(0x01, "CLDA0")
    def read_clda0(self) -> int:
        return 0

    @page0.on_read(0x02, "CLDA1")
    def read_clda1(self) -> int:
        return self.state.current

    @page0.on_write(0x03, "BNRY")
    def write_bnry(self, value: int) -> None:
        self.bnry = value
        self._unstall()

    @page0.on_read(0x04, "TSR")
    def read_tsr(self) -> int:
        return self.tsr

    @page0.on_read(0x05, "NCR")
    def read_ncr(self) -> int:
        return 0

    @page0.on_read(0x06, "FIFO")
    def read_fifo(self) -> int:
        return 0

    @page0.on_read(0x07, "ISR")
    def read_isr(self) -> int:
        return self.state.status

    @page0.on_write(0x07, "ISR")
    def write_isr(self, value: int) -> None:
        """A one clears its bit, but for RST, which follows the state of the chip."""
        state = self.state
        state.status &= ~value | (RST if state.command & STP else 0)
        if state.stalled and not state.command & STP and not self.tcr & LOOPBACK:
            state.status |= PRX
        self._update()

    @page0.on_read(0x08, "CRDA0")
    def read_crda0(self) -> int:
        return self.state.remote & 0xFF

    @page0.on_read(0x09, "CRDA1")
    def read_crda1(self) -> int:
        return self.state.remote >> 8

    @page0.on_write(0x08, "RSAR0")
    def write_rsar0(self, value: int) -> None:
        self.state.remote = self.state.remote & 0xFF00 | value

    @page0.on_write(0x09, "RSAR1")
    def write_rsar1(self, value: int) -> None:
        self.state.remote = self.state.remote & 0xFF | value << 8

    @page0.on_read(0x0A, "8029ID0")
    def read_id0(self) -> int:
        return 0x50

    @page0.on_read(0x0B, "8029ID1")
    def read_id1(self) -> int:
        return 0x43

    @page0.on_write(0x0A, "RBCR0")
    def write_rbcr0(self, value: int) -> None:
        self.state.count = self.state.count & 0xFF00 | value

    @page0.on_write(0x0B, "RBCR1")
    def write_rbcr1(self, value: int) -> None:
        self.state.count = self.state.count & 0xFF | value << 8

    @page0.on_write(0x0C, "RCR")
    def write_rcr(self, value: int) -> None:
        self.rcr = value
        self._unstall()

    @page0.on_read(0x0D, "CNTR0")
    def read_cntr0(self) -> int:
        return 0

    @page0.on_write(0x0D, "TCR")
    def write_tcr(self, value: int) -> None:
        self.tcr = value
        self._unstall()

    @page0.on_read(0x0E, "CNTR1")
    def read_cntr1(self) -> int:
        return 0

    @page0.on_read(0x0F, "CNTR2")
    def read_cntr2(self) -> int:
        return 0

    @page0.on_write(0x0F, "IMR")
    def write_imr(self, value: int) -> None:
        self.imr = value & 0x7F
        self._update()

    @page2.on_read(0x0D, "TCR")
    def read_tcr2(self) -> int:
        return self.tcr

    @page2.on_read(0x0E, "DCR")
    def read_dcr2(self) -> int:
        return self.dcr

    @page2.on_read(0x0F, "IMR")
    def read_imr2(self) -> int:
        return self.imr

    # -- the command register

    def _write_command(self, value: int) -> None:
        state = self.state
        state.command = value & ~TXP
        if value & STP:
            state.status |= RST
            return
        if value & STA:
            state.status &= ~RST
        if value & (READ | WRITE) << 3 and not state.count:
            self._raise(RDC)  # nothing to move: done
        if value & TXP and value & STA:
            self._send()
        self._unstall()

    def _raise(self, bits: int) -> None:
        self.state.status |= bits
        self._update()

    def _update(self) -> None:
        self.interrupt(bool(self.state.status & self.imr & 0x7F))

    # -- remote DMA, by the data port

    def _moved(self, width: int) -> None:
        """Advance by what one access moves: a byte in byte mode, else at least a word."""
        state = self.state
        step = 1 if not self.dcr & WTS else max(2, width)
        state.remote = state.remote + step & 0xFFFF
        if state.remote == self.pstop << 8:
            state.remote = self.pstart << 8
        if state.count <= step:
            state.count = 0
            self._raise(RDC)
        else:
            state.count -= step

    def _read_data(self, width: int) -> int:
        state = self.state
        at, here = state.remote, 1 if not self.dcr & WTS else width
        if not state.count:
            return 0
        if at < PROM:
            value = int.from_bytes(self.prom[at : at + here], "little")
        elif MEMORY <= at < MEMORY + MEMORY_SIZE:
            at -= MEMORY
            value = int.from_bytes(state.memory[at : at + here], "little")
        else:
            value = (1 << 8 * here) - 1
        self._moved(width)
        return value

    def _write_data(self, width: int, value: int) -> None:
        state = self.state
        at, here = state.remote, 1 if not self.dcr & WTS else max(2, width)
        if not state.count:
            return
        if MEMORY <= at <= MEMORY + MEMORY_SIZE - here:
            at -= MEMORY
            state.memory[at : at + here] = (value & (1 << 8 * here) - 1).to_bytes(here, "little")
        self._moved(width)

    # -- frames

    def _send(self) -> None:
        state = self.state
        start, length = self.tpsr << 8, self.tbcr1 << 8 | self.tbcr0
        if length and start >= MEMORY and start + length <= MEMORY + MEMORY_SIZE and length <= LONGEST:
            frame = bytes(state.memory[start - MEMORY : start - MEMORY + length])
            if self.tcr & LOOPBACK:
                self._take(frame)
            elif length >= ethernet.HEADER:
                self.port.send(frame)
        self.tsr = SENT
        self._raise(PTX)

    def _unstall(self) -> None:
        if self.state.stalled:
            self.state.stalled = False
            self.port.ready()

    def _free(self) -> int:
        """Bytes of the ring that are free. The page of BNRY always stays so."""
        start, stop, current, boundary = self.pstart, self.pstop, self.state.current, self.bnry
        if not start < stop or not start <= current < stop or not start <= boundary < stop:
            return 0
        pages = boundary - current if current < boundary else stop - start - (current - boundary)
        return pages << 8

    def receive(self, frame: bytes) -> bool:
        """A frame from the wire. False if the ring has no room; it is offered again after `ready`."""
        if self.tcr & LOOPBACK:
            self.state.stalled = True
            return False
        return self._take(frame)

    def _take(self, frame: bytes) -> bool:
        state = self.state
        if state.command & STP or self.rcr & MON or len(frame) > LONGEST or len(frame) < 6:
            return True
        if not self._accepted(frame):
            return True
        stored = frame.ljust(ethernet.SHORTEST, b"\0")
        stored += zlib.crc32(stored).to_bytes(4, "little")
        pages = -(-(len(stored) + HEADER) // 256)
        size = self.pstop - self.pstart
        if self._free() <= pages << 8:
            # The wire keeps it, so the ring never overflows. The driver must hear of it, as it may have left frames
            # in the ring: it is told of a reception until there is room.
            state.stalled = pages < size and self.pstart <= state.current < self.pstop
            if state.stalled:
                self._raise(PRX)
            return not state.stalled
        following = state.current + pages
        if following >= self.pstop:
            following -= size
        status = RECEIVED_OK | (RECEIVED_GROUP if frame[0] & 1 else 0)
        data = bytes((status, following)) + (len(stored) + HEADER).to_bytes(2, "little") + stored
        at = state.current << 8
        while data:
            piece = data[: (self.pstop << 8) - at]
            self._store(at, piece)
            data, at = data[len(piece) :], self.pstart << 8
        state.current = following
        self.rsr = status
        self._raise(PRX)
        return True

    def _store(self, at: int, piece: bytes) -> None:
        """Put bytes into the buffer memory; what lies outside it is lost."""
        low, high = max(at, MEMORY), min(at + len(piece), MEMORY + MEMORY_SIZE)
        if low < high:
            self.state.memory[low - MEMORY : high - MEMORY] = piece[low - at : high - at]

    def _accepted(self, frame: bytes) -> bool:
        rcr, state = self.rcr, self.state
        if rcr & PRO:
            return True
        if frame[:6] == b"\xff" * 6:
            return bool(rcr & AB)
        if frame[0] & 1:
            bit = _hash(frame[:6])
            return bool(rcr & AM and state.hash[bit >> 3] >> (bit & 7) & 1)
        return frame[:6] == state.mac


def _hash(address: bytes) -> int:
    """The six bits that choose a bit of MAR0 to MAR7: the upper ones of the CRC, bit by bit as on the wire."""
    crc = 0xFFFFFFFF
    for byte in address:
        for n in range(8):
            carry = crc >> 31 ^ byte >> n & 1
            crc = crc << 1 & 0xFFFFFFFF
            if carry:
                crc ^= 0x04C11DB7
    return crc >> 26


def _page1() -> None:
    """PAR0 to PAR5, CURR, MAR0 to MAR7."""

    def array(base: int, count: int, name: str, attribute: str) -> None:
        for n in range(count):

            def read(self: Ne2000, n: int = n) -> int:
                value: int = getattr(self.state, attribute)[n]
                return value

            def write(self: Ne2000, value: int, n: int = n) -> None:
                getattr(self.state, attribute)[n] = value

            Ne2000.page1.on_read(base + n, f"{name}{n}")(read)
            Ne2000.page1.on_write(base + n, f"{name}{n}")(write)

    def read_current(self: Ne2000) -> int:
        return self.state.current

    def write_current(self: Ne2000, value: int) -> None:
        self.state.current = value

    array(1, 6, "PAR", "mac")
    array(8, 8, "MAR", "hash")
    Ne2000.page1.on_read(7, "CURR")(read_current)
    Ne2000.page1.on_write(7, "CURR")(write_current)


_page1()
