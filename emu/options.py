"""The command line of `emu run` and of the drop-in names `emu-system-*`.

QEMU's options with one dash or two, plus our own long ones. `parse` turns a list of words into a `Config`, which is
plain data; nothing is opened here. What QEMU has and Emu has not yet is accepted with one warning (`--strict`: an
error). Syntax and defaults follow the QEMU manual, "Invocation".
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.display.options import Vnc
    from emu.net.options import Netdev

VERSION = "0.1.0"

MACHINES = {
    "pc": "PC with i440FX, PIIX3 and one processor (default)",
    "bamboo": "AMCC Bamboo, PowerPC 440EP (default of emu-system-ppc)",
    "sam460ex": "AMCC Canyonlands, PowerPC 460EX",
    "mpc8544ds": "Freescale MPC8544DS, PowerPC e500v2",
    "ppce500": "paravirtual e500 board of QEMU, PowerPC e500v2 or e500mc",
}
MACHINE_ALIASES = {"canyonlands": "sam460ex"}


@dataclass(frozen=True)
class Cores:
    """The processors of a machine: instruction set, the default, and the feature that all must have."""

    arch: str
    default: str
    feature: str = ""


CORES = {
    "pc": Cores("x86", "qemu32"),
    "bamboo": Cores("ppc", "440EP", "440"),
    "sam460ex": Cores("ppc", "460EX", "440"),
    "mpc8544ds": Cores("ppc", "e500v2", "e500"),
    "ppce500": Cores("ppc", "e500v2", "e500"),
}
DEFAULT_MACHINE = {"x86": "pc", "ppc": "bamboo"}
DEVICES: dict[str, dict[str, str]] = {
    "isa-debug-exit": {"iobase": "first port (default 0x501)", "iosize": "number of ports (default 2)"},
    "isa-debugcon": {"iobase": "port (default 0xe9)", "chardev": "id of the -chardev that shows the output"},
    "pc-testdev": {},
    "VGA": {
        "vgamem_mb": "MiB of the frame buffer (default 16)",
        "edid": "off: no word about the monitor",
        "xres": "width that the monitor likes best (default 1280)",
        "yres": "height (default 800)",
        "addr": "PCI slot (default 2)",
        "rombar": "0: no option ROM",
        "romfile": "option ROM (with -bios: vgabios-stdvga.bin, if the host has it)",
    },
    "ide-hd": {"drive": "id of a -drive with if=none", "bus": "ide.0, ide.1, or CARD.0, CARD.1", "unit": "0 or 1"},
    "ide-cd": {"drive": "id of a -drive with if=none", "bus": "ide.0, ide.1, or CARD.0, CARD.1", "unit": "0 or 1"},
}
# Devices of QEMU that Emu does not model yet: a warning rather than "unknown".
FOREIGN_DEVICES = re.compile(
    r"^(virtio-|e1000|rtl8139|ne2k_|pcnet|i82|vmxnet3|usb-|.*-?(x?hci)|nvme|ahci|lsi|megasas|ivshmem|sga$|pvpanic|"
    r"i6300esb|ib700|tpm-|cirrus-vga|bochs-display|vmware-svga|qxl|isa-(serial|parallel|vga|ide|fdc)|pci-|"
    r"piix|ich9-|intel-|AC97|ES1370|sb16|adlib|gus|hda-|scsi-|floppy$|edu$|loader$|vmcoreinfo|smbus-|ioh|x3130|xio|"
    r"hyperv-)"
)
DEBUG_CATEGORIES = {
    "in_asm": "each instruction when it is first decoded",
    "exec": "each block that runs",
    "int": "interrupts and exceptions",
    "cpu": "registers before each block",
    "cpu_reset": "registers at each reset",
    "mmu": "new page tables, and what led to page faults",
    "unimp": "what the guest touched and Emu does not model",
    "guest_errors": "what the guest did that no manual allows",
    "io": "port accesses of devices that log them",
}
ACCELS = ("auto", "jit", "interp", "reference")
LARGEST_CODE_CACHE = 1024
"""MiB; QEMU's own bound is of this order."""
KEYED = re.compile(r"^[A-Za-z0-9_.-]+=")


class UsageError(Exception):
    """What the person asked for cannot be done. The text is one line; the exit status is 1."""


class ShowAndExit(Exception):
    """The person asked for a list or for help. The text goes to stdout; the exit status is 0."""


@dataclass
class Chardev:
    """A host end for bytes: `kind` is stdio, socket, pty, pipe, file, ringbuf, null or none.

    A socket with a `path` is a unix socket. `reconnect` is in seconds, 0 for never; `size` is that of a ring buffer.
    """

    kind: str
    path: str = ""
    mux: bool = False
    label: str = ""
    host: str = ""
    port: int = 0
    server: bool = False
    wait: bool = True
    telnet: bool = False
    reconnect: float = 0.0
    append: bool = False
    size: int = 65536


@dataclass
class FsDev:
    """A directory of the host that a guest may see (`devices.p9` says what `security` means)."""

    path: str
    security: str = "none"
    read_only: bool = False


@dataclass
class MonitorSpec:
    """A monitor behind a character device: `control` for QMP, else commands as text."""

    chardev: Chardev
    control: bool = False
    pretty: bool = False


@dataclass
class Drive:
    """One disk. `interface` is ide or floppy; `index` counts over both IDE channels (or both floppies)."""

    file: str | None
    interface: str = "ide"
    index: int | None = None
    media: str = "disk"
    format: str | None = None
    snapshot: bool = False
    read_only: bool = False
    id: str | None = None
    positional: bool = False
    card: str = ""
    """The id of the IDE controller that it is on, if that is a card."""
    cache: tuple[bool, bool, bool] = (False, False, False)
    """Past the host's page cache, a flush with each write, no flush at all."""
    discard: bool = False
    detect_zeroes: str = "off"
    werror: str = ""
    rerror: str = "report"
    limits: dict[str, int] = field(default_factory=dict)
    """iops, bps, with _rd or _wr, and with _max or _max_length behind it."""
    iops_size: int = 0
    locking: bool = True
    backing: list[tuple[str, str]] = field(default_factory=list)
    """File and format of each backing file, from the top; empty: what the image says."""
    node: bool = False
    """A -blockdev."""
    bootindex: int | None = None


