from __future__ import annotations

import random

import pytest

from emu.media import missing
from emu.options import (
    DEVICES,
    MACHINES,
    TABLE,
    Chardev,
    Drive,
    ShowAndExit,
    UsageError,
    cpu_models,
    memory_size,
    parse,
    rtc_base,
    seconds,
    shown,
    split_commas,
    unescape,
)


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(words)
    text = str(caught.value)
    assert "\n" not in text
    return text


def listed(*words: str) -> str:
    with pytest.raises(ShowAndExit) as caught:
        parse(words)
    return str(caught.value)


def test_xv6_starts_with_its_own_arguments() -> None:
    words = "-serial mon:stdio -nographic -drive file=fs.img,index=1,media=disk,format=raw"
    words += " -drive file=xv6.img,index=0,media=disk,format=raw -smp 1 -m 512"
    config = parse(words.split())
    assert config.serial == [Chardev("stdio", mux=True)]
    assert [(d.file, d.index) for d in config.drives] == [("fs.img", 1), ("xv6.img", 0)]
    assert config.memory == 512 << 20
    assert config.warnings == []


def test_kunit_starts_with_its_own_arguments() -> None:
    config = parse(
        "-nodefaults -m 1024 -kernel bzImage -append kunit_shutdown=reboot -no-reboot -nographic -serial stdio".split()
    )
    assert config.serial == [Chardev("stdio")]
    assert (config.no_reboot, config.nodefaults, config.kernel) == (True, True, "bzImage")
    assert config.warnings == []


def test_options_take_one_dash_or_two_and_ours_an_equals_sign() -> None:
    assert parse(["--m", "64"]).memory == parse(["-m", "64"]).memory == 64 << 20
    assert parse(["-timeout", "5"]).timeout == parse(["--timeout=5s"]).timeout == 5.0


def test_the_first_serial_port_is_on_the_terminal_only_without_graphics() -> None:
    assert parse([]).serial == [Chardev("null")]
    assert parse(["-nographic"]).serial == [Chardev("stdio", mux=True)]
    assert parse(["-nographic", "-nodefaults"]).serial == []
    assert parse(["-nographic", "-serial", "file:x"]).serial == [Chardev("file", "x")]


def test_a_misspelt_option_gets_the_nearest_one() -> None:
    assert refused("-hd", "a.img") == "unknown option -hd; did you mean -hda?"
    assert refused("--expct", "x") == "unknown option --expct; did you mean --expect?"
    assert refused("-M", "cp").endswith("did you mean pc?")
    assert refused("-cpu", "pentum").endswith("did you mean pentium?")
    assert refused("-device", "isa-debugexit").endswith("did you mean isa-debug-exit?")
    assert refused("-d", "it").endswith("did you mean int?")
    assert refused("-drive", "fil=x").endswith("did you mean file?")


def test_processors_of_qemu_that_are_not_here_yet_give_way_with_one_warning() -> None:
    for name in ("Conroe", "Opteron_G1", "IvyBridge", "Skylake-Server-noTSX-IBRS", "EPYC-Rome-v2", "n270-v1", "kvm64"):
        config = parse(["-cpu", name])
        assert config.warnings == [f"-cpu {name}: not available yet; using qemu32"]
        assert config.cpu == "qemu32"
    assert parse(["-cpu", "486-v1"]).cpu == "486"
    assert parse(["-cpu", "486-v1"]).warnings == []
    assert "unknown CPU" in refused("-cpu", "Skylake-Servant")


def test_help_as_a_value_lists_the_choices() -> None:
    for name in MACHINES:
        assert name in listed("-M", "help")
    for name in cpu_models():
        assert name in listed("-cpu", "help")
    for name in DEVICES:
        assert name in listed("-device", "help")
        assert f"{name} options:" in listed("-device", f"{name},help")
    assert "unimp" in listed("-d", "help")


def test_the_help_names_the_command_that_was_called() -> None:
    for arch, name in ((None, "emu run"), ("x86", "emu-system-i386"), ("ppc", "emu-system-ppc")):
        with pytest.raises(ShowAndExit) as text:
            parse(["-help"], arch=arch)
        assert str(text.value).startswith(f"usage: {name} [")


def test_an_unknown_powerpc_is_answered_with_those_that_fit_the_board() -> None:
    for board, name, said in (
        ("bamboo", "pentium", "unknown CPU pentium; -M bamboo takes 440EP, 440EPb, 440EPa, 460EX"),
        ("ppce500", "440EP", "-M ppce500: 440EP is no processor for it; it takes e500v1,"),
        ("bamboo", "440xp", "unknown CPU 440xp; did you mean 440EP?"),
    ):
        with pytest.raises(UsageError) as error:
            parse(["-M", board, "-cpu", name], arch="ppc")
        assert str(error.value).startswith(said)


