"""The device trees of the PowerPC boards, from the same facts as their memory maps.

`Board440` and `BoardE500` hold what differs between boards; `emu.boards` maps devices at the same addresses. Only what
a board has is described. Names and interrupt numbers are those of the bindings that Linux's drivers match
(Documentation/devicetree), of ePAPR 1.1, and of the chips' manuals (440EP, 460EX, MPC8544E: interrupt assignments).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bios.fdt import Node, Tree, cells, wide

TIMEBASE = 400_000_000
"""Ticks of the time base in a second; also the processors' clock."""
HIGH, LOW = 4, 8
"""Level-sensitive interrupts of the UIC, active high and low."""
MPIC_LOW, MPIC_HIGH = 1, 2
"""The same for the MPIC."""

MEMORY_SPACE, IO_SPACE, PREFETCHABLE = 0x02000000, 0x01000000, 0x42000000
"""The first cell of a PCI address."""


def clocks(tree: Tree, values: dict[str, int]) -> None:
    """Fill in clocks: the processors' always, those of nodes compatible with a key of `values` where they are 0."""
    for node in tree.root.walk():
        if node.texts("device_type") == ("cpu",):
            node.set("clock-frequency", TIMEBASE)
            node.set("timebase-frequency", TIMEBASE)
            continue
        for name in node.texts("compatible"):
            if name in values and not node.number("clock-frequency"):
                node.set("clock-frequency", values[name])
            if name in values and node.number("bus-frequency") == 0:
                node.set("bus-frequency", values[name])


def _root(model: str, compatible: Sequence[str], *, address: int, size: int) -> Tree:
    tree = Tree()
    root = tree.root
    root.set("#address-cells", address)
    root.set("#size-cells", size)
    root.set("model", model)
    root.set("compatible", list(compatible))
    root.node("aliases")
    root.node("chosen")
    return tree


def _cells(node: Node, address: int, size: int) -> None:
    node.set("#address-cells", address)
    node.set("#size-cells", size)


def _cpu(tree: Tree, name: str, model: str | None = None, *, line: int = 32) -> Node:
    cpus = tree.root.node("cpus")
    _cells(cpus, 1, 0)
    cpu = cpus.node(name, device_type="cpu", reg=0)
    if model is not None:
        cpu.set("model", model)
    for key in ("clock-frequency", "timebase-frequency"):
        cpu.set(key, TIMEBASE)
    for cache in ("i", "d"):
        cpu.set(f"{cache}-cache-line-size", line)
        cpu.set(f"{cache}-cache-size", 0x8000)
    return cpu


@dataclass(frozen=True)
class Window:
    """A range through which the processor reaches PCI: `space` is the first cell of its PCI address."""

    space: int
    pci: int
    address: int
    size: int


def _pci(node: Node, windows: Sequence[Window], address_cells: int) -> None:
    node.set("device_type", "pci")
    node.set("#interrupt-cells", 1)
    _cells(node, 3, 2)
    parts = (cells(w.space) + wide(w.pci, 2) + wide(w.address, address_cells) + wide(w.size, 2) for w in windows)
    node.set("ranges", b"".join(parts))


Line = list["int | Node"]
"""One line of an interrupt map."""


def _flat(lines: Iterable[Line]) -> list[str | int | Node]:
    return [part for line in lines for part in line]


# -- 440EP and 460EX


@dataclass(frozen=True)
class Uart:
    """A serial port of a 4xx board: its address on the OPB, and (number of its UIC, input)."""

    address: int
    interrupt: tuple[int, int]


@dataclass(frozen=True)
class PcieSpec:
    """A PCI Express port of a 460EX: its place among the registers, its windows, its four inputs of UIC3."""

    config: int
    registers: int
    dcr: int
    sdr: int
    windows: tuple[Window, ...]
    buses: tuple[int, int]
    first_input: int


