"""Guest state of the e500mc: a small hypervisor of our own and its guest, as programs, on both tiers.

The hypervisor makes its guest's TLB entries, sets LPID and GIVPR, and goes there with rfgi. The handlers of both write
what came into a log and return. Hypervisor: page 0 with everything on itself, vectors at VECTORS; guest: partition
LPID, the same page for it, GUEST_VECTORS, and the pages VIRTUAL, READ_ONLY; nothing at NOWHERE.
Book III-E, 2 (logical partitioning), 5.4.1, 7 and 11; e500mc RM, 2 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc.assembler import assemble_program
from cores.ppc.forms import Form
from cores.ppc.models import model as model_of
from cores.ppc.models import reset_values
from emu.memory import GuestRam
from tests.cores.ppc_tiers import SIZE, STRIDE, Bus, Pair
from tests.cores.ppc_tiers import VECTORS as HANDLERS
from tests.cores.tiers import TIERS, processor

pytest.importorskip("emu.engine._ppc")

CODE, GUEST_CODE, VECTORS, GUEST_VECTORS, LOG = 0x10000, 0x20000, 0x40000, 0x50000, 0x60000
VIRTUAL, READ_ONLY, NOWHERE, LPID = 0x200000, 0x201000, 0x202000, 3
GS, EE, CE, ME, DE, PR, UCLE, PMM = (
    1 << n for n in (S.MSR_GS, S.MSR_EE, S.MSR_CE, S.MSR_ME, S.MSR_DE, S.MSR_PR, S.MSR_UCLE, S.MSR_PMM)
)
EXTGS, DTLBGS, ITLBGS, DSIGS, ISIGS, DGTMI, DMIUH = (1 << n for n in (31, 30, 29, 28, 27, 23, 22))
ST, PPR = 0x00800000, 0x04000000
GUESTS = 0x100
"""Added to the number of an interrupt that the guest took itself."""
GIVORS = {2: 0x40, 3: 0x80, 4: 0xC0, 8: 0x100, 13: 0x140, 14: 0x180}
AT_ONCE = (4, 8, 10, 36, 37, 38, 39, 40)
"""Interrupts after which a handler goes back to where it came from; else it goes on behind that."""
CLASSES = {"csrr": (0, 12, 37, 39), "gsrr": (38,)}
RETURNS = {"srr": "rfi", "csrr": "rfci", "gsrr": "rfgi"}


@dataclass(frozen=True)
class Row:
    """What a handler found: its number, the address and MSR saved for it, ESR and DEAR, and MSR inside it."""

    number: int
    address: int
    saved: int
    esr: int
    dear: int
    msr: int


def put(register: int, value: int) -> str:
    return f"lis r{register}, {value >> 16}\nori r{register}, r{register}, {value & 0xFFFF}\n"


def spr(name: str, value: int) -> str:
    return put(9, value) + f"mt{name} r9\n"


def entry(number: int, ea: int, real: int, rights: int, tsize: int, mas8: int) -> str:
    values = {"mas0": 1 << 28 | number << 16, "mas1": 0xC0000000 | tsize << 8, "mas2": ea, "mas3": real | rights,
              "mas7": 0, "mas8": mas8}  # fmt: skip
    return "".join(spr(name, value) for name, value in values.items()) + "tlbwe\n"


def stubs(base: int, numbers: dict[int, int], added: int) -> str:
    """One vector for each number, at its offset."""
    out = ""
    for number, offset in numbers.items():
        kind = next((k for k, them in CLASSES.items() if number in them), "srr")
        out += f"org {base + offset:#x}\nli r29, {number + added}\nli r27, {0 if number in AT_ONCE else 4}\n"
        if number == 10:
            out += "lis r25, 0x0800\nmttsr r25\n"
        if number == 40:
            out += "cmpwi r3, 99\nbeq stop\n"
        out += f"b {kind}\n"
    return out


def handlers() -> str:
    out = f"org {VECTORS + 0x1000:#x}\nstop: b stop\n"
    for kind, back in RETURNS.items():
        out += f"{kind}: mf{kind}0 r28\nmf{kind}1 r26\n"
        for k, register in enumerate((29, 28, 26)):
            out += f"stw r{register}, {4 * k}(r31)\n"
        for k, name in enumerate(("esr", "dear", "msr"), start=3):
            out += f"mf{name} r25\nstw r25, {4 * k}(r31)\n"
        out += f"addi r31, r31, 24\nadd r28, r28, r27\nmt{kind}0 r28\n{back}\n"
    return out


def program(guest: str, *, first: str, last: str, epcr: int, msrp: int, msr: int) -> str:
    """The hypervisor, which runs `first` before it enters its guest with `msr`, and the guest. `last` may give a vector
    another handler."""
    mine = 1 << 31 | LPID
    return (
        f"org {CODE:#x}\nstart:\n"
        + entry(1, 0, 0, 0x3F, 5, mine)
        + entry(2, VIRTUAL, 0x80000, 0x3F, 1, mine | 1 << 30)
        + entry(3, READ_ONLY, 0x81000, 0x03, 1, mine)
        + "".join(spr(name, v) for name, v in (("lpid", LPID), ("epcr", epcr), ("msrp", msrp), ("gpir", 7)))
        + spr("givpr", GUEST_VECTORS)
        + "".join(spr(f"givor{n}", offset) for n, offset in GIVORS.items())
        + put(31, LOG)
        + first
        + spr("gsrr0", GUEST_CODE)
        + spr("gsrr1", msr)
        + f"rfgi\norg {GUEST_CODE:#x}\n{guest}\nend: li r3, 99\nsc 1\n"
        + stubs(VECTORS, {n: 0x40 * n for n in range(42) if n not in (16, *range(18, 36))}, 0)
        + stubs(GUEST_VECTORS, GIVORS, GUESTS)
        + handlers()
        + last
    )


class Guest:
    """One run; `rows` is the log, without the call that ends it."""

    def __init__(
        self, cpu: type[Any], guest: str, *, first: str = "", last: str = "", epcr: int = 0, msrp: int = 0,
        msr: int = GS, values: dict[str, int | dict[int, int]] | None = None, external: bool = False,
    ) -> None:  # fmt: skip
        ram, bus = GuestRam(SIZE, flat=True), Bus()
        self.cpu = bus.cpu = cpu(bus, ram, "e500mc")
        made = assemble_program(program(guest, first=first, last=last, epcr=epcr, msrp=msrp, msr=msr))
        self.symbols = made.symbols
        for statement in made.statements:
            ram.view[statement.address : statement.address + len(statement.data)] = statement.data
        self.cpu.remap()
        self.cpu.load_values(reset_values(model_of("e500mc")))
        page = S.TLB1_FIRST
        own = {"etlb_mas1": {page: 0xC0000500}, "etlb_mas2": {page: 0}, "etlb_mas3": {page: 0x3F}}
        vectors = {"ivpr": VECTORS, "ivor": {n: 0x40 * n for n in range(42)}}
        self.cpu.load_values({"pc": CODE, "msr": 0, **own, **vectors, **(values or {})})
        self.cpu.set_intr(external)
        for _ in range(40):
            self.cpu.run(50)
            if self.cpu.reg("pc") == self.symbols["stop"]:
                break
        else:
            raise AssertionError(f"the guest is at {self.cpu.reg('pc'):#x}")
        count = (self.cpu.reg("r31") - LOG) // 24
        words = [int.from_bytes(ram.view[LOG + 4 * k : LOG + 4 * k + 4], "big") for k in range(6 * count)]
        self.rows = [Row(*words[6 * k : 6 * k + 6]) for k in range(count)]

    def numbers(self) -> list[int]:
        return [row.number for row in self.rows]

    def at(self, label: str) -> int:
        return self.symbols[label]

    def register(self, name: str) -> int:
        return int(self.cpu.reg(name))


@pytest.fixture(params=TIERS)
def cpu(request: pytest.FixtureRequest) -> Any:
    return partial(processor, "ppc", request.param)


def test_a_call_goes_to_the_hypervisor_and_a_system_call_to_the_guests_own_kernel(cpu: Any) -> None:
    g = Guest(cpu, "li r3, 5\nsc 1\none: sc\ntwo:", msr=GS | EE | ME)
    assert g.rows == [
        Row(40, g.at("one"), GS | EE | ME, 0, 0, ME),
        Row(GUESTS + 8, g.at("two"), GS | EE | ME, 0, 0, GS | ME),
    ]


PRIVILEGED = [
    "tlbwe", "tlbre", "tlbsx r0, r3", "tlbivax 0, r3", "tlbsync", "msgsnd r3", "msgclr r3", "rfgi", "rfci", "rfmci",
    "rfdi", "mtepcr r3", "mtlpid r3", "mtmas5 r3", "mtmas8 r3", "mtmsrp r3", "mtivpr r3", "mtivor41 r3", "mtgivpr r3",
    "mtgivor2 r3", "mtgpir r3", "mtpir r3", "mtcsrr0 r3", "mtmcsrr1 r3", "mtdsrr0 r3", "mthid0 r3", "mtdbcr0 r3",
    "mttcr r3", "mttsr r3", "mtdec r3", "mttbl r3", "mtsprg8 r3", "mfepcr r3", "mflpid r3", "mfdec r3", "mftsr r3",
    "mfdbsr r3", "mfivor2 r3", "mfmas8 r3", "mfcsrr0 r3",
]  # fmt: skip


@pytest.mark.parametrize("what", PRIVILEGED)
def test_what_is_the_hypervisors_traps_from_a_guests_kernel_and_does_nothing(cpu: Any, what: str) -> None:
    g = Guest(cpu, put(3, 0x1234) + f"here: {what}\n", msr=GS | EE)
    assert g.rows == [Row(41, g.at("here"), GS | EE, 0, 0, 0)]
    assert g.register("lpid") == LPID and g.register("epcr") == 0


@pytest.mark.parametrize("what", [*PRIVILEGED, "mtmsr r3", "mfsrr0 r3", "wrteei 1", "mtgsrr0 r3", "mfmas0 r3", "rfi"])
def test_from_a_guests_users_it_is_a_program_interrupt(cpu: Any, what: str) -> None:
    g = Guest(cpu, put(3, 0x1234) + f"here: {what}\n", msr=GS | EE | PR)
    assert g.rows == [Row(6, g.at("here"), GS | EE | PR, PPR, 0, 0)]


@pytest.mark.parametrize("msr", [GS, GS | PR])
def test_ehpriv_calls_the_hypervisor_from_everywhere_in_a_guest(cpu: Any, msr: int) -> None:
    g = Guest(cpu, "ehpriv 3\nhere: ehpriv\n", msr=msr)
    assert g.rows == [Row(41, GUEST_CODE, msr, 0, 0, 0), Row(41, g.at("here"), msr, 0, 0, 0)]


def test_a_guest_reaches_its_own_registers_by_the_usual_names(cpu: Any) -> None:
    names = ("srr0", "srr1", "dear", "esr", "sprg0", "sprg1", "sprg2", "sprg3")
    guest = "".join(put(3, 0x1000 + k) + f"mt{name} r3\n" for k, name in enumerate(names))
    g = Guest(cpu, guest + "mfpir r4\nmfgpir r5\n")
    assert g.rows == []
    assert [g.register(f"g{name}") for name in names] == [0x1000 + k for k in range(8)]
    assert [g.register(name) for name in names] == [g.at("end") + 8, GS, *[0] * 6]
    assert (g.register("r4"), g.register("r5")) == (7, 7)


def test_rfi_of_a_guest_returns_to_its_user_and_never_out_of_guest_state(cpu: Any) -> None:
    user = put(3, GUEST_CODE + 0x100) + "mtsrr0 r3\n" + put(3, PR | EE) + "mtsrr1 r3\nrfi\n"
    g = Guest(cpu, user + f"org {GUEST_CODE + 0x100:#x}\nsc\nback: nop")
    assert g.rows == [Row(GUESTS + 8, g.at("back"), GS | PR | EE, 0, 0, GS)]


@pytest.mark.parametrize(("access", "address", "epcr", "number", "esr"), [
    ("stw", READ_ONLY, DSIGS, GUESTS + 2, ST), ("stw", READ_ONLY, 0, 2, ST), ("lwz", NOWHERE, DTLBGS, GUESTS + 13, 0),
    ("lwz", NOWHERE, 0, 13, 0), ("stw", NOWHERE, DSIGS | ITLBGS, 13, ST), ("lwz", VIRTUAL, DSIGS | DTLBGS, 2, 0),
    ("stw", VIRTUAL, DSIGS | DTLBGS, 2, ST),
])  # fmt: skip
def test_storage_interrupts_go_where_epcr_says_and_virtual_pages_to_the_hypervisor(
    cpu: Any, access: str, address: int, epcr: int, number: int, esr: int
) -> None:
    g = Guest(cpu, put(4, address + 0x24) + f"here: {access} r5, 0(r4)\n", epcr=epcr, msr=GS | EE | ME)
    inside = GS | ME if number > GUESTS else ME
    assert g.rows == [Row(number, g.at("here"), GS | EE | ME, esr, address + 0x24, inside)]


@pytest.mark.parametrize(("address", "epcr", "number"), [
    (NOWHERE, ITLBGS, GUESTS + 14), (NOWHERE, DTLBGS, 14), (READ_ONLY, ISIGS, GUESTS + 3), (READ_ONLY, DSIGS, 3),
])  # fmt: skip
def test_so_do_those_of_fetches(cpu: Any, address: int, epcr: int, number: int) -> None:
    where = GUEST_VECTORS + GIVORS[number - GUESTS] if number > GUESTS else VECTORS + 0x40 * number
    to_caller = f"org {where:#x}\nli r29, {number}\nli r27, 0\nmfsrr0 r24\nmflr r28\nmtsrr0 r28\nb srr\n"
    g = Guest(cpu, put(4, address) + "mtctr r4\nbctrl\nhere: nop\n", epcr=epcr, last=to_caller)
    assert [(row.number, row.address, row.esr) for row in g.rows] == [(number, g.at("here"), 0)]
    assert g.register("r24") == address


@pytest.mark.parametrize(("epcr", "left"), [(0, False), (DMIUH, True), (DMIUH | DTLBGS, False)])
def test_a_miss_loads_the_mas_registers_unless_the_hypervisor_forbids_it_for_its_own(
    cpu: Any, epcr: int, left: bool
) -> None:
    g = Guest(cpu, put(5, 0x7000) + "mtmas2 r5\n" + put(4, NOWHERE) + "lwz r5, 0(r4)\n", epcr=epcr)
    assert g.numbers() == [GUESTS + 13 if epcr & DTLBGS else 13]
    assert g.register("mas2") == (0x7000 if left else NOWHERE)


def test_a_guest_of_another_partition_has_none_of_these_pages(cpu: Any) -> None:
    change = f"org {VECTORS + 0x40 * 14:#x}\nli r29, 14\nli r27, 0\n{spr('lpid', LPID)}b srr\n"
    g = Guest(cpu, "", first=spr("lpid", LPID + 1), last=change)
    assert g.rows == [Row(14, GUEST_CODE, GS, 0, 0, 0)]


@pytest.mark.parametrize(("epcr", "number"), [(0, None), (DGTMI, 41)])
def test_tlbilx_is_a_guests_unless_it_is_forbidden(cpu: Any, epcr: int, number: int | None) -> None:
    g = Guest(cpu, "tlbilx 3, 0, r3\n", epcr=epcr)
    assert g.numbers() == ([] if number is None else [number])


@pytest.mark.parametrize(("msrp", "left"), [
    (0, DE | UCLE | PMM), (DE, UCLE | PMM), (UCLE, DE | PMM), (PMM, DE | UCLE), (DE | UCLE | PMM, 0),
])  # fmt: skip
def test_msrp_keeps_bits_of_msr_from_a_guest(cpu: Any, msrp: int, left: int) -> None:
    g = Guest(cpu, put(3, DE | UCLE | PMM) + "mtmsr r3\nmfmsr r6\n", msrp=msrp)
    assert g.rows == [] and g.register("r6") == GS | left


@pytest.mark.parametrize(("what", "msrp", "msr", "number"), [
    ("dcbtls 0, 0, r4", UCLE, GS, 41), ("icblc 0, 0, r4", UCLE, GS, 41), ("dcbtls 0, 0, r4", 0, GS, None),
    ("dcbtls 0, 0, r4", UCLE, GS | PR, 2), ("mfpmr r5, 400", PMM, GS, 41), ("mtpmr 400, r5", PMM, GS, 41),
    ("mfpmr r5, 400", 0, GS, None), ("mfpmr r5, 384", PMM, GS | PR, None), ("mtpmr 400, r5", PMM, GS | PR, 6),
])  # fmt: skip
def test_what_goes_with_a_protected_bit_is_the_hypervisors(
    cpu: Any, what: str, msrp: int, msr: int, number: int | None
) -> None:
    g = Guest(cpu, f"li r4, 0x100\n{what}\n", msrp=msrp, msr=msr)
    assert g.numbers() == ([] if number is None else [number])


# --- interrupts from outside, and doorbells --------------------------------------------------------------------------


@pytest.mark.parametrize("msr", [GS, GS | EE])
def test_an_external_interrupt_is_the_hypervisors_whatever_the_guest_has_in_ee(cpu: Any, msr: int) -> None:
    g = Guest(cpu, "nop", msr=msr, external=True)
    assert g.rows == [Row(4, GUEST_CODE, msr, 0, 0, 0)]
    assert (g.register("epr"), g.register("gepr")) == (0x42, 0)


def test_where_it_is_the_guests_it_waits_for_the_guests_ee(cpu: Any) -> None:
    g = Guest(cpu, "nop\nwrteei 1\nhere: mfepr r6", epcr=EXTGS, external=True)
    assert g.rows == [Row(GUESTS + 4, g.at("here"), GS | EE, 0, 0, GS)]
    assert (g.register("epr"), g.register("r6")) == (0, 0x42)


def test_the_decrementer_is_always_the_hypervisors(cpu: Any) -> None:
    g = Guest(cpu, "nop", epcr=EXTGS | DSIGS, values={"tcr": 1 << 26, "tsr": 1 << 27})
    assert g.rows == [Row(10, GUEST_CODE, GS, 0, 0, 0)]


def bell(kind: int, tag: int = 0, lpid: int = LPID) -> str:
    return put(3, kind << 27 | lpid << 14 | tag)


@pytest.mark.parametrize(("kind", "number"), [(0, 36), (1, 37)])
def test_a_doorbell_for_the_hypervisor_rings_as_soon_as_the_guest_runs(cpu: Any, kind: int, number: int) -> None:
    g = Guest(cpu, "nop", first=bell(kind, lpid=0) + "msgsnd r3\n")
    assert g.rows == [Row(number, GUEST_CODE, GS, 0, 0, 0)]


@pytest.mark.parametrize(("kind", "bit", "number"), [(2, EE, 38), (3, CE, 39), (4, ME, 39)])
def test_a_guests_doorbell_waits_for_its_enable(cpu: Any, kind: int, bit: int, number: int) -> None:
    g = Guest(cpu, "nop\n" + put(4, bit) + "mtmsr r4\nhere: nop", first=bell(kind, tag=7) + "msgsnd r3\n")
    assert [(row.number, row.address, row.saved) for row in g.rows] == [(number, g.at("here"), GS | bit)]
    assert not g.rows[0].msr & GS


@pytest.mark.parametrize("first", [
    bell(2, tag=7) + "msgsnd r3\nmsgclr r3\n", bell(2, tag=0) + "msgsnd r3\n",
    bell(2, tag=7, lpid=LPID + 1) + "msgsnd r3\n", bell(5, tag=7) + "msgsnd r3\n",
])  # fmt: skip
def test_a_bell_that_was_cleared_or_is_for_another_is_not_heard(cpu: Any, first: str) -> None:
    assert Guest(cpu, "nop", first=first, msr=GS | EE).rows == []


def test_a_broadcast_bell_is_for_all_of_the_partition(cpu: Any) -> None:
    g = Guest(cpu, "nop", first=bell(2, tag=1 | 1 << 26) + "msgsnd r3\n", msr=GS | EE)
    assert g.numbers() == [38]


# --- drawn programs --------------------------------------------------------------------------------------------------


class GuestPair(Pair):
    """Both tiers in guest state. The pages are the guest's; the hypervisor has those that map onto themselves."""

    def __init__(self) -> None:
        super().__init__("e500mc")
        self.taken = 0

    def start(self, rng: Random, chosen: list[list[Form]], length: int) -> None:
        super().start(rng, chosen, length)
        first = S.TLB1_FIRST
        pages = {name: self.cpus[0].state()[f"etlb_{name}"] for name in ("mas1", "mas2", "mas3")}
        values: dict[str, int | dict[int, int]] = {
            f"etlb_{name}": {first + 8 + k: entries[first + k] for k in range(2)} for name, entries in pages.items()
        }
        values |= {
            "etlb_mas8": {first + k: 1 << 31 | (rng.random() < 0.2) << 30 for k in range(2, 6)}
            | {first + k: 1 << 31 for k in range(2)},
            "msr": self.cpus[0].reg("msr") | GS, "epcr": rng.getrandbits(11) << 21, "givpr": HANDLERS,
            "msrp": rng.choice((0, 0, UCLE, DE, PMM)), "givor": {n: STRIDE * n for n in GIVORS},
            "doorbells": rng.choice((0, 0, 1, 2)),
        }  # fmt: skip
        for cpu in self.cpus:
            cpu.load_values(values)

    def differs(self, exits: list[Any]) -> str:
        self.taken += self.cpus[0].reg("gsrr0") != 0 and self.cpus[0].reg("srr0") != 0
        return super().differs(exits)


def run_guests(both: GuestPair, seeds: range) -> None:
    for seed in seeds:
        assert both.run(Random(seed), both.families, 24, 120) == "", f"seed {seed}"


@pytest.mark.usefixtures("tiers")
def test_both_tiers_run_drawn_guests_alike() -> None:
    both = GuestPair()
    run_guests(both, range(12))
    assert both.executed > 700 and both.taken


@pytest.mark.slow
@pytest.mark.usefixtures("tiers")
def test_both_tiers_agree_for_twenty_thousand_instructions_of_guests() -> None:
    both = GuestPair()
    seed = 50_000
    while both.executed < 20_000:
        run_guests(both, range(seed, seed + 10))
        seed += 10
