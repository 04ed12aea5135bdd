"""`emu img`: make, look at, check and convert disk images, with the words and flags of qemu-img where both have them.

create, info, check, commit, convert, compare, map, resize, snapshot -l. Images lead to other files only by
--allow-backing. Exit status: 0, or 1 for what cannot be done; check: 2 corrupt, 3 leaks; compare: 1 different,
2 failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from devices.block.opening import ALIASES, FORMATS, Rules, open_image
from devices.block.qcow2.check import Report, check, repair
from devices.block.qcow2.create import Options, create, open_new
from devices.block.qcow2.header import COMPRESSION, CORRUPT, DIRTY, LAZY_REFCOUNTS, ZSTD
from devices.block.qcow2.image import Qcow2
from devices.block.raw import RawDisk
from devices.block.storage import BlockDisk, Extent, HostFile
from emu.media import refusal, size_text
from emu.options import UsageError, keyed, shown, switch, unknown
from emu.tools.words import Words
from emu.zstd import find

CHUNK = 2 << 20
SPARSE = 4096


class Command(Words):
    """The words of one command."""

    def __init__(self, **more: Any) -> None:
        super().__init__("img", more.get("description", ""))
        self.prog = more.get("prog", self.prog)


def size(text: str) -> int:
    """Bytes from `10M`, `512`, `1.5G`. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,19})(\.[0-9]{1,9})?([bBkKmMgGtTpPeE]?)", text)
    if match is None:
        raise UsageError(f"img: expected a size such as 512, 64k or 10G, found '{shown(text)}'")
    shift = {"b": 0, "": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}[match[3].lower()]
    total = int(match[1]) << shift
    if match[2]:
        total += int(match[2][1:]) * (1 << shift) // 10 ** (len(match[2]) - 1)
    if total > 1 << 62:
        raise UsageError(f"img: {shown(text)} is more than 4 EiB")
    return total


