"""Keys as X11 and VNC name them (keysymdef.h) under the names of `devices.keymap`, for a US keyboard."""

from __future__ import annotations

from devices.keymap import EXTENDED, MAKE, PLAIN, SHIFTED

NAMED = {
    0xFF08: "backspace", 0xFF09: "tab", 0xFE20: "tab", 0xFF0A: "ret", 0xFF0D: "ret", 0xFF13: "pause",
    0xFF14: "scroll_lock", 0xFF15: "sysrq", 0xFF1B: "esc", 0xFF50: "home", 0xFF51: "left", 0xFF52: "up",
    0xFF53: "right", 0xFF54: "down", 0xFF55: "pgup", 0xFF56: "pgdn", 0xFF57: "end", 0xFF61: "print", 0xFF63: "insert",
    0xFF67: "menu", 0xFF6B: "pause", 0xFF7F: "num_lock", 0xFF80: "spc", 0xFF89: "tab", 0xFF8D: "kp_enter",
    0xFF95: "kp_7", 0xFF96: "kp_4", 0xFF97: "kp_8", 0xFF98: "kp_6", 0xFF99: "kp_2", 0xFF9A: "kp_9", 0xFF9B: "kp_3",
    0xFF9C: "kp_1", 0xFF9D: "kp_5", 0xFF9E: "kp_0", 0xFF9F: "kp_decimal", 0xFFAA: "kp_multiply", 0xFFAB: "kp_add",
    0xFFAD: "kp_subtract", 0xFFAE: "kp_decimal", 0xFFAF: "kp_divide", 0xFFE1: "shift", 0xFFE2: "shift_r",
    0xFFE3: "ctrl", 0xFFE4: "ctrl_r", 0xFFE5: "caps_lock", 0xFFE7: "meta_l", 0xFFE8: "meta_r", 0xFFE9: "alt",
    0xFFEA: "alt_r", 0xFFEB: "meta_l", 0xFFEC: "meta_r", 0xFE03: "alt_r", 0xFFFF: "delete",
    **{0xFFB0 + n: f"kp_{n}" for n in range(10)},
    **{0xFFBD + n: f"f{n}" for n in range(1, 13)},
}  # fmt: skip
LATIN_1 = 0x100
SHIFTS = ("shift", "shift_r")
SCANCODES = {make[0] if len(make) == 1 else 0x80 | make[1]: name for name, make in MAKE.items() if len(make) <= 2}
"""Keys by what QEMU's VNC extension sends: set 1 codes, bit 7 for those with a prefix."""
SCANCODES |= {0x80 | code: name for name, code in EXTENDED.items()} | {0xB7: "print", 0xC6: "pause"}


def key_of(keysym: int) -> tuple[str, bool] | None:
    """The key and whether it takes Shift; None for what such a keyboard lacks."""
    if keysym in NAMED:
        return NAMED[keysym], False
    if not 0x20 <= keysym < LATIN_1:
        return None
    char = chr(keysym)
    if char in SHIFTED:
        plain = SHIFTED[char]
        return PLAIN.get(plain, plain), True
    if char in PLAIN:
        return PLAIN[char], False
    if char.isascii() and char.isalnum():
        return char.lower(), char.isupper()
    return None