@dataclass(frozen=True)
class GdbAddress:
    """Where gdb is waited for: a TCP port, on localhost if `host` is empty, or a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"tcp:{self.host}:{self.port}"


@dataclass
class Config:
    """What the command line asks for."""

    netdevs: list[Netdev] = field(default_factory=list)

    arch: str | None = None
    """"x86" or "ppc" where the name of the command says so."""
    machine: str = "pc"
    cpu: str = "qemu32"
    cpu_wish: str | None = None
    """What -cpu says; `cpu` is the model that this means on the machine."""
    memory: int = 128 << 20
    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    dtb: str | None = None
    dump_dtb: str | None = None
    bios: str | None = None
    acpi: bool = True
    """Whether the guest is given ACPI tables."""
    hpet: bool = True
    no_sleep: set[int] = field(default_factory=set)
    """Sleep states, 3 or 4, that are not offered."""
    smbios: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Words for the tables about the machine by type, each of them good; of type -1: `file` with a whole structure."""
    uuid: str = ""
    drives: list[Drive] = field(default_factory=list)
    allow_backing: list[str] = field(default_factory=list)
    """Files that images may lead to; "all": any."""
    boot: str = ""
    boot_menu: bool = False
    boot_wait: int | None = None
    """Milliseconds for which firmware shows its menu."""
    reboot_timeout: int | None = None
    """Milliseconds after which it tries again when nothing boots; -1: never."""
    snapshot: bool = False
    serial: list[Chardev] = field(default_factory=list)
    debugcon: Chardev | None = None
    chardevs: dict[str, Chardev] = field(default_factory=dict)
    monitors: list[MonitorSpec] = field(default_factory=list)
    qtest: Chardev | None = None
    frozen: bool = False
    """-accel qtest: the processor never runs."""
    default_monitor: bool = True
    """Whether -nographic still gives a monitor."""
    devices: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    fsdevs: dict[str, FsDev] = field(default_factory=dict)
    objects: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    """What -object made: (kind, properties) by id."""
    fw_cfg: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    nographic: bool = False
    nodefaults: bool = False
    display: str | None = None
    vnc: list[Vnc] = field(default_factory=list)
    vga: str = ""
    """The display card: std, none, or what the machine has."""
    vga_props: dict[str, str] = field(default_factory=dict)
    """What -global says of it."""
    screenshot: str = ""
    no_reboot: bool = False
    no_shutdown: bool = False
    debug: list[str] = field(default_factory=list)
    logfile: str | None = None
    name: str = ""
    rtc: str | None = None
    escape: int = 0x01
    strict: bool = False
    script: list[tuple[str, str]] = field(default_factory=list)
    timeout: float | None = None
    max_insns: int | None = None
    stats: bool = False
    accel: str = "auto"
    perfmap: bool = False
    jit_size: int | None = None
    """Bytes of code that the JIT may keep; None: its own choice."""
    clock: str | None = None
    record: str | None = None
    replay: str | None = None
    dump_screen: bool = False
    dump_tlb: bool = False
    pages: list[tuple[int, str]] = field(default_factory=list)
    """Addresses of --page, with read, write or execute."""
    gdb: GdbAddress | None = None
    start_paused: bool = False
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep a warning, once. With `--strict` raises UsageError when parsing ends."""
        if text not in self.warnings:
            self.warnings.append(text)


def shown(text: str, limit: int = 200) -> str:
    """A name from outside on one printable line, at most `limit` characters."""
    out = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else _escape(c) for c in text[: limit + 1])
    return out if len(out) <= limit else out[: limit - 3] + "..."


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "backslashreplace").decode("ascii", "replace")


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The known name that a misspelt one most resembles."""
    scored = [(difflib.SequenceMatcher(None, word, name).ratio(), name) for name in names]
    best = max((score for score, _ in scored), default=0.0)
    return min(name for score, name in scored if score == best) if best >= 0.5 else None


def unknown(what: str, word: str, names: Iterable[str], prefix: str = "") -> UsageError:
    """The error for a name nobody knows, with the nearest one that somebody does."""
    names = sorted(names)
    guess = nearest(word, names)
    if guess is not None:
        return UsageError(f"unknown {what} {prefix}{shown(word)}; did you mean {prefix}{guess}?")
    known = f"; known: {', '.join(names)}" if len(names) <= 12 else ""
    return UsageError(f"unknown {what} {prefix}{shown(word)}{known}")


# -- small syntaxes


def split_commas(text: str) -> list[str]:
    """Split at single commas; a doubled comma stands for one."""
    parts = [""]
    i = 0
    while i < len(text):
        if text[i] == "," and text[i + 1 : i + 2] == ",":
            parts[-1] += ","
            i += 1
        elif text[i] == ",":
            parts.append("")
        else:
            parts[-1] += text[i]
        i += 1
    return parts


def keyed(text: str, what: str, first: str | None = None) -> dict[str, str]:
    """`a=1,b=2` as a dict. A first part without "=" is the value of key `first`, others mean "on"."""
    result: dict[str, str] = {}
    for i, part in enumerate(split_commas(text)):
        if i == 0 and first is not None and not KEYED.match(part):
            result[first] = part
        elif "=" in part:
            key, value = part.split("=", 1)
            result[key] = value
        elif part.startswith("no") and len(part) > 2:
            result[part[2:]] = "off"
        elif part:
            result[part] = "on"
    return result


def number(text: str, what: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """A decimal, 0x or 0-octal-free integer in low..high."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", text):
        raise UsageError(f"{what}: expected a number, found '{shown(text)}'")
    value = int(text, 16) if text[:2] in ("0x", "0X") else int(text, 10)
    if not low <= value <= high:
        raise UsageError(f"{what}: expected {low} to {high}, found {shown(text)}")
    return value


def memory_size(text: str) -> int:
    """A size in bytes from `64`, `64M`, `1G`, `512K`; a bare number is MiB."""
    match = re.fullmatch(r"([0-9]{1,12})(\.[0-9]{1,6})?([bBkKmMgGtT]?)", text)
    if match is None:
        raise UsageError(f"-m: expected a size such as 64, 64M or 1G, found '{shown(text)}'")
    shift = {"b": 0, "k": 10, "m": 20, "": 20, "g": 30, "t": 40}[match[3].lower()]
    whole = int(match[1]) << shift
    if match[2]:
        whole += int(match[2][1:]) * (1 << shift) // 10 ** (len(match[2]) - 1)
    if not 1 << 20 <= whole <= 3584 << 20:
        raise UsageError(f"-m: expected 1 MiB to 3584 MiB, found '{shown(text)}'")
    return whole


def switch(text: str, what: str) -> bool:
    """on/off and their synonyms."""
    if text in ("on", "yes", "true", "y"):
        return True
    if text in ("off", "no", "false", "n"):
        return False
    raise UsageError(f"{what}: expected on or off, found '{shown(text)}'")


def seconds(text: str) -> float:
    """A duration: `60`, `60s`, `2m`, `1h`, `0.5`, `250ms`."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?", text)
    if match is None:
        raise UsageError(f"--timeout: expected seconds such as 60, 60s or 2m, found '{shown(text)}'")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2] or "s"]


_SEND_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_SEND_CHARS = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "b": "\b", "0": "\0", "\\": "\\"}


def unescape(text: str) -> str:
    r"""Replace \n \t \r \e \b \0 \\ and \xNN; any other backslash stays as it is."""

    def one(match: re.Match[str]) -> str:
        body = match[1]
        if len(body) == 3:
            return chr(int(body[1:], 16))
        return _SEND_CHARS.get(body, match[0])

    return _SEND_ESCAPE.sub(one, text)


_NOT_YET_CHARDEVS = (
    "vc udp websocket con braille msmouse parport parallel spicevmc serial tty stdin testdev spiceport dbus "
    "qemu-vdagent wctablet"
).split()
CHARDEVS = ("stdio", "socket", "pty", "pipe", "file", "ringbuf", "null")
_CHARDEV_WORDS = (
    "stdio", "mon:stdio", "tcp:HOST:PORT,server=on", "unix:PATH,server=on", "telnet:HOST:PORT,server=on", "pty",
    "pipe:PATH", "file:PATH", "null", "none", "chardev:ID",
)  # fmt: skip
_SOCKET_KEYS = ("server", "wait", "telnet", "reconnect", "delay", "nodelay", "ipv4", "ipv6", "to", "abstract", "tight")


def chardev(config: Config, text: str, what: str) -> Chardev:
    """What -serial, -monitor and -qmp take; a `mon:` in front puts a monitor on the same end."""
    if text == "help":
        raise ShowAndExit("\n".join(_CHARDEV_WORDS))
    mux = text.startswith("mon:")
    device = _plain_chardev(config, text[4:] if mux else text, what)
    if mux and device.kind != "none":
        device.mux = True
        config.monitors.append(MonitorSpec(device))
    return device


