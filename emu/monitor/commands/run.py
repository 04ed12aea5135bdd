"""Stopping, starting and ending the run; what is there to say about it; help; the log; the debugger."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING, Any

from emu.machine import Cause
from emu.monitor.registry import HMP, INFO, QMP, Refused, hmp, info, qmp, unique
from emu.options import CORES, DEBUG_CATEGORIES, DEFAULT_MACHINE, MACHINES, VERSION, UsageError, cpu_models

if TYPE_CHECKING:
    from emu.monitor.control import Control

LIKE_QEMU = {"major": 7, "minor": 2, "micro": 0}
"""The version whose commands these are: clients choose by it."""
NO_UUID = "00000000-0000-0000-0000-000000000000"


def version() -> dict[str, Any]:
    """For the greeting and `query-version`."""
    return {"qemu": LIKE_QEMU, "package": f"Emu {VERSION}"}


# -- help


@hmp("help|?", "name:r?", "[cmd]", "show the help")
def help_(control: Control, name: str = "") -> str:
    if not name:
        return "".join(f"{command.line()}\n" for command in unique(HMP))
    if name == "info":
        return info_(control)
    table, word, prefix = (INFO, name[5:].strip(), "info ") if name.startswith("info ") else (HMP, name, "")
    command = table.get(word)
    if command is not None:
        return command.line(prefix) + "\n"
    near = difflib.get_close_matches(word, table, 1)
    more = f"; did you mean {prefix}{near[0]}?" if near else ""
    return f"unknown command: '{name[:100]}'{more}\n"


@hmp("info", "", "[subcommand]", "show various information about the system state")
def info_(control: Control) -> str:
    return "".join(f"{command.line('info ')}\n" for command in unique(INFO))


# -- stopping and starting


@hmp("stop", "", "", "stop emulation")
@qmp("stop")
def stop(control: Control) -> None:
    control.machine.pause()


@hmp("cont|c", "", "", "resume emulation")
@qmp("cont")
def cont(control: Control) -> None:
    if control.machine.parked:
        raise Refused("Resetting the Virtual Machine is required")
    if control.machine.paused and control.machine.stops is not None:
        control.machine.stops.go()
    control.machine.go_on()


@hmp("quit|q", "", "", "quit the emulator")
@qmp("quit")
def quit_(control: Control) -> None:
    control.machine.end(Cause.QUIT)


@hmp("system_reset", "", "", "reset the system")
@qmp("system_reset")
def system_reset(control: Control) -> None:
    control.actions.do("reset")


@hmp("system_powerdown", "", "", "send system power down event")
@qmp("system_powerdown")
def system_powerdown(control: Control) -> None:
    control.actions.do("powerdown")


@hmp("system_wakeup", "", "", "wakeup guest from suspend")
@qmp("system_wakeup")
def system_wakeup(control: Control) -> None:
    if not control.machine.asleep:
        raise Refused("Unable to wake up: guest is not in suspended state")
    control.actions.do("wakeup")


@hmp("nmi", "", "", "inject an NMI")
@qmp("inject-nmi")
def nmi(control: Control) -> None:
    control.actions.do("nmi")


# -- what run this is


@qmp("query-status")
def query_status(control: Control) -> dict[str, Any]:
    status = control.status
    return {"status": status, "singlestep": False, "running": status == "running"}


@info("status", "show the current VM status (running|paused)")
def info_status(control: Control) -> str:
    status = control.status
    if status in ("running", "paused"):
        return f"VM status: {status}\n"
    return f"VM status: paused ({status})\n"


@qmp("query-version")
def query_version(control: Control) -> dict[str, Any]:
    return version()


@info("version", "show the version")
def info_version(control: Control) -> str:
    return f"{VERSION} Emu\n"


@qmp("query-commands")
def query_commands(control: Control) -> list[dict[str, str]]:
    return [{"name": name} for name in sorted(QMP)]


@qmp("query-kvm")
def query_kvm(control: Control) -> dict[str, bool]:
    return {"enabled": False, "present": False}


@info("kvm", "show KVM information")
def info_kvm(control: Control) -> str:
    return "kvm support: disabled\n"


@qmp("query-name")
def query_name(control: Control) -> dict[str, str]:
    return {"name": control.config.name} if control.config.name else {}


@info("name", "show the current VM name")
def info_name(control: Control) -> str:
    return f"{control.config.name}\n" if control.config.name else ""


@qmp("query-uuid")
def query_uuid(control: Control) -> dict[str, str]:
    return {"UUID": control.config.uuid.lower() or NO_UUID}


@info("uuid", "show the current VM UUID")
def info_uuid(control: Control) -> str:
    return f"{control.config.uuid.lower() or NO_UUID}\n"


@qmp("query-machines")
def query_machines(control: Control) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "cpu-max": 1,
            "hotpluggable-cpus": False,
            "numa-mem-supported": False,
            "deprecated": False,
            "acpi": name == "pc",
            **({"is-default": True} if name in DEFAULT_MACHINE.values() and name == control.config.machine else {}),
        }
        for name in MACHINES
    ]


@qmp("query-current-machine")
def query_current_machine(control: Control) -> dict[str, Any]:
    return {"wakeup-suspend-support": "acpi" in control.machine.devices}


@qmp("query-cpu-definitions")
def query_cpu_definitions(control: Control) -> list[dict[str, Any]]:
    models = cpu_models(CORES[control.config.machine].arch)
    return [{"name": name, "typename": f"{name}-cpu", "static": False, "deprecated": False} for name in models]


@qmp("query-target")
def query_target(control: Control) -> dict[str, str]:
    return {"arch": "i386" if CORES[control.config.machine].arch == "x86" else "ppc"}


@qmp("query-cpus-fast")
def query_cpus_fast(control: Control) -> list[dict[str, Any]]:
    import os

    arch = CORES[control.config.machine].arch
    cpu = {"cpu-index": 0, "qom-path": "/machine/unattached/device[0]", "thread-id": os.getpid()}
    return [cpu | {"target": "i386" if arch == "x86" else "ppc"}]


@info("cpus", "show infos for each CPU")
def info_cpus(control: Control) -> str:
    import os

    return f"* CPU #0: thread_id={os.getpid()}\n"


@hmp("cpu", "index:i", "index", "set the default CPU")
def cpu_(control: Control, index: int) -> None:
    if index:
        raise Refused("invalid CPU index")


@info("replay", "show record/replay information")
def info_replay(control: Control) -> str:
    inputs, machine = control.machine.inputs, control.machine
    if inputs.replaying:
        return f"Replaying: current step = {machine.retired}\n"
    if inputs.sink is not None:
        return f"Recording: current step = {machine.retired}\n"
    return "Record/replay is not active\n"


@info("guest-errors", "show what the guest did that no manual allows, and what is not modelled")
def info_guest_errors(control: Control) -> str:
    return "Nothing is counted; run with -d guest_errors,unimp, or say: log guest_errors,unimp\n"


@info("trace-events", "show available trace-events & their state")
def info_trace_events(control: Control) -> str:
    return "".join(f"{name} : state {int(_logged(name))}\n" for name in DEBUG_CATEGORIES)


@info("history", "show the command line history")
def info_history(control: Control) -> str:
    return ""  # each prompt has its own


# -- the log


def _logged(name: str) -> bool:
    return logging.getLogger(f"emu.{name}").isEnabledFor(logging.DEBUG)


LOGGED_NOW = ("unimp", "guest_errors", "io")
"""Categories that can be switched while the run goes on; the others have the processor run differently."""


@hmp("log", "items:r", "item1[,...]", "activate logging of the specified items")
def log(control: Control, items: str) -> str:
    names = [] if items == "none" else items.split(",")
    unknown = [name for name in names if name not in DEBUG_CATEGORIES]
    if unknown:
        width = max(map(len, DEBUG_CATEGORIES))
        lines = [f"{name:{width}} {text}\n" for name, text in DEBUG_CATEGORIES.items()]
        return "Log items (comma separated):\n" + "".join(lines)
    fixed = [name for name in names if name not in LOGGED_NOW and name not in control.config.debug]
    if fixed:
        raise Refused(f"{', '.join(fixed)}: can only be switched on by -d when the run starts")
    for name in DEBUG_CATEGORIES:
        level = logging.DEBUG if name in names else logging.CRITICAL
        logging.getLogger(f"emu.{name}").setLevel(level)
    return ""


@hmp("logfile", "path:w", "filename", "output logs to 'filename'")
def logfile(control: Control, path: str) -> None:
    root = logging.getLogger("emu")
    try:
        handler = logging.FileHandler(path, "w", errors="backslashreplace")
    except (OSError, ValueError) as error:
        raise Refused(f"{path[:200]}: {getattr(error, 'strerror', None) or error}") from None
    for old in list(root.handlers):
        handler.setFormatter(old.formatter)
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()
    root.addHandler(handler)


# -- the debugger


@hmp("gdbserver", "device:w?", "[device]", "start gdbserver on given device (default 'tcp::1234'), stop with 'none'")
def gdbserver(control: Control, device: str = "tcp::1234") -> str:
    if control.gdb is None:
        raise Refused("The debugger cannot be started here")
    try:
        where: str = control.gdb(device)
    except UsageError as error:
        raise Refused(str(error)) from None
    return f"Waiting for gdb connection on device '{where}'\n" if where else "Disabled gdbserver\n"


@hmp("singlestep", "on:w?", "[on|off]", "run emulation in singlestep mode or switch to normal mode")
def singlestep(control: Control, on: str = "on") -> None:
    if on != "off":
        raise Refused("singlestep: every instruction has its own place in time already; there is nothing to switch")
