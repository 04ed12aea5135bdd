"""The demo guest: `python -m images.demo --run`."""
