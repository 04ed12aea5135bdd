"""Kernel files for the PowerPC boards, and the plan that puts one in memory with its RAM disk and device tree.

A kernel is an ELF file (vmlinux: at its physical addresses), a uImage, or raw code for address 0; each may be
gzip-compressed. `boot_plan` places the rest above it, tells the kernel through the device tree's `/chosen` and
`/memory` (Devicetree Specification v0.4, 3.4 and 3.6), and enters it as `bios.ppc.entry` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bios import elf, fdt
from bios.fdt import Node, Tree
from bios.image import not_code
from bios.linux import is_linux
from bios.plan import RAM, ImageError, LoadPlan, MemoryRange, unpacked
from bios.ppc import uimage

Segments = tuple[tuple[int, bytes], ...]
Registers = tuple[tuple[str, int], ...]

MIB = 1 << 20
PAGE = 0x1000
SLACK = 4 * MIB
"""Left free above a kernel whose file does not say how much memory it clears (a uImage, raw code)."""
TREE_AT = 24 * MIB
"""The lowest place of the device tree where RAM allows: kernels that unpack themselves use what is below."""
TREE_ROOM = 0x10000
"""Kept free behind the tree: U-Boot and boot wrappers grow it in place."""
MAX_COMMAND_LINE = 0x8000
INSTRUCTION = 4


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to be placed; `end` is the first address that is surely free above it.

    `initrd` and `tree` are the second and third file of a multi-file uImage.
    """

    kind: str
    entry: int
    segments: Segments
    zeros: tuple[tuple[int, int], ...]
    end: int
    initrd: bytes | None = None
    tree: bytes | None = None


def memory_map(ram_size: int) -> tuple[MemoryRange, ...]:
    """RAM from 0, the map of every PowerPC board."""
    return (MemoryRange(0, ram_size, RAM),)


def load_kernel(name: str, data: bytes, ram_size: int) -> Kernel:
    """The kernel in a file of any format. Raises ImageError."""
    data = unpacked(name, data, ram_size)
    if not data:
        raise ImageError(name, "an empty file", "its beginning", "expected a kernel")
    if _resembles(data, uimage.MAGIC):
        return _uimage(name, uimage.parse(name, data), ram_size)
    if _resembles(data, int.from_bytes(elf.MAGIC, "big")):
        return _elf(name, data, ram_size)
    if is_linux(data):
        raise ImageError(name, "a Linux kernel for the x86", "offset 0x202", "this machine is a PowerPC")
    if _resembles(data, fdt.MAGIC):
        raise ImageError(name, "a device tree", "offset 0", "expected a kernel (use -dtb)")
    if other := not_code(data) or (f"{len(data)} bytes" if len(data) < INSTRUCTION else ""):
        raise ImageError(name, other, "offset 0", "expected an ELF kernel, a uImage or raw code")
    return _placed(name, "raw", data, 0, 0, ram_size)


def is_linux_itself(kernel: Kernel) -> bool:
    """Whether a kernel is Linux: its banner is in it, once it is unpacked."""
    return any(b"Linux version " in data for _, data in kernel.segments)


def _resembles(data: bytes, magic: int) -> bool:
    """Whether a file begins with a magic number, or with a damaged one: no code begins with nearly the same bits."""
    return len(data) >= 4 and (int.from_bytes(data[:4], "big") ^ magic).bit_count() <= 4


def _uimage(name: str, image: uimage.Image, ram_size: int) -> Kernel:
    if image.kind not in (uimage.KERNEL, uimage.KERNEL_NOLOAD, uimage.MULTI, uimage.STANDALONE):
        what = uimage.TYPES.get(image.kind, "?")
        raise ImageError(name, f"type {image.kind} ({what})", "offset 30", "expected a kernel")
    data = image.content(ram_size)
    base = 0 if image.kind == uimage.KERNEL_NOLOAD else image.load
    made = _placed(name, "uimage", data, base, image.entry, ram_size)
    extra = (*image.parts[1:], None, None)
    return Kernel(made.kind, made.entry, made.segments, made.zeros, made.end, extra[0], extra[1])


