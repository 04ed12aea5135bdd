"""What went wrong, in plain words: the chain of exceptions that led to a shutdown."""

from __future__ import annotations

from collections.abc import Sequence

from . import state as S

WITH_ERROR = {8, 10, 11, 12, 13, 14, 17}


def name(vector: int) -> str:
    """`#GP`, or `vector 33` for what has no name."""
    return S.VECTOR_NAMES.get(vector, f"vector {vector}")


def tell(records: Sequence[dict[str, int]], idt_limit: int) -> list[str]:
    """Lines for people. In `records` kind 0-3 is a delivery, 8 a fault during it, 16 the double fault, 32 the end."""
    chain: list[dict[str, int]] = []
    for r in records:
        if r["kind"] < 8:
            chain = [r]
        else:
            chain.append(r)
    if not chain or chain[-1]["kind"] != 32:
        return []
    first = chain[0]
    where = f"{first['cs']:04x}:{first['eip']:04x}"
    parts = [f"{name(first['vector'])} at {where}"]
    beyond = first["vector"] * 8 + 7 > idt_limit
    if beyond:
        parts.append(f"vector {first['vector']} beyond IDT limit {idt_limit}")
    for r in chain[1:]:
        if r["kind"] == 8:
            error = f"({r['error']:#x})" if r["vector"] in WITH_ERROR and r["error"] and not beyond else ""
            extra = f" on {r['cr2']:#010x}" if r["vector"] == S.PF_ else ""
            parts.append(name(r["vector"]) + error + extra)
        elif r["kind"] == 16:
            parts.append("#DF")
        else:
            parts.append("shutdown")
    shown = [parts[0]]
    for p in parts[1:]:
        if p != shown[-1]:
            shown.append(p)
    return [" -> ".join(shown), f"first cause: {name(first['vector'])} after {first['icount']:,} instructions"]
