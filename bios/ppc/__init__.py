"""Firmware of the PowerPC boards: kernel files, device trees, the state a kernel is entered in."""
