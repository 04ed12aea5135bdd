"""A disk that fails where and when a test wants."""

from __future__ import annotations

import errno

from devices.backends import MemoryDisk


class FaultyDisk(MemoryDisk):
    """Fails on chosen sectors and on flush when told to."""

    def __init__(self, data):
        super().__init__(data)
        self.bad = set()
        self.bad_flush = False
        self.flushes = 0

    def _look(self, offset, length):
        if any(n in self.bad for n in range(offset // 512, (offset + length + 511) // 512)):
            raise OSError(errno.EIO, "injected")

    def read(self, offset, length):
        self._look(offset, length)
        return super().read(offset, length)

    def write(self, offset, data):
        self._look(offset, len(data))
        super().write(offset, data)

    def flush(self):
        self.flushes += 1
        if self.bad_flush:
            raise OSError(errno.EIO, "injected")
