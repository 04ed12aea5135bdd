"""`emu cosim`: equal guests, a fault put in on purpose and found to the instruction, the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.options import UsageError, parse
from emu.tools.cosim import DIFFERENT, Cosim, Side, build, describe, main, report

pytest.importorskip("emu.engine._x86")

DATE = (2025, 1, 1, 0, 0, 0)
# mov ax,0; mov ds,ax; l: inc byte [0x500]; out 0x80,al; add ax,3; loop l; cli; hlt; jmp $-1
CODE = bytes.fromhex("b80000 8ed8 fe060005 e680 0503 00 e2f5 fa f4 ebfd".replace(" ", ""))


@pytest.fixture
def rom(tmp_path: Path) -> str:
    """A ROM whose program starts at the reset vector's jump."""
    image = bytearray(0x10000)
    image[0 : len(CODE)] = CODE
    image[0xFFF0:0xFFF5] = bytes.fromhex("ea000000f0")
    path = tmp_path / "rom.bin"
    path.write_bytes(image)
    return str(path)


def test_two_tiers_of_one_guest_are_equal_to_its_end(rom: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "1", "-bios", rom]) == 0
    text = capsys.readouterr().out
    assert "interp and reference are equal for" in text
    assert "can never wake" in text


def test_the_limit_and_the_tiers_come_from_the_command_line(rom: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--accel", "reference,reference", "--every=700", "--from", "100", "-m", "1", "-bios", rom]
    assert main([*words, "--max-insns", "2_000"]) == 0
    assert "reference and reference are equal for 2,000 instructions" in capsys.readouterr().out


def test_the_time_limit_also_ends_what_runs_before_the_first_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = bytearray(0x10000)
    image[0xFFF0:0xFFF2] = b"\xeb\xfe"  # a jump to itself
    (tmp_path / "rom.bin").write_bytes(image)
    assert main(["-m", "1", "-bios", str(tmp_path / "rom.bin"), "--from", "1000000000000", "--timeout", "0.3"]) == 124
    assert "--timeout" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["interp", "interp,jot", "interp,reference,interp", "auto,interp"])
def test_other_than_two_known_tiers_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="expected two of"):
        main(["--accel", value])


@pytest.mark.parametrize("start", [0, 500])
def test_a_wrong_store_is_found_to_the_instruction(rom: str, start: int) -> None:
    fault_at = 4643  # an `inc byte [0x500]`: 3 instructions, then 4 in each round

    def make(tier: str) -> Side:
        side = build(parse(["-m", "1", "-bios", rom]), DATE, tier, "interp", start)
        if tier == "reference":
            switch = side.switch
            if switch is None:
                spoil(side.machine.cpu)
            else:

                def then() -> None:
                    switch()
                    spoil(side.machine.cpu.inner)  # type: ignore[attr-defined]

                side.switch = then
        return side

    def spoil(cpu: Any) -> None:
        right = cpu.mem_w8

        def wrong(seg: int, off: int, value: int) -> None:
            right(seg, off, value ^ (cpu.icount == fault_at))

        cpu.mem_w8 = wrong

    outcome = Cosim(make, ("interp", "reference"), limit=20_000, start=start).run()
    assert outcome.difference
    assert outcome.equal == fault_at
    assert [at for at, _, _ in outcome.difference.memory] == [0x500]
    assert "inc byte [0x500]" in outcome.where[-1]


