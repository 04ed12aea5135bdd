"""An IDE channel with two drives, and the ATA hard disk: registers, PIO and DMA transfers, interrupts.

The channel is the task file of ATA/ATAPI-6 (chapters 6 to 9): command block at 1F0h or 170h, control block at 3F6h or
376h, one interrupt line. Drivers talk to it directly (libata, xv6, DOS) and so may a BIOS. The packet drive is in
devices.atapi, the bus master that moves the data of DMA commands in devices.piix_ide.

A PIO command does its host I/O at once, holds BSY for some microseconds of virtual time and then shows its result
together with INTRQ, so that every order of status bits a driver can see is legal. Writing commands ask for their first
block of data at once, as the standard's PIO data-out protocol does (no interrupt for the first block).

A host that polls (nIEN) finds the next block at once, and BSY ends when it looks: no timer runs. What is read ahead for
it may be lent to a processor (`lend_data`), which then takes blocks and status without asking.

A DMA command (9.10 of the standard) and FLUSH CACHE go through a `DiskQueue` and hold BSY until it completes; a drive
that is given none advertises PIO modes only. Data is moved in pieces of at most `DMA_MAX`, each when the disk has it
and the bus master has been started. A reset forgets what is under way. What is under way is part of the state.
"""

# State fields are declared by calls (devices.state), each of which makes a dataclass field.
# ruff: noqa: RUF009

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from devices.contracts import Clock, Disk, DiskQueue, Line, Statistics
from devices.device import device
from devices.lending import Lending
from devices.registers import Bank
from devices.state import choice, deadline, flag, octets, ranged, records, uint

LOG = logging.getLogger("emu.disk")

# Status register.
BSY, DRDY, DF, DSC, DRQ, ERR = 0x80, 0x40, 0x20, 0x10, 0x08, 0x01
# Error register. WP stands where UNC does: write protected, for commands that write.
UNC, WP, IDNF, ABRT = 0x40, 0x40, 0x10, 0x04
# Device register.
DEV, LBA = 0x10, 0x40
# Device control register.
HOB, SRST, NIEN = 0x80, 0x04, 0x02

READY = DRDY | DSC
SECTOR = 512
MULTIPLE_MAX = 16
COMMAND_NS = 3000
"""From a command to its first result, virtual ns."""
BLOCK_NS = 1000
"""From one block of data to the next, virtual ns; at once for a host that polls (nIEN)."""
AHEAD = 128
"""Sectors that a command for single sectors reads from the host at a time."""
DMA_MAX = 2048
"""Sectors that a DMA command moves at a time."""
BUFFER_MAX = DMA_MAX * SECTOR

PIO_MODES = (0x00, 0x01, 0x08, 0x09, 0x0A, 0x0B, 0x0C)
MULTIWORD, ULTRA = 0x20, 0x40
"""Transfer modes of SET FEATURES: Multiword DMA 0 to 2 and Ultra DMA 0 to 2, as the PIIX family has them."""
LendData = Callable[[bytes, tuple[int, int], int, int], "Callable[[], tuple[int, bool]] | None"]
DMA_MODES = tuple(kind | mode for kind in (MULTIWORD, ULTRA) for mode in range(3))


class DmaPort(Protocol):
    """The bus master's half of a DMA transfer. It calls the channel's `dma_ready` when it has been started."""

    def give(self, data: bytes) -> int | None:
        """Move data into memory: how many bytes there was room for, or None while it is not started."""

    def take(self, length: int) -> bytes | None:
        """Move data out of memory: what there was of it, or None while it is not started."""


@dataclass
class DriveState:
    """One drive's half of the task file. The address registers hold the newest byte low and the one before it high."""

    features: int = uint(16)
    count: int = uint(16, 1)
    lba_low: int = uint(16, 1)
    lba_mid: int = uint(16)
    lba_high: int = uint(16)
    device: int = uint(8, 0xA0)
    status: int = uint(8)
    error: int = uint(8, 1)
    pending: bool = flag()
    """INTRQ is asserted, if this drive is selected and nIEN is clear."""
    next_status: int = uint(8)
    """What the status becomes when BSY ends."""
    next_interrupt: bool = flag()
    timed: bool = flag()
    """BSY ends when the channel's timer says so."""
    transfer: str = choice("none", "in", "out", "packet", "dma in", "dma out", "flush")
    host: str = choice("none", "read", "write", "flush")
    """What the queue does for the drive."""
    host_due: int | None = deadline()
    buffer: bytearray | bytes = octets(BUFFER_MAX)
    """What moves through the data port or by DMA; a bytearray while the host fills it."""
    position: int = ranged(0, BUFFER_MAX)
    # A hard disk's command under way.
    command: int = uint(8)
    addressing: str = choice("chs", "lba28", "lba48")
    lba: int = uint(49)
    left: int = ranged(0, 65536)
    """Sectors not yet transferred."""
    per_block: int = ranged(1, DMA_MAX, 1)
    """Sectors for one DRQ, or for one request of a DMA command to the host."""
    # A hard disk's settings.
    multiple: int = ranged(0, MULTIPLE_MAX, MULTIPLE_MAX)
    heads: int = ranged(1, 16, 16)
    sectors: int = ranged(1, 255, 63)
    write_cache: bool = flag(True)
    mode: int = uint(8)
    """DMA mode that SET FEATURES has chosen; 0 for none."""
    # A packet drive.
    stream: int = uint(48)
    """Byte on the medium that is sent next."""
    stream_left: int = uint(48)
    by_dma: bool = flag()
    """The packet's data go by DMA."""
    reply: bytearray = octets(65536)
    """What is still to be sent of a reply that does not come from the medium."""
    sense: int = uint(8)
    asc: int = uint(8)
    ascq: int = uint(8)
    locked: bool = flag()
    tray_open: bool = flag()
    medium_changed: bool = flag()


