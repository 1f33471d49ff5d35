"""The OpenAPI document is true: generated requests, good and bad, get the answers that it announces."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from attest.api.openapi import document
from tests.api.conftest import Site

CHECKS = (
    not_a_server_error,
    content_type_conformance,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)


def _taken(path: str, method: str) -> set[str]:
    """Name what an operation takes."""
    return {name for name, value in document()["paths"][path][method].items() if value}


OPERATIONS = [(path, method) for path, operations in document()["paths"].items() for method in operations]

GENERATED = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # Where nothing is taken, nothing wrong can be sent.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & _taken(path, method)
]
# Bodies that are not JSON: any bytes, as they are.
BINARY = ("application/cose", "application/scitt-statement+cose", "application/octet-stream")
schemathesis.openapi.media_type(BINARY[0], st.binary(max_size=300), aliases=BINARY[1:])


@schemathesis.serializer(*BINARY)
def serialize(ctx: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


@pytest.mark.parametrize(("path", "method", "mode"), GENERATED)
def test_the_service_keeps_to_its_document(shared: Site, path: str, method: str, mode: GenerationMode):
    """Statuses, media types, headers and bodies are those of the document; nothing ends in a 500."""
    schema = schemathesis.openapi.from_dict(document())
    schema.app = shared.app()
    operation = schema[path][method.upper()]
    generated = operation.as_strategy(generation_mode=mode)
    # Ids that exist in this log, so that not every generated request misses.
    known = {name: value for name, value in shared.examples().items() if f"{{{name}}}" in path}
    if mode is GenerationMode.POSITIVE and known:
        generated = st.one_of(generated, operation.as_strategy(generation_mode=mode, path_parameters=known))

    @settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(generated)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=list(CHECKS))

    check()


def test_every_route_is_described(shared: Site):
    """The document has each path that the service answers, and no other."""
    described = {(path, method.upper()) for path, method in OPERATIONS}
    served = set()
    for rule in shared.app().url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule.replace("<path:rest>", "{level}/{n}").replace("<", "{").replace(">", "}")
            served.add((path, method))

    assert served <= described
    assert {path for path, _ in described - served} == {
        "/tile/{level}/{n}.p/{width}", "/tile/entries/{n}", "/tile/entries/{n}.p/{width}",
    }  # fmt: skip
