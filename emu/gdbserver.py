"""The server of gdb's remote serial protocol (gdb manual, appendix "Remote Serial Protocol"), behind -gdb and -s.

One client at a time, sockets that never block, no thread: `poll` is called by the session between instructions and
does what has come. The client is not trusted: whatever it sends gives a reply, `E..` or nothing, and what is kept of
it is bounded. The guest notices nothing: breakpoints are not in its memory, and a run with a debugger has the same
states at the same instruction counts as one without.

A single step of INT into the ROM of a PC ends behind the call: gdb itself cannot find its way out of a real-mode
interrupt. A breakpoint in the ROM stops it there.

`QEMU` packets (its manual, "GDB usage"): physical memory mode and the bits of a single step. A step holds interrupts
off unless `maintenance packet Qqemu.sstep=1` says otherwise.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from emu.chardev import at_once
from emu.chardev import listen as listening_socket
from emu.clock import wall
from emu.cpu import DebuggedCpu, Exit, GuestFault
from emu.gdbpackets import EFAULT, EINVAL, ENOSPC, PACKET, Framing, Refused, data_of, escaped, framed, number, unescaped
from emu.gdbregisters import Register, describe
from emu.machine import Cause
from emu.memory import Dma
from emu.options import Chardev, GdbAddress, shown
from emu.stops import Conditions, stops_of

if TYPE_CHECKING:
    from emu.machine import Machine
    from emu.monitor.control import Control
    from emu.stops import Stop

QUEUE = 64
"""Packets that may wait while the guest runs."""
OUTPUT = 1 << 16
"""Bytes of replies that may wait for the client to read before no more of its packets are read."""
FLUSH_SECONDS = 1.0

SIGINT, SIGTRAP, SIGABRT, SIGSEGV = 2, 5, 6, 11
ENABLE, NO_IRQ, NO_TIMER = 1, 2, 4
EXECUTE = ("0", "1")
WATCH = {"2": ("watch", 2), "3": ("rwatch", 1), "4": ("awatch", 3)}
LONGEST_WATCH = 1 << 16
LAST = 0xFFFFFFFF
OWNER, OVER = "gdb", "gdb's step"
ROM_FROM, ROM_TO = 0xC0000, 0x100000
FEATURES = f"PacketSize={PACKET:x};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;exec-events+"


def listen(address: GdbAddress) -> socket.socket:
    """A listening socket. Raises UsageError in one line."""
    where = Chardev("socket", address.path, host=address.host, port=address.port)
    return listening_socket(where, f"-gdb {shown(str(address))}")


class GdbServer:
    """Serves one client after the other on a machine. `listener` may be None: `attach` gives it a client."""

    def __init__(
        self,
        machine: Machine,
        listener: socket.socket | None = None,
        *,
        path: str = "",
        control: Callable[[], Control] | None = None,
    ) -> None:
        """`path`: the file of a unix socket, removed by `finish`. `control` gives the monitor that carries out
        `monitor` commands, one of its own by default."""
        self.machine = machine
        self.listener = listener
        self._path = path
        self._control = control
        self._cpu = cast(DebuggedCpu, machine.cpu)
        self._description = describe(self._cpu)
        self._pc = next(r for r in self._description.registers.values() if r.type == "code_ptr")
        self._stops = stops_of(machine)
        self._stops.runner, self._run = self._execute, self._stops.runner
        self._stops.listeners.append(self._stopped)
        machine.last_look = self._last_look
        self._client: socket.socket | None = None
        self._handlers: tuple[tuple[str, Callable[[str], bytes | str | None]], ...] = (
            ("?", lambda rest: self._why()), ("g", self._read_all), ("G", self._write_all), ("p", self._read_one),
            ("P", self._write_one), ("m", self._read_memory), ("M", self._write_memory), ("vCont?", self._ways),
            ("vCont;", self._continue_some), ("vKill;", self._kill), ("c", self._continue),
            ("C", self._continue_signal),
            ("s", self._step), ("S", self._step_signal), ("Z", self._insert), ("z", self._remove), ("H", self._choose),
            ("T", self._alive), ("D", self._detach), ("k", self._kill), ("R", self._restart), ("qRcmd,", self._monitor),
            ("qSupported", self._supported), ("QStartNoAckMode", self._no_ack), ("qXfer:features:read:", self._xml),
            ("qC", lambda rest: "QC1"), ("qfThreadInfo", lambda rest: "m1"), ("qsThreadInfo", lambda rest: "l"),
            ("qSymbol:", self._symbols), ("qAttached", lambda rest: "1"),
            ("qThreadExtraInfo", lambda rest: b"processor".hex()),
            ("qqemu.Supported", lambda rest: "sstepbits;sstep;PhyMemMode"),
            ("qqemu.sstepbits", lambda rest: f"ENABLE={ENABLE},NOIRQ={NO_IRQ},NOTIMER={NO_TIMER}"),
            ("qqemu.sstep", lambda rest: f"0x{self._step_bits:x}"), ("Qqemu.sstep", self._set_step_bits),
            ("qqemu.PhyMemMode", lambda rest: str(int(self._physical))), ("Qqemu.PhyMemMode", self._set_physical),
        )  # fmt: skip
        self._forget()

    def _forget(self) -> None:
        """As nobody was there."""
        self._framing = Framing()
        self._queue: deque[bytes | None] = deque()
        # None: control-C
        self._out = bytearray()
        self._last = b""
        self._acks = True
        self._running = False
        self._stepping = False
        self._stop = (SIGTRAP, "")
        self._told = -1
        self._was_paused = False
        self._physical = False
        self._step_bits = ENABLE | NO_IRQ | NO_TIMER
        self._features: set[str] = set()
        self._knows_exec = self._has_symbols = False
        self._held = ""
        self._over: tuple[int, int] | None = None
        self._breaks: dict[tuple[str, int, int], None] = {}
        self._watches: dict[tuple[str, int, int], None] = {}

    # --- sockets ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a client is there, who may wake the machine."""
        return self._client is not None

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""
        if self._client is None:
            return ([self.listener.fileno()] if self.listener is not None else []), []
        fd = self._client.fileno()
        return ([] if len(self._out) > OUTPUT else [fd]), ([fd] if self._out else [])

    def attach(self, client: socket.socket) -> None:
        """Serve a client; the guest stops."""
        self._forget()
        at_once(client)
        self._client = client
        self._was_paused = self.machine.paused
        self._description = describe(self._cpu)
        self._stops.set_conditions(OWNER, Conditions(magic=True))
        self.machine.pause()

    def poll(self) -> None:
        """Do what has come; never blocks."""
        if self._client is None and self.listener is not None:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.attach(client)
        if self._client is None:
            return
        if self._running and self.machine.paused:
            self._running = self._stepping = False
            if self._over is not None:
                self._over = None
                self._stops.set_breakpoints(OVER, ())
            self._reply(self._renewed() or self._why())
        self._receive()
        while self._queue and self.machine.ending is None and len(self._out) <= OUTPUT:
            if self._running:
                self._interrupt()
                break
            body = self._queue.popleft()
            if body is not None:
                self._serve(body)
        self._flush()

    def _receive(self) -> None:
        if self._client is None or len(self._out) > OUTPUT or (not self._running and len(self._queue) >= QUEUE):
            return
        try:
            data = self._client.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        for event, body in self._framing.feed(data):
            if event == "break":
                self._queue.append(None)
            elif event == "again":
                self._out += self._last
            elif event == "bad":
                if self._acks:
                    self._out += b"-"
            else:
                if self._acks:
                    self._out += b"+"
                self._queue.append(body if event == "packet" else b"")
        if len(self._queue) > QUEUE and self._running:
            self._gone()

    def _interrupt(self) -> None:
        """Stop a running guest if control-C has come; packets that came before it wait."""
        if None in self._queue:
            self._queue.remove(None)
            self._stop = (SIGINT, "")
            self.machine.pause()

    def _flush(self) -> None:
        if self._client is None or not self._out:
            return
        try:
            del self._out[: self._client.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._gone()

    def _reply(self, body: bytes | str) -> None:
        self._last = framed(body.encode("latin-1", "replace") if isinstance(body, str) else body)
        self._out += self._last

    def _gone(self) -> None:
        """The client is away: the guest runs on, unless it never did."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        stay = self._was_paused
        self._forget()
        for owner in (OWNER, OVER):
            self._stops.forget(owner)
        if self.machine.paused and not stay:
            self.machine.go_on()

    def finish(self, status: int) -> None:
        """The run is over: tell a client that waits for it, within a second, and close everything."""
        if self._client is not None and self._running:
            self._reply(f"W{status & 0xFF:02x}")
        end = wall() + FLUSH_SECONDS
        while self._client is not None and self._out and wall() < end:
            select.select([], [self._client], [], max(0.0, end - wall()))
            self._flush()
        self._stops.forget(OWNER)
        self._stops.runner = self._run
        self._stops.listeners.remove(self._stopped)
        for sock in (self._client, self.listener):
            if sock is not None:
                sock.close()
        self._client = self.listener = None
        if self._path:
            try:
                os.unlink(self._path)
            except OSError:
                pass

    # --- running ---------------------------------------------------------------------------------------------------

    def _execute(self, budget: int) -> Exit:
        """In place of `Cpu.run`: single steps."""
        cpu = self._cpu
        if not self._stepping:
            return self._run(budget)
        before = cpu.icount
        reason = cpu.step() if self._step_bits & NO_IRQ and not cpu.halted else self._run(1)
        if cpu.icount != before:
            self._stop = (SIGTRAP, "")
            self.machine.pause()
        return reason

    def _behind_firmware(self) -> tuple[int, int] | None:
        """Where an INT in real mode that goes to ROM returns to, and its stack pointer; None for other instructions.

        Such a step ends behind the call, as gdb's `nexti` could not find out by itself.
        """
        cpu = self._cpu
        if self._pc.name != "eip" or cpu.reg("cr0") & 1 or not self._step_bits & NO_IRQ:
            return None
        at = self._pc.read()
        try:
            code = cpu.read_linear(at, 2)
            if code[0] != 0xCD:
                return None
            vector = cpu.read_linear(cpu.reg("idtr.base") + 4 * code[1] & LAST, 4)
        except GuestFault:
            return None
        handler = int.from_bytes(vector[2:], "little") * 16 + int.from_bytes(vector[:2], "little")
        return (at + 2, cpu.reg("esp")) if ROM_FROM <= handler < ROM_TO else None

    def _stopped(self, stop: Stop) -> None:
        """A point or a condition was met, ours or the monitor's."""
        if self._client is None:
            return
        more = ""
        if self._over is not None:
            if stop.owner == OVER and self._cpu.reg("esp") != self._over[1]:
                self._stops.go()  # further down in a call of the same place
                return
            self._over = None
            self._stops.set_breakpoints(OVER, ())
            if stop.owner == OVER:
                self._stop = (SIGTRAP, "")
                self.machine.pause()
                return
        if stop.kind == "break":
            kind = "hwbreak" if ("1", stop.address, 0) in self._breaks else "swbreak"
            more = f"{kind}:;" if kind in self._features and stop.owner == OWNER else ""
        elif stop.kind == "watch" and stop.owner == OWNER:
            kind = next(k for k, at, _ in self._watches if at == stop.address)
            more = f"{WATCH[kind][0]}:{stop.address:x};"
        elif self._running:
            self._reply("O" + f"emu: {stop.text}\n".encode().hex())
        self._stop = (SIGTRAP, more)
        self.machine.pause()

    def _last_look(self, cause: Cause, text: str) -> bool:
        """See `Machine.last_look`. The same end is shown once."""
        if self._client is None or not self._running or (cause == Cause.DEAD and self._told == self.machine.retired):
            return False
        self._told = self.machine.retired
        self._reply("O" + f"emu: {text}\n".encode().hex())
        self._stop = (SIGSEGV if cause == Cause.SHUTDOWN else SIGABRT, "")
        return True

    def _why(self) -> str:
        number, more = self._stop
        return f"T{number:02x}thread:01;{more}"

    def _renewed(self) -> str:
        """Where the size of code has changed: the event that has gdb read the description of the target again.

        gdb takes it for a new program and goes on by itself; it then gets the stop that was to be told. With a symbol
        file it knows the architecture from there, and would lose it.
        """
        if not self._knows_exec or self._has_symbols:
            return ""
        new = describe(self._cpu)
        if new.xml == self._description.xml:
            return ""
        self._description = new
        self._pc = next(r for r in new.registers.values() if r.type == "code_ptr")
        self._held = self._why()
        return f"T05thread:01;exec:{new.name.encode().hex()};"

    def _go(self, address: str, step: bool) -> None:
        if self._held:
            held, self._held = self._held, ""
            self._reply(held)
            return
        if address:
            self._store(self._pc, number(address))
        self._stops.go()
        self._over = self._behind_firmware() if step else None
        if self._over is not None:
            self._stops.set_breakpoints(OVER, [self._over[0]])
            step = False
        self._running, self._stepping, self._was_paused = True, step, False
        self.machine.go_on()

    # --- packets ---------------------------------------------------------------------------------------------------

    def _serve(self, body: bytes) -> None:
        try:
            reply = self._binary(body) if body[:1] == b"X" else self._text(body)
        except Refused as error:
            reply = f"E{error.number:02x}"
        if reply is not None and self._client is not None:
            self._reply(reply)

    def _text(self, body: bytes) -> bytes | str | None:
        text = body.decode("latin-1")
        best = max((name for name, _ in self._handlers if text.startswith(name)), key=len, default=None)
        if best is None or (best in ("qC", "qqemu.sstep") and text != best):
            return ""
        return dict(self._handlers)[best](text[len(best) :])

    def _supported(self, rest: str) -> str:
        self._features = {word[:-1] for word in rest.lstrip(":").split(";") if word.endswith("+")}
        self._knows_exec = "exec-events" in self._features
        return FEATURES

    def _symbols(self, rest: str) -> str:
        """Only who has a symbol file offers symbols."""
        self._has_symbols = True
        return "OK"

    def _no_ack(self, rest: str) -> str:
        self._acks = False
        return "OK"

    def _xml(self, rest: str) -> bytes:
        name, _, window = rest.partition(":")
        if name != "target.xml":
            raise Refused(0)
        first, size = self._pair(window)
        data = self._description.xml.encode()
        part = data[first : first + min(size, PACKET // 2)]
        return (b"m" if first + len(part) < len(data) else b"l") + escaped(part)

    def _pair(self, text: str) -> tuple[int, int]:
        """Two numbers with a comma between."""
        first, _, second = text.partition(",")
        return number(first), number(second)

    # registers

    def _register(self, text: str) -> Register:
        register = self._description.registers.get(number(text))
        if register is None:
            raise Refused(EINVAL)
        return register

    def _store(self, register: Register, value: int) -> None:
        try:
            register.write(value)
        except (KeyError, ValueError):
            raise Refused(EINVAL) from None

    def _value(self, data: bytes) -> int:
        return int.from_bytes(data, self._description.order)

    def _general(self) -> list[Register]:
        return [r for n, r in sorted(self._description.registers.items()) if n < self._description.general]

    def _read_all(self, rest: str) -> str:
        return b"".join(self._description.pack(r) for r in self._general()).hex()

    def _write_all(self, rest: str) -> str:
        data, at = data_of(rest), 0
        registers = self._general()
        if len(data) != sum(r.bytes for r in registers):
            raise Refused(EINVAL)
        for register in registers:
            value = self._value(data[at : at + register.bytes])
            at += register.bytes
            if value != register.read():
                self._store(register, value)
        return "OK"

    def _read_one(self, rest: str) -> str:
        return self._description.pack(self._register(rest)).hex()

    def _write_one(self, rest: str) -> str:
        name, _, digits = rest.partition("=")
        register, data = self._register(name), data_of(digits)
        if len(data) != register.bytes:
            raise Refused(EINVAL)
        self._store(register, self._value(data))
        return "OK"

    # memory

    def _look(self, address: int, size: int) -> bytes:
        """As many bytes as there are, at most `size`. Raises Refused if there is not one."""
        if self._physical:
            if address >= self.machine.ram.space:
                raise Refused(EFAULT)
            return Dma(self.machine.ram).read(address, min(size, self.machine.ram.space - address))
        out = bytearray()
        while len(out) < size and address <= LAST:
            piece = min(size - len(out), 0x1000 - (address & 0xFFF))
            try:
                out += self._cpu.read_linear(address, piece)
            except GuestFault:
                break
            address += piece
        if not out and size:
            raise Refused(EFAULT)
        return bytes(out)

    def _change(self, address: int, data: bytes) -> str:
        if self._look(address, len(data)) == data:
            return "OK"
        if self._physical:
            Dma(self.machine.ram).write(address, data)
        else:
            try:
                self._cpu.write_linear(address, data)
            except GuestFault:
                raise Refused(EFAULT) from None
        if self._look(address, len(data)) != data:
            raise Refused(EFAULT)  # ROM, or a device
        return "OK"

    def _read_memory(self, rest: str) -> str:
        address, size = self._pair(rest)
        return self._look(address, min(size, PACKET // 2 - 8)).hex()

    def _write_memory(self, rest: str) -> str:
        where, _, digits = rest.partition(":")
        address, size = self._pair(where)
        data = data_of(digits)
        if len(data) != size:
            raise Refused(EINVAL)
        return self._change(address, data)

    def _binary(self, body: bytes) -> str:
        where, colon, data = body[1:].partition(b":")
        address, size = self._pair(where.decode("latin-1"))
        data = unescaped(data)
        if not colon or len(data) != size:
            raise Refused(EINVAL)
        return self._change(address, data)

    def _set_physical(self, rest: str) -> str:
        if rest not in (":0", ":1"):
            raise Refused(EINVAL)
        self._physical = rest == ":1"
        return "OK"

    # breakpoints

    def _insert(self, rest: str) -> str:
        return self._point(rest, True)

    def _remove(self, rest: str) -> str:
        return self._point(rest, False)

    def _point(self, rest: str, there: bool) -> str:
        kind, _, place = rest.partition(",")
        if kind not in EXECUTE and kind not in WATCH:
            return ""
        address, size = self._pair(place.split(";")[0])
        if address > LAST or size > LONGEST_WATCH:
            raise Refused(EINVAL)
        breaks, watches = dict(self._breaks), dict(self._watches)
        points: dict[tuple[str, int, int], None] = breaks if kind in EXECUTE else watches
        point = (kind, address, 0 if kind in EXECUTE else max(size, 1))
        if there:
            points[point] = None
        else:
            points.pop(point, None)
        try:
            if kind in EXECUTE:
                self._stops.set_breakpoints(OWNER, [at for _, at, _ in breaks])
            else:
                self._stops.set_watchpoints(OWNER, [(at, n, WATCH[k][1]) for k, at, n in watches])
        except ValueError:
            raise Refused(ENOSPC) from None
        self._breaks, self._watches = breaks, watches
        return "OK"

    # control

    def _ways(self, rest: str) -> str:
        return "vCont;c;C;s;S"

    def _continue_some(self, rest: str) -> None:
        action, _, thread = rest.split(";")[0].partition(":")
        if action[:1] not in ("c", "C", "s", "S") or thread not in ("", "1", "01", "-1", "0"):
            raise Refused(EINVAL)
        self._go("", action[:1] in "sS")

    def _continue(self, rest: str) -> None:
        self._go(rest, False)

    def _continue_signal(self, rest: str) -> None:
        self._go(rest.partition(";")[2], False)

    def _step(self, rest: str) -> None:
        self._go(rest, True)

    def _step_signal(self, rest: str) -> None:
        self._go(rest.partition(";")[2], True)

    def _set_step_bits(self, rest: str) -> str:
        bits = number(rest.lstrip(":=").removeprefix("0x"))
        if bits > ENABLE | NO_IRQ | NO_TIMER:
            raise Refused(EINVAL)
        self._step_bits = bits
        return "OK"

    def _choose(self, rest: str) -> str:
        if rest[:1] not in ("g", "c") or rest[1:] not in ("0", "1", "01", "-1"):
            raise Refused(EINVAL)
        return "OK"

    def _alive(self, rest: str) -> str:
        if rest not in ("1", "01"):
            raise Refused(EINVAL)
        return "OK"

    def _detach(self, rest: str) -> None:
        self._was_paused = False
        self._reply("OK")
        self._flush()
        self._gone()

    def _kill(self, rest: str) -> str | None:
        self.machine.end(Cause.QUIT)
        return "OK" if rest else None

    def _restart(self, rest: str) -> None:
        self._reset()

    def _reset(self) -> None:
        if self.machine.no_reboot:
            self.machine.request_reset()
        else:
            self.machine.reset()

    def _monitor(self, rest: str) -> str:
        # Only who asks pays for the monitor.
        from emu.gdbmonitor import answer, control_of

        if self._control is None:
            own = control_of(self.machine)
            self._control = lambda: own
        text = answer(self._control(), data_of(rest).decode("utf-8", "replace").strip()).encode()
        for at in range(0, len(text), PACKET // 4):
            self._reply("O" + text[at : at + PACKET // 4].hex())
        return "OK"
