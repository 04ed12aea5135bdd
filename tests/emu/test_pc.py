from __future__ import annotations

import random
from pathlib import Path

import pytest

from emu.boards import Setup, board
from emu.bus import Bus
from emu.cpu import Cpu
from emu.errors import DeviceError
from emu.machine import Cause, Machine
from emu.memory import FOUR_GIB, GuestRam, Kind
from emu.options import DEVICES, UsageError, cpu_models, parse
from tests.emu.fake_cpu import FakeCpu, hlt


def fake(accel: str, bus: Bus, ram: GuestRam, model: str) -> Cpu:
    cpu = FakeCpu()
    cpu.regs["cr0"] = 0
    return cpu


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> None:
        self.data += data


def build(*words: str, serial: Sink | None = None, debugcon: Sink | None = None) -> Machine:
    setup = Setup(parse(words), serial=[serial], debugcon=debugcon, make_cpu=fake)
    machine = board("pc")(setup)
    machine.power_on()
    machine.max_insns = 10_000_000
    return machine


def test_the_firmware_is_below_one_mebibyte_and_at_the_top() -> None:
    m = build("-m", "16")
    low = m.bus.phys_read(0xF0000, 0x10000)
    assert m.bus.phys_read(FOUR_GIB - 0x10000, 0x10000) == low
    assert low[0xFFF0] == 0xEA


def test_a_rom_of_any_size_ends_at_both_tops(tmp_path: Path) -> None:
    for size in (1, 512, 0x10000, 0x20000, 0x40001):
        image = bytes((i * 7 + 1) & 0xFF for i in range(size))
        (tmp_path / "rom").write_bytes(image)
        m = build("-m", "16", "-bios", str(tmp_path / "rom"))
        assert m.bus.phys_read(FOUR_GIB - size, size) == image
        tail = image[-0x20000:]
        assert m.bus.phys_read(0x100000 - len(tail), len(tail)) == tail
        assert m.ram.find(0xFFFFF).kind == Kind.ROM  # type: ignore[union-attr]


def test_a_rom_that_is_missing_or_empty_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a BIOS image, found no such file"):
        build("-bios", str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="expected a BIOS image, found an empty file"):
        build("-bios", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="expected a BIOS image, found a directory"):
        build("-bios", str(tmp_path))


def test_a_byte_for_the_serial_port_reaches_its_console_and_back() -> None:
    sink = Sink()
    m = build(serial=sink)
    m.bus.port_write(0x3F8, 1, ord("A"))
    assert sink.data == b"A"
    m.inputs.channels["serial0"].put(b"x")
    m.clock.skip_to(m.clock.now() + 1)
    m.clock.fire()
    assert m.bus.port_read(0x3F8, 1) == ord("x")
    assert m.bus.port_read(0x2FD, 1) == 0xFF


def test_the_debug_ports_do_what_the_command_line_says() -> None:
    sink = Sink()
    m = build("-device", "isa-debug-exit,iobase=0xf4,iosize=4", debugcon=sink)
    m.bus.port_write(0xE9, 1, ord("!"))
    assert sink.data == b"!"
    m.bus.port_write(0xF4, 4, 0x10)
    assert m.run().status == 33


def test_a_debug_port_hides_what_the_board_has_there() -> None:
    m = build("-device", "isa-debug-exit,iobase=0x80,iosize=1")
    m.bus.port_write(0x81, 1, 0x21)
    assert m.bus.port_read(0x81, 1) == 0x21
    m.bus.port_write(0x80, 1, 0x21)
    assert m.run().status == 0x43
    for port in (0x00, 0xB2, 0x1F0, 0x2E8, 0x3C0, 0x510, 0xCF8, 0x8900):
        m = build("-device", f"isa-debug-exit,iobase={port},iosize=1")
        m.bus.port_write(port, 1, 1)
        assert m.run().status == 3


