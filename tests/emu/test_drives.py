"""-drive, -blockdev and --allow-backing: from words to an open disk, and what is refused in one line."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from devices.block.filters import Policy
from devices.block.overlay import OverlayDisk
from devices.block.qcow2.create import Options, create, open_new
from devices.block.qcow2.image import Qcow2
from emu.media import Medium, open_drive
from emu.options import Config, ShowAndExit, UsageError, parse


def opened(*words: str) -> Medium:
    config = parse(words)
    return open_drive(config.drives[-1], config)


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        opened(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def image(path: Path, size: int = 1 << 20, **options: str) -> str:
    file = open_new(str(path))
    create(file, size, Options(**options))  # type: ignore[arg-type]
    file.close()
    return str(path)


def close(medium: Medium) -> None:
    assert medium.disk is not None
    medium.disk.close()  # type: ignore[attr-defined]


def test_the_format_is_seen_and_said(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2")
    medium = opened(path)
    assert medium.line.startswith("a.qcow2: qcow2, 1 MiB, no boot sector")
    assert isinstance(medium.disk, Qcow2)
    close(medium)


def test_snapshot_leaves_a_qcow2_image_as_it_was(tmp_path: Path) -> None:
    """users.md R5."""
    path = image(tmp_path / "a.qcow2")
    before = hashlib.sha256(Path(path).read_bytes()).digest()
    for words in (("-snapshot", path), ("-drive", f"file={path},snapshot=on")):
        medium = opened(*words)
        assert isinstance(medium.disk, OverlayDisk)
        medium.disk.write(0, b"x" * 70_000)
        medium.disk.flush()
        assert medium.disk.read(0, 1) == b"x"
        close(medium)
    assert hashlib.sha256(Path(path).read_bytes()).digest() == before


def test_a_backing_file_must_be_named(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"deep" * 16384)
    top = image(tmp_path / "top.qcow2", 65536, backing_file="base.raw", backing_fmt="raw")
    text = refused(top)
    assert text.endswith(f"base.raw is not named on the command line; --allow-backing {base} allows it")
    for words in (
        ("--allow-backing", str(base), top),
        ("--allow-backing", "all", top),
        ("-drive", f"file={top},backing.file.filename={base},backing.driver=raw"),
    ):
        medium = opened(*words)
        assert medium.disk is not None and medium.disk.read(0, 8) == b"deepdeep"
        close(medium)


def test_the_long_form_of_qemu_names_nodes(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"deep" * 16384)
    top = image(tmp_path / "top.qcow2", 65536, backing_file="elsewhere", backing_fmt="raw")
    words = ["-blockdev", f"driver=file,filename={top},node-name=f,locking=off"]
    node = {"driver": "raw", "node-name": "b", "file": {"driver": "file", "filename": str(base)}}
    words += ["-blockdev", json.dumps(node)]
    words += ["-blockdev", "driver=qcow2,file=f,node-name=d,backing=b,discard=unmap,cache.no-flush=on"]
    config = parse(words)
    drive = config.drives[-1]
    assert (drive.id, drive.interface, drive.discard, drive.locking) == ("d", "none", True, False)
    medium = open_drive(drive, config)
    assert medium.disk is not None and medium.disk.read(0, 4) == b"deep"
    assert any("flushes are ignored" in one for one in config.warnings)
    close(medium)
    assert "unknown -blockdev node x" in refused("-blockdev", "driver=qcow2,file=x,node-name=d")
    assert refused("-blockdev", "driver=qcow2,file=x") == "-blockdev: expected node-name=NAME"
    assert "expected KEY=VALUE" in refused("-blockdev", "{" * 100_000)
    assert "format vdi" in refused("-blockdev", "driver=vdi,node-name=a") or "vdi: not supported" in refused(
        "-blockdev", "driver=vdi,node-name=a"
    )


def test_cache_modes_limits_and_zero_detection_reach_the_disk(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2")
    medium = opened("-drive", f"file={path},cache=writethrough,detect-zeroes=unmap,discard=on,iops=100,bps_rd=5000000")
    disk = medium.disk
    assert isinstance(disk, Policy) and disk.slow_writes and disk.throttle is not None
    assert sorted(disk.throttle._buckets) == ["bps_rd", "iops"]
    disk.write(0, b"x" * 512)
    close(medium)
    medium = opened("-drive", f"file={path},cache=none")
    assert isinstance(medium.disk, Qcow2) and medium.disk.read(0, 512) == b"x" * 512
    close(medium)
    medium = opened("-drive", f"file={path},throttling.iops-total=50,throttling.iops-total-max=80")
    assert isinstance(medium.disk, Policy) and medium.disk.throttle is not None
    assert medium.disk.throttle._buckets["iops"].limits.burst == 80
    close(medium)


@pytest.mark.parametrize(
    "text,why",
    [
        ("cache=fast", "unknown cache mode fast"),
        ("discard=maybe", "unknown discard maybe"),
        ("detect-zeroes=2", "unknown detect-zeroes 2"),
        ("werror=panic", "unknown werror panic"),
        ("rerror=enospc", "unknown rerror enospc"),
        ("iops=x", "-drive iops: expected a number, found 'x'"),
        ("iops_max=5", "-drive iops_max: expected iops too"),
        ("iops=9,iops_max=5", "-drive iops_max: 5 is less than iops, 9"),
        ("bps=9,bps_wr=5", "-drive: bps and bps_rd or bps_wr exclude one another"),
        ("iosp=9", "unknown -drive property iosp"),
        ("format=qcow3", "unknown drive format qcow3; did you mean qcow2?"),
        ("file.locking=perhaps", "-drive file.locking: expected on or off"),
    ],
)
def test_what_a_drive_cannot_be_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    assert refused("-drive", f"file={image(tmp_path / 'a')},{text}").startswith(why)


def test_one_image_cannot_be_two_writable_drives(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2")
    # Free numbers below the image's: the descriptor that reads the list of descriptors gets one of them.
    low = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    first = opened(path)
    for number in low:
        os.close(number)
    assert refused(path).endswith("in use by another drive of this machine, which writes to it")
    close(first)
    one, two = opened("-snapshot", path), opened("-drive", f"file={path},readonly=on")
    close(one)
    close(two)


def test_damage_names_the_field_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    image(path)
    data = bytearray(path.read_bytes())
    data[40:48] = (123).to_bytes(8, "big")
    path.write_bytes(data)
    assert refused(str(path)) == (
        f"{path}: qcow2 header: l1_table_offset (byte 0x28): 0x7b is not a multiple of the cluster size 65536"
    )
    assert path.read_bytes() == data


def test_help_lists_the_properties() -> None:
    with pytest.raises(ShowAndExit, match="detect-zeroes=off"):
        parse(["-drive", "help"])


def test_a_write_protected_image_is_read_only_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from devices.block import opening

    path = image(tmp_path / "a.qcow2")
    real = opening.HostFile

    def protected(path: str, read_only: bool = False, **more: bool) -> object:
        if not read_only:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, read_only, **more)

    monkeypatch.setattr(opening, "HostFile", protected)
    config = Config()
    config = parse([path])
    medium = open_drive(config.drives[0], config)
    assert medium.disk is not None and medium.disk.read_only
    assert config.warnings == ["a.qcow2: not writable; the guest gets a read-only disk"]
    close(medium)
