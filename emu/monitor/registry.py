"""The one list of monitor commands, for people (HMP: words on a line) and for programs (QMP: JSON).

A command is a function `f(control, ...)`. Its parameters are declared once, by its signature: annotations `int`,
`float`, `bool`, `str`, `dict` and `list` (also `| None`) are what QMP checks, with `_` written as `-`; a default makes
one optional. `@qmp` gives it to programs: what it returns is the reply, None the empty record. `@hmp` gives it to
people, with a line of arguments for them: what it returns is printed. A command that cannot be carried out raises
`Refused`, whose text goes to whoever asked.

HMP arguments, separated by blanks in `args`; an argument whose type ends in `?` may be missing:

    -f      a letter: the bool parameter named in `flags` is True when it is there
    name:w  a word, or a text in double quotes        name:i  an expression that is a number (`emu.monitor.words`)
    name:r  the rest of the line                      name:b  on or off
    fmt:/   /COUNT FORMAT SIZE as in `x /4wx`         name:M  a number of MiB, or one with a suffix
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from emu.monitor.control import Control

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)


class Refused(Exception):
    """A command that cannot be carried out, and why in one line; `kind` is QMP's class of the error."""

    def __init__(self, text: str, kind: str = "GenericError") -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Parameter:
    """One parameter of a QMP command."""

    name: str
    kinds: tuple[type, ...]
    optional: bool


@dataclass(frozen=True)
class QmpCommand:
    """A command for programs."""

    name: str
    run: Handler
    parameters: Mapping[str, Parameter]
    early: bool = False
    """Allowed before the capabilities are negotiated, and only then."""

    def call(self, control: Control, arguments: dict[str, Any]) -> Any:
        """Check the arguments and carry it out. Raises Refused."""
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            parameter = self.parameters.get(name)
            if parameter is None:
                raise Refused(f"Parameter '{name[:100]}' is unexpected")
            given[name.replace("-", "_")] = _checked(parameter, value)
        for parameter in self.parameters.values():
            if not parameter.optional and parameter.name not in arguments:
                raise Refused(f"Parameter '{parameter.name}' is missing")
        return self.run(control, **given)


@dataclass(frozen=True)
class HmpCommand:
    """A command for people: `args` as above, `shown` how they are written in the help."""

    names: tuple[str, ...]
    run: Handler
    args: tuple[str, ...]
    shown: str
    help: str
    flags: Mapping[str, str] = field(default_factory=dict)

    def line(self, prefix: str = "") -> str:
        """Its line of help."""
        return f"{prefix}{'|'.join(self.names)} {self.shown} -- {self.help}"


QMP: dict[str, QmpCommand] = {}
HMP: dict[str, HmpCommand] = {}
INFO: dict[str, HmpCommand] = {}


def qmp(*names: str, early: bool = False) -> Callable[[F], F]:
    """Give a function to programs."""

    def add(function: F) -> F:
        for name in names:
            QMP[name] = QmpCommand(name, function, _parameters(function), early)
        return function

    return add


def hmp(names: str, args: str = "", shown: str = "", help: str = "", **flags: str) -> Callable[[F], F]:
    """Give a function to people; `names` are separated by bars. `flags` maps letters to parameters."""

    def add(function: F) -> F:
        command = HmpCommand(tuple(names.split("|")), function, tuple(args.split()), shown, help, flags)
        for name in command.names:
            HMP[name] = command
        return function

    return add


def info(name: str, help: str, args: str = "", shown: str = "", **flags: str) -> Callable[[F], F]:
    """Give a function to people as `info NAME`."""

    def add(function: F) -> F:
        INFO[name] = HmpCommand((name,), function, tuple(args.split()), shown, help, flags)
        return function

    return add


def unique(table: Mapping[str, HmpCommand]) -> Iterable[HmpCommand]:
    """The commands of a table, each once, by name."""
    return [command for name, command in sorted(table.items()) if name == command.names[0]]


def _parameters(function: Handler) -> dict[str, Parameter]:
    hints = get_type_hints(function, {"Control": object, **vars(inspect.getmodule(function))})
    found = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints[name]
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        plain = tuple(get_origin(kind) or kind for kind in kinds if kind is not type(None))
        spelled = name.replace("_", "-")
        found[spelled] = Parameter(spelled, plain, parameter.default is not parameter.empty)
    return found


_SPELLED = {int: "integer", float: "number", bool: "boolean", str: "string", dict: "object", list: "array"}


def _checked(parameter: Parameter, value: Any) -> Any:
    if object in parameter.kinds or Any in parameter.kinds:
        return value
    for kind in parameter.kinds:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
    raise Refused(f"Invalid parameter type for '{parameter.name}', expected: {_SPELLED[parameter.kinds[0]]}")
