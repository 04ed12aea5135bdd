"""One run from the command line: from a `Config` to an exit status.

Opens what the command line names, builds the board, connects terminal, files and script to it, runs it, and reports.
Guest output goes to stdout, everything of ours to stderr.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from emu.boards import Setup, board
from emu.chardev import Entrance, Front, GuestFront, Host, Mux, StdioHost, make
from emu.clock import Pacer, calendar, wall
from emu.errors import ReplayError
from emu.expect import Script, last_lines
from emu.machine import Cause, Machine
from emu.media import open_drive, sort_positional
from emu.options import CORES, Chardev, Config, MonitorSpec, UsageError, gdb_address, rtc_base, shown
from emu.terminal import Escapes, OutputClosed, Terminal

if TYPE_CHECKING:
    from emu.display.start import Display
    from emu.gdbserver import GdbServer
    from emu.meter import Meter
    from emu.monitor.control import Control
    from emu.monitor.start import Monitors
    from emu.net.network import Network
    from emu.record import Recorder, Recording

LIKE_QEMU = ("int", "cpu", "cpu_reset", "mmu", "exec", "in_asm")
POLL_SECONDS = 0.002
QUIET_SECONDS = 0.05
"""How long an idle machine leaves the outside alone while its descriptors are silent."""
STILL_SECONDS = 2.0
"""After so long without a sign from the outside or the guest its idle time is passed in longer pieces."""
TAIL = 1 << 16


class Port:
    """The host half of a serial port or debug console: counts, remembers, and passes on what the guest sends."""

    def __init__(self, name: str, sink: Callable[[bytes], None] | None) -> None:
        self.name = name
        self.sink = sink
        self.script: Script | None = None
        self.count = 0
        self.tail = bytearray()
        self.hash = hashlib.sha256()

    def send(self, data: bytes) -> None:
        """Bytes from the guest (`devices.contracts.Console`)."""
        self.count += len(data)
        self.hash.update(data)
        self.tail += data
        if len(self.tail) > 2 * TAIL:
            del self.tail[:-TAIL]
        if self.sink is not None:
            self.sink(data)
        if self.script is not None:
            self.script.serial(data)


def reason(error: Exception) -> str:
    """The short text of an OSError, without the file name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def say(text: str) -> None:
    """A line of ours on stderr; never fails."""
    try:
        sys.stderr.write(f"emu: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def output(data: bytes) -> None:
    """Data of ours on stdout; a closed pipe is nobody's problem."""
    try:
        sys.stdout.flush()
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
    except (OSError, ValueError):
        pass


class Watched(Protocol):
    """Something outside that never blocks: sockets, the terminal, the network."""

    @property
    def live(self) -> bool:
        """Whether something may still come from it: as long as that is so, idle time is waited out."""

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""

    def poll(self) -> None:
        """Bring to the gate what has come."""


class Waker:
    """Ends a sleep from another thread (`Watched`)."""

    live = False

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken = False

    def wake(self) -> None:
        """Something has come."""
        self._woken = True
        with suppress(OSError):
            os.write(self._write, b"\0")

    def descriptors(self) -> tuple[list[int], list[int]]:
        return [self._read], []

    def poll(self) -> None:
        if self._woken:
            self._woken = False
            with suppress(OSError):
                os.read(self._read, 4096)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Session:
    """The `Outside` of a machine that was started by a command."""

    def __init__(self, config: Config, *, compat: bool = False, attached: bool = True) -> None:
        """`attached` False: the process's own stdin and stdout are not touched."""
        self.config = config
        self.attached = attached
        self.compat = compat
        self.terminal: Terminal | None = None
        self.script: Script | None = None
        self.serial: list[Port | None] = []
        self.gdb: GdbServer | None = None
        self.network: Network | None = None
        self.hosts: dict[int, Host] = {}
        """Host ends by the identity of their `Chardev`."""
        self.watched: list[Watched] = []
        """Everything outside that is asked between instructions whether something has come."""
        self.displays: list[Display] = []
        self.monitors: Monitors | None = None
        self._recorder: Recorder | None = None
        self._recording: Recording | None = None
        self._warned = 0
        self._last_poll = 0.0
        self._asked = 0.0
        self._stirred = (0.0, 0)
        """When something last came in or out, and how many bytes the guest had said then."""
        self._deadline: float | None = None
        self._auto_paced = False
        self._started = wall()
        self._meter: Meter | None = None

    # -- building

    def run(self) -> int:
        """Do all of it; returns the exit status. Raises UsageError before the guest runs, MachineError during it."""
        set_up_logging(self.config)
        try:
            return self._drive(self.build())
        except ReplayError as error:
            raise UsageError(str(error)) from None
        finally:
            if self._recorder is not None:
                self._recorder.close()

    def build(self) -> Machine:
        """The machine, powered on and connected. Raises UsageError."""
        config = self.config
        if not self.compat:
            sort_positional(config)
        for option, wanted in (("--dump-tlb", config.dump_tlb), ("--page", config.pages)):
            if wanted and CORES[config.machine].arch != "ppc":
                raise UsageError(f"{option}: is for PowerPC boards, not for -M {config.machine}")
        listener = None
        if config.gdb is not None:
            # Only who debugs pays for the debugger.
            from emu.gdbserver import listen

            listener = listen(config.gdb)
        if config.replay is not None:
            self._prepare_replay(config.replay)
        if config.record is not None:
            from emu.record import Recorder

            self._recorder = Recorder(config.record)
        setup = self._setup()
        machine = board(config.machine)(setup)
        self._say_warnings()
        machine.no_reboot = config.no_reboot
        machine.no_shutdown = config.no_shutdown
        machine.shutdown_is_failure = not self.compat
        machine.max_insns = config.max_insns
        machine.inputs.note("date", repr(self._date).encode())
        self._connect(machine)
        if config.debug:
            from emu.tools.trace import attach

            attach(machine, config.debug)
        if config.stats:
            from emu.meter import Meter

            self._meter = Meter()
            self._meter.attach(machine)
        machine.power_on()
        machine.paused = config.start_paused
        if config.gdb is not None and listener is not None:
            from emu.gdbserver import GdbServer

            self.gdb = GdbServer(machine, listener, path=config.gdb.path, control=self._control)
            if not config.gdb.path and not config.gdb.port:
                say(f"gdb: port {listener.getsockname()[1]}")
        self._open_monitors(machine, setup)
        self._open_displays(machine)
        self._begin_recording(machine, setup)
        if config.display != "curses":
            for medium in setup.media:
                if medium.line and medium.drive.positional:
                    sys.stderr.write(f"{medium.line}\n")
        return machine

    def _prepare_replay(self, path: str) -> None:
        """Open a recording. Of the outside only what shows something is left, and no disk is written. UsageError."""
        from emu.record import Recording

        config = self.config
        self._recording = Recording(path)
        config.snapshot = True
        config.script = []
        config.clock = config.clock or "warp"
        shown_kinds = ("stdio", "file", "null", "none", "ringbuf")
        for device in (*config.serial, *config.chardevs.values(), *(spec.chardev for spec in config.monitors)):
            if device.kind not in shown_kinds:
                device.kind = "null"
        if config.debugcon is not None and config.debugcon.kind not in shown_kinds:
            config.debugcon.kind = "null"

    def _begin_recording(self, machine: Machine, setup: Setup) -> None:
        """Write the header of a recording, or let the input come from one. Raises UsageError."""
        if self._recorder is None and self._recording is None:
            return
        from emu.record import identity

        made = identity(self.config, setup)
        if self._recording is not None:
            self._recording.start(machine, made, self.config.warn)
            self._say_warnings()
        if self._recorder is not None:
            self._recorder.start(machine, self._date, made)
            for medium in setup.media:
                disk = medium.disk
                if disk is not None and not disk.read_only and not getattr(disk, "private", False):
                    name = shown(medium.drive.file or "")
                    say(f"warning: --record: the run may change {name}; a replay needs it as it is now (or -snapshot)")

    def _open_monitors(self, machine: Machine, setup: Setup) -> None:
        """Put the monitors behind their host ends. What they do to the machine can be replayed without them."""
        from emu.monitor.actions import Actions

        self._actions = Actions(machine)
        self._media = setup.media
        machine.frozen = self.config.frozen
        if not self.config.monitors and self.config.qtest is None:
            return
        self._control()
        machine.patient = any(self.hosts[id(m.chardev)].spec.kind != "stdio" for m in self.config.monitors)

    def _open_displays(self, machine: Machine) -> None:
        """Show the screen where -display and -vnc say. Raises UsageError."""
        config = self.config
        if not (config.vnc or config.display == "curses") or self._recording is not None:
            return
        from emu.display.start import open_displays

        self.displays += open_displays(config, machine, self._actions, self.hosts.values())
        self.watched += self.displays
        if not config.script:
            machine.patient = True
            if config.clock is None and machine.pacer is None:
                machine.pacer = Pacer(machine.clock)
                self._auto_paced = True

    def _control(self) -> Control:
        """What all monitors share, gdb's commands included."""
        if self.monitors is not None:
            return self.monitors.control
        from emu.monitor.start import Monitors

        def host(spec: MonitorSpec) -> Host:
            return self.hosts[id(spec.chardev)]

        qtest = None if self.config.qtest is None else self.hosts[id(self.config.qtest)]
        self.monitors = Monitors(
            self._machine, self.config, self._actions, host, self.hosts.values(), self._media, qtest
        )
        self.monitors.control.network = self.network
        self.monitors.control.gdb = self._start_gdb
        self.monitors.control.displays = self.displays
        return self.monitors.control

    def _start_gdb(self, device: str) -> str:
        """The monitor's `gdbserver`. Raises UsageError."""
        from emu.gdbserver import GdbServer, listen

        address = gdb_address(device)
        if self.gdb is not None:
            self.gdb.finish(0)
            self.gdb = None
        if address is None:
            return ""
        self.gdb = GdbServer(self._machine, listen(address), path=address.path, control=self._control)
        return str(address)

    def _setup(self) -> Setup:
        """Open everything the command line names."""
        config = self.config
        ports: dict[int, Port] = {}
        for index, device in enumerate(config.serial):
            self.serial.append(self._port(f"serial{index}", device, ports))
        setup = Setup(config, serial=list(self.serial), connect=self._bring)
        if config.debugcon is not None:
            setup.debugcon = self._port("debugcon", config.debugcon, ports)
        for name, device in config.chardevs.items():
            if any(props.get("chardev") == name for _, props in config.devices):
                setup.consoles[name] = self._port(f"debugcon-{name}", device, ports)
        for index, spec in enumerate(config.monitors):
            self._host(spec.chardev, f"compat_monitor{index}")
        if config.qtest is not None:
            self._host(config.qtest, "qtest")
        self._say_warnings()
        plugged = {props.get("drive") for _, props in config.devices}
        for drive in config.drives:
            if drive.interface != "none" or drive.id in plugged:
                setup.media.append(open_drive(drive, config))
        if config.rtc is None:
            if self.interactive:
                setup.date = calendar()
        elif config.rtc in ("utc", "localtime"):
            setup.date = calendar(config.rtc == "utc")
        else:
            setup.date = rtc_base(config.rtc)
        if self._recording is not None:
            setup.date = self._recording.date
        self._date = setup.date
        if config.netdevs:
            self._open_network(setup)
        return setup

    def _open_network(self, setup: Setup) -> None:
        """Open what the -netdev options name."""
        from emu.net.network import Network

        filters = [(kind, props) for kind, props in self.config.objects.values() if kind.startswith("filter-")]
        self.network = setup.network = Network(
            self.config.netdevs, filters, say=say, opened=self._recording is None, date=setup.date
        )
        self.watched.append(self.network)

    def _say_warnings(self) -> None:
        """Print each warning once; with --strict the first one is an error."""
        for warning in self.config.warnings[self._warned :]:
            if self.config.strict:
                raise UsageError(f"{warning} (an error because of --strict)")
            say(f"warning: {warning}")
        self._warned = len(self.config.warnings)

    def _port(self, name: str, device: Chardev, ports: dict[int, Port]) -> Port | None:
        """The port behind a character device; one device that several guests' ends share is one port."""
        if id(device) in ports:
            return ports[id(device)]
        if device.kind == "none":
            return None
        host = self._host(device, name)
        port = ports[id(device)] = Port(name, host.send)
        if name.startswith("serial"):
            self._join(host, GuestFront(lambda: self._machine.inputs.channels.get(name)))
        return port

    def _bring(self, name: str, channel: Entrance, presence: Entrance | None = None) -> None:
        """Let what comes from the character device `name` go to a channel (`Setup.connect`)."""
        device = self.config.chardevs.get(name)
        if device is not None and device.kind != "none":
            self._join(self._host(device, name), GuestFront(lambda: channel, presence))

    def _host(self, device: Chardev, label: str) -> Host:
        """The host end of a character device. Raises UsageError."""
        host = self.hosts.get(id(device))
        if host is not None:
            return host
        if device.kind == "stdio" and self.attached:
            escape = self.config.escape
            self.terminal = Terminal(mux=device.mux, signals=not device.mux, escape=escape)
            host = StdioHost(device, device.label or label, self.terminal, self._to_stdout)
        elif device.kind == "stdio":
            host = Host(device, device.label or label)
        else:
            host = make(device, device.label or label, say)
        if device.mux:
            escapes = self.terminal.escapes if isinstance(host, StdioHost) and self.terminal else None
            host.front = Mux(escapes or Escapes(self.config.escape, lambda text: host.send(text.encode())))
        self.hosts[id(device)] = host
        self.watched.append(host)
        return host

    def _join(self, host: Host, front: Front) -> None:
        """Put a front behind a host end."""
        if isinstance(host.front, Mux):
            host.front.add(front)
        elif host.front is None:
            host.front = front

    def _to_stdout(self, data: bytes) -> None:
        if self.terminal is None:
            return
        try:
            self.terminal.send(data)
        except OutputClosed:
            self._machine.end(Cause.SIGNAL, 128 + signal.SIGPIPE)

    @property
    def interactive(self) -> bool:
        """A person sits at the terminal and types to the guest."""
        if self.config.display == "curses" and not self.config.script:
            return True
        return self.terminal is not None and self.terminal.is_tty and not self.config.script

    def _connect(self, machine: Machine) -> None:
        self._machine = machine
        machine.on_change.append(self._on_change)
        config = self.config
        if self.network is not None:
            self.network.connect(machine)
        terminal = self.terminal
        if terminal is not None:
            terminal.actions |= {
                "x": lambda: machine.end(Cause.QUIT),
                "t": self._toggle_timestamps,
                "s": self._save,
                "b": self._break,
            }
        if config.script:
            self.script = Script(
                config.script,
                machine.clock,
                screen=lambda: machine.screen(),
                type_serial=self._type_serial,
                type_keys=machine.type_keys,
                typing=lambda: machine.inputs.waiting,
                finished=lambda: machine.end(Cause.SCRIPT),
            )
            if self.serial and self.serial[0] is not None:
                self.serial[0].script = self.script
        if config.clock == "paced":
            machine.pacer = Pacer(machine.clock)
        elif config.clock is None and self._somebody_may_come() and not config.script:
            # Idle time is waited out as long as that is so.
            machine.pacer = Pacer(machine.clock)
            self._auto_paced = True
        if config.timeout is not None:
            self._deadline = self._started + config.timeout

    def _type_serial(self, data: bytes) -> None:
        channel = self._machine.inputs.channels.get("serial0")
        if channel is not None:
            channel.put(data)

    def _on_change(self, event: str, data: dict[str, object]) -> None:
        if event == "BLOCK_IO_ERROR":
            say(f"disk {data['device']}: {data['reason']}; paused, the monitor's cont tries again")

    def _toggle_timestamps(self) -> None:
        terminal = self.terminal
        if terminal is None:
            return
        clock = self._machine.clock
        if terminal.timestamps is None:
            terminal.timestamps = lambda: f"[{clock.now() / 1e9:10.3f}] "
        else:
            terminal.timestamps = None

    def _save(self) -> None:
        for disk in self._machine.disks:
            try:
                disk.flush()
            except OSError as error:
                say(f"disk: {reason(error)}")

    def _break(self) -> None:
        if self._machine.send_break is not None:
            self._machine.send_break()

    # -- running

    def _drive(self, machine: Machine) -> int:
        terminal = self.terminal
        read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        old_wakeup = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        old_continue = signal.getsignal(signal.SIGCONT)
        if terminal is None:
            terminal = Terminal(mux=False, signals=True)
            terminal.eof, terminal.live, terminal.is_tty = True, False, False
        self._keyboard = terminal
        terminal.alarm = read_fd
        terminal.others = self._descriptors
        waker = Waker()
        self.watched.append(waker)
        try:
            for number in old:
                signal.signal(number, self._on_signal)
            signal.signal(signal.SIGCONT, lambda number, frame: terminal.resume())
            terminal.open()
            machine.workers.wake = waker.wake
            for host in self.hosts.values():
                host.start(lambda: machine.ending is not None or self._timed_out())
            if self.script is not None:
                self.script.start()
            ending = machine.run(self)
            # Whatever ended it: the timers that are due have fired, as they have where a recording of it ends.
            machine.clock.fire()
            if self._recorder is not None:
                self._recorder.finish(machine)
                if self._recorder.failed:
                    say(f"--record {shown(self._recorder.path)}: {self._recorder.failed}; the recording is not whole")
            if self._recording is not None:
                self._recording.finish(machine)
            if self.monitors is not None:
                self.monitors.ended()
            if self.gdb is not None:
                self.gdb.finish(ending.status)
        finally:
            for host in self.hosts.values():
                host.close()
            if self.network is not None:
                self.network.close()
            for display in self.displays:
                display.close()
            terminal.close()
            terminal.alarm = None
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in (*old.items(), (signal.SIGCONT, old_continue)):
                signal.signal(number, handler)
            os.close(read_fd)
            os.close(write_fd)
            machine.workers.close()
            machine.workers.wake = lambda: None
            self.watched.remove(waker)
            waker.close()
            self._close(machine)
        return self._report(machine, ending.cause, ending.status, ending.text)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._machine.end(Cause.SIGNAL, 128 + number, f"ended by {signal.Signals(number).name}")

    def _close(self, machine: Machine) -> None:
        for disk in machine.disks:
            try:
                disk.flush()
            except OSError as error:
                say(f"disk: {reason(error)}")

    def poll(self, machine: Machine) -> None:
        """See `emu.machine.Outside`."""
        now = wall()
        if self.gdb is not None and machine.paused:
            self.gdb.poll()
        if now - self._last_poll < POLL_SECONDS:
            if self.network is not None:
                machine.brisk = self.network.eager
                if machine.brisk:
                    self.network.poll()
            return
        self._last_poll = self._asked = now
        if self._deadline is not None and now >= self._deadline:
            machine.end(Cause.TIMEOUT, 124, f"time is up after {self.config.timeout:g} s (--timeout)")
            return
        if self.gdb is not None:
            self.gdb.poll()
        for watched in self.watched:
            watched.poll()
        if self.monitors is not None:
            self.monitors.poll()
        if self._auto_paced and not self._somebody_may_come():
            self._auto_paced = False
            machine.pacer = None

    def _somebody_may_come(self) -> bool:
        """Whether a person or program may still have a say in what the guest does."""
        return any(watched.live for watched in self.watched)

    def _descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for besides standard input: to read and to write."""
        found = [watched.descriptors() for watched in self.watched]
        if self.gdb is not None:
            found.append(self.gdb.descriptors())
        return [fd for readers, _ in found for fd in readers], [fd for _, writers in found for fd in writers]

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        """See `emu.machine.Outside`."""
        keyboard = self._keyboard
        gdb = self.gdb is not None and (self.gdb.busy or machine.paused)
        if seconds is None and keyboard.eof and self._deadline is None and not gdb and not self._somebody_may_come():
            return False
        if self._deadline is not None:
            left = max(0.0, self._deadline - wall())
            seconds = left if seconds is None else min(seconds, left)
        if self.monitors is not None and self.monitors.busy:
            seconds = 0.0
        timeouts = [display.timeout() for display in self.displays]
        if self.network is not None:
            timeouts.append(self.network.timeout())
        soon = min((time for time in timeouts if time is not None), default=None)
        early = soon is not None and (seconds is None or soon < seconds)
        came = keyboard.wait(soon if early else seconds)
        # Nothing has come: what has descriptors need not be asked, and the rest not at every tick of an idle guest.
        now = wall()
        quiet = not came and not early and not self._timed_out() and now - self._asked < QUIET_SECONDS
        self._last_poll = now if quiet else 0.0
        said = sum(port.count for port in self.serial if port is not None)
        if came or self.displays or said != self._stirred[1]:
            self._stirred = now, said
        if machine.pacer is not None:
            machine.pacer.still = now - self._stirred[0] > STILL_SECONDS
        return came or early or machine.ending is not None or self._timed_out() or seconds is None

    def _timed_out(self) -> bool:
        return self._deadline is not None and wall() >= self._deadline

    def at_rest(self, machine: Machine) -> None:
        """See `emu.machine.Outside`."""
        if self.script is not None:
            self.script.look()

    # -- reporting

    def _report(self, machine: Machine, cause: Cause, status: int, text: str) -> int:
        if cause == Cause.SHUTDOWN:
            if not self.compat or not machine.shutdown_restarts:
                self._tell_faults(machine, text)
        elif text:
            say(text)
        missed = self.script.waiting_for if self.script is not None and not self.script.done else None
        if missed is not None and status in (0, 124):
            status = 124
            say(f"--expect {shown(missed)}: not seen; {cause.value}")
        if status == 124:
            self._show_last(machine)
        if self.config.screenshot:
            self._take_picture(machine)
        if self.config.dump_screen:
            rows = [row.rstrip() for row in machine.screen()]
            output("".join(f"{row}\n" for row in rows).encode())
        if self.config.dump_tlb:
            from emu.tools.tlb import dump

            output("".join(f"{row}\n" for row in dump(machine.cpu)).encode())
        for address, access in self.config.pages:
            from emu.tools.tlb import lookup

            output("".join(f"{row}\n" for row in lookup(machine.cpu, address, access)).encode())
        if self.config.stats:
            self._stats(machine)
        return status

    def _take_picture(self, machine: Machine) -> None:
        """--screenshot."""
        from emu.display.picture import save

        try:
            save(machine, self.config.screenshot)
        except (OSError, ValueError) as error:
            say(f"--screenshot {shown(self.config.screenshot)}: {reason(error)}")

    def _tell_faults(self, machine: Machine, text: str) -> None:
        """What led to a triple fault, and the instructions before it."""
        from emu.tools.postmortem import last_instructions

        for line in (text, *machine.cpu.fault_story(), *last_instructions(self.config, self._date, machine)):
            say(line)

    def _show_last(self, machine: Machine) -> None:
        """The last lines of the serial output, if there was any, and of the text screen, if anything is on it."""
        serial = self.serial[0] if self.serial else None
        views = [("serial", last_lines([], bytes(serial.tail)) if serial is not None else [])]
        views.append(("screen", last_lines(machine.screen(), b"")))
        for name, lines in views:
            for line in lines:
                say(f"{name}| {line}")

    def _stats(self, machine: Machine) -> None:
        seconds = wall() - self._started
        serial = self.serial[0] if self.serial else None
        line = {
            "instructions": machine.retired,
            "virtual_ns": machine.clock.now(),
            "wall_s": round(seconds, 3),
            "mips": round(machine.retired / seconds / 1e6, 3) if seconds else 0.0,
            "serial_bytes": serial.count if serial else 0,
            "serial_sha256": serial.hash.hexdigest() if serial else hashlib.sha256().hexdigest(),
            "state_digest": machine.digest(),
            "resets": machine.resets,
            "inputs": machine.inputs.count,
            "engine": machine.cpu.stats(),
            **(self._meter.report(machine, seconds) if self._meter is not None else {}),
        }
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()


class _Lines(logging.Formatter):
    """Each message behind the name of its category, except those that look as in QEMU's log, where scripts search."""

    def format(self, record: logging.LogRecord) -> str:
        category = record.name.removeprefix("emu.")
        text = record.getMessage()
        return text if category in LIKE_QEMU else f"{category}: {text}"


def set_up_logging(config: Config) -> None:
    """Send the categories of -d to stderr or to the file of -D; of all others only what a person must know (errors)."""
    root = logging.getLogger("emu")
    for old in list(root.handlers):
        root.removeHandler(old)
    handler: logging.Handler
    if config.logfile is not None:
        try:
            handler = logging.FileHandler(config.logfile, "w", errors="backslashreplace")
        except (OSError, ValueError) as error:
            raise UsageError(f"-D {shown(config.logfile)}: expected a file to write to: {reason(error)}") from None
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root.addHandler(handler)
    root.propagate = False
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False
    for category in ("unimp", "guest_errors", "io", "int", "cpu", "cpu_reset", "mmu", "exec", "in_asm"):
        level = logging.DEBUG if category in config.debug else logging.CRITICAL
        logging.getLogger(f"emu.{category}").setLevel(level)


def screen_text(rows: Sequence[str]) -> str:
    """The rows of a screen without the blanks at their ends."""
    return "\n".join(row.rstrip() for row in rows)
