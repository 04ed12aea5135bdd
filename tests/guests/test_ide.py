"""IDE by DMA under Linux, on a PC and as a card on the PowerPC boards, and runs with disks and a network once more."""

from __future__ import annotations

import hashlib
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu.engine import slirp
from tests.guests.command import Result, dialogue, emu, ended_well, guest, lines, stats

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 8 << 20
PPC = {
    "bamboo": ("linux-bamboo", "vmlinux"),
    "ppce500": ("linux-e500", "uImage"),
}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def linux(*words: str) -> Result:
    kernel = ["-kernel", guest("linux-i386", "bzImage"), "-initrd", guest("linux-i386", "initrd.gz")]
    return emu("-m", "128", "-nographic", *kernel, "-append", "console=ttyS0 quiet", "--stats", *words)


COPY = (
    "dd if=/dev/sda bs=1M | sha256sum; dd if=/dev/sda of=/dev/sdc bs=64k conv=fsync; dd if=/dev/sr0 bs=2k | sha256sum"
)


def test_linux_uses_dma_on_four_drives_and_what_it_synced_is_in_the_file(disk: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.img"
    second.write_bytes(bytes(SIZE))
    drives = ["-hda", str(disk), "-hdb", str(disk), "-cdrom", guest("storage", "data.iso"), "-hdd", str(second)]
    drives[2:4] = ["-drive", f"file={disk},format=raw,if=ide,index=1,readonly=on,file.locking=off"]
    drives[0:2] = ["-drive", f"file={disk},format=raw,if=ide,index=0,snapshot=on,file.locking=off"]
    result = linux(*drives, *dialogue("/ # ", f">dmesg | grep DMA; {COPY}; poweroff -f", "Power down"))
    ended_well(result)
    seen = "\n".join(lines(result))
    assert "ata1: PATA max MWDMA2" in seen and "ata2: PATA max MWDMA2" in seen
    assert seen.count("Emu hard disk, 1.0, max UDMA/33") == 3 and "Emu CD-ROM, 1.0, max UDMA/33" in seen
    assert digest(disk) in seen and digest(Path(guest("storage", "data.iso"))) in seen
    assert second.read_bytes() == disk.read_bytes()


def test_the_same_run_with_a_disk_twice_is_the_same_to_the_last_bit(disk: Path) -> None:
    words = ["-drive", f"file={disk},format=raw,snapshot=on", "-cdrom", guest("storage", "data.iso")]
    talk = dialogue("/ # ", ">dd if=/dev/zero of=/dev/sda bs=4k count=99 conv=fsync; dd if=/dev/sda bs=1M | sha256sum")
    runs = [linux(*words, "--accel", accel, *talk, *dialogue("  -")) for accel in ("jit", "interp")]
    for result in runs:
        ended_well(result)
    first, *others = [stats(result) for result in runs]
    for other in others:
        for key in ("instructions", "virtual_ns", "serial_sha256", "state_digest"):
            assert other[key] == first[key], key


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A server of one file on the host's loopback; gives the port."""
    content = random.Random(8).randbytes(500_000)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    (tmp_path / "content").write_bytes(content)
    yield int(made.server_address[1])
    made.shutdown()
    made.server_close()


def test_a_run_with_disk_and_network_is_replayed_without_the_network(disk: Path, tmp_path: Path, server: int) -> None:
    try:
        slirp.load()
    except slirp.Missing:
        pytest.skip("libslirp is not installed")
    words = ["-drive", f"file={disk},format=raw,snapshot=on", "-netdev", "user,id=n", "-device", "e1000,netdev=n"]
    fetch = f"udhcpc -q -i eth0 >/dev/null; ip a add 10.0.2.15/24 dev eth0; wget -qO /f http://10.0.2.2:{server}/f"
    store = "sha256sum /f; dd if=/f of=/dev/sda bs=64k conv=fsync; poweroff -f"
    recording = str(tmp_path / "run.rec")
    talk = dialogue("/ # ", f">ip link set eth0 up; {fetch}; {store}", "Power down")
    first = linux(*words, *talk, "--record", recording)
    ended_well(first)
    assert digest(tmp_path / "content") in "\n".join(lines(first))
    for accel in ("jit", "interp"):
        again = linux(*words, "--replay", recording, "--accel", accel)
        ended_well(again)
        for key in ("instructions", "virtual_ns", "serial_sha256", "state_digest", "inputs"):
            assert stats(again)[key] == stats(first)[key], (accel, key)


@pytest.mark.parametrize("board", PPC)
def test_the_card_serves_disks_and_cds_on_a_powerpc_board(disk: Path, board: str) -> None:
    folder, kernel = PPC[board]
    files = ["-kernel", guest(folder, kernel), "-initrd", guest(folder, "rootfs.gz")]
    card = ["-device", "piix3-ide,id=card", "-drive", f"file={disk},format=raw,if=none,id=d"]
    card += ["-device", "ide-hd,drive=d,bus=card.1,unit=1", "-append", "console=ttyS0 quiet"]
    work = "dd if=/dev/sda bs=1M | sha256sum; dd if=/dev/zero of=/dev/sda bs=64k count=4 conv=fsync; echo AL''L"
    talk = dialogue("login: ", ">root", "# ", f">{work}", "ALL")
    before = disk.read_bytes()
    result = emu("-M", board, "-m", "128", "-nographic", *files, *card, *talk)
    ended_well(result)
    assert hashlib.sha256(before).hexdigest() in "\n".join(lines(result))
    assert disk.read_bytes() == bytes(4 << 16) + before[4 << 16 :]
