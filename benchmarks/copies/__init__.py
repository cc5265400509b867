"""Planted copies: how many each method finds at the same rate of false alarms. Run `benchmarks/planted_copies.py`."""
