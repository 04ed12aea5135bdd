"""What a neighbour's flood costs a quiet guest: three machines on a hub whose port to one of them has a rate.

`python -m tests.guests.neighbours [RATE] [MIB]` (10M, 4) prints the throughput of the quiet guest's TCP to that one and
the round trips of its pings, alone and beside a neighbour that sends several times the rate. A command, not a test, for
it measures time on the wall: on a busy host it says more of the host.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.guests.command import GUESTS

UP = "ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.{number}/24 dev eth0"
SINK = "nc -ll -p 5001 -e dd of=/dev/null bs=64k 2>/dev/null &"
PINGS = "ping -q -c 100 -i 0.05 10.9.0.1"
SEND = "dd if=/dev/zero bs=64k count={blocks} 2>/dev/null | nc 10.9.0.1 5001"
FLOOD = "for i in 1 2 3 4; do ping -q -s 1400 -i 0.001 10.9.0.1 > /dev/null & done"
LONGEST = 300.0


class Guest:
    """Linux for i386 with one card and a shell on a pipe."""

    def __init__(self, number: int, *words: str) -> None:
        folder = GUESTS / "linux-i386"
        line = [sys.executable, "-m", "emu", "run", "-m", "64", "-nographic", "-monitor", "none"]
        line += ["-kernel", str(folder / "bzImage"), "-initrd", str(folder / "initrd.gz")]
        line += ["-append", "console=ttyS0 quiet", *words]
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self.seen = b""
        self.wait(b"/ # ")
        self.run(UP.format(number=number))

    def wait(self, text: bytes) -> str:
        """What came up to a text."""
        if self.process.stdout is None:
            raise RuntimeError("no pipe")
        end = time.monotonic() + LONGEST
        while text not in self.seen:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data or time.monotonic() > end:
                raise RuntimeError(f"{text!r} did not come: {self.seen[-500:]!r}")
            self.seen += data
        found, _, self.seen = self.seen.partition(text)
        return found.decode("ascii", "replace")

    def run(self, command: str) -> tuple[str, float]:
        """What a command printed, and how long it took."""
        if self.process.stdin is None:
            raise RuntimeError("no pipe")
        begin = time.monotonic()
        self.process.stdin.write(f"{command}\necho EN''D\n".encode())
        self.process.stdin.flush()
        return self.wait(b"END\r\n"), time.monotonic() - begin

    def end(self) -> None:
        """Stop it."""
        self.process.kill()
        self.process.wait()


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def measure(guest: Guest, mib: int) -> tuple[float, tuple[float, ...]]:
    """Mbit/s of TCP, and the least, mean and longest round trip in ms."""
    pings, _ = guest.run(PINGS)
    found = re.search(r"= ([\d.]+)/([\d.]+)/([\d.]+) ms", pings)
    if not found or ", 0% packet loss" not in pings:
        raise RuntimeError(pings)
    _, seconds = guest.run(SEND.format(blocks=16 * mib))
    return mib * 8.388608 / seconds, tuple(map(float, found.groups()))


def main(rate: str = "10M", mib: str = "4") -> None:
    quiet_port, loud_port = free_ports()
    hub = ["-netdev", f"socket,id=q,listen=127.0.0.1:{quiet_port}", "-netdev", "hubport,id=hq,hubid=1,netdev=q"]
    hub += ["-netdev", f"socket,id=l,listen=127.0.0.1:{loud_port}", "-netdev", "hubport,id=hl,hubid=1,netdev=l"]
    hub += ["-netdev", f"hubport,id=hs,hubid=1,rate={rate}", "-device", "virtio-net-pci,netdev=hs"]
    guests = []
    try:
        guests.append(sink := Guest(1, *hub))
        for number, port in ((2, quiet_port), (3, loud_port)):
            card = f"virtio-net-pci,netdev=n,mac=52:54:00:00:00:{number:02x}"
            guests.append(Guest(number, "-netdev", f"socket,id=n,connect=127.0.0.1:{port}", "-device", card))
        quiet, loud = guests[1:]
        sink.run(SINK)
        quiet.run("ping -c 1 10.9.0.1")
        for what in ("alone", "beside a flood"):
            mbits, trip = measure(quiet, int(mib))
            times = ", ".join(f"{ms:.1f}" for ms in trip)
            print(f"{what}: TCP {mbits:.2f} Mbit/s; round trips {times} ms", flush=True)
            loud.run(FLOOD)
            time.sleep(2)
    finally:
        for guest in guests:
            guest.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