@dataclass(frozen=True)
class Board440:
    """What differs between the 440 boards. Addresses are the processor's 36-bit ones, clocks in Hz."""

    model: str
    compatible: tuple[str, ...]
    chip: str
    """As in "ibm,uic-440ep"."""
    processor: str
    uics: tuple[tuple[int, tuple[int, ...]], ...]
    """DCR base of each UIC; for all but the first the inputs of UIC0 that it drives."""
    opb: int
    """The address at which the peripheral bus is seen, less its own address."""
    opb_start: int
    uarts: tuple[Uart, ...]
    uart_clock: int
    plb_clock: int
    opb_clock: int
    ebc_clock: int
    pci_node: str
    pci_compatible: tuple[str, ...]
    pci_config: int
    pci_special: int
    pci_registers: int
    pci_registers_size: int
    windows: tuple[Window, ...]
    pci_inputs: tuple[tuple[int, int], ...]
    """(UIC, input) of the slots 1, 2, ...; a single one serves them all."""
    has_l2: bool = False
    i2c: tuple[tuple[int, tuple[int, int]], ...] = ()
    gpio: tuple[int, ...] = ()
    rtc: str = ""
    """The clock chip on the first I2C bus, at address 68h."""
    pci_flags: tuple[str, ...] = ()
    pcie: tuple[PcieSpec, ...] = ()

    @property
    def clocks(self) -> dict[str, int]:
        """For `clocks`."""
        return {
            "ns16550": self.uart_clock,
            "ibm,plb4": self.plb_clock,
            "ibm,opb": self.opb_clock,
            "ibm,ebc": self.ebc_clock,
        }


BAMBOO = Board440(
    model="amcc,bamboo",
    compatible=("amcc,bamboo",),
    chip="440ep",
    processor="PowerPC,440EP",
    uics=((0xC0, ()), (0xD0, (30, 31))),
    opb=0,
    opb_start=0x80000000,
    uarts=(Uart(0xEF600300, (0, 0)), Uart(0xEF600400, (0, 1))),
    uart_clock=11_059_200,
    plb_clock=133_333_333,
    opb_clock=66_666_666,
    ebc_clock=66_666_666,
    pci_node="pci@ec000000",
    pci_compatible=("ibm,plb440ep-pci", "ibm,plb-pci"),
    pci_config=0xEEC00000,
    pci_special=0xEED00000,
    pci_registers=0xEF400000,
    pci_registers_size=0x40,
    windows=(
        Window(MEMORY_SPACE, 0xA0000000, 0xA0000000, 0x20000000),
        Window(IO_SPACE, 0, 0xE8000000, 0x10000),
    ),
    pci_inputs=((0, 28), (0, 27), (0, 26), (0, 25)),
)

CANYONLANDS = Board440(
    model="amcc,canyonlands",
    compatible=("amcc,canyonlands",),
    chip="460ex",
    processor="PowerPC,460EX",
    uics=((0xC0, ()), (0xD0, (30, 31)), (0xE0, (10, 11)), (0xF0, (16, 17))),
    opb=0x400000000,
    opb_start=0xB0000000,
    uarts=(Uart(0xEF600300, (1, 1)), Uart(0xEF600400, (0, 1))),
    uart_clock=11_059_200,
    plb_clock=230_000_000,
    opb_clock=115_000_000,
    ebc_clock=115_000_000,
    pci_node="pci@c0ec00000",
    pci_compatible=("ibm,plb-pcix-460ex", "ibm,plb-pcix"),
    pci_config=0xC0EC00000,
    pci_special=0xC0ED00000,
    pci_registers=0xC0EC80000,
    pci_registers_size=0x200,
    windows=(
        Window(MEMORY_SPACE, 0x80000000, 0xD80000000, 0x80000000),
        Window(MEMORY_SPACE, 0, 0xC0EE00000, 0x100000),
        Window(IO_SPACE, 0, 0xC08000000, 0x10000),
    ),
    pci_inputs=((1, 0),),
    has_l2=True,
    pci_flags=("large-inbound-windows", "enable-msi-hole"),
    pcie=(
        PcieSpec(
            config=0xD00000000,
            registers=0xC08010000,
            dcr=0x100,
            sdr=0x300,
            windows=(
                Window(MEMORY_SPACE, 0x80000000, 0xE00000000, 0x80000000),
                Window(MEMORY_SPACE, 0, 0xF00000000, 0x100000),
                Window(IO_SPACE, 0, 0xF80000000, 0x10000),
            ),
            buses=(0x40, 0x7F),
            first_input=12,
        ),
        PcieSpec(
            config=0xD20000000,
            registers=0xC08011000,
            dcr=0x120,
            sdr=0x340,
            windows=(
                Window(MEMORY_SPACE, 0x80000000, 0xE80000000, 0x80000000),
                Window(MEMORY_SPACE, 0, 0xF00100000, 0x100000),
                Window(IO_SPACE, 0, 0xF80010000, 0x10000),
            ),
            buses=(0x80, 0xBF),
            first_input=16,
        ),
    ),
)


