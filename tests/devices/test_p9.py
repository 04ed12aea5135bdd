"""The 9P2000.L server: what a guest can do in a shared directory, and that it cannot do anything outside."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices import p9
from devices.p9 import NO_FID, NO_ID, Reader, Share, text

ROOM = 1 << 16
CALLS = (8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 102, 104, 108, 110, 116, 118)
CALLS += (120, 122)


class Client:
    """Speaks to a server as Linux does."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.call(100, struct.pack("<I", ROOM) + text(b"9P2000.L"))
        self.attach(0)

    def raw(self, kind: int, body: bytes, room: int = ROOM) -> bytes:
        reply = self.share.answer(struct.pack("<IBH", 7 + len(body), kind, 5) + body, room)
        assert int.from_bytes(reply[:4], "little") == len(reply) <= room and reply[5:7] == b"\5\0"
        return reply

    def call(self, kind: int, body: bytes, room: int = ROOM) -> Reader:
        """The reply's fields. Raises OSError for an Rlerror."""
        reply = self.raw(kind, body, room)
        if reply[4] == 7:
            number = int.from_bytes(reply[7:], "little")
            raise OSError(number, os.strerror(number))
        assert reply[4] == kind + 1
        return Reader(reply, 7)

    def attach(self, fid: int) -> Reader:
        return self.call(104, struct.pack("<II", fid, NO_FID) + text(b"nobody") + text(b"") + struct.pack("<I", 0))

    def walk(self, fid: int, new: int, *names: bytes) -> int:
        body = struct.pack("<IIH", fid, new, len(names)) + b"".join(map(text, names))
        return self.call(110, body).int(2)

    def open(self, fid: int, flags: int) -> None:
        self.call(12, struct.pack("<II", fid, flags))

    def create(self, fid: int, name: bytes, flags: int = 2, mode: int = 0o644) -> None:
        self.call(14, struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, NO_ID))

    def read(self, fid: int, offset: int = 0, count: int = 4096) -> bytes:
        reply = self.call(116, struct.pack("<IQI", fid, offset, count))
        return reply.take(reply.int(4))

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        return self.call(118, struct.pack("<IQI", fid, offset, len(data)) + data).int(4)

    def clunk(self, fid: int) -> None:
        self.call(120, struct.pack("<I", fid))

    def mkdir(self, fid: int, name: bytes, mode: int = 0o755) -> None:
        self.call(72, struct.pack("<I", fid) + text(name) + struct.pack("<II", mode, NO_ID))

    def symlink(self, fid: int, name: bytes, target: bytes) -> None:
        self.call(16, struct.pack("<I", fid) + text(name) + text(target) + struct.pack("<I", NO_ID))

    def getattr(self, fid: int) -> dict[str, int]:
        r = self.call(24, struct.pack("<IQ", fid, 0x7FF))
        assert r.int(8) == 0x7FF
        r.take(13)
        names = (("mode", 4), ("uid", 4), ("gid", 4), ("nlink", 8), ("rdev", 8), ("size", 8), ("blksize", 8))
        return {name: r.int(width) for name, width in names}

    def setattr(self, fid: int, valid: int, **to: int) -> None:
        names = ("mode", "uid", "gid", "size", "atime", "atime_ns", "mtime", "mtime_ns")
        self.call(26, struct.pack("<5I5Q", fid, valid, *(to.get(name, 0) for name in names)))

    def readdir(self, fid: int, count: int = 8192) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        offset = 0
        while True:
            reply = self.call(40, struct.pack("<IQI", fid, offset, count))
            part = Reader(reply.take(reply.int(4)))
            if not part.data:
                return found
            while part.at < len(part.data):
                part.take(13)
                offset, kind = part.int(8), part.int(1)
                found[part.text()] = kind


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "hello.txt").write_bytes(b"hello from the host\n")
    (root / "sub").mkdir()
    (root / "sub" / "deep").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(b"not shared")
    return root


@pytest.fixture
def client(shared: Path) -> Iterator[Client]:
    share = Share(str(shared))
    yield Client(share)
    share.close()


