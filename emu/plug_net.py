"""The network cards for `emu.plug`: each takes a wire (`netdev=`) and a MAC address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.plug import Plug, pluggable

if TYPE_CHECKING:
    from devices.contracts import NetPort

NIC = {"netdev": "id of the -netdev", "mac": "MAC address (default 52:54:00:12:34:56, then one more for each)"}


def wire(p: Plug) -> tuple[NetPort, bytes]:
    """The wire that netdev= names, and the card's MAC address. Raises UsageError."""
    from emu.net.network import Network

    network = p.setup.network
    if network is None:
        network = p.setup.network = Network([], say=p.setup.config.warn)
    return network.port(p.machine, p.text("netdev"), f"-device {p.name}"), network.mac(p.props.get("mac"))


@pluggable("e1000", "Intel 82540EM Gigabit Ethernet card", NIC)
def e1000(p: Plug) -> None:
    """A network card."""
    from devices.e1000 import E1000

    port, mac = wire(p)
    p.card(E1000(slot=p.slot, clock=p.machine.clock, port=port, mac=mac))


@pluggable("ne2k_pci", "NE2000 on PCI (RTL8029AS), for old systems: slow, as data go through a port", NIC)
def ne2k_pci(p: Plug) -> None:
    """A network card."""
    from devices.ne2000 import Ne2000

    port, mac = wire(p)
    p.card(Ne2000(slot=p.slot, port=port, mac=mac))
