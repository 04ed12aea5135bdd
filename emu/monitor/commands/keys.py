"""Keyboard, mouse and screen: sendkey, mouse_move, input-send-event, screendump."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devices.keymap import key_break, key_make
from devices.vga import Vga
from emu.display.picture import FORMATS, picture
from emu.monitor.registry import Refused, hmp, info, qmp
from emu.options import shown

if TYPE_CHECKING:
    from emu.monitor.control import Control

HOLD_MS = 100
LONGEST_HOLD = 60_000
MOST_KEYS = 16
BUTTONS = {"left": 1, "right": 2, "middle": 4}
NUMBERS = {
    1: "esc", 14: "backspace", 15: "tab", 28: "ret", 29: "ctrl", 42: "shift", 54: "shift_r", 56: "alt", 57: "spc",
    58: "caps_lock",
}  # fmt: skip


def _press(control: Control, names: list[str], hold: int) -> None:
    """Press keys in order, hold them for `hold` ms, let them go in reverse. Raises Refused."""
    if not 0 < len(names) <= MOST_KEYS:
        raise Refused(f"Expected 1 to {MOST_KEYS} keys")
    if not 0 <= hold <= LONGEST_HOLD:
        raise Refused(f"Expected a hold time of 0 to {LONGEST_HOLD} ms")
    try:
        down = [key_make(name) for name in names]
        up = [key_break(name) for name in reversed(names)]
    except ValueError:
        bad = next(name for name in names if not _is_key(name))
        raise Refused(f"invalid parameter: {bad[:40]}") from None
    pause = hold * 1_000_000
    codes = [(code.hex(), 0) for code in down[:-1]] + [(down[-1].hex(), pause)]
    codes += [(code.hex(), 0) for code in up[:-1]] + [(up[-1].hex(), pause)]
    control.actions.do("keys", [code for code in codes if code[0]])


def _is_key(name: str) -> bool:
    try:
        key_make(name)
    except ValueError:
        return False
    return True


@hmp("sendkey", "keys:w hold:i?", "keys [hold_ms]", "send keys to the VM (e.g. 'sendkey ctrl-alt-f1')")
def sendkey(control: Control, keys: str, hold: int = HOLD_MS) -> None:
    names = [name or "minus" for name in keys.replace("--", "-").split("-")] if keys != "-" else ["minus"]
    _press(control, [_number(name) for name in names], hold)


def _number(name: str) -> str:
    """A key by its set 1 code in hexadecimal (0x1e) is allowed too."""
    if name[:2] not in ("0x", "0X"):
        return name
    from devices.keymap import MAKE

    try:
        code = int(name, 16)
    except ValueError:
        return name
    return next((key for key, make in MAKE.items() if make == bytes((code & 0xFF,)) and code < 0x80), name)


@qmp("send-key")
def send_key(control: Control, keys: list[Any], hold_time: int = HOLD_MS) -> None:
    _press(control, [_key_value(key) for key in keys], hold_time)


def _key_value(key: Any) -> str:
    if not isinstance(key, dict) or "type" not in key or "data" not in key:
        raise Refused("Parameter 'keys' expects records with type and data")
    if key["type"] == "qcode" and isinstance(key["data"], str):
        return key["data"]
    if key["type"] == "number" and isinstance(key["data"], int):
        return _number(f"0x{key['data']:x}")
    raise Refused("Parameter 'keys' expects a qcode or a number")


# -- mouse


@hmp("mouse_move", "dx:i dy:i dz:i?", "dx dy [dz]", "send mouse move events")
def mouse_move(control: Control, dx: int, dy: int, dz: int = 0) -> None:
    control.actions.do("mouse_move", *(_signed(value) for value in (dx, dy, dz)))


def _signed(value: int) -> int:
    """At most what a mouse can say in a few packets."""
    value &= (1 << 64) - 1
    return max(-4096, min(4096, value - (1 << 64) if value >> 63 else value))


@hmp("mouse_button", "state:i", "state", "change mouse button state (1=L, 2=M, 4=R)")
def mouse_button(control: Control, state: int) -> None:
    control.actions.do("mouse_buttons", state & 1 | (state >> 2 & 1) << 1 | (state >> 1 & 1) << 2)


@info("mice", "show which guest mouse is receiving events")
def info_mice(control: Control) -> str:
    return "* Mouse #2: PS/2 Mouse\n" if "kbd" in control.machine.devices else "No mouse devices connected\n"


@qmp("query-mice")
def query_mice(control: Control) -> list[dict[str, Any]]:
    there = "kbd" in control.machine.devices
    return [{"name": "PS/2 Mouse", "index": 2, "current": True, "absolute": False}] if there else []


@qmp("input-send-event")
def input_send_event(control: Control, events: list[Any], device: str = "", head: int = 0) -> None:
    """Keys and buttons go down or up, the mouse moves."""
    steps = [_event(event) for event in events]
    move = {"x": 0, "y": 0}
    for name, *args in steps:
        if name == "move":
            move[args[0]] += args[1]
        else:
            control.actions.do(name, *args)
    if move["x"] or move["y"]:
        control.actions.do("mouse_move", _signed(move["x"]), _signed(move["y"]), 0)


def _event(event: Any) -> tuple[Any, ...]:
    """What to do for one event. Raises Refused."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict):
        raise Refused("Parameter 'events' expects records with type and data")
    kind = event.get("type")
    if kind == "key" and isinstance(data.get("down"), bool):
        name = _key_value(data.get("key"))
        if not _is_key(name):
            raise Refused(f"Parameter 'key' does not accept value '{name[:40]}'")
        code = key_make(name) if data["down"] else key_break(name)
        return "keys", [(code.hex(), 0)] if code else []
    if kind == "btn" and isinstance(data.get("down"), bool):
        if data.get("button") in BUTTONS:
            return "mouse_button", BUTTONS[data["button"]], data["down"]
        if data.get("button") in ("wheel-up", "wheel-down"):
            return "mouse_move", 0, 0, (1 if data["button"] == "wheel-up" else -1) if data["down"] else 0
    if kind == "rel" and data.get("axis") in ("x", "y") and isinstance(data.get("value"), int):
        return "move", data["axis"], data["value"]
    if kind == "abs":
        raise Refused("The machine has no pointing device with absolute axes")
    raise Refused("An event is of no kind that there is")


# -- screen


@hmp("screendump", "filename:w flag:w? format:w?", "filename [-f format]", "save screen, as PPM or as -f png|ppm says")
def screendump_line(control: Control, filename: str, flag: str = "", format: str = "") -> None:
    if flag not in ("", "-f") or bool(flag) != bool(format):
        raise Refused("Expected screendump FILE [-f png|ppm]")
    screendump(control, filename, format=format or ("png" if filename.endswith(".png") else "ppm"))


@qmp("screendump")
def screendump(control: Control, filename: str, device: str = "", head: int = 0, format: str = "ppm") -> None:
    vga = control.machine.devices.get("vga")
    if not isinstance(vga, Vga):
        raise Refused("There is no console to take a screendump from")
    if format not in FORMATS:
        raise Refused(f"Parameter 'format' does not accept value '{format[:40]}'")
    try:
        with open(filename, "wb") as file:
            file.write(picture(vga, format))
    except (OSError, ValueError) as error:
        raise Refused(f"failed to open file '{shown(filename)}': {getattr(error, 'strerror', None) or error}") from None
