"""The OpenAPI document is true: generated requests, good and bad, get the answers that it announces."""

import json
import re

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
from attest.formats.rows import RowFile
from attest.formats.statement import Statement
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


def test_good_writes_keep_to_it_too(site: Site):
    """Statements and row files at every stage, and a look-up, are answered as the document says."""
    schema = schemathesis.openapi.from_dict(document())
    schema.app = site.app()

    def ask(path: str, method: str, body: object, media_type: str, **parameters: str) -> int:
        case = schema[path][method].Case(path_parameters=parameters, body=body, media_type=media_type)
        return case.call_and_validate(checks=list(CHECKS)).status_code

    def post(statement: Statement) -> int:
        return ask("/entries", "POST", statement.entry, "application/cose")

    def put(rows: RowFile) -> int:
        return ask("/rows/{root}", "PUT", rows.encoded, "application/octet-stream", root=rows.root().hex())

    rows = site.rows()
    first, second = site.hold(rows), site.hold(rows, system="search")
    assert [post(first), put(rows), post(second), put(rows)] == [202, 202, 202, 200]
    site.step()
    refused, again = site.refused()
    assert [post(first), post(refused), put(again)] == [201, 202, 202]
    site.step()
    assert [post(refused), put(again)] == [409, 409]
    indexes = {"crm": rows.indexes[0].hex(), "search": rows.indexes[0].hex()}
    question = {"holder": site.party, "locators": [indexes, indexes]}
    assert ask("/proofs/lookup", "POST", question, "application/json") == 200


def test_references_resolve_and_names_are_unique():
    """Every `$ref` names a schema, every schema is used, and no two operations share a name."""
    text = json.dumps(document())
    used = set(re.findall(r'"#/components/schemas/([A-Za-z0-9]+)"', text))
    names = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]

    assert used == set(document()["components"]["schemas"])
    assert len(set(names)) == len(names)


def test_every_route_is_described(shared: Site):
    """The document has each path that the service answers to programs, and no other."""
    described = {(path, method.upper()) for path, method in OPERATIONS}
    served = set()
    for rule in shared.app().url_map.iter_rules():
        if rule.rule == "/" or rule.rule.startswith(("/browse/", "/assets/", "/verify", "/lookup", "/proves")):
            continue  # for people
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = (
                rule.rule.replace("<path:rest>", "{level}/{n}")
                .replace("<path:part>", "{n}")
                .replace("<", "{")
                .replace(">", "}")
            )
            served.add((path, method))

    assert served <= described
    assert {path for path, _ in described - served} == {
        "/tile/{level}/{n}.p/{width}", "/tile/entries/{n}", "/tile/entries/{n}.p/{width}",
        "/holders/{party}/entries/{n}.p/{width}",
    }  # fmt: skip