def tree_440(board: Board440, serial: Sequence[bool]) -> Tree:
    """The tree of a 440 board; `serial` says which of its serial ports are there."""
    tree = _root(board.model, board.compatible, address=2, size=1)
    root, chip = tree.root, board.chip
    cpu = _cpu(tree, "cpu@0", board.processor)
    cpu.set("dcr-controller")
    cpu.set("dcr-access-method", "native")
    root.set("dcr-parent", [cpu])
    root.node("memory", device_type="memory")

    uics: list[Node] = []
    for index, (dcr, inputs) in enumerate(board.uics):
        uic = root.node(f"interrupt-controller{index}", compatible=[f"ibm,uic-{chip}", "ibm,uic"])
        uic.set("interrupt-controller")
        uic.set("cell-index", index)
        uic.set("dcr-reg", [dcr, 9])
        _cells(uic, 0, 0)
        uic.set("#interrupt-cells", 2)
        if inputs:
            uic.set("interrupts", [part for number in inputs for part in (number, HIGH)])
            uic.set("interrupt-parent", [uics[0]])
        uic.phandle()
        uics.append(uic)

    def wire(node: Node, interrupt: tuple[int, int], sense: int = HIGH) -> None:
        node.set("interrupt-parent", [uics[interrupt[0]]])
        node.set("interrupts", [interrupt[1], sense])

    root.node("sdr", compatible=[f"ibm,sdr-{chip}"]).set("dcr-reg", [0x0E, 2])
    root.node("cpr", compatible=[f"ibm,cpr-{chip}"]).set("dcr-reg", [0x0C, 2])
    if board.has_l2:
        cache = root.node("l2c", compatible=[f"ibm,l2-cache-{chip}", "ibm,l2-cache"])
        cache.set("dcr-reg", [0x20, 8, 0x30, 8])
        cache.set("cache-line-size", 32)
        cache.set("cache-size", 0x40000)
        wire(cache, (1, 11), 1)
        cpu.set("next-level-cache", [cache])

    plb = root.node("plb", compatible=[f"ibm,plb-{chip}", "ibm,plb4"])
    _cells(plb, 2, 1)
    plb.set("ranges")
    plb.set("clock-frequency", board.plb_clock)
    plb.node("sdram", compatible=[f"ibm,sdram-{chip}", "ibm,sdram-405gp"]).set("dcr-reg", [0x10, 2])

    opb = plb.node("opb", compatible=[f"ibm,opb-{chip}", "ibm,opb"])
    _cells(opb, 1, 1)
    start = board.opb_start
    opb.set("ranges", cells(start) + wide(board.opb + start, 2) + cells((1 << 32) - start))
    opb.set("clock-frequency", board.opb_clock)
    ebc = opb.node("ebc", compatible=[f"ibm,ebc-{chip}", "ibm,ebc"])
    ebc.set("dcr-reg", [0x12, 2])
    _cells(ebc, 2, 1)
    ebc.set("clock-frequency", board.ebc_clock)
    for index, (uart, there) in enumerate(zip(board.uarts, serial, strict=False)):
        if there:
            node = opb.node(f"serial@{uart.address:x}", device_type="serial", compatible="ns16550")
            node.reg((uart.address, 8))
            node.set("virtual-reg", uart.address)
            node.set("clock-frequency", board.uart_clock)
            node.set("current-speed", 115200)
            wire(node, uart.interrupt)
            root.node("aliases").set(f"serial{index}", node.path)
    for index, (address, interrupt) in enumerate(board.i2c):
        node = opb.node(f"i2c@{address:x}", compatible=[f"ibm,iic-{chip}", "ibm,iic"])
        node.reg((address, 0x14))
        wire(node, interrupt)
        _cells(node, 1, 0)
        if board.rtc and index == 0:
            node.node("rtc@68", compatible=board.rtc, reg=0x68)
    for address in board.gpio:
        node = opb.node(f"gpio@{address:x}", compatible="ibm,ppc4xx-gpio")
        node.reg((address, 0x48))
        node.set("#gpio-cells", 2)
        node.set("gpio-controller")
    _pci_440(plb, board, uics)
    for number, port in enumerate(board.pcie):
        _pcie_440(plb, number, port, uics[3])
    return tree


