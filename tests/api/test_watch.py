"""What an operator sees of requests, and what nobody sees."""

import pytest
import structlog

from tests.api.conftest import Site

SECRETS = ("A" * 43, "b" * 64, "c" * 64, "holder.example", "203.0.113.9", "d" * 64)


def _requests(shared: Site) -> str:
    """Ask for things that carry identifiers everywhere, and return the counters."""
    client = shared.client()
    origin = {"REMOTE_ADDR": "203.0.113.9"}
    entry_id, root, index, holder, _, body = SECRETS
    client.get(f"/entries/{entry_id}", environ_overrides=origin)
    client.get(f"/rows/{root}", environ_overrides=origin)
    client.get(f"/proofs/row/{entry_id}/{index}?size=5", environ_overrides=origin)
    client.get(f"/holders/{holder}", environ_overrides=origin)
    client.get(f"/holders?after={holder}", environ_overrides=origin)
    client.get(f"/nothing/{entry_id}", environ_overrides=origin)
    client.open(f"/{holder}", method=holder, environ_overrides=origin)
    client.post(
        "/proofs/lookup",
        json={"holder": holder, "locators": [{"crm": body}]},
        environ_overrides=origin,
    )
    return client.get("/metrics").text


def test_counters_know_routes_and_no_names(shared: Site):
    """Counts and times by route, method and status; no identifier in a label, and a bounded number of labels."""
    shown = _requests(shared)

    assert 'attest_http_requests_total{method="GET",route="/entries/<entry_id>",status="404"} 1.0' in shown
    assert 'attest_http_requests_total{method="GET",route="none",status="404"} 1.0' in shown
    assert 'attest_http_requests_total{method="other",route="none",status=' in shown
    assert 'attest_http_request_seconds_count{method="GET",route="/holders"} 1.0' in shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_the_request_log_names_nobody(shared: Site, capsys: pytest.CaptureFixture[str]):
    """One line per request with route, status and time: no path, no query, no body, no address."""
    structlog.reset_defaults()  # to stdout, where capsys reads
    _requests(shared)
    logged = "".join(capsys.readouterr())

    assert logged.count("request ") == 9
    assert "/holders/<party>" in logged
    assert not [secret for secret in SECRETS if secret in logged]


def test_two_services_count_apart(shared: Site):
    """Each app has counters of its own."""
    shared.client().get("/log")

    assert 'route="/log"' not in shared.client().get("/metrics").text
