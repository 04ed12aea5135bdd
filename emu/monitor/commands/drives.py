"""Disks, CDs and floppies: what is there, media that come and go, sizes, throttles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.monitor.registry import Refused, hmp, info, qmp
from emu.options import shown

if TYPE_CHECKING:
    from emu.monitor.control import Block, Control


def _device(block: Block) -> Any:
    return getattr(block.device, "s", None)


def _locked(block: Block) -> bool:
    return bool(getattr(_device(block), "locked", False))


def _open(block: Block) -> bool:
    return bool(getattr(_device(block), "tray_open", False))


def _disk(block: Block) -> Any:
    """The medium that is in now."""
    return getattr(block.device, "disk", block.medium.disk) if block.removable else block.medium.disk


def _file(block: Block) -> str:
    return block.file or block.medium.drive.file or ""


def _driver(block: Block) -> str:
    return block.medium.drive.format or str(getattr(_disk(block), "format", "raw"))


@info("block", "show info of one block device or all block devices", "device:w?", "[-n] [-v] [device]", n="n", v="v")
def info_block(control: Control, device: str = "", n: bool = False, v: bool = False) -> str:
    blocks = [control.block(device)] if device else control.blocks
    return "\n".join(_block_text(block) for block in blocks)


def _block_text(block: Block) -> str:
    disk = _disk(block)
    if disk is None:
        lines = [f"{block.name}: [not inserted]"]
    else:
        read_only = ", read-only" if disk.read_only else ""
        lines = [f"{block.name}: {shown(_file(block))} ({_driver(block)}{read_only})"]
    if block.qdev:
        lines.append(f"    Attached to:      {shown(block.qdev)}")
    if block.removable:
        tray = "open" if _open(block) else "closed"
        lines.append(f"    Removable device: {'' if _locked(block) else 'not '}locked, tray {tray}")
    if disk is not None:
        lines.append("    Cache mode:       writeback")
    return "".join(f"{line}\n" for line in lines)


@qmp("query-block")
def query_block(control: Control) -> list[dict[str, Any]]:
    found = []
    for block in control.blocks:
        row: dict[str, Any] = {
            "device": block.name,
            "qdev": block.qdev,
            "type": "unknown",
            "removable": block.removable,
            "locked": _locked(block),
            "io-status": "ok",
        }
        if block.removable:
            row["tray_open"] = _open(block)
        disk = _disk(block)
        if disk is not None:
            row["inserted"] = _inserted(block, disk)
        found.append(row)
    return found


def _inserted(block: Block, disk: Any) -> dict[str, Any]:
    name, driver = _file(block), _driver(block)
    return {
        "file": name,
        "ro": disk.read_only,
        "drv": driver,
        "encrypted": False,
        "backing_file_depth": 0,
        "detect_zeroes": "off",
        "write_threshold": 0,
        "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
        "cache": {"writeback": True, "direct": False, "no-flush": False},
        "image": {"filename": name, "format": driver, "virtual-size": disk.size, "dirty-flag": False},
    }  # fmt: skip


_COUNTS = (
    "rd_bytes wr_bytes rd_operations wr_operations flush_operations wr_total_time_ns rd_total_time_ns "
    "flush_total_time_ns rd_merged wr_merged failed_rd_operations failed_wr_operations invalid_rd_operations "
    "invalid_wr_operations"
).split()


def _counts(block: Block) -> dict[str, int]:
    statistics = getattr(_disk(block), "statistics", None)
    known = {} if statistics is None else statistics.counts()
    return {name: int(known.get(name, 0)) for name in _COUNTS}


@qmp("query-blockstats")
def query_blockstats(control: Control, query_nodes: bool = False) -> list[dict[str, Any]]:
    more = {"account_invalid": True, "account_failed": True, "timed_stats": [], "wr_highest_offset": 0}
    return [{"device": block.name, "qdev": block.qdev, "stats": _counts(block) | more} for block in control.blocks]


@info("blockstats", "show block device statistics")
def info_blockstats(control: Control) -> str:
    return "".join(
        f"{block.name}: " + " ".join(f"{name}={value}" for name, value in list(_counts(block).items())[:10]) + "\n"
        for block in control.blocks
    )


# -- media


@hmp("eject", "device:w", "[-f] device", "eject a removable medium (use -f to force it)", f="force")
@qmp("eject")
def eject(control: Control, device: str = "", id: str = "", force: bool = False) -> None:
    block = _removable(control, device or id)
    control.actions.do("eject", block.name, force)


@hmp("change", "device:w filename:w format:w?", "device [-f] filename [format]", "change a removable medium")
def change(control: Control, device: str, filename: str, format: str = "") -> None:
    if device == "vnc":
        from emu.monitor.commands.screens import change_vnc

        change_vnc(control, filename, format)
        return
    block = _removable(control, device)
    if _locked(block) and not _open(block):
        raise Refused(f"Device '{device}' is locked and force was not specified, wait for tray to open and try again")
    control.actions.do("change", block.name, filename, format)


@qmp("change")
def change_any(control: Control, device: str, target: str, arg: str = "") -> None:
    change(control, device, target, arg)


@qmp("blockdev-change-medium")
def blockdev_change_medium(
    control: Control,
    filename: str,
    device: str = "",
    id: str = "",
    format: str = "",
    force: bool = False,
    read_only_mode: str = "retain",
) -> None:
    change(control, device or id, filename, format)


@qmp("blockdev-remove-medium")
def blockdev_remove_medium(control: Control, id: str) -> None:
    eject(control, id=id, force=True)


def _removable(control: Control, name: str) -> Block:
    block = control.block(name)
    if not block.removable:
        raise Refused(f"Device '{name}' is not removable")
    return block


# -- what is written


@hmp("commit", "device:w", "device|all", "commit changes to the disk images (if -snapshot is used) or backing files")
def commit(control: Control, device: str) -> None:
    blocks = control.blocks if device == "all" else [control.block(device)]
    done = 0
    for block in blocks:
        disk = _disk(block)
        if disk is None or not hasattr(disk, "commit"):
            continue
        try:
            disk.commit()
        except OSError as error:
            raise Refused(f"'commit' error for '{block.name}': {error.strerror or error}") from None
        done += 1
    if not done and device != "all":
        raise Refused(f"'commit' error for '{device}': there is nothing to commit to")


@hmp("block_resize", "device:w size:M", "device size", "resize a block image")
@qmp("block_resize")
def block_resize(control: Control, device: str = "", size: int = 0, node_name: str = "") -> None:
    disk = _disk(control.block(device or node_name))
    if disk is None or not hasattr(disk, "resize"):
        raise Refused("The image cannot change its size")
    raise Refused("An image cannot change its size while the machine runs")


@info("block-jobs", "show progress of ongoing block device operations")
def info_block_jobs(control: Control) -> str:
    return "No active jobs\n"
