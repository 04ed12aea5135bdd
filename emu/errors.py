"""Errors that are Emu's own fault, never the guest's: they stop the machine and are reported with a traceback."""


class MachineError(Exception):
    """The emulator itself is wrong."""


class DeviceError(MachineError):
    """A device, timer or host back end raised an exception. The text names it."""


class ReplayError(MachineError):
    """A recording cannot be followed: it is damaged, or the run goes another way. The text says where."""