def _placed(name: str, kind: str, data: bytes, at: int, entry: int, ram_size: int) -> Kernel:
    """Code without a word about the memory it needs."""
    if at + len(data) > ram_size:
        why = f"there are {ram_size // MIB} MiB of RAM (see -m)"
        raise ImageError(name, f"a kernel of {len(data)} bytes", f"address {at:#x}", why)
    if not at <= entry < at + len(data):
        raise ImageError(name, f"entry {entry:#x}", "its header", f"the kernel is at {at:#x} to {at + len(data):#x}")
    return Kernel(kind, entry, ((at, data),), (), at + len(data) + min(SLACK, ram_size // 8))


def _elf(name: str, data: bytes, ram_size: int) -> Kernel:
    if not elf.is_elf(data):
        raise ImageError(name, f"magic {data[:4].hex()}", "offset 0", f"an ELF file begins with {elf.MAGIC.hex()}")
    image = elf.parse(name, data, memory_map(ram_size), elf.POWERPC)
    if not any(part.physical <= image.entry < part.physical + part.size for part in image.segments):
        raise ImageError(name, f"entry {image.entry:#x}", "offset 24", "no segment is loaded there")
    segments, zeros = image.plan_parts()
    return Kernel("elf", image.entry, segments, zeros, image.end)


def initrd_content(name: str, data: bytes) -> bytes:
    """What a kernel is given of an initial RAM disk: the file, or the inside of a uImage. Raises ImageError."""
    if not uimage.is_uimage(data):
        return data
    image = uimage.parse(name, data)
    if image.kind != uimage.RAMDISK:
        what = uimage.TYPES.get(image.kind, "?")
        raise ImageError(name, f"type {image.kind} ({what})", "offset 30", "expected a RAM disk")
    return image.parts[0]


def read_tree(name: str, data: bytes) -> Tree:
    """A device tree that a person gave, with the nodes that a kernel cannot do without. Raises ImageError."""
    tree = fdt.read(name, data)
    cpus = tree.find("/cpus")
    if cpus is None or not any(node.texts("device_type") == ("cpu",) for node in cpus.children.values()):
        raise ImageError(name, "no processor", "/cpus", "expected a cpu node")
    memory = memory_node(tree)
    if memory is None:
        raise ImageError(name, "no memory node", "/", "expected /memory")
    if not 1 <= tree.root.address_cells <= 2 or not 1 <= tree.root.size_cells <= 2:
        raise ImageError(
            name, f"{tree.root.address_cells} address cells", "/", "expected 1 or 2, and as many for sizes"
        )
    return tree


def memory_node(tree: Tree) -> Node | None:
    """The first node that describes RAM."""
    for node in tree.root.children.values():
        if node.texts("device_type") == ("memory",) or node.name.split("@")[0] == "memory":
            return node
    return None


def set_memory(tree: Tree, ram_size: int) -> None:
    """RAM from 0, in the first memory node; others lose theirs."""
    first = memory_node(tree)
    for node in list(tree.root.children.values()):
        if node is not first and node.texts("device_type") == ("memory",):
            del tree.root.children[node.name]
    if first is None:
        first = tree.root.node("memory", device_type="memory")
    first.reg((0, ram_size))


@dataclass(frozen=True)
class Boot:
    """What a board boots: a kernel, and what goes with it.

    `tree` is changed: memory and `/chosen` are filled in. `stdout` is the path of the console's node, if the tree says
    nothing. `enter` gives the registers for (entry, address of the tree, end of all that was loaded).
    """

    kernel: Kernel
    tree: Tree
    ram_size: int
    enter: Callable[[int, int, int], Registers]
    initrd: bytes | None = None
    command_line: str = ""
    stdout: str | None = None
    floor: int = 0
    """Nothing is placed below this address, apart from the kernel."""
    payload: bytes | None = None
    """Where the kernel is firmware: a file for it, as it is, which `/chosen` calls `qemu,boot-kernel`."""


def boot_plan(name: str, boot: Boot) -> LoadPlan:
    """Kernel, RAM disk and device tree in their places. Raises ImageError; `name` is the kernel's file."""
    kernel, tree, ram_size = boot.kernel, boot.tree, boot.ram_size
    initrd = boot.initrd if boot.initrd is not None else kernel.initrd
    set_memory(tree, ram_size)
    choose(tree, name, boot.command_line, boot.stdout)
    chosen = tree.root.node("chosen")
    for key in ("linux,initrd-start", "linux,initrd-end"):
        if initrd is not None:
            chosen.set(key, 0)
        else:
            chosen.properties.pop(key, None)
    chosen.properties.pop("qemu,boot-kernel", None)
    reserved = len(tree.reservations)
    tree.reservations += [(0, 0)] * (1 if initrd is None else 2)
    segments = list(kernel.segments)
    above = _aligned(max(kernel.end, boot.floor), PAGE)
    if boot.payload is not None:
        _check_room(name, "a kernel", above, len(boot.payload), ram_size)
        chosen.set("qemu,boot-kernel", fdt.wide(above, 2) + fdt.wide(len(boot.payload), 2))
        segments.append((above, boot.payload))
        above = _aligned(above + len(boot.payload), PAGE)
    room = _aligned(len(tree.write()) + TREE_ROOM, PAGE)
    tree_at = max(_aligned(above, MIB), TREE_AT)  # U-Boot maps it by the MiB
    if tree_at + room + (0 if initrd is None else len(initrd) + MIB) > ram_size:
        tree_at = above
    _check_room(name, "a device tree", tree_at, room, ram_size)
    end = tree_at + room
    tree.reservations[reserved] = (tree_at, room)
    if initrd is not None:
        at = _aligned(end, MIB)
        if at + len(initrd) > ram_size:
            at = _aligned(end, PAGE)
        _check_room(name, "an initrd", at, len(initrd), ram_size)
        end = at + len(initrd)
        chosen.set("linux,initrd-start", at)
        chosen.set("linux,initrd-end", end)
        tree.reservations[reserved + 1] = (at, _aligned(len(initrd), PAGE))
        segments.append((at, initrd))
    segments.append((tree_at, tree.write()))
    registers = boot.enter(kernel.entry, tree_at, end)
    return LoadPlan(kernel.kind, kernel.entry, tuple(segments), kernel.zeros, registers)


def _check_room(name: str, what: str, at: int, size: int, ram_size: int) -> None:
    if at + size > ram_size:
        why = f"there are {ram_size // MIB} MiB of RAM (see -m)"
        raise ImageError(name, f"no room for {what} of {size} bytes", f"address {at:#x}", why)


def choose(tree: Tree, name: str, command_line: str, stdout: str | None) -> None:
    """Fill in `/chosen`: the command line, and the console where the tree names none. Raises ImageError."""
    chosen = tree.root.node("chosen")
    line = command_line.encode("utf-8", "surrogateescape")
    if b"\0" in line:
        raise ImageError(name, "a zero byte", "the command line", "it would end there")
    if len(line) > MAX_COMMAND_LINE:
        raise ImageError(name, f"a command line of {len(line)} bytes", "its end", f"at most {MAX_COMMAND_LINE} fit")
    if command_line or "bootargs" not in chosen:
        chosen.set("bootargs", line + b"\0")
    if stdout is not None and "linux,stdout-path" not in chosen and "stdout-path" not in chosen:
        chosen.set("linux,stdout-path", stdout)
        chosen.set("stdout-path", stdout)


def _aligned(value: int, step: int) -> int:
    return -(-value // step) * step
