"""The files a command line names: disk images, kernels, initial RAM disks, ROMs.

Everything is opened before the guest runs, and what is wrong with a file becomes one line: what was expected and what
was found. A disk is opened for writing only if the guest may write to it.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from dataclasses import dataclass

from devices.backends import SECTOR, MemoryDisk, OverlayDisk
from devices.block import storage
from devices.block.filters import Policy
from devices.block.opening import ALIASES, ReferenceRefused, Rules, open_image
from devices.block.opening import FORMATS as FORMATS
from devices.block.storage import BlockDisk, ImageError, LockedError
from devices.block.throttle import Limits, Throttle
from devices.contracts import Disk, Statistics
from emu.engine.host import punch_hole
from emu.options import Config, Drive, UsageError, plain_path, shown

GZIP = b"\x1f\x8b"
UIMAGE = b"\x27\x05\x19\x56"
PROTECTIVE = 0xEE
"""The type of the partition that covers a GPT disk of any size."""
CD_SECTOR = 2048
UNPACKED_LIMIT = 2 << 30
FORMAT_ALIASES = ALIASES
PLAIN_ERRORS = (errno.ELOOP, errno.ENOTSUP, errno.ENOSYS)
"""Errors whose text says everything."""
FLOPPY_SIZES = frozenset(kib << 10 for kib in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880))


storage.punch_hole = punch_hole


@dataclass
class Medium:
    """An opened drive: `disk` is None for a drive without a medium."""

    drive: Drive
    disk: Disk | None
    line: str = ""
    """What a person is told about it; empty for nothing."""

    @property
    def cdrom(self) -> bool:
        return self.drive.media == "cdrom"


def found(error: Exception) -> str:
    """What an OSError says about a file."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a directory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def wrong(path: str, expected: str, what: str) -> UsageError:
    """The error for a file that is not what it should be."""
    return UsageError(f"{shown(path)}: expected {expected}, found {what}")


def read_file(path: str, expected: str, limit: int) -> bytes:
    """The bytes of a regular file, 1 to `limit` of them. Raises UsageError."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its other end.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise wrong(path, expected, found(error)) from None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise wrong(path, expected, "a directory" if stat.S_ISDIR(mode) else "a device or pipe")
    with os.fdopen(fd, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise wrong(path, expected, found(error)) from None
    if not data:
        raise wrong(path, expected, "an empty file")
    if len(data) > limit:
        raise wrong(path, f"{expected} of at most {size_text(limit)}", "a larger file")
    return data


def size_text(size: int) -> str:
    """A size as a person writes it: 1440 KiB, 10 MiB, 512 bytes."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and (size % unit == 0 or size >= 10 * unit):
            amount = size / unit
            return f"{amount:.0f} {name}" if size % unit == 0 else f"{amount:.1f} {name}"
    return f"{size} bytes"


def open_drive(drive: Drive, config: Config) -> Medium:
    """Open what a -drive names. Raises UsageError; warnings go to `config.warnings`."""
    if drive.file is None or drive.file == "":
        if drive.media == "cdrom" or drive.interface == "floppy":
            return Medium(drive, None)
        raise UsageError("-drive: expected file=IMAGE")
    path = drive.file
    expected = "a disk image"
    snapshot = config.snapshot or drive.snapshot
    read_only = drive.read_only or snapshot
    try:
        if os.path.isdir(path):
            raise wrong(path, expected, "a directory")
        if os.path.exists(path) and os.path.getsize(path) == 0 and os.path.isfile(path):
            raise wrong(path, expected, "an empty file")
        if os.path.isfile(path) and os.path.getsize(path) < SECTOR and not _is_gzip(path):
            raise wrong(path, f"{expected} of at least one sector ({SECTOR} bytes)", size_text(os.path.getsize(path)))
        disk = _open_image(drive, read_only, config)
        head = disk.read(0, min(disk.size, 1 << 16))
    except (OSError, ValueError) as error:
        raise refusal(path, error) from None
    kind = getattr(disk, "kind", "raw")
    if drive.format is None and kind == "raw" and head[:2] == GZIP:
        disk.close()
        disk = MemoryDisk(_unpacked(path), read_only=drive.read_only)
        head = disk.read(0, min(disk.size, 1 << 16))
        if not read_only:
            config.warn(f"{plain_path(path)}: compressed; what the guest writes is not kept")
    if lost := missing(head, disk.size, drive):
        config.warn(f"{plain_path(path)}: {lost}; it may have been cut off")
    if snapshot and not drive.read_only:
        disk = OverlayDisk(disk)
    line = f"{plain_path(path)}: {describe(drive, disk.size, head, kind)}"
    return Medium(drive, _with_policy(disk, drive, config), line)


