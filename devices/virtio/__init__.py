"""Virtio devices: `ring` has the queues, `device` the base of all devices, `pci` and `mmio` the two transports.

A device is one file that knows neither its transport nor the layout of its rings. Virtual I/O Device (VIRTIO) 1.2.
"""