def _plain_chardev(config: Config, text: str, what: str) -> Chardev:
    if text in ("stdio", "null", "none", "pty"):
        return Chardev(text)
    kind, _, rest = text.partition(":")
    if kind == "file" and rest:
        path, *words = split_commas(rest)
        return Chardev("file", path, append="append=on" in words)
    if kind == "pipe" and rest:
        return Chardev("pipe", rest)
    if kind == "chardev" and rest:
        if rest not in config.chardevs:
            raise unknown("chardev", rest, config.chardevs)
        return config.chardevs[rest]
    if kind in ("tcp", "telnet", "unix") and rest:
        where, *words = split_commas(rest)
        device = _socket(keyed(",".join(words), what), what)
        if kind == "unix":
            device.path = where
        else:
            device.telnet = device.telnet or kind == "telnet"
            device.host, device.port = _host_port(where, what)
        return device
    name = re.split("[:,]", text, maxsplit=1)[0]
    if name in _NOT_YET_CHARDEVS or text.startswith("/dev/"):
        config.warn(f"{what} {shown(text)}: not available yet; using null")
        return Chardev("null")
    raise unknown("character device", text, _CHARDEV_WORDS)


def _host_port(text: str, what: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"{what}: expected HOST:PORT or :PORT, found '{shown(text)}'")
    return match[1] or match[2] or "", int(match[3])


def _socket(props: dict[str, str], what: str) -> Chardev:
    """The keys that all sockets share. Empties `props` of them."""
    device = Chardev("socket")
    for key in ("server", "wait", "telnet"):
        if key in props:
            setattr(device, key, switch(props.pop(key), f"{what} {key}"))
    if "reconnect" in props:
        device.reconnect = float(number(props.pop("reconnect"), f"{what} reconnect", 0, 86400))
    for key in _SOCKET_KEYS:
        props.pop(key, None)
    for key in props:
        if key in ("tls-creds", "websocket", "tls-authz"):
            raise UsageError(f"{what}: {key} is not available yet")
        if key not in ("host", "port", "path"):
            raise unknown(f"property of {what}:", key, (*_SOCKET_KEYS, "host", "port", "path"))
    return device


# -- options


@dataclass(frozen=True)
class Option:
    """One option: its argument's name (empty: none), a line of help, and what it does to a Config."""

    names: tuple[str, ...]
    argument: str
    help: str
    action: Callable[[Config, str], None]


def _set(attribute: str, convert: Callable[[str], object] = str) -> Callable[[Config, str], None]:
    def action(config: Config, value: str) -> None:
        setattr(config, attribute, convert(value))

    return action


def _flag(attribute: str) -> Callable[[Config, str], None]:
    return lambda config, value: setattr(config, attribute, True)


PAGE_ACCESS = ("read", "write", "execute")


def _page(config: Config, value: str) -> None:
    address, _, access = value.partition(",")
    if access and access not in PAGE_ACCESS:
        raise unknown("--page access", access, PAGE_ACCESS)
    config.pages.append((number(address, "--page", 0, 0xFFFFFFFF), access or "read"))


def _gdb(config: Config, value: str) -> None:
    config.gdb = gdb_address(value)


def gdb_address(text: str) -> GdbAddress | None:
    """`tcp::PORT`, `tcp:HOST:PORT`, `unix:PATH` or `none`; what QEMU lets follow behind a comma changes nothing."""
    where, *more = split_commas(text)
    for word in more:
        if word.split("=")[0] not in ("server", "nowait", "wait", "nodelay", "ipv4", "ipv6", "reconnect", "delay"):
            raise UsageError(f"-gdb: unknown property {shown(word)}")
    if where == "none":
        return None
    if where.startswith("unix:") and len(where) > 5:
        return GdbAddress(path=where[5:])
    match = re.fullmatch(r"tcp:(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})", where)
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"-gdb: expected tcp::PORT, tcp:HOST:PORT, unix:PATH or none, found '{shown(text)}'")
    return GdbAddress(match[1] or match[2] or "", int(match[3]))


def _quiet(config: Config, value: str) -> None:
    """An option whose wish is already the case."""


def _listed(names: dict[str, str], title: str) -> ShowAndExit:
    width = max(len(name) for name in names)
    return ShowAndExit("\n".join([title, *(f"{name:{width}}  {text}" for name, text in names.items())]))


def machines(arch: str | None) -> dict[str, str]:
    """The machines of an instruction set, or all."""
    return {name: text for name, text in MACHINES.items() if arch in (None, CORES[name].arch)}


def _machine(config: Config, value: str) -> None:
    props = keyed(value, "-M", "type")
    name = props.pop("type", config.machine)
    known = machines(config.arch)
    if name in ("help", "?"):
        raise _listed(known, "Supported machines are:")
    if re.fullmatch(r"pc-i440fx-[0-9.]+|pc-[0-9.]+", name):
        name = "pc"
    name = MACHINE_ALIASES.get(name, name)
    if name not in known:
        raise unknown("machine", name, known)
    config.machine = name
    for key, text in props.items():
        if key == "accel":
            _accel(config, text)
        elif key == "dumpdtb":
            if not text:
                raise UsageError("-M dumpdtb=: expected a file name")
            config.dump_dtb = text
        elif key in ("acpi", "hpet") and name == "pc":
            setattr(config, key, switch(text, f"-M {key}"))
        elif key not in ("usb", "vmport", "smm", "graphics") or text != "off":
            config.warn(f"-M {shown(key)}={shown(text)}: not available yet; ignored")


def cpu_models(arch: str = "x86") -> dict[str, str]:
    """The processors of an instruction set by name, with a line about each."""
    if arch == "ppc":
        from cores.ppc import models as ppc

        return {model.name: model.title for model in ppc.MODELS.values()}
    from cores.x86.models import MODELS

    return {name: model.title for name, model in MODELS.items()}


def _cpu(config: Config, value: str) -> None:
    config.cpu_wish = value


def _choose_cpu(config: Config) -> None:
    """The model that -cpu means, once the machine is known."""
    cores = CORES[config.machine]
    config.cpu = cores.default
    if config.cpu_wish is None:
        return
    name, *features = split_commas(config.cpu_wish)
    if name in ("help", "?"):
        raise _listed(cpu_models(cores.arch), "Available CPUs:")
    config.cpu = _ppc_model(config.machine, name, cores) if cores.arch == "ppc" else _x86_model(config, name)
    for feature in features:
        config.warn(f"-cpu feature {shown(feature)}: not available yet; ignored")


def _ppc_model(machine: str, name: str, cores: Cores) -> str:
    from cores.ppc import models

    fitting = [m.name for m in models.MODELS.values() if m.has(cores.feature)]
    try:
        model = models.model(name)
    except KeyError:
        if nearest(name, cpu_models("ppc")) is not None:
            raise unknown("CPU", name, cpu_models("ppc")) from None
        raise UsageError(f"unknown CPU {shown(name)}; -M {machine} takes {', '.join(fitting)}") from None
    if not model.has(cores.feature):
        raise UsageError(f"-M {machine}: {model.name} is no processor for it; it takes {', '.join(fitting)}")
    return model.name


