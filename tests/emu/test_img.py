"""`emu img` beside qemu-img: the same files, the same answers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from emu.options import UsageError
from emu.tools.img import main, size
from tests.devices.block.support import needs_qemu, qemu, qemu_io


def img(capsys: pytest.CaptureFixture[str], *words: str | Path, status: int = 0) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    return capsys.readouterr().out


def refused(*words: str | Path) -> str:
    with pytest.raises(UsageError) as caught:
        main([str(word) for word in words])
    return str(caught.value)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """3 MiB and a bit, with zeros in the middle."""
    path, rng = tmp_path / "raw", random.Random(1)
    data = rng.randbytes(300_000) + bytes(1 << 20) + b"text " * 60_000
    path.write_bytes(data.ljust(3 << 20, b"\0") + rng.randbytes(1536))
    return path


def test_sizes_are_read_as_people_write_them() -> None:
    assert [size(text) for text in ("512", "64k", "1.5G", "10M", "2T")] == [512, 65536, 3 << 29, 10 << 20, 2 << 40]
    for text in ("", "x", "-1", "9" * 30, "8E"):
        with pytest.raises(UsageError):
            size(text)


@needs_qemu
@pytest.mark.parametrize("options", [(), ("-c",), ("-o", "cluster_size=512,refcount_bits=1"), ("-o", "compat=0.10")])
def test_convert_and_back_gives_the_same_bytes(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    there, back = tmp_path / "a.qcow2", tmp_path / "back"
    img(capsys, "convert", "-O", "qcow2", *options, raw, there)
    qemu("check", there)
    qemu("compare", there, raw)
    img(capsys, "convert", there, back)
    assert back.read_bytes() == raw.read_bytes()
    assert back.stat().st_blocks * 512 < raw.stat().st_size - (1 << 20)
    assert "identical" in img(capsys, "compare", raw, there)
    qemu("convert", "-O", "qcow2", *options, raw, tmp_path / "theirs")
    assert "identical" in img(capsys, "compare", tmp_path / "theirs", there)
    assert "No errors" in img(capsys, "check", tmp_path / "theirs")


@needs_qemu
def test_info_in_json_has_what_qemu_img_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base").write_bytes(bytes(1 << 20))
    path = tmp_path / "a.qcow2"
    options = "cluster_size=4k,lazy_refcounts=on,refcount_bits=8"
    img(capsys, "create", "-f", "qcow2", "-o", options, "-b", "base", "-F", "raw", path)
    ours, theirs = json.loads(img(capsys, "info", "--json", path)), json.loads(qemu("info", "--output=json", path))
    for key in ("virtual-size", "cluster-size", "format", "backing-filename", "backing-filename-format", "dirty-flag"):
        assert ours[key] == theirs[key], key
    assert ours["format-specific"]["data"] == theirs["format-specific"]["data"]
    text = img(capsys, "info", "--allow-backing", "all", "--backing-chain", path)
    assert text.count("image: ") == 2 and "backing file: base" in text


@needs_qemu
def test_map_tells_what_qemu_img_tells(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qcow2"
    qemu("create", "-f", "qcow2", "-b", raw, "-F", "raw", path)
    qemu_io(path, "write -P 7 100k 300k", "write -z 2M 128k")
    ours = json.loads(img(capsys, "map", "--json", "--allow-backing", raw, path))
    theirs = json.loads(qemu("map", "--output=json", path))

    def mapped(rows: list[dict[str, int]]) -> list[tuple[int, ...]]:
        out = []
        for row in rows:
            for at in range(row["start"], row["start"] + row["length"], 512):
                out.append((at, row["depth"], row["zero"], row["data"], row.get("offset", -1) + at - row["start"]))
        return [one if one[3] else (*one[:1], *one[2:4]) for one in out]

    assert [one for one in mapped(ours) if one[-2]] == [one for one in mapped(theirs) if one[-2]]
    assert "Mapped to" in img(capsys, "map", "--allow-backing", raw, path)


@needs_qemu
def test_commit_writes_into_the_backing_file_and_empties_the_image(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qcow2"
    img(capsys, "create", "-f", "qcow2", "-b", raw, "-F", "raw", path, "4M")
    qemu_io(path, "write -P 7 100k 300k", "write -z 0 64k", "write -P 9 3900k 100k")
    qemu("convert", "-O", "raw", path, tmp_path / "want")
    assert "--allow-backing" in refused("commit", path)
    img(capsys, "commit", "--allow-backing", raw, path)
    assert raw.read_bytes() == (tmp_path / "want").read_bytes()
    qemu("check", path)
    qemu("compare", path, tmp_path / "want")
    assert json.loads(img(capsys, "check", "--json", path))["allocated-clusters"] == 0


@needs_qemu
def test_convert_onto_a_backing_file_stores_only_what_differs(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    data = bytearray(raw.read_bytes())
    data[100_000:100_010] = b"0123456789"
    other.write_bytes(data)
    img(capsys, "convert", "-O", "qcow2", "-B", raw, "-F", "raw", other, tmp_path / "a.qcow2")
    qemu("compare", tmp_path / "a.qcow2", other)
    assert json.loads(img(capsys, "check", "--json", tmp_path / "a.qcow2"))["allocated-clusters"] == 1


@needs_qemu
def test_snapshots_are_listed_and_taken_out(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qcow2"
    qemu("convert", "-O", "qcow2", raw, path)
    qemu("snapshot", "-c", "before", path)
    qemu_io(path, "write -P 1 0 1M")
    assert "before" in img(capsys, "snapshot", "-l", path) and "before" in img(capsys, "info", path)
    img(capsys, "convert", "-l", "before", path, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()
    assert "no snapshot 'after'" in refused("convert", "-l", "after", path, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@needs_qemu
def test_check_finds_and_repairs_what_qemu_img_finds(
    tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qcow2"
    img(capsys, "convert", "-O", "qcow2", raw, path)
    data = bytearray(path.read_bytes())
    table = int.from_bytes(data[48:56], "big")
    block = int.from_bytes(data[table : table + 8], "big")
    free = next(n for n in range(len(data) // 65536) if not any(data[block + 2 * n : block + 2 * n + 2]))
    data[block + 2 * free : block + 2 * free + 2] = b"\0\5"
    path.write_bytes(data)
    assert f"Leaked cluster {free} refcount=5 reference=0" in img(capsys, "check", path, status=3)
    qemu("check", path, status=3)
    data[block + 18 : block + 20] = b"\0\0"
    path.write_bytes(data)
    assert "ERROR cluster 9 refcount=0 reference=1" in img(capsys, "check", path, status=2)
    assert "repaired" in img(capsys, "check", "-r", "all", path)
    qemu("check", path)
    qemu("compare", path, raw)


def test_resize_asks_before_it_cuts(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qcow2"
    img(capsys, "convert", "-O", "qcow2", raw, path)
    img(capsys, "resize", path, "+1M")
    assert "--shrink allows it" in refused("resize", path, "1M")
    img(capsys, "resize", "--shrink", path, "1M")
    img(capsys, "resize", path, "2M")
    img(capsys, "convert", path, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()[: 1 << 20].ljust(2 << 20, b"\0")


def test_compare_says_where(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    data = bytearray(raw.read_bytes())
    data[2_000_000] ^= 1
    other.write_bytes(data)
    assert "Content mismatch at offset 1999872!" in img(capsys, "compare", raw, other, status=1)
    other.write_bytes(raw.read_bytes() + bytes(4096))
    assert "size mismatch" in img(capsys, "compare", raw, other)
    img(capsys, "compare", "-s", "-q", raw, other, status=1)
    assert main(["compare", str(raw), str(tmp_path / "none")]) == 2


def test_what_cannot_be_done_is_one_line_and_leaves_no_file(tmp_path: Path, raw: Path) -> None:
    new = tmp_path / "new"
    assert "cluster_size: expected a power of two" in refused(
        "create", "-f", "qcow2", "-o", "cluster_size=3k", new, "1M"
    )
    assert "did you mean cluster_size?" in refused("create", "-f", "qcow2", "-o", "clustersize=4k", new, "1M")
    assert "images of format vmdk can only be read" in refused("create", "-f", "vmdk", new, "1M")
    assert "expected a size" in refused("create", new)
    assert "need larger clusters" in refused("create", "-f", "qcow2", "-o", "cluster_size=512", new, "1T")
    assert "no such file" in refused("convert", tmp_path / "none", new)
    assert "no such file" in refused("create", "-f", "qcow2", "-b", "none", "-F", "raw", new)
    assert "same file" in refused("convert", raw, raw)
    assert "did you mean raw?" in refused("convert", "-O", "ra", raw, new)
    assert "check needs a qcow2 image" in refused("check", raw)
    assert refused("creat", "x").startswith("img: ")
    assert not new.exists()
