"""Special purpose registers of all models, one row each, and the moves to and from them.

Numbers and masks: Book III-E, 5.4.1 and appendix A; 440 manual, 10; e500 RM, 2.1; e500mc RM, 2.2. A row says who may
reach the register and what a write does; `forms` come out of it, one for each direction. LR, CTR, XER and the time base
as users read it are in `system.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..lang.state import Register
from ..lang.trace import Val, fieldvalue, select, value, when
from . import state as S
from .debug import reset_kind
from .externs import context_synchronize, hypervisor, illegal, mode_changed, privileged, reset_request, unimplemented
from .forms import ENTRIES, Pattern, X, halves_swapped, insn, swapped
from .mmu_e500 import WRITABLE, write_mmucsr0
from .models import HID0_TBEN
from .registers import get, guest, has, put
from .timers import base, clear_tsr, read_dec, read_tsr, run_base, write_base, write_dec, write_decar, write_tcr

Op = Any
MFSPR, MTSPR = 339, 467
UNIMPLEMENTED_SPR = 2
EXTERNAL, EXTERNAL_GUEST = 0xE03F00FF, 0x203F0000  # EPR, EAS, EGS, ELPID, EPID; EGS and ELPID
SUPERVISOR_BIT = 16  # of a number: only for supervisors


@dataclass(frozen=True)
class Spr:
    """One register. `user`: problem state reads it; `writes` by users are only those of rows with `user_write`."""

    number: int
    name: str
    register: Register | None = None
    index: int | None = None
    needs: str = ""
    mask: int = 0xFFFFFFFF  # bits that a write changes; the others become 0
    user: bool = False
    user_write: bool = False
    guest: bool = False  # a guest operating system may reach it
    guest_write: bool = True  # ... and write it, where it may reach it at all
    shadow: tuple[Register, int | None] | None = None  # what it is in guest state
    readable: bool = True
    writable: bool = True
    write_needs: str = ""  # the feature that a write takes, if it is not `needs`
    read: Callable[[], Val] | None = None
    write: Callable[[Val], None] | None = None


def spr(xo: int, number: int) -> Pattern:
    """XFX-form: the halves of the number are exchanged in the word."""
    return X(31, xo, rc=0).fixed(11, 10, halves_swapped(number))


# --- writes that do something ----------------------------------------------------------------------------------------


def _write_dbcr0(v: Val) -> None:
    put(S.DBCR0, v)
    mode_changed()
    kind = reset_kind(v)
    with when(kind != 0):
        reset_request(kind)


def _ones_clear(register: Register) -> Callable[[Val], None]:
    def write(v: Val) -> None:
        put(register, get(register) & ~v)

    return write


def _new_context(register: Register, mask: int, index: int | None = None) -> Callable[[Val], None]:
    def write(v: Val) -> None:
        put(register, v & mask, index)
        mode_changed()

    return write


def _write_low(v: Val) -> None:
    write_base((base() & 0xFFFFFFFF00000000) | v.zext(64))


def _write_high(v: Val) -> None:
    write_base((v.zext(64) << 32) | (base() & 0xFFFFFFFF))


def _write_hid0(v: Val) -> None:
    put(S.HID0, v)
    mode_changed()  # EMCP lets a machine check in that waits
    with when(~has("e500mc")):
        run_base((v & HID0_TBEN) != 0)


def _self_clearing(register: Register, bits: int) -> Callable[[Val], None]:
    """Bits that start something which is done at once."""

    def write(v: Val) -> None:
        put(register, v & ~bits)

    return write


def _write_l1csr1(v: Val) -> None:
    put(S.L1CSR1, v & ~0x102)
    context_synchronize()


def _write_msrp(v: Val) -> None:
    put(S.MSRP, v & (1 << S.MSR_UCLE | 1 << S.MSR_DE | 1 << S.MSR_PMM))


def _write_external(register: Register) -> Callable[[Val], None]:
    """EPLC or EPSC; state and partition of the guest are the hypervisor's to choose."""

    def write(v: Val) -> None:
        kept = select(guest(), value(EXTERNAL_GUEST, 32), value(0, 32))
        put(register, (v & EXTERNAL & ~kept) | (get(register) & kept))

    return write


def _zero() -> Val:
    return value(0, 32)


# --- the table -------------------------------------------------------------------------------------------------------

_IVOR = 0xFFF0
_GIVOR = {2: 440, 3: 441, 4: 442, 8: 443, 13: 444, 14: 445}


