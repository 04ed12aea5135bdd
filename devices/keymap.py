"""Keys of a US keyboard: names, scan codes, and how to type a text.

Names are those of QEMU's `sendkey` (`a`, `ret`, `f1`, `pgup`, `kp_add`). Codes are given in set 1; sets 2 and 3 follow
from the tables below. A key press travels as set 1 bytes ("make", then "break" with bit 7) until the keyboard in
devices.i8042 turns it into whatever set the guest chose.

Scan code tables: IBM PS/2 Hardware Interface Technical Reference, keyboards, sections "Scan Code Set 1..3".
"""

from __future__ import annotations

from collections.abc import Iterator

ROWS = (
    (0x01, "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl"),
    (0x1E, "a s d f g h j k l semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot slash shift_r"),
    (0x37, "kp_multiply alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock"),
    (0x47, "kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq"),
    (0x56, "less f11 f12 kp_equals f20 lf"),
    (0x5D, "f13 f14 f15"),
)
# Keys of Japanese, Korean and terminal keyboards, further function keys.
MORE = {
    "open": 0x64, "f23": 0x6D, "f24": 0x6F, "katakanahiragana": 0x70, "lang2": 0x71, "lang1": 0x72, "ro": 0x73,
    "hiragana": 0x77, "katakana": 0x78, "henkan": 0x79, "muhenkan": 0x7B, "yen": 0x7D, "kp_comma": 0x7E, "f16": 0x55,
}  # fmt: skip
EXTENDED = {
    "kp_enter": 0x1C,
    "ctrl_r": 0x1D,
    "kp_divide": 0x35,
    "alt_r": 0x38,
    "home": 0x47,
    "up": 0x48,
    "pgup": 0x49,
    "left": 0x4B,
    "right": 0x4D,
    "end": 0x4F,
    "down": 0x50,
    "pgdn": 0x51,
    "insert": 0x52,
    "delete": 0x53,
    "meta_l": 0x5B,
    "meta_r": 0x5C,
    "menu": 0x5D,
    "f17": 0x03, "f19": 0x04, "again": 0x05, "props": 0x06, "undo": 0x07, "front": 0x0C, "audioprev": 0x10,
    "audionext": 0x19, "audiomute": 0x20, "calculator": 0x21, "audioplay": 0x22, "audiostop": 0x24, "volumedown": 0x2E,
    "volumeup": 0x30, "ac_home": 0x32, "cut": 0x3C, "power": 0x5E, "sleep": 0x5F, "wake": 0x63, "paste": 0x65,
    "ac_bookmarks": 0x66, "ac_refresh": 0x67, "stop": 0x68, "ac_forward": 0x69, "ac_back": 0x6A, "computer": 0x6B,
    "mail": 0x6C, "mediaselect": 0x6D, "find": 0x41, "f21": 0x74, "help": 0x75, "f18": 0x77, "copy": 0x78, "f22": 0x79,
}  # fmt: skip

MAKE: dict[str, bytes] = {name: bytes((first + i,)) for first, names in ROWS for i, name in enumerate(names.split())}
"""The set 1 bytes sent when a key goes down."""
MAKE.update((name, bytes((code,))) for name, code in MORE.items())
MAKE.update((name, bytes((0xE0, code))) for name, code in EXTENDED.items())
MAKE["print"] = bytes.fromhex("e02ae037")
MAKE["pause"] = bytes.fromhex("e11d45e19dc5")

ALIASES = {
    "enter": "ret",
    "return": "ret",
    "space": "spc",
    "escape": "esc",
    "ctrl_l": "ctrl",
    "alt_l": "alt",
    "shift_l": "shift",
    "asterisk": "kp_multiply",
    "kp_period": "kp_decimal",
    "del": "delete",
    "ins": "insert",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "backtick": "grave_accent",
    "win": "meta_l",
    "altgr": "alt_r",
    "compose": "menu",
}

PLAIN = {
    " ": "spc",
    "\n": "ret",
    "\r": "ret",
    "\t": "tab",
    "\b": "backspace",
    "\x7f": "backspace",
    "\x1b": "esc",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    "\\": "backslash",
    ",": "comma",
    ".": "dot",
    "/": "slash",
}
SHIFTED = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))