def refusal(path: str, error: Exception) -> UsageError:
    """The line for an image that cannot be opened."""
    if isinstance(error, ReferenceRefused):
        wanted = shown(error.wanted)
        return UsageError(f"{shown(path)}: {shown(str(error.strerror), 400)}; --allow-backing {wanted} allows it")
    if isinstance(error, ImageError | LockedError) or (isinstance(error, OSError) and error.errno in PLAIN_ERRORS):
        return UsageError(f"{shown(path)}: {shown(str(error.strerror), 600)}")
    return wrong(path, "a disk image", found(error))


def _is_gzip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP


def rules_for(drive: Drive, config: Config) -> Rules:
    """How the images of a drive are opened. They may lead to what -drive and --allow-backing name."""
    from emu.zstd import find

    return Rules(
        allowed=[*(one.file for one in config.drives if one.file), *config.allow_backing],
        any_file="all" in config.allow_backing,
        lock=drive.locking,
        direct=drive.cache[0],
        give_back=drive.discard,
        zstd=find,
        names=list(drive.backing),
    )


def _open_image(drive: Drive, read_only: bool, config: Config) -> BlockDisk:
    rules, path = rules_for(drive, config), drive.file or ""
    if read_only:
        return open_image(path, drive.format, read_only=True, rules=rules)
    try:
        return open_image(path, drive.format, rules=rules)
    except ReferenceRefused:
        raise
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        try:
            disk = open_image(path, drive.format, read_only=True, rules=rules)
        except OSError:
            raise error from None
    config.warn(f"{plain_path(path)}: not writable; the guest gets a read-only disk")
    return disk


def _with_policy(disk: BlockDisk, drive: Drive, config: Config) -> BlockDisk:
    """A disk with the cache mode, zero detection and limits that a drive asks for."""
    _, through, unsafe = drive.cache
    if unsafe:
        config.warn(f"{plain_path(drive.file or '')}: flushes are ignored; a crash of the host may lose data")
    limits = {}
    for name in (what + kind for what in ("iops", "bps") for kind in ("", "_rd", "_wr")):
        average, burst = drive.limits.get(name, 0), drive.limits.get(f"{name}_max", 0)
        length = drive.limits.get(f"{name}_max_length", 1)
        if (burst or length != 1) and not average:
            raise UsageError(f"-drive {name}_max: expected {name} too")
        if burst and burst < average:
            raise UsageError(f"-drive {name}_max: {burst} is less than {name}, {average}")
        if average:
            limits[name] = Limits(average, burst, max(1, length))
    for name in ("iops", "bps"):
        if name in limits and (f"{name}_rd" in limits or f"{name}_wr" in limits):
            raise UsageError(f"-drive: {name} and {name}_rd or {name}_wr exclude one another")
    # Without a monitor nobody could let a stopped machine go on.
    disk.on_error = (drive.rerror, drive.werror or ("enospc" if config.monitors else "report"))
    if through or unsafe or limits or drive.detect_zeroes != "off":
        throttle = Throttle(limits, drive.iops_size) if limits else None
        disk = Policy(
            disk, write_through=through, no_flush=unsafe, detect_zeroes=drive.detect_zeroes, throttle=throttle
        )
    disk.statistics = Statistics()
    return disk


