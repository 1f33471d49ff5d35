"""What the specification pins, the code has."""

import hashlib
from pathlib import Path

from attest.ledger.rules import RULES, RULES_DIGEST

SPEC = Path(__file__).parent.parent / "docs/spec"


def test_the_rule_sets_digest_is_that_of_its_page() -> None:
    """Whoever has the page can tell that it is the rule set in force."""
    page = (SPEC / "rules.md").read_bytes()

    assert hashlib.sha256(page).digest() == RULES_DIGEST
    assert f"# Rule set {RULES}" in page.decode()


def test_every_page_is_in_the_index() -> None:
    """No page that nobody finds."""
    index = (SPEC / "README.md").read_text()

    for page in SPEC.iterdir():
        assert page.name == "README.md" or f"({page.name})" in index, page.name
