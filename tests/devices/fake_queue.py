"""A disk queue for device tests: requests complete 20 us after they were made, on the fake clock."""

from __future__ import annotations


class FakeQueue:
    """`hold` True: nothing completes until it is False again and time passes."""

    def __init__(self, disk, clock, delay=20_000):
        self.disk = disk
        self.clock = clock
        self.delay = delay
        self.calls = []
        self.waiting = []
        self.settled = 0
        self.timer = clock.timer("queue", self._due)

    @property
    def size(self):
        return self.disk.size

    @property
    def read_only(self):
        return self.disk.read_only

    def _add(self, what, work, done, at):
        due = self.clock.now() + self.delay if at is None else at
        self.calls.append(what)
        self.waiting.append((due, work, done))
        self._arm()
        return due

    def _arm(self):
        if self.waiting:
            self.timer.arm(min(due for due, _, _ in self.waiting))

    def _due(self):
        now = self.clock.now()
        ready = sorted((entry for entry in self.waiting if entry[0] <= now), key=lambda entry: entry[0])
        self.waiting = [entry for entry in self.waiting if entry[0] > now]
        for _, work, done in ready:
            try:
                result = work()
            except OSError as error:
                result = error
            done(result)
        self._arm()

    def read(self, offset, length, done, *, at=None):
        return self._add(("read", offset, length), lambda: self.disk.read(offset, length), done, at)

    def write(self, offset, data, done, *, at=None):
        return self._add(("write", offset, len(data)), lambda: self.disk.write(offset, data), done, at)

    def flush(self, done, *, at=None):
        return self._add(("flush",), self.disk.flush, done, at)

    def settle(self):
        self.settled += 1

    def cancel(self):
        self.waiting = []
        self.timer.cancel()
