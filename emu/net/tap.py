"""-netdev tap: the card's wire is an interface of the host (Linux, Documentation/networking/tuntap.rst).

Opening one takes CAP_NET_ADMIN, or an interface that root has made for this user. Emu runs no script: the interface
is set up by who made it (`ip tuntap add dev tap0 mode tap user $USER`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Sequence

from devices.ethernet import LARGEST
from emu.net.wire import OpenBackend
from emu.options import UsageError, number, shown

PROPERTIES = {
    "ifname": "name of the interface (default: the host chooses)",
    "fd": "descriptor of a tap interface that is open already",
    "script": "no: Emu runs no program",
    "downscript": "no",
    "vhost": "ignored",
}
DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
AT_ONCE = 64


class Tap(OpenBackend):
    """One interface."""

    kind = "tap"

    def __init__(self, name: str, descriptor: int, interface: str) -> None:
        super().__init__(name)
        self._fd = descriptor
        self._interface = interface
        os.set_blocking(descriptor, False)

    def send(self, frame: bytes) -> None:
        try:
            os.write(self._fd, frame)
        except OSError:
            pass  # the interface is down, or its queue is full

    def descriptors(self) -> tuple[list[int], list[int]]:
        return [] if self.full() else [self._fd], []

    def poll(self) -> None:
        for _ in range(AT_ONCE):
            if self.full():
                return
            try:
                frame = os.read(self._fd, LARGEST)
            except OSError:
                return
            if not frame:
                return
            self.deliver(frame)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def describe(self) -> str:
        return f"ifname={self._interface}"


def make_tap(name: str, props: Sequence[tuple[str, str]], say: Callable[[str], None]) -> Tap:
    """-netdev tap. Raises UsageError."""
    what = f"-netdev tap,id={shown(name)}"
    last = dict(props)
    for key in ("script", "downscript"):
        if last.get(key, "no") != "no":
            raise UsageError(f"{what}: {key}={shown(last[key])}: no option of Emu runs a program; expected {key}=no")
    if "fd" in last:
        descriptor = number(last["fd"], f"{what}: fd", 3, 65535)
        try:
            os.fstat(descriptor)
        except OSError:
            raise UsageError(f"{what}: fd={descriptor} is not open") from None
        return Tap(name, descriptor, f"fd {descriptor}")
    wanted = last.get("ifname", "").encode("utf-8", "surrogateescape")
    if len(wanted) > 15:
        raise UsageError(f"{what}: ifname: at most 15 bytes")
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{what}: {DEVICE}: {error.strerror}") from None
    request = struct.pack("16sH22x", wanted, IFF_TAP | IFF_NO_PI)
    try:
        answer = fcntl.ioctl(descriptor, TUNSETIFF, request)
    except OSError as error:
        os.close(descriptor)
        hint = "; it takes CAP_NET_ADMIN or an interface made for this user" if error.errno == errno.EPERM else ""
        raise UsageError(f"{what}: {shown(last.get('ifname', 'tap'))}: {error.strerror}{hint}") from None
    return Tap(name, descriptor, answer[:16].split(b"\0")[0].decode("ascii", "replace"))