def main(words: Sequence[str]) -> int:
    """`emu img COMMAND ...`; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(list(words))
    action: Callable[[argparse.Namespace], int] | None = getattr(args, "action", None)
    if action is None:
        raise UsageError(f"img: expected one of {', '.join(COMMANDS)}")
    if getattr(args, "json", False) or getattr(args, "output", "human") == "json":
        args.json = True
    try:
        return action(args)
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", None) or getattr(args, "file", None) or ""
        if isinstance(error, ValueError):
            raise UsageError(f"{shown(str(name))}: {error}") from None
        raise refusal(str(name), error) from None


def _parser() -> Words:
    parser = Words("img", "Make, look at, check and convert disk images.")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Command)

    def command(name: str, action: Callable[[argparse.Namespace], int], *, reads: bool = True) -> Command:
        made = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name] + ".")
        made.set_defaults(action=action)
        made.add_argument("-q", dest="quiet", action="store_true", help="say only what is wrong")
        if reads:
            made.add_argument("-f", dest="format", metavar="FORMAT", help="the image's format; else what it looks like")
            made.add_argument("-U", "--force-share", action="store_true", help="do not lock the image")
            made.add_argument("--allow-backing", action="append", default=[], metavar="FILE", help="or 'all'")
            made.add_argument("--output", choices=("human", "json"), default="human")
            made.add_argument("--json", action="store_true", help="the same as --output=json")
        return made

    one = command("create", _create, reads=False)
    one.add_argument("-f", dest="format", default="raw", metavar="FORMAT", help="raw (default) or qcow2")
    one.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE,...")
    one.add_argument("-b", dest="backing", metavar="FILE", help="backing file")
    one.add_argument("-F", dest="backing_format", metavar="FORMAT", help="its format")
    one.add_argument("-u", dest="unsafe", action="store_true", help="do not look at the backing file")
    one.add_argument("file")
    one.add_argument("size", nargs="?")
    one = command("info", _info)
    one.add_argument("--backing-chain", action="store_true", help="the backing files too")
    one.add_argument("file")
    one = command("check", _check)
    one.add_argument("-r", dest="repair", choices=("leaks", "all"), help="set it right")
    one.add_argument("file")
    one = command("commit", _commit)
    one.add_argument("-d", dest="keep", action="store_true", help="do not empty the image afterwards")
    one.add_argument("file")
    one = command("convert", _convert)
    one.add_argument("-O", dest="to", default="raw", metavar="FORMAT", help="raw (default) or qcow2")
    one.add_argument("-o", dest="options", action="append", default=[], metavar="NAME=VALUE,...")
    one.add_argument("-c", dest="compress", action="store_true", help="compress (qcow2)")
    one.add_argument("-p", dest="progress", action="store_true", help="show how far it is")
    one.add_argument("-n", dest="existing", action="store_true", help="the target is there already")
    one.add_argument("-l", dest="snapshot", metavar="SNAPSHOT", help="the state of an internal snapshot (id or name)")
    one.add_argument("-B", dest="backing", metavar="FILE", help="backing file of the target")
    one.add_argument("-F", dest="backing_format", metavar="FORMAT", help="its format")
    one.add_argument("-S", dest="sparse", default="4k", metavar="SIZE", help="zeros that make a hole (0: never)")
    one.add_argument("-m", dest="ignored_m", help=argparse.SUPPRESS)
    one.add_argument("-W", dest="ignored_w", action="store_true", help=argparse.SUPPRESS)
    one.add_argument("-t", dest="ignored_t", help=argparse.SUPPRESS)
    one.add_argument("-T", dest="ignored_source", help=argparse.SUPPRESS)
    one.add_argument("files", nargs="+", metavar="SOURCE... TARGET")
    one = command("compare", _compare)
    one.add_argument("-F", dest="second_format", metavar="FORMAT", help="the second image's format")
    one.add_argument("-s", dest="strict", action="store_true", help="sizes and allocation must be the same too")
    one.add_argument("-p", dest="progress", action="store_true", help=argparse.SUPPRESS)
    one.add_argument("file")
    one.add_argument("second")
    one = command("map", _map)
    one.add_argument("file")
    one = command("resize", _resize)
    one.add_argument("--shrink", action="store_true", help="what is cut off is lost")
    one.add_argument("file")
    one.add_argument("size", help="bytes, or +N or -N")
    one = command("snapshot", _snapshot)
    one.add_argument("-l", dest="list", action="store_true", help="list them (the default)")
    one.add_argument("file")
    return parser


COMMANDS = {
    "create": "make an image",
    "info": "what an image is",
    "check": "compare an image's tables with one another",
    "commit": "write an image's contents into its backing file",
    "convert": "copy an image, to another format or out of a snapshot",
    "compare": "whether two images hold the same",
    "map": "which parts are data, zeros or in a backing file",
    "resize": "change the size of the disk",
    "snapshot": "list internal snapshots",
}


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _json(value: Any) -> int:
    _print(json.dumps(value, indent=4))
    return 0


def _rules(args: argparse.Namespace, *, backing: bool = True) -> Rules:
    return Rules(
        allowed=args.allow_backing,
        any_file="all" in args.allow_backing,
        lock=not args.force_share,
        give_back=True,
        zstd=find,
        backing=backing,
    )


def _format(text: str | None) -> str | None:
    if text is None:
        return None
    if ALIASES.get(text, text) not in FORMATS:
        raise unknown("image format", text, FORMATS)
    return ALIASES.get(text, text)


def _open(
    args: argparse.Namespace, path: str, form: str | None, *, read_only: bool = True, backing: bool = True, **more: Any
) -> BlockDisk:
    try:
        return open_image(path, _format(form), read_only=read_only, rules=_rules(args, backing=backing), **more)
    except OSError as error:
        raise refusal(path, error) from None


def _qcow2(args: argparse.Namespace, what: str, *, read_only: bool = True) -> Qcow2:
    disk = _open(args, args.file, args.format, read_only=read_only, backing=False)
    if not isinstance(disk, Qcow2):
        disk.close()
        raise UsageError(f"{shown(args.file)}: {what} needs a qcow2 image, this is {getattr(disk, 'kind', 'another')}")
    return disk


# -- making


def _options(words: list[str]) -> tuple[Options, int | None]:
    """What -o says: options of qcow2, and a size."""
    made, length = Options(), None
    for word in words:
        for key, text in keyed(word, "-o").items():
            if key == "size":
                length = size(text)
            elif key in ("cluster_size", "refcount_bits"):
                setattr(made, key, size(text))
            elif key == "lazy_refcounts":
                made.lazy_refcounts = switch(text, "-o lazy_refcounts")
            elif key in ("compat", "compression_type", "preallocation", "backing_file", "backing_fmt"):
                setattr(made, key, text)
            else:
                known = ("size", *(name for name in vars(Options()) if not name.startswith("_")))
                raise unknown("option -o", key, known)
    return made, length


def _create(args: argparse.Namespace) -> int:
    options, length = _options(args.options)
    options.backing_file = args.backing or options.backing_file
    options.backing_fmt = args.backing_format or options.backing_fmt
    if args.size is not None:
        length = size(args.size)
    form = _format(args.format)
    if options.backing_file:
        if form != "qcow2":
            raise UsageError(f"img create: {form} images have no backing file")
        length = _look_at_backing(args, options, length)
    if length is None:
        raise UsageError("img create: expected a size")
    _make(args.file, form, length, options)
    if not args.quiet:
        _print(f"{shown(args.file)}: {form}, {size_text(length)}")
    return 0


def _look_at_backing(args: argparse.Namespace, options: Options, length: int | None) -> int | None:
    if not options.backing_fmt:
        raise UsageError("img create: a backing file needs its format (-F)")
    _format(options.backing_fmt)
    if args.unsafe:
        return length
    path = os.path.join(os.path.dirname(args.file), options.backing_file)
    try:
        disk = open_image(path, _format(options.backing_fmt), read_only=True, rules=Rules(backing=False, zstd=find))
    except OSError as error:
        raise refusal(path, error) from None
    disk.close()
    return disk.size if length is None else length


def _make(path: str, form: str | None, length: int, options: Options) -> None:
    """A new image; where something goes wrong no file is left that was not there before."""
    if form not in ("raw", "qcow2"):
        raise UsageError(f"img: images of format {form} can only be read")
    if length % 512:
        length += 512 - length % 512
    if form == "qcow2":
        options.header(length)
    there = os.path.lexists(path)
    file = None
    try:
        file = open_new(path)
        if form == "qcow2":
            create(file, length, options)
        else:
            file.truncate(length)
            if options.preallocation in ("falloc", "full") and length:
                file.reserve(0, length)
            elif options.preallocation not in ("off", "falloc", "full"):
                raise ValueError(f"preallocation: expected off, falloc or full, found '{options.preallocation}'")
    except BaseException:
        if file is not None and not there:
            os.unlink(path)
        raise
    finally:
        if file is not None:
            file.close()


# -- looking


def _details(args: argparse.Namespace, path: str, form: str | None) -> dict[str, Any]:
    disk = _open(args, path, form, backing=False)
    status = os.stat(path)
    out: dict[str, Any] = {
        "filename": path,
        "format": getattr(disk, "kind", "raw"),
        "virtual-size": disk.size,
        "actual-size": status.st_blocks * 512,
    }
    if isinstance(disk, Qcow2):
        h = disk.header
        out["cluster-size"] = h.cluster
        out["dirty-flag"] = bool(h.incompatible & DIRTY)
        if h.backing_file:
            out["backing-filename"] = h.backing_file
            out["full-backing-filename"] = os.path.join(os.path.dirname(path), h.backing_file)
            if h.backing_format:
                out["backing-filename-format"] = h.backing_format
        if disk.snapshots:
            out["snapshots"] = [
                {
                    "id": s.id,
                    "name": s.name,
                    "date-sec": s.date,
                    "date-nsec": s.nanoseconds,
                    "vm-clock-sec": s.vm_clock // 10**9,
                    "vm-clock-nsec": s.vm_clock % 10**9,
                    "vm-state-size": s.vm_state,
                }
                for s in disk.snapshots
            ]
        data: dict[str, Any] = {"compat": "1.1" if h.version >= 3 else "0.10"}
        data["compression-type"] = "zstd" if h.compression == ZSTD and h.incompatible & COMPRESSION else "zlib"
        data["refcount-bits"] = 1 << h.refcount_order
        if h.version >= 3:
            data["lazy-refcounts"] = bool(h.compatible & LAZY_REFCOUNTS)
            data["corrupt"] = bool(h.incompatible & CORRUPT)
            data["extended-l2"] = False
        out["format-specific"] = {"type": "qcow2", "data": data}
    disk.close()
    return out


def _info(args: argparse.Namespace) -> int:
    chain = [_details(args, args.file, args.format)]
    if args.backing_chain:
        _open(args, args.file, args.format).close()
        while "backing-filename" in chain[-1]:
            last = chain[-1]
            chain.append(_details(args, last["full-backing-filename"], last.get("backing-filename-format")))
    if args.json:
        return _json(chain if args.backing_chain else chain[0])
    _print("\n\n".join(_told(one) for one in chain))
    return 0


def _told(one: dict[str, Any]) -> str:
    lines = [
        f"image: {shown(one['filename'])}",
        f"file format: {one['format']}",
        f"virtual size: {size_text(one['virtual-size'])} ({one['virtual-size']} bytes)",
        f"disk size: {size_text(one['actual-size'])}",
    ]
    if "cluster-size" in one:
        lines.append(f"cluster_size: {one['cluster-size']}")
    if one.get("dirty-flag"):
        lines.append("cleanly shut down: no")
    if "backing-filename" in one:
        lines.append(f"backing file: {shown(one['backing-filename'], 1100)}")
    if "backing-filename-format" in one:
        lines.append(f"backing file format: {shown(one['backing-filename-format'])}")
    if "snapshots" in one:
        lines += ["Snapshot list:", *_table(one["snapshots"])]
    if "format-specific" in one:
        lines.append("Format specific information:")
        for key, value in one["format-specific"]["data"].items():
            lines.append(f"    {key.replace('-', ' ')}: {str(value).lower() if isinstance(value, bool) else value}")
    return "\n".join(lines)


def _table(snapshots: list[dict[str, Any]]) -> list[str]:
    from emu.clock import calendar_text

    lines = [f"{'ID':<8}  {'TAG':<16}  {'VM SIZE':>9}  {'DATE':<19}  {'VM CLOCK':>15}"]
    for s in snapshots:
        hours, rest = divmod(s["vm-clock-sec"], 3600)
        clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}.{s['vm-clock-nsec'] // 10**6:03d}"
        lines.append(
            f"{shown(s['id']):<8}  {shown(s['name']):<16}  {size_text(s['vm-state-size']):>9}  "
            f"{calendar_text(s['date-sec']):<19}  {clock:>15}"
        )
    return lines


def _snapshot(args: argparse.Namespace) -> int:
    disk = _qcow2(args, "snapshot")
    disk.close()
    found = _details(args, args.file, args.format).get("snapshots", [])
    if args.json:
        return _json(found)
    if found:
        _print("\n".join(["Snapshot list:", *_table(found)]))
    return 0


def _map(args: argparse.Namespace) -> int:
    disk = _open(args, args.file, args.format)
    names = _chain_names(disk)
    rows: list[dict[str, Any]] = []
    for e in disk.extents(0, disk.size):
        row = {
            "start": e.offset,
            "length": e.length,
            "depth": e.depth,
            "present": e.allocated,
            "zero": not e.data,
            "data": e.data,
            "compressed": e.compressed,
        }
        if e.host is not None:
            row["offset"] = e.host
        rows.append(row)
    disk.close()
    if args.json:
        return _json(rows)
    _print(f"{'Offset':<16}{'Length':<16}{'Mapped to':<16}File")
    for row in rows:
        if row["data"]:
            place = f"{row['offset']:#x}" if "offset" in row else "compressed" if row["compressed"] else "?"
            _print(f"{row['start']:<#16x}{row['length']:<#16x}{place:<16}{shown(names[row['depth']])}")
    return 0


def _chain_names(disk: BlockDisk) -> list[str]:
    names = []
    one: BlockDisk | None = disk
    while one is not None:
        names.append(str(getattr(one, "path", "?")))
        one = one.backing if isinstance(one, Qcow2) else None
    return names


def _check(args: argparse.Namespace) -> int:
    image = _qcow2(args, "check")
    try:
        found = check(image)
    finally:
        image.close()
    image_dirty = bool(image.header.incompatible & (DIRTY | CORRUPT))
    fixed: Report | None = None
    if args.repair and (found.corruptions or found.leaks or image_dirty):
        fixed = _repair(args, args.repair == "leaks")
        image = _qcow2(args, "check")
        try:
            before, found = found, check(image)
        finally:
            image.close()
        fixed.repaired = before.corruptions + before.leaks - found.corruptions - found.leaks
    if args.json:
        _json(
            {
                "filename": args.file,
                "format": "qcow2",
                "check-errors": 0,
                "corruptions": found.corruptions,
                "leaks": found.leaks,
                "repaired": fixed.repaired if fixed else 0,
                "total-clusters": found.total,
                "allocated-clusters": found.allocated,
                "fragmented-clusters": found.fragmented,
                "compressed-clusters": found.compressed,
                "image-end-offset": found.end,
            }
        )
    elif not args.quiet or found.corruptions or found.leaks:
        _say_check(found, fixed)
    return 2 if found.corruptions else 3 if found.leaks else 0


def _repair(args: argparse.Namespace, leaks_only: bool) -> Report:
    file = HostFile(args.file, lock=not args.force_share)
    try:
        image = Qcow2(file, zstd=find, repairing=True)
        try:
            return repair(image, leaks_only)
        finally:
            image.close()
    finally:
        file.close()


def _say_check(found: Report, fixed: Report | None) -> None:
    for line in found.lines:
        _print(line)
    if fixed is not None:
        _print(f"{fixed.repaired} errors or leaks were repaired.")
    if found.corruptions:
        _print(f"{found.corruptions} errors were found on the image. Data may be damaged.")
    if found.leaks:
        _print(f"{found.leaks} leaked clusters were found on the image. They waste room and harm nothing.")
    if not found.corruptions and not found.leaks:
        _print("No errors were found on the image.")
    share = 100 * found.allocated / found.total if found.total else 0.0
    _print(f"{found.allocated}/{found.total} = {share:.2f}% allocated, {found.compressed} compressed clusters")
    _print(f"Image end offset: {found.end}")


# -- copying


def pieces(disk: BlockDisk, length: int) -> Iterator[tuple[Extent, int, int]]:
    """(extent, offset, bytes) of a disk in steps of at most CHUNK that do not cross a multiple of it."""
    for extent in disk.extents(0, length):
        offset, end = extent.offset, extent.offset + extent.length
        while offset < end:
            count = min(end - offset, CHUNK - offset % CHUNK)
            yield extent, offset, count
            offset += count


def runs(data: bytes, step: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what is not zeros in whole steps."""
    zeros = bytes(step)
    start = -1
    for at in range(0, len(data), step):
        part = data[at : at + step]
        if part != zeros[: len(part)]:
            if start < 0:
                start = at
        elif start >= 0:
            yield start, at - start
            start = -1
    if start >= 0:
        yield start, len(data) - start


