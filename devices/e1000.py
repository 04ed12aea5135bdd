"""Intel 82540EM Gigabit Ethernet controller (e1000).

PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), whose sections the code names;
its PHY is a Marvell 88E1011. `read`/`write` answer for the 128 KiB of BAR 0, `read_io`/`write_io` for the 64 ports that
lead to the same registers. The wire is a `NetPort`. Frames are sent inside the write of the tail register, a bounded
number at once, so that nothing but registers and one unfinished packet has to be saved.

Not modelled: wake-up, management (ASF), flow control, time stamps; counters that nothing counts read as zero.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from devices import ethernet
from devices.contracts import Clock, NetPort
from devices.device import device
from devices.pci import Bar
from devices.pci_card import CardState, PciCard, PciSlot
from devices.registers import Bank
from devices.state import flag, octets, time, uint, uints

SIZE, BUFFER = 0x20000, 0x10000
TXDW, TXQE, LSC, RXDMT0, RXO, RXT0, MDAC = 0x01, 0x02, 0x04, 0x10, 0x40, 0x80, 0x200
CAUSES = 0x1FFFF
TXD_LOW = 0x8000
CTRL_SLU, CTRL_RST, CTRL_VME, CTRL_PHY_RST = 1 << 6, 1 << 26, 1 << 30, 1 << 31
STATUS_FD, STATUS_LU, STATUS_1000 = 0x001, 0x002, 0x080
EECD_SK, EECD_CS, EECD_DI, EECD_DO, EECD_REQ, EECD_GNT, EECD_PRES = 1, 2, 4, 8, 0x40, 0x80, 0x100
RCTL_EN, RCTL_SBP, RCTL_UPE, RCTL_MPE, RCTL_LPE, RCTL_BAM = 0x02, 0x04, 0x08, 0x10, 0x20, 0x8000
RCTL_VFE, RCTL_BSEX, RCTL_SECRC, RCTL_LBM = 1 << 18, 1 << 25, 1 << 26, 0xC0
TCTL_EN, TCTL_PSP = 0x02, 0x08
RXCSUM_IPOFL, RXCSUM_TUOFL = 0x100, 0x200
# Transmit descriptors, 3.3: the byte of commands, and bits of the others.
EOP, IFCS, IC_TSE, RS, RPS, DEXT, VLE, IDE = 1, 2, 4, 8, 16, 32, 64, 128
TUCMD_TCP, TUCMD_IP = 1, 2
IXSM, TXSM = 1, 2
# Receive status and errors, 3.2.3.
DD, RX_EOP, RX_IXSM, RX_VP, RX_TCPCS, RX_IPCS, RX_PIF = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80
RX_TCPE, RX_IPE = 0x20, 0x40
AT_ONCE = 1 << 20
"""Bytes of packets that one write of the tail sends at once, and how many descriptors it looks at."""
DESCRIPTORS_AT_ONCE = 4096
GO_ON = 10_000
"""Virtual ns until the rest of a longer ring is looked at."""
MOST = 256 << 10
"""Bytes of one packet, segmentation included; what is longer is dropped."""
MOST_PLAIN = 16288
DELAY_UNIT = 1024
"""ns, of RDTR, RADV, TIDV and TADV."""
ITR_UNIT = 256
READ, WRITE = 2, 1
"""Operations of MDIC."""
PHY_ADDRESS = 1
PHY_RESET = {0: 0x1140, 1: 0x796D, 2: 0x0141, 3: 0x0C20, 4: 0x0DE1, 5: 0xCDE1, 6: 0x000F, 9: 0x0E00, 10: 0x3C00}
PHY_RESET |= {16: 0x0360, 17: 0xAC08, 20: 0x0D60}
PHY_WRITABLE = {0: 0xFFFF, 4: 0xFFFF, 7: 0xFFFF, 9: 0xFFFF, 16: 0xFFFF, 18: 0xFFFF, 20: 0xFFFF, 24: 0xFFFF}
PHY_WRITABLE |= {29: 0xFFFF, 30: 0xFFFF}
PHY_CTRL_RESET, PHY_CTRL_LOOPBACK, PHY_CTRL_AUTO, PHY_CTRL_RESTART = 0x8000, 0x4000, 0x1000, 0x0200
EEPROM_READ = 0b110
EEPROM_SUM = 0xBABA
COUNTERS = range(0x4000, 0x4128, 4)
(
    MPC, PRC64, GPRC, BPRC, MPRC, GPTC, GORCL, GOTCL, RNBC, ROC, TORL, TOTL, TPR, TPT, PTC64, MPTC, BPTC, TSCTC,
) = (
    0x4010, 0x405C, 0x4074, 0x4078, 0x407C, 0x4080, 0x4088, 0x4090, 0x40A0, 0x40AC, 0x40C0, 0x40C8, 0x40D0, 0x40D4,
    0x40D8, 0x40F0, 0x40F4, 0x40F8,
)  # fmt: skip
SIZES_RECEIVED = ((64, 0x405C), (127, 0x4060), (255, 0x4064), (511, 0x4068), (1023, 0x406C), (1522, 0x4070))
SIZES_SENT = ((64, 0x40D8), (127, 0x40DC), (255, 0x40E0), (511, 0x40E4), (1023, 0x40E8), (1522, 0x40EC))


def eeprom_of(mac: bytes) -> list[int]:
    """The 64 words of 5.6: address, identity, checksum."""
    words = [0] * 64
    words[0:3] = struct.unpack("<3H", mac)
    words[0x0A:0x10] = [0x640A, 0x1100, 0x1AF4, 0x100E, 0x8086, 0x3040]
    words[0x12] = 0x7061
    words[63] = EEPROM_SUM - sum(words) & 0xFFFF
    return words


@dataclass
class E1000State(CardState):
    icr: int = uint(32)
    """Interrupt causes, not yet masked."""
    eecd: int = uint(32)
    eeprom_in: int = uint(32)
    """Bits that came in over DI since the chip select rose."""
    eeprom_count: int = uint(16)
    eeprom_out: int = uint(16)
    """What goes out over DO, most significant bit first."""
    phy: list[int] = uints(32, 16)
    multicast: list[int] = uints(128, 32)
    addresses: list[int] = uints(32, 32)
    """RAL and RAH, sixteen pairs."""
    vlans: list[int] = uints(128, 32)
    counters: list[int] = uints(len(COUNTERS), 32)
    buffer_memory: bytearray = octets(0x10000, 0x10000)
    """PBM, which only diagnostics look at."""
    packet: bytearray = octets(MOST)
    """The data of descriptors since the last end of a packet."""
    too_long: bool = flag()
    packet_command: int = uint(8)
    packet_options: int = uint(8)
    """DCMD and POPTS of the first data descriptor of the packet."""
    packet_special: int = uint(16)
    packet_offload: bool = flag()
    """The packet began with a data descriptor (3.3.7), not a legacy one."""
    context: list[int] = uints(4, 32)
    """The last TCP/IP context descriptor, 3.3.6."""
    risen: int = time()
    """When the interrupt pin last rose."""
    delayed: int = uint(32)
    """Causes that wait for a delay timer."""
    rx_first: int = time()
    tx_first: int = time()
    """When the first of the delayed causes came, for the absolute timers."""
    stalled: bool = flag()
    """A frame waits at the wire for a descriptor."""
    io_address: int = uint(32)


@device("e1000", "Intel 82540EM Gigabit Ethernet controller")
class E1000(PciCard):
    """`mac` is what the EEPROM holds, `port` the wire."""

    vendor, product, revision, class_code = 0x8086, 0x100E, 0x03, 0x020000
    State = E1000State
    state: E1000State

    regs = Bank(BUFFER, width=4, absent=0)
    ctrl = regs.register(0x0000, "CTRL", mask=0xFBFFFFFF, reset=0x00000241)
    eerd = regs.register(0x0014, "EERD")
    ctrl_ext = regs.register(0x0018, "CTRL_EXT")
    mdic = regs.register(0x0020, "MDIC", reset=0x10000000)
    fcal = regs.register(0x0028, "FCAL")
    fcah = regs.register(0x002C, "FCAH")
    fct = regs.register(0x0030, "FCT")
    vet = regs.register(0x0038, "VET", reset=0x8100)
    itr = regs.register(0x00C4, "ITR", mask=0xFFFF)
    ims = regs.register(0x00D0, "IMS")
    rctl = regs.register(0x0100, "RCTL")
    fcttv = regs.register(0x0170, "FCTTV")
    txcw = regs.register(0x0178, "TXCW", reset=0x40000000)
    rxcw = regs.register(0x0180, "RXCW", mask=0)
    tctl = regs.register(0x0400, "TCTL")
    tipg = regs.register(0x0410, "TIPG", reset=0x00602006)
    ait = regs.register(0x0458, "AIT")
    ledctl = regs.register(0x0E00, "LEDCTL", reset=0x07061302)
    pba = regs.register(0x1000, "PBA", reset=0x00100030)
    fcrtl = regs.register(0x2160, "FCRTL")
    fcrth = regs.register(0x2168, "FCRTH")
    rdfh = regs.register(0x2410, "RDFH")
    rdft = regs.register(0x2418, "RDFT")
    rdfhs = regs.register(0x2420, "RDFHS")
    rdfts = regs.register(0x2428, "RDFTS")
    rdfpc = regs.register(0x2430, "RDFPC")
    rdbal = regs.register(0x2800, "RDBAL", mask=0xFFFFFFF0)
    rdbah = regs.register(0x2804, "RDBAH")
    rdlen = regs.register(0x2808, "RDLEN", mask=0x000FFF80)
    rdh = regs.register(0x2810, "RDH", mask=0xFFFF)
    rdt = regs.register(0x2818, "RDT", mask=0xFFFF)
    rdtr = regs.register(0x2820, "RDTR", mask=0xFFFF)
    rxdctl = regs.register(0x2828, "RXDCTL", reset=0x01010000)
    radv = regs.register(0x282C, "RADV", mask=0xFFFF)
    rsrpd = regs.register(0x2C00, "RSRPD", mask=0xFFF)
    txdmac = regs.register(0x3000, "TXDMAC")
    tdfh = regs.register(0x3410, "TDFH")
    tdft = regs.register(0x3418, "TDFT")
    tdfhs = regs.register(0x3420, "TDFHS")
    tdfts = regs.register(0x3428, "TDFTS")
    tdfpc = regs.register(0x3430, "TDFPC")
    tdbal = regs.register(0x3800, "TDBAL", mask=0xFFFFFFF0)
    tdbah = regs.register(0x3804, "TDBAH")
    tdlen = regs.register(0x3808, "TDLEN", mask=0x000FFF80)
    tdh = regs.register(0x3810, "TDH", mask=0xFFFF)
    tdt = regs.register(0x3818, "TDT", mask=0xFFFF)
    tidv = regs.register(0x3820, "TIDV", mask=0xFFFF)
    txdctl = regs.register(0x3828, "TXDCTL")
    tadv = regs.register(0x382C, "TADV", mask=0xFFFF)
    tspmt = regs.register(0x3830, "TSPMT", reset=0x01000400)
    rxcsum = regs.register(0x5000, "RXCSUM", mask=0x7FF)
    wuc = regs.register(0x5800, "WUC")
    wufc = regs.register(0x5808, "WUFC")
    wus = regs.register(0x5810, "WUS")
    manc = regs.register(0x5820, "MANC", reset=0x00002000)
    ipav = regs.register(0x5838, "IPAV")
    wupl = regs.register(0x5900, "WUPL")
    # Semaphores of later chips: U-Boot takes them for its EEPROM accesses on this one too, and reads them back.
    swsm = regs.register(0x5B50, "SWSM")
    sw_fw_sync = regs.register(0x5B5C, "SW_FW_SYNC")

    def __init__(self, *, slot: PciSlot, clock: Clock, port: NetPort, mac: bytes) -> None:
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        self.clock = clock
        self.memory = slot.memory
        self.port = port
        self.mac = mac
        self.eeprom = eeprom_of(mac)
        self._throttle = clock.timer("e1000 interrupt throttling", self._update)
        self._rx_delay = clock.timer("e1000 receive delay", self._rx_delayed)
        self._tx_delay = clock.timer("e1000 transmit delay", self._tx_delayed)
        self._go_on = clock.timer("e1000 transmit", self._transmit)
        self._timers = (self._throttle, self._rx_delay, self._tx_delay, self._go_on)
        registers = slot.range(SIZE, self.read, self.write, name="e1000")
        ports = slot.range(64, self.read_io, self.write_io, io=True, name="e1000 ports")
        super().__init__(slot, (Bar(0, SIZE, registers), Bar(1, 64, ports, io=True)))
        port.attach(self.receive)

    # -- reset and state

    def clear(self) -> None:
        super().clear()
        self._defaults()
        for timer in self._timers:
            timer.cancel()

    def _defaults(self) -> None:
        state = self.state
        self._reset_phy()
        low, high = struct.unpack("<IH", self.mac)
        state.addresses[0:2] = [low, high | 1 << 31]
        state.eecd = EECD_PRES

    def _restart(self) -> None:
        """CTRL.RST: everything but the configuration space."""
        old = self.state
        self.regs.reset(self)
        self.state = E1000State(config=old.config, asserted=old.asserted, table=old.table, pending=old.pending)
        self._defaults()
        for timer in self._timers:
            timer.cancel()
        self.interrupt(False)

    def restored(self) -> None:
        """Interrupts that waited come at once, and the rest of a ring is looked at."""
        super().restored()
        now = self.clock.now()
        for timer in self._timers:
            timer.cancel()
        state = self.state
        if state.delayed & RXT0:
            self._rx_delay.arm(now)
        if state.delayed & TXDW:
            self._tx_delay.arm(now)
        if state.icr & self.ims and not state.asserted:
            self._throttle.arm(now)
        if self.tdh != self.tdt:
            self._go_on.arm(now)
        if state.stalled:
            self.port.ready()

    # -- the ranges

    def read(self, offset: int, width: int) -> int:
        """The memory range: registers, and above them the memory of the packet buffer."""
        if offset >= BUFFER:
            return int.from_bytes(self.state.buffer_memory[offset - BUFFER : offset - BUFFER + width], "little")
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """The memory range."""
        if offset >= BUFFER:
            self.state.buffer_memory[offset - BUFFER : offset - BUFFER + width] = value.to_bytes(width, "little")
            return
        self.regs.write(self, offset, width, value)

    def read_io(self, offset: int, width: int) -> int:
        """The ports, 13.3: IOADDR and IODATA."""
        if offset == 0 and width == 4:
            return self.state.io_address
        if offset == 4 and width == 4 and self.state.io_address < SIZE:
            return self.read(self.state.io_address & ~3, 4)
        return 0

    def write_io(self, offset: int, width: int, value: int) -> None:
        """The ports."""
        if offset == 0 and width == 4:
            self.state.io_address = value
        elif offset == 4 and width == 4 and self.state.io_address < SIZE:
            self.write(self.state.io_address & ~3, 4, value)

    # -- general registers, 13.4

    @regs.on_write(0x0000, "CTRL")
    def write_ctrl(self, value: int) -> None:
        if value & CTRL_RST:
            self._restart()
            return
        if value & CTRL_PHY_RST:
            self._reset_phy()
        self.ctrl = value & ~(CTRL_RST | CTRL_PHY_RST)

    @regs.on_write(0x0004, "CTRL")
    def write_ctrl_again(self, value: int) -> None:
        self.write_ctrl(value)

    @regs.on_read(0x0004, "CTRL")
    def read_ctrl_again(self) -> int:
        return self.ctrl

    @regs.on_read(0x0008, "STATUS")
    def read_status(self) -> int:
        """The link is always up: there is always a cable."""
        return 0x700 | STATUS_1000 | STATUS_LU | STATUS_FD

    @regs.on_read(0x0010, "EECD")
    def read_eecd(self) -> int:
        return self.state.eecd

    @regs.on_write(0x0010, "EECD")
    def write_eecd(self, value: int) -> None:
        """The EEPROM's four wires, 5.3 and 5.6: 93C46 with 6 address bits."""
        state = self.state
        before = state.eecd
        pins = value & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ) | EECD_PRES | before & EECD_DO
        if value & EECD_REQ:
            pins |= EECD_GNT
        if not value & EECD_CS:
            state.eeprom_in = state.eeprom_count = 0
            pins |= EECD_DO
        elif value & EECD_SK and not before & EECD_SK:
            state.eeprom_in = (state.eeprom_in << 1 | bool(value & EECD_DI)) & 0xFFFFFFFF
            if state.eeprom_in:  # leading zeros do not count
                state.eeprom_count = min(state.eeprom_count + 1, 0xFFFF)
            if state.eeprom_count == 9:
                state.eeprom_out = 0
                if state.eeprom_in >> 6 & 7 == EEPROM_READ:
                    state.eeprom_out = self.eeprom[state.eeprom_in & 63]
            elif state.eeprom_count > 9:
                pins &= ~EECD_DO
                if state.eeprom_out & 0x8000:
                    pins |= EECD_DO
                state.eeprom_out = state.eeprom_out << 1 & 0xFFFF
        state.eecd = pins

    @regs.on_write(0x0014, "EERD")
    def write_eerd(self, value: int) -> None:
        """The whole read at once."""
        address = value >> 8 & 0xFF
        self.eerd = value & 0xFF00
        if value & 1:
            word = self.eeprom[address] if address < 64 else 0xFFFF
            self.eerd = word << 16 | address << 8 | 0x10

    @regs.on_write(0x0020, "MDIC")
    def write_mdic(self, value: int) -> None:
        number, operation = value >> 16 & 31, value >> 26 & 3
        result = value & 0x23FFFFFF & ~0xFFFF | 1 << 28 | operation << 26
        if value >> 21 & 31 != PHY_ADDRESS or operation not in (READ, WRITE):
            self.mdic = result | 1 << 30
        elif operation == READ:
            self.mdic = result | self.state.phy[number]
        else:
            self._write_phy(number, value & 0xFFFF)
            self.mdic = result | value & 0xFFFF
        if value & 1 << 29:
            self._raise(MDAC)

    def _reset_phy(self) -> None:
        phy = self.state.phy
        phy[:] = [PHY_RESET.get(number, 0) for number in range(32)]

    def _write_phy(self, number: int, value: int) -> None:
        phy = self.state.phy
        if number == 0:
            if value & PHY_CTRL_RESET:
                self._reset_phy()
                value = phy[0]
            phy[0] = value & ~(PHY_CTRL_RESET | PHY_CTRL_RESTART)
            if value & PHY_CTRL_RESTART:
                self._raise(LSC)  # the partner agrees at once
        elif number in PHY_WRITABLE:
            phy[number] = value & PHY_WRITABLE[number]

    # -- interrupts, 13.4.17 to 13.4.21

    @regs.on_read(0x00C0, "ICR")
    def read_icr(self) -> int:
        """All causes; reading clears them."""
        value = self.state.icr
        self.state.icr = 0
        self._update()
        return value

    @regs.on_write(0x00C0, "ICR")
    def write_icr(self, value: int) -> None:
        self.state.icr &= ~value
        self._update()

    @regs.on_write(0x00C8, "ICS")
    def write_ics(self, value: int) -> None:
        self._raise(value & CAUSES)

    @regs.on_read(0x00C8, "ICS")
    def read_ics(self) -> int:
        return self.state.icr

    @regs.on_write(0x00D0, "IMS")
    def write_ims(self, value: int) -> None:
        self.ims |= value & CAUSES
        self._update()

    @regs.on_write(0x00D8, "IMC")
    def write_imc(self, value: int) -> None:
        self.ims &= ~value
        self._update()

    @regs.on_read(0x00D8, "IMC")
    def read_imc(self) -> int:
        return 0

    def _raise(self, causes: int) -> None:
        state = self.state
        if state.delayed and causes & self.ims:
            # An interrupt that comes anyway takes along what waits for its delay: one visit of the driver for both.
            causes |= state.delayed
            state.delayed = 0
            self._rx_delay.cancel()
            self._tx_delay.cancel()
        state.icr |= causes
        self._update()

    def _update(self) -> None:
        """The line follows the causes, but rises at most once in an interval of ITR."""
        state = self.state
        if not state.icr & self.registers["IMS"]:
            if state.asserted:
                self.interrupt(False)
        elif not state.asserted:
            now = self.clock.now()
            due = state.risen + self.registers["ITR"] * ITR_UNIT if state.risen else 0
            if now < due:
                if self._throttle.deadline is None:
                    self._throttle.arm(due)
                return
            state.risen = now
            self.interrupt(True)

    def _rx_delayed(self) -> None:
        self.state.delayed &= ~RXT0
        self._raise(RXT0)

    def _tx_delayed(self) -> None:
        self.state.delayed &= ~TXDW
        self._raise(TXDW)

    def _later(self, cause: int, delay: int, most: int) -> None:
        """Raise a cause `delay` units after the last event, `most` units after the first one at the latest."""
        state, now = self.state, self.clock.now()
        if not state.delayed & cause:
            state.delayed |= cause
            if cause == RXT0:
                state.rx_first = now
            else:
                state.tx_first = now
        first = state.rx_first if cause == RXT0 else state.tx_first
        due = now + delay * DELAY_UNIT
        if most:
            due = min(due, first + most * DELAY_UNIT)
        (self._rx_delay if cause == RXT0 else self._tx_delay).arm(due)

    # -- tables and counters

    def _count(self, register: int, by: int = 1) -> None:
        counters = self.state.counters
        counters[register - 0x4000 >> 2] = min(counters[register - 0x4000 >> 2] + by, 0xFFFFFFFF)

    def _count_octets(self, register: int, by: int) -> None:
        counters, at = self.state.counters, register - 0x4000 >> 2
        value = (counters[at + 1] << 32 | counters[at]) + by & 0xFFFFFFFFFFFFFFFF
        counters[at], counters[at + 1] = value & 0xFFFFFFFF, value >> 32

    def _count_size(self, sizes: tuple[tuple[int, int], ...], length: int) -> None:
        for most, register in sizes:
            if length <= most:
                self._count(register)
                return

    # -- transmission, 3.3 to 3.5

    @regs.on_write(0x0400, "TCTL")
    def write_tctl(self, value: int) -> None:
        self.tctl = value
        self._transmit()

    @regs.on_write(0x3818, "TDT")
    def write_tdt(self, value: int) -> None:
        self.tdt = value & 0xFFFF
        self._transmit()

    def _transmit(self) -> None:
        """Send what the ring holds, up to the bound of one go."""
        registers, state = self.registers, self.state
        head, tail, count = registers["TDH"], registers["TDT"], registers["TDLEN"] >> 4
        if not registers["TCTL"] & TCTL_EN or not count or head >= count or not self.master:
            return
        base = registers["TDBAH"] << 32 | registers["TDBAL"]
        read, write = self.memory.read, self.memory.write
        causes = 0
        room, left = AT_ONCE, DESCRIPTORS_AT_ONCE
        if tail >= count:
            tail = count  # a tail that is never reached: the ring is sent once, up to its end
        while head != tail and room > 0 and left > 0:
            # Descriptors up to the tail or the end of the ring, in one read.
            run = min((tail if tail > head else count) - head, 64)
            ring = read(base + 16 * head, 16 * run)
            for n in range(run):
                address, low, high = struct.unpack_from("<QII", ring, 16 * n)
                command = low >> 24
                if command & DEXT and not low >> 20 & 15:
                    state.context[:] = [address & 0xFFFFFFFF, address >> 32, low, high]
                else:
                    length = low & 0xFFFFF if command & DEXT else low & 0xFFFF
                    room -= length + 16
                    self._take(address, length, command, low, high)
                if command & RS:
                    # What has been sent is told in the status byte, 3.3.3.2.
                    write(base + 16 * (head + n) + 12, bytes((high & 0xF0 | DD,)))
                    if command & IDE and registers["TIDV"]:
                        self._later(TXDW, registers["TIDV"], registers["TADV"])
                    else:
                        causes |= TXDW
                left -= 1
                if room <= 0 or left <= 0:
                    run = n + 1
                    break
            head += run
            if head >= count:
                head = 0
                if tail == count:
                    tail = 0
        registers["TDH"] = head
        if head == tail:
            causes |= TXQE
            registers["TDH"] = head
        else:
            self._go_on.arm(self.clock.now() + GO_ON)
        self._raise(causes)

    def _take(self, address: int, length: int, command: int, low: int, high: int) -> None:
        """The data of one descriptor; at the end of a packet, the packet."""
        state = self.state
        packet = state.packet
        if not packet and not state.too_long:
            state.packet_offload = bool(command & DEXT)
            state.packet_options = high >> 8 & 3 if command & DEXT else low >> 16 & 0xFF
            state.packet_command = command
        if len(packet) + length > MOST:
            state.too_long = True
        elif length:
            packet += self.memory.read(address, length)
        if not command & EOP:
            return
        state.packet_special = high >> 16
        if command & VLE:
            state.packet_command |= VLE
        frame, dropped = bytes(packet), state.too_long
        if not (state.packet_offload or command & DEXT) and command & IC_TSE:
            frame = _sum_from(frame, high >> 8 & 0xFF, low >> 16 & 0xFF)
        packet.clear()
        state.too_long = False
        if not dropped and frame:
            self._packet(frame)

    def _packet(self, frame: bytes) -> None:
        state = self.state
        tagged = bool(state.packet_command & VLE and self.ctrl & CTRL_VME)
        tag = struct.pack(">HH", self.vet & 0xFFFF, state.packet_special) if tagged else b""
        if state.packet_offload:
            first, second, low, high = state.context
            if state.packet_command & IC_TSE and low & IC_TSE << 24:
                self._segment(frame, first, second, high, low >> 24, tag)
                return
            if state.packet_options & IXSM:
                frame = _sum_between(frame, first & 0xFF, first >> 8 & 0xFF, first >> 16, False)
            if state.packet_options & TXSM:
                # UDP writes a zero as ones: zero means that there is no checksum.
                udp = not low >> 24 & TUCMD_TCP
                frame = _sum_between(frame, second & 0xFF, second >> 8 & 0xFF, second >> 16, udp)
        if len(frame) > MOST_PLAIN or len(frame) < ethernet.HEADER:
            return
        if tag:
            frame = frame[:12] + tag + frame[12:]
        self._send(frame)

    def _segment(self, frame: bytes, first: int, second: int, high: int, command: int, tag: bytes) -> None:
        """TCP segmentation, 3.5: the wire's other end cuts, or takes the packet whole."""
        mss, header = high >> 16, high >> 8 & 0xFF
        if tag:
            frame = frame[:12] + tag + frame[12:]
            header += 4
        part = ethernet.parse(frame)
        if part is None or part.payload != header or not mss or not command & TUCMD_TCP:
            self.unimplemented("segmentation of what is no TCP over IP")
            return
        if len(frame) - part.payload <= mss:
            for piece in ethernet.segments(frame, mss):
                self._send(piece)
            return
        self._count(TSCTC)
        parts = -(-(len(frame) - part.payload) // mss)
        self._count_sent(frame, len(frame) + (parts - 1) * part.payload, parts)
        if self._looped:
            for piece in ethernet.segments(frame, mss):
                self.receive(piece)
        else:
            self.port.send_large(frame, mss)

    @property
    def _looped(self) -> bool:
        return bool(self.rctl & RCTL_LBM == RCTL_LBM or self.state.phy[0] & PHY_CTRL_LOOPBACK)

    def _count_sent(self, frame: bytes, octets_sent: int, packets: int) -> None:
        self._count(TPT, packets)
        self._count(GPTC, packets)
        self._count_octets(TOTL, octets_sent + 4 * packets)
        self._count_octets(GOTCL, octets_sent + 4 * packets)
        if frame[0] & 1:
            self._count(BPTC if frame[:6] == b"\xff" * 6 else MPTC, packets)

    def _send(self, frame: bytes) -> None:
        if len(frame) < ethernet.SHORTEST and self.registers["TCTL"] & TCTL_PSP:
            frame = frame.ljust(ethernet.SHORTEST, b"\0")
        self._count_sent(frame, len(frame), 1)
        self._count_size(SIZES_SENT, len(frame) + 4)
        if self._looped:
            self.receive(frame)
        else:
            self.port.send(frame)

    # -- reception, 3.2

    @regs.on_write(0x0100, "RCTL")
    def write_rctl(self, value: int) -> None:
        self.rctl = value
        self._unstall()

    @regs.on_write(0x2818, "RDT")
    def write_rdt(self, value: int) -> None:
        self.registers["RDT"] = value & 0xFFFF
        if self.state.stalled:
            self._unstall()

    def _unstall(self) -> None:
        if self.state.stalled:
            self.state.stalled = False
            self.port.ready()

    def receive(self, frame: bytes) -> bool:
        """A frame from the wire. False if there is no descriptor for it; it is offered again after `ready`."""
        registers, state = self.registers, self.state
        rctl = registers["RCTL"]
        if not rctl & RCTL_EN or not self.master:
            return True
        if len(frame) < ethernet.SHORTEST:
            frame = frame.ljust(ethernet.SHORTEST, b"\0")
        longest = MOST_PLAIN if rctl & (RCTL_LPE | RCTL_SBP) else ethernet.LONGEST + 4
        if len(frame) > longest:
            self._count(ROC)
            return True
        tagged = frame[12] << 8 | frame[13] == registers["VET"] & 0xFFFF
        if not self._accepted(frame, rctl, tagged):
            return True
        head, tail, count = registers["RDH"], registers["RDT"], registers["RDLEN"] >> 4
        free = (tail - head) % count if count and head < count and tail < count else 0
        size = (256, 512, 1024, 2048)[3 - (rctl >> 16 & 3)]
        if rctl & RCTL_BSEX and rctl >> 16 & 3:
            size *= 16
        special = status = 0
        if tagged and registers["CTRL"] & CTRL_VME:
            special, status = frame[14] << 8 | frame[15], RX_VP
            frame = frame[:12] + frame[16:]
        stored = frame if rctl & RCTL_SECRC else frame + zlib.crc32(frame).to_bytes(4, "little")
        length = len(stored)
        needed = -(-length // size)
        if free < needed:
            if count and free + 1 < count and needed < count:
                # The wire keeps it: there is room once the driver moves the tail.
                state.stalled = True
                self._count(RNBC)
            else:
                self._count(MPC)
            if not state.icr & RXO:
                self._raise(RXO)
            return not state.stalled
        base = registers["RDBAH"] << 32 | registers["RDBAL"]
        if registers["RXCSUM"] & (RXCSUM_IPOFL | RXCSUM_TUOFL):
            status, errors = status | 0, 0
            checked = _checked(frame, registers["RXCSUM"])
            status |= checked & 0xFF
            errors = checked >> 8
        else:
            status, errors = status | RX_IXSM, 0
        read, write = self.memory.read, self.memory.write
        at = 0
        while at < length:
            piece = stored[at : at + size]
            at += len(piece)
            where = base + 16 * head
            address = int.from_bytes(read(where, 8), "little")
            write(address, piece)
            bits = status | DD | (RX_EOP if at >= length else 0)
            write(where + 8, struct.pack("<HHBBH", len(piece), 0, bits, errors if at >= length else 0, special))
            head += 1
            if head == count:
                head = 0
        registers["RDH"] = head
        free -= needed
        self._count_received(frame)
        causes = RXDMT0 if free == count >> (rctl >> 8 & 3) + 1 else 0
        if registers["RDTR"]:
            self._later(RXT0, registers["RDTR"], registers["RADV"])
        else:
            causes |= RXT0
        if causes:
            self._raise(causes)
        return True

    def _count_received(self, frame: bytes) -> None:
        self._count(TPR)
        self._count(GPRC)
        self._count_octets(TORL, len(frame) + 4)
        self._count_octets(GORCL, len(frame) + 4)
        self._count_size(SIZES_RECEIVED, len(frame) + 4)
        if frame[0] & 1:
            self._count(BPRC if frame[:6] == b"\xff" * 6 else MPRC)

    def _accepted(self, frame: bytes, rctl: int, tagged: bool) -> bool:
        """Address filtering, 3.2.1."""
        state = self.state
        if tagged and rctl & RCTL_VFE:
            vlan = (frame[14] << 8 | frame[15]) & 0xFFF
            if not state.vlans[vlan >> 5] >> (vlan & 31) & 1:
                return False
        if frame[0] & 1:
            if rctl & RCTL_MPE or (rctl & RCTL_BAM and frame[:6] == b"\xff\xff\xff\xff\xff\xff"):
                return True
        elif rctl & RCTL_UPE:
            return True
        low, high = struct.unpack_from("<IH", frame)
        addresses = state.addresses
        if addresses[0] == low and addresses[1] & 0x8000FFFF == high | 0x80000000:
            return True
        for n in range(2, 32, 2):
            if addresses[n] == low and addresses[n + 1] & 0x8000FFFF == high | 0x80000000:
                return True
        if frame[0] & 1:
            shift = (4, 3, 2, 0)[rctl >> 12 & 3]
            bit = (frame[5] << 8 | frame[4]) >> shift & 0xFFF
            return bool(state.multicast[bit >> 5] >> (bit & 31) & 1)
        return False


def _tables() -> None:
    """Arrays of registers: multicast, addresses, VLANs, counters."""

    def array(base: int, count: int, name: str, attribute: str) -> None:
        for n in range(count):

            def read(self: E1000, n: int = n) -> int:
                value: int = getattr(self.state, attribute)[n]
                return value

            def write(self: E1000, value: int, n: int = n) -> None:
                getattr(self.state, attribute)[n] = value

            E1000.regs.on_read(base + 4 * n, f"{name}[{n}]")(read)
            E1000.regs.on_write(base + 4 * n, f"{name}[{n}]")(write)

    array(0x5200, 128, "MTA", "multicast")
    array(0x5400, 32, "RA", "addresses")
    array(0x5600, 128, "VFTA", "vlans")
    for n, offset in enumerate(COUNTERS):

        def count(self: E1000, n: int = n) -> int:
            """Reading clears."""
            value, self.state.counters[n] = self.state.counters[n], 0
            return value

        E1000.regs.on_read(offset, f"counter {offset:#x}")(count)
        E1000.regs.on_write(offset, f"counter {offset:#x}")(lambda self, value: None)


_tables()


def _sum_from(frame: bytes, start: int, at: int) -> bytes:
    """A legacy descriptor's checksum, 3.3.3.1: from byte `start` to the end, put at byte `at`."""
    return _sum_between(frame, start, at, 0, False)


def _sum_between(frame: bytes, start: int, at: int, end: int, udp: bool) -> bytes:
    """The checksum of bytes start..end (0: all) put at `at`, where the sum of a pseudo header may stand already."""
    end = end + 1 if end else len(frame)
    if at + 2 > len(frame) or start >= end or start >= len(frame):
        return frame
    value = ethernet.checksum(ethernet.total(frame[start:end]))
    if udp and not value:
        value = 0xFFFF
    return frame[:at] + value.to_bytes(2, "big") + frame[at + 2 :]


def _checked(frame: bytes, rxcsum: int) -> int:
    """Receive checksums, 3.2.9: status bits, and errors above them."""
    if frame[12:14] != b"\x08\x00" or frame[14] >> 4 != 4:
        return RX_IXSM
    length = 4 * (frame[14] & 15)
    end = 14 + int.from_bytes(frame[16:18], "big")
    if length < 20 or end > len(frame) or end < 14 + length:
        return RX_IXSM
    result = 0
    if rxcsum & RXCSUM_IPOFL:
        result |= RX_IPCS
        if ethernet.total(frame[14 : 14 + length]) % 0xFFFF:
            result |= RX_IPE << 8
    protocol = frame[23]
    if rxcsum & RXCSUM_TUOFL and not frame[20] & 0x3F and not frame[21] and protocol in (ethernet.TCP, ethernet.UDP):
        if protocol == ethernet.UDP and frame[14 + length + 6 : 14 + length + 8] == b"\0\0":
            return result or RX_IXSM
        result |= RX_TCPCS
        segment = frame[14 + length : end]
        value = ethernet.total(frame[26:34]) + protocol + len(segment) + ethernet.total(segment)
        if value % 0xFFFF:
            result |= RX_TCPE << 8
    return result or RX_IXSM
