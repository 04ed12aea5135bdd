"""libslirp, the TCP/IP stack in user mode, at run time: one `Slirp` is one virtual network.

The only binding in ABI mode. The library is optional and chosen by the person who runs Emu, not by who built it: an
engine that was linked with it would not start without it. Its interface is small, versioned (`SlirpConfig.version`)
and stable since 4.1. Frames pass by `wire.c`, and through Python only where no processor takes them. Its other
callbacks are those of `_host`, in API mode: closures made at run time would need memory both written and executed.

`emu.net.user` is the only user. Interface: libslirp.h of libslirp 4.7, configuration versions 1 and 4.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cffi

from emu.engine import _host

LIBRARIES = ("libslirp.so.0", "libslirp.0.dylib", "libslirp-0.dll")
NO_TIMEOUT = 0xFFFFFFFF

CDEF = """
typedef struct Slirp Slirp;
typedef ssize_t (*SlirpWriteCb)(const void *buf, size_t len, void *opaque);
typedef void (*SlirpTimerCb)(void *opaque);
typedef int (*SlirpAddPollCb)(int fd, int events, void *opaque);
typedef int (*SlirpGetREventsCb)(int idx, void *opaque);
struct in_addr { uint32_t s_addr; };
struct in6_addr { uint8_t s6_addr[16]; };
typedef struct SlirpCb {
    SlirpWriteCb send_packet;
    void (*guest_error)(const char *msg, void *opaque);
    int64_t (*clock_get_ns)(void *opaque);
    void *(*timer_new)(SlirpTimerCb cb, void *cb_opaque, void *opaque);
    void (*timer_free)(void *timer, void *opaque);
    void (*timer_mod)(void *timer, int64_t expire_time, void *opaque);
    void (*register_poll_fd)(int fd, void *opaque);
    void (*unregister_poll_fd)(int fd, void *opaque);
    void (*notify)(void *opaque);
    void (*init_completed)(Slirp *slirp, void *opaque);
    void *(*timer_new_opaque)(int id, void *cb_opaque, void *opaque);
} SlirpCb;
typedef struct SlirpConfig {
    uint32_t version;
    int restricted;
    bool in_enabled;
    struct in_addr vnetwork, vnetmask, vhost;
    bool in6_enabled;
    struct in6_addr vprefix_addr6;
    uint8_t vprefix_len;
    struct in6_addr vhost6;
    const char *vhostname, *tftp_server_name, *tftp_path, *bootfile;
    struct in_addr vdhcp_start, vnameserver;
    struct in6_addr vnameserver6;
    const char **vdnssearch;
    const char *vdomainname;
    size_t if_mtu, if_mru;
    bool disable_host_loopback, enable_emu;
    void *outbound_addr, *outbound_addr6;
    bool disable_dns;
    bool disable_dhcp;
} SlirpConfig;
Slirp *slirp_new(const SlirpConfig *cfg, const SlirpCb *callbacks, void *opaque);
void slirp_cleanup(Slirp *slirp);
void slirp_pollfds_fill(Slirp *slirp, uint32_t *timeout, SlirpAddPollCb add_poll, void *opaque);
void slirp_pollfds_poll(Slirp *slirp, int select_error, SlirpGetREventsCb get_revents, void *opaque);
void slirp_input(Slirp *slirp, const uint8_t *pkt, int pkt_len);
int slirp_add_hostfwd(Slirp *slirp, int is_udp, struct in_addr host_addr, int host_port,
                      struct in_addr guest_addr, int guest_port);
