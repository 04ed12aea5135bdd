"""Special purpose registers, MSR, DCRs and the small system instructions, by model."""

from __future__ import annotations

import pytest

from cores.ppc import registers_by_name as names
from cores.ppc import state as S
from cores.ppc.decoder import ALL, decode
from cores.ppc.forms import halves_swapped
from cores.ppc.models import ALIASES, FEATURES, MODELS, boot_values, model, reset_values
from cores.ppc.spr import SPRS
from cores.ppc.text import disassemble
from cores.ppc.validate import check
from tests.cores.ppc_machine import IllegalInstruction, Interrupt, Machine, set_state

MFSPR, MTSPR = 0x7C0002A6, 0x7C0003A6
PPR, PIL = 0x04000000, 0x08000000


def spr_word(base: int, number: int, register: int = 31) -> int:
    return base | register << 21 | halves_swapped(number) << 11


def user(m: Machine) -> Machine:
    m.s.msr |= 1 << S.MSR_PR
    return m


@pytest.mark.parametrize(("name", "number"), [
    ("pid", 48), ("decar", 54), ("csrr0", 58), ("dear", 61), ("esr", 62), ("ivpr", 63), ("usprg0", 256),
    ("usprg4", 260),
    ("sprg4", 276), ("tbl", 284), ("pvr", 287), ("dbsr", 304), ("dbcr0", 308), ("iac1", 312), ("dac2", 317),
    ("tsr", 336),
    ("tcr", 340), ("ivor15", 415), ("mcsr", 572), ("mmucr", 946), ("ccr0", 947), ("ccr1", 888),
    ("inv0", 0x370), ("dvlim", 0x398), ("rstcfg", 0x39B), ("icdbdr", 0x3D3), ("mas0", 0x270), ("mas6", 0x276),
    ("mas7", 0x3B0), ("pid1", 0x279), ("tlb0cfg", 0x2B0), ("l1csr0", 0x3F2), ("bucsr", 0x3F5), ("mmucfg", 0x3F7),
    ("svr", 0x3FF), ("spefscr", 0x200), ("ivor32", 0x210), ("ivor35", 0x213), ("epcr", 0x133), ("mas5", 0x153),
    ("mas8", 0x155), ("lpid", 0x152), ("gsrr0", 0x17A), ("gesr", 0x17F), ("givor2", 0x1B8), ("givor14", 0x1BD),
    ("givpr", 0x1BF), ("ivor38", 0x1B0), ("ivor41", 0x1B3), ("eplc", 0x3B3), ("epsc", 0x3B4), ("epr", 0x2BE),
    ("l2csr0", 0x3F9), ("dsrr0", 0x23E), ("sprg8", 0x25C), ("msrp", 0x137),
])  # fmt: skip
def test_a_register_has_the_number_of_the_manual(name: str, number: int) -> None:
    assert SPRS[name].number == number


def test_no_model_has_two_registers_of_one_number() -> None:
    for m in MODELS.values():
        there = [row.number for row in SPRS.values() if not row.needs or m.has(row.needs)]
        assert len(there) == len(set(there)), m.name


@pytest.mark.parametrize(("name", "pvr"), [
    ("440EP", 0x422218D4), ("440epb", 0x422218D3), ("460EX", 0x130218A4), ("E500V1", 0x80200020),
    ("e500v2_v30", 0x80210030), ("e500", 0x80210022), ("mpc8548e_v11", 0x80210011), ("440EPA", 0x42221850),
    ("e500MC", 0x80230020),
])  # fmt: skip
def test_a_model_is_found_in_any_case_and_has_its_version(name: str, pvr: int) -> None:
    assert Machine(name).mfspr("pvr") == pvr


def test_an_alias_names_a_model_and_an_unknown_name_lists_them() -> None:
    assert all(target in MODELS for target in ALIASES.values())
    with pytest.raises(KeyError, match="no CPU model 'pentium'; known are 440EP, "):
        model("pentium")


