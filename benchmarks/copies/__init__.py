"""Planted copies: how many of them each method finds at the same rate of false alarms. Run `benchmarks/planted_copies.py`."""
