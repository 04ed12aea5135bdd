"""What went wrong, in plain words: the chain of exceptions that led to a shutdown."""

from __future__ import annotations

from collections.abc import Sequence

from . import state as S

WITH_ERROR = {8, 10, 11, 12, 13, 14, 17}
FROM_IDT = 2
"""Bit of an error code: the rest of it is a vector (vol. 3, 6.13)."""
DELIVERY, EXTERNAL, DURING, DOUBLE, END = 0, 2, 8, 16, 32


def name(vector: int) -> str:
    """`#GP`, or `vector 33` for what has no name."""
    return S.VECTOR_NAMES.get(vector, f"vector {vector}")


def chain(records: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    """The last delivery with all that it led to; empty unless that was a shutdown.

    In `records` kind 0-3 is a delivery, 8 a fault during it, 16 the double fault, 32 the end."""
    found: list[dict[str, int]] = []
    for r in records:
        if r["kind"] < DURING:
            found = [r]
        else:
            found.append(r)
    return found if found and found[-1]["kind"] == END else []


def refused(record: dict[str, int]) -> int | None:
    """The vector whose delivery this fault refused, if that is what its error code says."""
    if record["vector"] in (S.TS, S.NP, S.SS_, S.GP) and record["error"] & FROM_IDT:
        return record["error"] >> 3
    return None


def tell(records: Sequence[dict[str, int]], idt_limit: int, protected: bool) -> list[str]:
    """Lines for people. `protected`: the IDT holds gates of 8 bytes rather than vectors of 4."""
    links = chain(records)
    if not links:
        return []
    first = links[0]
    entry = 8 if protected else 4
    parts: list[str] = []
    beyond = False

    def no_way(vector: int) -> bool:
        """Say why a vector leads nowhere; the limit of the IDT only once. False if there was nothing to add."""
        nonlocal beyond
        if vector * entry + entry - 1 <= idt_limit:
            parts.append(f"gate {vector} of the IDT refuses it")
            return True
        said, beyond = beyond, True
        if not said:
            parts.append(f"vector {vector} beyond IDT limit {idt_limit}")
        return not said

    where = f"{first['cs']:04x}:{first['eip']:04x}"
    software = refused(first) if first["kind"] == DELIVERY else None
    if software is None:
        cause = f"interrupt {first['vector']:#04x}" if first["kind"] == EXTERNAL else name(first["vector"])
        parts.append(f"{cause} at {where}")
    else:
        cause = name(software) if software in (S.DB, S.BP, S.OF_) else f"INT {software:#04x}"
        parts.append(f"{cause} at {where}")
        no_way(software)
        parts.append(name(first["vector"]))
    for r in links[1:]:
        if r["kind"] == DURING:
            vector = refused(r)
            if vector is not None and not no_way(vector):
                continue
            error = f"({r['error']:#x})" if vector is None and r["vector"] in WITH_ERROR and r["error"] else ""
            extra = f" on {r['cr2']:#010x}" if r["vector"] == S.PF_ else ""
            parts.append(name(r["vector"]) + error + extra)
        else:
            parts.append("#DF" if r["kind"] == DOUBLE else "shutdown")
    return [" -> ".join(parts), f"first cause: {cause} after {first['icount'] - 1:,} instructions"]