def _convert(args: argparse.Namespace) -> int:
    if len(args.files) < 2:
        raise UsageError("img convert: expected a source and a target")
    *sources, target = args.files
    if any(os.path.exists(target) and os.path.exists(one) and os.path.samefile(one, target) for one in sources):
        raise UsageError(f"{shown(target)}: source and target are the same file")
    form = _format(args.to)
    options, _ = _options(args.options)
    options.backing_file = args.backing or options.backing_file
    options.backing_fmt = args.backing_format or options.backing_fmt
    if args.compress and form != "qcow2":
        raise UsageError(f"img convert: {form} images cannot be compressed")
    if options.backing_file and (form != "qcow2" or not options.backing_fmt):
        raise UsageError("img convert: -B needs a qcow2 target and the backing file's format (-F)")
    more = {"snapshot": args.snapshot} if args.snapshot is not None else {}
    opened: list[BlockDisk] = []
    try:
        for path in sources:
            opened.append(_open(args, path, args.format, **more))
        total = sum(disk.size for disk in opened)
        if not args.existing:
            _make(target, form, total, options)
        _copy(args, opened, target, form, options, total)
    finally:
        for disk in opened:
            disk.close()
    return 0


def _copy(
    args: argparse.Namespace, sources: list[BlockDisk], target: str, form: str | None, options: Options, total: int
) -> None:
    below: BlockDisk | None = None
    rules = Rules(give_back=True, zstd=find, backing=False)
    out = open_image(target, form, rules=rules)
    try:
        if out.size < total:
            raise UsageError(f"{shown(target)}: has only {out.size} bytes, {total} are needed")
        if options.backing_file:
            path = os.path.join(os.path.dirname(target), options.backing_file)
            below = open_image(path, _format(options.backing_fmt), read_only=True, rules=_rules(args))
            if isinstance(out, Qcow2):
                out.backing = below
        step = out.header.cluster if isinstance(out, Qcow2) else size(args.sparse) or 0
        base = 0
        for disk in sources:
            for extent, offset, count in pieces(disk, disk.size):
                at = base + offset
                data = disk.read(offset, count) if extent.data else b""
                if below is not None:
                    _put_over(out, at, data or bytes(count), below, step)
                elif args.existing and not data:
                    out.write_zeroes(at, count, True)
                elif data:
                    _put(out, at, data, step, args.compress, args.existing)
                if args.progress:
                    sys.stderr.write(f"    ({100 * (at + count) / total:.2f}/100%)\r")
            base += disk.size
        out.flush()
    finally:
        out.close()
    if args.progress:
        sys.stderr.write("\n")


