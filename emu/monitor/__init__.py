"""The monitor: what a person or program says to a run, and is told by it. See README.md in this folder."""
