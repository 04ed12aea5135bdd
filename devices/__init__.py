"""Chips, one file each, that stand alone: registers, interrupt outputs and state, and nothing about any board."""