@pytest.mark.parametrize(("name", "register", "v"), [
    ("e500v1", "tlb0cfg", 0x02110100), ("e500v2", "tlb0cfg", 0x04110200), ("e500v2", "tlb1cfg", 0x101BC010),
    ("e500mc", "tlb1cfg", 0x401BC040), ("e500mc", "mmucfg", 0x064809C4), ("e500v2", "l1cfg0", 0x00383820),
])  # fmt: skip
def test_configuration_registers_tell_the_geometry(name: str, register: str, v: int) -> None:
    m = Machine(name)
    assert m.mfspr(register) == v
    with pytest.raises(Interrupt) as stopped:
        m.mtspr_raw(SPRS[register].number, 0)
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, PIL)
    assert m.mfspr(register) == v


def test_a_register_of_another_family_is_an_illegal_instruction_named_once() -> None:
    m = Machine("440EP")
    with pytest.raises(Interrupt) as stopped:
        m.run(spr_word(MFSPR, SPRS["mas0"].number))
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, PIL)
    assert m.unknown == [(2, 624)]


def test_a_supervisor_number_in_problem_state_is_privileged_even_where_no_register_is() -> None:
    m = user(Machine("440EP"))
    for word in (spr_word(MFSPR, 624), spr_word(MTSPR, 26), spr_word(MFSPR, 287)):
        with pytest.raises(Interrupt) as stopped:
            m.run(word)
        assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, PPR)
    assert m.unknown == []
    with pytest.raises(Interrupt) as stopped:
        m.run(spr_word(MFSPR, 300))  # a user's number that nobody has
    assert stopped.value.esr == PIL


def test_users_read_sprg4_to_7_and_usprg0_but_write_only_the_latter() -> None:
    m = Machine("440EP")
    m.mtspr("sprg5", 0x1234)
    user(m)
    assert m.mfspr("usprg5") == 0x1234
    m.mtspr("usprg0", 7)
    assert m.mfspr("usprg0") == 7
    with pytest.raises(Interrupt) as stopped:
        m.mtspr_raw(261, 1)
    assert stopped.value.esr == PIL


@pytest.mark.parametrize(("name", "register", "written", "read"), [
    ("440EP", "ivpr", 0xFFFFFFFF, 0xFFFF0000), ("440EP", "ivor3", 0xFFFFFFFF, 0xFFF0), ("440EP", "pid", 0x1FF, 0xFF),
    ("440EP", "mmucr", 0xFFFFFFFF, 0x016D00FF), ("440EP", "iac1", 0xFFFFFFFF, 0xFFFFFFFC),
    ("440EP", "ccr0", 0x00200000, 0x00200000), ("e500v2", "mas7", 0xFF, 0xF), ("e500v2", "l1csr0", 0x103, 1),
    ("e500v2", "l1csr1", 0x103, 1), ("e500v2", "bucsr", 0x201, 1), ("e500v2", "mmucsr0", 6, 0),
    ("e500mc", "l2csr0", 0xC0200C00, 0xC0000000), ("e500mc", "lpid", 0xFFF, 0x3F),
])  # fmt: skip
def test_a_write_keeps_the_bits_that_exist(name: str, register: str, written: int, read: int) -> None:
    m = Machine(name)
    m.mtspr(register, written)
    assert m.mfspr(register) == read


@pytest.mark.parametrize("register", ["dbsr", "mcsr"])
def test_ones_clear_a_status_register(register: str) -> None:
    m = Machine("460EX")
    setattr(m.s, register, 0xF0)
    m.mtspr(register, 0x30)
    assert m.mfspr(register) == 0xC0


def test_dbcr0_asks_for_a_reset() -> None:
    m = Machine("440EP")
    for kind in (1, 2, 3):
        m.mtspr("dbcr0", kind << 28)
    assert m.resets == [1, 2, 3]
    m = Machine("e500v2")
    m.mtspr("dbcr0", 1 << 28)  # not a reset on an e500
    m.mtspr("dbcr0", 2 << 28)
    assert m.resets == [2]


