"""INT 09h (keyboard interrupt) and INT 16h (keyboard services).

Scan codes are set 1, as the 8042 translates them. A key becomes a word: scan code in the high byte, ASCII in the low
byte; which word depends on the shift keys. Source: PS/2 BIOS Interface Technical Reference, INT 09h and INT 16h and its
appendix of scan codes.
"""

from __future__ import annotations

from dataclasses import dataclass

from bios.pc import bda, rom
from bios.pc.host import Action
from bios.pc.interrupts import end_of_interrupt, vector_is_ours
from bios.pc.service import CARRY, Call, hook, idle, service

# Bits of the two flag bytes and of the mode byte in the BDA.
RIGHT_SHIFT, LEFT_SHIFT, CTRL, ALT, SCROLL_LOCK, NUM_LOCK, CAPS_LOCK, INSERT = (1 << n for n in range(8))
LEFT_CTRL, LEFT_ALT, SYSREQ, PAUSED = 0x01, 0x02, 0x04, 0x08
LAST_E1, LAST_E0, RIGHT_CTRL, RIGHT_ALT, ENHANCED = 0x01, 0x02, 0x04, 0x08, 0x10

SHIFT = LEFT_SHIFT | RIGHT_SHIFT


@dataclass(frozen=True)
class Key:
    """The words a key gives: alone, with Shift, with Ctrl, with Alt. None: nothing."""

    plain: int | None
    shift: int | None
    ctrl: int | None
    alt: int | None


def _letters(keys: dict[int, Key]) -> None:
    for first, row in ((0x10, "qwertyuiop"), (0x1E, "asdfghjkl"), (0x2C, "zxcvbnm")):
        for scan, letter in enumerate(row, first):
            code = ord(letter)
            keys[scan] = Key(scan << 8 | code, scan << 8 | (code - 32), scan << 8 | (code & 0x1F), scan << 8)


def _key_table() -> dict[int, Key]:
    keys: dict[int, Key] = {}
    _letters(keys)
    ctrl_digits = {0x03: 0x0300, 0x07: 0x071E, 0x0C: 0x0C1F}  # Ctrl-2 (NUL), Ctrl-6 (RS), Ctrl-minus (US)
    for scan, (low, high) in enumerate(zip("1234567890-=", "!@#$%^&*()_+", strict=True), 0x02):
        keys[scan] = Key(scan << 8 | ord(low), scan << 8 | ord(high), ctrl_digits.get(scan), (scan + 0x76) << 8)
    punctuation = {0x1A: "[{", 0x1B: "]}", 0x27: ";:", 0x28: "'\"", 0x29: "`~", 0x2B: "\\|", 0x33: ",<", 0x34: ".>"}
    punctuation |= {0x35: "/?", 0x56: "\\|"}
    ctrl_punctuation = {0x1A: 0x1A1B, 0x1B: 0x1B1D, 0x2B: 0x2B1C}
    for scan, (low, high) in ((scan, tuple(pair)) for scan, pair in punctuation.items()):
        alt = scan << 8 if scan != 0x56 else None
        keys[scan] = Key(scan << 8 | ord(low), scan << 8 | ord(high), ctrl_punctuation.get(scan), alt)
    keys[0x01] = Key(0x011B, 0x011B, 0x011B, 0x0100)
    keys[0x0E] = Key(0x0E08, 0x0E08, 0x0E7F, 0x0E00)
    keys[0x0F] = Key(0x0F09, 0x0F00, 0x9400, 0xA500)
    keys[0x1C] = Key(0x1C0D, 0x1C0D, 0x1C0A, 0x1C00)
    keys[0x39] = Key(0x3920, 0x3920, 0x3920, 0x3920)
    keys[0x37] = Key(0x372A, 0x372A, 0x9600, 0x3700)
    for n in range(10):  # F1..F10
        keys[0x3B + n] = Key((0x3B + n) << 8, (0x54 + n) << 8, (0x5E + n) << 8, (0x68 + n) << 8)
    keys[0x57] = Key(0x8500, 0x8700, 0x8900, 0x8B00)
    keys[0x58] = Key(0x8600, 0x8800, 0x8A00, 0x8C00)
    keys[0x4A] = Key(0x4A2D, 0x4A2D, 0x8E00, 0x4A00)
    keys[0x4E] = Key(0x4E2B, 0x4E2B, 0x9000, 0x4E00)
    return keys


