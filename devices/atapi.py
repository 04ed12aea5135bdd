"""An ATAPI CD-ROM drive on an IDE channel: packets and the commands that come in them.

The packet protocol is that of ATA/ATAPI-6 (8.27, 9.8), the commands those of SPC-3 and MMC-5 that CD drivers and boot
loaders use. The channel (devices.ata) carries the registers; the medium is a `Disk` of 2,048-byte blocks or None.
With a queue for its medium the drive also moves the data of packets by DMA. A host read error is reported as an
unrecovered read error (sense 3/11/00) with one line in the log.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.ata import ABRT, BLOCK_NS, BSY, COMMAND_NS, DMA_MAX, DRDY, DRQ, DSC, ERR, LOG, SECTOR, ULTRA, Drive, Words
from devices.contracts import Disk, DiskQueue, Statistics

BLOCK = 2048
PACKET = 12

# Sense keys.
NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION = 2, 3, 5, 6

# (sense key, additional code, qualifier)
NO_MEDIUM = (NOT_READY, 0x3A, 0)
TRAY_OPEN = (NOT_READY, 0x3A, 2)
BAD_OPCODE = (ILLEGAL_REQUEST, 0x20, 0)
BAD_FIELD = (ILLEGAL_REQUEST, 0x24, 0)
OUT_OF_RANGE = (ILLEGAL_REQUEST, 0x21, 0)
LOCKED = (ILLEGAL_REQUEST, 0x53, 2)
CHANGED = (UNIT_ATTENTION, 0x28, 0)
UNREADABLE = (MEDIUM_ERROR, 0x11, 0)

CD_BLOCKS_MAX = 80 * 60 * 75
"""More blocks than this do not fit on a CD: the medium is presented as a DVD."""

# Interrupt reason, in the sector count register: C/D and I/O.
REASON_COMMAND, REASON_DATA_IN, REASON_DONE = 0x01, 0x02, 0x03


class Sense(Exception):
    """Ends a command with CHECK CONDITION. Never leaves this module."""

    def __init__(self, code: tuple[int, int, int]) -> None:
        super().__init__(code)
        self.code = code


def _be16(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _be32(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _msf(block: int) -> bytes:
    """The address of a block as reserved, minute, second, frame."""
    minutes, rest = divmod(block + 150, 60 * 75)
    return bytes((0, min(minutes, 255), rest // 75, rest % 75))


class AtapiCdrom(Drive):
    """A CD-ROM drive. `disk` is the medium, None for an empty tray; `queued` gives the queue for a medium."""

    resets = True

    def __init__(
        self,
        disk: Disk | None = None,
        *,
        serial: str = "EMU00003",
        model: str = "Emu CD-ROM",
        firmware: str = "1.0",
        queued: Callable[[Disk | None], DiskQueue] | None = None,
    ) -> None:
        super().__init__(queued(disk) if queued is not None else None)
        self._queued = queued
        self.disk = disk
        self.serial = serial
        self.model = model
        self.firmware = firmware
        self._logged: set[int | None] = set()

    @property
    def blocks(self) -> int:
        """Blocks on the medium; 0 without one."""
        return 0 if self.disk is None else -(-self.disk.size // BLOCK)

    def change_medium(self, disk: Disk | None) -> None:
        """Put another medium in (None: leave the tray empty). The guest learns of it by a unit attention."""
        s = self.s
        self.disk = disk
        if s.host != "none":
            s.host, s.host_due = "none", None
            self._check(NO_MEDIUM)
        if self.queue is not None:
            self.queue.cancel()
        if self._queued is not None:
            self.queue = self._queued(disk)
        s.stream_left = 0
        s.tray_open = False
        s.medium_changed = disk is not None

    def power_on(self) -> None:
        self.s.mode = ULTRA | 2 if self.has_dma else 0

    def signature(self) -> None:
        self.cancel()
        s = self.s
        s.by_dma = False
        s.error = 1
        s.count = s.lba_low = 1
        s.lba_mid, s.lba_high = 0x14, 0xEB
        s.device = 0xA0
        s.status = s.next_status = 0
        s.pending = False
        s.stream_left = 0
        s.reply = bytearray()
        s.locked = False

    # ATA commands

    def execute(self, opcode: int) -> None:
        s = self.s
        if opcode == 0x08:  # DEVICE RESET
            self.signature()
            self.later(0, interrupt=False)
            return
        if s.transfer != "none":
            self.cancel()  # a transfer that the host has given up
        s.error = 0
        s.command = opcode
        if opcode == 0xA0:
            self._packet()
        elif opcode == 0xA1:
            self.offer(self.identity())
        elif opcode in (0xE0, 0xE1, 0xE2, 0xE3, 0xE6, 0x94, 0x95, 0x96, 0x97, 0x99):
            self.done()
        elif opcode in (0xE5, 0x98):
            s.count = 0xFF
            self.done()
        elif opcode == 0xEF and s.features & 0xFF == 0x03 and self.set_mode(s.count & 0xFF):
            self.done()
        elif opcode in (0xEC, 0x20):
            # IDENTIFY DEVICE and READ SECTORS are refused with the signature, which is how drivers tell.
            s.count = s.lba_low = 1
            s.lba_mid, s.lba_high = 0x14, 0xEB
            self.fail(ABRT)
        else:
            self.fail(ABRT)

    def identity(self) -> bytes:
        """The 512 bytes of IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.16)."""
        w = Words()
        w.put(0, 0x85C0)  # packet device, CD-ROM, removable, DRQ within 50 us, 12-byte packets
        w.text(10, 19, self.serial)
        w.text(23, 26, self.firmware)
        w.text(27, 46, self.model)
        w.put(49, 0x0A00)  # LBA, IORDY; no DMA
        w.put(50, 0x4000)
        w.put(51, 0x0200)
        w.put(53, 0x0002)
        w.put(64, 0x0003)
        w.put(67, 120)
        w.put(68, 120)
        w.put(80, 0x0070)
        w.put(82, 0x4218)  # NOP, DEVICE RESET, PACKET, power management
        w.put(83, 0x4000)
        w.put(84, 0x4000)
        w.put(85, 0x4218)
        w.put(87, 0x4000)
        w.put(93, 0x6001)
        self.dma_words(w)
        return w.sealed()

    # Packets

    def _packet(self) -> None:
        s = self.s
        if s.features & 0x02 or (s.features & 0x01 and not self.has_dma):  # overlap, or DMA
            self.fail(ABRT)
            return
        s.by_dma = bool(s.features & 0x01)
        s.stream_left = 0
        s.reply = bytearray()
        self.ask(PACKET, "packet")
        s.count = REASON_COMMAND
        s.status = DRDY | DSC | DRQ

    def block_written(self) -> None:
        s = self.s
        packet = bytes(s.buffer)
        s.transfer = "none"
        try:
            if s.medium_changed and packet[0] not in _NO_ATTENTION:
                s.medium_changed = False
                raise Sense(CHANGED)
            handler = _COMMANDS.get(packet[0])
            if handler is None:
                raise Sense(BAD_OPCODE)
            reply = handler(self, packet)
            if packet[0] != 0x03:
                s.sense = s.asc = s.ascq = 0
            s.reply = bytearray(reply)
            self._next_block(COMMAND_NS)
        except Sense as end:
            self._check(end.code)

    def block_read(self) -> None:
        if self.s.command == 0xA1:
            self.s.transfer = "none"
            self.s.status = DRDY | DSC
            return
        try:
            self._next_block(BLOCK_NS)
        except Sense as end:
            self._check(end.code)

    def _check(self, code: tuple[int, int, int]) -> None:
        """CHECK CONDITION: the sense key goes into the error register."""
        s = self.s
        s.sense, s.asc, s.ascq = code
        s.stream_left = 0
        s.reply = bytearray()
        s.transfer = "none"
        s.count = REASON_DONE
        s.error = s.sense << 4 | (ABRT if s.sense == ILLEGAL_REQUEST else 0)
        self.later(DRDY | DSC | ERR)

    def _next_block(self, delay: int) -> None:
        """Offer as much as the byte count limit allows of what is left, or end the command."""
        s = self.s
        left = s.stream_left or len(s.reply)
        if not left:
            s.count = REASON_DONE
            self.done(delay)
            return
        if s.by_dma:
            self._begin_dma()
            return
        limit = (s.lba_mid & 0xFF) | (s.lba_high & 0xFF) << 8
        limit = 0xFFFE if limit in (0, 0xFFFF) else limit
        if limit < left:
            limit = max(2, limit & ~1)
        length = min(left, limit)
        if s.stream_left:
            data = self._read_host(s.stream, length)
            s.stream += length
            s.stream_left -= length
        else:
            data = bytes(s.reply[:length])
            del s.reply[:length]
        s.count = REASON_DATA_IN
        s.lba_mid, s.lba_high = length & 0xFF, length >> 8
        self.offer(data, delay)

    def _read_host(self, start: int, length: int) -> bytes:
        if self.disk is None:
            raise Sense(NO_MEDIUM)
        stored = max(0, min(length, self.disk.size - start))
        try:
            data = self.disk.read(start, stored) if stored else b""
            statistics: Statistics | None = getattr(self.disk, "statistics", None)
            if statistics is not None:
                statistics.done("rd", stored)
        except OSError as error:
            self._log(error)
            raise Sense(UNREADABLE) from None
        return data + bytes(length - stored)

    # DMA

    def _begin_dma(self) -> None:
        """Fetch what is sent next: a piece of the medium, or the reply."""
        s = self.s
        s.transfer = "dma in"
        s.status = BSY
        s.position = 0
        if s.stream_left:
            self._ask_host(None)
        else:
            s.buffer, s.reply = s.reply, bytearray()
            self.dma()

    def _piece(self) -> int:
        return min(self.s.stream_left, DMA_MAX * SECTOR)

    def _ask_host(self, at: int | None) -> None:
        s = self.s
        if self.disk is None or self.queue is None:
            raise Sense(NO_MEDIUM)
        stored = max(0, min(self._piece(), self.disk.size - s.stream))
        s.host = "read"
        s.host_due = self.queue.read(s.stream, stored, self._has_read, at=at)

    def resume(self) -> None:
        if self.s.host != "none":
            try:
                self._ask_host(self.s.host_due)
            except Sense as end:  # the machine was saved with another medium
                self.s.host, self.s.host_due = "none", None
                self._check(end.code)

    def _has_read(self, result: bytes | OSError) -> None:
        s = self.s
        s.host, s.host_due = "none", None
        if isinstance(result, OSError):
            self._log(result)
            self._check(UNREADABLE)
            return
        missing = self._piece() - len(result)
        s.buffer = result + bytes(missing) if missing else result
        self.dma()

    def dma(self) -> None:
        s = self.s
        port = self.port
        if port is None or s.transfer != "dma in" or s.host != "none" or not s.buffer or not s.status & BSY:
            return
        moved = port.give(bytes(s.buffer))
        if moved is None:
            return
        sent, s.buffer = len(s.buffer), b""
        if moved < sent:
            s.stream_left = 0
            s.status = DRDY | DSC | DRQ  # more data than memory for it: until a reset or the next command
            return
        if s.stream_left:
            s.stream += sent
            s.stream_left -= sent
            if s.stream_left:
                self._ask_host(None)
                return
        s.count = REASON_DONE
        s.error = 0
        self.finish(DRDY | DSC)

    def _log(self, error: OSError) -> None:
        if error.errno not in self._logged:
            self._logged.add(error.errno)
            LOG.error("%s: read failed: %s", self.model, error.strerror or error)

    def _require_medium(self) -> None:
        if self.s.tray_open:
            raise Sense(TRAY_OPEN)
        if self.disk is None:
            raise Sense(NO_MEDIUM)

    # Packet commands: each takes the packet and returns its reply

    def test_unit_ready(self, packet: bytes) -> bytes:
        self._require_medium()
        return b""

    def request_sense(self, packet: bytes) -> bytes:
        s = self.s
        reply = bytes((0x70, 0, s.sense, 0, 0, 0, 0, 10, 0, 0, 0, 0, s.asc, s.ascq, 0, 0, 0, 0))
        s.sense = s.asc = s.ascq = 0
        return reply[: packet[4]]

    def inquiry(self, packet: bytes) -> bytes:
        if packet[1] & 1:
            raise Sense(BAD_FIELD)
        reply = bytes((0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0))
        reply += b"Emu".ljust(8) + self.model.encode("ascii", "replace")[:16].ljust(16)
        reply += self.firmware.encode("ascii", "replace")[:4].ljust(4)
        return reply[: _be16(packet, 3)]

    def start_stop(self, packet: bytes) -> bytes:
        s = self.s
        load, start = packet[4] >> 1 & 1, packet[4] & 1
        if load and not start:
            if s.locked and not s.tray_open:
                raise Sense(LOCKED)
            s.tray_open = True
        elif load:
            if s.tray_open and self.disk is not None:
                s.medium_changed = True
            s.tray_open = False
        return b""

    def prevent_removal(self, packet: bytes) -> bytes:
        self.s.locked = bool(packet[4] & 1)
        return b""

    def read_capacity(self, packet: bytes) -> bytes:
        self._require_medium()
        return min(max(self.blocks - 1, 0), 0xFFFFFFFF).to_bytes(4, "big") + BLOCK.to_bytes(4, "big")

    def _stream(self, start: int, count: int) -> bytes:
        self._require_medium()
        if start + count > self.blocks:
            raise Sense(OUT_OF_RANGE)
        self.s.stream = start * BLOCK
        self.s.stream_left = count * BLOCK
        return b""

    def read_10(self, packet: bytes) -> bytes:
        return self._stream(_be32(packet, 2), _be16(packet, 7))

    def read_12(self, packet: bytes) -> bytes:
        return self._stream(_be32(packet, 2), _be32(packet, 6))

    def read_cd(self, packet: bytes) -> bytes:
        kind, fields = packet[1] >> 2 & 7, packet[9]
        count = packet[6] << 16 | _be16(packet, 7)
        if fields & 0xF8 == 0:
            self._require_medium()
            return b""
        if kind not in (0, 2) or fields & 0xF8 != 0x10 or packet[10] & 7:
            raise Sense(BAD_FIELD)
        return self._stream(_be32(packet, 2), count)

    def seek(self, packet: bytes) -> bytes:
        self._require_medium()
        if _be32(packet, 2) >= self.blocks:
            raise Sense(OUT_OF_RANGE)
        return b""

    def read_toc(self, packet: bytes) -> bytes:
        self._require_medium()
        in_msf = bool(packet[1] & 2)
        kind = packet[2] & 0x0F or packet[9] >> 6
        first = packet[6]

        def at(block: int) -> bytes:
            return _msf(block) if in_msf else block.to_bytes(4, "big")

        if kind == 0:
            if first > 1 and first != 0xAA:
                raise Sense(BAD_FIELD)
            body = b"" if first == 0xAA else bytes((0, 0x14, 1, 0)) + at(0)
            body += bytes((0, 0x16, 0xAA, 0)) + at(min(self.blocks, 0xFFFFFFFF))
        elif kind == 1:
            body = bytes((0, 0x14, 1, 0)) + at(0)
        elif kind == 2:
            body = b"".join(
                bytes((1, 0x14, 0, point, 0, 0, 0)) + where
                for point, where in (
                    (0xA0, bytes((0, 1, 0, 0))),
                    (0xA1, bytes((0, 1, 0, 0))),
                    (0xA2, _msf(self.blocks)),
                    (0x01, _msf(0)),
                )
            )
        else:
            raise Sense(BAD_FIELD)
        return ((len(body) + 2).to_bytes(2, "big") + bytes((1, 1)) + body)[: _be16(packet, 7)]

    def _pages(self, page: int) -> bytes:
        recovery = bytes((0x01, 6, 0, 5, 0, 0, 0, 0))
        capabilities = bytes((0x2A, 18, 0, 0, 0x71, 0x60, 0x29 | self.s.locked << 1, 0)) + b"".join(
            value.to_bytes(2, "big") for value in (706, 2, 512, 706, 0, 0)
        )
        if page == 0x01:
            return recovery
        if page == 0x2A:
            return capabilities
        if page == 0x3F:
            return recovery + capabilities
        raise Sense(BAD_FIELD)

    def _medium_type(self) -> int:
        if self.s.tray_open:
            return 0x71
        return 0x70 if self.disk is None else 0x01

    def mode_sense_6(self, packet: bytes) -> bytes:
        pages = self._pages(packet[2] & 0x3F)
        return (bytes((len(pages) + 3, self._medium_type(), 0, 0)) + pages)[: packet[4]]

    def mode_sense_10(self, packet: bytes) -> bytes:
        if packet[2] >> 6 == 3:
            raise Sense((ILLEGAL_REQUEST, 0x39, 0))
        pages = self._pages(packet[2] & 0x3F)
        head = (len(pages) + 6).to_bytes(2, "big") + bytes((self._medium_type(), 0, 0, 0, 0, 0))
        return (head + pages)[: _be16(packet, 7)]

    def get_configuration(self, packet: bytes) -> bytes:
        kind, first = packet[1] & 3, _be16(packet, 2)
        if kind == 3:
            raise Sense(BAD_FIELD)
        loaded = self.disk is not None and not self.s.tray_open
        dvd = loaded and self.blocks > CD_BLOCKS_MAX
        profile = 0 if not loaded else 0x10 if dvd else 0x08
        features = (
            (0x0000, bytes((0, 0, 0x03, 8, 0x00, 0x10, int(profile == 0x10), 0, 0x00, 0x08, int(profile == 0x08), 0))),
            (0x0001, bytes((0, 1, 0x0B, 8, 0, 0, 0, 2, 1, 0, 0, 0))),
            (0x0003, bytes((0, 3, 0x03, 4, 0x29, 0, 0, 0))),
        )
        body = b"".join(data for code, data in features if (code == first if kind == 2 else code >= first))
        head = (len(body) + 4).to_bytes(4, "big") + bytes((0, 0)) + profile.to_bytes(2, "big")
        return (head + body)[: _be16(packet, 7)]

    def get_event_status(self, packet: bytes) -> bytes:
        if not packet[1] & 1:  # only polled
            raise Sense(BAD_FIELD)
        s = self.s
        if packet[4] & 0x10:
            event = 2 if s.medium_changed else 0
            status = (1 if s.tray_open else 0) | (2 if self.disk is not None and not s.tray_open else 0)
            s.medium_changed = False
            reply = bytes((0, 6, 4, 0x10, event, status, 0, 0))
        else:
            reply = bytes((0, 2, 0x80, 0x10))
        return reply[: _be16(packet, 7)]

    def read_disc_information(self, packet: bytes) -> bytes:
        self._require_medium()
        if packet[1] & 7:
            raise Sense(BAD_FIELD)
        reply = bytearray(34)
        reply[1] = 32
        reply[2] = 0x0E  # last session complete, disc finalized
        reply[3:7] = bytes((1, 1, 1, 1))
        reply[7] = 0x20
        return bytes(reply)[: _be16(packet, 7)]

    def mechanism_status(self, packet: bytes) -> bytes:
        reply = bytes((0, 0x10 if self.s.tray_open else 0, 0, 0, 0, 1, 0, 0))
        return reply[: _be16(packet, 8)]

    def nothing(self, packet: bytes) -> bytes:
        return b""


_NO_ATTENTION = frozenset((0x03, 0x12, 0x46, 0x4A))
"""Commands that a pending unit attention lets pass."""

_COMMANDS = {
    0x00: AtapiCdrom.test_unit_ready,
    0x03: AtapiCdrom.request_sense,
    0x12: AtapiCdrom.inquiry,
    0x1A: AtapiCdrom.mode_sense_6,
    0x1B: AtapiCdrom.start_stop,
    0x1E: AtapiCdrom.prevent_removal,
    0x25: AtapiCdrom.read_capacity,
    0x28: AtapiCdrom.read_10,
    0x2B: AtapiCdrom.seek,
    0x43: AtapiCdrom.read_toc,
    0x46: AtapiCdrom.get_configuration,
    0x4A: AtapiCdrom.get_event_status,
    0x51: AtapiCdrom.read_disc_information,
    0x5A: AtapiCdrom.mode_sense_10,
    0xA8: AtapiCdrom.read_12,
    0xBB: AtapiCdrom.nothing,  # SET CD SPEED
    0xBD: AtapiCdrom.mechanism_status,
    0xBE: AtapiCdrom.read_cd,
}
