from __future__ import annotations

from cores.x86.story import tell


def record(vector: int, kind: int, error: int = 0, **more: int) -> dict[str, int]:
    return {"icount": 5, "vector": vector, "error": error, "kind": kind, "cs": 8, "eip": 0x100, "cr2": 0, **more}


END = record(8, 32)
DOUBLE = record(8, 16)


def test_without_a_shutdown_there_is_nothing_to_tell() -> None:
    assert tell([], 0x7FF, True) == []
    assert tell([record(14, 0)], 0x7FF, True) == []
    assert tell([record(14, 0), END, record(3, 0)], 0x7FF, True) == []


def test_a_breakpoint_without_a_vector_is_the_first_cause() -> None:
    records = [record(13, 0, 0x1A), record(13, 8, 0x6A), DOUBLE, record(13, 8, 0x42), END]
    chain, cause = tell(records, 0, False)
    assert chain == "#BP at 0008:0100 -> vector 3 beyond IDT limit 0 -> #GP -> #DF -> shutdown"
    assert cause == "first cause: #BP after 4 instructions"


def test_a_vector_has_four_bytes_in_real_mode_and_a_gate_has_eight() -> None:
    records = [record(13, 0, 0x82), DOUBLE, END]
    assert "INT 0x10 at 0008:0100 -> gate 16 of the IDT refuses it" in tell(records, 0x43, False)[0]
    assert "INT 0x10 at 0008:0100 -> vector 16 beyond IDT limit 67" in tell(records, 0x43, True)[0]


def test_page_faults_name_their_addresses() -> None:
    records = [
        record(14, 0, 2, cr2=0x1000),
        record(14, 8, 2, cr2=0xC0000000),
        DOUBLE,
        record(14, 8, 0, cr2=0x2000),
        END,
    ]
    assert tell(records, 0x7FF, True)[0] == (
        "#PF at 0008:0100 -> #PF(0x2) on 0xc0000000 -> #DF -> #PF on 0x00002000 -> shutdown"
    )


def test_an_interrupt_from_outside_is_not_called_an_exception() -> None:
    records = [record(8, 2), record(11, 8, 0x43), record(11, 8, 0x5B), END]
    assert tell(records, 0x7FF, True)[0].startswith(
        "interrupt 0x08 at 0008:0100 -> gate 8 of the IDT refuses it -> #NP"
    )
