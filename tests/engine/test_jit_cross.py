"""An instruction that lies in two pages is part of a trace, and a write to either part of it ends that trace."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import ORIGIN, Guest

pytest.importorskip("emu.engine._x86")

PAGE = 0x1000
SOURCE = """
again:
    inc ecx
    jmp near_end
    resb {fill}
near_end:
    xor edx, edx
crossing:
    add eax, 0x11223344
    inc edx
    jmp again
"""
LENGTH = 5  # 05 id


def guest(inside: int, count: int = 2000) -> Guest:
    """A loop in which the ADD has `inside` bytes before the end of its page."""
    probe = Guest("x86", SOURCE.format(fill=400), count=0)
    fill = 400 + ORIGIN + PAGE - inside - probe.at("crossing")
    made = Guest("x86", SOURCE.format(fill=fill), count=count)
    assert made.at("crossing") == ORIGIN + PAGE - inside
    return made


@pytest.mark.parametrize("inside", range(1, LENGTH))
def test_a_trace_goes_on_through_an_instruction_in_two_pages(inside: int) -> None:
    g = guest(inside)
    singles = g.cpu.stats()["singles"]
    eax, ecx = g.cpu.reg("eax"), g.cpu.reg("ecx")
    g.cpu.run(6000)
    assert g.cpu.reg("ecx") - ecx == 1000
    assert (g.cpu.reg("eax") - eax) & 0xFFFFFFFF == 1000 * 0x11223344 & 0xFFFFFFFF
    assert g.cpu.stats()["singles"] - singles < 20  # the budget ends within a trace


@pytest.mark.parametrize("inside", range(1, LENGTH))
@pytest.mark.parametrize("byte", range(1, LENGTH))
def test_a_write_to_a_byte_of_it_is_seen(inside: int, byte: int) -> None:
    g = guest(inside)
    at = g.at("crossing") + byte
    g.ram.view[at] ^= 0xFF
    g.cpu.invalidate(at, 1)
    step = int.from_bytes(g.ram.view[g.at("crossing") + 1 : g.at("crossing") + LENGTH], "little")
    g.go("again")
    eax = g.cpu.reg("eax")
    g.cpu.run(600)
    assert (g.cpu.reg("eax") - eax) & 0xFFFFFFFF == 100 * step & 0xFFFFFFFF


@pytest.mark.parametrize("byte", range(1, LENGTH))
def test_a_store_of_the_guest_to_a_byte_of_it_is_seen(byte: int) -> None:
    source = SOURCE.replace("inc edx", f"xor byte [crossing + {byte}], 1\n    inc edx")
    probe = Guest("x86", source.format(fill=400), count=0)
    fill = 400 + ORIGIN + PAGE - 2 - probe.at("crossing")
    g = Guest("x86", source.format(fill=fill), count=7 * 400)
    other = 0x11223344 ^ 1 << 8 * (byte - 1)
    assert g.cpu.reg("eax") == (0x11223344 + other) * 200 & 0xFFFFFFFF
