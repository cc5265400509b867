"""Compliance reports in two editions, from results alone."""