# Processors that QEMU's lists have beyond the models here; a suffix names a revision of one.
_NEWER_CPUS = re.compile(
    r"host|base|qemu64|kvm32|kvm64|core2duo|coreduo|n270|athlon|phenom|Conroe|Penryn|Nehalem|Westmere|SandyBridge"
    r"|IvyBridge|Haswell|Broadwell|Skylake-(Client|Server)|Cascadelake-Server|Cooperlake|Icelake-Server|Denverton"
    r"|Snowridge|KnightsMill|Opteron_G[1-5]|EPYC(-Rome|-Milan)?|Dhyana"
)
_CPU_REVISION = re.compile(r"(-noTSX)?(-IBRS|-IBPB)?(-v[1-9])?$")


def _x86_model(config: Config, name: str) -> str:
    base = _CPU_REVISION.sub("", name)
    if _NEWER_CPUS.fullmatch(base):
        config.warn(f"-cpu {name}: not available yet; using qemu32")
        return "qemu32"
    if base == "pentium2":
        config.warn("-cpu pentium2: not available yet; using pentium3")
        return "pentium3"
    known = cpu_models()
    if base not in known:
        raise unknown("CPU", name, known)
    return base


def _memory(config: Config, value: str) -> None:
    props = keyed(value, "-m", "size")
    if "size" in props:
        config.memory = memory_size(props.pop("size"))
    for key in props:
        config.warn(f"-m {shown(key)}=: not available yet; ignored")


def _smp(config: Config, value: str) -> None:
    props = keyed(value, "-smp", "cpus")
    count = 1
    for key, text in props.items():
        amount = number(text, f"-smp {shown(key)}", 1, 4096)
        if key in ("cpus", "sockets", "cores", "threads", "dies"):
            count = max(count, amount)
        elif key != "maxcpus":
            raise unknown("-smp property", key, ("cpus", "sockets", "cores", "threads", "dies", "maxcpus"))
    if count > 1:
        config.warn(f"-smp {shown(value)}: more than one processor is not available yet; running with one")


def _hd(index: int) -> Callable[[Config, str], None]:
    return lambda config, value: config.drives.append(Drive(value, "ide", index))


def _fd(index: int) -> Callable[[Config, str], None]:
    return lambda config, value: config.drives.append(Drive(value, "floppy", index))


def _cdrom(config: Config, value: str) -> None:
    config.drives.append(Drive(value, "ide", 2, media="cdrom", read_only=True))


def _drive(config: Config, value: str) -> None:
    from emu.drives import drive

    drive(config, value)


def _blockdev(config: Config, value: str) -> None:
    from emu.drives import blockdev

    blockdev(config, value)


def _allow_backing(config: Config, value: str) -> None:
    config.allow_backing.append(value)


def _boot(config: Config, value: str) -> None:
    props = keyed(value, "-boot", "order")
    for key, text in props.items():
        if key in ("order", "once"):
            for letter in text:
                if letter not in "abcdnop":
                    raise UsageError(f"-boot: unknown boot device '{shown(letter)}'; expected letters of a, c, d, n")
            if key == "order" or "order" not in props:
                config.boot = text
        elif key == "menu":
            config.boot_menu = switch(text, "-boot menu")
        elif key == "splash-time":
            config.boot_wait = number(text, "-boot splash-time", 0, 0xFFFF)
        elif key == "reboot-timeout":
            config.reboot_timeout = -1 if text == "-1" else number(text, "-boot reboot-timeout", 0, 0xFFFF)
        elif key not in ("splash", "strict"):
            raise unknown("-boot property", key, ("order", "once", "menu", "strict"))


def _serial(config: Config, value: str) -> None:
    if value.startswith("mon:"):
        config.default_monitor = False
    config.serial.append(chardev(config, value, "-serial"))


def _debugcon(config: Config, value: str) -> None:
    config.debugcon = chardev(config, value, "-debugcon")


def _chardev(config: Config, value: str) -> None:
    if value == "help":
        raise ShowAndExit("\n".join(["Available chardev backend types:", *(f"  {kind}" for kind in CHARDEVS)]))
    props = keyed(value, "-chardev", "backend")
    kind = props.pop("backend", "")
    name = props.pop("id", "")
    if not name:
        raise UsageError("-chardev: expected id=NAME")
    if name in config.chardevs:
        raise UsageError(f"-chardev: the id {shown(name)} is in use")
    mux = switch(props.pop("mux"), "-chardev mux") if "mux" in props else False
    device = Chardev("null")
    if kind == "socket":
        device = _socket(props, "-chardev socket")
        device.path, device.host = props.get("path", ""), props.get("host", "")
        if not device.path and "port" not in props:
            raise UsageError("-chardev socket: expected path=FILE or port=NUMBER")
        device.port = number(props.get("port", "0"), "-chardev socket port", 0, 65535)
    elif kind in ("file", "pipe"):
        if not props.get("path"):
            raise UsageError(f"-chardev {kind}: expected path=FILE")
        device = Chardev(kind, props["path"])
        device.append = switch(props.get("append", "off"), "-chardev append")
    elif kind in ("ringbuf", "memory"):
        device = Chardev("ringbuf")
        device.size = number(props.get("size", "65536"), "-chardev ringbuf size", 1, 1 << 26)
        if device.size & (device.size - 1):
            raise UsageError(f"-chardev ringbuf: expected a power of 2 as size, found {device.size}")
    elif kind in CHARDEVS:
        device = Chardev(kind)
    elif kind in _NOT_YET_CHARDEVS:
        config.warn(f"-chardev {kind}: not available yet; using null")
    else:
        raise unknown("chardev backend", kind, CHARDEVS)
    device.mux, device.label = mux, name
    config.chardevs[name] = device


def _monitor(config: Config, value: str) -> None:
    config.default_monitor = False
    device = chardev(config, value, "-monitor")
    if device.kind not in ("none", "null") and not any(spec.chardev is device for spec in config.monitors):
        config.monitors.append(MonitorSpec(device))


def _qmp(pretty: bool) -> Callable[[Config, str], None]:
    def action(config: Config, value: str) -> None:
        config.default_monitor = False
        device = chardev(config, value, "-qmp")
        if device.kind not in ("none", "null"):
            config.monitors.append(MonitorSpec(device, control=True, pretty=pretty))

    return action


def _qtest(config: Config, value: str) -> None:
    config.qtest = chardev(config, value, "-qtest")


def _mon(config: Config, value: str) -> None:
    config.default_monitor = False
    props = keyed(value, "-mon", "chardev")
    name = props.pop("chardev", "")
    mode = props.pop("mode", "readline")
    pretty = switch(props.pop("pretty", "off"), "-mon pretty")
    if mode not in ("readline", "control"):
        raise unknown("-mon mode", mode, ("readline", "control"))
    for key in props:
        if key not in ("id", "default"):
            raise unknown("-mon property", key, ("chardev", "mode", "pretty"))
    if name not in config.chardevs:
        raise unknown("chardev", name, config.chardevs)
    config.monitors.append(MonitorSpec(config.chardevs[name], mode == "control", pretty))


def _icount(config: Config, value: str) -> None:
    """Time is always counted in instructions, at a rate of our own; what is left of the option is record and replay."""
    props = keyed(value, "-icount", "shift")
    mode, path = props.pop("rr", None), props.pop("rrfile", None)
    if props.get("shift", "auto") != "auto":
        number(props["shift"], "-icount shift", 0, 10)
    for key in props:
        if key not in ("shift", "align", "sleep"):
            raise unknown("-icount property", key, ("shift", "align", "sleep", "rr", "rrfile"))
    if (mode is None) != (path is None):
        raise UsageError("-icount: rr=record|replay and rrfile=FILE go together")
    if mode == "record":
        config.record = path
    elif mode == "replay":
        config.replay = path
    elif mode is not None:
        raise unknown("-icount rr", mode, ("record", "replay"))


