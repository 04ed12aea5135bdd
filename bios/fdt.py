"""Flattened device trees: a small tree of nodes, read from and written to the format that kernels are handed.

`read` takes a file nobody has checked and refuses it with an ImageError that names the field or the node; `Tree.write`
gives version 17, the same bytes for the same tree. Source: Devicetree Specification v0.4, chapters 2 and 5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bios.plan import ImageError

MAGIC = 0xD00DFEED
VERSION, COMPATIBLE = 17, 16
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
HEADER = struct.Struct(">10I")

MAX_SIZE = 1 << 20
MAX_DEPTH = 64
MAX_RESERVATIONS = 1024
MAX_NAME = 255

_NODE_NAME = re.compile(r"[0-9A-Za-z,._+@-]{1,255}")
_PROPERTY_NAME = re.compile(r"[0-9A-Za-z,._+?#-]{1,255}")

Value: TypeAlias = "bytes | str | int | Sequence[str | int | Node] | None"
"""A property's value: bytes as they are, text, a cell, a list of texts, a list of cells (a node: its phandle)."""


class Node:
    """One node: `name` with its unit address, `properties` and `children` in their order."""

    def __init__(self, name: str, parent: Node | None = None) -> None:
        self.name = name
        self.parent = parent
        self.properties: dict[str, bytes] = {}
        self.children: dict[str, Node] = {}

    def __repr__(self) -> str:
        return f"<Node {self.path}>"

    @property
    def path(self) -> str:
        """The full path, "/" for the root."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    @property
    def root(self) -> Node:
        return self if self.parent is None else self.parent.root

    def __contains__(self, name: str) -> bool:
        return name in self.properties

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    # -- making

    def node(self, name: str, **values: Value) -> Node:
        """The child of this name, made if it is not there; keywords set properties."""
        child = self.children.get(name)
        if child is None:
            if not _NODE_NAME.fullmatch(name):
                raise ValueError(f"{self.path}: {name!r} is no node name")
            child = self.children[name] = Node(name, self)
        for key, value in values.items():
            child.set(key, value)
        return child

    def set(self, name: str, value: Value = None) -> None:
        """Set a property; None makes an empty one. Raises ValueError for a name or value that cannot be one."""
        if not _PROPERTY_NAME.fullmatch(name):
            raise ValueError(f"{self.path}: {name!r} is no property name")
        self.properties[name] = self._encoded(value)

    def _encoded(self, value: Value) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bytes):
            return value
        if isinstance(value, int):
            return cells(value)
        if isinstance(value, str):
            return _text(value)
        return b"".join(
            _text(part) if isinstance(part, str) else cells(part.phandle() if isinstance(part, Node) else part)
            for part in value
        )

    def phandle(self) -> int:
        """The number by which other nodes refer to this one, given at the first question."""
        known = self.number("phandle") or self.number("linux,phandle")
        if known is None:
            taken = (node.number("phandle") or node.number("linux,phandle") or 0 for node in self.root.walk())
            known = max(taken, default=0) + 1
            self.set("phandle", known)
        return known

    # -- looking

    def find(self, path: str) -> Node | None:
        """The node at a path below this one ("/" at the start: from the root). A unit address may be left out."""
        here: Node | None = self.root if path.startswith("/") else self
        for part in path.split("/"):
            if part and here is not None:
                here = here.children.get(part) or here._without_unit(part)
        return here

    def _without_unit(self, name: str) -> Node | None:
        return next((child for child in self.children.values() if child.name.split("@")[0] == name), None)

    def number(self, name: str) -> int | None:
        """The value of a property that is one cell; None if it is not there or not one cell."""
        value = self.properties.get(name, b"")
        return int.from_bytes(value, "big") if len(value) == 4 else None

    def cells(self, name: str) -> tuple[int, ...]:
        """A property's cells; () if it is not there or not made of cells."""
        value = self.properties.get(name, b"")
        return struct.unpack(f">{len(value) // 4}I", value) if len(value) % 4 == 0 else ()

    def texts(self, name: str) -> tuple[str, ...]:
        """A property's texts; () if it is not there."""
        value = self.properties.get(name, b"")
        return tuple(part.decode("latin-1") for part in value.split(b"\0")[:-1])

    @property
    def address_cells(self) -> int:
        """Cells of an address in this node's children; 2 where it does not say."""
        known = self.number("#address-cells")
        return 2 if known is None else known

    @property
    def size_cells(self) -> int:
        """Cells of a size in this node's children; 1 where it does not say."""
        known = self.number("#size-cells")
        return 1 if known is None else known

    def reg(self, *ranges: tuple[int, int]) -> None:
        """Set `reg` from (address, size) pairs, in the parent's cells."""
        parent = self.parent or self
        parts = (wide(a, parent.address_cells) + wide(size, parent.size_cells) for a, size in ranges)
        self.set("reg", b"".join(parts))


