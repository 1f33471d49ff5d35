"""Tests of attest."""
