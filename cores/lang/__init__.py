"""The language instruction sets are written in, its lowerings, and the arithmetic they share."""