def _common() -> list[Spr]:
    rows = [
        Spr(22, "dec", S.DEC, read=read_dec, write=write_dec),
        Spr(26, "srr0", S.SRR0, shadow=(S.GSRR0, None)),
        Spr(27, "srr1", S.SRR1, shadow=(S.GSRR1, None)),
        Spr(48, "pid", S.PID, 0, guest=True, write=_new_context(S.PID, 0xFF, 0)),
        Spr(54, "decar", S.DECAR, readable=False, write=write_decar),
        Spr(58, "csrr0", S.CSRR0),
        Spr(59, "csrr1", S.CSRR1),
        Spr(61, "dear", S.DEAR, shadow=(S.GDEAR, None)),
        Spr(62, "esr", S.ESR, shadow=(S.GESR, None)),
        Spr(63, "ivpr", S.IVPR, mask=0xFFFF0000),
        Spr(256, "usprg0", S.USPRG0, user=True, user_write=True),
        Spr(284, "tbl", None, readable=False, write=_write_low),
        Spr(285, "tbu", None, readable=False, write=_write_high),
        Spr(286, "pir", S.PIR, write_needs="e500mc", shadow=(S.GPIR, None), guest_write=False),
        Spr(287, "pvr", S.PVR, guest=True, writable=False),
        Spr(304, "dbsr", S.DBSR, write=_ones_clear(S.DBSR)),
        Spr(308, "dbcr0", S.DBCR0, write=_write_dbcr0),
        Spr(309, "dbcr1", S.DBCR1),
        Spr(310, "dbcr2", S.DBCR2),
        Spr(336, "tsr", S.TSR, read=read_tsr, write=clear_tsr),
        Spr(340, "tcr", S.TCR, write=write_tcr),
        Spr(570, "mcsrr0", S.MCSRR0),
        Spr(571, "mcsrr1", S.MCSRR1),
        Spr(572, "mcsr", S.MCSR, write=_ones_clear(S.MCSR)),
    ]
    for n in range(4):
        rows.append(Spr(272 + n, f"sprg{n}", S.SPRG, n, shadow=(S.GSPRG, n)))
    for n in range(4, 8):
        rows.append(Spr(272 + n, f"sprg{n}", S.SPRG, n, guest=True))
        rows.append(Spr(256 + n, f"usprg{n}", S.SPRG, n, user=True, writable=False))
    rows += [Spr(312 + n, f"iac{n + 1}", S.IAC, n, mask=0xFFFFFFFC) for n in range(2)]
    rows += [Spr(316 + n, f"dac{n + 1}", S.DAC, n) for n in range(2)]
    rows += [Spr(400 + n, f"ivor{n}", S.IVOR, n, mask=_IVOR) for n in range(16)]
    return rows


def _of_440() -> list[Spr]:
    rows = [Spr(314 + n, f"iac{n + 3}", S.IAC, n + 2, needs="440", mask=0xFFFFFFFC) for n in range(2)]
    rows += [Spr(318 + n, f"dvc{n + 1}", S.DVC, n, needs="440") for n in range(2)]
    for n in range(4):
        rows += [
            Spr(880 + n, f"inv{n}", S.CACHE_LINES, n, needs="440"),
            Spr(884 + n, f"itv{n}", S.CACHE_LINES, 4 + n, needs="440"),
            Spr(912 + n, f"dnv{n}", S.CACHE_LINES, 9 + n, needs="440"),
            Spr(916 + n, f"dtv{n}", S.CACHE_LINES, 13 + n, needs="440"),
        ]
    rows += [
        Spr(888, "ccr1", S.CCR1, needs="440"),
        Spr(920, "dvlim", S.CACHE_LINES, 17, needs="440"),
        Spr(921, "ivlim", S.CACHE_LINES, 8, needs="440"),
        Spr(923, "rstcfg", S.RSTCFG, needs="440", writable=False),
        Spr(946, "mmucr", S.MMUCR, needs="440", mask=0x016D00FF),
        Spr(947, "ccr0", S.CCR0, needs="440"),
        Spr(1011, "dbdr", S.DBDR, needs="440"),
    ]
    # What dcread and icread leave: no cache is modelled.
    for number, name in (
        (924, "dcdbtrl"), (925, "dcdbtrh"), (926, "icdbtrl"), (927, "icdbtrh"), (979, "icdbdr"),
    ):  # fmt: skip
        rows.append(Spr(number, name, None, needs="440", writable=False, read=_zero))
    return rows


