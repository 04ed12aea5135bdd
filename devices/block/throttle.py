"""How fast a disk may be: leaky buckets for requests and for bytes, with bursts (`iops=`, `bps=`, `iops_max=` ...).

Time is virtual and comes with each request, all sums are whole numbers: a throttled run is the same every time. Whoever
completes requests (`emu.aio`) asks `admit` when a request may start. Meaning of the options as in QEMU's throttling.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bucket", "Limits", "Throttle"]

SECOND = 1_000_000_000
KINDS = ("", "_rd", "_wr")


@dataclass(frozen=True)
class Limits:
    """One limit: units a second, units a second in a burst (0: none), and seconds that a burst may last."""

    average: int
    burst: int = 0
    length: int = 1


class Bucket:
    """A bucket that leaks `average` units a second and lets a request pass while it is not over its brim."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.level = 0
        """Units times a second."""
        self.burst_level = 0
        self.time = 0
        high = limits.burst * limits.length if limits.burst else limits.average / 10
        self._brim = int(high * SECOND)
        self._burst_brim = limits.burst * SECOND // 10

    def ready(self, now: int) -> int:
        """The virtual time, from `now` on, at which a request may pass."""
        self._leak(now)
        wait = 0
        if self.level > self._brim:
            wait = -(-(self.level - self._brim) // self.limits.average)
        if self.limits.burst and self.limits.length > 1 and self.burst_level > self._burst_brim:
            wait = max(wait, -(-(self.burst_level - self._burst_brim) // self.limits.burst))
        return now + wait

    def add(self, now: int, units: int) -> None:
        """A request of `units` passes."""
        self._leak(now)
        self.level += units * SECOND
        self.burst_level += units * SECOND

    def _leak(self, now: int) -> None:
        passed = max(0, now - self.time)
        self.time = max(self.time, now)
        self.level = max(0, self.level - passed * self.limits.average)
        self.burst_level = max(0, self.burst_level - passed * self.limits.burst)


class Throttle:
    """The limits of one disk: `bps`, `bps_rd`, `bps_wr`, `iops`, `iops_rd`, `iops_wr` by name."""

    def __init__(self, limits: dict[str, Limits], iops_size: int = 0) -> None:
        self.iops_size = iops_size
        """Bytes that count as one request; 0: a request is one, however large."""
        self._buckets = {name: Bucket(limit) for name, limit in limits.items() if limit.average}
        self._last = 0

    def admit(self, now: int, write: bool, length: int) -> int:
        """The virtual time (ns) at which a request of `length` bytes, submitted at `now`, may start."""
        kind = KINDS[1 + write]
        at = max(now, self._last)
        units = {"iops": -(-length // self.iops_size) if self.iops_size and length else 1, "bps": length}
        mine = [
            (bucket, amount)
            for what, amount in units.items()
            for name in (what, what + kind)
            if (bucket := self._buckets.get(name)) is not None
        ]
        for bucket, _ in mine:
            at = max(at, bucket.ready(at))
        for bucket, amount in mine:
            bucket.add(at, amount)
        self._last = at
        return at
