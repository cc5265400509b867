"""Planted copies: how many of them each method finds at the same rate of false alarms; see `planted_copies.py`."""
