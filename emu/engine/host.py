"""Calls of the host that Python lacks."""

from __future__ import annotations

import errno


def punch_hole(fd: int, offset: int, length: int) -> int:
    """Give a stretch of a file back to the host; it reads as zeros afterwards. The error number, or 0."""
    try:
        from emu.engine import _host
    except ImportError:
        return errno.ENOSYS
    return int(_host.lib.punch_hole(fd, offset, length))
