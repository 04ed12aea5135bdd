"""What holds for every device, for those of 4xx chips; and every register of them in every width at every offset."""

from __future__ import annotations

import random

import pytest

from devices.i2c import I2cBus
from devices.ppc4xx_cpr_sdr import Cpr440Ep, Cpr460Ex, Sdr440Ep, Sdr460Ex
from devices.ppc4xx_dma import Dma4xx
from devices.ppc4xx_ebc import Ebc
from devices.ppc4xx_emac import Emac, Zmii
from devices.ppc4xx_gpio import Gpio
from devices.ppc4xx_iic import Iic
from devices.ppc4xx_l2c import L2Cache460Ex
from devices.ppc4xx_mal import Mal
from devices.ppc4xx_pci import Bridge440Ep, Bridge460Ex, Pci440Ep, Pci460Ex, Pcie460Ex
from devices.ppc4xx_plb import Ahb460Ex, Cpm4xx, Plb4xx
from devices.ppc4xx_sdram import Sdram440Ep, Sdram460Ex
from devices.uic import Uic
from tests.devices import test_every_device as every
from tests.devices.test_every_device import Bench

ONES = {width: (1 << 8 * width) - 1 for width in (1, 2, 4)}


def dcrs(count, read, write):
    """DCRs as a range of a bench: each byte offset stands for a whole word."""
    return count, lambda offset, width: read(offset) & ONES[width], lambda offset, width, value: write(offset, value)


def indirect(dev, last):
    """Both DCRs of an indirect device, and its registers by their index as far as `last`."""

    def read(index):
        dev.write_dcr(0, index)
        return dev.read_dcr(1)

    def write(index, value):
        dev.write_dcr(0, index)
        dev.write_dcr(1, value)

    return Bench(dev, [dcrs(2, dev.read_dcr, dev.write_dcr), dcrs(last, read, write)], wide=True)


def uic(clock, line, console, memory) -> Bench:
    dev = Uic(intr=line(), critical=line())

    def poke(rng: random.Random) -> None:
        dev.drive(rng.randrange(32), rng.random() < 0.5)

    return Bench(dev, [dcrs(9, dev.read_dcr, dev.write_dcr)], poke, wide=True)


def sdram440(clock, line, console, memory) -> Bench:
    return indirect(Sdram440Ep(size=200 << 20), 0x101)


def sdram460(clock, line, console, memory) -> Bench:
    dev = Sdram460Ex(size=200 << 20)
    bench = indirect(dev, 0x101)
    bench.ranges.append(dcrs(0x11, dev.read_queue, dev.write_queue))
    return bench


def ebc(clock, line, console, memory) -> Bench:
    return indirect(Ebc(), 0x41)


def cpr440(clock, line, console, memory) -> Bench:
    return indirect(Cpr440Ep(), 0x181)


def cpr460(clock, line, console, memory) -> Bench:
    return indirect(Cpr460Ex(), 0x181)


def sdr440(clock, line, console, memory) -> Bench:
    return indirect(Sdr440Ep(), 0x4310)


def sdr460(clock, line, console, memory) -> Bench:
    return indirect(Sdr460Ex(), 0x4310)


def l2c(clock, line, console, memory) -> Bench:
    dev = L2Cache460Ex()
    return Bench(dev, [dcrs(0x20, dev.read_dcr, dev.write_dcr)], wide=True)


def pci440(clock, line, console, memory) -> Bench:
    dev = Pci440Ep(memory=memory)
    ranges = [(8, dev.read_config, dev.write_config), (4, dev.read_cycle, dev.write_cycle), (0x40, dev.read, dev.write)]
    return Bench(dev, ranges, lambda rng: dev.inbound.write(rng.getrandbits(32), rng.randbytes(9)), wide=True)


def bridge440(clock, line, console, memory) -> Bench:
    dev = Bridge440Ep(changed=lambda: None, masks=lambda: (0x8000_0001, 0xFFFF_F000))
    return Bench(dev, [(256, dev.config_read, lambda at, width, value: dev.config_write(at, width, value))], wide=True)


