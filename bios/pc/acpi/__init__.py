"""The ACPI tables of the PC, made from one description of the board.

`board.py` has the description, `dsdt.py` and `tables.py` make tables from it, with names where other tables' addresses
belong, and `place` or `loader.py` give them addresses: our own BIOS puts them at the top of RAM, other firmware does it
itself, by the commands of a table loader. `aml.py` is the encoder.
"""

from bios.pc.acpi.board import Board
from bios.pc.acpi.loader import firmware_files
from bios.pc.acpi.tables import Table, acpi_tables, link, root_pointer

__all__ = ["Board", "Table", "acpi_tables", "firmware_files", "link", "root_pointer"]