@dataclass
class ChannelState:
    drives: list[DriveState] = records(2, DriveState)
    selected: int = ranged(0, 1)
    control: int = uint(8)
    due: int | None = deadline()


class Drive(ABC):
    """What the channel asks of a drive. The drive's changing state is the channel's, so that it is saved with it."""

    resets: ClassVar[bool] = False
    """Takes DEVICE RESET even while busy (packet drives)."""

    def __init__(self, queue: DiskQueue | None = None) -> None:
        self.channel: AtaChannel | None = None
        self.index = 0
        self.queue = queue
        """The way to the medium for DMA and flushes; None: the drive has no DMA."""

    @property
    def s(self) -> DriveState:
        if self.channel is None:
            raise RuntimeError("the drive is on no channel")
        state: ChannelState = self.channel.state
        return state.drives[self.index]

    @abstractmethod
    def signature(self) -> None:
        """Put the type signature into the registers and end whatever goes on (ATA/ATAPI-6, 9.12)."""

    def power_on(self) -> None:  # noqa: B027 (most drives have none)
        """Settings after power-on, beyond the state's defaults."""

    def cancel(self) -> None:
        """Forget what goes on."""
        s = self.s
        s.transfer = s.host = "none"
        s.host_due = None
        s.left = 0
        s.timed = False
        if self.queue is not None:
            self.queue.cancel()

    def settle(self) -> None:
        """Before the drive uses its medium directly: earlier requests have reached it."""
        if self.queue is not None:
            self.queue.settle()

    def dma(self) -> None:  # noqa: B027 (nothing to do for who has no DMA)
        """Move data if both the medium and the bus master are ready."""

    def resume(self) -> None:  # noqa: B027
        """Ask the queue again for what it did when the state was saved."""

    @property
    def port(self) -> DmaPort | None:
        """The bus master."""
        return None if self.channel is None else self.channel.dma

    @property
    def has_dma(self) -> bool:
        return self.queue is not None and self.port is not None

    def dma_words(self, w: Words) -> None:
        """The words of IDENTIFY that speak of DMA."""
        if not self.has_dma:
            return
        s = self.s
        w.put(49, 0x0B00)  # LBA, IORDY, DMA
        w.put(53, w.get(53) | 0x0004)
        w.put(63, 0x0007 | (1 << (s.mode & 7) << 8 if s.mode & ~7 == MULTIWORD else 0))
        w.put(65, 120)
        w.put(66, 120)
        w.put(88, 0x0007 | (1 << (s.mode & 7) << 8 if s.mode & ~7 == ULTRA else 0))

    def set_mode(self, mode: int) -> bool:
        """SET FEATURES 03h: False for a mode that the drive does not have."""
        if mode in DMA_MODES and self.has_dma:
            self.s.mode = mode
            return True
        return mode in PIO_MODES

    def finish(self, status: int) -> None:
        """The command ends now, in a completion: show `status` and INTRQ."""
        s = self.s
        s.transfer = s.host = "none"
        s.host_due = None
        s.status = status
        s.pending = True
        if self.channel is not None:
            self.channel.update()

    @abstractmethod
    def execute(self, opcode: int) -> None:
        """A command was written; BSY is clear."""

    @abstractmethod
    def block_read(self) -> None:
        """The host has taken all of the buffer."""

    @abstractmethod
    def block_written(self) -> None:
        """The host has filled the buffer."""

    def later(self, status: int, delay: int = COMMAND_NS, *, interrupt: bool = True) -> None:
        """Show BSY now, and `status` and INTRQ in `delay` ns."""
        s = self.s
        if delay <= BLOCK_NS and self.channel is not None and self.channel.polled:
            s.status = status
            s.pending = s.pending or interrupt
            return
        s.status = BSY
        s.next_status = status
        s.next_interrupt = interrupt
        s.timed = True
        if self.channel is not None:
            self.channel.wake(delay)

    def done(self, delay: int = COMMAND_NS) -> None:
        """The command ended well."""
        s = self.s
        s.transfer = "none"
        s.error = 0
        self.later(READY, delay)

    def fail(self, error: int, delay: int = COMMAND_NS) -> None:
        """The command ended with `error` in the error register."""
        s = self.s
        s.transfer = "none"
        s.error = error
        self.later(READY | ERR, delay)

    def offer(self, data: bytes, delay: int = COMMAND_NS) -> None:
        """Give the host a block of data to read."""
        s = self.s
        s.buffer = data
        s.position = 0
        s.transfer = "in"
        self.later(READY | DRQ, delay)

    def ask(self, length: int, kind: str = "out") -> None:
        """Let the host write `length` bytes. The caller sets the status, at once or later."""
        s = self.s
        s.buffer = bytearray(length)
        s.position = 0
        s.transfer = kind


def text_field(text: str, length: int) -> bytes:
    """An IDENTIFY string: ASCII, blank-filled, the two characters of each word swapped."""
    plain = text.encode("ascii", "replace")[:length].ljust(length)
    swapped = bytearray(length)
    swapped[0::2] = plain[1::2]
    swapped[1::2] = plain[0::2]
    return bytes(swapped)


