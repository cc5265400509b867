"""The policy, the gate that holds results against it, and the record of what was decided. No torch, no private image."""