def _device(config: Config, value: str) -> None:
    props = keyed(value, "-device", "driver")
    name = props.pop("driver", "")
    known = DEVICES
    if name not in DEVICES:
        from emu.plug import KINDS

        known = {**DEVICES, **{kind.name: dict(kind.props) for kind in KINDS.values()}}
        if name.startswith("virtio-") and name not in KINDS and f"{name}-pci" in KINDS:
            name += "-pci"  # QEMU's short names
    if name in ("help", "?"):
        raise ShowAndExit("\n".join(f'name "{device}"' for device in known))
    if name not in known:
        if FOREIGN_DEVICES.match(name):
            guess = nearest(name, known)
            hint = f"; did you mean {guess}?" if guess is not None and guess[:7] == name[:7] else ""
            config.warn(f"-device {shown(name)}: not available yet; not attached{hint}")
            return
        raise unknown("device", name, known)
    if "help" in props:
        raise ShowAndExit("\n".join([f"{name} options:", *(f"  {k}=<{v}>" for k, v in known[name].items())]))
    for key in props:
        if key not in known[name] and key != "id" and key != "bootindex":
            raise unknown(f"property of {name}:", key, known[name])
    config.devices.append((name, props))


def _network(option: str) -> Callable[[Config, str], None]:
    """-netdev, -nic, -net; only who has a network loads what knows them."""

    def action(config: Config, value: str) -> None:
        from emu.net import options

        {"netdev": options.netdev, "nic": options.nic, "net": options.net}[option](config, value)

    return action


OBJECTS: dict[str, dict[str, str]] = {
    "filter-dump": {
        "netdev": "id of the -netdev",
        "file": "file to write, which packet analysers read",
        "maxlen": "bytes of each frame to keep (default 65536)",
        "queue": "all, rx or tx",
    },
    "filter-buffer": {
        "netdev": "id of the -netdev",
        "interval": "microseconds for which frames are held",
        "queue": "all, rx or tx",
        "status": "on or off",
    },
    "rng-builtin": {},
    "secret": {"data": "the secret itself", "file": "file that has it", "format": "raw (default) or base64"},
    "rng-random": {"filename": "where entropy is read (default /dev/urandom)"},
}
"""What -object can make, with its properties and a line of help each."""
# Objects of QEMU that change nothing of what a guest sees here, or that Emu does not have yet.
FOREIGN_OBJECTS = re.compile(
    r"^(iothread|memory-backend-|tls-|authz-|cryptodev|can-|colo-|filter-(mirror|redirector|rewriter|replay)|input-|qtest|rng-egd|throttle-group|"
    r"thread-context|main-loop|sev-|tdx-|pr-manager)"
)


def _object(config: Config, value: str) -> None:
    props = keyed(value, "-object", "qom-type")
    kind = props.pop("qom-type", "")
    if kind in ("help", "?"):
        raise ShowAndExit("\n".join(["List of user creatable objects:", *(f"  {name}" for name in OBJECTS)]))
    if kind not in OBJECTS:
        if FOREIGN_OBJECTS.match(kind):
            config.warn(f"-object {shown(kind)}: not available yet; ignored")
            return
        raise unknown("object", kind, OBJECTS)
    name = props.pop("id", "")
    if not name:
        raise UsageError(f"-object {kind}: expected id=NAME")
    if name in config.objects:
        raise UsageError(f"-object {kind}: the id {shown(name)} is in use")
    for key in props:
        if key not in OBJECTS[kind]:
            raise unknown(f"property of {kind}:", key, OBJECTS[kind])
    config.objects[name] = kind, props


SECURITY_MODELS = {"none": "none", "passthrough": "passthrough", "mapped": "mapped", "mapped-xattr": "mapped"}


def _directory(what: str, props: dict[str, str]) -> FsDev:
    """The directory that -fsdev or -virtfs names; takes its properties out of `props`."""
    kind = props.pop("fsdriver", "")
    if kind != "local":
        raise unknown(f"{what} driver", kind, ("local",))
    path = props.pop("path", "")
    if not path:
        raise UsageError(f"{what} local: expected path=DIRECTORY")
    wish = props.pop("security_model", "none")
    if wish not in SECURITY_MODELS:
        raise unknown(f"{what} security_model", wish, SECURITY_MODELS)
    read_only = switch(props.pop("readonly", "off"), f"{what} readonly")
    for key in ("multidevs", "writeout", "fmode", "dmode"):
        props.pop(key, None)
    return FsDev(path, SECURITY_MODELS[wish], read_only)


def _keep_directory(config: Config, what: str, name: str, made: FsDev) -> None:
    if name in config.fsdevs:
        raise UsageError(f"{what}: the id {shown(name)} is in use")
    config.fsdevs[name] = made


_FSDEV_KEYS = ("id", "path", "security_model", "readonly", "mount_tag")


def _fsdev(config: Config, value: str) -> None:
    props = keyed(value, "-fsdev", "fsdriver")
    name = props.pop("id", "")
    made = _directory("-fsdev", props)
    if not name:
        raise UsageError("-fsdev: expected id=NAME")
    for key in props:
        raise unknown("-fsdev property", key, _FSDEV_KEYS[:-1])
    _keep_directory(config, "-fsdev", name, made)


def _virtfs(config: Config, value: str) -> None:
    props = keyed(value, "-virtfs", "fsdriver")
    tag = props.pop("mount_tag", "")
    made = _directory("-virtfs", props)
    if not tag:
        raise UsageError("-virtfs: expected mount_tag=TAG")
    name = props.pop("id", f"virtfs{len(config.fsdevs)}")
    for key in props:
        raise unknown("-virtfs property", key, _FSDEV_KEYS)
    _keep_directory(config, "-virtfs", name, made)
    config.devices.append(("virtio-9p-pci", {"fsdev": name, "mount_tag": tag}))


def _share(config: Config, value: str) -> None:
    if not value:
        raise UsageError("--share: expected a directory")
    count = sum(name.startswith("share") for name in config.fsdevs)
    tag = f"share{count + 1}" if count else "share"
    _keep_directory(config, "--share", tag, FsDev(value))
    config.devices.append(("virtio-9p-pci", {"fsdev": tag, "mount_tag": tag}))


def _fw_cfg(config: Config, value: str) -> None:
    props = keyed(value, "-fw_cfg", "name")
    if not props.get("name") or ("string" in props) == ("file" in props):
        raise UsageError("-fw_cfg: expected name=NAME and one of string=TEXT, file=PATH")
    config.fw_cfg.append((props["name"], props.get("string"), props.get("file")))


def _smbios(config: Config, value: str) -> None:
    from bios.pc.smbios import Words

    props = keyed(value, "-smbios")
    kind = number(props.pop("type"), "-smbios type", 0, 255) if "type" in props else -1
    if kind < 0:
        if set(props) != {"file"}:
            raise UsageError("-smbios: expected type=N,KEY=TEXT or file=PATH")
    else:
        try:
            Words().add(kind, props)
        except ValueError as error:
            raise UsageError(f"-smbios: {shown(str(error), 300)}") from None
        config.uuid = props.get("uuid", config.uuid)
    config.smbios.append((kind, props))


