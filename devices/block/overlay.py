"""A copy-on-write layer that is gone at the end (`-snapshot`): the base is never written.

Blocks of 4 KiB stay in memory up to a bound and then go to a temporary file that has no name, so nothing is left behind
whatever happens to the process.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator

from devices.block.storage import REPORT, Extent, check_range
from devices.contracts import Disk, Statistics

__all__ = ["OverlayDisk"]

BLOCK = 4096
ZEROS = bytes(BLOCK)


class OverlayDisk:
    """Writes stay here. At most `limit` bytes of them are in memory; the rest is in a file without a name."""

    BLOCK = BLOCK
    private = True
    on_error = REPORT
    statistics: Statistics | None = None

    def __init__(self, base: Disk, limit: int = 256 << 20) -> None:
        self.base = base
        self.size = base.size
        self._blocks: dict[int, bytes | int] = {}
        """The bytes of a block, or its place in the file."""
        self._room = max(1, limit // BLOCK)
        self._fd = -1
        self._slots = 0
        self._lock = threading.RLock()
        self._base_fast = getattr(base, "fast", None)

    @property
    def read_only(self) -> bool:
        return False

    def _block(self, index: int) -> bytes:
        held = self._blocks.get(index)
        if held is None:
            return self.base.read(index * BLOCK, min(BLOCK, self.size - index * BLOCK))
        if isinstance(held, bytes):
            return held
        return os.pread(self._fd, min(BLOCK, self.size - index * BLOCK), held * BLOCK)

    def _keep(self, index: int, data: bytes) -> None:
        held = self._blocks.get(index)
        if isinstance(held, int):
            os.pwrite(self._fd, data, held * BLOCK)
        elif data == ZEROS:
            self._blocks[index] = ZEROS
        elif held is not None and held is not ZEROS:
            self._blocks[index] = data
        elif self._room > 0:
            self._room -= 1
            self._blocks[index] = data
        else:
            if self._fd < 0:
                with tempfile.TemporaryFile(prefix="emu-overlay-", dir=os.environ.get("TMPDIR", "/var/tmp")) as file:
                    self._fd = os.dup(file.fileno())
            os.pwrite(self._fd, data, self._slots * BLOCK)
            self._blocks[index] = self._slots
            self._slots += 1

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            check_range(self.size, offset, length)
        blocks = self._blocks
        first, start = divmod(offset, BLOCK)
        with self._lock:
            if start + length <= BLOCK:
                if first not in blocks:
                    return self.base.read(offset, length)
                held = self._block(first)
                return held if len(held) == length else held[start : start + length]
            span = range(first, (offset + length - 1) // BLOCK + 1)
            if blocks.keys().isdisjoint(span):
                return self.base.read(offset, length)
            if all(index in blocks for index in span):
                return b"".join(map(self._block, span))[start : start + length]
            data = bytearray(self.base.read(offset, length))
            for index in span:
                if index in blocks:
                    held = self._block(index)
                    at = index * BLOCK - offset
                    if at < 0:
                        held, at = held[-at:], 0
                    held = held[: length - at]
                    data[at : at + len(held)] = held
            return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        check_range(self.size, offset, len(data))
        done, blocks = 0, self._blocks
        with self._lock:
            while done < len(data):
                if not (offset + done) % BLOCK and len(data) - done >= BLOCK and self._room > 0:
                    index = (offset + done) // BLOCK
                    piece = bytes(data[done : done + BLOCK])
                    if not isinstance(blocks.get(index), int):
                        self._room -= index not in blocks
                        blocks[index] = ZEROS if piece == ZEROS else piece
                        done += BLOCK
                        continue
                index, start = divmod(offset + done, BLOCK)
                extent = min(BLOCK, self.size - index * BLOCK)
                count = min(len(data) - done, extent - start)
                piece = bytes(data[done : done + count])
                if count < extent:
                    old = self._block(index)
                    piece = old[:start] + piece + old[start + count :]
                self._keep(index, piece)
                done += count

    def flush(self) -> None:
        pass

    def discard(self, offset: int, length: int) -> None:
        check_range(self.size, offset, length)
        first, last = -(-offset // BLOCK), (offset + length) // BLOCK
        if last > first:
            self.write_zeroes(first * BLOCK, (last - first) * BLOCK)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        check_range(self.size, offset, length)
        end = offset + length
        while offset < end:
            count = min(end - offset, BLOCK - offset % BLOCK)
            self.write(offset, ZEROS[:count])
            offset += count

    def fast(self, offset: int, length: int) -> bool:
        held = self._blocks.get(offset // BLOCK)
        if held is not None and (offset + length - 1) // BLOCK == offset // BLOCK:
            return isinstance(held, bytes)
        return bool(self._base_fast is not None and self._base_fast(offset, length))

    def plain(self) -> tuple[int, int, int] | None:
        """See `RawDisk.plain`: the base's file as long as nothing was written, and not to be written."""
        plain = getattr(self.base, "plain", None)
        found = plain() if plain is not None and not self._blocks else None
        return None if found is None else (found[0], found[1], found[1])

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        check_range(self.size, offset, length)
        yield Extent(offset, length, True, True)

    def close(self) -> None:
        """Forget what was written and close the base."""
        fd, self._fd = self._fd, -1
        self._blocks.clear()
        if fd >= 0:
            os.close(fd)
        close = getattr(self.base, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
