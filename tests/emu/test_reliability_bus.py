"""Nothing a guest does to ports and device memory raises: each register, width and edge, and random sequences."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator

import pytest

from emu.bus import MASK, Bus
from emu.machine import Machine
from tests.emu.pc_machine import full_pc, run_code

WIDTHS = (1, 2, 4)
VALUES = (0, 0xFFFFFFFF, 0x5AA55AA5)


def ranges(machine: Machine) -> Iterator[tuple[str, bool, int, int]]:
    """(name, ports?, base, size) of everything on the bus, as it is now."""
    for space, ports in ((machine.bus._ports, True), (machine.bus._mmio, False)):
        for mapping in list(space.mappings):
            yield mapping.name, ports, mapping.base, mapping.size


def access(bus: Bus, ports: bool, at: int, width: int, value: int | None) -> int:
    if value is None:
        got = bus.port_read(at, width) if ports else bus.mmio_read(at, width)
        assert 0 <= got <= MASK[width]
        return got
    if ports:
        bus.port_write(at, width, value)
    else:
        bus.mmio_write(at, width, value)
    return 0


def offsets(size: int) -> list[int]:
    """Every offset from one word before to one word behind; of a large range its pages' edges and a sample."""
    if size <= 0x1000:
        return list(range(-4, size + 4))
    near = [page + k for page in range(0, size + 1, 0x1000) for k in range(-4, 5)]
    return near + random.Random(size).sample(range(size), 3000)


@pytest.mark.parametrize("order", ["reads", "writes", "both"])
def test_every_register_takes_every_width_at_every_offset(order: str) -> None:
    m = full_pc()
    seen = 0
    for _name, ports, base, size in list(ranges(m)):
        limit = 0x10000 if ports else 1 << 32
        for offset in offsets(size):
            at = base + offset
            if not 0 <= at < limit:
                continue
            for width in WIDTHS:
                if order != "writes":
                    access(m.bus, ports, at, width, None)
                if order != "reads":
                    for value in VALUES:
                        access(m.bus, ports, at, width, value)
                seen += 1
    assert seen > 10_000
    m.clock.skip_to(m.clock.now() + 10_000_000_000)
    m.clock.fire()


def test_what_nobody_answers_reads_all_ones_at_every_width() -> None:
    m = full_pc()
    taken = {p for _, ports, base, size in ranges(m) if ports for p in range(base, base + size)}
    free = [p for p in range(0, 0x10000 - 4, 7) if not taken & {p, p + 1, p + 2, p + 3}]
    assert len(free) > 1000
    for port in free:
        for width in WIDTHS:
            assert m.bus.port_read(port, width) == MASK[width]
            m.bus.port_write(port, width, 0)
    for at in (0xE0000000, 0xFEBFFFFD, 0xFEC00FFF, 0xFEE00FFF, 0xFFFFFFFE):
        for width in WIDTHS:
            m.bus.mmio_write(at, width, 0)
            assert 0 <= m.bus.mmio_read(at, width) <= MASK[width]


def test_a_wide_access_is_made_of_its_narrow_ones() -> None:
    m = full_pc()
    quiet = [0x21, 0xA1, 0x3F9, 0x3FB, 0x3FC, 0x3FF, 0x2FF, 0x61, 0x92, 0x3CC, 0xCF8, 0xCFC, 0x70, 0x4D0]
    for port in quiet:
        m.bus.port_write(port, 1, 0)
    for port in [p + k for p in quiet for k in (-3, -2, -1, 0)]:
        parts = [m.bus.port_read(port + k, 1) for k in range(4)]
        again = [m.bus.port_read(port + k, 1) for k in range(4)]
        if parts == again and port & 3 and not 0xCF8 <= port <= 0xCFF:
            assert m.bus.port_read(port, 4) == int.from_bytes(bytes(parts), "little"), hex(port)