class Words:
    """The 256 words of an IDENTIFY reply."""

    def __init__(self) -> None:
        self.data = bytearray(512)

    def get(self, index: int) -> int:
        return int.from_bytes(self.data[2 * index : 2 * index + 2], "little")

    def put(self, index: int, value: int, words: int = 1) -> None:
        """Store `value` in `words` words from `index`, lowest first."""
        self.data[2 * index : 2 * index + 2 * words] = value.to_bytes(2 * words, "little")

    def text(self, first: int, last: int, value: str) -> None:
        self.data[2 * first : 2 * last + 2] = text_field(value, 2 * (last - first + 1))

    def sealed(self) -> bytes:
        """With the integrity word (255): signature A5h and a byte that makes the sum 0."""
        self.data[510] = 0xA5
        self.data[511] = -sum(self.data[:511]) & 0xFF
        return bytes(self.data)


class AtaDisk(Drive):
    """A hard disk. `geometry` is (cylinders, heads, sectors), by default 16 heads of 63 sectors.

    Raises ValueError for a geometry that the registers cannot hold.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        serial: str = "EMU00001",
        model: str = "Emu hard disk",
        firmware: str = "1.0",
        geometry: tuple[int, int, int] | None = None,
        queue: DiskQueue | None = None,
    ) -> None:
        super().__init__(queue)
        self.disk = disk
        self.total = disk.size // SECTOR
        if geometry is None:
            geometry = (min(16383, max(1, self.total // (16 * 63))), 16, 63)
        cylinders, heads, sectors = geometry
        if not (1 <= cylinders <= 65535 and 1 <= heads <= 16 and 1 <= sectors <= 63):
            raise ValueError(f"disk geometry {geometry}: expected 1..65535 cylinders, 1..16 heads, 1..63 sectors")
        self.geometry = geometry
        self.serial = serial
        self.model = model
        self.firmware = firmware
        self._logged: set[tuple[str, int | None]] = set()
        self._ahead = b""
        self._ahead_from = 0

    def power_on(self) -> None:
        s = self.s
        _, s.heads, s.sectors = self.geometry
        s.mode = ULTRA | 2 if self.has_dma else 0

    def signature(self) -> None:
        self.cancel()
        s = self.s
        s.error = 1
        s.count = s.lba_low = 1
        s.lba_mid = s.lba_high = 0
        s.device = 0xA0
        s.status = s.next_status = READY
        s.pending = False

    def execute(self, opcode: int) -> None:
        if self.s.transfer != "none":
            self.cancel()  # a transfer that the host has given up
        s = self.s
        s.error = 0
        s.command = opcode
        handler = _COMMANDS.get(opcode)
        if handler is None:
            self.fail(ABRT)
        else:
            handler(self)

    # Addresses

    def _address(self, extended: bool) -> int | None:
        """The logical block in the registers, and `s.addressing`. None if no such sector can be."""
        s = self.s
        low, mid, high = s.lba_low, s.lba_mid, s.lba_high
        if extended:
            s.addressing = "lba48"
            newest = (low & 0xFF) | (mid & 0xFF) << 8 | (high & 0xFF) << 16
            return newest | (low >> 8) << 24 | (mid >> 8) << 32 | (high >> 8) << 40
        if s.device & LBA:
            s.addressing = "lba28"
            return (low & 0xFF) | (mid & 0xFF) << 8 | (high & 0xFF) << 16 | (s.device & 0x0F) << 24
        s.addressing = "chs"
        sector, cylinder, head = low & 0xFF, (mid & 0xFF) | (high & 0xFF) << 8, s.device & 0x0F
        if not 1 <= sector <= s.sectors or head >= s.heads:
            return None
        return (cylinder * s.heads + head) * s.sectors + sector - 1

    def _show_address(self, lba: int) -> None:
        """Put `lba` into the registers in the command's own addressing."""
        s = self.s
        if s.addressing == "lba48":
            s.lba_low = (lba & 0xFF) | (lba >> 24 & 0xFF) << 8
            s.lba_mid = (lba >> 8 & 0xFF) | (lba >> 32 & 0xFF) << 8
            s.lba_high = (lba >> 16 & 0xFF) | (lba >> 40 & 0xFF) << 8
        elif s.addressing == "lba28":
            s.lba_low, s.lba_mid, s.lba_high = lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF
            s.device = (s.device & 0xF0) | (lba >> 24 & 0x0F)
        else:
            track, sector = divmod(lba, s.sectors)
            cylinder, head = divmod(track, s.heads)
            s.lba_low, s.lba_mid, s.lba_high = sector + 1, cylinder & 0xFF, cylinder >> 8 & 0xFF
            s.device = (s.device & 0xF0) | head

    def _extended(self) -> bool:
        return self.s.command in (0x24, 0x25, 0x29, 0x34, 0x35, 0x39, 0x3D, 0x42, 0xCE)

    def _begin(self) -> bool:
        """Take address and count from the registers; False after failing the command for a bad range."""
        s = self.s
        extended = self._extended()
        count = s.count if extended else s.count & 0xFF
        count = count or (65536 if extended else 256)
        lba = self._address(extended)
        if lba is None or lba + count > self.total:
            self.fail(IDNF)
            return False
        s.lba = lba
        s.left = count
        return True

    def _advance(self, sectors: int) -> None:
        """`sectors` more are done: the registers show the last of them and how many are left."""
        s = self.s
        s.lba += sectors
        s.left -= sectors
        self._show_address(s.lba - 1)
        s.count = s.left & (0xFFFF if s.addressing == "lba48" else 0xFF)

    # Host I/O: an OSError becomes an ATA error and a line in the log

    def _log(self, what: str, error: OSError) -> None:
        key = (what, error.errno)
        if key not in self._logged:
            self._logged.add(key)
            LOG.error("%s: %s failed: %s", self.model, what, error.strerror or error)

    def _read_host(self, sectors: int) -> bytes:
        """The next `sectors`, or those before the first unreadable one (none: empty)."""
        lba = self.s.lba
        self.settle()
        try:
            data = self.disk.read(lba * SECTOR, sectors * SECTOR)
            self._count("rd", len(data))
            return data
        except OSError as error:
            self._log("read", error)
            self._count("rd", 0, failed=True)
        good = b""
        for i in range(sectors if sectors > 1 else 0):
            try:
                good += self.disk.read((lba + i) * SECTOR, SECTOR)
            except OSError:
                break
        return good

    def _flush_host(self) -> bool:
        self.settle()
        try:
            self.disk.flush()
        except OSError as error:
            self._log("flush", error)
            self._count("flush", 0, failed=True)
            return False
        self._count("flush", 0)
        return True

    def _count(self, kind: str, length: int, *, failed: bool = False) -> None:
        """A request that did not go through the queue, for the disk's statistics if it has them."""
        statistics: Statistics | None = getattr(self.disk, "statistics", None)
        if statistics is None:
            return
        if failed:
            statistics.failed(kind)
        else:
            statistics.done(kind, length)

    # Reading and writing

    def _block_size(self) -> int | None:
        """Sectors for one DRQ: one, or the multiple count. None: READ or WRITE MULTIPLE while that is disabled."""
        if self.s.command in (0xC4, 0x29, 0xC5, 0x39, 0xCE):
            return self.s.multiple or None
        return 1

    def read_sectors(self) -> None:
        size = self._block_size()
        if size is None:
            self.fail(ABRT)
        elif self._begin():
            self.s.per_block = size
            self._ahead = b""
            self._next_block_in(COMMAND_NS)

    def _next_block_in(self, delay: int) -> None:
        s = self.s
        size = min(s.per_block, s.left) * SECTOR
        start = (s.lba - self._ahead_from) * SECTOR
        if not 0 <= start < len(self._ahead):
            whole = max(1, AHEAD // s.per_block) * s.per_block
            self._ahead, self._ahead_from, start = self._read_host(min(s.left, whole)), s.lba, 0
        data = self._ahead[start : start + size]
        if data:
            self.offer(data, delay)
        else:
            self._show_address(s.lba)
            self.fail(UNC, delay)

    def ahead(self) -> tuple[bytes, tuple[int, int], int] | None:
        """For a host that polls: what has been read ahead, which blocks of it may go at once, and their size. Not the
        last one: behind that the drive goes on by itself."""
        s = self.s
        block = s.per_block * SECTOR
        start = (s.lba - self._ahead_from) * SECTOR
        blocks = (min(len(self._ahead), start + s.left * SECTOR) - start) // block - 1
        at_begin = s.command in _READS and s.transfer == "in" and not s.position and s.status == READY | DRQ
        return (self._ahead, (start, start + blocks * block), block) if at_begin and start >= 0 and blocks > 0 else None

    def gone_on(self, at: int) -> None:
        """The host has taken what was read ahead, up to there."""
        s = self.s
        size = s.per_block * SECTOR
        blocks, s.position = divmod(at - (s.lba - self._ahead_from) * SECTOR, size)
        if blocks:
            self._advance(blocks * s.per_block)
            start = (s.lba - self._ahead_from) * SECTOR
            s.buffer = self._ahead[start : start + size]

    def block_read(self) -> None:
        s = self.s
        if s.command in _READS:
            self._advance(len(s.buffer) // SECTOR)
            if s.left:
                self._next_block_in(BLOCK_NS)
                return
        s.transfer = "none"
        s.status = READY

    def write_sectors(self) -> None:
        s = self.s
        size = self._block_size()
        if size is None:
            self.fail(ABRT)
        elif self.disk.read_only:
            self.fail(ABRT | WP)
        elif self._begin():
            s.per_block = size
            self.ask(min(size, s.left) * SECTOR)
            s.status = READY | DRQ

    def block_written(self) -> None:
        s = self.s
        self.settle()
        try:
            self.disk.write(s.lba * SECTOR, bytes(s.buffer))
        except OSError as error:
            self._log("write", error)
            self._count("wr", 0, failed=True)
            self._show_address(s.lba)
            self.fail(ABRT, BLOCK_NS)
            return
        self._count("wr", len(s.buffer))
        self._advance(len(s.buffer) // SECTOR)
        if s.left:
            self.ask(min(s.per_block, s.left) * SECTOR)
            self.later(READY | DRQ, BLOCK_NS)
        elif self._through() and not self._flush_host():
            self.fail(ABRT, BLOCK_NS)
        else:
            self.done(BLOCK_NS)

    def _through(self) -> bool:
        """What is written must be stable when the command ends."""
        return not self.s.write_cache or self.s.command in (0x3D, 0xCE)

    # DMA

    def read_dma(self) -> None:
        if not self.has_dma:
            self.fail(ABRT)
        elif self._begin():
            s = self.s
            s.transfer = "dma in"
            s.per_block = DMA_MAX
            s.status = BSY
            self._ask_host("read")

    def write_dma(self) -> None:
        if not self.has_dma:
            self.fail(ABRT)
        elif self.disk.read_only:
            self.fail(ABRT | WP)
        elif self._begin():
            s = self.s
            s.transfer = "dma out"
            s.per_block = DMA_MAX
            s.status = BSY
            self.dma()

    def _ask_host(self, what: str, at: int | None = None) -> None:
        """Give the queue the next request: a read of what is left, a write of the buffer, a flush."""
        s = self.s
        queue = self.queue
        if queue is None:
            return
        s.host = what
        if what == "read":
            s.host_due = queue.read(s.lba * SECTOR, min(s.left, s.per_block) * SECTOR, self._has_read, at=at)
        elif what == "write":
            s.host_due = queue.write(s.lba * SECTOR, bytes(s.buffer), self._has_written, at=at)
        else:
            s.host_due = queue.flush(self._has_flushed, at=at)

    def resume(self) -> None:
        s = self.s
        self._ahead = b""
        if s.host != "none":
            self._ask_host(s.host, s.host_due)

    def _has_read(self, result: bytes | OSError) -> None:
        s = self.s
        s.host, s.host_due = "none", None
        if not isinstance(result, OSError):
            s.buffer = result
            s.position = 0
            self.dma()
            return
        self._log("read", result)
        sectors = min(s.left, s.per_block)
        if sectors > 1:
            # Smaller pieces, to move what is good and to name the sector that is not.
            s.per_block = max(1, sectors // 4)
            self._ask_host("read")
        else:
            self._show_address(s.lba)
            self.fail(UNC)

    def dma(self) -> None:
        s = self.s
        port = self.port
        if port is None or s.host != "none":
            return
        if s.transfer == "dma in" and s.buffer and s.status & BSY:
            moved = port.give(bytes(s.buffer))
            if moved is None:
                return
            if moved < len(s.buffer):
                self._stuck()
                return
            self._advance(len(s.buffer) // SECTOR)
            s.buffer = b""
            if s.left:
                self._ask_host("read")
            else:
                self.finish(READY)
        elif s.transfer == "dma out" and s.left and s.status & BSY:
            length = min(s.left, s.per_block) * SECTOR
            data = port.take(length)
            if data is None:
                return
            s.buffer = data if not len(data) % SECTOR else data[: len(data) // SECTOR * SECTOR]
            s.position = 0
            if s.buffer:
                self._ask_host("write")
            else:
                self._stuck()

    def _stuck(self) -> None:
        """The bus master has no more room or data: the drive goes on asking until it is reset or gets a command."""
        s = self.s
        s.buffer = b""
        s.status = READY | DRQ

    def _has_written(self, error: OSError | None) -> None:
        s = self.s
        s.host, s.host_due = "none", None
        sectors = len(s.buffer) // SECTOR
        s.buffer = b""
        if error is not None:
            self._log("write", error)
            self._show_address(s.lba)
            self.fail(ABRT)
            return
        self._advance(sectors)
        if s.left:
            self.dma()
        elif self._through():
            self._ask_host("flush")
        else:
            self.finish(READY)

    def _has_flushed(self, error: OSError | None) -> None:
        s = self.s
        s.host, s.host_due = "none", None
        if error is None:
            self.finish(READY)
        else:
            self._log("flush", error)
            self.fail(ABRT)

    def read_verify(self) -> None:
        if not self._begin():
            return
        s = self.s
        while s.left:
            sectors = min(s.left, 128)
            good = len(self._read_host(sectors)) // SECTOR
            if good:
                self._advance(good)
            if good < sectors:
                self._show_address(s.lba)
                self.fail(UNC)
                return
        self.done()

    # The other commands

    def identify(self) -> None:
        self.offer(self.identity())

    def identity(self) -> bytes:
        """The 512 bytes of IDENTIFY DEVICE (ATA/ATAPI-6, 8.15)."""
        s = self.s
        w = Words()
        cylinders, heads, sectors = self.geometry
        w.put(0, 0x0040)
        w.put(1, cylinders)
        w.put(3, heads)
        w.put(4, SECTOR * sectors)
        w.put(5, SECTOR)
        w.put(6, sectors)
        w.text(10, 19, self.serial)
        w.put(20, 3)
        w.put(21, 512)
        w.put(22, 4)
        w.text(23, 26, self.firmware)
        w.text(27, 46, self.model)
        w.put(47, 0x8000 | MULTIPLE_MAX)
        w.put(48, 1)
        w.put(49, 0x0A00)  # LBA, IORDY; no DMA
        w.put(50, 0x4000)
        w.put(51, 0x0200)
        w.put(53, 0x0003)
        current = min(65535, self.total // (s.heads * s.sectors))
        w.put(54, current)
        w.put(55, s.heads)
        w.put(56, s.sectors)
        w.put(57, current * s.heads * s.sectors, 2)
        w.put(59, 0x0100 | s.multiple if s.multiple else 0)
        w.put(60, min(self.total, 0x0FFFFFFF), 2)
        w.put(64, 0x0003)  # PIO modes 3 and 4
        w.put(67, 120)
        w.put(68, 120)
        w.put(80, 0x0070)
        w.put(82, 0x4028)  # NOP, write cache, power management
        w.put(83, 0x7400)  # FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses
        w.put(84, 0x4000)
        w.put(85, 0x4028 if s.write_cache else 0x4008)
        w.put(86, 0x3400)
        w.put(87, 0x4000)
        w.put(93, 0x6001)
        w.put(100, self.total, 4)
        if self.has_dma:
            w.put(84, 0x4040)  # WRITE DMA FUA EXT and its like
            w.put(87, 0x4040)
        self.dma_words(w)
        return w.sealed()

    def set_multiple(self) -> None:
        count = self.s.count & 0xFF
        if count > MULTIPLE_MAX or count & (count - 1):
            self.fail(ABRT)
        else:
            self.s.multiple = count
            self.done()

    def initialize_parameters(self) -> None:
        s = self.s
        if s.count & 0xFF == 0:
            self.fail(ABRT)
        else:
            s.heads = (s.device & 0x0F) + 1
            s.sectors = s.count & 0xFF
            self.done()

    def recalibrate(self) -> None:
        s = self.s
        s.lba_mid = s.lba_high = 0
        self.done()

    def seek(self) -> None:
        lba = self._address(False)
        if lba is None or lba >= self.total:
            self.fail(IDNF)
        else:
            self.done()

    def set_features(self) -> None:
        s = self.s
        feature, mode = s.features & 0xFF, s.count & 0xFF
        if feature == 0x03:
            if not self.set_mode(mode):
                self.fail(ABRT)
                return
        elif feature == 0x02:
            s.write_cache = True
        elif feature == 0x82:
            if not self._flush_host():
                self.fail(ABRT)
                return
            s.write_cache = False
        elif feature not in (0x55, 0x66, 0xAA, 0xCC):  # look-ahead off/on, defaults kept/restored over a reset
            self.fail(ABRT)
            return
        self.done()

    def flush(self) -> None:
        if self.queue is not None:
            self.s.transfer = "flush"
            self.s.status = BSY
            self._ask_host("flush")
        elif self._flush_host():
            self.done()
        else:
            self.fail(ABRT)

    def check_power(self) -> None:
        self.s.count = 0xFF
        self.done()

    def read_native_max(self) -> None:
        s = self.s
        if s.command == 0x27:
            s.addressing = "lba48"
            self._show_address(self.total - 1)
        else:
            s.addressing = "lba28"
            s.device |= LBA
            self._show_address(min(self.total, 0x0FFFFFFF) - 1)
        self.done()


_READS = frozenset((0x20, 0x21, 0x24, 0x29, 0xC4))

_COMMANDS = {
    **dict.fromkeys(range(0x10, 0x20), AtaDisk.recalibrate),
    **dict.fromkeys((0x20, 0x21, 0x24, 0x29, 0xC4), AtaDisk.read_sectors),
    **dict.fromkeys((0x30, 0x31, 0x34, 0x39, 0xC5, 0xCE), AtaDisk.write_sectors),
    **dict.fromkeys((0x25, 0xC8, 0xC9), AtaDisk.read_dma),
    **dict.fromkeys((0x35, 0x3D, 0xCA, 0xCB), AtaDisk.write_dma),
    **dict.fromkeys((0x40, 0x41, 0x42), AtaDisk.read_verify),
    **dict.fromkeys(range(0x70, 0x80), AtaDisk.seek),
    0x91: AtaDisk.initialize_parameters,
    0xC6: AtaDisk.set_multiple,
    # STANDBY and IDLE, immediate or with a timer, and SLEEP; the first group are their older codes.
    **dict.fromkeys((0x94, 0x95, 0x96, 0x97, 0x99), AtaDisk.done),
    **dict.fromkeys((0xE0, 0xE1, 0xE2, 0xE3, 0xE6), AtaDisk.done),
    **dict.fromkeys((0x98, 0xE5), AtaDisk.check_power),
    **dict.fromkeys((0xE7, 0xEA), AtaDisk.flush),
    0xEC: AtaDisk.identify,
    0xEF: AtaDisk.set_features,
    **dict.fromkeys((0x27, 0xF8), AtaDisk.read_native_max),
}


@device("ata", "IDE channel with two drives (ATA/ATAPI)")
class AtaChannel(Lending):
    """One channel. `drives` are drive 0 and drive 1; None for an empty place.

    `read`/`write` serve the eight ports of the command block (map with max_width=4: the data port takes words and
    double words), `read_control`/`write_control` the one port of the control block.
    """

    State = ChannelState
    state: ChannelState

    regs = Bank(8)

    def __init__(
        self, *, intr: Line, clock: Clock, drives: Sequence[Drive | None] = (), dma: DmaPort | None = None
    ) -> None:
        if len(drives) > 2:
            raise ValueError("an IDE channel has two drives at most")
        self.intr = intr
        self.clock = clock
        self.dma = dma
        self.drives: list[Drive | None] = [*drives, None, None][:2]
        for index, drive in enumerate(self.drives):
            if drive is not None:
                if drive.channel is not None:
                    raise ValueError("the drive is already on a channel")
                drive.channel = self
                drive.index = index
        self.lend_data: LendData = lambda data, span, block, status: None
        """A processor that takes blocks of data, and the status meanwhile, without asking."""
        self._timer = clock.timer("ata", self._ready)
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """The reset pin: everything as after power-on, and the drives ready at once."""
        self.clear()
        self._timer.cancel()
        for drive in self.drives:
            if drive is not None:
                drive.power_on()
                drive.signature()
        self.update()

    def dma_ready(self) -> None:
        """The bus master has been started."""
        for drive in self.drives:
            if drive is not None:
                drive.dma()

    def check(self, registers: dict[str, int], state: ChannelState) -> None:
        if state.due is None and any(s.timed for s in state.drives):
            raise ValueError("due: a busy drive that nothing ends")
        for index, (drive, s) in enumerate(zip(self.drives, state.drives, strict=True)):
            where = f"drives[{index}]"
            if s.position > len(s.buffer):
                raise ValueError(f"{where}.position: beyond the buffer")
            if s.transfer in ("in", "out", "packet") and s.position == len(s.buffer):
                raise ValueError(f"{where}.buffer: a transfer without data")
            if drive is None and (s.transfer != "none" or s.status or s.pending or s.timed):
                raise ValueError(f"{where}: a transfer or status where there is no drive")
            self._check_host(where, drive, s)
            waits = s.timed or s.host != "none" or s.transfer in ("dma in", "dma out")
            if s.status & BSY and not waits and not state.control & SRST:
                raise ValueError(f"{where}.status: a busy drive that nothing ends")
            if s.timed and not s.status & BSY:
                raise ValueError(f"{where}.timed: the drive is not busy")
            if isinstance(drive, AtaDisk):
                self._check_disk(where, drive, s)

    @staticmethod
    def _check_host(where: str, drive: Drive | None, s: DriveState) -> None:
        """A request to the host, and the DMA transfer that it is for."""
        dma = s.transfer in ("dma in", "dma out", "flush") or s.host != "none"
        if dma and (drive is None or drive.queue is None):
            raise ValueError(f"{where}.transfer: DMA, which the drive does not have")
        if (s.host == "none") != (s.host_due is None):
            raise ValueError(f"{where}.host_due: does not fit {s.host}")
        fits = {"read": ("dma in",), "write": ("dma out",), "flush": ("dma out", "flush"), "none": ()}[s.host]
        if s.host != "none" and (s.transfer not in fits or not s.status & BSY or s.timed):
            raise ValueError(f"{where}.host: {s.host} during {s.transfer}")
        if s.transfer == "flush" and s.host != "flush":
            raise ValueError(f"{where}.transfer: a flush that nothing ends")

    @staticmethod
    def _check_disk(where: str, drive: AtaDisk, s: DriveState) -> None:
        if s.transfer == "packet":
            raise ValueError(f"{where}.transfer: a packet for a hard disk")
        moving = s.transfer in ("out", "dma in", "dma out") or (s.transfer == "in" and s.command in _READS)
        if moving and (len(s.buffer) % SECTOR or len(s.buffer) // SECTOR > s.left):
            raise ValueError(f"{where}.buffer: not the sectors that are left")
        if (s.host == "read" and not s.left) or (s.host == "write" and not s.buffer):
            raise ValueError(f"{where}.host: nothing to {s.host}")
        if s.left and s.lba + s.left > drive.total:
            raise ValueError(f"{where}.lba: beyond the end of the disk")

    def restored(self) -> None:
        self._arm()
        for drive in self.drives:
            if drive is not None:
                if drive.queue is not None:
                    drive.queue.cancel()
                drive.resume()

    # Time and interrupt

    def wake(self, delay: int) -> None:
        """End the drives' BSY in `delay` ns."""
        self.state.due = self.clock.now() + delay
        self._arm()

    @property
    def polled(self) -> bool:
        """No interrupts: BSY ends in time if that is looked at when the host asks."""
        return bool(self.state.control & NIEN)

    def _arm(self) -> None:
        if self.state.due is None or self.polled:
            self._timer.cancel()
        else:
            self._timer.arm(self.state.due)

    def _catch_up(self) -> None:
        due = self.state.due
        if due is not None and due <= self.clock.now():
            self._timer.cancel()
            self._ready()

    def _ready(self) -> None:
        self.state.due = None
        for s in self.state.drives:
            if s.timed:
                s.timed = False
                s.status = s.next_status
                s.pending = s.pending or s.next_interrupt
        self.update()

    def update(self) -> None:
        """Drive the interrupt line."""
        state = self.state
        self.intr.set(state.drives[state.selected].pending and not state.control & NIEN)

    # Who answers (ATA/ATAPI-6, 9.16: drive 0 answers for an absent drive 1, with status 0)

    def _mute(self) -> bool:
        """No drive drives the bus: reads give 0."""
        state = self.state
        return self.drives[state.selected] is None and (state.selected == 0 or self.drives[0] is None)

    def _status(self) -> int:
        state = self.state
        if self.drives[state.selected] is None:
            return 0
        return state.drives[state.selected].status

    # Command block

    def read(self, offset: int, width: int) -> int:
        """Read the command block: `width` 1, 2 or 4 bytes at port offset 0..7."""
        self._catch_up()
        if offset == 0:
            return int.from_bytes(self._take(max(width, 2)), "little") & (1 << (8 * width)) - 1
        if width == 1 and offset < 8:
            return _READERS[offset](self)
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Write the command block."""
        self._catch_up()
        if offset == 0:
            self._give(value.to_bytes(max(width, 2), "little"))
        elif width == 1 and offset < 8:
            _WRITERS[offset](self, value)
        else:
            self.regs.write(self, offset, width, value)

    def data_room(self) -> int:
        """Bytes that the data port still moves before the drive goes on by itself; 0 while it moves none."""
        self._catch_up()
        s = self.state.drives[self.state.selected]
        if s.transfer == "none" or not s.status & DRQ:
            return 0
        return len(s.buffer) - s.position

    def read_data_block(self, nbytes: int) -> bytes:
        """Exactly what `nbytes` worth of reads of the data port give: bytes past the DRQ block are zeros."""
        self._catch_up()
        data = self._take(nbytes)
        return data + bytes(nbytes - len(data))

    def write_data_block(self, data: bytes) -> None:
        """As writes of `data` to the data port: bytes past the DRQ block are lost."""
        self._catch_up()
        self._give(data)

    def _take(self, length: int) -> bytes:
        state = self.state
        s = state.drives[state.selected]
        if s.transfer != "in" or not s.status & DRQ:
            return b""
        data = bytes(s.buffer[s.position : s.position + length])
        s.position += len(data)
        if s.position >= len(s.buffer):
            drive = self.drives[state.selected]
            if drive is not None:
                drive.block_read()
                self.update()
                self._lend(drive)
        return data

    def _lend(self, drive: Drive) -> None:
        ahead = drive.ahead() if isinstance(drive, AtaDisk) and self.polled else None
        if ahead is not None and self.state.drives[self.state.selected].pending:
            take_back = self.lend_data(*ahead, READY | DRQ)
            if take_back is not None:
                self.lent(take_back)

    def returned(self, loan: tuple[int, bool]) -> None:
        """What the processor has read."""
        at, pending = loan
        drive = self.drives[self.state.selected]
        if isinstance(drive, AtaDisk):
            drive.gone_on(at)
            drive.s.pending = pending

    def _give(self, data: bytes) -> None:
        state = self.state
        s = state.drives[state.selected]
        if s.transfer not in ("out", "packet") or not s.status & DRQ:
            return
        data = data[: len(s.buffer) - s.position]
        if isinstance(s.buffer, bytearray):
            s.buffer[s.position : s.position + len(data)] = data
        s.position += len(data)
        if s.position >= len(s.buffer):
            drive = self.drives[state.selected]
            if drive is not None:
                drive.block_written()
                self.update()

    def _latched(self, pair: int) -> int:
        if self._mute():
            return 0
        return pair >> 8 if self.state.control & HOB else pair & 0xFF

    def _latching(self) -> bool:
        """Whether a write to the command block is taken: not while the selected drive is busy."""
        state = self.state
        state.control &= ~HOB
        return not (state.control & SRST or state.drives[state.selected].status & BSY)

    @regs.on_read(1, "ERROR")
    def _read_error(self) -> int:
        return 0 if self._mute() else self.state.drives[self.state.selected].error

    @regs.on_read(2, "SECTOR COUNT")
    def _read_count(self) -> int:
        return self._latched(self.state.drives[self.state.selected].count)

    @regs.on_read(3, "LBA LOW")
    def _read_lba_low(self) -> int:
        return self._latched(self.state.drives[self.state.selected].lba_low)

    @regs.on_read(4, "LBA MID")
    def _read_lba_mid(self) -> int:
        return self._latched(self.state.drives[self.state.selected].lba_mid)

    @regs.on_read(5, "LBA HIGH")
    def _read_lba_high(self) -> int:
        return self._latched(self.state.drives[self.state.selected].lba_high)

    @regs.on_read(6, "DEVICE")
    def _read_device(self) -> int:
        return 0 if self._mute() else self.state.drives[self.state.selected].device

    @regs.on_read(7, "STATUS")
    def _read_status(self) -> int:
        state = self.state
        if self.drives[state.selected] is not None:
            state.drives[state.selected].pending = False
            self.update()
        return self._status()

    @regs.on_write(1, "FEATURES")
    def _write_features(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.features = (s.features & 0xFF) << 8 | value

    @regs.on_write(2, "SECTOR COUNT")
    def _write_count(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.count = (s.count & 0xFF) << 8 | value

    @regs.on_write(3, "LBA LOW")
    def _write_lba_low(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.lba_low = (s.lba_low & 0xFF) << 8 | value

    @regs.on_write(4, "LBA MID")
    def _write_lba_mid(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.lba_mid = (s.lba_mid & 0xFF) << 8 | value

    @regs.on_write(5, "LBA HIGH")
    def _write_lba_high(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.lba_high = (s.lba_high & 0xFF) << 8 | value

    @regs.on_write(6, "DEVICE")
    def _write_device(self, value: int) -> None:
        if self._latching():
            for s in self.state.drives:
                s.device = value | 0xA0
            self.state.selected = value >> 4 & 1
            self.update()

    @regs.on_write(7, "COMMAND")
    def _write_command(self, opcode: int) -> None:
        state = self.state
        s = state.drives[state.selected]
        drive = self.drives[state.selected]
        free = self._latching()
        if opcode == 0x90 and free:  # EXECUTE DEVICE DIAGNOSTIC: both drives, whichever is selected
            self._signatures(interrupt=True)
        elif drive is not None and (free or (opcode == 0x08 and drive.resets and not state.control & SRST)):
            s.pending = False
            drive.execute(opcode)
        self.update()

    def _signatures(self, *, interrupt: bool) -> None:
        """Reset both drives' registers; they are busy for a moment."""
        self.state.selected = 0
        for index, s in enumerate(self.state.drives):
            drive = self.drives[index]
            if drive is None:
                # Drive 0 answers for an absent drive 1 with a hard disk's signature and status 0.
                s.error, s.count, s.lba_low, s.lba_mid, s.lba_high, s.device = 1, 1, 1, 0, 0, 0xA0
            else:
                drive.signature()
                drive.later(s.next_status, interrupt=interrupt and index == 0)

    # Control block

    def read_control(self, offset: int, width: int) -> int:
        """Alternate status: the status without acknowledging the interrupt."""
        self._catch_up()
        return self._status()

    def write_control(self, offset: int, width: int, value: int) -> None:
        """Device control: HOB, SRST, nIEN."""
        self._catch_up()
        state = self.state
        was = state.control
        state.control = value & (HOB | SRST | NIEN)
        if value & SRST and not was & SRST:
            self._timer.cancel()
            state.due = None
            for drive, s in zip(self.drives, state.drives, strict=True):
                if drive is not None:
                    drive.signature()
                    s.status = BSY
                    s.timed = False
        elif was & SRST and not value & SRST:
            self._signatures(interrupt=False)
        if (was ^ value) & NIEN:
            self._arm()
        self.update()


# By offset, for accesses of one byte, which are all that drivers make.
_READERS: tuple[Callable[[AtaChannel], int], ...] = (
    lambda channel: 0, AtaChannel._read_error, AtaChannel._read_count, AtaChannel._read_lba_low,
    AtaChannel._read_lba_mid, AtaChannel._read_lba_high, AtaChannel._read_device, AtaChannel._read_status,
)  # fmt: skip
_WRITERS: tuple[Callable[[AtaChannel, int], None], ...] = (
    lambda channel, value: None, AtaChannel._write_features, AtaChannel._write_count, AtaChannel._write_lba_low,
    AtaChannel._write_lba_mid, AtaChannel._write_lba_high, AtaChannel._write_device, AtaChannel._write_command,
)  # fmt: skip
