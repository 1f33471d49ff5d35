"""Witnesses: they cosign what extends all that they cosigned before, state witnesses what they have checked whole."""
