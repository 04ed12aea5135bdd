"""The x86 core, 16- and 32-bit: state, operands, instructions by chapter of the manual, decoder tables.

Manual throughout: Intel 64 and IA-32 Architectures Software Developer's Manual, volumes 1 to 3 ("SDM").
"""
