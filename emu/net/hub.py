"""-netdev hubport: a hub whose ports are cards and other back ends. What comes in at one goes out at all others.

Each port has an output with a fair queue (`emu.net.queue`), whose sources are the other ports: of a port that N others
send to each gets at least 1/N. So a port that floods costs a quiet one no more than its own share.
"""

from __future__ import annotations

from emu.net.queue import Output
from emu.net.wire import Backend

PROPERTIES = {"hubid": "number of the hub", "netdev": "id of a -netdev to join to it"}


class Hub:
    """One hub. Frames of a port go to its other ports."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ports: list[HubPort] = []
        self._passing = False

    def spread(self, source: HubPort, frame: bytes) -> None:
        """A frame has come in at a port."""
        for port in self.ports:
            if port is not source:
                port.output.put(source.number, frame)


class HubPort(Backend):
    """One port: the far end of the wire of what is connected to it."""

    kind = "hubport"

    def __init__(self, name: str, hub: Hub, *, rate: float | None = None, latency: float = 0.0) -> None:
        super().__init__(name)
        self.hub = hub
        self.number = len(hub.ports)
        self.output = Output(self._leave, rate, latency)
        hub.ports.append(self)

    def _leave(self, frame: bytes) -> bool:
        if self.full():
            return False
        self.deliver(frame)
        return True

    def send(self, frame: bytes) -> None:
        self.hub.spread(self, frame)

    @property
    def busy(self) -> bool:
        return self.output.pending

    def timeout(self) -> float | None:
        return self.output.timeout()

    def poll(self) -> None:
        self.output.run()

    def describe(self) -> str:
        lost = sum(self.output.lost.values())
        return f"hub={self.hub.number},port={self.number}" + (f",lost={lost}" if lost else "")
