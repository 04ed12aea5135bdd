"""The PowerPC boards: what is mapped where, the device trees they hand over, and how they start."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bios import fdt
from bios.fdt import Node, Tree
from devices.irq import IrqRouter
from devices.uic import Uic
from emu.boards import Setup, board
from emu.machine import Cause, Machine, Vacuum
from emu.options import UsageError, parse
from tests.bios.ppc.images import CODE, elf, uimage_file
from tests.emu.pc_machine import Sink

BOARDS = ("bamboo", "sam460ex", "mpc8544ds", "ppce500")
DTC = shutil.which("dtc")
MIB = 1 << 20
SPIN = b"\x48\x00\x00\x00"  # b .
NOP = b"\x60\x00\x00\x00"
SERIAL = {"bamboo": 0xEF600300, "sam460ex": 0x4EF600300, "mpc8544ds": 0xE0004500, "ppce500": 0xFE0004500}


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def machine(folder: Path, name: str, *words: str, code: bytes = SPIN) -> Machine:
    """A board with two serial ports and raw code at address 0, switched on."""
    kernel = written(folder / "code.bin", code)
    config = parse(["-M", name, "-m", "64", "-kernel", kernel, *words])
    made = board(name)(Setup(config, serial=[Sink(), Sink()]))
    made.power_on()
    return made


def command(*words: str) -> subprocess.CompletedProcess[bytes]:
    code = "import sys; from emu.__main__ import system_ppc; sys.exit(system_ppc())"
    line = [sys.executable, "-c", code, "--timeout", "20", *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=40)


# -- the map


@pytest.mark.parametrize("name", BOARDS)
def test_the_first_serial_port_shows_what_is_written_to_it(name: str, tmp_path: Path) -> None:
    console = Sink()
    kernel = written(tmp_path / "code.bin", SPIN)
    made = board(name)(Setup(parse(["-M", name, "-kernel", kernel]), serial=[console, None]))
    made.power_on()
    made.bus.mmio_write(SERIAL[name], 1, 0x41)
    assert console.count == 1
    assert list(made.inputs.channels) == ["serial0"]


def test_the_docstring_of_each_board_is_its_memory_map() -> None:
    from emu.boards import bamboo, mpc8544ds, ppce500, sam460ex

    for module in (bamboo, mpc8544ds, ppce500, sam460ex):
        assert module.__doc__ is not None
        assert "RAM up to -m" in module.__doc__


def translated(node: Node, address: int) -> int:
    """An address in a node's parent as the processor's."""
    here = node.parent
    while here is not None and here.parent is not None:
        ranges = here.cells("ranges")
        if ranges:
            child, parent, size = here.address_cells, here.parent.address_cells, here.size_cells
            step = child + parent + size
            rows = [ranges[i : i + step] for i in range(0, len(ranges), step)]
            for row in rows:
                start, length = number(row[:child]), number(row[-size:])
                if start <= address < start + length:
                    address = address - start + number(row[child : child + parent])
                    break
        here = here.parent
    return address


def number(cells: Sequence[int]) -> int:
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def handed_over(made: Machine) -> Tree:
    """The tree that the kernel is entered with."""
    at = made.cpu.reg("r3")
    size = int.from_bytes(made.ram.view[at + 4 : at + 8], "big")
    return fdt.read("handed over", bytes(made.ram.view[at : at + size]))


@pytest.mark.parametrize("name", BOARDS)
def test_every_device_of_the_tree_answers_at_its_address(name: str, tmp_path: Path) -> None:
    made = machine(tmp_path, name)
    found = 0
    for node in handed_over(made).root.walk():
        parent = node.parent
        if parent is None or node.name.startswith(("memory", "cpu@", "PowerPC", "rtc")):
            continue
        cells, step = node.cells("reg"), parent.address_cells + parent.size_cells
        for i in range(0, len(cells), step):
            address = number(cells[i : i + parent.address_cells])
            if number(cells[i + parent.address_cells : i + step]) and not node.name.startswith("pcie"):
                place = translated(node, address)
                assert made.bus.find("memory", place) is not None, f"{node.path}: {place:#x}"
                found += 1
        for base in node.cells("dcr-reg")[::2]:
            assert made.bus.find("dcrs", base) is not None, f"{node.path}: DCR {base:#x}"
            found += 1
    assert found >= 7


@pytest.mark.parametrize("name", BOARDS)
def test_every_phandle_of_the_tree_names_a_node(name: str, tmp_path: Path) -> None:
    tree = handed_over(machine(tmp_path, name))
    known = {node.number("phandle") for node in tree.root.walk() if "phandle" in node}
    wanted = [(node, key) for node in tree.root.walk() for key in ("interrupt-parent", "dcr-parent", "fsl,msi")]
    wanted = [(node, key) for node, key in wanted if key in node]
    assert wanted
    assert all(node.number(key) in known for node, key in wanted)


@pytest.mark.parametrize("name", BOARDS)
def test_the_machine_and_the_tree_agree_about_the_time_base(name: str, tmp_path: Path) -> None:
    made = machine(tmp_path, name, code=NOP * 100 + b"\x7c\xac\x42\xe6" + SPIN)  # mftb r5
    cpu = next(node for node in handed_over(made).root.walk() if node.texts("device_type") == ("cpu",))
    made.step(102)
    frequency = cpu.number("timebase-frequency")
    assert frequency is not None
    assert made.cpu.reg("r5") == 1000 * frequency // 1_000_000_000


@pytest.mark.parametrize(("processor", "line"), [("e500v2", 32), ("e500mc", 64)])
def test_the_tree_has_the_cache_lines_of_the_processor(processor: str, line: int, tmp_path: Path) -> None:
    tree = handed_over(machine(tmp_path, "ppce500", "-cpu", processor))
    cpu = next(node for node in tree.root.walk() if node.texts("device_type") == ("cpu",))
    assert [cpu.number(f"{cache}-cache-line-size") for cache in "id"] == [line, line]


def test_an_address_that_nobody_answers_raises_a_machine_check_but_not_within_pci(tmp_path: Path) -> None:
    made = machine(tmp_path, "bamboo")
    assert made.bus.mmio_read(0xA0000000, 4) == 0xFFFFFFFF
    assert made.cpu.reg("pins") == 0
    made.bus.mmio_read(0x80000000, 4)
    assert made.cpu.reg("pins") & 4


def test_the_configuration_space_of_an_e500_reads_0_where_nothing_is(tmp_path: Path) -> None:
    made = machine(tmp_path, "ppce500")
    assert made.bus.mmio_read(0xFE0000000, 4) == 0
    assert made.bus.mmio_read(0xFE00E0004, 4) != 0
    assert made.cpu.reg("pins") == 0


# -- interrupts, power, reset


@pytest.mark.parametrize(
    ("name", "enable"),
    [("bamboo", ((0xC2, 0x80000000), (0xC3, 0))), ("sam460ex", ((0xD2, 0x40000000), (0xC2, 0x00000002)))],
)
def test_the_serial_port_of_a_440_interrupts(name: str, enable: Sequence[tuple[int, int]], tmp_path: Path) -> None:
    made = machine(tmp_path, name)
    for dcr, value in enable:
        made.bus.dcrs.port_write(dcr, 4, value)
    made.bus.mmio_write(SERIAL[name] + 1, 1, 2)  # transmitter empty
    assert made.cpu.reg("pins") & 1


def test_the_serial_port_of_an_e500_interrupts(tmp_path: Path) -> None:
    made = machine(tmp_path, "ppce500")
    mpic = 0xFE0040000
    made.bus.mmio_write(mpic + 0x1020, 4, 0x20000000)  # mixed mode
    made.bus.mmio_write(mpic + 0x10000 + 42 * 0x20, 4, 0x00480000 | 42)
    made.bus.mmio_write(mpic + 0x20080, 4, 0)
    made.bus.mmio_write(SERIAL["ppce500"] + 1, 1, 2)
    assert made.cpu.reg("pins") & 1
    assert made.bus.mmio_read(mpic + 0x200A0, 4) == 42


@pytest.mark.parametrize(("name", "uic", "first"), [("bamboo", "uic0", 28), ("sam460ex", "uic1", 0)])
def test_a_pci_slot_of_a_440_pulls_its_input_low(name: str, uic: str, first: int, tmp_path: Path) -> None:
    made = machine(tmp_path, name)
    router, controller = made.devices["slots"], made.devices[uic]
    assert isinstance(router, IrqRouter) and isinstance(controller, Uic)
    line = router.source(0)
    assert controller.state.lines & 0x80000000 >> first
    line.set(True)
    assert not controller.state.lines & 0x80000000 >> first


def test_pin_0_of_the_gpio_switches_the_power_off(tmp_path: Path) -> None:
    made = machine(tmp_path, "ppce500")
    gpio = 0xFE00FF000
    made.bus.mmio_write(gpio, 4, 0x80000000)
    made.bus.mmio_write(gpio + 8, 4, 0x80000000)
    assert made.ending is not None
    assert made.ending.cause is Cause.POWEROFF


@pytest.mark.parametrize("name", ["mpc8544ds", "ppce500"])
def test_the_global_utilities_reset_the_board(name: str, tmp_path: Path) -> None:
    made = machine(tmp_path, name, code=CODE + SPIN)
    made.step(50)
    made.ram.load(0, bytes(16))
    made.bus.mmio_write(SERIAL[name] - 0x4500 + 0xE00B0, 4, 2)
    made.step(1)
    assert made.resets == 1
    assert bytes(made.ram.view[:16]) == CODE[:16]
    assert made.cpu.reg("pc") == 4


def test_a_reset_that_the_processor_asks_for_resets_the_board(tmp_path: Path) -> None:
    # lis r3,0x3000; mtspr DBCR0,r3: system reset
    made = machine(tmp_path, "bamboo", code=struct.pack(">III", 0x3C603000, 0x7C744BA6, 0x48000000))
    made.step(2)
    made.step(1)
    assert made.resets == 1


def test_a_loop_that_nothing_can_end_ends_the_run(tmp_path: Path) -> None:
    ending = machine(tmp_path, "mpc8544ds").run(Vacuum())
    assert (ending.cause, ending.status) == (Cause.DEAD, 0)
    assert "pc 0x0" in ending.text


@pytest.mark.parametrize("model", ["e500v1", "e500v2", "e500mc"])
def test_a_checkstop_ends_the_run_with_status_3(model: str, tmp_path: Path) -> None:
    # lis r3,0x0380; lwz r3,0(r3): behind RAM, but translated
    code = struct.pack(">III", 0x3C600380, 0x80630000, 0x48000000)
    made = machine(tmp_path, "ppce500", "-cpu", model, "-m", "32", code=code)
    made.no_reboot = True
    ending = made.run(Vacuum())
    assert (ending.cause, ending.status, ending.text) == (Cause.SHUTDOWN, 3, "checkstop")


# -- start


def test_a_440_kernel_is_entered_through_its_tlb_entry(tmp_path: Path) -> None:
    made = machine(tmp_path, "bamboo")
    cpu = made.cpu
    assert cpu.reg("pc") == 0
    assert (cpu.reg("r6"), cpu.reg("r7")) == (0x45504150, 256 * MIB)
    made.step(10)
    assert cpu.reg("pc") == 0
    assert cpu.read_linear(cpu.reg("r3"), 4) == b"\xd0\x0d\xfe\xed"


def test_code_without_a_driver_finds_the_serial_port_of_a_440_mapped(tmp_path: Path) -> None:
    # lis r3,0xef60; ori r3,r3,0x300; li r4,0x41; stb r4,0(r3)
    code = struct.pack(">IIII", 0x3C60EF60, 0x60630300, 0x38800041, 0x98830000)
    console = Sink()
    for name in ("bamboo", "sam460ex"):
        kernel = written(tmp_path / "code.bin", code + SPIN)
        made = board(name)(Setup(parse(["-M", name, "-kernel", kernel]), serial=[console]))
        made.power_on()
        made.step(4)
    assert console.count == 2


def test_an_e500_kernel_is_entered_through_its_tlb_entry(tmp_path: Path) -> None:
    made = machine(tmp_path, "ppce500")
    cpu = made.cpu
    assert cpu.read_linear(cpu.reg("r3"), 4) == b"\xd0\x0d\xfe\xed"
    assert (cpu.reg("r4"), cpu.reg("r5"), cpu.reg("r6"), cpu.reg("r7")) == (0, 0, 0x45504150, 64 * MIB)
    made.step(10)
    assert cpu.reg("pc") == 0


def test_initrd_and_command_line_reach_the_tree(tmp_path: Path) -> None:
    initrd = written(tmp_path / "initrd", b"initial disk")
    made = machine(tmp_path, "mpc8544ds", "-initrd", initrd, "-append", "console=ttyS0")
    chosen = handed_over(made).find("/chosen")
    assert chosen is not None
    assert chosen.texts("bootargs") == ("console=ttyS0",)
    at = chosen.number("linux,initrd-start") or 0
    assert bytes(made.ram.view[at : at + 12]) == b"initial disk"


def test_a_given_tree_gets_memory_clocks_and_command_line(tmp_path: Path) -> None:
    from bios.ppc import trees

    tree = trees.tree_440(trees.BAMBOO, (True,))
    tree.root.set("model", "mine")
    serial = tree.find("/plb/opb/serial")
    cpu = tree.find("/cpus/cpu")
    assert serial is not None and cpu is not None
    serial.set("clock-frequency", 0)
    cpu.set("timebase-frequency", 25_000_000)
    given = written(tmp_path / "mine.dtb", tree.write())
    told = handed_over(machine(tmp_path, "bamboo", "-dtb", given, "-append", "quiet"))
    assert told.root.texts("model") == ("mine",)
    for path, key, value in (
        ("/plb/opb/serial", "clock-frequency", 11_059_200),
        ("/cpus/cpu", "timebase-frequency", 400_000_000),
    ):
        node = told.find(path)
        assert node is not None
        assert node.number(key) == value
    memory = told.find("/memory")
    assert memory is not None
    assert memory.cells("reg") == (0, 0, 64 * MIB)


def test_firmware_gets_the_kernel_through_the_tree(tmp_path: Path) -> None:
    firmware = written(tmp_path / "u-boot.elf", elf((0xF00000, 0xF00000, SPIN * 8, 64), entry=0xF00000))
    made = machine(tmp_path, "ppce500", "-bios", firmware, code=b"the kernel, as it is")
    assert made.cpu.reg("pc") == 0xF00000
    assert made.cpu.reg("r3") % MIB == 0
    chosen = handed_over(made).find("/chosen")
    assert chosen is not None
    _, at, _, size = chosen.cells("qemu,boot-kernel")
    assert at >= 32 * MIB
    assert bytes(made.ram.view[at : at + size]) == b"the kernel, as it is"


# -- the command


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_dumpdtb_writes_the_tree_and_ends(name: str, tmp_path: Path) -> None:
    path = tmp_path / "out.dtb"
    result = command("-M", f"{name},dumpdtb={path}", "-m", "128", "-append", "quiet", "-kernel", str(tmp_path / "none"))
    assert (result.returncode, path.exists()) == (1, False)
    kernel = written(tmp_path / "kernel", SPIN)
    result = command("-M", name, "-machine", f"dumpdtb={path}", "-kernel", kernel, "-append", "quiet")
    assert (result.returncode, result.stderr) == (0, b"")
    chosen = fdt.read("out", path.read_bytes()).find("/chosen")
    assert chosen is not None
    assert chosen.texts("bootargs") == ("quiet",)
    result = command("-M", f"{name},dumpdtb={path}")
    assert result.returncode == 0
    if DTC is not None:
        text = subprocess.run(
            [DTC, "-W", "no-simple_bus_reg", "-I", "dtb", "-O", "dts", path],
            capture_output=True,
            check=True,
            timeout=20,
        )
        warnings = [line for line in text.stderr.splitlines() if b"unit_address_vs_reg" not in line]
        assert warnings == []


def test_the_machines_and_processors_are_listed() -> None:
    result = command("-M", "help")
    listed = result.stdout.decode().splitlines()[1:]
    assert [line.split()[0] for line in listed] == list(BOARDS)
    result = command("-cpu", "help", "-M", "ppce500")
    assert {"440EP", "460EX", "e500v2", "e500mc"} <= {line.split()[0] for line in result.stdout.decode().splitlines()}


def refused(*words: str) -> str:
    """The one line that a command is refused with."""
    result = command(*words)
    text = result.stderr.decode()
    assert (result.returncode, result.stdout, text.count("\n")) == (1, b"", 1), text
    return text


@pytest.mark.slow
def test_bad_files_and_wrong_wishes_are_refused_in_one_line(tmp_path: Path) -> None:
    good = written(tmp_path / "good.bin", CODE)
    wrong = written(tmp_path / "wrong.elf", elf((0, 0, CODE, 5000), machine=8))
    crc = written(tmp_path / "crc.uimage", uimage_file(CODE)[:-1] + b"!")
    cut = written(tmp_path / "cut.uimage", uimage_file(CODE)[:-100])
    gz = written(tmp_path / "cut.gz", gzip.compress(CODE)[:-9])
    dtb = written(tmp_path / "bad.dtb", b"\xd0\x0d\xfe\xed" + bytes(60))
    huge = written(tmp_path / "huge", b"x" * MIB)
    os.truncate(huge, 80 * MIB)
    for words, complaint in (
        (("-kernel", wrong), "ELF machine 8"),
        (("-kernel", crc), "data checksum"),
        (("-kernel", cut), "follow the header"),
        (("-kernel", gz), "truncated gzip data"),
        (("-kernel", good, "-dtb", dtb), "bad.dtb: version 0"),
        (("-kernel", good, "-initrd", huge, "-m", "64"), "no room for an initrd of 83886080 bytes"),
        (("-kernel", str(tmp_path)), "found a directory"),
        ((), "expected -kernel"),
        (("-bios", good), "-M bamboo takes -kernel only"),
        (("-kernel", good, "-cpu", "e500v2"), "e500v2 is no processor for it; it takes 440EP, 440EPb, 440EPa, 460EX"),
        (("-kernel", good, "-m", "2G"), "takes at most 1024 MiB"),
        (("-kernel", good, "-m", "100.5"), "-M bamboo"),
        (("-kernel", good, "-device", "isa-debug-exit"), "has no bus for it"),
        (("-M", "pc"), "unknown machine pc"),
        (("-M", "bamboo,dumpdtb=/dev/null/x"), "expected a file to write the device tree to"),
    ):
        assert complaint in refused(*words), words


@pytest.mark.parametrize(("name", "most"), [("bamboo", 1024), ("sam460ex", 2048), ("mpc8544ds", 3072)])
def test_a_board_has_a_limit_of_memory(name: str, most: int, tmp_path: Path) -> None:
    kernel = written(tmp_path / "kernel", SPIN)
    with pytest.raises(UsageError, match=f"at most {most} MiB"):
        board(name)(Setup(parse(["-M", name, "-m", str(most + 1), "-kernel", kernel])))


@pytest.mark.parametrize("name", BOARDS)
def test_an_unknown_special_register_is_named_once_however_often_it_is_read(name: str, tmp_path: Path) -> None:
    """The program interrupt that it raises leads to address 0, where it is read again."""
    kernel = written(tmp_path / "code.bin", b"\x7c\x9c\xaa\xa6")  # mfspr r4, 700
    result = command("-M", name, "-nographic", "-kernel", kernel, "-d", "unimp", "--max-insns", "100")
    assert result.stderr.decode().count("SPR 700") == 1