def refused(number: int) -> Any:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


def descriptors(below: Path) -> list[str]:
    """The files below a directory that this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in found if path.startswith(str(below))]


def test_a_file_of_the_host_is_read(client: Client) -> None:
    assert client.walk(0, 1, b"hello.txt") == 1
    client.open(1, 0)
    assert client.read(1) == b"hello from the host\n"
    assert client.read(1, 6, 4) == b"from"
    assert client.read(1, 1000) == b""


def test_what_the_guest_writes_is_in_the_file(client: Client, shared: Path) -> None:
    client.walk(0, 1)
    client.create(1, b"new", 0o1 | 0o200, 0o640)
    assert client.write(1, b"abcdef") == 6
    assert client.write(1, b"XY", 2) == 2
    client.call(50, struct.pack("<II", 1, 1))
    assert (shared / "new").read_bytes() == b"abXYef"
    assert stat.S_IMODE((shared / "new").stat().st_mode) == 0o640


def test_exclusive_creation_of_what_is_there_is_refused(client: Client, shared: Path) -> None:
    client.walk(0, 1)
    with refused(errno.EEXIST):
        client.create(1, b"hello.txt", 0o1 | 0o200)
    client.create(1, b"hello.txt", 0o1)
    assert (shared / "hello.txt").stat().st_size == 20


def test_a_directory_lists_its_entries_in_small_pieces_too(client: Client, shared: Path) -> None:
    for n in range(40):
        (shared / f"file{n:02}").touch()
    (shared / "link").symlink_to("hello.txt")
    client.walk(0, 1)
    client.open(1, 0o200000)
    expected = {b".": 4, b"..": 4, b"hello.txt": 8, b"sub": 4, b"link": 10, **{b"file%02d" % n: 8 for n in range(40)}}
    assert client.readdir(1) == client.readdir(1, 70) == expected
    with refused(errno.EINVAL):
        client.readdir(1, 10)


def test_a_walk_that_ends_early_makes_no_fid(client: Client) -> None:
    assert client.walk(0, 1, b"sub", b"missing", b"x") == 1
    with refused(errno.EBADF):
        client.open(1, 0)
    with refused(errno.ENOENT):
        client.walk(0, 1, b"missing")
    with refused(errno.ENOTDIR):
        client.walk(0, 2, b"hello.txt")
        client.walk(2, 3, b"x")


@pytest.mark.parametrize("names", [(b"..",), (b"..", b"secret"), (b"sub", b"..", b"..", b"..", b"secret")])
def test_nobody_walks_out_of_the_root(client: Client, shared: Path, names: tuple[bytes, ...]) -> None:
    if names[-1] == b"..":
        assert client.walk(0, 1, *names) == 1
        client.open(1, 0o200000)
        assert b"hello.txt" in client.readdir(1)
    else:
        assert client.walk(0, 1, *names) < len(names) if len(names) > 1 else True
        with refused(errno.EBADF):
            client.open(1, 0)


@pytest.mark.parametrize("name", [b"", b"/etc/passwd", b"a/b", b"../secret", b"nul\0", b"x" * 256])
def test_names_that_are_no_component_are_refused(client: Client, name: bytes) -> None:
    number = errno.ENAMETOOLONG if len(name) == 256 else errno.EINVAL
    with refused(number):
        client.walk(0, 1, name)
    with refused(number):
        client.mkdir(0, name)
    with refused(number):
        client.symlink(0, name, b"t")
    client.walk(0, 1)
    with refused(number):
        client.create(1, name)


@pytest.mark.parametrize("name", [b".", b".."])
def test_dot_and_dot_dot_are_not_made_renamed_or_removed(client: Client, shared: Path, name: bytes) -> None:
    for act in (
        lambda: client.mkdir(0, name),
        lambda: client.call(74, struct.pack("<I", 0) + text(b"sub") + struct.pack("<I", 0) + text(name)),
        lambda: client.call(74, struct.pack("<I", 0) + text(name) + struct.pack("<I", 0) + text(b"x")),
        lambda: client.call(76, struct.pack("<I", 0) + text(name) + struct.pack("<I", 0x200)),
    ):
        with refused(errno.EEXIST):
            act()
    assert sorted(os.listdir(shared)) == ["hello.txt", "sub"]


def test_a_link_that_leads_out_is_only_a_text_for_the_guest(client: Client, shared: Path) -> None:
    (shared / "out").symlink_to("../secret")
    (shared / "updir").symlink_to("..")
    client.walk(0, 1, b"out")
    assert client.call(22, struct.pack("<I", 1)).text() == b"../secret"
    with refused(errno.ELOOP):
        client.open(1, 0)
    with refused(errno.EINVAL):
        client.setattr(1, 8, size=0)
    assert client.walk(0, 2, b"updir", b"secret") == 1
    client.walk(0, 3)
    with refused(errno.EEXIST):
        client.create(3, b"out", 0o1)
    client.walk(0, 4, b"updir")
    with refused(errno.ENOTDIR):
        client.mkdir(4, b"escaped")
    assert (shared.parent / "secret").read_bytes() == b"not shared"


def test_a_directory_that_becomes_a_link_behind_a_fid_leads_nowhere(client: Client, shared: Path) -> None:
    client.walk(0, 1, b"sub", b"deep")
    client.walk(0, 2, b"sub")
    (shared / "sub" / "deep").rename(shared.parent / "deep")
    (shared / "sub").rmdir()
    (shared / "sub").symlink_to("..")
    (shared.parent / "deep").write_bytes(b"outside")
    with refused(errno.ENOTDIR):
        client.open(1, 0)
    with refused(errno.ENOTDIR):
        client.mkdir(2, b"x")


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_opened(client: Client, shared: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(shared / "odd")
    else:
        try:
            os.mknod(shared / "odd", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("making a device node needs root")
    client.walk(0, 1, b"odd")
    with refused(errno.ENXIO):
        client.open(1, 0)
    client.walk(0, 2)
    with refused(errno.EEXIST):
        client.create(2, b"odd", 0o1)


def test_the_guest_makes_no_device_of_the_host_and_no_set_id_file(client: Client, shared: Path) -> None:
    body = struct.pack("<I", 0) + text(b"null") + struct.pack("<IIII", stat.S_IFCHR | 0o666, 1, 3, NO_ID)
    with refused(errno.EPERM):
        client.call(18, body)
    client.walk(0, 1)
    client.create(1, b"tool", 2, 0o6755)
    assert stat.S_IMODE((shared / "tool").stat().st_mode) == 0o755
    client.setattr(1, 1, mode=0o4711)
    assert stat.S_IMODE((shared / "tool").stat().st_mode) == 0o711
    client.call(18, struct.pack("<I", 0) + text(b"pipe") + struct.pack("<IIII", stat.S_IFIFO | 0o600, 0, 0, NO_ID))
    assert stat.S_ISFIFO((shared / "pipe").stat().st_mode)


def test_names_are_made_moved_linked_and_removed(client: Client, shared: Path) -> None:
    client.mkdir(0, b"dir", 0o750)
    assert stat.S_IMODE((shared / "dir").stat().st_mode) == 0o750
    client.symlink(0, b"sym", b"hello.txt")
    assert os.readlink(shared / "sym") == "hello.txt"
    client.walk(0, 1, b"hello.txt")
    client.walk(0, 2, b"dir")
    client.call(70, struct.pack("<II", 2, 1) + text(b"hard"))
    assert (shared / "dir" / "hard").stat().st_nlink == 2
    client.walk(0, 3, b"dir", b"hard")
    client.call(74, struct.pack("<I", 0) + text(b"dir") + struct.pack("<I", 0) + text(b"moved"))
    client.open(3, 0)
    assert client.read(3).startswith(b"hello")
    client.call(20, struct.pack("<II", 3, 0) + text(b"up"))
    assert (shared / "up").exists() and not (shared / "moved" / "hard").exists()
    client.call(76, struct.pack("<I", 0) + text(b"moved") + struct.pack("<I", 0x200))
    client.call(76, struct.pack("<I", 0) + text(b"sym") + struct.pack("<I", 0))
    client.call(122, struct.pack("<I", 1))
    assert sorted(os.listdir(shared)) == ["sub", "up"]
    with refused(errno.EBADF):
        client.clunk(1)


def test_an_open_file_without_a_name_goes_on(client: Client, shared: Path) -> None:
    client.walk(0, 1)
    client.create(1, b"gone")
    client.call(76, struct.pack("<I", 0) + text(b"gone") + struct.pack("<I", 0))
    client.write(1, b"still here")
    assert client.getattr(1)["size"] == 10 and client.getattr(1)["nlink"] == 0
    client.setattr(1, 8, size=5)
    assert client.read(1) == b"still"


def test_attributes_are_those_of_the_host(client: Client, shared: Path) -> None:
    client.walk(0, 1, b"hello.txt")
    now = (shared / "hello.txt").stat()
    found = client.getattr(1)
    assert (found["mode"], found["uid"], found["size"], found["nlink"]) == (now.st_mode, now.st_uid, 20, 1)
    client.setattr(1, 0x1B0, atime=1000, atime_ns=5, mtime=2000, mtime_ns=7)
    now = (shared / "hello.txt").stat()
    assert (now.st_atime_ns, now.st_mtime_ns) == (1000_000_000_005, 2000_000_000_007)
    client.setattr(1, 0x20)
    now = (shared / "hello.txt").stat()
    assert now.st_atime_ns == 1000_000_000_005 and now.st_mtime_ns > 1_500_000_000_000_000_000
    client.setattr(1, 8 | 1, size=3, mode=0o600)
    assert (shared / "hello.txt").read_bytes() == b"hel"


def test_a_read_only_share_changes_nothing(shared: Path) -> None:
    client = Client(Share(str(shared), read_only=True))
    client.walk(0, 1, b"hello.txt")
    for act in (
        lambda: client.open(1, 1),
        lambda: client.open(1, 0o1000),
        lambda: client.create(0, b"x"),
        lambda: client.mkdir(0, b"x"),
        lambda: client.symlink(0, b"x", b"y"),
        lambda: client.setattr(1, 1, mode=0o777),
        lambda: client.call(18, struct.pack("<I", 0) + text(b"p") + struct.pack("<IIII", stat.S_IFIFO, 0, 0, 0)),
        lambda: client.call(20, struct.pack("<II", 1, 0) + text(b"up")),
        lambda: client.call(70, struct.pack("<II", 0, 1) + text(b"hard")),
        lambda: client.call(74, struct.pack("<I", 0) + text(b"sub") + struct.pack("<I", 0) + text(b"x")),
        lambda: client.call(76, struct.pack("<I", 0) + text(b"hello.txt") + struct.pack("<I", 0)),
        lambda: client.call(122, struct.pack("<I", 1)),
    ):
        with refused(errno.EROFS):
            act()
    client.walk(0, 1, b"hello.txt")
    client.open(1, 0)
    assert client.read(1, 0, 5) == b"hello"
    assert sorted(os.listdir(shared)) == ["hello.txt", "sub"]


def test_mapped_owners_and_modes_are_kept_beside_the_file(shared: Path) -> None:
    try:
        os.setxattr(shared, "user.emu-test", b"1")
    except OSError:
        pytest.skip("this file system has no user attributes")
    client = Client(Share(str(shared), security="mapped"))
    client.walk(0, 1)
    client.create(1, b"tool", 2, 0o4755)
    client.setattr(1, 6, uid=1234, gid=77)
    found = client.getattr(1)
    assert (found["mode"], found["uid"], found["gid"]) == (stat.S_IFREG | 0o4755, 1234, 77)
    host = (shared / "tool").stat()
    assert stat.S_IMODE(host.st_mode) == 0o600 and host.st_uid == os.getuid()
    assert os.getxattr(shared / "tool", "user.virtfs.uid") == struct.pack("<I", 1234)
    client.symlink(0, b"sym", b"/etc/passwd")
    assert not (shared / "sym").is_symlink()
    client.walk(0, 2, b"sym")
    assert stat.S_ISLNK(client.getattr(2)["mode"])
    assert client.call(22, struct.pack("<I", 2)).text() == b"/etc/passwd"
    client.call(18, struct.pack("<I", 0) + text(b"null") + struct.pack("<IIII", stat.S_IFCHR | 0o666, 1, 3, NO_ID))
    client.walk(0, 3, b"null")
    assert client.getattr(3)["rdev"] == os.makedev(1, 3) and stat.S_ISCHR(client.getattr(3)["mode"])
    with refused(errno.ENXIO):
        client.open(3, 0)


def test_extended_attributes_and_authentication_are_not_offered(client: Client) -> None:
    for kind, body in ((30, struct.pack("<II", 0, 9) + text(b"user.x")), (102, bytes(16)), (32, bytes(32)), (6, b"")):
        with refused(errno.EOPNOTSUPP):
            client.call(kind, body)


def test_locks_are_granted_to_the_only_client(client: Client) -> None:
    client.walk(0, 1, b"hello.txt")
    lock = struct.pack("<IBIQQI", 1, 1, 0, 0, 10, 42) + text(b"host")
    assert client.call(52, lock).int(1) == 0
    reply = client.call(54, struct.pack("<IBQQI", 1, 1, 0, 10, 42) + text(b"host"))
    assert reply.int(1) == 2


def test_the_file_system_is_described(client: Client) -> None:
    reply = client.call(8, struct.pack("<I", 0))
    assert reply.int(4) == 0x01021997 and reply.int(4) > 0 and reply.int(8) > 0


def test_another_version_is_answered_with_unknown_and_forgets_the_session(client: Client) -> None:
    reply = client.call(100, struct.pack("<I", 8192) + text(b"9P2000.u"))
    assert reply.int(4) == 8192 and reply.text() == b"unknown"
    with refused(errno.EBADF):
        client.walk(0, 1)
    with refused(errno.EMSGSIZE):
        client.call(100, struct.pack("<I", 100) + text(b"9P2000.L"))
    assert client.call(100, struct.pack("<I", 1 << 31) + text(b"9P2000.L")).int(4) == p9.MAX_MESSAGE


def test_a_read_never_exceeds_the_room_for_its_answer(client: Client, shared: Path) -> None:
    (shared / "big").write_bytes(bytes(200_000))
    client.walk(0, 1, b"big")
    client.open(1, 0)
    assert len(client.read(1, 0, 0xFFFFFFFF)) == ROOM - 11
    reply = client.raw(116, struct.pack("<IQI", 1, 0, 5000), 100)
    assert len(reply) == 100
    assert client.raw(24, struct.pack("<IQ", 1, 0), 50)[4] == 7


@pytest.mark.parametrize("offset", [(1 << 63) - 2, 1 << 63, (1 << 64) - 1])
def test_offsets_beyond_any_file_are_errors(client: Client, offset: int) -> None:
    client.walk(0, 1)
    client.create(1, b"far")
    with pytest.raises(OSError, match="Errno"):
        client.write(1, b"1234", offset)
    if offset >= 1 << 63:
        with refused(errno.EINVAL):
            client.read(1, offset)
        with refused(errno.EFBIG):
            client.setattr(1, 8, size=offset)


def test_fids_open_files_and_listings_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p9, "MAX_OPEN", 2)
    monkeypatch.setattr(p9, "MAX_FIDS", 5)
    monkeypatch.setattr(p9, "MAX_LISTED", 5)
    for n in (1, 2, 3):
        client.walk(0, n)
    client.open(1, 0o200000)
    client.open(2, 0o200000)
    with refused(errno.EMFILE):
        client.open(3, 0o200000)
    with refused(errno.EMFILE):
        client.create(3, b"x")
    client.readdir(1)
    with refused(errno.ENOMEM):
        client.readdir(2)
    client.clunk(1)
    client.readdir(2)
    client.walk(0, 4), client.walk(0, 5)
    with refused(errno.ENFILE):
        client.walk(0, 6)
    monkeypatch.setattr(p9, "MAX_FIDS", 50)
    monkeypatch.setattr(p9, "MAX_HELD", 50)
    client.walk(0, 7, b"sub")
    with refused(errno.ENFILE):
        client.walk(0, 8, b"sub")


def test_nothing_stays_open_after_a_session(client: Client, shared: Path) -> None:
    client.walk(0, 1, b"sub", b"deep")
    client.open(1, 0)
    client.walk(0, 2)
    client.open(2, 0o200000)
    assert len(descriptors(shared)) == 3
    client.share.forget()
    assert descriptors(shared) == [str(shared)]


def test_a_root_that_is_no_directory_is_refused(shared: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Share(str(shared / "hello.txt"))
    with pytest.raises(FileNotFoundError):
        Share(str(shared / "missing"))
    with pytest.raises(ValueError, match="expected one of none, mapped, passthrough"):
        Share(str(shared), security="off")


NAMES = (b"a", b"b", b"sub", b"hello.txt", b"..", b".", b"", b"/", b"a/b", b"out", b"\xff\xfe", b"x" * 300, b"z\0")


def a_message(rng: random.Random) -> bytes:
    """A request that is mostly well formed, with small fids and few names."""
    kind = rng.choice(CALLS)
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(64))
    fid = struct.pack("<I", rng.choice((0, 1, 2, 3, 4, NO_FID)))
    other = struct.pack("<I", rng.randrange(8))
    name = text(rng.choice(NAMES))
    word = struct.pack("<I", rng.choice((0, 1, 2, 0o200, 0o1001, 0o100644, 0o40755, 0xFFFFFFFF, 10)))
    offset = struct.pack("<Q", rng.choice((0, 1, 5000, 1 << 62, (1 << 64) - 1)))
    count = rng.randrange(4)
    body = {
        12: fid + word,
        14: fid + name + word + word + word,
        16: fid + name + text(rng.choice((b"..", b"/etc", b"../secret"))) + word,
        18: fid + name + word + word + word + word,
        20: fid + other + name,
        26: fid
        + struct.pack("<I", rng.getrandbits(9))
        + word * 3
        + struct.pack("<Q", rng.choice((0, 9000)))
        + offset * 4,
        40: fid + offset + word,
        70: fid + other + name,
        72: fid + name + word + word,
        74: fid + name + other + text(rng.choice(NAMES)),
        76: fid + name + struct.pack("<I", rng.choice((0, 0x200))),
        100: word + text(rng.choice((b"9P2000.L", b"9P2000.u", b"?"))),
        104: fid + struct.pack("<I", NO_FID) + name + name + word,
        110: fid + other + struct.pack("<H", count) + b"".join(text(rng.choice(NAMES)) for _ in range(count)),
        116: fid + offset + word,
        118: fid + struct.pack("<QI", rng.choice((0, 100, (1 << 64) - 1)), 10) + bytes(10),
    }.get(kind, fid + word + name + offset)
    if rng.random() < 0.1:
        body = body[: rng.randrange(len(body) + 1)]
    size = 7 + len(body) if rng.random() < 0.97 else rng.getrandbits(32)
    return struct.pack("<IBH", size, kind, rng.getrandbits(16)) + body


def test_no_sequence_of_messages_raises_or_reaches_beyond_the_directory(shared: Path) -> None:
    (shared / "out").symlink_to("..")
    rounds = int(os.environ.get("EMU_FUZZ_P9", "4000"))
    rng = random.Random(9)
    share = Share(str(shared))
    client = Client(share)
    for at in range(rounds):
        if at % 200 == 0:
            client.call(100, struct.pack("<I", ROOM) + text(b"9P2000.L"))
            client.attach(0)
        room = rng.choice((11, 12, 40, 200, ROOM))
        reply = share.answer(a_message(rng), room)
        assert 7 <= int.from_bytes(reply[:4], "little") == len(reply) <= room
    share.forget()
    assert descriptors(shared.parent) == [str(shared)]
    assert sorted(os.listdir(shared.parent)) == ["secret", "shared"]
    assert (shared.parent / "secret").read_bytes() == b"not shared"
    assert stat.S_IMODE((shared.parent / "secret").stat().st_mode) & 0o111 == 0