INBOUND = cells(PREFETCHABLE) + wide(0, 2) + wide(0, 2) + wide(0x80000000, 2)
"""DMA reaches the first 2 GiB of memory at the same addresses."""


def _pcie_440(plb: Node, number: int, port: PcieSpec, uic: Node) -> None:
    node = plb.node(f"pcie@{port.config:x}", compatible=["ibm,plb-pciex-460ex", "ibm,plb-pciex"])
    node.set("primary")
    node.set("port", number)
    node.reg((port.config, 0x20000000), (port.registers, 0x1000))
    node.set("dcr-reg", [port.dcr, 0x20])
    node.set("sdr-base", port.sdr)
    _pci(node, port.windows, 2)
    node.set("dma-ranges", INBOUND)
    node.set("bus-range", list(port.buses))
    node.set("interrupt-map-mask", [0, 0, 0, 7])
    lines: Iterable[Line] = ([0, 0, 0, pin, uic, port.first_input + pin - 1, HIGH] for pin in range(1, 5))
    node.set("interrupt-map", _flat(lines))


def _pci_440(plb: Node, board: Board440, uics: Sequence[Node]) -> None:
    pci = plb.node(board.pci_node, compatible=list(board.pci_compatible))
    pci.set("primary")
    for flag in board.pci_flags:
        pci.set(flag)
    extended = board.pci_registers_size > 0x100
    acknowledge = (0, 0) if extended else (board.pci_special, 4)
    ranges = [(board.pci_config, 8), acknowledge, (board.pci_special, 4)]
    if extended:
        ranges += [(board.pci_registers, 0x100), (board.pci_registers + 0x100, 0xFC)]
    else:
        ranges.append((board.pci_registers, board.pci_registers_size))
    pci.reg(*ranges)
    _pci(pci, board.windows, 2)
    pci.set("dma-ranges", INBOUND)
    if len(board.pci_inputs) == 1:
        uic, number = board.pci_inputs[0]
        pci.set("interrupt-map-mask", [0, 0, 0, 0])
        pci.set("interrupt-map", [0, 0, 0, 0, uics[uic], number, LOW])
        return
    pci.set("interrupt-map-mask", [0xF800, 0, 0, 0])
    lines: Iterable[Line] = (
        [slot << 11, 0, 0, 0, uics[uic], number, LOW] for slot, (uic, number) in enumerate(board.pci_inputs, start=1)
    )
    pci.set("interrupt-map", _flat(lines))


# -- e500


@dataclass(frozen=True)
class BoardE500:
    """What differs between the e500 boards. `slots` are the PCI slots that have interrupts."""

    model: str
    compatible: tuple[str, ...]
    ccsr: int
    pci_memory: Window
    pci_io: Window
    slots: range
    gpio: bool = False

    @property
    def clocks(self) -> dict[str, int]:
        """For `clocks`."""
        return {"ns16550": TIMEBASE, "simple-bus": TIMEBASE, "fsl,mpic": TIMEBASE}


MPC8544DS = BoardE500(
    model="MPC8544DS",
    compatible=("MPC8544DS", "MPC85xxDS"),
    ccsr=0xE0000000,
    pci_memory=Window(MEMORY_SPACE, 0xC0000000, 0xC0000000, 0x20000000),
    pci_io=Window(IO_SPACE, 0, 0xE1000000, 0x10000),
    slots=range(0x11, 0x13),
)
PPCE500 = BoardE500(
    model="QEMU ppce500",
    compatible=("fsl,qemu-e500",),
    ccsr=0xFE0000000,
    pci_memory=Window(MEMORY_SPACE, 0xE0000000, 0xC00000000, 0x20000000),
    pci_io=Window(IO_SPACE, 0, 0xFE1000000, 0x10000),
    slots=range(1, 32),
    gpio=True,
)

CCSR_SIZE = 0x100000
I2C, SERIAL, LBC, PCI = 0x3000, (0x4500, 0x4600), 0x5000, 0x8000
MPIC, MSI, GUTS, GPIO = 0x40000, 0x41600, 0xE0000, 0xFF000
"""Places in the configuration space."""
SERIAL_INPUT, I2C_INPUT, PCI_INPUT, GPIO_INPUT, MSI_INPUT = 42, 43, 24, 47, 0xE0
"""Inputs of the MPIC: the internal ones begin at 16, the shared messages at E0h."""