def _uuid(config: Config, value: str) -> None:
    from bios.pc.smbios import uuid_bytes

    try:
        uuid_bytes(value)
    except ValueError as error:
        raise UsageError(f"-uuid: {shown(str(error))}") from None
    config.uuid = value


def _debug(config: Config, value: str) -> None:
    for item in value.split(","):
        if item in ("help", "?"):
            raise _listed(DEBUG_CATEGORIES, "Log items (comma separated):")
        name = item.split(":")[0]
        if name in ("out_asm", "op", "op_opt", "op_ind", "page", "nochain", "pcall", "fpu", "plugin", "strace", "tid"):
            config.warn(f"-d {name}: not available yet; ignored")
        elif name not in DEBUG_CATEGORIES:
            raise unknown("log item", name, DEBUG_CATEGORIES)
        elif name not in config.debug:
            config.debug.append(name)


def _name(config: Config, value: str) -> None:
    config.name = keyed(value, "-name", "guest").get("guest", "")


def _rtc(config: Config, value: str) -> None:
    for key, text in keyed(value, "-rtc", "base").items():
        if key == "base":
            if text not in ("utc", "localtime"):
                rtc_base(text)
            config.rtc = text
        elif key not in ("clock", "driftfix"):
            raise unknown("-rtc property", key, ("base", "clock", "driftfix"))


def rtc_base(text: str) -> tuple[int, int, int, int, int, int]:
    """`2024-05-01` or `2024-05-01T12:30:00` as year, month, day, hour, minute, second. Raises UsageError."""
    match = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:T(\d{1,2}):(\d{1,2}):(\d{1,2}))?", text, re.ASCII)
    if match is not None:
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        if 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60:
            return year, month, day, hour, minute, second
    raise UsageError(f"-rtc base: expected utc, localtime or a date as 2024-05-01T12:30:00, found '{shown(text)}'")


def _echr(config: Config, value: str) -> None:
    config.escape = number(value, "-echr", 0, 255)


def _screens(action: str) -> Callable[[Config, str], None]:
    """An option of `emu.display.options`, which is loaded when one is used."""

    def act(config: Config, value: str) -> None:
        from emu.display import options

        getattr(options, action)(config, value)

    return act


def _accel(config: Config, value: str) -> None:
    if value == "help":
        raise ShowAndExit("Accelerators supported:\n" + "\n".join(ACCELS))
    names, *properties = split_commas(value)
    chosen = False
    for name in names.removeprefix("accel=").split(":"):
        if name in ACCELS or name == "tcg":
            if not chosen and name != "tcg":
                config.accel = name
            chosen = True
        elif name == "qtest":
            config.frozen = config.frozen or not chosen
            chosen = True
        elif name not in ("kvm", "hvf", "hax", "whpx", "xen", "nvmm"):
            raise unknown("accelerator", name, ACCELS)
        elif not chosen:
            config.warn(f"-accel {name}: not available; using auto")
    for word in properties:
        key, _, text = word.partition("=")
        if key == "tb-size":
            _code_cache(config, text)
        elif key == "one-insn-per-tb" and text != "off":
            config.warn("-accel one-insn-per-tb: not available yet; ignored")
        elif key not in ("thread", "split-wx", "one-insn-per-tb"):
            raise unknown("-accel property", key, ("tb-size", "thread", "split-wx", "one-insn-per-tb"))


def _code_cache(config: Config, value: str) -> None:
    config.jit_size = number(value, "-accel tb-size", 1, LARGEST_CODE_CACHE) << 20


def _clock(config: Config, value: str) -> None:
    if value == "help":
        raise ShowAndExit("warp\npaced")
    if value not in ("warp", "paced"):
        raise unknown("clock", value, ("warp", "paced"))
    config.clock = value


def _expect(config: Config, value: str) -> None:
    if not value:
        raise UsageError("--expect: expected some text")
    config.script.append(("expect", value))


def _send(config: Config, value: str) -> None:
    config.script.append(("send", unescape(value)))


def _max_insns(config: Config, value: str) -> None:
    config.max_insns = number(value.replace("_", ""), "--max-insns", 1)


def _append(config: Config, value: str) -> None:
    config.append = value


def _help(config: Config, value: str) -> None:
    raise ShowAndExit(help_text(config))


def _version(config: Config, value: str) -> None:
    raise ShowAndExit(f"Emu {VERSION}")


def _not_yet(name: str) -> Callable[[Config, str], None]:
    return lambda config, value: config.warn(f"-{name}: not available yet; ignored")


def _unless(name: str, *values: str) -> Callable[[Config, str], None]:
    """An option that asks for nothing when it has one of these values."""

    def action(config: Config, value: str) -> None:
        if value.split(",")[0] not in values:
            config.warn(f"-{name} {shown(value)}: not available yet; ignored")

    return action


