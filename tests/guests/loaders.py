"""The boot media of `images.loaders` with the shared Linux kernel; a test that needs what is not there is skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from images import loaders
from images.loaders import APPEND
from tests.guests.command import guest

T = TypeVar("T")
__all__ = ["APPEND", "emulation_cd", "grub_disk", "isolinux_cd", "kernel_files", "tool"]


def _there(make: Callable[[], T]) -> T:
    try:
        return make()
    except loaders.Missing as error:
        pytest.skip(str(error))


def tool(name: str, debian: str) -> str:
    """The path of a program."""
    return _there(lambda: loaders.tool(name, debian))


def _kernels() -> Path:
    guest("linux-i386", "initrd.gz")
    return Path(guest("linux-i386", "bzImage")).parent


def kernel_files(into: Path) -> None:
    """The shared kernel and its initial RAM disk."""
    loaders.kernel_files(_kernels(), into)


def isolinux_cd(directory: Path, append: str = APPEND) -> Path:
    """A CD whose ISOLINUX starts the kernel."""
    return _there(lambda: loaders.isolinux_cd(directory, _kernels(), append))


def emulation_cd(directory: Path, content: Path, *options: str) -> Path:
    """A CD whose boot image is a floppy, or with -hard-disk-boot a disk (El Torito's emulation)."""
    return _there(lambda: loaders.emulation_cd(directory, content, *options))


def grub_disk(directory: Path, append: str = APPEND) -> Path:
    """A disk with an MBR, GRUB behind it, and the kernel on an ext2 partition."""
    return _there(lambda: loaders.grub_disk(directory, _kernels(), append))
