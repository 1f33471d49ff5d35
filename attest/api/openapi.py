"""The OpenAPI 3.1 document, by hand. A test holds the service to it."""

from typing import Any


def document() -> dict[str, Any]:
    """Return the document."""
    return {"openapi": "3.1.0", "info": {"title": "attest", "version": "1"}, "paths": {}}