KEYS = _key_table()

# The keypad: scan code -> digit or point, Ctrl word. Alt with a digit types a character by number.
KEYPAD = {
    0x47: (ord("7"), 0x7700),
    0x48: (ord("8"), 0x8D00),
    0x49: (ord("9"), 0x8400),
    0x4B: (ord("4"), 0x7300),
    0x4C: (ord("5"), 0x8F00),
    0x4D: (ord("6"), 0x7400),
    0x4F: (ord("1"), 0x7500),
    0x50: (ord("2"), 0x9100),
    0x51: (ord("3"), 0x7600),
    0x52: (ord("0"), 0x9200),
    0x53: (ord("."), 0x9300),
}
# The same keys with prefix E0 (the grey ones): words for Alt.
GREY_ALT = {scan: (scan + 0x50) << 8 for scan in (0x47, 0x48, 0x49, 0x4B, 0x4D, 0x4F, 0x50, 0x51, 0x52, 0x53)}
MODIFIERS = {0x2A: LEFT_SHIFT, 0x36: RIGHT_SHIFT, 0x1D: CTRL, 0x38: ALT}
LOCKS = {0x3A: CAPS_LOCK, 0x45: NUM_LOCK, 0x46: SCROLL_LOCK}
LETTER_SCANS = frozenset((*range(0x10, 0x1A), *range(0x1E, 0x27), *range(0x2C, 0x33)))

# --- the buffer ---------------------------------------------------------------------------------------------------


def _limits(call: Call) -> tuple[int, int]:
    start, end = call.bda.word(bda.KBD_BUFFER_START), call.bda.word(bda.KBD_BUFFER_END)
    if start >= end or (end - start) & 1:
        start, end = bda.KBD_BUFFER, bda.KBD_BUFFER + 32
    return start, end


def _after(call: Call, pointer: int) -> int:
    start, end = _limits(call)
    pointer += 2
    return start if pointer >= end or pointer < start else pointer


def put_key(call: Call, word: int) -> bool:
    """Append a key to the buffer. False if it is full."""
    tail = call.bda.word(bda.KBD_TAIL)
    after = _after(call, tail)
    if after == call.bda.word(bda.KBD_HEAD):
        return False
    call.bda.set_word(tail, word)
    call.bda.set_word(bda.KBD_TAIL, after)
    return True


def peek_key(call: Call) -> int | None:
    """The oldest key in the buffer, left there."""
    head = call.bda.word(bda.KBD_HEAD)
    return None if head == call.bda.word(bda.KBD_TAIL) else call.bda.word(head)


def drop_key(call: Call) -> None:
    call.bda.set_word(bda.KBD_HEAD, _after(call, call.bda.word(bda.KBD_HEAD)))


# --- INT 09h ------------------------------------------------------------------------------------------------------


@hook("irq1")
def keyboard_interrupt(call: Call) -> None:
    """A scan code has arrived. It goes through INT 15h AH=4Fh only if a program has hooked INT 15h."""
    if vector_is_ours(call, 0x15, rom.VECTORS[0x15]):
        _finish(call, call.inb(0x60), pushed=False)


@hook("irq1.intercept")
def intercept(call: Call) -> None:
    """Load the scan code for INT 15h AH=4Fh. The stub has saved AX."""
    call.al = call.inb(0x60)
    call.ah = 0x4F


