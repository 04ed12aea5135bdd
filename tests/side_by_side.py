"""The whole test suite in two processes, for two cores: `python -m tests.side_by_side [pytest options]`.

The first half prints as it runs, the second when both are done. Exit status: that of the half that failed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence

FIRST = ("tests/cores",)
COMMAND = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")


def main(options: Sequence[str]) -> int:
    """Run both halves; 0 when both passed."""
    rest = ["tests", *(f"--ignore={name}" for name in FIRST)]
    with tempfile.TemporaryFile() as kept:
        second = subprocess.Popen([*COMMAND, *rest, *options], stdout=kept, stderr=subprocess.STDOUT)
        first = subprocess.run([*COMMAND, *FIRST, *options], check=False).returncode
        status = second.wait()
        kept.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(kept.read())
        sys.stdout.flush()
    return first or status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