@pytest.mark.parametrize(("name", "mask"), [
    ("440EP", 0x0006FF30), ("e500v2", 0x0606D634), ("e500mc", 0x1402FB36),
])  # fmt: skip
def test_msr_has_the_bits_of_the_model(name: str, mask: int) -> None:
    m = Machine(name)
    m.s.gpr[3] = 0xFFFFFFFF
    m.do("mtmsr", rs=3)
    assert m.s.msr == mask


def test_msr_we_makes_the_processor_wait() -> None:
    m = Machine("440EP")
    m.s.gpr[3] = 1 << S.MSR_WE | 1 << S.MSR_EE
    m.do("mtmsr", rs=3)
    assert m.s.halted == 1
    m.s.pins = 1
    m.call("deliver", m.call("pending"), 0, 0)
    assert m.s.halted == 0 and not m.s.msr >> S.MSR_WE & 1 and m.s.srr1 >> S.MSR_WE & 1


def test_we_of_an_e500_needs_a_kind_of_sleep() -> None:
    m = Machine("e500v2")
    m.s.gpr[3] = 1 << S.MSR_WE
    for hid0, halted in ((0, 0), (0x00800000, 1), (0x00400000, 1), (0x00200000, 1), (0x00100000, 0)):
        m.mtspr("hid0", hid0)
        m.do("mtmsr", rs=3)
        assert m.s.halted == halted


def test_dcrs_are_numbered_with_their_halves_exchanged() -> None:
    m = Machine("440EP")
    m.s.gpr[4] = 0xABCD
    m.do("mtdcr", dcrn=halves_swapped(0x0E), rs=4)
    assert m.dcrs == {0x0E: 0xABCD}
    m.run(0x7CA00286 | halves_swapped(0x0E) << 11)  # mfdcr r5, 0x0e
    assert m.s.gpr[5] == 0xABCD
    assert disassemble(0x7CA00286 | halves_swapped(0x0E) << 11) == "mfdcr r5, 14"
    with pytest.raises(Interrupt) as stopped:
        user(m).do("mfdcr", rt=5, dcrn=1)
    assert stopped.value.esr == PPR


def test_the_number_of_a_dcr_comes_from_a_register_on_the_460ex_only() -> None:
    m = Machine("460EX")
    m.s.gpr[3], m.s.gpr[4] = 0x3FF, 5
    m.do("mtdcrx", ra=3, rs=4)
    m.do("mfdcrx", rt=6, ra=3)
    assert m.dcrs == {0x3FF: 5} and m.s.gpr[6] == 5
    with pytest.raises(IllegalInstruction):
        Machine("440EP").run(0x7CC30206)


def test_one_word_is_an_instruction_of_its_family() -> None:
    word = 0x7C0007A4  # tlbwe, on a 440 with r0, r0, 0
    of_440 = decode(word, features=model("440EP").features)
    of_e500 = decode(word, features=model("e500v2").features)
    assert of_440 is not None and of_e500 is not None
    assert (of_440.form.syntax, of_e500.form.syntax) == ("tlbwe rs, ra, ws", "tlbwe")
    general = decode(spr_word(MFSPR, 1000), features=ALL)
    assert general is not None and general.form.ident == "mfspr"


def test_the_spe_and_the_fpu_are_not_on_one_processor() -> None:
    fadd, isel = 0xFC22182A, 0x7C6428DE
    assert decode(fadd, features=model("e500v2").features) is None
    assert decode(fadd, features=model("440EP").features) is not None
    assert decode(isel, features=model("440EP").features) is None
    assert not any(m.has("spe") and m.has("fpu") for m in MODELS.values())
    assert "fpu" in FEATURES


def test_isel_takes_one_of_two_registers_by_a_bit_of_cr() -> None:
    m = Machine("e500v2")
    m.s.gpr[4], m.s.gpr[5], m.s.cr = 4, 5, 0x20000000
    m.do("isel", rt=3, ra=4, rb=5, crb=2)
    assert m.s.gpr[3] == 4
    m.do("isel", rt=3, ra=4, rb=5, crb=1)
    assert m.s.gpr[3] == 5
    m.do("isel", rt=3, ra=0, rb=5, crb=2)
    assert m.s.gpr[3] == 0