int slirp_remove_hostfwd(Slirp *slirp, int is_udp, struct in_addr host_addr, int host_port);
int slirp_add_unix(Slirp *slirp, const char *unixsock, struct in_addr *guest_addr, int guest_port);
int slirp_add_guestfwd(Slirp *slirp, SlirpWriteCb write_cb, void *opaque, struct in_addr *guest_addr, int guest_port);
size_t slirp_socket_can_recv(Slirp *slirp, struct in_addr guest_addr, int guest_port);
void slirp_socket_recv(Slirp *slirp, struct in_addr guest_addr, int guest_port, const uint8_t *buf, int size);
char *slirp_connection_info(Slirp *slirp);
const char *slirp_version_string(void);
void free(void *);
"""


class Missing(Exception):
    """The library is not there, or is too old."""


@dataclass(frozen=True)
class Settings:
    """The virtual network: addresses as text, names and paths as in the options of -netdev user."""

    network: str
    netmask: str
    host: str
    dhcp_start: str
    dns: str
    restricted: bool = False
    ipv4: bool = True
    ipv6: bool = True
    prefix6: str = "fec0::"
    prefix6_length: int = 64
    host6: str = "fec0::2"
    dns6: str = "fec0::3"
    hostname: str | None = None
    domainname: str | None = None
    dnssearch: Sequence[str] = ()
    tftp: str | None = None
    tftp_server_name: str | None = None
    bootfile: str | None = None
    no_host_loopback: bool = False


_loaded: tuple[Any, Any] | None = None


def load() -> tuple[Any, Any]:
    """The cffi instance and the library. Raises Missing."""
    global _loaded
    if _loaded is None:
        ffi = cffi.FFI()
        ffi.cdef(CDEF)
        why = ""
        for name in LIBRARIES:
            try:
                lib = ffi.dlopen(name)
                lib.slirp_new, lib.slirp_pollfds_fill  # noqa: B018 (both are there, or AttributeError)
            except (OSError, AttributeError) as error:
                why = why or str(error)
            else:
                _loaded = ffi, lib
                break
        else:
            raise Missing(why.split("\n", maxsplit=1)[0])
    return _loaded


def version() -> str:
    """The version of the library, such as 4.7.0. Raises Missing."""
    ffi, lib = load()
    return ffi.string(lib.slirp_version_string()).decode("ascii", "replace")


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


CALLBACKS = (
    ("send_packet", "wire_sent"), ("guest_error", "slirp_py_said"), ("clock_get_ns", "wire_clock"),
    ("timer_new", "slirp_py_timer_new"), ("timer_free", "slirp_py_timer_free"), ("timer_mod", "slirp_py_timer_mod"),
    ("register_poll_fd", "wire_descriptor"), ("unregister_poll_fd", "wire_descriptor"), ("notify", "wire_notify"),
)  # fmt: skip
MEMBERS = {
    "send_packet": "SlirpWriteCb",
    "guest_error": "void(*)(const char *, void *)",
    "clock_get_ns": "int64_t(*)(void *)",
    "timer_new": "void *(*)(SlirpTimerCb, void *, void *)",
    "timer_free": "void(*)(void *, void *)",
    "timer_mod": "void(*)(void *, int64_t, void *)",
    "register_poll_fd": "void(*)(int, void *)",
    "unregister_poll_fd": "void(*)(int, void *)",
    "notify": "void(*)(void *)",
}


def _bind() -> None:
    """Define the callbacks: each finds its stack by the wire that libslirp gives back."""
    ffi = _host.ffi

    def told(opaque: Any, default: Any, act: Callable[[Slirp], Any]) -> Any:
        stack: Slirp = ffi.from_handle(ffi.cast("struct Wire *", opaque).handle)
        try:
            return act(stack)
        except BaseException as error:
            stack.failed(error)
            return default

    def forwarded(data: Any, length: int, opaque: Any) -> int:
        stack, write = ffi.from_handle(opaque)
        try:
            write(ffi.buffer(data, length)[:])
        except BaseException as error:
            stack.failed(error)
            return -1
        return length

    def timer_new(function: Any, argument: Any, opaque: Any) -> Any:
        def keep(stack: Slirp) -> Any:
            stack._timer_callback = function, argument
            return opaque

        return told(opaque, ffi.NULL, keep)

    def timer_free(which: Any, opaque: Any) -> None:
        def drop(stack: Slirp) -> None:
            stack._timer_callback = None
            if not stack._closed:
                stack.timer(None)

        told(opaque, None, drop)

    def said(text: Any, opaque: Any) -> None:
        told(opaque, None, lambda s: s.guest_error(ffi.string(text, 500).decode("utf-8", "replace")))

    for name, function, error in (
        ("slirp_py_forward", forwarded, -1), ("slirp_py_said", said, None),
        ("slirp_py_timer_new", timer_new, ffi.NULL), ("slirp_py_timer_free", timer_free, None),
        ("slirp_py_timer_mod", lambda w, expire, opaque: told(opaque, None, lambda s: s.timer(expire)), None),
    ):  # fmt: skip
        if error is None:
            ffi.def_extern(name=name)(function)
        else:
            ffi.def_extern(name=name, error=error)(function)


_bind()


class Frames:
    """What waits for a card, behind a wire in C (wire.c)."""

    def __init__(self, owner: object = None) -> None:
        ffi = _host.ffi
        self._keep = ffi.new_handle(owner)
        made = _host.lib.wire_new(self._keep)
        if made == ffi.NULL:
            raise MemoryError("no memory for a wire")
        self.wire = ffi.gc(made, _host.lib.wire_free)
        self._length = ffi.new("uint32_t *")

    @property
    def address(self) -> int:
        """Where the wire is, for a processor that serves its card."""
        return int(_host.ffi.cast("uintptr_t", self.wire))

    def __len__(self) -> int:
        return int(self.wire.count)

    def join(self, wanted: bool) -> None:
        """Whether segments of one connection that follow one another become one large frame from now on."""
        self.wire.joins = wanted

    def put(self, frame: bytes) -> None:
        """A frame for the card."""
        _host.lib.wire_put(self.wire, _host.ffi.from_buffer(frame), len(frame))

    def take(self) -> bytes | None:
        """The first frame that waits."""
        if not self.wire.count:
            return None
        data = _host.lib.wire_take(self.wire, self._length)
        return bytes(_host.ffi.buffer(data, self._length[0]))


class Slirp:
    """One stack. What it sends to the guest waits in `frames`.

    `timer(expire_ms)` is told when the stack wants `router_advertisement` called. What a callback raises is raised
    again by the call that led to it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        timer: Callable[[int | None], None] = lambda expire: None,
        guest_error: Callable[[str], None] = lambda text: None,
    ) -> None:
        ffi, lib = load()
        self._ffi, self._lib = ffi, lib
        self._error: BaseException | None = None
        self._closed = False
        self._forwards: list[Any] = []
        self._timer_callback: tuple[Any, Any] | None = None
        self.frames = Frames(self)
        self._wire = self.frames.wire
        self._handle = self._there(self._wire)
        self.timer, self.guest_error = timer, guest_error

        def place(kind: str, name: str) -> Any:
            return ffi.cast(kind, int(_host.ffi.cast("uintptr_t", _host.ffi.addressof(_host.lib, name))))

        self._place = place
        # Without the timer by number (version 4) the older call serves every version.
        self._callbacks = ffi.new("SlirpCb *")
        for member, name in CALLBACKS:
            setattr(self._callbacks, member, place(str(MEMBERS[member]), name))
        config = ffi.new("SlirpConfig *")
        config.version = 1
        self._names: list[Any] = []
        self._fill_config(config, settings)
        self._config = config
        self._slirp = lib.slirp_new(config, self._callbacks, self._handle)
        self._check()
        if self._slirp == ffi.NULL:
            raise ValueError("libslirp does not take these addresses")
        calls = (
            int(ffi.cast("uintptr_t", getattr(lib, f"slirp_{n}"))) for n in ("input", "pollfds_fill", "pollfds_poll")
        )
        _host.lib.wire_connect(self._wire, self._here(self._slirp), *calls)

    def _there(self, pointer: Any) -> Any:
        """A pointer of ours as the library's binding takes it."""
        return self._ffi.cast("void *", int(_host.ffi.cast("uintptr_t", pointer)))

    def _here(self, pointer: Any) -> Any:
        """And the other way."""
        return _host.ffi.cast("void *", int(self._ffi.cast("uintptr_t", pointer)))

    def _text(self, text: str | None) -> Any:
        if text is None:
            return self._ffi.NULL
        self._names.append(self._ffi.new("char[]", text.encode("utf-8", "surrogateescape")))
        return self._names[-1]

    def _fill_config(self, config: Any, settings: Settings) -> None:
        config.restricted = settings.restricted
        config.in_enabled, config.in6_enabled = settings.ipv4, settings.ipv6
        for field, text in (
            ("vnetwork", settings.network), ("vnetmask", settings.netmask), ("vhost", settings.host),
            ("vdhcp_start", settings.dhcp_start), ("vnameserver", settings.dns),
        ):  # fmt: skip
            getattr(config, field).s_addr = _address(text)
        for field, text in (
            ("vprefix_addr6", settings.prefix6), ("vhost6", settings.host6), ("vnameserver6", settings.dns6)
        ):  # fmt: skip
            getattr(config, field).s6_addr = socket.inet_pton(socket.AF_INET6, text)
        config.vprefix_len = settings.prefix6_length
        config.vhostname = self._text(settings.hostname)
        config.vdomainname = self._text(settings.domainname)
        config.tftp_path = self._text(settings.tftp)
        config.tftp_server_name = self._text(settings.tftp_server_name)
        config.bootfile = self._text(settings.bootfile)
        if settings.dnssearch:
            words = [*(self._text(word) for word in settings.dnssearch), self._ffi.NULL]
            config.vdnssearch = search = self._ffi.new("const char *[]", words)
            self._names.append(search)
        config.disable_host_loopback = settings.no_host_loopback

    def failed(self, error: BaseException) -> None:
        """A callback raised."""
        if self._error is None:
            self._error = error

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    # -- frames and descriptors

    def input(self, frame: bytes) -> None:
        """A frame from the guest."""
        _host.lib.wire_send(self._wire, _host.ffi.from_buffer(frame), len(frame))
        if self._error is not None:
            self._check()

    def fill(self) -> tuple[list[tuple[int, int]], float | None]:
        """What to wait for, with the bits of poll(2), and the seconds after which `look` is due (None: never)."""
        wire = self._wire
        _host.lib.wire_fill(wire)
        if self._error is not None:
            self._check()
        fds = [(p.fd, p.events) for p in wire.polled[0 : wire.polled_count]]
        wait = wire.timeout
        # The library gives a second to who would wait for ever.
        return fds, None if wait == NO_TIMEOUT or (wait >= 1000 and not fds) else wait / 1000

    def look(self) -> None:
        """Bring in what has come to the descriptors; also runs the timers of the stack. Never waits."""
        _host.lib.wire_look(self._wire, 0)
        if self._error is not None:
            self._check()

    def router_advertisement(self) -> None:
        """The time that `timer` was told has come."""
        if self._timer_callback is not None:
            function, argument = self._timer_callback
            self._ffi.cast("SlirpTimerCb", int(_host.ffi.cast("uintptr_t", function)))(
                self._ffi.cast("void *", int(_host.ffi.cast("uintptr_t", argument)))
            )
            self._check()

    # -- forwarding

    def add_hostfwd(self, udp: bool, host: str, host_port: int, guest: str, guest_port: int) -> None:
        """Listen on the host and pass on to the guest ("0.0.0.0": whoever has the first DHCP address).

        Raises OSError.
        """
        done = self._lib.slirp_add_hostfwd(
            self._slirp, udp, (_address(host),), host_port, (_address(guest),), guest_port
        )
        if done < 0:
            raise OSError(self._ffi.errno, "")

    def remove_hostfwd(self, udp: bool, host: str, host_port: int) -> bool:
        """Stop listening; connections that exist stay. False if there is no such forward."""
        return not self._lib.slirp_remove_hostfwd(self._slirp, udp, (_address(host),), host_port)

    def add_guestfwd(self, guest: str, port: int, write: Callable[[bytes], None]) -> None:
        """What the guest sends to a TCP port goes to `write`; `give` answers. Raises ValueError for a port in use."""
        ffi = self._ffi
        handle = self._there(kept := _host.ffi.new_handle((self, write)))
        self._forwards.append(kept)
        address = ffi.new("struct in_addr *", (_address(guest),))
        if (
            self._lib.slirp_add_guestfwd(
                self._slirp, self._place("SlirpWriteCb", "slirp_py_forward"), handle, address, port
            )
            < 0
        ):
            raise ValueError(f"{guest}:{port} is taken, or not in the network of the guest")

    def add_unix(self, guest: str, port: int, path: str) -> None:
        """Each connection of the guest to a TCP port goes to a unix socket. Raises ValueError for a port in use."""
        if _release(version()) < (4, 7):
            raise ValueError(f"needs libslirp 4.7, found {version()}")
        address = self._ffi.new("struct in_addr *", (_address(guest),))
        if self._lib.slirp_add_unix(self._slirp, self._text(path), address, port) < 0:
            raise ValueError(f"{guest}:{port} is taken, or not in the network of the guest")

    def room(self, guest: str, port: int) -> int:
        """How many bytes `give` may pass on now."""
        return int(self._lib.slirp_socket_can_recv(self._slirp, (_address(guest),), port))

    def give(self, guest: str, port: int, data: bytes) -> None:
        """Data for the guest on a port of `add_guestfwd`."""
        self._lib.slirp_socket_recv(self._slirp, (_address(guest),), port, data, len(data))
        self._check()

    def connections(self) -> str:
        """The connections as a table for people."""
        text = self._lib.slirp_connection_info(self._slirp)
        if text == self._ffi.NULL:
            return ""
        shown = self._ffi.string(text).decode("utf-8", "replace")
        libc_free(self._ffi, text)
        return shown

    def close(self) -> None:
        """Close every socket."""
        if not self._closed:
            self._closed = True
            self._wire.stack = _host.ffi.NULL
            self._lib.slirp_cleanup(self._slirp)


def libc_free(ffi: Any, pointer: Any) -> None:
    """What the library allocated with malloc for its caller."""
    ffi.dlopen(None).free(pointer)


def _address(text: str) -> int:
    """A dotted address as it lies in `struct in_addr`."""
    return int.from_bytes(socket.inet_aton(text), "little" if _LITTLE else "big")


_LITTLE = socket.htonl(1) != 1
