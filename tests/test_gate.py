"""What may not stand in the code: ways to run data as a program, and checks that vanish under -O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("emu", "cores", "devices", "bios", "images")
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if "build" not in p.parts)

MODULES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "code",
    "codeop",
    "pty",
    "imp",
    "runpy",
    "xmlrpc",
    "ctypes",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
DOTTED = {
    "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.spawnl", "os.posix_spawn",
    "yaml.load", "subprocess.getoutput", "subprocess.getstatusoutput", "tarfile.open", "shutil.unpack_archive",
    "builtins.eval", "builtins.exec", "tempfile.mktemp",
}  # fmt: skip
# The spec is Python that is compiled once more: the one place where text becomes code, and the text is ours.
ALLOWED = {("cores/lang/to_python.py", "exec"), ("cores/lang/to_python.py", "compile")}
# Who may start other programs: none of them ever handles a guest's or a peer's bytes as a command.
PROGRAMS = {
    "emu/tools/bench/emulators.py",
    "emu/tools/bench/measure.py",
    "emu/tools/sanitize.py",
    "emu/tools/doctor.py",
    "emu/engine/build.py",
    "images/bench/build.py",
    "images/debian/build.py",
    "images/demo/__main__.py",
    "images/linux_ppc/build.py",
    "images/loaders.py",
}
TIME = {"emu/clock.py"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def findings(source: str, name: str) -> Iterator[str]:
    """Lines that break a rule."""
    for node in ast.walk(ast.parse(source)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in names:
                top = module.split(".")[0]
                if top in MODULES:
                    yield f"{where}: imports {module}"
                if top == "subprocess" and name not in PROGRAMS:
                    yield f"{where}: may not start programs"
                if top == "time" and name not in TIME:
                    yield f"{where}: only emu/clock.py knows the time"
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in BUILTINS and (name, called) not in ALLOWED:
                yield f"{where}: calls {called}"
            if called in DOTTED or called.endswith(".extractall"):
                yield f"{where}: calls {called}"
            for keyword in node.keywords:
                if keyword.arg == "shell":
                    yield f"{where}: names a shell"
        elif isinstance(node, ast.Assert):
            yield f"{where}: a check that vanishes under -O"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_file_runs_data_as_a_program(path: Path) -> None:
    assert list(findings(path.read_text(), relative(path))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from marshal import loads", "eval('1')", "exec('x')", "compile('x', '', 'exec')",
        "__import__('os')", "import subprocess", "import os; os.system('ls')", "f(shell=True)", "yaml.load(x)",
        "t.extractall()", "assert x", "import time", "from time import sleep", "import ctypes",
    ],
)  # fmt: skip
def test_the_gate_sees_each_of_them(line: str) -> None:
    assert list(findings(line, "emu/x.py"))


def test_the_gate_looks_at_all_of_it() -> None:
    assert len(FILES) > 100
    names = {relative(path) for path in FILES}
    assert {name for name, _ in ALLOWED} | TIME <= names