def test_locking_a_cache_line_is_for_users_with_ucle() -> None:
    m = user(Machine("e500v2"))
    m.s.gpr[4] = 0x40
    with pytest.raises(Interrupt) as stopped:
        m.do("dcbtls", ct=0, ra=0, rb=4)
    assert (stopped.value.ivor, stopped.value.esr, stopped.value.dear) == (S.DATA_STORAGE, 0x00200000, 0x40)
    with pytest.raises(Interrupt) as stopped:
        m.do("icbtls", ct=0, ra=0, rb=4)
    assert stopped.value.esr == 0x00100000
    m.s.msr |= 1 << S.MSR_UCLE
    m.do("dcbtls", ct=0, ra=0, rb=4)


def test_multiples_off_a_word_boundary_are_an_alignment_interrupt_of_the_e500() -> None:
    m = Machine("e500v2")
    m.s.gpr[4] = 0x101
    with pytest.raises(Interrupt) as stopped:
        m.do("stmw", rs=30, d=0, ra=4)
    assert (stopped.value.ivor, stopped.value.esr, stopped.value.dear) == (S.ALIGNMENT, 0x00800000, 0x101)
    m = Machine("440EP")
    m.s.gpr[4], m.s.gpr[31] = 0x101, 0x12345678
    m.do("stmw", rs=31, d=0, ra=4)
    assert m.get(0x101, 4) == b"\x12\x34\x56\x78"


# --- the hypervisor of the e500mc ------------------------------------------------------------------------------------


def guest_machine() -> Machine:
    m = Machine("e500mc")
    m.s.msr = 1 << S.MSR_GS
    return m


@pytest.mark.parametrize(("register", "own"), [
    ("srr0", "gsrr0"), ("esr", "gesr"), ("dear", "gdear"), ("sprg2", "gsprg2"),
])  # fmt: skip
def test_a_guest_has_its_own_copy_of_a_register(register: str, own: str) -> None:
    m = guest_machine()
    m.mtspr(register, 0x5678)
    assert names.read(m.s, own) == 0x5678 and names.read(m.s, register) == 0
    assert m.mfspr(register) == 0x5678
    m.s.msr = 0
    assert m.mfspr(register) == 0


@pytest.mark.parametrize("register", ["tcr", "dbcr0", "hid0", "epcr", "mas8", "gpir", "pir", "ivpr"])
def test_a_guest_that_reaches_for_the_hypervisors_registers_calls_it(register: str) -> None:
    with pytest.raises(Interrupt) as stopped:
        guest_machine().mtspr(register, 0)
    assert stopped.value.ivor == S.HYPERVISOR_PRIVILEGE
    m = guest_machine()
    m.s.msr |= 1 << S.MSR_PR
    with pytest.raises(Interrupt) as stopped:
        m.mtspr(register, 0)
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, PPR)


def test_a_guest_cannot_leave_guest_state_or_change_what_msrp_protects() -> None:
    m = guest_machine()
    m.s.msrp = 1 << S.MSR_DE
    m.s.gpr[3] = 1 << S.MSR_DE | 1 << S.MSR_EE
    m.do("mtmsr", rs=3)
    assert m.s.msr == 1 << S.MSR_GS | 1 << S.MSR_EE


@pytest.mark.parametrize(("kind", "bit"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 0)])
def test_msgsnd_rings_the_doorbell_of_its_message(kind: int, bit: int) -> None:
    m = Machine("e500mc")
    m.s.gpr[3] = kind << 27
    m.do("msgsnd", rb=3)
    assert m.s.doorbells == bit
    m.s.gpr[4] = kind << 27 | 5  # for processor 5
    m.do("msgclr", rb=4)
    assert m.s.doorbells == bit
    m.do("msgclr", rb=3)
    assert m.s.doorbells == 0


