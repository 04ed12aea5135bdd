"""Loads and stores by external process ID (e500mc); what ESR tells of an instruction that faulted; on both tiers."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import encode
from cores.ppc.models import model as model_of
from tests.cores.ppc_tiers import CODE, DATA, DEVICE, STRIDE, VECTORS, Pair
from tests.cores.ppc_tiers import pair as pair_of

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.usefixtures("tiers")

PAGE, ELSEWHERE, NOWHERE = 0x200000, DATA + 0x1000, 0x400000
EPR, EAS, EGS, LPID, PID = 1 << 31, 1 << 30, 1 << 29, 1 << 16, 1
ST, FP, SPV, EPID = S.ESR_ST, S.ESR_FP, S.ESR_SPV, S.ESR_EPID
GS, PR, FPBIT = 1 << S.MSR_GS, 1 << S.MSR_PR, 1 << S.MSR_FP
# Entries for PAGE: MAS1 (TID, TS), MAS3 without the page, MAS8, and which page of DATA it leads to.
ENTRIES = [
    (5 << 16, 0x3F, 0, 0),  # PID 5
    (1 << 12, 0x3F, 0, 1),  # address space 1
    (9 << 16, 0x15, 0, 2),  # PID 9: users have no rights
    (0, 0x3F, 1 << 31 | 3, 3),  # guest of partition 3
    (11 << 16, 0x03, 0, 3),  # PID 11: nobody stores
]


def pair(model: str) -> Pair:
    """Both tiers with RAM and the device mapped, and the entries above on an e500mc."""
    both = pair_of(model)
    both.start(Random(1), both.families, 1)
    at = S.TLB1_FIRST + 8
    values: dict[str, Any] = {
        "tcr": 0,
        "dbcr0": 0,
        "esr": 0,
        "dear": 0,
        "gpr": dict.fromkeys(range(32), 0),
        "pid": {0: 0},
    }
    if model == "e500mc":
        values |= {
            "etlb_mas1": {at + k: 0x80000100 | mas1 for k, (mas1, _, _, _) in enumerate(ENTRIES)},
            "etlb_mas2": {at + k: PAGE for k in range(len(ENTRIES))},
            "etlb_mas3": {at + k: DATA + page * 0x1000 | mas3 for k, (_, mas3, _, page) in enumerate(ENTRIES)},
            "etlb_mas8": {at + k: mas8 for k, (_, _, mas8, _) in enumerate(ENTRIES)},
        }
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        cpu.load_values(values)
        ram.view[VECTORS : VECTORS + 0x1000] = (0x48000000).to_bytes(4, "big") * 0x400
        ram.view[DATA : DATA + 0x4000] = bytes(k >> 12 << 4 | k & 15 for k in range(0x4000))
    return both


def run(both: Pair, word: int, **values: Any) -> list[Any]:
    """One instruction on both; the states."""
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[CODE : CODE + 4] = word.to_bytes(4, "big")
        cpu.invalidate(CODE, 4)
        cpu.load_values({"pc": CODE, "msr": 1 << S.MSR_ME, "gpr": {4: PAGE, 5: 2, 3: 0x55667788}} | values)
        cpu.run(1)
    assert not both.differs([None, None])  # type: ignore[list-item]
    return [cpu.state() for cpu in both.cpus]


@pytest.mark.parametrize(("context", "page"), [(5, 0), (EAS, 1), (9, 2), (EGS | 3 * LPID, 3), (EPR | 5, 0)])
@pytest.mark.parametrize(("name", "size"), [("lbepx", 1), ("lhepx", 2), ("lwepx", 4)])
def test_a_load_sees_the_page_of_the_other_process(context: int, page: int, name: str, size: int) -> None:
    wanted = int.from_bytes(bytes(page << 4 | k for k in range(2, 2 + size)), "big")
    for state in run(pair("e500mc"), encode(name, rt=3, ra=4, rb=5), eplc=context, epsc=EPR | 5):
        assert (state["gpr"][3], state["pc"]) == (wanted, CODE + 4)


@pytest.mark.parametrize(("context", "page"), [(5, 0), (EAS, 1), (9, 2), (EGS | 3 * LPID, 3)])
@pytest.mark.parametrize(
    ("name", "data"), [("stbepx", b"\x88"), ("sthepx", b"\x77\x88"), ("stwepx", b"\x55\x66\x77\x88")]
)
def test_a_store_writes_the_page_of_the_other_process(context: int, page: int, name: str, data: bytes) -> None:
    both = pair("e500mc")
    before = bytearray(both.rams[0].view[DATA : DATA + 0x4000])
    run(both, encode(name, rs=3, ra=4, rb=5), epsc=context, eplc=EPR | 9)
    at = page * 0x1000 + 2
    before[at : at + len(data)] = data
    assert bytes(both.rams[0].view[DATA : DATA + 0x4000]) == before


def test_doubles_and_lines_go_there_too() -> None:
    both = pair("e500mc")
    for state in run(both, encode("lfdepx", frt=7, ra=4, rb=5), eplc=5, msr=FPBIT):
        assert state["fpr"][7] == 0x0203040506070809
    run(both, encode("stfdepx", frs=7, ra=4, rb=5), epsc=9, msr=FPBIT)
    assert bytes(both.rams[0].view[DATA + 0x2002 : DATA + 0x200A]) == bytes(range(2, 10))
    run(both, encode("dcbzep", ra=4, rb=5), epsc=EAS)
    assert bytes(both.rams[0].view[DATA + 0x1000 : DATA + 0x1042]) == bytes(64) + b"\x10\x11"
    for state in run(both, encode("lfdepx", frt=7, ra=4, rb=5), eplc=5, msr=0):
        assert state["pc"] == VECTORS + STRIDE * 7


@pytest.mark.parametrize(("name", "context", "values", "ivor", "esr"), [
    ("lwepx", EPR | 9, {}, 2, EPID), ("lwepx", 6, {}, 13, EPID), ("stwepx", 11, {}, 2, EPID | ST),
    ("stwepx", 6, {}, 13, EPID | ST), ("lfdepx", 6, {"msr": FPBIT}, 13, EPID | FP),
    ("stfdepx", 11, {"msr": FPBIT}, 2, EPID | ST | FP), ("dcbfep", 6, {}, 13, EPID), ("icbiep", 6, {}, 13, EPID),
    ("dcbstep", EPR | 9, {}, 2, EPID), ("dcbzep", 11, {}, 2, EPID | ST), ("lwepx", EGS | 4 * LPID, {}, 13, EPID),
    ("dcbzep", 0, {"gpr": {4: DEVICE, 5: 2}}, 5, EPID | ST), ("lwepx", 0, {"gpr": {4: NOWHERE, 5: 0}}, 13, EPID),
])  # fmt: skip
def test_its_interrupts_say_that_it_was_external(
    name: str, context: int, values: dict[str, Any], ivor: int, esr: int
) -> None:
    both = pair("e500mc")
    for cpu in both.cpus:
        cpu.load_values({"eplc": context, "epsc": context})
    gpr = {"gpr": {4: PAGE, 5: 2}} | values
    fields = {"ra": 4, "rb": 5}
    form = {"lwepx": "rt", "stwepx": "rs", "lfdepx": "frt", "stfdepx": "frs"}.get(name)
    for state in run(both, encode(name, **fields, **({form: 3} if form else {})), **gpr):
        assert (state["pc"], state["esr"]) == (VECTORS + STRIDE * ivor, esr)
        assert state["dear"] & -64 == gpr["gpr"][4]
        if ivor == 13:
            assert state["mas6"] == (context & 0xFF) << 16 | (context >> 30 & 1)
            assert state["mas1"] >> 16 & 0xFF == context & 0xFF and state["mas2"] & -0x1000 == gpr["gpr"][4]


@pytest.mark.parametrize("name", ["lwepx", "stwepx", "lfdepx", "dcbzep", "icbiep", "dcbtep", "dcbtstep", "dcbfep"])
def test_users_may_not(name: str) -> None:
    for state in run(pair("e500mc"), encode(name, ra=4, rb=5), msr=PR):
        assert (state["pc"], state["esr"]) == (VECTORS + STRIDE * 6, S.ESR_PPR)


def test_a_guest_keeps_its_partition_and_state() -> None:
    both = pair("e500mc")
    kept = EGS | 3 * LPID
    code = {S.TLB1_FIRST: 1 << 31}
    for state in run(both, encode("mteplc", rs=3), msr=GS, eplc=kept, gpr={3: 0xFFFFFFFF}, etlb_mas8=code):
        assert state["eplc"] == EPR | EAS | kept | 0xFF
    code = {S.TLB1_FIRST: 0}
    for state in run(both, encode("mtepsc", rs=3), msr=0, epsc=kept, gpr={3: EPR | 7}, etlb_mas8=code):
        assert state["epsc"] == EPR | 7


def test_others_have_none_of_it() -> None:
    for model in ("e500v2", "440EP"):
        for state in run(pair(model), encode("lwepx", rt=3, ra=4, rb=5)):
            assert (state["pc"], state["esr"]) == (VECTORS + STRIDE * 6, S.ESR_PIL)


@pytest.mark.parametrize(("model", "name", "fields", "ivor", "esr"), [
    ("440EP", "lfd", {"frt": 1}, 13, FP), ("440EP", "stfsx", {"frs": 1, "rb": 5}, 13, FP | ST),
    ("440EP", "lwz", {"rt": 3}, 13, 0), ("440EP", "stfiwx", {"frs": 1, "rb": 5}, 13, FP | ST),
    ("e500mc", "lfsu", {"frt": 1}, 13, FP), ("440EP", "dcbz", {"rb": 5}, 13, ST),
    ("e500v2", "evldd", {"rt": 3}, 13, SPV), ("e500v2", "evstdw", {"rs": 3}, 13, SPV | ST),
    ("e500v2", "evlddx", {"rt": 3, "rb": 6}, 5, SPV), ("e500v2", "evstddx", {"rs": 3, "rb": 6}, 5, SPV | ST),
    ("e500v1", "lwarx", {"rt": 3, "rb": 6}, 5, 0), ("e500v1", "stwcx.", {"rs": 3, "rb": 6}, 5, ST),
    ("440EP", "dcbi", {"rb": 5}, 13, ST), ("440EP", "icbi", {"rb": 5}, 13, 0),
])  # fmt: skip
def test_esr_tells_whose_load_or_store_it_was(
    model: str, name: str, fields: dict[str, int], ivor: int, esr: int
) -> None:
    msr = FPBIT if model_of(model).has("fpu") else 1 << S.MSR_SPV
    word = encode(name, ra=4, **fields)
    for state in run(pair(model), word, msr=msr, gpr={4: NOWHERE, 5: 0, 6: 1}):
        assert (state["pc"], state["esr"]) == (VECTORS + STRIDE * ivor, esr)