@dataclass
class Tree:
    """A device tree with the memory that its user must keep: (address, size) pairs."""

    root: Node = field(default_factory=lambda: Node(""))
    reservations: list[tuple[int, int]] = field(default_factory=list)
    boot_cpu: int = 0

    def find(self, path: str) -> Node | None:
        return self.root.find(path)

    def write(self) -> bytes:
        """The flattened tree."""
        strings = bytearray()
        offsets: dict[str, int] = {}
        parts: list[bytes] = []

        def put(node: Node) -> None:
            parts.append(struct.pack(">I", BEGIN_NODE) + _padded(node.name.encode("ascii") + b"\0"))
            for name, value in node.properties.items():
                if name not in offsets:
                    offsets[name] = len(strings)
                    strings.extend(name.encode("ascii") + b"\0")
                parts.append(struct.pack(">III", PROP, len(value), offsets[name]) + _padded(value))
            for child in node.children.values():
                put(child)
            parts.append(struct.pack(">I", END_NODE))

        put(self.root)
        body = b"".join(parts) + struct.pack(">I", END)
        reserved = b"".join(struct.pack(">QQ", *pair) for pair in (*self.reservations, (0, 0)))
        structure_at = HEADER.size + len(reserved)
        strings_at = structure_at + len(body)
        total = strings_at + len(strings)
        places = (total, structure_at, strings_at, HEADER.size)
        head = HEADER.pack(MAGIC, *places, VERSION, COMPATIBLE, self.boot_cpu, len(strings), len(body))
        return head + reserved + body + bytes(strings)


def cells(*values: int) -> bytes:
    """32-bit big-endian cells. Raises ValueError for a number that does not fit one."""
    if any(not 0 <= value < 1 << 32 for value in values):
        raise ValueError(f"{values} do not fit 32-bit cells")
    return struct.pack(f">{len(values)}I", *values)


def wide(value: int, count: int) -> bytes:
    """A number in `count` cells, the highest first. Raises ValueError if it does not fit."""
    if not 0 <= value < 1 << 32 * count and value:
        raise ValueError(f"{value:#x} does not fit {count} cells")
    return value.to_bytes(4 * count, "big")


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError("a text with a zero byte")
    return data + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


# -- reading


def read(name: str, data: bytes) -> Tree:
    """The tree in a dtb file, each field of it checked. Raises ImageError; `name` is the file's, for the message."""
    return _Reader(name, data).tree()


