"""From a file name to a disk: which format a file has, and which other files an image may lead to.

What an image names (a backing file, the extents of a descriptor) is opened only if the person named it too, or said
that anything may be opened: an image is a stranger's data, and a guest can write what it likes into one. Names with a
protocol or in JSON are never followed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devices.block.raw import RawDisk
from devices.block.storage import BlockDisk, HostFile, ImageError

if TYPE_CHECKING:  # most runs need none of the formats
    from devices.block.qcow2.image import Qcow2, Zstd

__all__ = ["FORMATS", "ProbedRaw", "ReferenceRefused", "Rules", "open_image", "probe"]

FORMATS = ("raw", "qcow2", "vpc", "vmdk")
MAGIC = (
    (b"QFI\xfb", "qcow2"), (b"conectix", "vpc"), (b"KDMV", "vmdk"), (b"# Disk DescriptorFile", "vmdk"),
)  # fmt: skip
"""How images start; a fixed VHD starts with the first sector of its disk."""
ALIASES = {"vhd": "vpc"}
FOREIGN = (
    (0, b"QED\0", "QED"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"LUKS\xba\xbe", "LUKS"),
)
"""Formats that are recognised and cannot be opened: place, magic, name."""
DEEPEST = 8
PROBED = 0x50
"""Bytes from the start that decide on a format."""


class ReferenceRefused(OSError):
    """An image leads to a file that nobody named. `wanted` is its path."""

    def __init__(self, path: str, what: str, wanted: str) -> None:
        super().__init__(errno.EACCES, f"its {what} {wanted} is not named on the command line", path)
        self.wanted = wanted


@dataclass
class Rules:
    """How images are opened: which other files they may lead to, and how each file is used."""

    allowed: Collection[str] = ()
    """Paths, however written, of files that images may lead to."""
    any_file: bool = False
    lock: bool = True
    direct: bool = False
    give_back: bool = False
    zstd: Callable[[], Zstd | None] = lambda: None
    backing: bool = True
    """False: an image's backing file stays closed, and what it holds cannot be read."""
    names: list[tuple[str, str]] = field(default_factory=list)
    """What the person says instead of the names and formats in the images: (path or "", format or ""), from the top."""

    def permits(self, path: str) -> bool:
        """True if an image may lead to the file."""
        real = os.path.realpath(path)
        return self.any_file or any(os.path.realpath(one) == real for one in self.allowed)


def probe(head: bytes) -> str:
    """The format of an image that starts with `head`. Raises ImageError for one that is known and not supported."""
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    for at, magic, name in FOREIGN:
        if head[at : at + len(magic)] == magic:
            raise ImageError("format", "first sector", f"{name} is not supported (qemu-img convert -O qcow2 helps)")
    return "raw"


class ProbedRaw(RawDisk):
    """A raw image of which nobody said that it is raw: it must not be made to look like another format."""

    guarded = PROBED

    def write(self, offset: int, data: bytes) -> None:
        if offset < PROBED:
            head = self.read(0, min(self.size, 512))
            cut = data[: 512 - offset]
            changed = head[:offset] + bytes(cut) + head[offset + len(cut) :]
            try:
                same = probe(changed) == "raw"
            except ImageError:
                same = False
            if not same:
                raise PermissionError(
                    errno.EPERM, "the guest may not turn a disk into another format; format=raw allows it", self.path
                )
        super().write(offset, data)


def open_image(
    path: str,
    form: str | None = None,
    *,
    read_only: bool = False,
    rules: Rules | None = None,
    snapshot: str | None = None,
) -> BlockDisk:
    """Open an image and what it stands on. `form` None: what the file looks like. Raises OSError."""
    return _open(path, form, read_only, rules or Rules(), snapshot, [])


def _open(
    path: str, form: str | None, read_only: bool, rules: Rules, snapshot: str | None, above: list[tuple[int, int]]
) -> BlockDisk:
    file = HostFile(path, read_only, direct=rules.direct, lock=rules.lock)
    try:
        found = ALIASES.get(form or "", form) or probe(file.read(0, PROBED))
        if snapshot is not None and found != "qcow2":
            raise OSError(errno.ENOTSUP, f"a {found} image has no internal snapshots", path)
        if found == "raw":
            return (RawDisk if form else ProbedRaw)(file, read_only, rules.give_back)
        if found == "vpc":
            from devices.block.vhd import Vhd

            return Vhd(file)
        if found == "vmdk":
            from devices.block.vmdk import open_vmdk

            return open_vmdk(file, lambda name, kind: _extent(path, name, kind, rules))
        if found != "qcow2":
            raise OSError(errno.ENOTSUP, f"format {found} is not known; there are {', '.join(FORMATS)}", path)
        from devices.block.qcow2.image import Qcow2

        image = Qcow2(
            file, read_only=read_only, snapshot=snapshot, zstd=rules.zstd, give_back=rules.give_back and not read_only
        )
        if rules.backing and (
            image.header.backing_file or (len(above) < len(rules.names) and rules.names[len(above)][0])
        ):
            image.backing = _backing(image, rules, [*above, file.identity()])
        return image
    except BaseException:
        file.close()
        raise


def _backing(image: Qcow2, rules: Rules, above: list[tuple[int, int]]) -> BlockDisk:
    header, path = image.header, image.path
    own_name, own_form = rules.names[len(above) - 1] if len(above) <= len(rules.names) else ("", "")
    if own_name:
        wanted, form = own_name, own_form or None
    else:
        name = header.backing_file
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name):
            raise ImageError("qcow2 header", "backing file name", f"{name!r} is not the name of a file")
        wanted, form = os.path.join(os.path.dirname(path), name), own_form or header.backing_format or None
        if not rules.permits(wanted):
            raise ReferenceRefused(path, "backing file", wanted)
    if len(above) > DEEPEST:
        raise OSError(errno.ELOOP, f"more than {DEEPEST} backing files, one behind the other", path)
    try:
        status = os.stat(wanted)
    except OSError as error:
        raise OSError(error.errno, f"its backing file {wanted} cannot be opened: {error.strerror}", path) from None
    if (status.st_dev, status.st_ino) in above:
        raise OSError(errno.ELOOP, f"its backing file {wanted} leads back to itself", path)
    if form is not None and ALIASES.get(form, form) not in FORMATS:
        raise ImageError("qcow2 header", "backing format", f"{form!r} is not known; there are {', '.join(FORMATS)}")
    return _open(wanted, form, True, rules, None, above)


def _extent(path: str, name: str, kind: str, rules: Rules) -> BlockDisk:
    wanted = os.path.join(os.path.dirname(path), name)
    if not rules.permits(wanted):
        raise ReferenceRefused(path, "extent", wanted)
    from devices.block.vmdk import SparseVmdk

    file = HostFile(wanted, True, direct=rules.direct, lock=rules.lock)
    try:
        return SparseVmdk(file) if kind == "SPARSE" else RawDisk(file, True)
    except BaseException:
        file.close()
        raise