@hook("irq1.key")
def intercepted(call: Call) -> None:
    """Back from INT 15h: carry set means that AL is to be used."""
    if call.host.reg("eflags") & CARRY:
        _finish(call, call.al, pushed=True)
    else:
        end_of_interrupt(call, 1)


@hook("irq1.pause")
def paused(call: Call) -> Action | None:
    """Held by the Pause key until another key ends it."""
    return Action.WAIT if call.bda.byte(bda.KBD_FLAGS2) & PAUSED else None


def _finish(call: Call, scan: int, *, pushed: bool) -> None:
    """Handle a scan code, end the interrupt and go on where the key asks for."""
    target = handle_scan_code(call, scan)
    end_of_interrupt(call, 1)
    if target == "pause":
        call.jump(rom.LABELS["irq1.pause_ax"] + (0 if pushed else 1))
    elif target:
        if target == "sysreq":
            call.al = 0 if scan < 0x80 else 1
        call.jump(rom.LABELS[f"irq1.{target}_ax" if pushed else f"irq1.{target}"])
    elif not pushed:
        call.jump(rom.LABELS["irq1.done"])


def handle_scan_code(call: Call, scan: int) -> str:
    """Update the shift state and the buffer. Gives "break", "print", "sysreq", "pause" or ""."""
    mode = call.bda.byte(bda.KBD_MODE)
    if scan in (0xE0, 0xE1):
        call.bda.set_byte(bda.KBD_MODE, mode | (LAST_E0 if scan == 0xE0 else LAST_E1))
        return ""
    if scan in (0x00, 0xFA, 0xFE, 0xFF):  # replies and errors of the keyboard, not keys
        return ""
    grey = bool(mode & LAST_E0)
    released, key = bool(scan & 0x80), scan & 0x7F
    if mode & LAST_E1:  # Pause is E1 1D 45 E1 9D C5: the prefix lasts until the second code
        if key == 0x1D:
            return ""
        call.bda.set_byte(bda.KBD_MODE, mode & ~LAST_E1)
        return "" if released else _pause(call)
    call.bda.set_byte(bda.KBD_MODE, mode & ~LAST_E0)
    if key in MODIFIERS:
        if not (grey and key in (0x2A, 0x36)):  # E0 2A and E0 36 are padding around grey keys
            _modifier(call, key, grey, released)
        return ""
    if key in LOCKS and not (grey and key == 0x46):
        return _lock(call, key, released)
    if key == 0x52 and not (call.bda.byte(bda.KBD_FLAGS) & ALT) and released:
        call.bda.update_byte(bda.KBD_FLAGS2, 0x80, 0)
        return ""
    if key == 0x54:
        call.bda.update_byte(bda.KBD_FLAGS2, SYSREQ if released else 0, 0 if released else SYSREQ)
        return "sysreq"
    if released:
        return ""
    if call.bda.byte(bda.KBD_FLAGS2) & PAUSED:
        call.bda.update_byte(bda.KBD_FLAGS2, PAUSED, 0)
        return ""
    return _make(call, key, grey)


def _modifier(call: Call, key: int, grey: bool, released: bool) -> None:
    bit = MODIFIERS[key]
    if bit in (CTRL, ALT):
        field, side = (
            (bda.KBD_MODE, RIGHT_CTRL if bit == CTRL else RIGHT_ALT)
            if grey
            else (
                bda.KBD_FLAGS2,
                LEFT_CTRL if bit == CTRL else LEFT_ALT,
            )
        )
        call.bda.update_byte(field, side if released else 0, 0 if released else side)
        left = call.bda.byte(bda.KBD_FLAGS2) & (LEFT_CTRL if bit == CTRL else LEFT_ALT)
        right = call.bda.byte(bda.KBD_MODE) & (RIGHT_CTRL if bit == CTRL else RIGHT_ALT)
        call.bda.update_byte(bda.KBD_FLAGS, bit, bit if left or right else 0)
        if bit == ALT and released and not (left or right):
            number = call.bda.byte(bda.ALT_KEYPAD)
            call.bda.set_byte(bda.ALT_KEYPAD, 0)
            if number:
                put_key(call, number)
    else:
        call.bda.update_byte(bda.KBD_FLAGS, bit, 0 if released else bit)