def test_in_ax_0x3ff_reads_the_scratch_register_and_an_open_bus() -> None:
    m = full_pc()
    m.bus.port_write(0x3FF, 1, 0x77)
    below = m.bus.port_read(0x400, 1)
    run_code(m, bytes.fromhex("ba ff03 ed 89c3 66 ed 66 ef"), 4, eax=0)  # in ax,dx; mov bx,ax; in eax,dx; out dx,eax
    assert m.cpu.reg("bx") == below << 8 | 0x77
    assert m.cpu.reg("al") == 0x77
    assert m.ending is None


def storm(seed: int, count: int) -> Machine:
    """Random port and memory accesses, with time going on, interrupts taken, and input coming."""
    rng = random.Random(seed)
    m = full_pc()
    places = list(ranges(m))
    kinds: list[tuple[bool, int, int]] = [(ports, base, size) for _, ports, base, size in places]
    for number in range(count):
        dice = rng.random()
        if dice < 0.9:
            ports, base, size = rng.choice(kinds)
            at = base + rng.randrange(-2, size + 2)
        else:
            ports = rng.random() < 0.7
            at = rng.randrange(0x10000 if ports else 1 << 32)
        at %= 0x10000 if ports else 1 << 32
        width = rng.choice(WIDTHS)
        if not ports and m.ram.find(at) is not None and (region := m.ram.find(at)) is not None and region.kind != 3:
            continue
        value = None if rng.random() < 0.4 else rng.choice((0, 0xFF, rng.getrandbits(8), rng.getrandbits(32)))
        access(m.bus, ports, at, width, value)
        if number % 16 == 0:
            m.clock.skip_to(m.clock.now() + rng.choice((100, 10_000, 1_000_000, 60_000_000)))
            m.clock.fire()
            m.bus.interrupt_acknowledge()
        if number % 64 == 0:
            channel = rng.choice(list(m.inputs.channels.values()))
            channel.put(rng.randbytes(rng.randrange(1, 20)))
            if channel.waiting > 1000:
                channel.clear()
        if number % 5000 == 4999:
            kinds = [(ports, base, size) for _, ports, base, size in ranges(m)]
            if rng.random() < 0.3:
                m.reset()
            for device in m.devices.values():
                device.load(device.save())
    return m


def settle(m: Machine) -> None:
    """After any abuse a reset gives a machine that boots."""
    m.ending = None
    for channel in m.inputs.channels.values():
        channel.clear()
    m.reset()
    before = m.retired
    m.step(1000)
    assert m.retired > before


def test_random_accesses_never_raise_and_a_reset_gives_a_machine_that_boots() -> None:
    settle(storm(1, 50_000))


@pytest.mark.slow
def test_a_million_random_accesses_never_raise_and_memory_stays_bounded() -> None:
    settle(storm(2, 100_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(3, 12):
        settle(storm(seed, 100_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10


IO_CODE = [bytes.fromhex(t) for t in ("ec", "ed", "66ed", "ee", "ef", "66ef", "b92000f36c", "b92000f36f")]


@pytest.mark.parametrize("seed", range(6))
def test_random_accesses_from_inside_the_guest_never_stop_the_emulator(seed: int) -> None:
    m = full_pc()
    rng = random.Random(seed)
    for _ in range(40):
        m.ending = None
        code = b""
        for _ in range(200):
            port = rng.choice((rng.randrange(0x500), rng.randrange(0x10000), 0x1F0 + rng.randrange(8), 0xCF8, 0xCFC))
            value = rng.choice((rng.getrandbits(32), rng.getrandbits(8), 1 << 31 | rng.randrange(0x2000) << 2))
            code += b"\xba" + port.to_bytes(2, "little")  # mov dx
            code += b"\x66\xb8" + value.to_bytes(4, "little")  # mov eax
            code += rng.choice(IO_CODE)
        run_code(m, code + b"\xeb\xfe", 1000, esi=rng.getrandbits(14), edi=0x9000)
        m.clock.skip_to(m.clock.now() + 1_000_000_000)
    settle(m)