def pci460(clock, line, console, memory) -> Bench:
    dev = Pci460Ex(memory=memory)
    ranges = [
        (8, dev.read_config, dev.write_config),
        (4, dev.read_cycle, dev.write_cycle),
        (0x200, dev.read, dev.write),
    ]
    return Bench(dev, ranges, lambda rng: dev.inbound.write(rng.getrandbits(32), rng.randbytes(9)), wide=True)


def bridge460(clock, line, console, memory) -> Bench:
    dev = Bridge460Ex(changed=lambda: None)
    return Bench(dev, [(256, dev.config_read, lambda at, width, value: dev.config_write(at, width, value))], wide=True)


def pcie(clock, line, console, memory) -> Bench:
    dev = Pcie460Ex(port=1)
    ranges = [
        dcrs(0x20, dev.read_dcr, dev.write_dcr),
        (0x1000, dev.read_utl, dev.write_utl),
        (0x1000, dev.read_config, dev.write_config),
    ]
    return Bench(dev, ranges, wide=True)


def direct(make, count):
    """A device with nothing but DCRs."""

    def maker(clock, line, console, memory) -> Bench:
        dev = make()
        return Bench(dev, [dcrs(count, dev.read_dcr, dev.write_dcr)], wide=True)

    return pytest.param(maker, id=make.name)


class Slave:
    """Refuses an address or a byte now and then."""

    def __init__(self):
        self.calls = 0

    def start(self, read: bool) -> bool:
        self.calls += 1
        return self.calls % 7 != 0

    def write(self, byte: int) -> bool:
        return byte != 3

    def read(self) -> int:
        return 0x5A

    def stop(self) -> None:
        pass


def iic(clock, line, console, memory) -> Bench:
    bus = I2cBus()
    for address in range(0x08, 0x78):
        bus.attach(address, Slave())
    dev = Iic(irq=line(), bus=bus)
    return Bench(dev, [(0x14, dev.read, dev.write)], lambda rng: dev.write(6, 1, rng.getrandbits(8) | 1), wide=True)


def gpio(clock, line, console, memory) -> Bench:
    dev = Gpio(outputs={0: line(), 31: line()})
    return Bench(
        dev, [(0x48, dev.read, dev.write)], lambda rng: dev.drive(rng.randrange(32), rng.random() < 0.5), wide=True
    )


def emac(clock, line, console, memory) -> Bench:
    dev = Emac()
    return Bench(dev, [(0x70, dev.read, dev.write)], wide=True)


def zmii(clock, line, console, memory) -> Bench:
    dev = Zmii()
    return Bench(dev, [(0x0C, dev.read, dev.write)], wide=True)


MAKERS = [uic, sdram440, sdram460, ebc, cpr440, cpr460, sdr440, sdr460, l2c, pci440, bridge440, pci460, bridge460, pcie]
MAKERS += [iic, gpio, direct(Mal, 0x80), direct(Dma4xx, 0x40), direct(Plb4xx, 0x20), direct(Cpm4xx, 3)]
MAKERS += [direct(Ahb460Ex, 2), emac, zmii]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("law", [
    every.test_random_accesses_never_raise,
    every.test_a_state_saved_in_the_middle_loads_into_a_new_device_and_goes_on_the_same,
    every.test_every_field_of_a_snapshot_is_checked,
])  # fmt: skip
def test_the_laws_of_devices_hold(law, maker, clock, lines, console, memory):
    law(maker, clock, lines, console, memory)


@pytest.mark.parametrize("maker", [maker for maker in MAKERS if maker is not uic])  # its inputs are seen again at once
def test_reset_gives_the_state_of_a_new_device(maker, clock, lines, console, memory):
    every.test_reset_gives_the_state_of_a_new_device_apart_from_what_survives(maker, clock, lines, console, memory)


@pytest.mark.parametrize("maker", MAKERS)
def test_every_register_takes_every_width_at_every_offset(maker, clock, lines, console, memory):
    bench = maker(clock, lines, console, memory)
    for size, read, write in bench.ranges:
        for width in (1, 2, 4):
            for offset in range(0, size - width + 1, width):
                for value in (ONES[width], 0):
                    write(offset, width, value)
                    assert 0 <= read(offset, width) <= ONES[width]