def _lock(call: Call, key: int, released: bool) -> str:
    bit = LOCKS[key]
    flags = call.bda.byte(bda.KBD_FLAGS)
    if not released and flags & CTRL:
        if key == 0x46:
            return _break(call)
        if key == 0x45:
            return _pause(call)
    held = call.bda.byte(bda.KBD_FLAGS2)
    if released:
        call.bda.set_byte(bda.KBD_FLAGS2, held & ~bit)
    elif not held & bit:
        call.bda.set_byte(bda.KBD_FLAGS2, held | bit)
        flags ^= bit
        call.bda.set_byte(bda.KBD_FLAGS, flags)
        call.bda.update_byte(bda.KBD_LEDS, 0x07, flags >> 4 & 0x07)
    return ""


def _pause(call: Call) -> str:
    if call.bda.byte(bda.KBD_FLAGS2) & PAUSED:
        return ""
    call.bda.update_byte(bda.KBD_FLAGS2, 0, PAUSED)
    return "pause"


def _break(call: Call) -> str:
    call.bda.set_byte(bda.BREAK_FLAG, 0x80)
    start, _ = _limits(call)
    call.bda.set_word(bda.KBD_HEAD, start)
    call.bda.set_word(bda.KBD_TAIL, start)
    put_key(call, 0)
    return "break"


def _make(call: Call, key: int, grey: bool) -> str:
    flags = call.bda.byte(bda.KBD_FLAGS)
    if grey and key == 0x46:
        return _break(call) if flags & CTRL else ""
    if grey and key == 0x37 and not flags & (CTRL | ALT):
        return "print"
    if key == 0x37 and not grey and flags & SHIFT and not flags & (CTRL | ALT):
        put_key(call, 0x372A)
        return ""
    if key == 0x53 and flags & CTRL and flags & ALT:
        call.bda.set_word(bda.RESET_FLAG, bda.CTRL_ALT_DEL_MAGIC)
        call.host.request_reset()
        return ""
    if key in KEYPAD:
        word = _keypad(call, key, grey, flags)
    else:
        word = _word(key, grey, flags)
    if word is not None:
        put_key(call, word)
    return ""


def _keypad(call: Call, key: int, grey: bool, flags: int) -> int | None:
    digit, with_ctrl = KEYPAD[key]
    if grey:
        if flags & ALT:
            return GREY_ALT.get(key)
        if flags & CTRL:
            return with_ctrl | 0xE0
        if key == 0x52:
            _insert(call)
        return key << 8 | 0xE0
    if flags & ALT:
        if digit != ord("."):
            call.bda.set_byte(bda.ALT_KEYPAD, call.bda.byte(bda.ALT_KEYPAD) * 10 + digit - ord("0"))
        return None
    if flags & CTRL:
        return with_ctrl
    if bool(flags & NUM_LOCK) != bool(flags & SHIFT):
        return key << 8 | digit
    if key == 0x52:
        _insert(call)
    return key << 8


def _insert(call: Call) -> None:
    if not call.bda.byte(bda.KBD_FLAGS2) & 0x80:
        call.bda.update_byte(bda.KBD_FLAGS2, 0, 0x80)
        call.bda.set_byte(bda.KBD_FLAGS, call.bda.byte(bda.KBD_FLAGS) ^ INSERT)


