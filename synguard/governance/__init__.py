"""Policy, gate, record and manifest: what turns figures into a decision that can be checked later. No torch here."""
