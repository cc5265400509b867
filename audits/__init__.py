"""Audit stages and probes: memorisation, membership, labels, fidelity."""
