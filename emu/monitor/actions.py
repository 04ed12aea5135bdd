"""What a person or program does to a machine from outside: keys, reset, media, the balloon, ports.

Each of these goes through the gate (`emu.inputs`) as a message that says it all, stamped, so that a recording of the
run has it and a replay does it again. What only looks, or only stops and starts the wall, does not come here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from devices.acpi_pm import AcpiPm
from devices.atapi import AtapiCdrom
from devices.fdc82077 import FloppyDrive
from devices.i8042 import I8042
from emu.machine import Machine
from emu.memory import Dma, Kind
from emu.monitor.registry import Refused

if TYPE_CHECKING:
    from emu.monitor.control import Block

MOUSE_BUTTONS = 7
KEY_RETRY = 20_000_000  # ns until a full keyboard is offered its key again
KEY_TRIES = 250
KEYS_WAITING = 1024
MOST_TIMERS = 1_000_000

Action = Callable[..., object]


def _parts(address: int, count: int) -> Iterator[tuple[int, int]]:
    """A range as accesses of 8, 4, 2 or 1 bytes, none of them misaligned."""
    end = address + count
    while address < end:
        width = next(w for w in (8, 4, 2, 1) if not address % w and address + w <= end)
        yield address, width
        address += width


def _no_block(name: str) -> Block:
    raise Refused(f"Device '{name[:100]}' not found", "DeviceNotFound")


class Actions:
    """The actions of one machine. Made last, so that in a replay they come behind the timers that are due with them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.block: Callable[[str], Block] = _no_block
        """Finds a drive by name, or raises Refused."""
        self.open_medium: Callable[[Block, str, str], Any] = lambda block, path, format: None
        """Opens a file for a drive, or raises Refused."""
        self._entrance = machine.inputs.messages("monitor", self._accept)
        self._keys: deque[tuple[bytes, int]] = deque()
        self._tries = 0
        self._key_timer = machine.clock.timer("monitor keys", self._next_key)
        self._buttons = 0
        self._result: object = None
        self._refused: Refused | None = None

    def do(self, name: str, *args: object) -> Any:
        """Do it now, between instructions. Raises Refused."""
        if self.machine.inputs.replaying:
            raise Refused("The run comes from a recording; nothing may change it")
        self._result, self._refused = None, None
        self._entrance.enter(json.dumps([name, *args]).encode())
        if self._refused is not None:
            raise self._refused
        return self._result

    def _accept(self, message: bytes) -> bool:
        name, *args = json.loads(message)
        action: Action = getattr(self, f"_do_{name}")
        try:
            self._result = action(*args)
        except Refused as error:
            self._refused = error
        return True

    # -- the machine

    def _do_reset(self) -> None:
        machine = self.machine
        if machine.parked:
            machine.switch_on()
        elif machine.paused and not machine.no_reboot:
            machine.reset()
        else:
            machine.request_reset("host-qmp-system-reset")

    def _do_powerdown(self) -> None:
        """The power button. A board without one does nothing, as QEMU's."""
        button = self.machine.devices.get("acpi")
        if isinstance(button, AcpiPm):
            button.press_power_button()
        self.machine.tell("POWERDOWN")

    def _do_wakeup(self) -> None:
        power = self.machine.devices.get("acpi")
        if isinstance(power, AcpiPm):
            power.wake()

    def _do_nmi(self) -> None:
        nmi = getattr(self.machine.cpu, "nmi", None)
        if nmi is None:
            raise Refused("The processor has no NMI")
        nmi()

    def _do_port_read(self, port: int, width: int) -> int:
        return self.machine.bus.port_read(port, width)

    def _do_port_write(self, port: int, width: int, value: int) -> None:
        self.machine.bus.port_write(port, width, value)

    def _do_memory_read(self, at: int, length: int) -> str:
        """Physical memory as the processor sees it, devices included."""
        machine, out = self.machine, bytearray()
        for address, count, region in machine.ram.pieces(at, length):
            if region is not None and region.kind != Kind.MMIO:
                out += Dma(machine.ram).read(address, count)
                continue
            for part, width in _parts(address, count):
                out += machine.bus.mmio_read(part, width).to_bytes(width, self._order)
        return out.hex()

    def _do_memory_write(self, at: int, data: str) -> None:
        machine, content = self.machine, bytes.fromhex(data)
        done = 0
        for address, count, region in machine.ram.pieces(at, len(content)):
            piece = content[done : done + count]
            done += count
            if region is not None and region.kind != Kind.MMIO:
                Dma(machine.ram).write(address, piece)
                continue
            for part, width in _parts(address, count):
                value = int.from_bytes(piece[part - address : part - address + width], self._order)
                machine.bus.mmio_write(part, width, value)

    @property
    def _order(self) -> Literal["little", "big"]:
        return "little" if self.machine.pc_name == "eip" else "big"

    def _do_clock(self, to: int) -> int:
        """Let time pass without the processor, timers and all."""
        clock = self.machine.clock
        for _ in range(MOST_TIMERS):
            deadline = clock.next_deadline()
            if deadline is None or deadline > to:
                clock.skip_to(to)
                return clock.now()
            clock.skip_to(deadline)
            clock.fire()
        raise Refused(f"more than {MOST_TIMERS} timers fired; it is {clock.now()}")

    def _do_interrupt(self, name: str, number: int, level: bool) -> None:
        try:
            self.machine.devices[name].drive(number, level)  # type: ignore[attr-defined]
        except (KeyError, IndexError, ValueError, AttributeError):
            raise Refused(f"{name[:100]} has no interrupt input {number}") from None

    # -- keyboard and mouse

    def _keyboard(self) -> I8042:
        keyboard = self.machine.devices.get("kbd")
        if not isinstance(keyboard, I8042):
            raise Refused("The machine has no keyboard or mouse")
        return keyboard

    def _do_keys(self, codes: list[tuple[str, int]]) -> None:
        """Set 1 codes as hexadecimal digits, each with the ns until the next."""
        self._keyboard()
        if len(self._keys) + len(codes) > KEYS_WAITING:
            raise Refused("Too many keys wait to be typed")
        self._keys.extend((bytes.fromhex(code), pause) for code, pause in codes)
        if self._key_timer.deadline is None:
            self._next_key()

    def _next_key(self) -> None:
        if not self._keys:
            return
        code, pause = self._keys[0]
        if not self._keyboard().key_scancode(code) and self._tries < KEY_TRIES:
            self._tries += 1
            pause = KEY_RETRY
        else:
            self._tries = 0
            self._keys.popleft()
        self._key_timer.arm(self.machine.clock.now() + pause)

    def _do_mouse_move(self, dx: int, dy: int, dz: int) -> None:
        self._keyboard().mouse_move(dx, -dy, -dz, self._buttons)

    def _do_mouse_buttons(self, buttons: int) -> None:
        self._buttons = buttons & MOUSE_BUTTONS
        self._keyboard().mouse_move(0, 0, 0, self._buttons)

    def _do_mouse_button(self, button: int, down: bool) -> None:
        self._do_mouse_buttons(self._buttons | button if down else self._buttons & ~button)

    # -- devices

    def _do_eject(self, name: str, force: bool) -> None:
        block, drive = self._drive(name)
        if isinstance(drive, AtapiCdrom) and drive.s.locked and not force:
            raise Refused(f"Device '{name}' is locked and force was not specified, wait for tray to open and try again")
        drive.change_medium(None)
        block.file = ""
        self._moved(block, True)

    def _do_change(self, name: str, path: str, format: str) -> None:
        block, drive = self._drive(name)
        disk = self.open_medium(block, path, format)
        drive.change_medium(disk)
        block.file = path
        self._moved(block, False)

    def _moved(self, block: Block, tray_open: bool) -> None:
        self.machine.tell("DEVICE_TRAY_MOVED", device=block.name, id=block.qdev, **{"tray-open": tray_open})

    def _drive(self, name: str) -> tuple[Block, AtapiCdrom | FloppyDrive]:
        block = self.block(name)
        if not isinstance(block.device, AtapiCdrom | FloppyDrive):
            raise Refused(f"Device '{name}': its medium cannot be changed while the machine runs")
        return block, block.device

    def _do_balloon(self, size: int) -> None:
        balloon = self._device("set_size")
        if balloon is None:
            raise Refused("No balloon device has been activated", "DeviceNotActive")
        balloon.set_size(size)

    def _do_link(self, name: str, up: bool) -> None:
        card = self.machine.devices.get(name)
        if card is None or not hasattr(card, "set_link"):
            raise Refused(f"Device '{name}' not found", "DeviceNotFound")
        card.set_link(up)

    def _device(self, method: str) -> Any:
        return next((device for device in self.machine.devices.values() if hasattr(device, method)), None)