def _put(out: BlockDisk, offset: int, data: bytes, step: int, compress: bool, existing: bool) -> None:
    """Write data without its zeros, which a new image has already."""
    if existing or not step:
        out.write(offset, data)
        return
    # Runs must not share a cluster with what came before: zeros are left out in whole aligned steps only.
    lead = -offset % step
    parts = [(0, min(lead, len(data)))] if lead else []
    parts += [(lead + start, length) for start, length in runs(data[lead:], step)]
    for start, length in parts:
        if compress and isinstance(out, Qcow2):
            _compressed(out, offset + start, data[start : start + length])
        elif length:
            out.write(offset + start, data[start : start + length])


def _compressed(out: Qcow2, offset: int, data: bytes) -> None:
    cluster = out.header.cluster
    at = 0
    while at < len(data):
        start = (offset + at) % cluster
        part = data[at : at + cluster - start]
        whole = part.ljust(cluster, b"\0") if offset + at + len(part) == out.size else part
        if start == 0 and len(whole) == cluster:
            out.write_compressed(offset + at, whole)
        else:
            out.write(offset + at, part)
        at += len(part)


def _put_over(out: BlockDisk, offset: int, data: bytes, below: BlockDisk, step: int) -> None:
    """Write only what is not in the backing file already."""
    held = max(0, min(len(data), below.size - offset))
    old = below.read(offset, held) + bytes(len(data) - held) if held else bytes(len(data))
    for at in range(0, len(data), step):
        part = data[at : at + step]
        if part != old[at : at + step]:
            out.write(offset + at, part)


