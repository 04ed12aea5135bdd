"""Zstandard for images that use it, from whatever this Python has: its own module, `zstandard` or `pyzstd`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["SystemZstd", "find"]


class SystemZstd:
    """The compressor of devices.block.qcow2.image.Zstd over one of the three modules."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self._module = module

    def decompress(self, data: bytes, limit: int) -> bytes:
        """At most `limit` bytes of the first frame; what follows it is ignored. Raises ValueError."""
        try:
            if self.name == "zstandard":
                reader = self._module.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data)
                out: bytes = reader.read(limit)
            else:
                out = self._module.ZstdDecompressor().decompress(data, limit)
        except Exception as error:  # each module has an error class of its own
            raise ValueError(str(error)) from None
        return out

    def compress(self, data: bytes) -> bytes:
        """One frame."""
        if self.name == "zstandard":
            packed: bytes = self._module.ZstdCompressor().compress(data)
            return packed
        packed = self._module.compress(data)
        return packed


def find() -> SystemZstd | None:
    """The first module that is there."""
    for name in ("compression.zstd", "zstandard", "pyzstd"):
        try:
            return SystemZstd(name, import_module(name))
        except ImportError:
            continue
    return None
