"""A bug in Emu's own Python stops the machine with its name; the guest is never handed a made-up zero and goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.backends import MemoryDisk
from emu.errors import DeviceError, MachineError
from emu.machine import Machine
from tests.emu.pc_machine import boot_image, full_pc, run_code

MARK = 0x5A5A5A5A
IN = {1: b"\xec", 2: b"\xed", 4: b"\x66\xed"}
OUT = {1: b"\xee", 2: b"\xef", 4: b"\x66\xef"}
GO_ON = b"\xbb\x34\x12"  # mov bx, 0x1234: runs only if the guest is let on


def fail(*args: object) -> int:
    raise LookupError("a bug")


def fail_write(*args: object) -> None:
    raise LookupError("a bug")


def test_a_failing_port_device_stops_the_processor_before_its_next_instruction() -> None:
    m = full_pc()
    for mapping in list(m.bus._ports.mappings):
        mapping.read, mapping.write = fail, fail_write
        mapping.read_block = mapping.write_block = None
        for width in (1, 2, 4):
            for code in (IN[width], OUT[width]):
                with pytest.raises(DeviceError, match="LookupError: a bug") as caught:
                    run_code(m, code + GO_ON, 10, edx=mapping.base, eax=MARK, ebx=0)
                assert mapping.name in str(caught.value)
                assert m.cpu.reg("bx") == 0
                # A read that failed gave nothing: all ones in the part that IN writes, never zero.
                ones = (1 << 8 * width) - 1
                assert m.cpu.reg("eax") == (MARK | ones if code is IN[width] else MARK)
        m.bus._ports.drop(mapping)


def test_a_failing_memory_device_stops_the_processor_before_its_next_instruction() -> None:
    m = full_pc()
    for mapping in list(m.bus._mmio.mappings):
        mapping.read, mapping.write = fail, fail_write
        at = mapping.base if mapping.base > 1 << 20 else 0xA8000
        for code in ("66 678b03", "66 678903", "66 670103", "66 67ff33", "66 670fba2b03"):  # mov, mov, add, push, bts
            with pytest.raises(DeviceError, match="LookupError: a bug") as caught:
                m.cpu.set_reg("ds.limit", 0xFFFFFFFF)
                run_code(m, bytes.fromhex(code) + b"\xb9\x34\x12", 10, eax=MARK, ebx=at, ecx=0)
            assert mapping.name in str(caught.value)
            assert m.cpu.reg("cx") == 0
            assert m.cpu.reg("eax") in (MARK, 0xFFFFFFFF)
        m.bus._mmio.drop(mapping)


@pytest.mark.parametrize(("code", "side"), [("f36d", "read"), ("f36f", "write")])
def test_a_failing_block_transfer_stops_the_processor(code: str, side: str) -> None:
    m = full_pc()
    mapping = m.bus._ports.find(0x1F0)
    assert mapping is not None
    for name in ("read", "write", "read_block", "write_block"):
        setattr(mapping, name, fail)
    m.ram.load(0x9000, bytes([0x77]) * 64)
    with pytest.raises(DeviceError, match=r"ide0.*LookupError: a bug"):
        run_code(m, bytes.fromhex(code) + GO_ON, 40, edx=0x1F0, ecx=16, esi=0x9000, edi=0x9000, ebx=0)
    assert m.cpu.reg("bx") == 0
    assert set(m.ram.view[0x9000:0x9040]) <= {0x77, 0xFF}


def test_a_failing_interrupt_acknowledge_stops_the_processor() -> None:
    m = full_pc()
    m.bus.acknowledge = fail
    m.cpu.set_intr(True)
    with pytest.raises(DeviceError, match="interrupt acknowledge: LookupError: a bug"):
        run_code(m, b"\xfb\x90" + GO_ON, 10, ebx=0)
    assert m.cpu.reg("bx") == 0


def test_every_failing_timer_is_named() -> None:
    m = full_pc()
    m.clock.fire()
    names = set()
    created = [vars(device)[key] for device in m.devices.values() for key in vars(device)]
    for timer in [t for t in created if hasattr(t, "callback") and hasattr(t, "arm")]:
        timer.callback = fail_write
        timer.arm(m.clock.now())
        with pytest.raises(DeviceError, match=f"timer {re.escape(timer.name)}: LookupError: a bug"):
            m.clock.fire()
        names.add(timer.name)
    assert len(names) >= 5


def test_a_failing_firmware_service_is_named() -> None:
    m = full_pc()
    assert m.on_hook is not None
    m.on_hook = fail_write
    with pytest.raises(MachineError, match="firmware: LookupError: a bug"):
        m.step(1000)
    again = full_pc()
    again.on_hook = fail_write
    again.max_insns = 1000
    with pytest.raises(MachineError, match="firmware: LookupError: a bug"):
        again.run()


def test_a_failing_console_and_a_failing_key_are_named() -> None:
    m = full_pc()
    uart = m.devices["serial0"]
    for value in vars(uart).values():
        if hasattr(value, "send"):
            value.send = fail_write
    with pytest.raises(DeviceError, match=r"serial0.*LookupError: a bug"):
        m.bus.port_write(0x3F8, 1, 65)
    m.inputs.channels["serial0"]._accept = fail
    m.inputs.channels["serial0"].put(b"x")
    m.clock.skip_to(m.clock.now() + 1)
    with pytest.raises(DeviceError, match="timer input serial0: LookupError: a bug"):
        m.clock.fire()


class BrokenDisk(MemoryDisk):
    """Every access raises what it is told to."""

    error: Exception | None = None

    def read(self, offset: int, length: int) -> bytes:
        if self.error is not None:
            raise self.error
        return super().read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        super().write(offset, data)

    def flush(self) -> None:
        if self.error is not None:
            raise self.error


def command(m: Machine, opcode: int, *, sector: int = 1, count: int = 1) -> int:
    """Give the first disk a command in LBA and let it work; the status register."""
    for offset, value in ((6, 0xE0), (2, count), (3, sector), (4, 0), (5, 0), (7, opcode)):
        m.bus.port_write(0x1F0 + offset, 1, value)
    for _ in range(2):  # the work, and its arrival
        m.clock.skip_to(m.clock.now() + 100_000_000)
        m.clock.fire()
    return m.bus.port_read(0x1F7, 1)


def give(m: Machine) -> None:
    """One sector to the data port."""
    for _ in range(256):
        m.bus.port_write(0x1F0, 2, 0x1234)
    m.clock.skip_to(m.clock.now() + 100_000_000)
    m.clock.fire()


READ, WRITE, FLUSH, IDENTIFY = 0x20, 0x30, 0xE7, 0xEC
ERROR, BUSY_OR_REQUEST = 0x01, 0x88


@pytest.mark.parametrize("number", [28, 5, 27, 30, 121], ids=["ENOSPC", "EIO", "EFBIG", "EROFS", "EREMOTEIO"])
def test_an_error_of_the_host_is_an_ata_error_and_a_line_in_the_log(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    disk = BrokenDisk(bytes(1 << 20))
    m = full_pc(disk=disk)
    disk.error = OSError(number, os.strerror(number))
    status = command(m, READ)
    assert status & (ERROR | BUSY_OR_REQUEST) == ERROR
    assert m.bus.port_read(0x1F1, 1) != 0
    command(m, WRITE)
    give(m)
    assert m.bus.port_read(0x1F7, 1) & (ERROR | BUSY_OR_REQUEST) == ERROR
    assert command(m, FLUSH) & ERROR
    lines = [r.getMessage() for r in caplog.records if r.name == "emu.disk"]
    assert len(lines) == 3
    assert all(os.strerror(number) in line for line in lines)
    disk.error = None
    assert not command(m, IDENTIFY) & ERROR
    assert not command(m, READ) & ERROR


@pytest.mark.parametrize("opcode", [READ, WRITE, FLUSH])
def test_a_bug_in_a_disk_backend_is_no_ata_error(opcode: int) -> None:
    disk = BrokenDisk(bytes(1 << 20))
    m = full_pc(disk=disk)
    disk.error = LookupError("a bug")
    with pytest.raises(DeviceError, match="LookupError: a bug"):
        command(m, opcode)
        give(m)


# Sector 100 by ATA ports; the status after it goes to the debug-exit port.
WRITE_100 = bytes.fromhex(
    "fa ba f601 b0e0 ee ba f201 b001 ee ba f301 b064 ee ba f401 b000 ee ba f501 ee"  # drive, count, LBA
    "ba f701 b030 ee ec a808 74fb"  # WRITE SECTORS; wait for DRQ
    "ba f001 b90001 31c0 ef e2fd"  # 256 words
    "ba f701 ec a880 75fb e6f4 ebfe"  # wait for BSY to go; status out
)


@pytest.mark.parametrize("limit", [4096, None], ids=["full", "with room"])
def test_a_full_host_disk_reaches_the_guest(tmp_path: Path, limit: int | None) -> None:
    image = boot_image(tmp_path, WRITE_100, 2048)
    bound: Callable[[], None] | None = None
    if limit is not None:

        def bound() -> None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    result = subprocess.run(
        [sys.executable, "-m", "emu", "run", "-hda", image, *device, "--timeout", "30"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=bound,
    )
    status = result.returncode >> 1
    assert status & 0x80 == 0, result.stderr
    assert bool(status & ERROR) == (limit is not None)
    assert ("write failed: File too large" in result.stderr) == (limit is not None)


def test_the_command_reports_a_bug_in_one_line_with_a_saved_report(tmp_path: Path) -> None:
    image = boot_image(tmp_path, bytes.fromhex("e4 60 ebfe"))
    code = (
        "import sys, devices.i8042 as d\n"
        "def fail(self, offset, width): raise LookupError('a bug')\n"
        "d.I8042.read_data = fail\n"
        "from emu.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "run", "-hda", image, "--max-insns", "100000"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert re.match(r"emu: internal error: DeviceError: i8042 data: read .*LookupError: a bug; a report is in ", line)
    report = Path(line.rsplit(" ", 1)[1])
    assert "LookupError: a bug" in report.read_text()
