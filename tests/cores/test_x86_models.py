"""CPUID of the CPU models."""

from __future__ import annotations

import struct

import pytest

from cores.x86 import state as S
from cores.x86.models import DEFAULT, MODELS, cpu_model, cpuid, leaves, reset_values


@pytest.mark.parametrize("name", MODELS)
def test_leaf_0_gives_the_vendor_and_leaf_1_the_reset_signature(name: str) -> None:
    model = MODELS[name]
    level, ebx, ecx, edx = cpuid(model, 0)
    assert level == model.level
    assert struct.pack("<3I", ebx, edx, ecx) == b"GenuineIntel"
    signature, _, _, features = cpuid(model, 1)
    assert reset_values(model)["gpr"] == {S.EDX: signature}
    assert signature >> 8 & 15 == model.family
    assert features & 1  # an x87 unit


def test_features_follow_the_generations() -> None:
    assert not MODELS["486"].has("tsc")
    assert MODELS["pentium"].has("cx8") and not MODELS["pentium"].has("cmov")
    assert MODELS["pentium3"].has("sse") and not MODELS["pentium3"].has("sse2")
    assert MODELS["qemu32"].has("sse2")


def test_clflush_comes_with_sse2() -> None:
    _, ebx, _, edx = cpuid(MODELS["qemu32"], 1)
    assert (edx >> 19 & 1, ebx >> 8 & 0xFF, ebx >> 24) == (1, 8, 0)
    _, ebx, _, edx = cpuid(MODELS["pentium3"], 1)
    assert (edx >> 19 & 1, ebx >> 8) == (0, 0)


def test_the_brand_string_stands_in_the_extended_leaves() -> None:
    model = cpu_model(DEFAULT)
    assert cpuid(model, 0x80000000)[0] == 0x80000004
    text = b"".join(struct.pack("<4I", *cpuid(model, 0x80000002 + k)) for k in range(3))
    assert text.rstrip(b"\0").decode() == model.brand


def test_a_leaf_that_is_too_high_gives_the_highest_basic_one() -> None:
    model = MODELS["pentium"]
    assert cpuid(model, 0x12345) == cpuid(model, 1)
    assert cpuid(model, 0x80000000) == cpuid(model, 1)


def test_the_default_model_says_that_it_is_virtual() -> None:
    model = cpu_model(DEFAULT)
    assert cpuid(model, 1)[2] >> 31
    leaf, *signature = cpuid(model, 0x40000000)
    assert (leaf, struct.pack("<3I", *signature)) == (0x40000000, b"EmuEmuEmuEmu")
    silicon = MODELS["pentium"]
    assert not cpuid(silicon, 1)[2] >> 31
    assert cpuid(silicon, 0x40000000) == cpuid(silicon, silicon.level)


@pytest.mark.parametrize("name", MODELS)
def test_the_listed_leaves_are_all_that_differ_from_the_highest_basic_one(name: str) -> None:
    model = MODELS[name]
    other = cpuid(model, model.level)
    far = [*range(0x20), *range(0x40000000, 0x40000010), *range(0x80000000, 0x80000020), 0xFFFFFFFF]
    assert {leaf for leaf in far if cpuid(model, leaf) != other} <= set(leaves(model))
    assert len(set(leaves(model))) == len(leaves(model))


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="no CPU model 'z80'"):
        cpu_model("z80")
