"""Firmware and image loaders: what a board offers a guest before the guest's own code runs.

`image` recognises and lays out kernels and disk images, `pc` is the PC's BIOS. This package is a leaf: it imports
the standard library and itself only.
"""