class _Reader:
    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data

    def bad(self, what: str, where: str, why: str) -> ImageError:
        return ImageError(self.name, what, where, why)

    def tree(self) -> Tree:
        data = self.data
        if len(data) < HEADER.size:
            raise self.bad(f"{len(data)} bytes", "its end", f"the header of a device tree has {HEADER.size}")
        magic, total, structure, strings, reserve, version, compatible, cpu, strings_size, size = HEADER.unpack_from(
            data
        )
        if magic != MAGIC:
            raise self.bad(f"magic {magic:#010x}", "offset 0", f"a device tree begins with {MAGIC:#x}")
        if version < COMPATIBLE or not COMPATIBLE <= compatible <= VERSION or compatible > version:
            found = f"version {version}, compatible with {compatible}"
            raise self.bad(found, "offset 0x14", f"expected version {COMPATIBLE} or {VERSION}")
        if not HEADER.size <= total <= MAX_SIZE:
            raise self.bad(f"a size of {total} bytes", "offset 4", f"expected {HEADER.size} to {MAX_SIZE}")
        if total > len(data):
            raise self.bad(f"a size of {total} bytes", "offset 4", f"the file has {len(data)}")
        if version < VERSION:
            size = (strings if strings > structure else total) - structure
        self._block("structure", 8, structure, size, total, 4)
        self._block("strings", 12, strings, strings_size, total, 1)
        self._block("reservation", 16, reserve, 16, total, 8)
        if structure < strings + strings_size and strings < structure + size:
            raise self.bad(f"strings at {strings:#x}", "offset 12", "they overlap the structure")
        self.names = data[strings : strings + strings_size]
        reservations = self._reservations(reserve, min([at for at in (structure, strings) if at > reserve] + [total]))
        return Tree(self._nodes(structure, structure + size // 4 * 4), reservations, cpu)

    def _block(self, what: str, field: int, at: int, size: int, total: int, align: int) -> None:
        if at < HEADER.size or at % align or size < 0 or at + size > total:
            found = f"the {what} block at {at:#x}, {size} bytes"
            raise self.bad(found, f"offset {field:#x}", f"expected it aligned to {align}, inside {total} bytes")

    def _reservations(self, at: int, end: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while at + 16 <= end and len(found) <= MAX_RESERVATIONS:
            start, size = struct.unpack_from(">QQ", self.data, at)
            if start == size == 0:
                return found
            if start + size > 1 << 64:
                raise self.bad(f"a reservation of {size:#x} bytes at {start:#x}", f"offset {at:#x}", "it wraps around")
            found.append((start, size))
            at += 16
        raise self.bad(f"{len(found)} reservations", f"offset {at:#x}", "the list does not end")

    def _nodes(self, at: int, end: int) -> Node:
        root: Node | None = None
        here: Node | None = None
        depth = 0
        while at + 4 <= end:
            (token,) = struct.unpack_from(">I", self.data, at)
            where = f"offset {at:#x}"
            at += 4
            if token == NOP:
                continue
            if token == END:
                if root is None or here is not None:
                    raise self.bad("the end of the tree", where, f"{here.path if here else 'the root'} is not complete")
                return root
            if token == BEGIN_NODE:
                text, at = self._node_name(at, end, root is None)
                if root is None:
                    here = root = Node("")
                elif here is None:
                    raise self.bad("a second root node", where, "a tree has one")
                elif depth >= MAX_DEPTH:
                    raise self.bad(f"nodes nested deeper than {MAX_DEPTH}", where, f"below {here.path[:60]}...")
                elif text in here.children:
                    raise self.bad(f"a second node {text}", where, f"{here.path} has one")
                else:
                    here.children[text] = here = Node(text, here)
                depth += 1
            elif token == END_NODE and here is not None:
                here = here.parent
                depth -= 1
            elif token == PROP and here is not None:
                at = self._property(here, at, end)
            else:
                raise self.bad(f"token {token:#x}", where, f"not expected {'in ' + here.path if here else 'here'}")
        raise self.bad("the structure block", f"offset {end:#x}", "it stops before its end token")

    def _node_name(self, at: int, end: int, is_root: bool) -> tuple[str, int]:
        stop = self.data.find(b"\0", at, min(end, at + MAX_NAME + 1))
        if stop < 0:
            raise self.bad("a node name", f"offset {at:#x}", f"it does not end within {MAX_NAME} bytes")
        text = self.data[at:stop].decode("latin-1")
        if is_root:
            if text not in ("", "/"):
                raise self.bad(f"a root node named {text!r}", f"offset {at:#x}", "it has no name")
        elif not _NODE_NAME.fullmatch(text):
            raise self.bad(f"a node named {text!r}", f"offset {at:#x}", "expected letters, digits and ,._+-@")
        return text, at + (stop + 1 - at + 3 & ~3)

    def _property(self, node: Node, at: int, end: int) -> int:
        where = f"offset {at - 4:#x}"
        if at + 8 > end:
            raise self.bad(f"a property of {node.path}", where, "the structure block ends in it")
        size, name_at = (int.from_bytes(self.data[at + n : at + n + 4], "big") for n in (0, 4))
        stop = self.names.find(b"\0", name_at, name_at + MAX_NAME + 1) if name_at < len(self.names) else -1
        if stop < 0:
            found = f"a property of {node.path} with its name at {name_at:#x}"
            raise self.bad(found, where, f"no name there in {len(self.names)} bytes of strings")
        text = self.names[name_at:stop].decode("latin-1")
        if not _PROPERTY_NAME.fullmatch(text):
            raise self.bad(f"a property of {node.path} named {text!r}", where, "expected letters, digits and ,._+?#-")
        at += 8
        if at + size > end:
            raise self.bad(f"{size} bytes in {node.path}:{text}", where, f"the structure block ends at {end:#x}")
        if node.children:
            raise self.bad(f"property {node.path}:{text}", where, "properties come before child nodes")
        if text in node.properties:
            raise self.bad(f"a second property {node.path}:{text}", where, "a node has one of a name")
        node.properties[text] = self.data[at : at + size]
        return at + (size + 3 & ~3)
