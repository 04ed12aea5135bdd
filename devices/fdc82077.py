"""The floppy disk controller of a PC, an 82077AA with up to four drives.

Ports 0x3F2 (digital output), 0x3F3 (tape), 0x3F4 (main status; data rate select), 0x3F5 (FIFO) and 0x3F7 (digital
input; configuration control), as in AT mode: 0x3F0 and 0x3F1 are not there. Data moves by channel 2 of the 8237A
(devices.dma8237) or, with ND set by SPECIFY, byte by byte through the FIFO. Disks have sectors of 512 bytes; where one
begins and which data rates it can be read at follows from its format, which a function of the board finds.

A command takes 100 us of virtual time and 20 us for each sector, a step of the head 20 us: a fast drive. A drive
without a medium, or with one of another data rate, finds no address mark.

Intel 82077AA data sheet (order 290166): registers 2.1, reset 3, commands 5, status registers 6.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from devices import state
from devices.contracts import Clock, Disk, Line
from devices.device import Device, device

LOG = logging.getLogger("emu.disk")

SECTOR = 512
COMMAND_NS, SECTOR_NS, STEP_NS, RESET_NS = 100_000, 20_000, 20_000, 10_000
PATIENCE_NS = 1_000_000
"""Without DMA: how long the FIFO waits for its next byte before that is an overrun."""
CHANNEL = 2
UNITS = 4
MOST_STEPS = 79
"""How far RECALIBRATE steps before it gives up."""
LAST_TRACK = 83
"""Where the head of an 80-track drive stops."""

# Digital output register.
DMA_GATE, NOT_RESET = 0x08, 0x04
# Main status register.
RQM, DIO, NON_DMA, BUSY = 0x80, 0x40, 0x20, 0x10
# Status register 0.
ABNORMAL, INVALID, POLLED, SEEK_END, EQUIPMENT = 0x40, 0x80, 0xC0, 0x20, 0x10
# Status register 1.
END_OF_CYLINDER, DATA_ERROR, OVERRUN, NO_DATA, NOT_WRITABLE, MISSING_MARK = 0x80, 0x20, 0x10, 0x04, 0x02, 0x01
# Status register 2.
CONTROL_MARK, DATA_ERROR_2, WRONG_CYLINDER, SCAN_HIT, SCAN_MISS = 0x40, 0x20, 0x10, 0x08, 0x04
# Status register 3; bits 5 and 3 are always set.
WRITE_PROTECTED, TRACK_0 = 0x40, 0x10

IMPLIED_SEEK, NO_FIFO, NO_POLLING = 0x40, 0x20, 0x10
MFM, MULTI_TRACK, SKIP, ENABLE_COUNT = 0x40, 0x80, 0x20, 0x80

SLOW, FAST, FASTEST = frozenset((1, 2)), frozenset((0,)), frozenset((3,))
"""Data rates by their codes: 300 and 250 kbit/s (which of them depends on how fast a drive turns), 500, 1000."""


@dataclass(frozen=True)
class Format:
    """How a medium is divided."""

    cylinders: int
    heads: int
    sectors: int

    @property
    def rates(self) -> frozenset[int]:
        """The codes of the data rates that it can be read at."""
        return SLOW if self.sectors <= 11 else FAST if self.sectors <= 24 else FASTEST


class DmaChannels(Protocol):
    """What the controller needs of a DMA controller."""

    def remaining(self, channel: int) -> int:
        """Bytes up to the terminal count."""

    def to_memory(self, channel: int, data: bytes) -> int:
        """Give bytes; how many were taken."""

    def from_memory(self, channel: int, length: int) -> bytes:
        """Take at most `length` bytes."""


class FloppyDrive:
    """A drive's medium, None if there is none. The head and the change line are in the controller's state."""

    def __init__(self, disk: Disk | None, measure: Callable[[Disk], Format]) -> None:
        self.measure = measure
        self.removed: Callable[[], None] = lambda: None
        """Told, by the controller's wish, when the medium is taken out."""
        self.change_medium(disk)

    def change_medium(self, disk: Disk | None) -> None:
        """Take the medium out and put another one in, or none."""
        self.disk = disk
        self.format = None if disk is None else self.measure(disk)
        self.removed()


