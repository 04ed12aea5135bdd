"""Our own small guests: sources and the recipes that build them."""