def _word(key: int, grey: bool, flags: int) -> int | None:
    if grey and key == 0x35:  # the keypad's slash
        return 0xA400 if flags & ALT else 0x9500 if flags & CTRL else 0xE02F
    if grey and key == 0x1C:  # the keypad's Enter
        return 0xA600 if flags & ALT else 0xE00A if flags & CTRL else 0xE00D
    if grey and key == 0x37:
        return 0x7200 if flags & CTRL else None
    entry = KEYS.get(key)
    if entry is None:
        return None
    if flags & ALT:
        return entry.alt
    if flags & CTRL:
        return entry.ctrl
    shifted = bool(flags & SHIFT)
    if key in LETTER_SCANS and flags & CAPS_LOCK:
        shifted = not shifted
    return entry.shift if shifted else entry.plain


# --- INT 16h ------------------------------------------------------------------------------------------------------


def _classic(word: int) -> int | None:
    """What the 83-key functions make of an enhanced key: the plain one it stands beside, or None."""
    scan, character = word >> 8, word & 0xFF
    if scan == 0xE0:
        return 0x352F if character == 0x2F else 0x1C00 | character
    if character == 0xE0 and scan:
        return scan << 8
    if character == 0xF0 and scan:
        return None
    return None if scan > 0x84 and character == 0 else word


def _next(call: Call, enhanced: bool) -> int | None:
    """The next key as a function of that kind reports it; keys it cannot report are thrown away."""
    while (word := peek_key(call)) is not None:
        shown = (word & 0xFF00 if word & 0xFF == 0xF0 and word >> 8 else word) if enhanced else _classic(word)
        if shown is not None:
            return shown
        drop_key(call)
    return None


def _read(call: Call, enhanced: bool) -> Action | None:
    word = _next(call, enhanced)
    if word is None:
        return Action.WAIT
    drop_key(call)
    call.ax = word
    return None


def _poll(call: Call, enhanced: bool) -> Action | None:
    word = _next(call, enhanced)
    if word is not None:
        call.bios.busy()
        call.ax = word
        call.zero = False
        return None
    if idle(call):
        return Action.WAIT
    call.zero = True
    return None


@service(0x16, ah=0x00)
def read_key(call: Call) -> Action | None:
    """AX = next key, waiting for it."""
    return _read(call, enhanced=False)


@service(0x16, ah=0x10)
def read_enhanced_key(call: Call) -> Action | None:
    return _read(call, enhanced=True)


@service(0x16, ah=0x01)
def check_key(call: Call) -> Action | None:
    """ZF set if no key waits; else AX = the key, left in the buffer."""
    return _poll(call, enhanced=False)


@service(0x16, ah=0x11)
def check_enhanced_key(call: Call) -> Action | None:
    return _poll(call, enhanced=True)


@service(0x16, ah=0x02)
def shift_flags(call: Call) -> None:
    """AL = shift and lock state."""
    call.al = call.bda.byte(bda.KBD_FLAGS)


@service(0x16, ah=0x12)
def extended_shift_flags(call: Call) -> None:
    """AL as AH=02h; AH = which of the two Ctrl and Alt keys, and locks held down."""
    flags2, mode = call.bda.byte(bda.KBD_FLAGS2), call.bda.byte(bda.KBD_MODE)
    call.al = call.bda.byte(bda.KBD_FLAGS)
    call.ah = (flags2 & 0x73) | (0x80 if flags2 & SYSREQ else 0) | (mode & 0x0C)


@service(0x16, ah=0x03)
def typematic(call: Call) -> None:
    """Repeat rate and delay: accepted, the keyboard keeps its own."""


@service(0x16, ah=0x05)
def store_key(call: Call) -> None:
    """Put CX into the buffer; AL = 1 if it is full."""
    call.al = 0 if put_key(call, call.cx) else 1


@service(0x16, ah=0x09)
def functionality(call: Call) -> None:
    """AL: AH=10h..12h are supported."""
    call.al = 0x20


@service(0x16, ah=0x0A)
def identify(call: Call) -> None:
    """BX = keyboard ID: a 101-key keyboard behind translation."""
    call.bx = 0x41AB


@service(0x16)
def unsupported(call: Call) -> None:
    """Other functions leave the registers alone, as PC BIOSes do."""
