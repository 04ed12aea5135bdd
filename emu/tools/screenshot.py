"""`emu screenshot RUN-OPTIONS... -o FILE [--when TEXT]`: run a guest until it shows something, and take a picture."""

from __future__ import annotations

from collections.abc import Sequence

from emu.options import UsageError, parse
from emu.session import Session


def main(words: Sequence[str]) -> int:
    """Run; the status is the run's own."""
    if not words or words[0] in ("-h", "-help", "--help"):
        raise UsageError("screenshot: expected what to run, as for `emu run`, with --when TEXT and -o FILE")
    config = parse(["--screenshot" if word == "-o" else word for word in words], compat=False)
    if not config.screenshot:
        raise UsageError("screenshot: expected -o FILE")
    if not config.script and config.timeout is None and config.max_insns is None:
        raise UsageError("screenshot: expected --when TEXT, --timeout or --max-insns: when is the picture taken?")
    return Session(config).run()
