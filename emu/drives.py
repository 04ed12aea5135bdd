"""What -drive and -blockdev say about a disk. QEMU manual, "Invocation", block device options.

`cache=` and its parts, `discard=`, `detect-zeroes=`, `werror=`, `rerror=`, limits (`iops=`, `bps=`, their `_rd` and
`_wr`, bursts as `_max` and `_max_length`, or QEMU's `throttling.*`), `file.locking=`, and the files of backing images.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from emu.media import FORMAT_ALIASES, FORMATS
from emu.options import Drive, ShowAndExit, UsageError, keyed, number, shown, switch, unknown

if TYPE_CHECKING:
    from emu.options import Config

CACHES = {
    "writeback": (False, False, False),
    "none": (True, False, False),
    "writethrough": (False, True, False),
    "directsync": (True, True, False),
    "unsafe": (False, False, True),
}
"""For each mode: past the host's page cache, a flush with each write, no flush at all."""
KEYS = (
    "file if index bus unit media format driver snapshot readonly read-only id cache aio werror rerror discard "
    "detect-zeroes copy-on-read serial addr iops_size group backing.driver backing.file.filename file.locking "
    "file.filename file.driver cache.direct cache.no-flush cache.writeback allow-backing node-name"
).split()
HELP = """file=
if=ide|floppy|virtio|none
index=
bus=
unit=
media=disk|cdrom
format=raw|qcow2|vpc|vmdk
snapshot=on|off
readonly=on|off
id=
cache=none|writethrough|writeback|directsync|unsafe
discard=unmap|ignore
detect-zeroes=off|on|unmap
werror=report|ignore|enospc|stop
rerror=report|ignore|stop
iops= iops_rd= iops_wr= bps= bps_rd= bps_wr= (each also with _max, _max_length), iops_size=
backing.file.filename=, backing.driver=
file.locking=auto|on|off"""
FOREIGN_FORMATS = ("qcow", "vdi", "vhdx", "vvfat", "qed", "luks", "parallels", "dmg", "bochs", "cloop", "qcow1")
_LIMIT = re.compile(r"(iops|bps)(_rd|_wr)?(_max|_max_length)?")
_THROTTLING = re.compile(r"throttling\.(iops|bps)-(total|read|write)(-max|-max-length)?")
_BACKING = re.compile(r"((?:backing\.)+)(driver|file\.filename|file\.driver)")
_NAMES = {"total": "", "read": "_rd", "write": "_wr"}


def drive(config: Config, value: str) -> None:
    """-drive."""
    if value == "help":
        raise ShowAndExit(HELP)
    made = Drive(None)
    bus = unit = None
    for key, text in keyed(value, "-drive").items():
        if key == "if":
            if text in ("scsi", "sd", "mtd", "pflash", "xen"):
                config.warn(f"-drive if={text}: not available yet; not attached")
            elif text not in ("ide", "floppy", "none", "virtio"):
                raise unknown("drive interface", text, ("ide", "floppy", "none", "virtio"))
            made.interface = text
        elif key == "index":
            made.index = number(text, f"-drive {key}", 0, 3)
        elif key == "bus":
            bus = number(text, f"-drive {key}", 0, 3)
        elif key == "unit":
            unit = number(text, f"-drive {key}", 0, 3)
        elif key == "media":
            if text not in ("disk", "cdrom"):
                raise unknown("drive media", text, ("disk", "cdrom"))
            made.media = text
        elif key == "snapshot":
            made.snapshot = switch(text, "-drive snapshot")
        elif key == "id":
            made.id = text
        else:
            _property(config, made, key, text, "-drive")
    if bus is not None or unit is not None:
        made.index = 2 * (bus or 0) + (unit or 0)
    if made.media == "cdrom":
        made.read_only = True
    if made.interface in ("ide", "floppy", "none", "virtio"):
        config.drives.append(made)


def blockdev(config: Config, value: str) -> None:
    """-blockdev: a node, which devices name as their drive. A node of driver `file` may be the file of another."""
    props = _flat(value) if value.startswith("{") else keyed(value, "-blockdev", "driver")
    name = props.pop("node-name", "")
    if not name:
        raise UsageError("-blockdev: expected node-name=NAME")
    if any(one.id == name for one in config.drives):
        raise UsageError(f"-blockdev: the name {shown(name)} is in use")
    driver = props.pop("driver", "")
    made = Drive(None, "none", id=name, node=True)
    if driver in ("file", "host_device"):
        made.file = props.pop("filename", None)
        made.format = "raw"
        props = {("file.locking" if key == "locking" else key): text for key, text in props.items()}
    else:
        made.format = image_format(driver, "-blockdev driver")
        below = props.pop("file", None)
        if below is not None:
            node = _node(config, below)
            made.file, made.read_only, made.cache = node.file, node.read_only, node.cache
            made.locking, made.limits = node.locking, node.limits
    backing = props.pop("backing", None)
    if backing not in (None, "", "null"):
        node = _node(config, backing)
        made.backing = [(node.file or "", node.format or ""), *node.backing]
    for key, text in props.items():
        _property(config, made, key, text, "-blockdev")
    if not made.file:
        raise UsageError(f"-blockdev {shown(name)}: expected file= or filename=")
    config.drives.append(made)


