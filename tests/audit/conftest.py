"""Audits of small logs."""

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash in this process: a worker takes longer to start and to end than the whole audit of a few rows."""
    monkeypatch.setattr("attest.audit.audit._PROCESSES", 1)
