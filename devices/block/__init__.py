"""Disk images: formats, overlays, and filters that stand between a controller and the host."""