def _commit(args: argparse.Namespace) -> int:
    top = _qcow2(args, "commit", read_only=False)
    try:
        if not top.header.backing_file:
            raise UsageError(f"{shown(args.file)}: has no backing file")
        path = os.path.join(os.path.dirname(args.file), top.header.backing_file)
        rules = _rules(args)
        if not rules.permits(path):
            wanted = shown(path)
            raise UsageError(
                f"{shown(args.file)}: its backing file {wanted} is not named on the command line; "
                f"--allow-backing {wanted} allows it"
            )
        below = open_image(path, top.header.backing_format or None, rules=rules)
        try:
            if below.size < top.size:
                if not isinstance(below, Qcow2 | RawDisk):
                    raise UsageError(f"{shown(path)}: is smaller than {shown(args.file)} and cannot grow")
                below.resize(top.size)
            for extent, offset, count in pieces(top, top.size):
                if extent.allocated and extent.data:
                    below.write(offset, top.read(offset, count))
                elif extent.allocated:
                    below.write_zeroes(offset, count, True)
            below.flush()
        finally:
            below.close()
        if not args.keep:
            top.make_empty()
    finally:
        top.close()
    if not args.quiet:
        _print("Image committed.")
    return 0


def _compare(args: argparse.Namespace) -> int:
    try:
        first = _open(args, args.file, args.format)
        second = _open(args, args.second, args.second_format)
    except UsageError as error:
        sys.stderr.write(f"emu: {error}\n")
        return 2
    try:
        return _compared(args, first, second)
    except OSError as error:
        sys.stderr.write(f"emu: {refusal(args.file, error)}\n")
        return 2
    finally:
        first.close()
        second.close()


