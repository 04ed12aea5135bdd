"""Networks: back ends of network cards, hubs between them, and what watches and shapes their wires."""
