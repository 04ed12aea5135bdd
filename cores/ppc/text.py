"""Disassembly: the syntax of an entry with the operands filled in, and the simplified mnemonics people write.

Simplified mnemonics are those of Book I, appendix C, as far as they are common: conditional branches, rotates, moves,
loads of immediates. Immediates are hexadecimal; bit numbers, shifts and counts decimal; targets absolute.
"""

from __future__ import annotations

import re

from ..lang.ir import signed
from ..lang.to_text import hex_text
from .branch import CONDITIONS
from .decoder import ALL, Insn, decode, mnemonic
from .forms import halves_swapped

_TRUE = ("lt", "gt", "eq", "so")
_FALSE = ("ge", "le", "ne", "ns")


def cr_bit(n: int) -> str:
    """A bit of CR: `eq`, or `4*cr7+eq` outside field 0."""
    return _TRUE[n & 3] if n < 4 else f"4*cr{n >> 2}+{_TRUE[n & 3]}"


def _target(insn: Insn, name: str, address: int) -> str:
    absolute = insn.form.statics.get("aa")
    return f"0x{(insn.fields[name] + (0 if absolute else address)) & 0xFFFFFFFF:08x}"


def operand_text(insn: Insn, name: str, address: int) -> str:
    """One operand as text."""
    v = insn.fields["ra" if name == "ra0" else name]
    if name == "ra0" and v == 0:
        return "0"
    if name in ("rt", "rs", "ra", "ra0", "rb"):
        return f"r{v}"
    if name in ("frt", "frs", "fra", "frb", "frc"):
        return f"f{v}"
    if name in ("bf", "bfa", "fpf", "fpfa", "crs"):
        return f"cr{v}"
    if name in ("bt", "ba", "bb", "bi", "crb"):
        return cr_bit(v)
    if name in ("spr", "dcrn", "pmrn"):
        return str(halves_swapped(v))
    if name in ("li", "bd"):
        return _target(insn, name, address)
    if name in ("si", "d"):
        return hex_text(signed(v, 32))
    if name in ("ui", "fxm", "flm"):
        return hex_text(v)
    if name == "simm":
        return str(signed(v, 32))
    return str(v or 32) if name == "nb" else str(v)


def disassemble(word: int, address: int = 0, features: int = ALL) -> str:
    """The text of the instruction at `address`; `.long` where the word is none of a model with these features."""
    insn = decode(word, address, features)
    if insn is None:
        return f".long 0x{word:08x}"
    head, operands = _simplified(insn, address) or (mnemonic(insn.form), None)
    if operands is None:
        syntax = insn.form.syntax.partition(" ")[2]
        if "bf" in insn.form.params and insn.fields["bf"] == 0 and head.startswith("cmp"):
            syntax = syntax.replace("bf, ", "")
        if insn.fields.get("ct") == 0:
            syntax = syntax.replace("ct, ", "")
        if insn.fields.get("lev") == 0:
            syntax = syntax.replace("lev", "")
        operands = re.sub(r"\w+", lambda found: operand_text(insn, found[0], address), syntax)
    return f"{head} {operands}" if operands else head


def _simplified(insn: Insn, address: int) -> tuple[str, str] | None:
    """Mnemonic and operands where a simplified form fits."""
    name = mnemonic(insn.form)
    f = insn.fields
    if name.startswith("mftb") and insn.form.entry.variant == "spr":
        return "mfspr", f"r{f['rt']}, {halves_swapped(insn.word >> 11 & 0x3FF)}"
    stem, dot = name.rstrip("."), "." if name.endswith(".") else ""
    if insn.form.entry.variant in CONDITIONS and "bo" in f:
        return _branch(insn, name, address) if _says_all(insn) else None
    if stem == "rlwinm":
        return _with_dot(_rotate(f["sh"], f["mb"], f["me"]), dot, f)
    if stem == "rlwimi":
        return _with_dot(_insert(f["sh"], f["mb"], f["me"]), dot, f)
    if stem == "rlwnm" and (f["mb"], f["me"]) == (0, 31):
        return f"rotlw{dot}", f"r{f['ra']}, r{f['rs']}, r{f['rb']}"
    if stem == "or" and f["rs"] == f["rb"]:
        return f"mr{dot}", f"r{f['ra']}, r{f['rs']}"
    if insn.word == 0x60000000:
        return "nop", ""
    if name in ("addi", "addis") and f["ra"] == 0:
        return ("li" if name == "addi" else "lis"), f"r{f['rt']}, {hex_text(signed(f['si'], 32))}"
    return None


def _with_dot(found: tuple[str, str] | None, dot: str, f: dict[str, int]) -> tuple[str, str] | None:
    return found and (found[0] + dot, f"r{f['ra']}, r{f['rs']}, {found[1]}")


def _rotate(sh: int, mb: int, me: int) -> tuple[str, str] | None:
    if mb == 0 and me == 31:
        return ("rotlwi", str(sh)) if sh < 16 else ("rotrwi", str(32 - sh))
    if mb == 0 and me == 31 - sh:
        return "slwi", str(sh)
    if me == 31 and sh == 32 - mb:
        return "srwi", str(mb)
    if sh == 0 and me == 31:
        return "clrlwi", str(mb)
    if sh == 0 and mb == 0:
        return "clrrwi", str(31 - me)
    if mb == 0:
        return "extlwi", f"{me + 1}, {sh}"
    if me == 31 and sh >= 32 - mb:
        return "extrwi", f"{32 - mb}, {sh - (32 - mb)}"
    if me == 31 - sh and mb + sh <= 31:
        return "clrlslwi", f"{mb + sh}, {sh}"
    return None


def _insert(sh: int, mb: int, me: int) -> tuple[str, str] | None:
    if mb > me:
        return None
    count = me - mb + 1
    if sh == (32 - mb) % 32 and mb:
        return "inslwi", f"{count}, {mb}"
    if sh == 31 - me:
        return "insrwi", f"{count}, {mb}"
    return None


def _says_all(insn: Insn) -> bool:
    """Whether the simplified branch has all bits of BO and BI: none that the condition ignores is set."""
    kind = insn.form.entry.variant
    bo, bi = insn.fields["bo"], insn.fields["bi"]
    if kind == "always":
        return bo == 0b10100 and bi == 0 and "bd" not in insn.fields
    if kind in ("t", "f"):
        return not bo & 0b00010
    return kind[-1] in "tf" or (not bo & 0b01000 and bi == 0)


def _branch(insn: Insn, name: str, address: int) -> tuple[str, str]:
    """`bdnzt`, `bnelr+`: the condition in the mnemonic. A set y bit reverses the prediction: `+`, or `-` backwards."""
    kind = insn.form.entry.variant
    bo, bi = insn.fields["bo"], insn.fields["bi"]
    tail = name[2:]  # "", "l", "lr", "ctrl", "la" ...
    operands = [_target(insn, "bd", address)] if "bd" in insn.fields else []
    backwards = "bd" in insn.fields and insn.fields["bd"] >> 31
    if kind == "always":
        return f"b{tail}", ", ".join(operands)
    hint = ("-" if backwards else "+") if bo & 1 else ""
    if kind in ("t", "f"):
        if bi >> 2:
            operands.insert(0, f"cr{bi >> 2}")
        return f"b{(_TRUE if kind == 't' else _FALSE)[bi & 3]}{tail}{hint}", ", ".join(operands)
    if kind[-1] in "tf":
        operands.insert(0, cr_bit(bi))
    return f"b{kind}{tail}{hint}", ", ".join(operands)