@pytest.mark.parametrize("every", [0, 5000])
@pytest.mark.parametrize("tiers", [("interp", "reference"), ("jit", "interp")], ids="-".join)
def test_code_that_is_wrong_only_when_it_runs_at_once_is_found_as_a_stretch(
    rom: str, every: int, tiers: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = 4639, 4655

    def make(tier: str) -> Side:
        side = build(parse(["-m", "1", "-bios", rom]), DATE, tier)
        cpu: Any = side.machine.cpu

        def execute(budget: int) -> Any:
            before = cpu.icount
            if not before <= first < last <= before + budget:
                return cpu.run(budget)
            cpu.run(last - before)
            cpu.set_reg("edi", 1)
            return cpu.run(before + budget - last)

        if tier == tiers[0]:
            side.machine.execute = execute
        return side

    outcome = Cosim(make, tiers, limit=20_000, every=every).run()
    assert outcome.difference
    assert (outcome.equal, outcome.length) == (first, last - first)
    assert len(outcome.where) == 2 + last - first
    report(outcome, tiers)
    assert "equal for 4,639 instructions and differ after the next 16, if these run at once" in capsys.readouterr().out


def test_a_wrong_byte_that_nothing_reads_is_found_where_it_came(rom: str) -> None:
    def make(tier: str) -> Side:
        side = build(parse(["-m", "1", "-bios", rom]), DATE, tier)
        if tier == "reference":
            right = side.machine.cpu.port_w  # type: ignore[attr-defined]

            def port_w(port: int, size: int, value: int) -> None:
                right(port, size, value)
                if side.machine.cpu.icount == 1004:
                    side.machine.ram.view[0x8000] = 1

            side.machine.cpu.port_w = port_w  # type: ignore[attr-defined]
        return side

    outcome = Cosim(make, ("interp", "reference"), limit=20_000, every=100).run()
    assert outcome.difference and not outcome.difference.facts
    assert outcome.equal == 1004
    assert "out 0x80" in outcome.where[-1]


def test_a_difference_gives_its_own_status(rom: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from cores.x86.reference import X86Cpu

    monkeypatch.setattr(X86Cpu, "port_w", lambda self, port, size, value: None)
    assert main(["-m", "1", "-bios", rom, "--max-insns", "3000"]) == DIFFERENT
    text = capsys.readouterr().out
    assert "differ after the next" in text
    assert "out 0x80, al" in text
    assert "device dma" in text


# li r3, 1000; mtdec r3; lis r4, 0x0400 (DIE); mttcr r4; l: addi r5, r5, 1; stw r5, 0x500(0); cmpwi r5, 200; bne l; b $
PPC_CODE = bytes.fromhex("386003e8 7c7603a6 3c800400 7c9453a6 38a50001 90a00500 2c0500c8 4082fff4 48000000")


@pytest.fixture
def powerpc(tmp_path: Path) -> str:
    """A raw kernel for a PowerPC board."""
    from tests.bios.ppc.images import elf

    path = tmp_path / "kernel"
    path.write_bytes(elf((0, 0, PPC_CODE, len(PPC_CODE))))
    return str(path)


@pytest.mark.parametrize("board_name", ["bamboo", "ppce500"])
@pytest.mark.parametrize("start", ["0", "300"])
def test_the_tiers_agree_on_a_powerpc_board(
    powerpc: str, board_name: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-M", board_name, "-m", "64", "-kernel", powerpc, "--from", start]) == 0
    text = capsys.readouterr().out
    assert "interp and reference are equal for 1," in text
    assert "can never wake" in text


def test_a_difference_on_a_powerpc_board_is_shown_with_its_registers(powerpc: str) -> None:
    words = ["-M", "bamboo", "-m", "64", "-kernel", powerpc]

    def make(tier: str) -> Side:
        side = build(parse(words), DATE, tier)
        if tier == "reference":
            side.machine.ram.load(0x18, bytes.fromhex("2c0500c7"))  # cmpwi r5, 199
        return side

    outcome = Cosim(make, ("interp", "reference")).run()
    assert outcome.difference and outcome.difference.memory[0][0] == 0x1B
    cosim = Cosim(make, ("interp", "reference"), every=1, start=400)
    assert cosim.run().difference
    side = build(parse(words), DATE, "reference")
    side.run_to(402)
    lines = describe(side)
    assert lines[0].startswith("NIP ") and lines[0].endswith("CPU#0")
    assert lines[-1].split(maxsplit=1)[1].startswith("2c 05 00 c8  cmpwi r5, 0xc8")
