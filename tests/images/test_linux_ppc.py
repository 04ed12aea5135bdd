"""What `images.linux_ppc` makes without a compiler: archives, configurations, lists of sources."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from images.linux_ppc import build
from images.linux_ppc.cpio import archive, character, directory, regular, symlink

COMMON = (build.HERE / "common.config").read_text(encoding="utf-8")


def unpacked(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Mode, content and device of each name, read as Linux reads it."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * k : at + 14 + 8 * k], 16) for k in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        start = at + 110 + fields[11] + 3 & ~3
        content = data[start : start + fields[6]]
        at = start + fields[6] + 3 & ~3
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        found[name] = (fields[1], content, (fields[9], fields[10]))


def test_an_archive_holds_what_was_put_into_it() -> None:
    entries = [directory("dev"), character("dev/console", 5, 1), regular("x", b"12345", 0o755), symlink("init", "/x")]
    assert unpacked(archive(entries)) == {
        "dev": (stat.S_IFDIR | 0o755, b"", (0, 0)),
        "dev/console": (stat.S_IFCHR | 0o600, b"", (5, 1)),
        "x": (stat.S_IFREG | 0o755, b"12345", (0, 0)),
        "init": (stat.S_IFLNK | 0o777, b"/x", (0, 0)),
    }


def test_the_root_has_busybox_under_its_names_and_a_login_on_the_serial_port() -> None:
    names = ["/bin/sh", "/sbin/init", "/bin/busybox"]
    found = unpacked(archive(build.root_entries(b"ELF", names, build.HERE / "root")))
    assert found["bin/busybox"] == (stat.S_IFREG | 0o755, b"ELF", (0, 0))
    assert found["init"][1] == found["bin/sh"][1] == b"/bin/busybox"
    assert found["etc/rc"][0] & 0o111 and not found["etc/passwd"][0] & 0o111
    assert b"getty -L 115200 ttyS0" in found["etc/inittab"][1]
    parents = {name.rpartition("/")[0] for name in found} - {""}
    assert all(stat.S_ISDIR(found[parent][0]) for parent in parents)


def test_a_fragment_takes_the_place_of_settings_and_what_is_lost_is_named() -> None:
    old = "# CONFIG_A is not set\nCONFIG_B=y\n# words\nCONFIG_C=3\n"
    fragment = "# CONFIG_X: not a setting\nCONFIG_A=y\nCONFIG_C=4\n# CONFIG_D is not set\nCONFIG_E=y\n"
    new = build.with_settings(old, fragment)
    assert new == "CONFIG_A=y\nCONFIG_B=y\n# words\nCONFIG_C=4\n"
    assert build.lost(new, fragment) == ["CONFIG_E=y"]
    assert build.lost("CONFIG_D=y\n", "# CONFIG_D is not set\n") == ["# CONFIG_D is not set"]


@pytest.mark.parametrize("name", build.KERNELS)
def test_no_setting_of_a_kernel_stands_twice(name: str) -> None:
    own = (build.HERE / f"{name}.config").read_text(encoding="utf-8")
    assert not set(build.settings(COMMON)) & set(build.settings(own))


def test_sources_come_from_debian_only() -> None:
    debian = "a:/debian/|stable|main|Debian\n"
    shown = debian + debian + "b:/|x|main|Other\na:/debian/|stable|contrib|Debian\n"
    assert build.source_list(shown) == f"deb-src [signed-by={build.KEYRING}] a:/debian/ stable main\n"
    with pytest.raises(build.BuildError, match="apt-get update"):
        build.source_list("b:/|x|main|Other\n")


def test_missing_packages_are_named_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "PACKAGES", ("no-such-package-1", "no-such-package-2"))
    assert build.main([str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith("apt-get install no-such-package-1 no-such-package-2\n")
    assert not (tmp_path / "out").exists()
