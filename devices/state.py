"""Declared state: dataclass fields that know their own range, so a snapshot is checked value by value.

A device's `State` is a dataclass whose fields come from the functions below. `dump` turns one into plain data (ints,
bools, bytes, lists, dicts), `restore` builds a new one from plain data and refuses anything else, naming the field.
The data may come from a hostile file: nothing is stored before everything is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

T = TypeVar("T")

MAX_TIME = 1 << 62
"""Upper bound, in virtual ns, of any point in time held in a snapshot (146 years)."""

Check = Callable[[str, object], Any]


def _integer(name: str, value: object, low: int, high: int) -> int:
    if type(value) is not int:
        raise ValueError(f"{name}: expected an integer, found {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: {value} is outside {low}..{high}")
    return value


def _field(default: Any, check: Check, dump: Callable[[Any], object]) -> Any:
    meta = {"check": check, "dump": dump}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def ranged(low: int, high: int, default: int = 0) -> Any:
    """An integer in low..high, both included."""
    return _field(default, lambda name, value: _integer(name, value, low, high), int)


def uint(bits: int, default: int = 0) -> Any:
    """An unsigned integer of `bits` bits."""
    return ranged(0, (1 << bits) - 1, default)


def flag(default: bool = False) -> Any:
    """A bool."""

    def check(name: str, value: object) -> bool:
        if type(value) is not bool:
            raise ValueError(f"{name}: expected true or false, found {type(value).__name__}")
        return value

    return _field(default, check, bool)


def time() -> Any:
    """A point in virtual time in ns."""
    return ranged(0, MAX_TIME)


def deadline() -> Any:
    """A point in virtual time in ns, or None."""

    def check(name: str, value: object) -> int | None:
        return None if value is None else _integer(name, value, 0, MAX_TIME)

    return _field(None, check, lambda value: value)


def choice(*values: str) -> Any:
    """One of a few words; the first is the default."""

    def check(name: str, value: object) -> str:
        if type(value) is not str or value not in values:
            raise ValueError(f"{name}: expected one of {', '.join(values)}")
        return value

    return _field(values[0], check, str)


def uints(count: int, bits: int, default: int = 0) -> Any:
    """A list of exactly `count` unsigned integers of `bits` bits."""
    return _list(count, count, bits, lambda: [default] * count)


def queue(limit: int, bits: int = 8) -> Any:
    """A list of at most `limit` unsigned integers of `bits` bits, empty at reset."""
    return _list(0, limit, bits, list)


def _list(least: int, most: int, bits: int, default: Callable[[], list[int]]) -> Any:
    def check(name: str, value: object) -> list[int]:
        if type(value) is not list or not least <= len(value) <= most:
            raise ValueError(f"{name}: expected a list of {least}..{most} integers")
        return [_integer(f"{name}[{i}]", item, 0, (1 << bits) - 1) for i, item in enumerate(value)]

    return _field(default, check, list)


def octets(most: int, least: int = 0) -> Any:
    """A bytearray of least..most bytes, `least` zero bytes at reset; plain `bytes` in a snapshot."""

    def check(name: str, value: object) -> bytearray:
        if type(value) is not bytes or not least <= len(value) <= most:
            raise ValueError(f"{name}: expected {least}..{most} bytes")
        return bytearray(value)

    return _field(lambda: bytearray(least), check, bytes)


def records(count: int, kind: type[Any]) -> Any:
    """A list of exactly `count` nested state dataclasses."""

    def check(name: str, value: object) -> list[Any]:
        if type(value) is not list or len(value) != count:
            raise ValueError(f"{name}: expected a list of {count} records")
        return [restore(kind, item, f"{name}[{i}]") for i, item in enumerate(value)]

    return _field(lambda: [kind() for _ in range(count)], check, lambda value: [dump(item) for item in value])


def some_records(most: int, kind: type[Any]) -> Any:
    """A list of at most `most` nested state dataclasses, empty at reset."""

    def check(name: str, value: object) -> list[Any]:
        if type(value) is not list or len(value) > most:
            raise ValueError(f"{name}: expected a list of at most {most} records")
        return [restore(kind, item, f"{name}[{i}]") for i, item in enumerate(value)]

    return _field(list, check, lambda value: [dump(item) for item in value])


def record(kind: type[Any]) -> Any:
    """One nested state dataclass."""
    return _field(kind, lambda name, value: restore(kind, value, name), dump)


def dump(state: Any) -> dict[str, object]:
    """The plain data of a state dataclass."""
    return {f.name: f.metadata["dump"](getattr(state, f.name)) for f in fields(state)}


def restore(kind: type[T], data: object, where: str = "") -> T:
    """A new `kind` made from plain data. Raises ValueError that names the first bad, missing or unknown field."""
    prefix = f"{where}." if where else ""
    if type(data) is not dict:
        raise ValueError(f"{where or kind.__name__}: expected a record, found {type(data).__name__}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise ValueError(f"{prefix}{str(name)[:40]}: no such field")
    values = {}
    for name, f in known.items():
        if name not in data:
            raise ValueError(f"{prefix}{name}: missing")
        if "check" not in f.metadata:
            raise TypeError(
                f"{kind.__name__}.{name} is not declared with devices.state (default {f.default is MISSING})"
            )
        values[name] = f.metadata["check"](f"{prefix}{name}", data[name])
    return kind(**values)
