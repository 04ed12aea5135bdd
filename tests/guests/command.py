"""What the guest tests share: where the guests are, the command as a person starts it, and what it gave back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("EMU_SHARED", "../shared"))
GUESTS = SHARED / "guests"
COMPAT = "import sys; from emu.__main__ import system_i386; sys.exit(system_i386())"
ACCEL = os.environ.get("EMU_ACCEL", "auto")
"""The tier that guests run on."""
TIMEOUT = 300
"""Wall seconds after which a run is given up. Never reached by a run that is well, on a busy host either."""

Result = subprocess.CompletedProcess[bytes]


def guest(*parts: str) -> str:
    """The path of a shared guest's file; skips the test if it is not there."""
    path = GUESTS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path}: EMU_SHARED does not name the shared guests")
    return str(path)


def package(path: str, name: str) -> str:
    """The path of a file of a Debian package; skips the test if it is not installed."""
    if not os.path.exists(path):
        pytest.skip(f"no {path}: Debian package {name} is not installed")
    return path


def emu(*words: str, compat: bool = False, timeout: float = TIMEOUT, env: dict[str, str] | None = None) -> Result:
    """`emu run WORDS`, or `emu-system-i386 WORDS` with `compat`."""
    start = ["-c", COMPAT] if compat else ["-m", "emu", "run"]
    line = [sys.executable, *start, "--accel", ACCEL, "--timeout", str(timeout), *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 60, env=env)


def dialogue(*steps: str) -> list[str]:
    """Options for a conversation: each step is a text to wait for, or a line to type if it starts with ">"."""
    words: list[str] = []
    for step in steps:
        words += ["--send", step[1:] + "\\n"] if step.startswith(">") else ["--expect", step]
    return words


def lines(result: Result) -> list[str]:
    """The lines of stdout, without carriage returns."""
    return result.stdout.decode("utf-8", "replace").replace("\r", "").splitlines()


def stats(result: Result) -> dict[str, Any]:
    """The JSON line of --stats."""
    found: dict[str, Any] = json.loads(result.stderr.decode().splitlines()[-1])
    return found


def ended_well(result: Result, status: int = 0) -> None:
    """Fail with everything that was printed if the status is another one."""
    assert result.returncode == status, (result.stdout[-4000:] + result.stderr[-4000:]).decode("utf-8", "replace")
