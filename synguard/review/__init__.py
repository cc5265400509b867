"""Reviewing flagged pairs: people look, second readers look without knowing, and every verdict is an entry of the ledger.

queue      which pairs of a finished run are read: flagged ones, controls, known copies; in which order
decisions  what readers said, as the ledger has it, and when a pair is settled
pictures   what is shown of a pair
session    one reader at work
guard, server    the page, on this machine alone
summary    what follows from the decisions: metrics for the gate, a record for the internal report
"""