def _node(config: Config, name: str) -> Drive:
    for one in config.drives:
        if one.node and one.id == name:
            return one
    raise unknown("-blockdev node", name, [one.id for one in config.drives if one.node and one.id])


def _flat(text: str) -> dict[str, str]:
    """The JSON form as keys with dots. Raises UsageError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("-blockdev: expected KEY=VALUE,... or an object in JSON") from None
    out: dict[str, str] = {}

    def walk(prefix: str, value: object, depth: int) -> None:
        if isinstance(value, dict) and depth < 10:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner, depth + 1)
        elif isinstance(value, bool):
            out[prefix] = "on" if value else "off"
        elif isinstance(value, str | int):
            out[prefix] = str(value)
        elif value is None:
            out[prefix] = "null"
        else:
            raise UsageError(f"-blockdev {shown(prefix)}: expected a word or a number")

    walk("", data, 0)
    return out


def image_format(text: str, what: str) -> str:
    """A format that Emu knows. Raises UsageError."""
    if text in FOREIGN_FORMATS:
        raise UsageError(f"{what}={text}: not supported (qemu-img convert -O qcow2 makes an image that is)")
    form = FORMAT_ALIASES.get(text, text)
    if form not in FORMATS:
        raise unknown("drive format", text, FORMATS)
    return form


def _property(config: Config, made: Drive, key: str, text: str, what: str) -> None:
    """What -drive and -blockdev have in common."""
    if key in ("file", "file.filename"):
        made.file = text
    elif key in ("format", "driver"):
        made.format = image_format(text, f"{what} {key}")
    elif key in ("readonly", "read-only"):
        made.read_only = switch(text, f"{what} {key}")
    elif key == "cache":
        if text not in CACHES:
            raise unknown("cache mode", text, CACHES)
        made.cache = CACHES[text]
    elif key in ("cache.direct", "cache.no-flush", "cache.writeback"):
        direct, through, unsafe = made.cache
        on = switch(text, f"{what} {key}")
        made.cache = {
            "cache.direct": (on, through, unsafe),
            "cache.no-flush": (direct, through, on),
            "cache.writeback": (direct, not on, unsafe),
        }[key]
    elif key == "discard":
        if text not in ("unmap", "on", "ignore", "off"):
            raise unknown("discard", text, ("unmap", "ignore"))
        made.discard = text in ("unmap", "on")
    elif key == "detect-zeroes":
        if text not in ("off", "on", "unmap"):
            raise unknown("detect-zeroes", text, ("off", "on", "unmap"))
        made.detect_zeroes = text
    elif key in ("werror", "rerror"):
        allowed = ("report", "ignore", "stop", *(("enospc",) if key == "werror" else ()))
        if text not in allowed:
            raise unknown(key, text, allowed)
        setattr(made, key, text)
    elif key == "file.locking":
        made.locking = text == "auto" or switch(text, f"{what} {key}")
    elif key == "iops_size" or key == "throttling.iops-size":
        made.iops_size = number(text, f"{what} {key}", 0, 1 << 30)
    elif _LIMIT.fullmatch(key):
        made.limits[key] = number(text, f"{what} {key}", 0, 10**15)
    elif match := _THROTTLING.fullmatch(key):
        own = match[1] + _NAMES[match[2]] + (match[3] or "").replace("-", "_")
        made.limits[own] = number(text, f"{what} {key}", 0, 10**15)
    elif match := _BACKING.fullmatch(key):
        _backing(made, match[1].count("backing."), match[2], text, f"{what} {key}")
    elif key.split(".")[0] not in ("aio", "copy-on-read", "serial", "addr", "file", "auto-read-only", "force-share"):
        raise unknown(f"{what} property", key, KEYS)


def _backing(made: Drive, depth: int, part: str, text: str, what: str) -> None:
    if depth > 8:
        raise UsageError(f"{what}: more than 8 backing files, one behind the other")
    while len(made.backing) < depth:
        made.backing.append(("", ""))
    name, form = made.backing[depth - 1]
    if part == "driver":
        form = image_format(text, what)
    elif part == "file.filename":
        name = text
    made.backing[depth - 1] = (name, form)