SET2 = bytes.fromhex(
    "00 76 16 1e 26 25 2e 36 3d 3e 46 45 4e 55 66 0d"
    "15 1d 24 2d 2c 35 3c 43 44 4d 54 5b 5a 14 1c 1b"
    "23 2b 34 33 3b 42 4b 4c 52 0e 12 5d 1a 22 21 2a"
    "32 31 3a 41 49 4a 59 7c 11 29 58 05 06 04 0c 03"
    "0b 83 0a 01 09 77 7e 6c 75 7d 7b 6b 73 74 79 69"
    "72 7a 70 71 84 60 61 78 07 0f 17 1f 27 2f 37 3f"
    "47 4f 56 5e 08 10 18 20 28 30 38 40 48 50 57 6f"
    "13 19 39 51 53 5c 5f 62 63 64 65 67 68 6a 6d 6e"
)
"""Set 2 code of each set 1 code 0x00..0x7F; the prefix 0xE0 is the same in both."""

SET3 = bytes.fromhex(
    "00 08 16 1e 26 25 2e 36 3d 3e 46 45 4e 55 66 0d"
    "15 1d 24 2d 2c 35 3c 43 44 4d 54 5b 5a 11 1c 1b"
    "23 2b 34 33 3b 42 4b 4c 52 0e 12 5c 1a 22 21 2a"
    "32 31 3a 41 49 4a 59 7e 19 29 14 07 0f 17 1f 27"
    "2f 37 3f 47 4f 76 5f 6c 75 7d 84 6b 73 74 7c 69"
    "72 7a 70 71 57 00 13 56 5e 00 00 00 00 00 00 00"
)
"""Set 3 code of each set 1 code without prefix."""
SET3_EXTENDED = {
    0x1C: 0x79,
    0x1D: 0x58,
    0x35: 0x4A,
    0x37: 0x57,
    0x38: 0x39,
    0x47: 0x6E,
    0x48: 0x63,
    0x49: 0x6F,
    0x4B: 0x61,
    0x4D: 0x6A,
    0x4F: 0x65,
    0x50: 0x60,
    0x51: 0x6D,
    0x52: 0x67,
    0x53: 0x64,
    0x5B: 0x8B,
    0x5C: 0x8C,
    0x5D: 0x8D,
}
"""Set 3 code of each set 1 code with the prefix 0xE0."""

TO_SET1 = {code: set1 for set1, code in enumerate(SET2)} | {0x00: 0xFF, 0x02: 0x41, 0x7F: 0x54}
"""What the 8042 makes of a set 2 code when it translates; codes not here pass unchanged."""


def key_make(name: str) -> bytes:
    """Set 1 bytes of pressing the named key. Raises ValueError for a name that is not a key."""
    name = name.lower()
    code = MAKE.get(ALIASES.get(name, PLAIN.get(name, name)))
    if code is None:
        raise ValueError(f"no key is called {name!r}")
    return code


def key_break(name: str) -> bytes:
    """Set 1 bytes of releasing the named key; none for `pause`, which sends everything when it is pressed."""
    if name.lower() == "pause":
        return b""
    if name.lower() == "print":
        return bytes.fromhex("e0b7e0aa")
    make = key_make(name)
    return make[:-1] + bytes((make[-1] | 0x80,))


def chord(names: str) -> bytes:
    """Set 1 bytes of a `sendkey` word such as `ctrl-alt-delete`: pressed in order, released in reverse."""
    keys = [key or "minus" for key in names.replace("--", "-").split("-")] if names != "-" else ["minus"]
    return b"".join(map(key_make, keys)) + b"".join(map(key_break, reversed(keys)))


def type_text(text: str) -> Iterator[bytes]:
    """Set 1 bytes for each character of `text`, one press and release (with Shift or Ctrl) at a time.

    Control characters without a key of their own are typed with Ctrl. Raises ValueError for what a US keyboard lacks.
    """
    for char in text:
        if char in SHIFTED:
            yield chord_of("shift", PLAIN.get(SHIFTED[char], SHIFTED[char]))
        elif char in PLAIN:
            yield chord_of(PLAIN[char])
        elif char.isascii() and char.isalnum():
            yield chord_of("shift", char.lower()) if char.isupper() else chord_of(char)
        elif "\x01" <= char <= "\x1a":
            yield chord_of("ctrl", chr(ord(char) + 0x60))
        else:
            raise ValueError(f"no key types {char!r}")


def chord_of(*keys: str) -> bytes:
    """Set 1 bytes of pressing the keys in order and releasing them in reverse."""
    return b"".join(map(key_make, keys)) + b"".join(map(key_break, reversed(keys)))
