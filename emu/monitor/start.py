"""Monitors for a run from the command line: who sits on which host end, and the names of the drives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from devices.ata import AtaChannel
from devices.fdc82077 import Fdc82077
from emu.chardev import Host, Mux
from emu.machine import Machine
from emu.media import Medium, open_drive
from emu.monitor.control import Block, Control
from emu.monitor.hmp import Hmp
from emu.monitor.qmp import Qmp
from emu.monitor.qtest import Qtest
from emu.monitor.registry import Refused
from emu.options import Config, Drive, MonitorSpec, UsageError

if TYPE_CHECKING:
    from devices.contracts import Disk
    from emu.monitor.actions import Actions


class Monitors:
    """All monitors of a run; the session polls them."""

    def __init__(
        self,
        machine: Machine,
        config: Config,
        actions: Actions,
        hosts: Callable[[MonitorSpec], Host],
        labels: Iterable[Host],
        media: Sequence[Medium],
        qtest: Host | None = None,
    ) -> None:
        """`hosts` gives the host end of each; `labels` are all host ends, for `info chardev`. Raises UsageError."""
        self.control = Control(machine, config, actions)
        self.control.hosts = list(labels)
        self.control.blocks = [_block(machine, medium) for medium in media]
        actions.open_medium = self._open
        self._fronts: list[Hmp | Qmp | Qtest] = []
        if qtest is not None:
            self._fronts.append(Qtest(self.control, qtest))
            qtest.front = self._fronts[0]
        for spec in config.monitors:
            host = hosts(spec)
            shared = isinstance(host.front, Mux)
            front: Hmp | Qmp
            if spec.control:
                front = Qmp(self.control, host, pretty=spec.pretty)
            else:
                front = Hmp(self.control, host, shared=shared)
            if isinstance(host.front, Mux):
                host.front.add(front)
            elif host.front is None:
                host.front = front
            else:
                raise UsageError(f"-mon: the chardev {host.label} is in use")
            self._fronts.append(front)

    @property
    def busy(self) -> bool:
        """Whether a command waits that can be carried out now."""
        return any(front.busy for front in self._fronts)

    def poll(self) -> None:
        """Carry out what has come; never blocks."""
        for front in self._fronts:
            front.poll()
        self.control.poll()

    def ended(self) -> None:
        """The run is over: the clients are told."""
        self.control.ended()

    def _open(self, block: Block, path: str, format: str) -> Disk | None:
        old = block.medium.drive
        drive = Drive(path, old.interface, old.index, old.media, format or None, read_only=old.read_only, id=old.id)
        config = Config(snapshot=self.control.config.snapshot)
        try:
            return open_drive(drive, config).disk
        except UsageError as error:
            raise Refused(str(error)) from None


def _block(machine: Machine, medium: Medium) -> Block:
    """A drive under QEMU's name for it: ide0-hd0, ide1-cd0, floppy0, or what its id= says."""
    drive = medium.drive
    index = drive.index or 0
    if drive.interface == "ide" and drive.index is not None:
        channel = machine.devices.get(f"ide{index // 2}")
        device = channel.drives[index % 2] if isinstance(channel, AtaChannel) else None
        name = drive.id or f"ide{index // 2}-{'cd' if medium.cdrom else 'hd'}{index % 2}"
        return Block(name, medium, device, qdev=f"/machine/{name}")
    if drive.interface == "floppy":
        fdc = machine.devices.get("fdc")
        floppy = fdc.drives[index] if isinstance(fdc, Fdc82077) and index < len(fdc.drives) else None
        return Block(drive.id or f"floppy{index}", medium, floppy, qdev=f"/machine/floppy{index}")
    return Block(drive.id or f"{drive.interface}{index}", medium, qdev=drive.id or "")