def test_the_help_has_a_line_that_xv6_greps_for() -> None:
    for word in ("-help", "--help", "-h"):
        assert any(line.startswith("-gdb") for line in listed(word).splitlines())


def test_an_option_without_its_argument_is_refused() -> None:
    for name, option in TABLE.items():
        if option.argument:
            assert refused(f"-{name}").startswith(f"-{name}: expected")


def test_what_is_not_available_yet_warns_once_and_strict_refuses_it() -> None:
    words = ["-enable-kvm", "-enable-kvm", "-audiodev", "none,id=a", "-device", "usb-tablet", "-smp", "2"]
    config = parse(words)
    assert config.warnings == [
        "-enable-kvm: not available yet; ignored",
        "-audiodev: not available yet; ignored",
        "-device usb-tablet: not available yet; not attached",
        "-smp 2: more than one processor is not available yet; running with one",
    ]
    assert refused("--strict", *words) == "-enable-kvm: not available yet; ignored (an error because of --strict)"


def test_asking_for_nothing_is_no_warning() -> None:
    words = "-net none -nic none -vga std -monitor none -parallel none -smp 1 -display none -M pc,accel=tcg -no-acpi"
    assert parse(words.split()).warnings == []


@pytest.mark.parametrize(
    ("words", "tier", "mib"),
    [
        ("", "auto", None),
        ("--accel jit", "jit", None),
        ("-accel jit,tb-size=8", "jit", 8),
        ("-accel tcg,thread=multi,tb-size=1024", "auto", 1024),
        ("-accel accel=interp", "interp", None),
        ("-M pc,accel=tcg -tb-size 1", "auto", 1),
        ("-accel reference", "reference", None),
    ],
)
def test_accel_names_the_tier_and_bounds_its_code(words: str, tier: str, mib: int | None) -> None:
    config = parse(words.split())
    assert (config.accel, config.jit_size, config.warnings) == (tier, mib and mib << 20, [])


def test_a_wrong_accel_is_refused_with_what_it_could_have_been() -> None:
    assert refused("--accel", "jt") == "unknown accelerator jt; did you mean jit?"
    assert refused("--accel", "jit:8") == "unknown accelerator 8; known: auto, interp, jit, reference"
    assert refused("--accel", "jit,tbsize=8") == "unknown -accel property tbsize; did you mean tb-size?"
    for size in ("0", "1025", "9" * 30):
        assert refused("--accel", f"jit,tb-size={size}").startswith("-accel tb-size: expected ")
    for size in ("", "junk", "8M", "-1", "1e3"):
        assert refused("--accel", f"jit,tb-size={size}") == f"-accel tb-size: expected a number, found '{size}'"
    assert listed("--accel", "help").splitlines()[1:] == ["auto", "jit", "interp", "reference"]


def test_commas_in_file_names_are_doubled() -> None:
    assert split_commas("file=a,,b,,,if=ide") == ["file=a,b,", "if=ide"]
    config = parse(["-drive", "file=my,,disk.img,snapshot=on,readonly"])
    assert config.drives == [Drive("my,disk.img", index=0, snapshot=True, read_only=True)]


def test_drives_without_a_place_take_the_first_free_one() -> None:
    config = parse(["a.img", "-hda", "b.img", "-cdrom", "c.iso", "-drive", "file=d.img,if=floppy"])
    places = {d.file: (d.interface, d.index) for d in config.drives}
    assert places == {"a.img": ("ide", 1), "b.img": ("ide", 0), "c.iso": ("ide", 2), "d.img": ("floppy", 0)}
    assert refused("-hda", "x", "-drive", "file=y,index=0") == "ide drive 0 is given twice: x, y"
    assert refused("a", "b", "c", "d", "e") == "too many ide drives; there is room for 4"


def test_a_drive_without_interface_is_attached_by_a_device() -> None:
    config = parse(["-drive", "if=none,id=d0,file=x", "-device", "ide-hd,drive=d0,bus=ide.1"])
    assert (config.drives[0].interface, config.drives[0].index) == ("ide", 2)
    assert refused("-device", "ide-hd,drive=zz") == "-device ide-hd: no -drive if=none,id=zz to attach"