OPTIONS: list[Option] = [
    Option(("help", "h"), "", "this help", _help),
    Option(("version",), "", "the version", _version),
    Option(("M", "machine"), "NAME", "the board ('help' lists them)", _machine),
    Option(("cpu",), "MODEL", "the processor ('help' lists them)", _cpu),
    Option(("m",), "SIZE", "memory, in MiB or with a suffix K, M, G (default 128)", _memory),
    Option(("smp",), "N", "number of processors; only 1 so far", _smp),
    Option(("kernel",), "FILE", "boot this kernel directly: bzImage, multiboot, ELF, uImage", _set("kernel")),
    Option(("initrd",), "FILE", "its initial RAM disk (multiboot: modules, comma separated)", _set("initrd")),
    Option(("append",), "TEXT", "its command line", _append),
    Option(("dtb",), "FILE", "use this device tree instead of the board's (PowerPC)", _set("dtb")),
    Option(
        ("bios",), "FILE", "this ROM image instead of Emu's own firmware; -kernel goes to it by fw_cfg", _set("bios")
    ),
    Option(("hda",), "FILE", "IDE disk 0 (also -hdb, -hdc, -hdd)", _hd(0)),
    Option(("hdb",), "FILE", "", _hd(1)),
    Option(("hdc",), "FILE", "", _hd(2)),
    Option(("hdd",), "FILE", "", _hd(3)),
    Option(("fda",), "FILE", "floppy disk A (also -fdb)", _fd(0)),
    Option(("fdb",), "FILE", "", _fd(1)),
    Option(("cdrom",), "FILE", "CD-ROM", _cdrom),
    Option(("drive",), "KEY=VALUE,...", "a drive: file=, if=, format=, cache=, discard=, iops= ... ('help')", _drive),
    Option(("blockdev",), "DRIVER,node-name=N", "a node for drive= of a device: driver=, file=, filename=", _blockdev),
    Option(("boot",), "ORDER", "boot order: letters of a (floppy), c (disk), d (CD)", _boot),
    Option(("snapshot",), "", "never write to the disk images", _flag("snapshot")),
    Option(("serial",), "DEV", "next serial port: stdio, mon:stdio, tcp:, unix:, pty, file:, null, none", _serial),
    Option(
        ("monitor",), "DEV", "monitor for people: stdio, tcp:HOST:PORT,server=on, unix:PATH,server=on, ...", _monitor
    ),
    Option(("qmp",), "DEV", "monitor for programs: QMP", _qmp(False)),
    Option(("qmp-pretty",), "DEV", "the same with indented replies", _qmp(True)),
    Option(("qtest",), "DEV", "QEMU's protocol for device tests; with -accel qtest the processor does not run", _qtest),
    Option(("mon",), "chardev=ID,mode=", "a monitor on a -chardev: mode=readline or control", _mon),
    Option(("debugcon",), "DEV", "debug console at port 0xe9", _debugcon),
    Option(("chardev",), "TYPE,id=ID", "a named character device ('help' lists them)", _chardev),
    Option(("device",), "NAME,KEY=VALUE", "add a device ('help' lists them)", _device),
    Option(("object",), "TYPE,id=ID", "an object that devices name ('help' lists them)", _object),
    Option(("fsdev",), "local,id=ID,path=DIR", "a directory for -device virtio-9p-pci", _fsdev),
    Option(("virtfs",), "local,path=DIR,mount_tag=TAG", "share a directory with the guest (9p)", _virtfs),
    Option(
        ("netdev",),
        "TYPE,id=ID,...",
        "a network back end: user, socket, stream, tap, hubport ('help')",
        _network("netdev"),
    ),
    Option(("nic",), "TYPE,model=NAME", "a back end and a card at once (model=help lists cards)", _network("nic")),
    Option(("net",), "nic|TYPE,...", "the same in the old form: everything on one hub", _network("net")),
    Option(("fw_cfg",), "name=NAME,string=TEXT", "add a file to the firmware configuration device", _fw_cfg),
    Option(("smbios",), "type=N,KEY=TEXT", "what the SMBIOS tables say: types 0, 1, 2, 3, 4, 11, 17; file=", _smbios),
    Option(("uuid",), "UUID", "the machine's UUID", _uuid),
    Option(
        ("nographic",), "", "no display; the first serial port on the terminal, with the C-a keys", _flag("nographic")
    ),
    Option(("display",), "KIND", "none, curses (the text screen on the terminal), vnc=:N", _screens("display")),
    Option(("vnc",), ":N,KEY=VALUE", "show the screen to VNC clients, on port 5900+N of localhost", _screens("vnc")),
    Option(("vga",), "CARD", "std or none", _screens("vga")),
    Option(("global",), "VGA.KEY=VALUE", "a property of the display card, as for -device VGA", _screens("set_global")),
    Option(("icount",), "shift=N,rr=MODE,rrfile=FILE", "rr=record or rr=replay: as --record and --replay", _icount),
    Option(("nodefaults",), "", "no devices other than the board's own", _flag("nodefaults")),
    Option(("no-reboot",), "", "end where the guest would restart", _flag("no_reboot")),
    Option(("no-shutdown",), "", "stay when the guest powers off", _flag("no_shutdown")),
    Option(("rtc",), "base=DATE", "utc, localtime or a date for the clock chip", _rtc),
    Option(("name",), "TEXT", "a name for the machine", _name),
    Option(("echr",), "N", "the escape character instead of C-a, as a number", _echr),
    Option(("d",), "ITEM,...", "log these items ('help' lists them)", _debug),
    Option(("D",), "FILE", "log to a file instead of stderr", _set("logfile")),
    Option(("gdb",), "DEV", "let gdb attach: tcp::PORT (on localhost), tcp:HOST:PORT, unix:PATH, none", _gdb),
    Option(("s",), "", "the same as -gdb tcp::1234", lambda config, value: _gdb(config, "tcp::1234")),
    Option(("S",), "", "do not start the processor: gdb does", _flag("start_paused")),
]

OWN: list[Option] = [
    Option(("expect",), "TEXT", "wait for text on the serial line or the screen", _expect),
    Option(("send",), "TEXT", r"type text (\n \r \t \e \xNN) where the last --expect was seen", _send),
    Option(("share",), "DIR", "share a directory: mount -t 9p -o trans=virtio share /mnt", _share),
    Option(("timeout",), "SECONDS", "give up after this much wall time: status 124", _set("timeout", seconds)),
    Option(("max-insns",), "N", "give up after this many instructions: status 124", _max_insns),
    Option(("stats",), "", "one JSON line of counters on stderr at the end", _flag("stats")),
    Option(("accel",), "TIER", "jit, interp, reference or auto; jit,tb-size=MIB bounds the code it makes", _accel),
    Option(("perfmap",), "", "let perf(1) name the code of the JIT: /tmp/perf-PID.map", _flag("perfmap")),
    Option(("record",), "FILE", "write all input to FILE, so that the run can be replayed", _set("record", str)),
    Option(("replay",), "FILE", "run again what was recorded: same command, input from FILE", _set("replay", str)),
    Option(("clock",), "PACE", "warp: skip idle time; paced: wait it out", _clock),
    Option(("dump-screen",), "", "print the text screen at the end", _flag("dump_screen")),
    Option(("screenshot",), "FILE", "write the screen to FILE (PNG, or PPM by its name) and end", _set("screenshot")),
    Option(
        ("when",), "TEXT", "... once this is on the screen or the serial line; without it, at the end", _screens("when")
    ),
    Option(("dump-tlb",), "", "PowerPC: print TLB entries and special registers at the end", _flag("dump_tlb")),
    Option(
        ("page",),
        "ADDRESS[,ACCESS]",
        "PowerPC: say at the end which TLB entry serves a read, write or execute, or why none",
        _page,
    ),
    Option(
        ("allow-backing",), "FILE", "images may stand on this backing file (all: on any that they name)", _allow_backing
    ),
    Option(("strict",), "", "make every warning about the command line an error", _flag("strict")),
]

FOREIGN: list[Option] = [
    *(
        Option((name,), "", "", _not_yet(name))
        for name in (
            "enable-kvm no-kvm usb daemonize full-screen alt-grab ctrl-grab no-frame no-quit mem-prealloc "
            "only-migratable preconfig portrait singlestep one-insn-per-tb win2k-hack realtime"
        ).split()
    ),
    *(
        Option((name,), "ARG", "", _not_yet(name))
        for name in (
            "soundhw audiodev audio k loadvm pidfile set acpitable "
            "watchdog watchdog-action action sandbox overcommit mem-path numa tpmdev plugin "
            "trace incoming readconfig writeconfig msg add-fd seed dfilter semihosting-config option-rom sd "
            "mtdblock pflash iscsi g run-with compat spice usbdevice rotate chroot runas user L "
            "bt async-teardown hdachs"
        ).split()
    ),
    Option(("no-acpi",), "", "", lambda config, value: setattr(config, "acpi", False)),
    Option(("no-hpet",), "", "", lambda config, value: setattr(config, "hpet", False)),
    *(Option((name,), "", "", _quiet) for name in ("no-fd-bootchk", "no-user-config", "nodefconfig")),
    Option(("tb-size",), "MIB", "", _code_cache),
    Option(("sdl",), "", "", lambda config, value: _screens("display")(config, "sdl")),
    Option(("curses",), "", "", lambda config, value: _screens("display")(config, "curses")),
    Option(("qtest-log",), "FILE", "", _quiet),
    Option(("parallel",), "ARG", "", _unless("parallel", "none", "null")),
]

TABLE: dict[str, Option] = {
    name: option for group in (FOREIGN, OPTIONS, OWN) for option in group for name in option.names
}


AFTER_THE_OPTIONS = (
    "Options take one dash or two. On the terminal C-a h shows the keys, C-a x ends.",
    "Other options of QEMU are named in a warning and ignored; with --strict they are errors.",
    "",
    "Exit status: 0 powered off or ended on request, 1 something is wrong with the command, 3 triple fault",
    "(0 as emu-system-i386), 124 --timeout, --max-insns or an --expect not seen, 128+N ended by signal N,",
    "2*V+1 the guest wrote V to isa-debug-exit.",
)


