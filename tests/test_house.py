"""The rules of the house that a machine can check: who imports whom, and what is on no input path."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEAVES = ("cores", "devices", "bios")
PACKAGES = ("emu", "images", *LEAVES)
STANDARD = frozenset(sys.stdlib_module_names)

# Third-party and first-party packages that the files of each folder may import, beside the standard library.
ALLOWED = {
    "cores": {"cores"},
    "devices": {"devices"},
    "bios": {"bios"},
    "emu": {"emu", "cores", "devices", "bios", "cffi", "numpy"},
    "images": {"images", "emu", "cores", "devices", "bios"},
}

# Modules that only the named files (or folders) may import.
ONLY = {
    "cffi": ("emu/engine/",),
    "numpy": ("emu/",),
    "time": ("emu/clock.py",),
    "datetime": (),
    "random": (),
    "secrets": (),
    "pickle": (),
    "marshal": (),
    "shelve": (),
}

# Inside a folder: what the parts of it may import from it.
INSIDE = {
    "cores/ppc/": {"cores.ppc", "cores.lang"},
    "cores/x86/": {"cores.x86", "cores.lang"},
    "cores/lang/": {"cores.lang"},
}


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if "build" not in path.relative_to(ROOT).parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@lru_cache(None)
def tree(path: Path) -> ast.Module:
    """A file, read once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache(None)
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and full module name of every import, those inside functions and TYPE_CHECKING included."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            module = base + (node.module or "")
            yield node.lineno, module.rstrip(".")
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}".replace("..", ".")


def test_there_are_sources_to_check() -> None:
    assert len(sources()) > 20


def test_the_leaves_know_only_the_standard_library_and_themselves() -> None:
    wrong = []
    for path in sources():
        allowed = ALLOWED[path.relative_to(ROOT).parts[0]] | STANDARD
        wrong += [
            f"{name(path)}:{line}: {module}" for line, module in imports(path) if module.split(".")[0] not in allowed
        ]
    assert wrong == []


@pytest.mark.parametrize("module", sorted(ONLY))
def test_a_restricted_module_is_imported_only_where_it_belongs(module: str) -> None:
    wrong = [
        f"{name(path)}:{line}"
        for path in sources()
        if not any(name(path).startswith(home) for home in ONLY[module])
        for line, imported in imports(path)
        if imported == module or imported.startswith(module + ".")
    ]
    assert wrong == []


def test_instruction_sets_do_not_know_one_another() -> None:
    wrong = []
    for folder, allowed in INSIDE.items():
        for path in sources():
            if name(path).startswith(folder):
                wrong += [
                    f"{name(path)}:{line}: {module}"
                    for line, module in imports(path)
                    if module.count(".") and module.startswith("cores.")
                    if not any(module == home or module.startswith(home + ".") for home in allowed)
                ]
    assert wrong == []


def test_only_the_boards_and_the_session_know_the_devices() -> None:
    allowed = (
        "emu/boards/",
        "emu/plug",
        "emu/media.py",
        "emu/monitor/",
        "emu/tools/",
        "emu/machine.py",
        "emu/display/",
    )
    wrong = [
        f"{name(path)}:{line}: {module}"
        for path in sources()
        if name(path).startswith("emu/") and not name(path).startswith(allowed)
        for line, module in imports(path)
        if module.startswith("devices") and not module.startswith(("devices.contracts", "devices.ethernet"))
    ]
    assert wrong == []


def test_nothing_evaluates_or_unpickles_what_it_reads() -> None:
    """P4. `cores/lang` compiles source that it generated itself."""
    wrong = []
    for path in sources():
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if called in ("eval", "exec", "compile", "__import__") and not name(path).startswith("cores/lang/"):
                wrong.append(f"{name(path)}:{node.lineno}: {called}")
            if any(k.arg == "shell" and getattr(k.value, "value", None) for k in node.keywords):
                wrong.append(f"{name(path)}:{node.lineno}: shell=True")
            text = ast.unparse(node.func)
            if text in ("os.system", "os.popen") or text.endswith(".extractall"):
                wrong.append(f"{name(path)}:{node.lineno}: {text}")
    assert wrong == []


def test_input_is_never_checked_by_assert() -> None:
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    texts = {name(path): path.read_text(encoding="utf-8") for path in sources()}
    silent = [path for path, text in texts.items() if text.strip() and not ast.get_docstring(tree(ROOT / path))]
    assert silent == []


def test_every_folder_has_a_guide_that_ends_in_how_to_add_one() -> None:
    for package in ("emu", *LEAVES):
        guide = ROOT / package / "README.md"
        assert guide.exists(), f"{package}/README.md is missing"
        text = guide.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 120, f"{package}/README.md is longer than two pages"
        assert "## To add" in text, f"{package}/README.md does not say how to add one"


def test_generated_code_is_not_tracked() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    for pattern in ("build/", "*.so", "emu/engine/_x86*"):
        assert pattern in ignored