@pytest.mark.parametrize(
    ("text", "size"), [("64", 64 << 20), ("1G", 1 << 30), ("2048K", 2 << 20), ("1.5g", 3 << 29), ("3584", 3584 << 20)]
)
def test_memory_sizes_have_suffixes(text: str, size: int) -> None:
    assert memory_size(text) == size
    assert parse(["-m", f"size={text},slots=2"]).memory == size


@pytest.mark.parametrize("text", ["", "0", "-5", "64X", "4G", "9" * 30, "1e3", "½", "0x10"])
def test_a_memory_size_that_makes_no_sense_is_refused(text: str) -> None:
    assert refused("-m", text or ",").startswith("-m") or text == ""


def test_numbers_are_bounded_before_they_are_converted() -> None:
    assert "expected a number" in refused("--max-insns", "9" * 5000)
    assert parse(["--max-insns", "3_000_000"]).max_insns == 3_000_000
    assert parse(["-echr", "0x14"]).escape == 0x14


def test_durations() -> None:
    assert [seconds(t) for t in ("60", "60s", "2m", "0.5", "250ms", "1h")] == [60, 60, 120, 0.5, 0.25, 3600]
    assert refused("--timeout", "soon").startswith("--timeout: expected seconds")


def test_dates() -> None:
    assert rtc_base("2024-02-29T23:59:58") == (2024, 2, 29, 23, 59, 58)
    assert parse(["-rtc", "base=utc,clock=vm"]).rtc == "utc"
    for bad in ("2023-02-29", "2024-13-01", "now", "2024-01-01T24:00:00"):
        assert refused("-rtc", f"base={bad}").startswith("-rtc base: expected")


def test_steps_of_a_script_keep_their_order() -> None:
    config = parse(["--expect", "login: ", "--send", r"root\n", "--expect", "# "])
    assert config.script == [("expect", "login: "), ("send", "root\n"), ("expect", "# ")]
    assert unescape(r"a\tb\\n\x41\e") == "a\tb\\nA\x1b"


def test_a_chardev_can_be_shared_but_stdio_has_one_user() -> None:
    config = parse("-chardev stdio,id=c -device isa-debugcon,chardev=c,iobase=0x402 -serial chardev:c".split())
    assert config.serial[0] is config.chardevs["c"]
    assert refused("-serial", "stdio", "-debugcon", "stdio") == "only one character device can use stdio"
    assert refused("-device", "isa-debugcon,chardev=x").startswith("unknown chardev x")
    assert refused("-serial", "stdo").endswith("did you mean stdio?")


def test_an_image_format_that_cannot_be_read_is_refused() -> None:
    assert "format=vdi: not supported" in refused("-drive", "file=x,format=vdi")
    assert refused("-drive", "file=x,format=rwa").endswith("did you mean raw?")


def test_an_image_that_ends_before_its_partitions_gets_a_warning() -> None:
    entry = bytes((0x80, 0, 0, 0, 0x83, 0, 0, 0)) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    head, drive = bytes(446) + entry + bytes(48) + b"\x55\xaa", Drive("a.img")
    assert missing(head, 1 << 20, drive) == "partition 1 ends at 3 MiB, the image at 1 MiB"
    assert missing(head, 3 << 20, drive) == ""
    assert missing(head.replace(b"\x83", b"\xee"), 1 << 20, drive) == ""
    volume = bytes(0x8001) + b"CD001" + bytes(74) + (1024).to_bytes(4, "little")
    assert "the CD-ROM's file system ends at 2 MiB" in missing(volume, 1 << 20, Drive("a.iso", media="cdrom"))


def test_names_are_shown_on_one_printable_line() -> None:
    assert shown("a\nb\x1b[0m\udcff\t") == "a\\nb\\x1b[0m\\xff\\t"
    assert len(shown("x" * 10_000)) == 200


def test_random_argument_vectors_end_in_a_config_or_one_line() -> None:
    rng = random.Random(2)
    words = [f"-{name}" for name in TABLE]
    words += [
        "file=a,index=1",
        "help",
        "stdio",
        "none",
        "x,y=z,,w",
        "a=b",
        "\udcff\n",
        "",
        "-",
        "--",
        "=",
        ",",
        "if=none",
    ]
    words += [
        "if=none",
        "chardev:zz",
        "9" * 60,
        "-1",
        "id=q",
        "isa-debugcon",
        "raw",
        "pc",
        "--=",
        "é",
        "file=,if=floppy,index=3",
    ]
    for _ in range(20_000):
        try:
            parse([rng.choice(words) for _ in range(rng.randrange(8))])
        except UsageError as error:
            assert "\n" not in str(error)
        except ShowAndExit as text:
            assert str(text)
