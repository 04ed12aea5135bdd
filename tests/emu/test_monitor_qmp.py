"""QMP: the protocol, its errors, its events, the official client, and clients that mean no good."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket as sockets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from emu.chardev import KEPT
from emu.monitor import json_stream
from emu.monitor.qmp import BACKLOG
from emu.monitor.registry import HMP, INFO, QMP
from tests.emu.monitored import Monitored
from tests.emu.pc_machine import boot_image

pytest.importorskip("emu.engine._x86")
MESSAGES = int(os.environ.get("EMU_MONITOR_MESSAGES", "3000"))
"""How many random messages; 2,000,000 was run once."""
LOOP = bytes.fromhex("fb ebfe")  # sti; jmp $


@pytest.fixture
def pc() -> Monitored:
    m = Monitored()
    m.greet()
    return m


def test_a_client_is_greeted_and_negotiates_first() -> None:
    m = Monitored()
    m.qmp.opened()
    greeting = json.loads(m.programs.take())
    assert set(greeting["QMP"]) == {"version", "capabilities"} and greeting["QMP"]["capabilities"] == []
    assert m.ask("query-status")["class"] == "CommandNotFound"
    assert m.ask("qmp_capabilities", enable=["oob"])["class"] == "GenericError"
    assert m.ask("qmp_capabilities") == {}
    assert m.ask("qmp_capabilities")["class"] == "CommandNotFound"
    assert m.ask("query-status") == {"status": "running", "singlestep": False, "running": True}


def test_the_id_comes_back_whatever_it_is(pc: Monitored) -> None:
    identities: list[Any] = [0, "x", None, [1, {"a": 2}], {"b": []}, 1.5]
    for identity in identities:
        assert pc.send({"execute": "query-name", "id": identity})[0]["id"] == identity
        assert pc.send({"execute": "no-such", "id": identity})[0]["id"] == identity
    assert "id" not in pc.send({"execute": "query-name"})[0]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ([], "must be a JSON object"), (3, "must be a JSON object"), ({}, "lacks member 'execute'"),
        ({"execute": 3}, "must be a string"), ({"execute": "stop", "arguments": []}, "must be an object"),
        ({"execute": "stop", "other": 1}, "'other' is unexpected"),
        ({"execute": "stop", "arguments": {"x": 1}}, "Parameter 'x' is unexpected"),
        ({"execute": "human-monitor-command"}, "Parameter 'command-line' is missing"),
        ({"execute": "balloon", "arguments": {"value": "much"}}, "type for 'value', expected: integer"),
        ({"execute": "balloon", "arguments": {"value": True}}, "expected: integer"),
        ({"exec-oob": "stop"}, "capability"), (b"{]\n", "JSON parse error"), (b"\"\xff\"\n", "JSON parse error"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_an_error_and_the_connection_stays(pc: Monitored, message: Any, text: str) -> None:
    replies = pc.send(message)
    assert text in replies[0]["error"]["desc"] and replies[0]["error"]["class"] == "GenericError"
    assert pc.ask("query-status")["running"] is True


def test_an_unknown_command_has_an_error_of_its_own(pc: Monitored) -> None:
    assert pc.ask("frobnicate") == {"class": "CommandNotFound", "desc": "The command frobnicate has not been found"}


def test_a_value_that_is_too_long_ends_the_connection(pc: Monitored) -> None:
    for _ in range(json_stream.LONGEST // 65536 + 1):
        pc.qmp.receive(b"[" + b" " * 65535 if _ == 0 else b" " * 65536)
    assert "longer than" in pc.programs.take() and pc.programs.hung_up
    pc.programs.front.closed()  # type: ignore[union-attr]
    pc.greet()
    assert pc.ask("query-status")["running"] is True


def test_every_query_without_arguments_answers_on_this_machine(pc: Monitored) -> None:
    for name, command in QMP.items():
        if name.startswith("query-") and all(p.optional for p in command.parameters.values()):
            answer = pc.ask(name)
            assert "internal error" not in str(answer)
            json.dumps(answer)
    assert {"name": "query-commands"} in pc.ask("query-commands")


def test_events_tell_what_happens_with_the_time(pc: Monitored) -> None:
    def events(message: Any) -> list[tuple[str, Any]]:
        return [(r["event"], r.get("data")) for r in pc.send(message) if "event" in r]

    assert events({"execute": "stop"}) == [("STOP", None)]
    assert events({"execute": "stop"}) == []
    host = {"guest": False, "reason": "host-qmp-system-reset"}
    assert events({"execute": "system_reset"}) == [("RESET", host)]
    assert events({"execute": "cont"}) == [("RESUME", None)]
    assert events({"execute": "system_powerdown"}) == [("POWERDOWN", None)]
    stamp = pc.send({"execute": "stop"})[0]["timestamp"]
    assert stamp["seconds"] > 1_600_000_000 and 0 <= stamp["microseconds"] < 1_000_000
    pc.ask("quit")
    pc.monitors.ended()
    (last,) = [json.loads(line) for line in pc.programs.take().splitlines()]
    assert last["event"] == "SHUTDOWN" and last["data"] == {"guest": False, "reason": "host-qmp-quit"}


def test_commands_that_wait_are_carried_out_when_the_client_reads_again(pc: Monitored) -> None:
    pc.programs.unread = BACKLOG + 1
    assert pc.send(b'{"execute":"stop"}\n' * 3) == [] and not pc.machine.paused
    assert pc.qmp.room() == 0
    pc.machine.tell("RTC_CHANGE", offset=1)
    assert pc.programs.take() == ""
    pc.programs.unread = 0
    pc.monitors.poll()
    assert pc.machine.paused and pc.programs.take().count('"return"') == 3


def test_keys_and_mouse_go_to_the_guest(pc: Monitored) -> None:
    key = {"type": "qcode", "data": "a"}
    assert pc.ask("send-key", keys=[{"type": "qcode", "data": "ctrl"}, key]) == {}
    assert pc.ask("send-key", keys=[{"type": "number", "data": 30}], hold_time=10) == {}
    assert "invalid parameter: nokey" in pc.ask("send-key", keys=[{"type": "qcode", "data": "nokey"}])["desc"]
    events = [
        {"type": "key", "data": {"down": True, "key": key}},
        {"type": "key", "data": {"down": False, "key": key}},
        {"type": "rel", "data": {"axis": "x", "value": 5}},
        {"type": "btn", "data": {"down": True, "button": "left"}},
    ]
    assert pc.ask("input-send-event", events=events) == {}
    assert "absolute" in pc.ask("input-send-event", events=[{"type": "abs", "data": {"axis": "x", "value": 1}}])["desc"]
    before = len(pc.machine.inputs.record)
    bad = [events[0], {"type": "key", "data": {}}]
    assert "no kind" in pc.ask("input-send-event", events=bad)["desc"]
    assert len(pc.machine.inputs.record) == before


def test_what_people_say_can_be_said_by_programs(pc: Monitored) -> None:
    assert pc.ask("human-monitor-command", command_line="p 6 * 7") == "42\r\n"
    assert pc.ask("human-monitor-command", command_line="nonsense") == "unknown command: 'nonsense'\r\n"


def test_replies_are_indented_where_that_is_asked() -> None:
    m = Monitored()
    m.qmp._indent = 4
    m.qmp.opened()
    assert m.programs.take().startswith('{\n    "QMP": {\n')


# -- clients that mean no good

WORDS = ("", "a", "cd", "ide0-hd0", "serial0", "on", "off", "0", "-1", "0x1000", "99999999999999999999", "/4xw", "/9i",
         "$eax", "(", "-f", "-a", "\"", "'", "ctrl-a", "x" * 300, "é", "tcp::1:", "16")  # fmt: skip
NUMBERS = (0, 1, -1, 255, 4096, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, -(1 << 63), 1.5, 1e300, 1 << 70)
NOT_HERE = {"quit", "q", "logfile", "dump-guest-memory"}
"""They end the run, or fill the disk or the time of the test."""


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(8 if depth < 5 else 5)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice(WORDS)
    if kind == 2:
        return rng.choice((True, False, None))
    if kind == 3:
        return rng.randrange(-1000, 1000)
    if kind == 4:
        return "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(5)))
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ("type", "data", "down", "key", "axis", "x")
    return {rng.choice(names): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def typed(rng: random.Random, kind: type) -> Any:
    if kind is int:
        return rng.choice(NUMBERS[:10])
    if kind is str:
        return rng.choice(WORDS)
    if kind is bool:
        return rng.random() < 0.5
    return [value(rng)] if kind is list else value(rng)


def line(rng: random.Random) -> str:
    table = INFO if rng.random() < 0.3 else HMP
    name = rng.choice([name for name in table if name not in NOT_HERE])
    words = [rng.choice(WORDS) for _ in range(rng.randrange(4))]
    if name in ("memsave", "pmemsave") and len(words) > 1:
        words[1] = "16"
    return " ".join((["info"] if table is INFO else []) + [name, *words])


def message(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.05:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40))) + b"\n"
    if kind < 0.06:
        return b"[" * rng.randrange(100_000) + b"\n"
    if kind < 0.1:
        return json.dumps(value(rng)).encode() + b"\n"
    name = rng.choice([name for name in QMP if name not in NOT_HERE])
    if kind < 0.4:
        name = "human-monitor-command"
    given: dict[str, Any] = {}
    for parameter in QMP[name].parameters.values():
        if rng.random() < (0.5 if parameter.optional else 0.95):
            right = rng.random() < 0.85
            given[parameter.name] = typed(rng, parameter.kinds[0]) if right else value(rng)
    if name == "human-monitor-command":
        given = {"command-line": line(rng)}
    if name in ("memsave", "pmemsave") and isinstance(given.get("size"), int) and given["size"] > 4096:
        given["size"] = 64
    request = {"execute": name, "arguments": given}
    if rng.random() < 0.05:
        request[rng.choice(("id", "extra", "exec-oob"))] = value(rng)
    text = json.dumps(request).encode()
    if rng.random() < 0.05:
        at = rng.randrange(len(text))
        text = text[:at] + bytes((rng.randrange(256),)) + text[at + 1 :]
    return text + b"\n"


def test_random_messages_get_replies_and_the_machine_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(MESSAGES)
    m = Monitored()
    m.greet()
    answered = 0
    for number in range(MESSAGES):
        m.qmp.receive(message(rng))
        while m.qmp.busy:
            m.qmp.poll()
        text = m.programs.take()
        assert "internal error" not in text, text
        answered += text.count('"return"')
        if m.programs.hung_up:
            m.programs.hung_up = False
            m.programs.front.closed()  # type: ignore[union-attr]
            m.greet()
        if number % 100 == 99:
            m.machine.go_on()
            m.run(2000)
            m.qmp.receive(b"\xff\n")
            m.programs.take()
            assert "status" in m.ask("query-status"), number
            m.machine.inputs.record.clear()
    assert answered > MESSAGES // 10


# -- real sockets


def start(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    image = boot_image(tmp_path, LOOP)
    command = [sys.executable, "-m", "emu", "run", image, "-display", "none", "-serial", "null", "--timeout", "60s"]
    return subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        if path.exists():
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("no socket came")


def test_the_official_client_drives_a_run(tmp_path: Path) -> None:
    qmp = pytest.importorskip("qemu.qmp", reason="the client qemu.qmp (PyPI) is not installed")
    socket = tmp_path / "s"
    process = start(tmp_path, "-qmp", f"unix:{socket},server=on,wait=off")

    async def drive() -> list[str]:
        client = qmp.QMPClient("test")
        listener = qmp.EventListener()
        client.register_listener(listener)
        await client.connect(str(socket))
        assert await client.execute("query-status") == {"status": "running", "singlestep": False, "running": True}
        await client.execute("stop")
        assert "EIP=" in await client.execute("human-monitor-command", {"command-line": "info registers"})
        with pytest.raises(qmp.ExecuteError, match="has not been found"):
            await client.execute("no-such-command")
        await client.execute("cont")
        await client.execute("quit")
        seen = []
        for _ in range(3):
            seen.append((await asyncio.wait_for(listener.get(), 10))["event"])
        try:
            await client.disconnect()
        except EOFError:
            pass  # the other end was faster
        return seen

    try:
        wait_for(socket, process)
        assert socket.stat().st_mode & 0o777 == 0o600
        assert asyncio.run(drive()) == ["STOP", "RESUME", "SHUTDOWN"]
        assert process.wait(10) == 0
        assert not socket.exists()
    finally:
        process.kill()
        process.wait()
        process.stderr and process.stderr.close()


def test_many_clients_that_say_nothing_do_not_hold_the_run(tmp_path: Path) -> None:
    place = tmp_path / "s"
    process = start(tmp_path, "-qmp", f"unix:{place},server=on,wait=off", "--max-insns", "40000000")
    held = []
    try:
        wait_for(place, process)
        for _ in range(200):
            client = sockets.socket(sockets.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(str(place))
            except OSError:
                pass
            held.append(client)
        assert process.wait(50) == 124
    finally:
        for client in held:
            client.close()
        process.kill()
        process.wait()
        process.stderr and process.stderr.close()


def test_output_that_nobody_reads_is_bounded() -> None:
    assert KEPT <= 1 << 20 and BACKLOG <= KEPT
