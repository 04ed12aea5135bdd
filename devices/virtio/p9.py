"""Virtio 9P transport: one queue of requests to a file server of the host (`devices.p9`), found by its mount tag.

The guest mounts it with `mount -t 9p -o trans=virtio TAG DIRECTORY`. VIRTIO 1.2, 5.15 has only the number; layout and
feature are those of the driver of Linux, net/9p/trans_virtio.c: tag length, tag, without a NUL.
"""

from __future__ import annotations

from typing import Protocol

from devices.device import device
from devices.virtio.device import VirtioDevice
from devices.virtio.ring import Chain, RingMemory

QUEUE = 128
MOUNT_TAG = 1 << 0
MAX_TAG = 32
HEADER, ERROR = 7, 11
"""Bytes of a message's header and of the answer that every request must have room for."""
MOST = 1 << 20


class FileServer(Protocol):
    """Answers 9P messages."""

    def answer(self, request: bytes, room: int) -> bytes:
        """The reply, at most `room` bytes."""

    def forget(self) -> None:
        """The session is over."""


@device("virtio-9p", "file system of the host")
class P9(VirtioDevice):
    """`tag` is 1 to 32 bytes. Each request is answered before the next is looked at."""

    number = 9
    pci_class = 0x000200
    layout = f"H{MAX_TAG}s"

    def __init__(
        self,
        *,
        memory: RingMemory,
        server: FileServer,
        tag: bytes,
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
    ) -> None:
        if not 0 < len(tag) <= MAX_TAG:
            raise ValueError(f"a mount tag has 1 to {MAX_TAG} bytes")
        self.server = server
        self.tag = tag
        super().__init__(
            memory=memory, queue_sizes=(QUEUE,), bus_memory=bus_memory, big_endian=big_endian, packed=packed
        )

    def offered(self) -> int:
        return MOUNT_TAG

    def fields(self) -> tuple[int, bytes]:
        return len(self.tag), self.tag

    def stopped(self) -> None:
        self.server.forget()

    def handle(self, index: int, chain: Chain) -> None:
        if chain.total < HEADER or chain.room < ERROR:
            self.queues[index].fail(f"a request of {chain.total} bytes with {chain.room} bytes for its answer")
            return
        request = chain.read(0, min(chain.total, MOST))
        chain.complete(chain.write(self.server.answer(request, min(chain.room, MOST))))