def pci_input(slot: int, pin: int) -> int:
    """The external input 1..4 of the MPIC that interrupt pin 1..4 of a slot drives."""
    return (slot + pin - 1) % 4 + 1


def tree_e500(board: BoardE500, serial: Sequence[bool], *, line: int = 32) -> Tree:
    """The tree of an e500 board; `serial` says which of its serial ports are there, `line` is that of the caches."""
    tree = _root(board.model, board.compatible, address=2, size=2)
    root = tree.root
    cpu = _cpu(tree, "PowerPC,8544@0", line=line)
    cpu.set("bus-frequency", TIMEBASE)
    cpu.set("status", "okay")
    root.node("memory", device_type="memory")

    soc = root.node(f"soc@{board.ccsr:x}", device_type="soc", compatible=["fsl,mpc8544-immr", "simple-bus"])
    _cells(soc, 1, 1)
    soc.set("ranges", cells(0) + wide(board.ccsr, 2) + cells(CCSR_SIZE))
    soc.set("bus-frequency", TIMEBASE)
    mpic = soc.node(f"pic@{MPIC:x}", device_type="open-pic", compatible="fsl,mpic")
    mpic.reg((MPIC, 0x40000))
    mpic.set("#address-cells", 0)
    mpic.set("#interrupt-cells", 2)
    mpic.set("interrupt-controller")
    mpic.set("clock-frequency", TIMEBASE)

    def wire(node: Node, number: int) -> None:
        node.set("interrupt-parent", [mpic])
        node.set("interrupts", [number, MPIC_HIGH])

    for index, (offset, there) in enumerate(zip(SERIAL, serial, strict=False)):
        if there:
            node = soc.node(f"serial@{offset:x}", device_type="serial", compatible="ns16550")
            node.reg((offset, 0x100))
            node.set("cell-index", index)
            node.set("clock-frequency", TIMEBASE)
            wire(node, SERIAL_INPUT)
            root.node("aliases").set(f"serial{index}", node.path)
    i2c = soc.node(f"i2c@{I2C:x}", device_type="i2c", compatible="fsl-i2c")
    i2c.reg((I2C, 0x14))
    i2c.set("cell-index", 0)
    _cells(i2c, 1, 0)
    wire(i2c, I2C_INPUT)
    i2c.node("rtc@68", compatible="pericom,pt7c4338", reg=0x68)
    guts = soc.node(f"global-utilities@{GUTS:x}", compatible="fsl,mpc8544-guts")
    guts.reg((GUTS, 0x1000))
    guts.set("fsl,has-rstcr")
    msi = soc.node(f"msi@{MSI:x}", compatible="fsl,mpic-msi")
    msi.reg((MSI, 0x200))
    msi.set("msi-available-ranges", [0, 0x100])
    msi.set("interrupt-parent", [mpic])
    msi.set("interrupts", [part for number in range(8) for part in (MSI_INPUT + number, 0)])
    if board.gpio:
        gpio = soc.node(f"gpio-controller@{GPIO:x}", compatible="fsl,qoriq-gpio")
        gpio.reg((GPIO, 0x1000))
        gpio.set("#gpio-cells", 2)
        gpio.set("gpio-controller")
        wire(gpio, GPIO_INPUT)
        soc.node("power-off", compatible="gpio-poweroff").set("gpios", [gpio, 0, 0])

    pci = root.node(f"pci@{board.ccsr + PCI:x}", compatible="fsl,mpc8540-pci")
    pci.reg((board.ccsr + PCI, 0x1000))
    pci.set("cell-index", 0)
    pci.set("bus-range", [0, 255])
    pci.set("clock-frequency", 66_666_666)
    _pci(pci, (board.pci_memory, board.pci_io), 2)
    wire(pci, PCI_INPUT)
    pci.set("fsl,msi", [msi])
    pci.set("interrupt-map-mask", [0xF800, 0, 0, 7])
    lines: Iterable[Line] = (
        [slot << 11, 0, 0, pin, mpic, pci_input(slot, pin), MPIC_LOW] for slot in board.slots for pin in range(1, 5)
    )
    pci.set("interrupt-map", _flat(lines))
    root.node("aliases").set("pci0", pci.path)
    return tree
