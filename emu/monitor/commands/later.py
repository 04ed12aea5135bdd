"""Commands of QEMU that Emu does not have: a clear word instead of an unknown command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.monitor.registry import Refused, hmp, info, qmp

if TYPE_CHECKING:
    from emu.monitor.control import Control

SNAPSHOTS = "Snapshots of the machine are not available yet"
MIGRATION = "Migration is not available"


@hmp("savevm", "tag:w?", "tag", "save a VM snapshot")
@hmp("loadvm", "tag:w", "tag", "restore a VM snapshot from its tag")
@hmp("delvm", "tag:w", "tag", "delete a VM snapshot from its tag")
def snapshot(control: Control, tag: str = "") -> None:
    raise Refused(SNAPSHOTS)


@info("snapshots", "show the currently saved VM snapshots")
def info_snapshots(control: Control) -> str:
    return "There is no snapshot available.\n"


@qmp("snapshot-save", "snapshot-load")
def snapshot_job(control: Control, job_id: str, tag: str, vmstate: str, devices: list[Any]) -> None:
    raise Refused(SNAPSHOTS)


@qmp("snapshot-delete")
def snapshot_delete(control: Control, job_id: str, tag: str, devices: list[Any]) -> None:
    raise Refused(SNAPSHOTS)


@qmp("query-jobs", "query-block-jobs", "query-migrate-capabilities", "query-dirty-rate", "query-iothreads")
def nothing(control: Control) -> list[Any]:
    return []


@qmp("query-migrate")
def query_migrate(control: Control) -> dict[str, Any]:
    return {}


@qmp("migrate-set-capabilities")
def migrate_set_capabilities(control: Control, capabilities: list[Any]) -> None:
    raise Refused(MIGRATION)


@hmp("migrate_set_capability", "name:w state:b", "capability state", "Enable/Disable the usage of a capability")
def migrate_set_capability(control: Control, name: str, state: bool) -> None:
    raise Refused(MIGRATION)


@hmp("migrate", "uri:r", "uri", "migrate to URI")
@qmp("migrate")
def migrate(control: Control, uri: str) -> None:
    raise Refused(MIGRATION)


@hmp("device_add", "device:r", "driver[,prop=value][,...]", "add device, like -device on the command line")
@hmp("device_del", "device:w", "device", "remove device")
@hmp("drive_add", "device:r", "slot file=file[,if=type]...", "add drive to PCI storage controller")
@hmp("drive_del", "device:w", "device", "remove host block device")
def hotplug(control: Control, device: str) -> None:
    raise Refused("Devices cannot be added or removed while the machine runs")


@qmp("device_add")
def device_add(control: Control, driver: str, id: str = "", bus: str = "") -> None:
    raise Refused("Devices cannot be added or removed while the machine runs")


@qmp("device_del")
def device_del(control: Control, id: str) -> None:
    raise Refused("Devices cannot be added or removed while the machine runs")