def help_text(config: Config) -> str:
    """All of our options, one line each, under the name that was called."""
    if config.arch is None:
        lines = ["usage: emu run [options] [disk image]"]
        lines.append("       (emu test, emu-system-i386 and emu-system-ppc take the same options)")
    else:
        lines = [f"usage: emu-system-{'i386' if config.arch == 'x86' else config.arch} [options] [disk image]"]
    lines += ["", "QEMU's options:"]
    for group, dash in ((OPTIONS, "-"), (OWN, "--")):
        if dash == "--":
            lines += ["", "Emu's own:"]
        for option in group:
            if option.help:
                names = ", ".join(dash + name for name in option.names)
                left = f"{names} {option.argument}".rstrip()
                lines.append(f"{left:32} {option.help}")
    return "\n".join([*lines, "", *AFTER_THE_OPTIONS])


def parse(words: Sequence[str], *, compat: bool = False, arch: str | None = None) -> Config:
    """The Config that a command line describes.

    `compat` is set for the `emu-system-*` names, and `arch` for the instruction set they name. Raises UsageError and
    ShowAndExit.
    """
    config = Config(arch=arch, machine=DEFAULT_MACHINE[arch or "x86"])
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if not word.startswith("-") or word == "-":
            config.drives.append(Drive(word, positional=True))
            continue
        name = word[2:] if word.startswith("--") else word[1:]
        value = ""
        option = TABLE.get(name)
        if option is None and word.startswith("--") and "=" in name:
            name, value = name.split("=", 1)
            option = TABLE.get(name)
            if option is not None and not option.argument:
                raise UsageError(f"--{name} takes no value")
        elif option is not None and option.argument:
            if i >= len(words):
                raise UsageError(f"-{name}: expected {option.argument} after it")
            value = words[i]
            i += 1
        if option is None:
            dash = "--" if word.startswith("--") else "-"
            raise unknown("option", name, (known for known in TABLE if len(known) > 1), dash)
        option.action(config, value)
    _check(config)
    return config


def _check(config: Config) -> None:
    _choose_cpu(config)
    if config.machine == "pc" and (config.dtb is not None or config.dump_dtb is not None):
        config.warn("-dtb, dumpdtb: a PC has no device tree; ignored")
    if config.start_paused and config.gdb is None and not config.monitors:
        config.warn("-S without -gdb or -s: nothing can start the processor")
    if config.initrd is not None and config.kernel is None:
        raise UsageError("-initrd needs -kernel")
    if config.append and config.kernel is None:
        raise UsageError("-append needs -kernel")
    for name, props in config.devices:
        if "chardev" in props and props["chardev"] not in config.chardevs:
            raise unknown("chardev", props["chardev"], config.chardevs)
        if name in ("ide-hd", "ide-cd"):
            _attach(config, name, props)
    default_monitor = config.nographic and config.default_monitor and not config.nodefaults
    if config.display == "curses" and not config.nographic:
        # Their other ends are shown on the terminal, too.
        if config.default_monitor:
            config.monitors.append(MonitorSpec(Chardev("vc")))
        if not config.serial and not config.nodefaults:
            config.serial.append(Chardev("vc"))
    if not config.serial and not config.nodefaults:
        config.serial.append(Chardev("stdio", mux=default_monitor) if config.nographic else Chardev("null"))
        if default_monitor:
            config.monitors.append(MonitorSpec(config.serial[0]))
    _check_monitors(config)
    users = sum(dev.kind == "stdio" for dev in _stdio_users(config))
    if users > 1:
        raise UsageError("only one character device can use stdio")
    if users and config.display == "curses":
        raise UsageError("-display curses has the terminal; no character device can use stdio")
    if config.record is not None and config.replay is not None:
        raise UsageError("--record and --replay: one or the other")
    _place_drives(config)
    _virtio_drives(config)
    if config.strict and config.warnings:
        raise UsageError(f"{config.warnings[0]} (an error because of --strict)")


def _check_monitors(config: Config) -> None:
    """A character device without mux=on has one user."""
    used = list(config.serial)
    for spec in config.monitors:
        if not spec.chardev.mux and any(device is spec.chardev for device in used):
            raise UsageError(f"-mon: the chardev {shown(spec.chardev.label)} is in use; mux=on lets it be shared")
        used.append(spec.chardev)


def _stdio_users(config: Config) -> list[Chardev]:
    """The character devices in use, each once however many devices share it."""
    users = [*config.serial, *(spec.chardev for spec in config.monitors)]
    if config.qtest is not None:
        users.append(config.qtest)
    if config.debugcon is not None:
        users.append(config.debugcon)
    users += [config.chardevs[p["chardev"]] for _, p in config.devices if "chardev" in p]
    unique: dict[int, Chardev] = {id(dev): dev for dev in users}
    return list(unique.values())


def _attach(config: Config, name: str, props: dict[str, str]) -> None:
    wanted = props.get("drive", "")
    for drive in config.drives:
        if drive.id == wanted and drive.interface == "none":
            drive.interface = "ide"
            if name == "ide-cd":
                drive.media, drive.read_only = "cdrom", True
            if "bootindex" in props:
                drive.bootindex = number(props["bootindex"], f"-device {name} bootindex", 0, 1 << 30)
            if "bus" in props:
                cards = [p["id"] for n, p in config.devices if n == "piix3-ide" and "id" in p]
                match = re.fullmatch(r"(.+)\.([01])", props["bus"])
                if match is None or match[1] not in ("ide", *cards):
                    raise unknown("bus", props["bus"], [f"{card}.{n}" for card in ("ide", *cards) for n in (0, 1)])
                drive.card = "" if match[1] == "ide" and "ide" not in cards else match[1]
                drive.index = 2 * int(match[2]) + number(props.get("unit", "0"), "-device unit", 0, 1)
            return
    raise UsageError(f"-device {name}: no -drive if=none,id={shown(wanted)} to attach")


def _virtio_drives(config: Config) -> None:
    """if=virtio means a disk on the PCI bus."""
    ids = {drive.id for drive in config.drives}
    for drive in config.drives:
        if drive.interface == "virtio":
            if drive.id is None:
                drive.id = next(f"virtio{n}" for n in range(len(ids) + 1) if f"virtio{n}" not in ids)
                ids.add(drive.id)
            config.devices.append(("virtio-blk-pci", {"drive": drive.id}))


def _place_drives(config: Config) -> None:
    """Give every drive without an index the first free place of its interface."""
    used: dict[tuple[str, str, int], str] = {}
    for drive in [d for d in config.drives if d.index is not None] + [d for d in config.drives if d.index is None]:
        if drive.interface in ("none", "virtio"):
            continue
        places = 4 if drive.interface == "ide" else 2
        start = 2 if drive.media == "cdrom" and drive.index is None else 0
        if drive.index is None:
            free = [i for i in [*range(start, places), *range(start)] if (drive.interface, drive.card, i) not in used]
            if not free:
                raise UsageError(f"too many {drive.interface} drives; there is room for {places}")
            drive.index = free[0]
        if drive.index >= places:
            raise UsageError(f"{drive.interface} drive index {drive.index}: expected 0 to {places - 1}")
        key = (drive.interface, drive.card, drive.index)
        if key in used:
            raise UsageError(
                f"{drive.interface} drive {drive.index} is given twice: {used[key]}, {shown(drive.file or '')}"
            )
        used[key] = shown(drive.file or "")


def plain_path(path: str) -> str:
    """A file name for a message: as given, on one line."""
    return shown(os.path.basename(path) or path)