def _of_e500() -> list[Spr]:
    rows = [
        Spr(515, "l1cfg0", S.L1CFG0, needs="e500", user=True, guest=True, writable=False),
        Spr(516, "l1cfg1", S.L1CFG1, needs="e500", user=True, guest=True, writable=False),
        Spr(573, "mcar", S.MCAR, needs="e500", writable=False),
        Spr(688, "tlb0cfg", S.TLB0CFG, needs="e500", guest=True, writable=False),
        Spr(689, "tlb1cfg", S.TLB1CFG, needs="e500", guest=True, writable=False),
        Spr(1008, "hid0", S.HID0, needs="e500", write=_write_hid0),
        Spr(1010, "l1csr0", S.L1CSR0, needs="e500", write=_self_clearing(S.L1CSR0, 0x102)),
        Spr(1011, "l1csr1", S.L1CSR1, needs="e500", write=_write_l1csr1),
        Spr(1012, "mmucsr0", None, needs="e500", read=_zero, write=write_mmucsr0),
        Spr(1013, "bucsr", S.BUCSR, needs="e500", write=_self_clearing(S.BUCSR, 0x200)),
        Spr(1015, "mmucfg", S.MMUCFG, needs="e500", guest=True, writable=False),
        Spr(1023, "svr", S.SVR, needs="e500", guest=True, writable=False),
        Spr(531, "ivor35", S.IVOR, 35, needs="e500", mask=_IVOR),
        Spr(1009, "hid1", S.HID1, needs="spe"),
        Spr(512, "spefscr", S.SPEFSCR, needs="spe", user=True, user_write=True),
        Spr(513, "bbear", S.BBEAR, needs="spe", user=True, user_write=True),
        Spr(514, "bbtar", S.BBTAR, needs="spe", user=True, user_write=True),
        Spr(633, "pid1", S.PID, 1, needs="spe", write=_new_context(S.PID, 0xFF, 1)),
        Spr(634, "pid2", S.PID, 2, needs="spe", write=_new_context(S.PID, 0xFF, 2)),
        Spr(569, "mcaru", S.MCARU, needs="e500v2", writable=False),
        Spr(944, "mas7", S.MAS[7], needs="e500v2", guest=True, mask=WRITABLE[7]),
        Spr(526, "atbl", None, needs="e500v2", user=True, guest=True, writable=False, read=_ticks_low),
        Spr(527, "atbu", None, needs="e500v2", user=True, guest=True, writable=False, read=_ticks_high),
    ]
    rows += [Spr(496 + n, f"ivor{n}", S.IVOR, n, needs="spe", mask=_IVOR) for n in (32, 33, 34)]
    for n, number in ((0, 624), (1, 625), (2, 626), (3, 627), (4, 628), (6, 630)):
        rows.append(Spr(number, f"mas{n}", S.MAS[n], needs="e500", guest=True, mask=WRITABLE[n]))
    return rows


def _of_mc() -> list[Spr]:
    mc = "e500mc"
    rows = [
        Spr(259, "usprg3", S.SPRG, 3, needs=mc, user=True, writable=False, shadow=(S.GSPRG, 3)),
        Spr(307, "epcr", S.EPCR, needs=mc, write=_new_context(S.EPCR, 0xFFE00000)),
        Spr(311, "msrp", S.MSRP, needs=mc, write=_write_msrp),
        Spr(338, "lpid", S.LPID, needs=mc, write=_new_context(S.LPID, 0x3F)),
        Spr(339, "mas5", S.MAS[5], needs=mc, mask=WRITABLE[5]),
        Spr(341, "mas8", S.MAS[8], needs=mc, mask=WRITABLE[8]),
        Spr(378, "gsrr0", S.GSRR0, needs=mc, guest=True),
        Spr(379, "gsrr1", S.GSRR1, needs=mc, guest=True),
        Spr(380, "gepr", S.GEPR, needs=mc, guest=True),
        Spr(381, "gdear", S.GDEAR, needs=mc, guest=True),
        Spr(382, "gpir", S.GPIR, needs=mc, guest=True, guest_write=False),
        Spr(383, "gesr", S.GESR, needs=mc, guest=True),
        Spr(447, "givpr", S.GIVPR, needs=mc, mask=0xFFFF0000),
        Spr(519, "l2cfg0", S.L2CFG0, needs=mc, user=True, guest=True, writable=False),
        Spr(563, "dbcr4", S.DBCR4, needs=mc),
        Spr(574, "dsrr0", S.DSRR0, needs=mc),
        Spr(575, "dsrr1", S.DSRR1, needs=mc),
        Spr(604, "sprg8", S.SPRG, 8, needs=mc),
        Spr(605, "sprg9", S.SPRG, 9, needs=mc, guest=True),
        Spr(606, "l1csr2", S.L1CSR2, needs=mc),
        Spr(702, "epr", S.EPR, needs=mc, writable=False, shadow=(S.GEPR, None)),
        Spr(947, "eplc", S.EPLC, needs=mc, guest=True, write=_write_external(S.EPLC)),
        Spr(948, "epsc", S.EPSC, needs=mc, guest=True, write=_write_external(S.EPSC)),
        Spr(1017, "l2csr0", S.L2CSR0, needs=mc, write=_self_clearing(S.L2CSR0, 0x00200C00)),
        Spr(1018, "l2csr1", S.L2CSR1, needs=mc),
    ]
    rows += [Spr(368 + n, f"gsprg{n}", S.GSPRG, n, needs=mc, guest=True) for n in range(4)]
    rows += [Spr(496 + n, f"ivor{n}", S.IVOR, n, needs=mc, mask=_IVOR) for n in (36, 37)]
    rows += [Spr(394 + n, f"ivor{n}", S.IVOR, n, needs=mc, mask=_IVOR) for n in range(38, 42)]
    rows += [Spr(number, f"givor{n}", S.GIVOR, n, needs=mc, mask=_IVOR) for n, number in _GIVOR.items()]
    return rows


