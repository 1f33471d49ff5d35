"""HTTP: SCRAPI writes, tlog-tiles reads, JSON views and proofs, over any node. Decides nothing by itself.

Spec: docs/spec/http.md.
"""

from attest.api.app import create_app
from attest.api.backend import Node, Submission

__all__ = ["Node", "Submission", "create_app"]