def test_wait_waits() -> None:
    m = Machine("e500mc")
    m.do("wait")
    assert m.s.halted == 1


# --- from outside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(MODELS))
def test_the_state_after_reset_is_possible_and_starts_in_a_page_that_is_mapped(name: str) -> None:
    m = Machine(name)
    check(m.s, model(name))
    found, physical, rights, _, _ = m.call("walk", 0xFFFFFFFC, 4)
    assert found == 1 and physical & 0xFFFFFFFF == 0xFFFFFFFC and rights & 4
    assert m.call("walk", 0xFFFFEFFC, 4)[0] == 0
    set_state(m.s, boot_values(model(name)))
    check(m.s, model(name))


@pytest.mark.parametrize(("name", "register", "v", "why"), [
    ("440EP", "msr", 1 << 28, "model 440EP has only"), ("440EP", "pc", 2, "not the address of a word"),
    ("440EP", "features", 0, "not that of model 440EP"), ("440EP", "doorbells", 1, "model 440EP has none"),
    ("440EP", "utlb0", {3: 0xF}, r"utlb0\[3\]"), ("e500v2", "etlb_mas1", {0: 0x40000100}, "TLB0 protects nothing"),
    ("e500v1", "etlb_mas1", {2: 0x100}, "has no such entry"), ("e500mc", "tb_stopped", 1, "cannot be stopped"),
    ("e500mc", "gpr", {3: 1 << 32}, "have 32 bits"), ("440EP", "pid", {0: 0x100}, "identifiers have 8 bits"),
    ("440EP", "xer_ca", 2, "xer_ca: 0x2 does not fit 1 bits"),
])  # fmt: skip
def test_an_impossible_state_is_refused(name: str, register: str, v: int | dict[int, int], why: str) -> None:
    m = Machine(name)
    set_state(m.s, {register: v})
    with pytest.raises(ValueError, match=why):
        check(m.s, model(name))


def test_registers_go_by_their_names() -> None:
    m = Machine("e500v2")
    given = {
        "r3": 7, "f2": 1 << 63, "xer": 0xA0000011, "pid1": 9, "ivor34": 0xA00, "sprg5": 3, "mas6": 0x10000, "pc": 0x100,
        "utlb0[63]": 1, "etlb_mas2[575]": 2, "msr": 0x8000,
    }  # fmt: skip
    for name, v in given.items():
        names.write(m.s, name, v)
        assert names.read(m.s, name) == v
    assert m.s.pid[1] == 9 and m.s.sprg[5] == 3 and m.s.xer_so == 1 and m.s.xer_count == 0x11
    names.write(m.s, "evr3", 0x1122334455667788)
    assert names.read(m.s, "r3") == 0x55667788
    names.write(m.s, "r3", 1)
    assert m.s.gpr[3] == 0x1122334400000001


@pytest.mark.parametrize("name", ["r32", "r01", "utlb0[64]", "utlb0", "gpr", "spam", "tbl", "nothing[0]", "msr[0]"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        names.read(Machine("e500v2").s, name)
    with pytest.raises(KeyError):
        names.write(Machine("e500v2").s, name, 0)


@pytest.mark.parametrize(("name", "v"), [
    ("r3", 1 << 32), ("r3", -1), ("xer", 0x80), ("ivpr", 1), ("msr", 1 << 28), ("pc", 1), ("pid", 0x1FFFFFFFF),
])  # fmt: skip
def test_a_value_that_a_register_cannot_hold_is_refused(name: str, v: int) -> None:
    m = Machine("440EP")
    before = m.s.as_dict()
    with pytest.raises(ValueError, match=name):
        names.write(m.s, name, v)
    assert m.s.as_dict() == before


def test_the_reset_values_name_registers_that_exist() -> None:
    for m in MODELS.values():
        for name, v in {**reset_values(m), **boot_values(m)}.items():
            assert bool(S.STATE.registers[name].count) == isinstance(v, dict)
