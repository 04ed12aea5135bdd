"""Recordings: the inputs of a run in a file, and the run once more from that file (`--record`, `--replay`).

A file is a line that names the format, a header and frames. The header is JSON: the version, the
start-up date, and what the machine is made of, with digests of its files and of what its disks held at the start.
A frame is one `Input`:

    length   LEB128, of the body
    body     channel  LEB128, doubled; the number after the highest one so far is a new channel: length (LEB128) and
                      name follow
             time     LEB128, ns since the frame before
             icount   LEB128, instructions since the frame before
             check    8 bytes of a digest of the processor, if bit 0 of the doubled number is set
             data     the rest
    crc32    4 bytes, little-endian, of all bodies up to here

The last frame is of the channel `end`: why the run ended and the digest of the whole machine. Whatever a file holds, it
is only data: nothing in it is executed, and lengths are bounded.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from emu.clock import wall
from emu.errors import ReplayError
from emu.inputs import Input
from emu.machine import Cause
from emu.options import VERSION, Config, UsageError, shown

if TYPE_CHECKING:
    from devices.contracts import Disk
    from emu.boards import Date, Setup
    from emu.machine import Machine

MAGIC = b"EMU-RECORDING 1\n"
HEADER_MAX = 1 << 20
FRAME_MAX = 64 << 20
CHANNELS_MAX = 4096
CHECK_EVERY = 20_000_000
"""Instructions between two digests of the processor, where there is input to go with them."""
FLUSH_SECONDS = 1.0
SAMPLES = 128
SAMPLE = 4096
END = "end"
UNFINISHED = (Cause.SIGNAL, Cause.TIMEOUT, Cause.QUIT, Cause.LIMIT)
"""Ends of a replay by somebody who does not want to see the rest."""
TOLD = {
    "machine": "-M",
    "cpu": "-cpu",
    "memory": "-m",
    "append": "-append",
    "kernel": "-kernel",
    "initrd": "-initrd",
    "dtb": "-dtb",
    "bios": "-bios",
    "devices": "-device",
    "disks": "the disks",
    "netdevs": "-netdev",
    "serial": "-serial",
    "fw_cfg": "-fw_cfg",
    "boot": "-boot",
    "flags": "-no-reboot, -no-shutdown, -nodefaults",
    "objects": "-object",
    "fsdevs": "-fsdev",
}


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- what a machine is


def file_digest(path: str | None) -> str | None:
    """SHA-256 of a file that was given to the guest; None without one, or if it cannot be read any more."""
    if path is None:
        return None
    total = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                total.update(part)
    except OSError:
        return None
    return total.hexdigest()


def disk_digest(disk: Disk) -> str:
    """A digest of samples of a disk's bytes, spread over it; not of all of them, which would take long."""
    total = hashlib.sha256(str(disk.size).encode())
    step = max(SAMPLE, disk.size // SAMPLES // SAMPLE * SAMPLE)
    for at in range(0, disk.size, step):
        try:
            total.update(disk.read(at, min(SAMPLE, disk.size - at)))
        except OSError as error:
            total.update(f"error {error.errno}".encode())
    return total.hexdigest()


def identity(config: Config, setup: Setup) -> dict[str, Any]:
    """What decides about a run besides its inputs, as plain JSON."""
    made: dict[str, Any] = {
        "machine": config.machine,
        "cpu": config.cpu,
        "memory": config.memory,
        "append": config.append,
        "kernel": file_digest(config.kernel),
        "initrd": [file_digest(part.split(" ")[0]) for part in config.initrd.split(",")] if config.initrd else [],
        "dtb": file_digest(config.dtb),
        "bios": file_digest(config.bios),
        "devices": [[name, {k: v for k, v in props.items() if k != "romfile"}] for name, props in config.devices],
        "netdevs": [[netdev.id, netdev.kind] for netdev in config.netdevs],
        "serial": [device.kind != "none" for device in config.serial],
        "fw_cfg": [[name, text, file_digest(path)] for name, text, path in config.fw_cfg],
        "boot": [config.boot, config.boot_menu, config.boot_wait, config.reboot_timeout],
        "flags": [config.no_reboot, config.no_shutdown, config.nodefaults],
        "tables": [config.acpi, config.hpet, sorted(config.no_sleep), config.uuid],
        "smbios": [[kind, words, file_digest(words.get("file"))] for kind, words in config.smbios],
        "objects": [[name, kind] for name, (kind, _) in config.objects.items() if not kind.startswith("filter-")],
        "fsdevs": sorted(config.fsdevs),
        "disks": [],
    }
    for medium in setup.media:
        drive = medium.drive
        content = None if medium.disk is None else disk_digest(medium.disk)
        made["disks"].append([drive.interface, drive.index, drive.card, drive.id, drive.media, content])
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


# -- writing


class Recorder:
    """Writes what comes in. Raises UsageError for a file that cannot be written."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file: BinaryIO = open(path, "wb", buffering=1 << 16)  # noqa: SIM115 (kept open for the whole run)
        except (OSError, ValueError) as error:
            raise UsageError(f"--record {shown(path)}: expected a file to write to: {_reason(error)}") from None
        self.failed = ""
        """Why nothing is written any more."""
        self._channels: dict[str, int] = {}
        self._time = self._icount = self._checked = 0
        self._crc = 0
        self._flushed = wall()
        self._machine: Machine | None = None

    def start(self, machine: Machine, date: Date, made: dict[str, Any]) -> None:
        """Write the header, and from now on everything that comes in."""
        self._machine = machine
        header = {"version": VERSION, "date": list(date), "machine": made}
        data = json.dumps(header).encode()
        self._write(MAGIC + len(data).to_bytes(4, "little") + data + zlib.crc32(data).to_bytes(4, "little"))
        machine.inputs.sink = self.add

    def add(self, entry: Input) -> None:
        """Write one input."""
        number = self._channels.get(entry.channel)
        check = self._machine is not None and not entry.late and entry.icount - self._checked >= CHECK_EVERY
        if number is None:
            number = self._channels[entry.channel] = len(self._channels)
            name = entry.channel.encode()
            head = _leb(number << 1 | check) + _leb(len(name)) + name
        else:
            head = _leb(number << 1 | check)
        body = head + _leb(entry.time - self._time) + _leb(entry.icount - self._icount)
        if check and self._machine is not None:
            body += processor_check(self._machine)
            self._checked = entry.icount
        self._time, self._icount = entry.time, entry.icount
        body += entry.data
        self._crc = zlib.crc32(body, self._crc)
        self._write(_leb(len(body)) + body + self._crc.to_bytes(4, "little"))

    def _write(self, data: bytes) -> None:
        if self.failed:
            return
        try:
            self._file.write(data)
            if wall() - self._flushed > FLUSH_SECONDS:
                self._flushed = wall()
                self._file.flush()
        except OSError as error:
            self.failed = _reason(error)

    def finish(self, machine: Machine) -> None:
        """The run is over: write its end and close the file."""
        ending = machine.ending
        if ending is not None:
            end = [ending.cause.name, ending.status, ending.text, machine.digest()]
            machine.inputs.note(END, json.dumps(end).encode())
        machine.inputs.sink = None
        self.close()

    def close(self) -> None:
        """Close the file; twice is harmless."""
        try:
            self._file.close()
        except OSError as error:
            self.failed = self.failed or _reason(error)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def processor_check(machine: Machine) -> bytes:
    """Eight bytes that differ when the processor's state does."""
    return hashlib.sha256(machine.cpu.digest().encode()).digest()[:8]


# -- reading


class Recording:
    """A file that a run comes from. Raises UsageError for one that is none, or is another machine's."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise self._wrong(f"cannot be read: {_reason(error)}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self._wrong("expected a recording, found no regular file")
        self._file: BinaryIO = os.fdopen(fd, "rb", buffering=1 << 16)
        self._names: list[str] = []
        self._time = self._icount = self._crc = 0
        self._checks: dict[tuple[str, int, int], list[bytes]] = {}
        self._machine: Machine | None = None
        self.end: list[Any] | None = None
        """Cause, status, text and digest, as soon as they have been read."""
        try:
            header = self._header()
            self.date = self._date(header.get("date"))
        except UsageError:
            self._file.close()
            raise
        self.version = str(header.get("version"))
        self.made = header["machine"]

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"--replay {shown(self.path)}: {why}")

    def _header(self) -> dict[str, Any]:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise self._wrong("expected a recording (--record FILE makes one)")
        length = int.from_bytes(self._file.read(4), "little")
        data = self._file.read(length) if length <= HEADER_MAX else b""
        if len(data) != length or zlib.crc32(data) != int.from_bytes(self._file.read(4).ljust(4, b"\0"), "little"):
            raise self._wrong("the header is damaged or cut off")
        try:
            header = json.loads(data)
        except (ValueError, RecursionError):
            raise self._wrong("the header is no JSON") from None
        if type(header) is not dict or type(header.get("machine")) is not dict:
            raise self._wrong("the header says nothing of the machine")
        return header

    def _date(self, value: object) -> Date:
        low, high = (1, 1, 1, 0, 0, 0), (9999, 12, 31, 23, 59, 61)
        if type(value) is not list or len(value) != 6:
            raise self._wrong("the header has no date")
        for part, least, most in zip(value, low, high, strict=True):
            if type(part) is not int or not least <= part <= most:
                raise self._wrong("the header has no date")
        year, month, day, hour, minute, second = value
        return year, month, day, hour, minute, second

    def start(self, machine: Machine, made: dict[str, Any], warn: Callable[[str], None]) -> None:
        """Let a machine's inputs come from here. Raises UsageError if it is not the recorded one."""
        for key, text in TOLD.items():
            if self.made.get(key) != made[key]:
                raise self._wrong(f"recorded with {_difference(text, self.made.get(key), made[key])}")
        if self.version != VERSION:
            version = shown(self.version, 40)
            warn(f"--replay {shown(self.path)}: recorded by version {version} of Emu; the run may go another way")
        self._machine = machine
        self._entrance = machine.inputs.messages(END, self._over)
        machine.inputs.sink = self.verify
        machine.inputs.replay(self.entries())

    def entries(self) -> Iterator[Input]:
        """The inputs, as they are read. Raises ReplayError where the file is damaged or cut off."""
        try:
            while (entry := self._frame()) is not None:
                yield entry
        finally:
            self._file.close()

    def _damaged(self, what: str) -> ReplayError:
        where = self._file.tell()
        return ReplayError(
            f"--replay {shown(self.path)}: {what} at byte {where}; input is known up to instruction {self._icount}"
        )

    def _number(self, data: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < len(data) and shift < 63:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value, at
        raise self._damaged("a number without an end")

    def _frame(self) -> Input | None:
        length = shift = 0
        while True:
            byte = self._file.read(1)
            if not byte:
                if self.end is None:
                    raise self._damaged("cut off")
                return None
            length |= (byte[0] & 0x7F) << shift
            shift += 7
            if not byte[0] & 0x80:
                break
            if shift > 28:
                raise self._damaged("a frame of impossible length")
        if length > FRAME_MAX:
            raise self._damaged("a frame of impossible length")
        body = self._file.read(length)
        crc = self._file.read(4)
        if len(body) < length or len(crc) < 4:
            raise self._damaged("cut off")
        self._crc = zlib.crc32(body, self._crc)
        if self._crc != int.from_bytes(crc, "little"):
            raise self._damaged("a frame is damaged")
        if self.end is not None:
            raise self._damaged("more input after the end")
        return self._decode(body)

    def _decode(self, body: bytes) -> Input:
        head, at = self._number(body, 0)
        number, check = head >> 1, head & 1
        if number == len(self._names) < CHANNELS_MAX:
            size, at = self._number(body, at)
            self._names.append(body[at : at + size].decode("utf-8", "replace"))
            at += size
        elif number > len(self._names):
            raise self._damaged(f"channel {number}, which has no name,")
        time, at = self._number(body, at)
        icount, at = self._number(body, at)
        self._time += time
        self._icount += icount
        name = self._names[number]
        if check:
            self._checks.setdefault((name, self._icount, self._time), []).append(body[at : at + 8])
            at += 8
        if name == END:
            self.end = self._end(body[at:])
        return Input(self._icount, name, body[at:], self._time)

    def _end(self, data: bytes) -> list[Any]:
        try:
            end = json.loads(data)
        except (ValueError, RecursionError):
            end = None
        kinds = (str, int, str, str)
        if type(end) is not list or [type(part) for part in end] != list(kinds) or end[0] not in Cause.__members__:
            raise self._damaged("the end is damaged")
        return end

    def verify(self, entry: Input) -> None:
        """Compare the processor where the recording has a digest of it. Raises ReplayError."""
        checks = self._checks.pop((entry.channel, entry.icount, entry.time), None)
        if checks and self._machine is not None and checks[0] != processor_check(self._machine):
            raise ReplayError(
                f"--replay {shown(self.path)}: the run is not the recorded one: the processor differs after "
                f"{entry.icount} instructions"
            )

    def _over(self, message: bytes) -> bool:
        """The recorded run ended here."""
        if self._machine is not None and self.end is not None:
            cause, status, text, _ = self.end
            self._machine.end(Cause[cause], status, text)
        return True

    def finish(self, machine: Machine) -> None:
        """The run is over. Raises ReplayError if the recorded one was not over then, or ended in another state."""
        left = machine.inputs.upcoming
        machine.inputs.sink = None
        self._file.close()
        if machine.ending is not None and machine.ending.cause in UNFINISHED and left:
            return  # somebody did not want to see the rest
        if left is not None:
            raise ReplayError(
                f"--replay {shown(self.path)}: the run is not the recorded one: it ended after {machine.retired} "
                f"instructions; input for {shown(left.channel)} was to come after {left.icount}"
            )
        if self.end is not None and self.end[3] != machine.digest():
            raise ReplayError(
                f"--replay {shown(self.path)}: the run is not the recorded one: after {machine.retired} instructions, "
                "at its end, the machine's state differs"
            )


def _difference(text: str, then: object, now: object) -> str:
    """Which option differs, with both values where they are short."""
    plain = isinstance(then, (str, int)) and isinstance(now, (str, int))
    if plain and len(str(then)) < 60 and len(str(now)) < 60:
        return f"another {text}: {shown(str(then))}, now {shown(str(now))}"
    if text == "the disks":
        return "other disks, or with something else on them"
    return f"another {text}"