def _unpacked(path: str) -> bytes:
    data = read_file(path, "a disk image", UNPACKED_LIMIT)
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        out = inflate.decompress(data, UNPACKED_LIMIT + 1)
    except zlib.error:
        raise wrong(path, "a disk image", "damaged gzip data") from None
    if len(out) > UNPACKED_LIMIT:
        raise wrong(path, f"at most {size_text(UNPACKED_LIMIT)} of gzip data", "more")
    if not inflate.eof:
        raise wrong(path, "a disk image", "gzip data that ends too early")
    if not out:
        raise wrong(path, "a disk image", "nothing inside the gzip data")
    return out


def describe(drive: Drive, size: int, head: bytes, kind: str = "raw") -> str:
    """A line about an image: format, size, what is on it, and cylinders/heads/sectors."""
    from bios.pc.disk import floppy_format, hard_disk_geometry

    if drive.media == "cdrom":
        return f"{kind}, {size_text(size)}, CD-ROM"
    if drive.interface == "floppy":
        geometry = floppy_format(size)[0]
        what = "floppy"
    else:
        geometry = hard_disk_geometry(size, head[:SECTOR].ljust(SECTOR, b"\0"))
        what = content(head)
    return f"{kind}, {size_text(size)}, {what}, {geometry.cylinders}/{geometry.heads}/{geometry.sectors}"


def content(head: bytes) -> str:
    """What the first sectors of a hard disk say it is."""
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return "GPT"
    if head[510:512] != b"\x55\xaa":
        return "no boot sector"
    entries = [head[446 + 16 * i : 462 + 16 * i] for i in range(4)]
    if all(e[0] in (0, 0x80) for e in entries) and any(e[4] and any(e[12:16]) for e in entries):
        return "MBR"
    return "boot sector"


def missing(head: bytes, size: int, drive: Drive) -> str:
    """What an image's first sectors say is there, if that is beyond its end."""
    ends = []
    if drive.interface == "ide" and content(head) == "MBR":
        for number in range(4):
            entry = head[446 + 16 * number : 462 + 16 * number]
            if entry[4] not in (0, PROTECTIVE):
                end = int.from_bytes(entry[8:12], "little") + int.from_bytes(entry[12:16], "little")
                ends.append((end * SECTOR, f"partition {number + 1}"))
    if head[0x8001:0x8006] == b"CD001":
        ends.append((int.from_bytes(head[0x8050:0x8054], "little") * CD_SECTOR, "the CD-ROM's file system"))
    end, what = max(ends, default=(0, ""))
    return f"{what} ends at {size_text(end)}, the image at {size_text(size)}" if end >= size + SECTOR else ""


def sort_positional(config: Config) -> None:
    """Decide what the words without a dash are (`emu run`): a kernel, a floppy, a CD or a hard disk.

    The `emu-system-*` names take them as hard disks, as QEMU does, and do not call this.
    """
    for drive in list(config.drives):
        if not drive.positional or drive.file is None:
            continue
        try:
            if not os.path.isfile(drive.file):
                continue
            size = os.path.getsize(drive.file)
            with open(drive.file, "rb") as file:
                head = file.read(0x8010)
        except (OSError, ValueError):
            continue
        if head.startswith((b"\x7fELF", UIMAGE)) or head[0x202:0x206] == b"HdrS":
            if config.kernel is None:
                config.kernel = drive.file
                config.drives.remove(drive)
        elif size in FLOPPY_SIZES and content(head) != "MBR":
            _move(config, drive, "floppy")
        elif head[0x8001:0x8006] == b"CD001" and head[510:512] != b"\x55\xaa":
            drive.media, drive.read_only = "cdrom", True


def _move(config: Config, drive: Drive, interface: str) -> None:
    used = {d.index for d in config.drives if d.interface == interface}
    free = [index for index in (0, 1) if index not in used]
    if free:
        drive.interface, drive.index = interface, free[0]
