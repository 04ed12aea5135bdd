"""What has been read from a disk and written to it, as `query-blockstats` says it.

A disk that carries one (`disk.statistics`) has it filled by who does the guest's requests: the queue of `emu.aio`, and
drives where they go to the disk themselves.
"""

from __future__ import annotations

from collections.abc import Callable

READ, WRITE, FLUSH = "rd", "wr", "flush"


class Statistics:
    """Requests, their bytes, and how long they took in virtual ns; requests that failed are counted apart."""

    def __init__(self) -> None:
        kinds = (READ, WRITE, FLUSH)
        self.operations = dict.fromkeys(kinds, 0)
        self.nbytes = dict.fromkeys(kinds, 0)
        self.ns = dict.fromkeys(kinds, 0)
        self.failures = dict.fromkeys(kinds, 0)
        self.bring_home: Callable[[], None] = lambda: None
        """Called before somebody looks: a processor that serves the disk has counts of its own."""

    def done(self, kind: str, length: int, ns: int = 0, count: int = 1) -> None:
        """Requests that ended well."""
        self.operations[kind] += count
        self.nbytes[kind] += length
        self.ns[kind] += ns

    def failed(self, kind: str) -> None:
        """One that did not."""
        self.failures[kind] += 1

    def counts(self) -> dict[str, int]:
        """By QEMU's names."""
        self.bring_home()
        named = {}
        for kind in (READ, WRITE, FLUSH):
            named[f"{kind}_operations"] = self.operations[kind]
            named[f"{kind}_total_time_ns"] = self.ns[kind]
            named[f"failed_{kind}_operations"] = self.failures[kind]
            if kind != FLUSH:
                named[f"{kind}_bytes"] = self.nbytes[kind]
        return named