def _ticks_low() -> Val:
    return base().low(32)


def _ticks_high() -> Val:
    return base().bits(32, 32)


SPRS: dict[str, Spr] = {row.name: row for row in (*_common(), *_of_440(), *_of_e500(), *_of_mc())}


# --- the moves -------------------------------------------------------------------------------------------------------


def _check(row: Spr, *, write: bool) -> None:
    if (row.guest or row.shadow is not None) and (row.guest_write or not write):
        privileged()
    else:
        hypervisor()


def move_from(rt: Op, *, name: str) -> None:
    """Read a special purpose register."""
    row = SPRS[name]
    if not row.user:
        _check(row, write=False)
    if row.read is not None:
        v = row.read()
    elif row.register is not None:
        v = get(row.register, row.index)
    else:
        raise ValueError(f"{name} has neither a register nor a way to read it")
    if row.shadow is not None:
        v = select(guest(), get(*row.shadow), v)
    rt.set(v)


def move_to(rs: Op, *, name: str) -> None:
    """Write a special purpose register."""
    row = SPRS[name]
    if not row.user_write:
        _check(row, write=True)
    v = rs.read()
    if row.write is not None:
        row.write(v)
        return
    if row.register is None:
        raise ValueError(f"{name} has neither a register nor a way to write it")
    kept = v & row.mask
    if row.shadow is None or not row.guest_write:
        put(row.register, kept, row.index)
        return
    in_guest = guest()
    put(row.shadow[0], select(in_guest, kept, get(*row.shadow)), row.shadow[1])
    put(row.register, select(in_guest, get(row.register, row.index), kept), row.index)


for _row in SPRS.values():
    # What asks or moves the clock, or changes the context, must see the exact time and end the block.
    if _row.readable:
        insn(
            f"mf{_row.name} rt", spr(MFSPR, _row.number), see="III-E 5.4.1", needs=_row.needs,
            ends="block" if _row.read else "",
        )(move_from)  # fmt: skip
        ENTRIES[-1].family = {"name": (_row.name,)}
    if _row.writable:
        insn(
            f"mt{_row.name} rs", spr(MTSPR, _row.number), see="III-E 5.4.1", needs=_row.write_needs or _row.needs,
            ends="block" if _row.write else "",
        )(move_to)  # fmt: skip
        ENTRIES[-1].family = {"name": (_row.name,)}


def _no_such() -> None:
    number = swapped(fieldvalue("spr", 32))
    with when((number & SUPERVISOR_BIT) != 0):
        privileged()
    unimplemented(UNIMPLEMENTED_SPR, number)
    illegal()


@insn("mfspr rt, spr", X(31, MFSPR, rc=0), see="III-E 5.4.1", fallback=True)
def mfspr() -> None:
    """A number that the model does not have, or that cannot be read."""
    _no_such()


@insn("mtspr spr, rs", X(31, MTSPR, rc=0), see="III-E 5.4.1", fallback=True)
def mtspr() -> None:
    """A number that the model does not have, or that cannot be written."""
    _no_such()
