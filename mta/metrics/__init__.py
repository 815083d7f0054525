"""Figures for a monitor, and whether the process is well: an HTTP listener of its own."""