def test_the_test_device_raises_interrupts_at_both_controllers() -> None:
    m = build("-device", "pc-testdev")
    m.bus.port_write(0x2005, 1, 1)
    m.bus.port_write(0x20, 1, 0x0A)
    assert m.bus.port_read(0x20, 1) >> 5 & 1
    m.bus.port_write(0xE0, 4, 0x12345678)
    assert m.bus.port_read(0xE1, 1) == 0x56
    m.bus.mmio_write(0xFF000100, 4, 0xCAFE)
    assert m.bus.mmio_read(0xFF000100, 2) == 0xCAFE
    build("-device", "pc-testdev", "-cpu", "486").bus.port_write(0x2017, 1, 1)


def test_debug_ports_on_top_of_each_other_or_of_the_firmware_are_refused() -> None:
    with pytest.raises(UsageError, match="overlaps isa-debug-exit0"):
        build("-device", "isa-debug-exit,iobase=0x60", "-device", "isa-debug-exit,iobase=0x61")
    with pytest.raises(UsageError, match=r"firmware: ports 0xe4.* overlaps"):
        build("-device", "isa-debug-exit,iobase=0xe2,iosize=4")
    with pytest.raises(UsageError, match="expected ports up to 0xffff"):
        build("-device", "isa-debug-exit,iobase=0xffff,iosize=4")


def test_the_timer_interrupts_a_halted_processor() -> None:
    m = build()
    assert isinstance(m.cpu, FakeCpu)
    m.cpu.program = [hlt]
    for port, value in ((0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFE), (0x43, 0x34)):
        m.bus.port_write(port, 1, value)
    m.bus.port_write(0x40, 1, 0xA9)
    m.bus.port_write(0x40, 1, 0x04)
    m.step(1)
    assert m.cpu.halted
    wake = m.clock.next_wakeup()
    assert wake is not None
    m.clock.skip_to(wake)
    m.clock.fire()
    assert m.cpu.intr
    assert m.bus.interrupt_acknowledge() == 0x08


@pytest.mark.parametrize(("port", "value"), [(0x64, 0xFE), (0x92, 0x03), (0xCF9, 0x06)])
def test_the_guest_can_reset_the_machine(port: int, value: int) -> None:
    m = build()
    m.no_reboot = True
    m.bus.port_write(0xCF9, 1, 0x02)
    m.bus.port_write(port, 1, value)
    assert m.run().cause == Cause.RESET


def test_both_a20_gates_reach_the_processor() -> None:
    m = build()
    assert isinstance(m.cpu, FakeCpu)
    m.bus.port_write(0x92, 1, 0)
    assert not m.cpu.a20
    m.bus.port_write(0x64, 1, 0xD1)
    m.bus.port_write(0x60, 1, 0xDF)
    assert m.cpu.a20


def test_text_at_b8000_is_on_the_screen() -> None:
    m = build()
    region = m.ram.find(0xB8000)
    assert region is not None
    assert region.kind == Kind.DIRECT
    m.bus.phys_write(0xB8000, b"H\x07i\x07")
    assert m.screen()[0].startswith("Hi")


def test_typed_keys_arrive_one_by_one_as_scan_codes() -> None:
    m = build()
    m.type_keys("aB\u00e9\n")
    codes = []
    for _ in range(400):
        m.clock.skip_to(m.clock.now() + 1_000_000)
        m.clock.fire()
        if m.bus.port_read(0x64, 1) & 1:
            codes.append(m.bus.port_read(0x60, 1))
    assert codes == [0x1E, 0x9E, 0x2A, 0x30, 0xB0, 0xAA, 0x1C, 0x9C]


def test_keys_wait_while_the_guests_type_ahead_buffer_is_half_full() -> None:
    m = build()
    m.bus.phys_write(0x41A, bytes.fromhex("1e002e00"))
    m.type_keys("a")
    for _ in range(100):
        m.clock.skip_to(m.clock.now() + 1_000_000)
        m.clock.fire()
    assert m.inputs.waiting == 1
    m.bus.phys_write(0x41A, bytes.fromhex("2e002e00"))
    for _ in range(100):
        m.clock.skip_to(m.clock.now() + 1_000_000)
        m.clock.fire()
    assert m.inputs.waiting == 0


