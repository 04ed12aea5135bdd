"""The words that a checkstop ends with."""

from __future__ import annotations

from cores.ppc.story import tell


def record(vector: int, error: int = 0, *, msr: int = 0, dear: int = 0) -> dict[str, int]:
    return {"icount": 7, "vector": vector, "error": error, "kind": 0, "pc": 0xC0001000, "msr": msr, "dear": dear}


def test_an_interrupt_is_named_with_its_place_and_cause() -> None:
    (line,) = tell([record(13, 1 << 23, msr=1 << 14, dear=0x1234)])
    assert line == (
        "instruction 7: data TLB miss interrupt (IVOR13) at 0xc0001000, for address 0x00001234, because of a store; "
        "user state"
    )


def test_a_machine_check_at_the_end_is_the_reason_of_the_checkstop() -> None:
    lines = tell([record(6, 1 << 27), record(1)])
    assert "program interrupt (IVOR6) at 0xc0001000, because of an illegal instruction" in lines[0]
    assert lines[1].startswith("instruction 7: machine check interrupt (IVOR1)")
    assert lines[2] == "MSR.ME is 0, so the processor does not take a machine check but stops: a checkstop"


def test_nothing_is_told_of_nothing() -> None:
    assert tell([]) == []
