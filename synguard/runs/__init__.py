"""Orchestration: generate, audit, quarantine, gate, report; state and resume. Nothing else joins the parts together."""