@dataclass
class Unit:
    """Where a drive stands."""

    track: int = state.uint(8)
    """Where the head is."""
    changed: bool = state.flag(True)
    """The change line: from when the medium was taken out until the head steps with one in."""
    seek: str = state.choice("no", "to", "home")
    target: int = state.uint(8)
    due: int | None = state.deadline()
    """When the head arrives."""


@dataclass(frozen=True)
class Command:
    """A command of the table: opcodes `value` under `mask`, `length` bytes with the opcode."""

    mask: int
    value: int
    length: int
    run: Callable[[Fdc82077], None]
    moves_data: bool = False


@device("fdc82077", "floppy disk controller 82077AA")
class Fdc82077(Device):
    """`read` and `write` serve ports 0x3F0 to 0x3F5, `read_input` and `write_control` 0x3F7."""

    @dataclass
    class State:
        units: list[Unit] = state.records(UNITS, Unit)
        dor: int = state.uint(8)
        tape: int = state.uint(2)
        rate: int = state.uint(2, 2)
        interrupt: bool = state.flag()
        sense: list[int] = state.queue(UNITS)
        """What SENSE INTERRUPT STATUS has to tell, as values of status register 0."""
        seeking: int = state.uint(UNITS)
        """Drives whose seek has not been asked about."""
        cylinders: list[int] = state.uints(UNITS, 8)
        """Where the controller thinks that the heads are."""
        specified: list[int] = state.uints(2, 8)
        configured: int = state.uint(8, NO_FIFO)
        precompensation: int = state.uint(8)
        perpendicular: int = state.uint(8)
        locked: bool = state.flag()
        phase: str = state.choice("idle", "command", "execute", "transfer", "ending", "result")
        command: bytearray = state.octets(9)
        """The bytes of the command that came so far."""
        result: bytearray = state.octets(10)
        """What is left to be read of the result."""
        due: int | None = state.deadline()
        """When the phases "execute" and "ending" are over; in "transfer", when to look for an overrun."""
        served: int = state.time()
        """Without DMA: when the last byte came or went."""
        awake: int | None = state.deadline()
        """When the interrupt of a reset comes."""
        buffer: bytearray = state.octets(SECTOR)
        """Without DMA: what is left to be read, or what was written so far."""
        room: int = state.ranged(0, SECTOR)
        """Without DMA: how many bytes are still to be written."""
        cylinder: int = state.uint(8)
        head: int = state.uint(8)
        sector: int = state.uint(8)
        done: int = state.uint(16)
        """Sectors moved by this command."""
        marked: int = state.uint(8)
        """What status register 2 will show at its end."""

    state: State

    def __init__(self, *, clock: Clock, irq: Line, dma: DmaChannels, drives: Sequence[FloppyDrive] = ()) -> None:
        if len(drives) > UNITS:
            raise ValueError(f"fdc82077: {len(drives)} drives, {UNITS} is the most")
        super().__init__()
        self.clock = clock
        self.irq = irq
        self.dma = dma
        self.drives = list(drives)
        self._timer = clock.timer("fdc82077", self._due)
        self._logged: set[int | None] = set()
        for index, drive in enumerate(self.drives):
            drive.removed = partial(self._removed, index)

    def reset(self) -> None:
        """The reset pin: the controller stays in reset until the digital output register says otherwise."""
        units = self.state.units
        self.clear()
        for now, before in zip(self.state.units, units, strict=True):
            now.track, now.changed = before.track, before.changed
        self._timer.cancel()
        self._drive_line()

    def check(self, registers: dict[str, int], state: State) -> None:
        if (state.phase in ("execute", "transfer", "ending")) != (state.due is not None):
            raise ValueError("due: not what this phase has")
        if state.phase in ("execute", "transfer", "ending") and not _complete(state.command):
            raise ValueError("command: not a whole command")
        if state.phase == "command" and not _begun(state.command):
            raise ValueError("command: not the beginning of a command")
        if (state.phase == "result" and not state.result) or (state.phase == "ending" and len(state.result) != 7):
            raise ValueError("result: not what this phase has")
        if state.phase == "transfer" and not 0 < state.room + len(state.buffer) <= SECTOR:
            raise ValueError("buffer: not what this phase has")
        if any((unit.due is None) != (unit.seek == "no") for unit in state.units):
            raise ValueError("units: a seek has a time at which it ends")

    def restored(self) -> None:
        """Arm the timer."""
        self._arm()

    # The host's side.

    def _removed(self, index: int) -> None:
        self.state.units[index].changed = True

    def medium_changed(self, index: int) -> bool:
        """The change line of a drive."""
        return self.state.units[index].changed

    def see_medium(self, index: int) -> None:
        """What a step of the head does: the change line falls if there is a medium."""
        if self.drives[index].disk is not None:
            self.state.units[index].changed = False

    # Ports.

    def read(self, offset: int, width: int) -> int:
        """Ports 0x3F0 to 0x3F5."""
        s = self.state
        if offset == 2:
            return s.dor
        if offset == 3:
            return 0xFC | s.tape
        if offset == 4:
            return self._main_status()
        if offset == 5:
            return self._read_fifo()
        return 0xFF

    def read_input(self, offset: int, width: int) -> int:
        """Port 0x3F7: the change line of the selected drive."""
        selected = self.state.dor & 3
        return 0x80 if self._present(selected) is not None and self.state.units[selected].changed else 0

    def write_control(self, offset: int, width: int, value: int) -> None:
        """Port 0x3F7: the data rate."""
        self.state.rate = value & 3

    def write(self, offset: int, width: int, value: int) -> None:
        """Ports 0x3F0 to 0x3F5."""
        s = self.state
        if offset == 2:
            before, s.dor = s.dor, value
            if not value & NOT_RESET:
                self._abort()
            elif not before & NOT_RESET:
                self._leave_reset()
            self._drive_line()
        elif offset == 3:
            s.tape = value & 3
        elif offset == 4:
            s.rate = value & 3
            if value & 0x80 and s.dor & NOT_RESET:
                self._abort()
                self._leave_reset()
        elif offset == 5:
            self._write_fifo(value)

    def _main_status(self) -> int:
        s = self.state
        if not s.dor & NOT_RESET:
            return 0
        value = s.seeking
        if s.phase == "idle":
            return value | RQM
        value |= BUSY
        if s.phase == "command":
            return value | RQM
        if s.phase == "result":
            return value | RQM | DIO
        if s.phase == "transfer":
            return value | RQM | NON_DMA | (0 if s.room else DIO)
        return value

    def _drive_line(self) -> None:
        s = self.state
        self.irq.set(s.interrupt and bool(s.dor & DMA_GATE) and bool(s.dor & NOT_RESET))

    def _interrupt(self, level: bool) -> None:
        self.state.interrupt = level
        self._drive_line()

    # Reset.

    def _abort(self) -> None:
        """What is under way ends here; FIFO settings survive if LOCK said so (3.2)."""
        s = self.state
        s.phase, s.due, s.awake, s.room, s.seeking, s.done = "idle", None, None, 0, 0, 0
        s.command, s.result, s.buffer = bytearray(), bytearray(), bytearray()
        s.sense = []
        s.cylinders = [0] * UNITS
        s.configured = s.configured & (NO_FIFO | 0x0F) if s.locked else NO_FIFO
        s.precompensation = s.precompensation if s.locked else 0
        s.perpendicular &= 0x3C
        s.interrupt = False
        for unit in s.units:
            unit.seek, unit.due = "no", None
        self._drive_line()
        self._arm()

    def _leave_reset(self) -> None:
        if not self.state.configured & NO_POLLING:
            self.state.awake = self.clock.now() + RESET_NS
            self._arm()

    # Time.

    def _arm(self) -> None:
        s = self.state
        times = [unit.due for unit in s.units if unit.due is not None]
        times += [time for time in (s.due, s.awake) if time is not None]
        if times:
            self._timer.arm(min(times))
        else:
            self._timer.cancel()

    def _due(self) -> None:
        s = self.state
        now = self.clock.now()
        for index, unit in enumerate(s.units):
            if unit.due is not None and unit.due <= now:
                self._arrive(index, unit)
        if s.awake is not None and s.awake <= now:
            s.awake = None
            s.sense = [POLLED | index for index in range(UNITS)]
            self._interrupt(True)
        if s.due is not None and s.due <= now:
            s.due = None
            if s.phase == "execute":
                self._go_on()
            elif s.phase == "transfer":
                self._look_for_overrun(now)
            elif s.phase == "ending":
                s.phase = "result"
                self._interrupt(True)
        self._arm()

    def _look_for_overrun(self, now: int) -> None:
        """A host that has enough stops: nothing else tells the chip that a transfer without DMA is over."""
        s = self.state
        if now >= s.served + PATIENCE_NS:
            self._end(ABNORMAL, OVERRUN)
        else:
            s.due = s.served + PATIENCE_NS

    # FIFO.

    def _write_fifo(self, value: int) -> None:
        s = self.state
        if not s.dor & NOT_RESET:
            return
        if s.phase == "transfer" and s.room:
            s.buffer.append(value)
            s.room -= 1
            s.served = self.clock.now()
            if not s.room:
                data, s.buffer = bytes(s.buffer), bytearray()
                self._resume(data)
        elif s.phase in ("idle", "command"):
            if s.phase == "idle":
                s.command = bytearray()
                s.phase = "command"
            s.command.append(value)
            command = find(s.command[0])
            if command is None:
                s.command = bytearray()
                self._answer(INVALID)
            elif len(s.command) == command.length:
                self._begin(command)

    def _read_fifo(self) -> int:
        s = self.state
        if s.phase == "transfer" and not s.room:
            value = s.buffer.pop(0)
            s.served = self.clock.now()
            if not s.buffer:
                self._resume(None)
            return value
        if s.phase != "result" or not s.dor & NOT_RESET:
            return 0
        self._interrupt(False)
        value = s.result.pop(0)
        if not s.result:
            s.phase = "idle"
            if s.sense and s.sense[0] & POLLED != POLLED:  # another drive has arrived meanwhile
                self._interrupt(True)
        return value

    def _begin(self, command: Command) -> None:
        s = self.state
        if s.command[0] == 0x08 and s.awake is not None:  # asked before the reset's interrupt came
            s.awake, s.sense = None, [POLLED | index for index in range(UNITS)]
        elif s.awake is not None or (s.sense and s.sense[0] & POLLED == POLLED and s.command[0] != 0x08):
            s.awake, s.sense = None, []  # nobody asked what it was
            self._interrupt(False)
        if command.moves_data:
            s.phase = "execute"
            s.due = self.clock.now() + COMMAND_NS
            s.done = s.marked = 0
            self._arm()
        else:
            s.phase = "idle"
            command.run(self)

    def _answer(self, *result: int) -> None:
        """The result of a command that has one at once, without an interrupt."""
        self.state.result = bytearray(result)
        self.state.phase = "result"

    # Commands that move no data.

    def _unit(self) -> int:
        return self.state.command[1] & 3

    def _present(self, index: int) -> FloppyDrive | None:
        return self.drives[index] if index < len(self.drives) else None

    def specify(self) -> None:
        self.state.specified = list(self.state.command[1:3])

    def sense_drive_status(self) -> None:
        s = self.state
        index = self._unit()
        drive = self._present(index)
        value = 0x28 | s.command[1] & 7
        if drive is not None:
            value |= TRACK_0 if not s.units[index].track else 0
            value |= WRITE_PROTECTED if drive.disk is not None and drive.disk.read_only else 0
        self._answer(value)

    def sense_interrupt(self) -> None:
        s = self.state
        if not s.sense:
            self._answer(INVALID)
            return
        status = s.sense.pop(0)
        s.seeking &= ~(1 << (status & 3))
        self._interrupt(False)
        self._answer(status, s.cylinders[status & 3])

    def recalibrate(self) -> None:
        self._seek("home", 0, min(self.state.units[self._unit()].track, MOST_STEPS))

    def seek(self) -> None:
        target = self.state.command[2]
        self._seek("to", target, abs(target - self.state.cylinders[self._unit()]))

    def relative_seek(self) -> None:
        s = self.state
        now = s.cylinders[self._unit()]
        target = now + s.command[2] if s.command[0] & 0x40 else now - s.command[2]
        self._seek("to", target & 0xFF, s.command[2])

    def _seek(self, kind: str, target: int, steps: int) -> None:
        s = self.state
        index = self._unit()
        unit = s.units[index]
        unit.seek, unit.target = kind, target
        unit.due = self.clock.now() + COMMAND_NS + steps * STEP_NS
        s.seeking |= 1 << index
        self._arm()

    def _arrive(self, index: int, unit: Unit) -> None:
        s = self.state
        status = SEEK_END | index
        if unit.seek == "home":
            s.cylinders[index] = 0
            if self._present(index) is None or unit.track > MOST_STEPS:
                status |= ABNORMAL | EQUIPMENT  # track 0 was not found
            self._step(index, max(0, unit.track - MOST_STEPS))
        else:
            self._step(index, unit.track + unit.target - s.cylinders[index])
            s.cylinders[index] = unit.target
        unit.seek, unit.due = "no", None
        others = [other for other in s.sense if other & 3 != index or other & POLLED == POLLED]
        s.sense = [*others[: UNITS - 1], status]
        if s.phase not in ("result", "transfer"):
            self._interrupt(True)

    def _step(self, index: int, track: int) -> None:
        """Move a head. A step with a medium in the drive ends its change signal."""
        unit, drive = self.state.units[index], self._present(index)
        track = min(max(track, 0), LAST_TRACK)
        if drive is None:
            return
        if track != unit.track and drive.disk is not None:
            unit.changed = False
        unit.track = track

    def configure(self) -> None:
        self.state.configured, self.state.precompensation = self.state.command[2] & 0x7F, self.state.command[3]

    def dump_registers(self) -> None:
        s = self.state
        last = s.cylinder if s.done else 0
        self._answer(
            *s.cylinders, *s.specified, last, s.locked << 7 | s.perpendicular & 0x3F, s.configured, s.precompensation
        )

    def perpendicular_mode(self) -> None:
        value = self.state.command[1]
        kept = self.state.perpendicular & 0x3C
        self.state.perpendicular = value & 0x3F if value & 0x80 else kept | value & 3

    def version(self) -> None:
        self._answer(0x90)

    def lock(self) -> None:
        self.state.locked = bool(self.state.command[0] & 0x80)
        self._answer(self.state.locked << 4)

    # Commands that move data.

    def _end(self, status0: int, status1: int = 0, status2: int = 0) -> None:
        """The result phase comes after the time that the sectors took."""
        s = self.state
        side = self._unit() | self._side() << 2
        s.result = bytearray((status0 | side, status1, status2 | s.marked, s.cylinder, s.head, s.sector, self._size()))
        s.phase = "ending"
        s.buffer, s.room = bytearray(), 0
        s.due = self.clock.now() + s.done * SECTOR_NS
        self._interrupt(False)
        self._arm()

    def _size(self) -> int:
        command = self.state.command
        return 2 if command[0] & 0x1F == 0x0A else command[2] if command[0] & 0x1F == 0x0D else command[5]

    def _go_on(self) -> None:
        """Sector after sector, until the command ends or the FIFO must be served. Their time is counted at the end."""
        while self.state.phase == "execute":
            self._work()

    def _work(self) -> None:
        """The command's work begins, or goes on with its next sector."""
        s = self.state
        command = find(s.command[0])
        if command is not None:
            if not s.done and command.value not in (0x0A, 0x0D):
                s.cylinder, s.head, s.sector = s.command[2:5]
            if not s.done and s.configured & IMPLIED_SEEK and command.value not in (0x0A, 0x0D, 0x02):
                index = self._unit()
                self._step(index, s.units[index].track + s.cylinder - s.cylinders[index])
                s.cylinders[index] = s.cylinder
            command.run(self)

    def _medium(self) -> FloppyDrive | None:
        """The selected drive, if there is something under its head that can be read."""
        s = self.state
        drive = self._present(self._unit())
        if drive is None or drive.disk is None or drive.format is None:
            return None
        fine = s.command[0] & MFM and s.rate in drive.format.rates
        on_medium = s.units[self._unit()].track < drive.format.cylinders
        return drive if fine and on_medium and self._side() < drive.format.heads else None

    def _side(self) -> int:
        """The side that the head select signal names: the command's, after a change of sides the other."""
        s = self.state
        side = s.command[1] >> 2 & 1
        moved = len(s.command) == 9 and s.head != s.command[3]
        return side ^ 1 if moved else side

    def _find(self) -> tuple[int, int] | int:
        """The byte at which the wanted sector begins on the disk, or what status registers 1 and 2 say."""
        s = self.state
        drive = self._medium()
        if drive is None or drive.format is None:
            return MISSING_MARK, 0
        track = s.units[self._unit()].track
        if s.cylinder != track:
            return NO_DATA, WRONG_CYLINDER
        if s.head != self._side() or not 1 <= s.sector <= drive.format.sectors or s.command[5] != 2:
            return NO_DATA, 0
        return ((track * drive.format.heads + self._side()) * drive.format.sectors + s.sector - 1) * SECTOR

    def _load(self, at: int) -> bytes | None:
        """A sector. None if the host cannot read it."""
        drive = self.drives[self._unit()]
        disk = drive.disk
        there = 0 if disk is None else max(0, min(SECTOR, disk.size - at))
        try:
            return (disk.read(at, there) if disk is not None and there else b"").ljust(SECTOR, b"\0")
        except OSError as error:
            self._log("read", error)
            return None

    def _store(self, at: int, data: bytes) -> tuple[int, int] | None:
        """Write a sector. What status registers 1 and 2 say if it cannot be."""
        disk = self.drives[self._unit()].disk
        if disk is None:
            return MISSING_MARK, 0
        if at + SECTOR > disk.size:  # an image shorter than its format
            return NO_DATA, 0
        try:
            disk.write(at, data)
        except PermissionError:
            return NOT_WRITABLE, 0
        except OSError as error:
            self._log("write", error)
            return DATA_ERROR, DATA_ERROR_2
        return None

    def _log(self, what: str, error: OSError) -> None:
        if error.errno not in self._logged:
            self._logged.add(error.errno)
            LOG.error("floppy: %s failed: %s", what, error.strerror or error)

    def _protected(self) -> bool:
        drive = self._present(self._unit())
        return drive is not None and drive.disk is not None and drive.disk.read_only

    def _advance(self, step: int = 1) -> bool:
        """Go to the next sector. False after the last one: the result then names the next cylinder (table 5-6)."""
        s = self.state
        last, many = s.command[6], s.command[0] & MULTI_TRACK
        if s.sector != last:
            s.sector = (s.sector + step) & 0xFF
            return True
        s.sector = 1
        if not many:
            s.cylinder = (s.cylinder + 1) & 0xFF
            return False
        first_side = not s.head & 1
        s.head ^= 1
        if first_side:
            return True
        s.cylinder = (s.cylinder + 1) & 0xFF
        return False

    def _by_fifo(self) -> bool:
        return bool(self.state.specified[1] & 1)

    def _give(self, data: bytes) -> None:
        """A sector for the host. Calls `_sector_done` now or when all of it was read."""
        s = self.state
        if self._by_fifo():
            s.buffer = bytearray(data)
            self._wait_for_host()
            return
        left = self.dma.remaining(CHANNEL)
        taken = self.dma.to_memory(CHANNEL, data)
        if not taken:
            self._end(ABNORMAL, OVERRUN)
        else:
            self._sector_done(None, taken == left)

    def _take(self, length: int) -> None:
        """Bytes from the host. Calls `_sector_done` now or when all were written."""
        s = self.state
        if self._by_fifo():
            s.room, s.buffer = length, bytearray()
            self._wait_for_host()
            return
        left = self.dma.remaining(CHANNEL)
        data = self.dma.from_memory(CHANNEL, length)
        if not data:
            self._end(ABNORMAL, OVERRUN)
        else:
            self._sector_done(data, len(data) == left)

    def _wait_for_host(self) -> None:
        s = self.state
        s.phase, s.served = "transfer", self.clock.now()
        s.due = s.served + PATIENCE_NS
        self._interrupt(True)
        self._arm()

    def _resume(self, data: bytes | None) -> None:
        """The FIFO is through with a sector."""
        self._interrupt(False)
        self.state.phase, self.state.due = "execute", None
        self._sector_done(data, False)
        self._go_on()

    def _sector_done(self, data: bytes | None, last: bool) -> None:
        """A sector has come from or gone to the host; `last`: terminal count. Goes on unless the command ends."""
        s = self.state
        s.done += 1
        opcode = s.command[0] & 0x1F
        if opcode == 0x0D:
            self._format_sector(data or b"", last)
            return
        if opcode in (0x11, 0x19, 0x1D):
            if self._compare(data or b"", last):
                return
        elif data is not None:
            at = self._find()
            wrong = at if isinstance(at, tuple) else self._store(at, data.ljust(SECTOR, b"\0"))
            if wrong is not None:
                self._end(ABNORMAL, *wrong)
                return
        more = self._advance(s.command[8] if opcode in (0x11, 0x19, 0x1D) and s.command[8] == 2 else 1)
        if last or s.marked & CONTROL_MARK:
            self._end(0)
        elif not more:
            self._end(ABNORMAL, END_OF_CYLINDER)

    def read_data(self) -> None:
        """READ DATA, and READ DELETED DATA, which finds only other data marks here."""
        s = self.state
        at = self._find()
        if isinstance(at, tuple):
            self._end(ABNORMAL, *at)
            return
        if s.command[0] & 0x1F == 0x0C:
            if s.command[0] & SKIP:
                self._end(ABNORMAL, NO_DATA)
                return
            s.marked |= CONTROL_MARK
        data = self._load(at)
        if data is None:
            self._end(ABNORMAL, DATA_ERROR, DATA_ERROR_2)
        else:
            self._give(data)

    def read_track(self) -> None:
        """Sectors in the order in which they pass, from the first on; whether the ID was right is only noted."""
        s = self.state
        if not s.done:
            s.sector = 1
        drive = self._medium()
        if drive is None or drive.format is None:
            self._end(ABNORMAL, MISSING_MARK)
            return
        if s.sector > drive.format.sectors:
            self._end(ABNORMAL, END_OF_CYLINDER)
            return
        track = s.units[self._unit()].track
        data = self._load(((track * drive.format.heads + self._side()) * drive.format.sectors + s.sector - 1) * SECTOR)
        if data is None:
            self._end(ABNORMAL, DATA_ERROR, DATA_ERROR_2)
        else:
            self._give(data)

    def write_data(self) -> None:
        """WRITE DATA, and WRITE DELETED DATA, whose data mark an image has no place for."""
        if self._protected():
            self._end(ABNORMAL, NOT_WRITABLE)
            return
        at = self._find()
        if isinstance(at, tuple):
            self._end(ABNORMAL, *at)
            return
        if self.state.command[0] & 0x1F == 0x09:
            self.unimplemented("deleted data marks")
        self._take(SECTOR)

    def verify(self) -> None:
        """Look for sectors and move nothing: as many as the last byte says with EC, else up to the last one."""
        s = self.state
        count = s.command[8] if s.command[1] & ENABLE_COUNT else 0
        while True:
            at = self._find()
            if isinstance(at, tuple):
                self._end(ABNORMAL, *at)
                return
            s.done += 1
            more = self._advance()
            if s.done == count or (not more and not count):
                self._end(0)
                return
            if not more:
                self._end(ABNORMAL, END_OF_CYLINDER)
                return

    def scan(self) -> None:
        at = self._find()
        if isinstance(at, tuple):
            self._end(ABNORMAL, *at)
        else:
            self._take(SECTOR)

    def _compare(self, data: bytes, last: bool) -> bool:
        """SCAN: whether the command ends with this sector. FFh matches everything."""
        s = self.state
        at = self._find()
        found = self._load(at) if isinstance(at, int) else None
        if found is None:
            self._end(ABNORMAL, DATA_ERROR, DATA_ERROR_2)
            return True
        pairs = [(mine, theirs) for mine, theirs in zip(found, data, strict=False) if 0xFF not in (mine, theirs)]
        opcode = s.command[0] & 0x1F
        if all(mine == theirs for mine, theirs in pairs):
            s.marked |= SCAN_HIT
            met = True
        else:
            met = opcode == 0x19 and all(mine <= theirs for mine, theirs in pairs)
            met = met or (opcode == 0x1D and all(mine >= theirs for mine, theirs in pairs))
        if met:
            self._end(0)
        elif last or s.sector == s.command[6]:
            s.marked |= SCAN_MISS
            self._end(0)
        return s.phase == "ending"

    def read_id(self) -> None:
        """The next sector that passes; which one that is depends on the time."""
        s = self.state
        drive = self._medium()
        s.cylinder, s.head, s.sector = s.cylinders[self._unit()], s.command[1] >> 2 & 1, 1
        if drive is None or drive.format is None:
            self._end(ABNORMAL, MISSING_MARK)
            return
        s.cylinder = s.units[self._unit()].track
        s.sector = self.clock.now() // (COMMAND_NS + SECTOR_NS) % drive.format.sectors + 1
        self._end(0)

    def format_track(self) -> None:
        """Four bytes for each sector say what its ID will be; it is filled with the last byte of the command."""
        s = self.state
        if not s.done:
            s.cylinder, s.head, s.sector = s.units[self._unit()].track, s.command[1] >> 2 & 1, 1
        if self._protected():
            self._end(ABNORMAL, NOT_WRITABLE)
        elif self._medium() is None:
            self._end(ABNORMAL, MISSING_MARK)
        elif s.done >= s.command[3]:
            self._end(0)
        else:
            self._take(4)

    def _format_sector(self, identity: bytes, last: bool) -> None:
        s = self.state
        drive = self._medium()
        if drive is None or drive.format is None:
            self._end(ABNORMAL, MISSING_MARK)
            return
        cylinder, head, sector, size = identity.ljust(4, b"\0")
        track, side = s.units[self._unit()].track, s.command[1] >> 2 & 1
        if (cylinder, head, size) == (track, side, 2) and 1 <= sector <= drive.format.sectors:
            at = ((track * drive.format.heads + side) * drive.format.sectors + sector - 1) * SECTOR
            wrong = self._store(at, bytes((s.command[5],)) * SECTOR)
            if wrong is not None:
                self._end(ABNORMAL, *wrong)
                return
        else:
            self.unimplemented("formatting in another way than the medium has")
        if last or s.done >= s.command[3]:
            self._end(0)