def _compared(args: argparse.Namespace, first: BlockDisk, second: BlockDisk) -> int:
    def say(text: str) -> None:
        if not args.quiet:
            _print(text)

    if first.size != second.size:
        if args.strict:
            say("Strict mode: Image size mismatch!")
            return 1
        say("Warning: Image size mismatch!")
    common = min(first.size, second.size)
    zeros = bytes(CHUNK)
    for base in range(0, max(first.size, second.size), CHUNK):
        parts = []
        for disk in (first, second):
            count = max(0, min(CHUNK, disk.size - base))
            extents = list(disk.extents(base, count)) if count else []
            parts.append((disk.read(base, count) if any(e.data for e in extents) else zeros[:count], extents))
        (one, its), (two, others) = parts
        if args.strict and any(
            (a is None) != (b is None) or (a and b and a.data != b.data) for a, b in zip_longest(its, others)
        ):
            say(f"Strict mode: Offset {base} allocation mismatch!")
            return 1
        length = max(len(one), len(two))
        one, two = one.ljust(length, b"\0"), two.ljust(length, b"\0")
        if one != two:
            at = next(i for i in range(0, length, 512) if one[i : i + 512] != two[i : i + 512])
            beyond = " (behind the end of the smaller image)" if base + at >= common else ""
            say(f"Content mismatch at offset {base + at}!{beyond}")
            return 1
    say("Images are identical.")
    return 0


def _resize(args: argparse.Namespace) -> int:
    sign = args.size[:1] if args.size[:1] in "+-" else ""
    amount = size(args.size[1:] if sign else args.size)
    disk = _open(args, args.file, args.format, read_only=False, backing=False)
    try:
        if not isinstance(disk, Qcow2 | RawDisk):
            raise UsageError(f"{shown(args.file)}: images of this format keep their size")
        length = disk.size + amount if sign == "+" else disk.size - amount if sign == "-" else amount
        length = -(-length // 512) * 512
        if length <= 0:
            raise UsageError(f"{shown(args.file)}: the disk would have {length} bytes")
        if length < disk.size and not args.shrink:
            raise UsageError(f"{shown(args.file)}: would lose its end; --shrink allows it")
        disk.resize(length)
    finally:
        disk.close()
    if not args.quiet:
        _print("Image resized.")
    return 0
