"""Screens: pictures drawn from a VGA's registers and memory, files of them, and who shows them."""