_TABLE = (
    Command(0x1F, 0x06, 9, Fdc82077.read_data, True),
    Command(0x1F, 0x0C, 9, Fdc82077.read_data, True),
    Command(0x3F, 0x05, 9, Fdc82077.write_data, True),
    Command(0x3F, 0x09, 9, Fdc82077.write_data, True),
    Command(0x9F, 0x02, 9, Fdc82077.read_track, True),
    Command(0x1F, 0x16, 9, Fdc82077.verify, True),
    Command(0x1F, 0x11, 9, Fdc82077.scan, True),
    Command(0x1F, 0x19, 9, Fdc82077.scan, True),
    Command(0x1F, 0x1D, 9, Fdc82077.scan, True),
    Command(0xBF, 0x0D, 6, Fdc82077.format_track, True),
    Command(0xBF, 0x0A, 2, Fdc82077.read_id, True),
    Command(0xFF, 0x07, 2, Fdc82077.recalibrate),
    Command(0xFF, 0x08, 1, Fdc82077.sense_interrupt),
    Command(0xFF, 0x03, 3, Fdc82077.specify),
    Command(0xFF, 0x04, 2, Fdc82077.sense_drive_status),
    Command(0xFF, 0x0F, 3, Fdc82077.seek),
    Command(0xBF, 0x8F, 3, Fdc82077.relative_seek),
    Command(0xFF, 0x13, 4, Fdc82077.configure),
    Command(0xFF, 0x0E, 1, Fdc82077.dump_registers),
    Command(0xFF, 0x12, 2, Fdc82077.perpendicular_mode),
    Command(0xFF, 0x10, 1, Fdc82077.version),
    Command(0x7F, 0x14, 1, Fdc82077.lock),
)


def find(opcode: int) -> Command | None:
    """The command of an opcode; None for those that the chip calls invalid."""
    return next((command for command in _TABLE if opcode & command.mask == command.value), None)


def _complete(command: bytearray) -> bool:
    known = find(command[0]) if command else None
    return known is not None and known.moves_data and len(command) == known.length


def _begun(command: bytearray) -> bool:
    known = find(command[0]) if command else None
    return known is not None and len(command) < known.length