@pytest.mark.parametrize("model", cpu_models())
def test_every_model_starts_and_only_a_486_has_no_local_apic(model: str) -> None:
    m = build("-cpu", model)
    assert ("lapic" in m.devices) == (model != "486")
    assert m.step(1000) == 0


def test_every_device_saves_and_takes_back_its_state() -> None:
    m = build(serial=Sink())
    m.step(100_000)
    for device in m.devices.values():
        state = device.save()
        device.load(state)
        assert device.save() == state


def test_every_device_of_the_command_line_starts_and_stops() -> None:
    """D14: each with its defaults and with each of its options; what does not fit is one line."""
    for name, options in DEVICES.items():
        for words in ("", *(f",{option}=0x200" for option in options)):
            try:
                m = build("-device", name + words)
            except UsageError as error:
                assert "\n" not in str(error)
            else:
                m.max_insns = 10
                m.run()


def test_an_exception_in_any_device_stops_the_machine_and_names_it() -> None:
    """P1: never a 0 to the guest."""

    def fail(*args: int) -> int:
        raise LookupError("a bug")

    def fail_write(*args: int) -> None:
        raise LookupError("a bug")

    m = build(serial=Sink(), debugcon=Sink())
    for line in m.bus.map_lines():
        what, span, name = line.split(maxsplit=2)
        base = int(span.split("-")[0], 16)
        mapping = m.bus.find("ports" if what == "ports" else "memory", base)
        assert mapping is not None
        mapping.read, mapping.write = fail, fail_write
        read, write = (m.bus.port_read, m.bus.port_write) if what == "ports" else (m.bus.mmio_read, m.bus.mmio_write)
        with pytest.raises(DeviceError, match="LookupError: a bug") as caught:
            read(base, 1)
        assert str(caught.value).startswith(name)
        with pytest.raises(DeviceError, match="LookupError: a bug"):
            write(base, 1, 0)


def test_an_exception_in_any_timer_stops_the_machine_and_names_it() -> None:
    m = build(serial=Sink())
    for port, value in ((0x43, 0x34), (0x40, 0x10), (0x40, 0x10), (0x3F9, 0x02), (0x3F8, 0x41)):
        m.bus.port_write(port, 1, value)
    armed = [timer for _, _, timer in m.clock._heap if timer.deadline is not None]
    assert armed

    def fail() -> None:
        raise LookupError("a bug")

    for timer in armed:
        timer.callback = fail
    with pytest.raises(DeviceError, match=r"timer .*: LookupError: a bug"):
        m.run()


def test_random_accesses_to_every_port_and_register_never_stop_the_machine() -> None:
    """D3: any width, any alignment, any value."""
    rng = random.Random(5)
    m = build(serial=Sink(), debugcon=Sink())
    m.end = lambda *args, **named: None  # type: ignore[method-assign]
    for _ in range(60_000):
        width = rng.choice((1, 2, 4))
        value = rng.getrandbits(32)
        if rng.random() < 0.8:
            port = rng.choice((rng.randrange(0x10000), rng.randrange(0x500), 0xCF8, 0xCFC, 0x3D4, 0x1F0))
            if rng.random() < 0.5:
                assert 0 <= m.bus.port_read(port, width) < 1 << (8 * width)
            else:
                m.bus.port_write(port, width, value)
        else:
            address = rng.choice((0xA0000 + rng.randrange(0x20000), 0xFEE00000 + rng.randrange(0x1000), 0xFEC00000))
            if rng.random() < 0.5:
                assert 0 <= m.bus.mmio_read(address, width) < 1 << (8 * width)
            else:
                m.bus.mmio_write(address, width, value)
        if rng.random() < 0.05:
            m.clock.skip_to(m.clock.now() + rng.randrange(10_000_000))
            m.clock.fire()
            m.bus.interrupt_acknowledge()
