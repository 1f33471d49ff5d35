"""Audit: recompute everything from entries and row files, trusting nobody."""
