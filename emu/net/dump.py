"""-object filter-dump: every frame of a wire into a file that packet analysers read; and filter-buffer, which delays.

File format: libpcap savefile, little-endian, nanoseconds (magic A1B23C4Dh), link type 1. Its times are the guest's
clock, so the file of a run that is repeated is the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from emu.options import UsageError, shown

MAGIC, ETHERNET = 0xA1B23C4D, 1


class Dump:
    """Writes frames. `now` gives the ns since 1970 that a frame is stamped with."""

    def __init__(self, path: str, most: int, queue: str, now: Callable[[], int], say: Callable[[str], None]) -> None:
        self.path = path
        self._most = most
        self._sent, self._received = queue in ("all", "rx"), queue in ("all", "tx")
        self._now = now
        self._say = say
        self._failed = False
        try:
            self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (kept open for the whole run)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(f"filter-dump: {shown(path)}: {reason}") from None
        self._write(struct.pack("<IHHiIII", MAGIC, 2, 4, 0, 0, most, ETHERNET))

    def watch(self, frame: bytes, sent: bool) -> None:
        """A frame passes, `sent` by the card or to it."""
        if self._sent if sent else self._received:
            seconds, ns = divmod(self._now(), 1_000_000_000)
            part = frame[: self._most]
            self._write(struct.pack("<IIII", seconds & 0xFFFFFFFF, ns, len(part), len(frame)) + part)

    def _write(self, data: bytes) -> None:
        if self._failed:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self._failed = True
            self._say(f"filter-dump: {shown(self.path)}: {error.strerror or error}; frames are lost from here on")

    def close(self) -> None:
        """Write what is still in memory."""
        try:
            self._file.close()
        except OSError as error:
            if not self._failed:
                self._say(f"filter-dump: {shown(self.path)}: {error.strerror or error}")
