"""What holds for each device here: no access in any order raises, state is plain data, timers are bounded."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from devices.acpi_pm import AcpiPm
from devices.block.raw import MemoryDisk
from devices.debug_exit import DebugExit
from devices.debugcon import Debugcon, ShutdownPort
from devices.device import Device
from devices.dma8237 import Dma8237
from devices.fdc82077 import Fdc82077, FloppyDrive, Format
from devices.fsl_ddr import FslDdr
from devices.fsl_ecm import FslEcm
from devices.fsl_gpio import FslGpio
from devices.fsl_guts import FslGuts
from devices.fsl_i2c import FslI2c
from devices.fsl_l2 import FslL2
from devices.fsl_law import FslLaw
from devices.fsl_lbc import FslLbc
from devices.fsl_pci import FslPci
from devices.fw_cfg import FwCfg
from devices.hpet import SIZE as HPET_SIZE
from devices.hpet import Hpet
from devices.i2c import I2cBus
from devices.i8042 import I8042
from devices.ioapic import IoApic
from devices.irq import IrqRouter
from devices.lapic import Lapic
from devices.mpic import Mpic
from devices.pc_testdev import PcTestdev
from devices.pci import Bar, PciFunction
from devices.pic8259 import Pic8259
from devices.pit8254 import Pit8254
from devices.port92 import Port92
from devices.rtc_ds1338 import Ds1338
from devices.rtc_mc146818 import RtcMc146818
from devices.spin_table import SIZE, SpinTable
from devices.uart16550 import Uart16550

ACCESSES = int(os.environ.get("EMU_FUZZ_DEVICES", "12000"))
"""Random accesses for each device; `make fuzz-devices ROUNDS=10000000` for many."""
FIRST_SEED = int(os.environ.get("EMU_FUZZ_SEED", "0"))


@dataclass
class Bench:
    """A device with its ranges (size, read, write) and stimuli from outside."""

    dev: Device
    ranges: list[tuple[int, Callable[[int, int], int], Callable[[int, int, int], None]]]
    poke: Callable[[random.Random], object] = lambda rng: None
    wide: bool = False


def pic(clock, line, console, memory) -> Bench:
    dev = Pic8259(intr=line())

    def poke(rng: random.Random) -> None:
        dev.drive(rng.randrange(16), rng.random() < 0.5)
        if dev.intr.level:
            assert 0 <= dev.acknowledge() <= 255

    return Bench(
        dev,
        [
            (2, dev.read_master, dev.write_master),
            (2, dev.read_slave, dev.write_slave),
            (2, dev.read_elcr, dev.write_elcr),
        ],
        poke,
    )


def pit(clock, line, console, memory) -> Bench:
    dev = Pit8254(clock=clock, irq=line())
    return Bench(dev, [(4, dev.read, dev.write), (1, dev.read_port61, dev.write_port61)])


def hpet(clock, line, console, memory) -> Bench:
    dev = Hpet(clock=clock, legacy=(line(), line()), routes={pin: line() for pin in range(16, 24)})
    inputs = [dev.legacy_input(n) for n in range(2)]
    ranges = [(HPET_SIZE, dev.read, dev.write), (0x18, *_at(dev, 0)), (0x60, *_at(dev, 0x100))]
    return Bench(dev, ranges, lambda rng: rng.choice(inputs).set(rng.random() < 0.5), wide=True)


def _at(dev: Hpet, base: int) -> tuple[Callable[[int, int], int], Callable[[int, int, int], None]]:
    return lambda at, width: dev.read(base + at, width), lambda at, width, value: dev.write(base + at, width, value)


def rtc(clock, line, console, memory) -> Bench:
    dev = RtcMc146818(clock=clock, irq=line(), base=951_782_399)
    return Bench(dev, [(2, dev.read, dev.write)])


def i8042(clock, line, console, memory) -> Bench:
    dev = I8042(clock=clock, irq_kbd=line(), irq_aux=line(), a20=line(), reset_line=line())

    def poke(rng: random.Random) -> None:
        dev.key_scancode(rng.randbytes(rng.randrange(20)))
        dev.mouse_move(rng.randint(-99999, 99999), rng.randint(-300, 300), rng.randint(-9, 9), rng.randrange(99))

    return Bench(dev, [(1, dev.read_data, dev.write_data), (1, dev.read_status, dev.write_command)], poke)


def uart(clock, line, console, memory) -> Bench:
    dev = Uart16550(clock=clock, irq=line(), console=console)

    def poke(rng: random.Random) -> None:
        data = rng.randbytes(rng.randrange(40))
        assert 0 <= dev.receive(data) <= min(16, len(data))
        dev.receive_break()

    return Bench(dev, [(8, dev.read, dev.write)], poke)


def lapic(clock, line, console, memory) -> Bench:
    dev = Lapic(clock=clock, intr=line(), extint_vector=lambda: 0x30, end_of_interrupt=lambda vector: None)

    def poke(rng: random.Random) -> None:
        dev.set_extint(rng.random() < 0.5)
        dev.set_lint1(rng.random() < 0.5)
        dev.deliver(rng.randrange(256), rng.random() < 0.5, rng.randrange(8), rng.randrange(300), rng.random() < 0.5)
        if dev.intr.level:
            assert 0 <= dev.acknowledge() <= 255
        if rng.random() < 0.05:
            dev.set_enabled(rng.random() < 0.7)

    return Bench(dev, [(0x400, dev.read, dev.write), (0x1000, dev.read, dev.write)], poke, wide=True)


def deadline(clock, line, console, memory) -> Bench:
    """The local APIC with deadlines of its timer."""
    made = lapic(clock, line, console, memory)
    assert isinstance(made.dev, Lapic)
    dev, poke = made.dev, made.poke

    def set_deadline(rng: random.Random) -> None:
        poke(rng)
        dev.write(0x320, 4, rng.getrandbits(19))
        dev.set_deadline(rng.choice((None, clock.now() + rng.randrange(-100_000, 100_000))))

    made.poke = set_deadline
    return made


class Nowhere:
    """Memory that nobody looks at again, full of noise."""

    def __init__(self) -> None:
        self.rng = random.Random(1)

    def read(self, addr: int, length: int) -> bytes:
        return bytes(self.rng.choice((0, 0, self.rng.getrandbits(8))) for _ in range(length))

    def write(self, addr: int, data: bytes) -> None:
        pass


def fw_cfg(clock, line, console, memory) -> Bench:
    dev = FwCfg(memory=Nowhere(), ram_size=1 << 24, hpet=True)
    dev.add_file("etc/a", bytes(1000))
    return Bench(dev, [(2, dev.read, dev.write), (8, dev.read_dma, dev.write_dma)], wide=True)


def acpi_pm(clock, line, console, memory) -> Bench:
    dev = AcpiPm(clock=clock, sci=line(), power_off=lambda: None)

    def poke(rng: random.Random) -> None:
        dev.clock_input.set(rng.random() < 0.5)
        rng.choice((dev.press_power_button, dev.wake, lambda: dev.raise_gpe(rng.randrange(16))))()

    ranges = [(64, dev.read, dev.write), (4, dev.read_gpe, dev.write_gpe), (2, dev.read_smi, dev.write_smi)]
    return Bench(dev, ranges, poke, wide=True)


def ioapic(clock, line, console, memory) -> Bench:
    rng = random.Random(3)
    dev = IoApic(deliver=lambda *message: rng.random() < 0.5)

    def poke(rng: random.Random) -> None:
        dev.drive(rng.randrange(24), rng.random() < 0.5)
        dev.end_of_interrupt(rng.randrange(256))

    return Bench(dev, [(0x14, dev.read, dev.write), (0x1000, dev.read, dev.write)], poke, wide=True)


def dma(clock, line, console, memory) -> Bench:
    dev = Dma8237(memory=memory)

    def poke(rng: random.Random) -> None:
        dev.to_memory(rng.randrange(8), rng.randbytes(rng.randrange(2000)))
        dev.from_memory(rng.randrange(8), rng.randrange(-5, 2000))

    return Bench(
        dev,
        [
            (16, dev.read_low, dev.write_low),
            (32, dev.read_high, dev.write_high),
            (16, dev.read_page, dev.write_page),
        ],
        poke,
    )


def fdc(clock, line, console, memory) -> Bench:
    dma = Dma8237(memory=memory)
    dma.write_low(0x0F, 1, 0)
    drives = [FloppyDrive(disk, lambda disk: Format(80, 2, 18)) for disk in (MemoryDisk(b"\1" * (1440 << 10)), None)]
    dev = Fdc82077(clock=clock, irq=line(), dma=dma, drives=drives)
    opcodes = (0xC6, 0x45, 0x56, 0x42, 0x4D, 0x4A, 0x51, 0x07, 0x0F, 0x08, 0x03, 0x13, 0x0E)

    def poke(rng: random.Random) -> None:
        dev.write(2, 1, 0x1C)
        dev.write_control(0, 1, 0)
        for byte in (rng.choice(opcodes), rng.randrange(3), 0, 0, rng.randrange(20), 2, 18, 27, 255):
            dev.write(5, 1, byte)
        dma.write_low(0x0B, 1, rng.choice((0x46, 0x4A, 0x42, 0x56)))
        dma.write_low(0x0A, 1, 2)
        drives[1].change_medium(rng.choice((None, MemoryDisk(bytes(720 << 10)))))

    return Bench(dev, [(6, dev.read, dev.write), (1, dev.read_input, dev.write_control)], poke)


def port92(clock, line, console, memory) -> Bench:
    dev = Port92(a20=line(), reset_line=line())
    return Bench(dev, [(1, dev.read, dev.write)])


def debugcon(clock, line, console, memory) -> Bench:
    dev = Debugcon(console=console)
    return Bench(dev, [(1, dev.read, dev.write)])


def shutdown(clock, line, console, memory) -> Bench:
    dev = ShutdownPort(shutdown=lambda: None)
    return Bench(dev, [(1, dev.read, dev.write)])


def debug_exit(clock, line, console, memory) -> Bench:
    dev = DebugExit(leave=lambda status: None)
    return Bench(dev, [(4, dev.read, dev.write)], wide=True)


def router(clock, line, console, memory) -> Bench:
    dev = IrqRouter([[line()], [line(), line()]])
    sources = [dev.source(0), dev.source(0), dev.source(1)]
    return Bench(dev, [], lambda rng: rng.choice(sources).set(rng.random() < 0.5))


def scratch(clock, line, console, memory) -> Bench:
    dev = PcTestdev(lines=[line() for _ in range(24)])
    return Bench(dev, [(4, dev.read_narrow, dev.write_narrow), (24, dev.read_line, dev.write_line)])


def scratch_wide(clock, line, console, memory) -> Bench:
    dev = PcTestdev(lines=[])
    return Bench(dev, [(4, dev.read_wide, dev.write_wide), (0x10000, dev.read_memory, dev.write_memory)], wide=True)


def part(dev, base, size):
    """A range of a bench: the `size` bytes from `base` of a device with one large range."""
    return (
        size,
        lambda offset, width: dev.read(base + offset, width),
        lambda offset, width, value: dev.write(base + offset, width, value),
    )


def mpic(clock, line, console, memory, version="2.0") -> Bench:
    dev = Mpic(clock=clock, int_line=line(), cint_line=line(), mck_line=line(), out_line=line(), version=version)

    def poke(rng: random.Random) -> None:
        dev.drive(rng.choice((0, 1, 11, 16, 42, 79, 255)), rng.random() < 0.5)
        dev.message(rng.getrandbits(32))
        assert 0 <= dev.acknowledge() <= 0xFFFF

    places = (0, 0x100), (0x1000, 0x800), (0x2000, 0x600), (0x10000, 0x400), (0x11C00, 0x200), (0x20000, 0x100)
    return Bench(dev, [part(dev, *place) for place in (*places, (0, 0x40000))], poke, wide=True)


def mpic42(clock, line, console, memory) -> Bench:
    return mpic(clock, line, console, memory, "4.2")


def guts(clock, line, console, memory) -> Bench:
    dev = FslGuts(reset_line=line(), pvr=1, svr=2)
    return Bench(dev, [part(dev, 0, 0x100), part(dev, 0, 0x1000)], wide=True)


def fsl_pci(clock, line, console, memory) -> Bench:
    dev = FslPci(memory=memory)
    dev.add(1, 0, PciFunction((Bar(0, 0x1000, dev.outbound.range(0x1000, lambda place: None)),)))

    def poke(rng: random.Random) -> None:
        dev.write(0, 4, 0x8000_0000 | rng.choice((0, 0x800)) | rng.getrandbits(6) << 2)
        dev.inbound.write(rng.getrandbits(17), rng.randbytes(8))
        assert len(dev.inbound.read(rng.getrandbits(17), 100)) == 100

    return Bench(dev, [part(dev, *place) for place in ((0, 8), (0, 0x1000), (0xC00, 0x300))], poke, wide=True)


def gpio(clock, line, console, memory) -> Bench:
    dev = FslGpio(irq=line(), outputs={0: line(), 31: line()})
    return Bench(dev, [part(dev, 0, 0x20)], lambda rng: dev.input(rng.randrange(32)).set(rng.random() < 0.5), wide=True)


def i2c(clock, line, console, memory) -> Bench:
    bus = I2cBus()
    bus.attach(0x68, Ds1338(clock=clock, base=1_000_000_000))
    dev = FslI2c(irq=line(), bus=bus)

    def poke(rng: random.Random) -> None:
        dev.write(0x08, 1, 0xB0)
        dev.write(0x10, 1, 0xD0 | rng.getrandbits(1))

    return Bench(dev, [part(dev, 0, 0x18)], poke, wide=True)


def ds1338(clock, line, console, memory) -> Bench:
    dev = Ds1338(clock=clock, base=1_000_000_000)

    def poke(rng: random.Random) -> None:
        assert dev.start(rng.random() < 0.5)
        for _ in range(rng.randrange(70)):
            assert dev.write(rng.getrandbits(8))
            assert 0 <= dev.read() <= 0xFF
        if rng.random() < 0.5:
            dev.stop()

    return Bench(dev, [], poke)


def law(clock, line, console, memory) -> Bench:
    return storage(FslLaw(base=0xF_E000_0000))


def ecm(clock, line, console, memory) -> Bench:
    return storage(FslEcm())


def ddr(clock, line, console, memory) -> Bench:
    return storage(FslDdr(memory=1 << 28))


def lbc(clock, line, console, memory) -> Bench:
    return storage(FslLbc())


def l2(clock, line, console, memory) -> Bench:
    return storage(FslL2())


def storage(dev) -> Bench:
    return Bench(dev, [part(dev, *place) for place in ((0, 0x1000), (0, 0x200), (0xE00, 0x80))], wide=True)


def spin_table(clock, line, console, memory) -> Bench:
    dev = SpinTable()
    return Bench(dev, [part(dev, 0, SIZE)], wide=True)


DEADLINES = ("armed", "sent_at", "stale_at", "due", "awake")
MAKERS = [pic, pit, hpet, rtc, i8042, uart, lapic, ioapic, dma, fdc, port92, debugcon, shutdown, debug_exit, router]
MAKERS += [scratch, scratch_wide, mpic, mpic42, guts, fsl_pci, gpio, i2c, ds1338]
MAKERS += [deadline, law, ecm, ddr, lbc, l2, spin_table]


def run(bench: Bench, clock, rng: random.Random, steps: int) -> None:
    for _ in range(steps):
        what = rng.random()
        if bench.ranges and what < 0.8:
            size, read, write = rng.choice(bench.ranges)
            width = rng.choice((1, 2, 4)) if bench.wide else 1
            offset = rng.randrange(size) // width * width
            if what < 0.4:
                assert 0 <= read(offset, width) < 1 << 8 * width
            else:
                small = rng.random() < 0.3
                write(offset, width, rng.randrange(4) if small else rng.getrandbits(8 * width))
        elif what < 0.9:
            bench.poke(rng)
        elif what < 0.995:
            clock.advance(rng.choice((10, 1_000, 100_000)))
        else:
            bench.dev.reset()


def build(maker, clock, lines, console, memory) -> Bench:
    return maker(clock, lines, console, memory)


@pytest.mark.parametrize("maker", [*MAKERS, fw_cfg, acpi_pm])
def test_random_accesses_never_raise(maker, clock, lines, console, memory):
    for seed in range(FIRST_SEED, FIRST_SEED + ACCESSES // 1500):
        run(build(maker, clock, lines, console, memory), clock, random.Random(seed), 1500)
        clock.timers.clear()
        console.sent = b""


@pytest.mark.parametrize("maker", MAKERS)
def test_a_state_saved_in_the_middle_loads_into_a_new_device_and_goes_on_the_same(maker, clock, lines, console, memory):
    bench = build(maker, clock, lines, console, memory)
    run(bench, clock, random.Random(1), 1500)
    saved = bench.dev.save()
    again = build(maker, clock, lines, console, memory)
    again.dev.load(saved)
    assert again.dev.save() == saved
    mine = [timer.deadline for timer in clock.timers]
    assert mine[: len(mine) // 2] == mine[len(mine) // 2 :]


@pytest.mark.parametrize("maker", MAKERS)
def test_every_field_of_a_snapshot_is_checked(maker, clock, lines, console, memory):
    bench = build(maker, clock, lines, console, memory)
    for path in leaves(bench.dev.save()):
        for bad in (-(1 << 70), 1 << 300, "x", [1.5], *(() if path[-1] in DEADLINES else (None,))):
            data = bench.dev.save()
            at = data
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = bad
            with pytest.raises(ValueError, match=str(path[-1]) if type(path[-1]) is str else "."):
                bench.dev.load(data)


def leaves(data, path=()):
    if type(data) is dict:
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif type(data) is list:
        for i, value in enumerate(data):
            yield from leaves(value, (*path, i))
    else:
        yield path


@pytest.mark.parametrize("maker", MAKERS)
def test_reset_gives_the_state_of_a_new_device_apart_from_what_survives(maker, clock, lines, console, memory):
    bench = build(maker, clock, lines, console, memory)
    fresh = bench.dev.save()
    run(bench, clock, random.Random(5), 300)
    bench.dev.reset()
    survives = {"lines", "cmos", "seconds", "since", "weekday_shift", "seen", "extint", "lint1", "asserted", "inputs"}
    survives |= {"synced", "cells", "track", "changed"}
    assert prune(bench.dev.save(), survives) == prune(fresh, survives)


def prune(data, names):
    if type(data) is dict:
        return {key: prune(value, names) for key, value in data.items() if key not in names}
    if type(data) is list:
        return [prune(value, names) for value in data]
    return data


@pytest.mark.parametrize("maker", [pit, hpet, rtc, lapic, mpic])
def test_no_programming_makes_more_than_a_thousand_timer_events_in_a_millisecond(maker, clock, lines, console, memory):
    for seed in range(20):
        bench = build(maker, clock, lines, console, memory)
        run(bench, clock, random.Random(seed), 200)
        clock.fired = 0
        clock.advance(1_000_000)
        assert clock.fired <= 1_001
        for timer in clock.timers:
            timer.cancel()
