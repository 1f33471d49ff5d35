"""The OpenAPI 3.1 document, by hand. A test holds the service to it.

Spec: docs/spec/http.md.
"""

from functools import cache
from typing import Any, Final

from attest import __version__
from attest.api.answers import (
    CBOR,
    COSE,
    JSON,
    OCTETS,
    PROBLEM_CBOR,
    PROBLEM_JSON,
    RECEIPT,
    STATEMENT,
)
from attest.api.inputs import MAX_PAGE
from attest.formats.bundle import MAX_LOCATORS, MAX_SYSTEMS
from attest.formats.statement import MAX_ROWS, MAX_STATEMENT, ROLES

Json = dict[str, Any]

_PLAIN: Final = "text/plain"


# --- small words ---


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Json, optional: Json | None = None) -> Json:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def _list(schema: Json, **bounds: int) -> Json:
    return {"type": "array", "items": schema, **bounds}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*words: str) -> Json:
    return {"type": "string", "enum": list(words)}


def _text(**bounds: Any) -> Json:
    return {"type": "string", **bounds}


_UINT: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_SIZE: Final[Json] = {"type": "integer", "minimum": 2, "maximum": 2**53 - 1}


# --- values ---

_SYSTEM: Final = _object(
    {
        "id": _ref("SystemId"),
        "status": _one_of("active", "retired"),
        "descriptor": _ref("Descriptor"),
        "held": _UINT,
        "erased": _UINT,
        "reheld": _UINT,
        "entries": _UINT | {"description": "statements in its stream so far: the next seq"},
    }
)

_HOLDER_LINE: Final[Json] = {
    "id": _ref("PartyId"),
    "name": _text(),
    "legal_id": _text(),
    "role": _one_of(*ROLES),
    "status": _one_of("active", "ended"),
    "admitted": _UINT | {"description": "position of its party/1"},
    "systems": _UINT,
    "held": _UINT,
    "erased": _UINT,
    "reheld": _UINT,
}

_ENTRY_LINE: Final = _object(
    {
        "position": _UINT,
        "entry_id": _ref("EntryId"),
        "issuer": _text(),
        "kind": _text(),
        "system": _or_null(_ref("SystemId")),
        "seq": _UINT,
        "issued_at": _UINT,
        "epoch": _UINT,
        "count": _or_null(_UINT),
        "rows": _or_null(_ref("Hex32")),
    }
)

_PROVEN_ENTRY: Final = _object({"position": _UINT, "entry": _ref("Base64"), "path": _list(_ref("Base64"), maxItems=63)})
_PARTY_PROOF: Final = _object({"party": _ref("PartyId"), "head": _ref("Base64"), "proof": _ref("Base64")})
_STATE_PROOF: Final = _object(
    {"locator": _UINT, "system": _ref("SystemId"), "state": _or_null(_ref("Base64")), "proof": _ref("Base64")}
)
_ROW_PROOF: Final = _object(
    {
        "locator": {"const": 0},
        "system": _ref("SystemId"),
        "entry": _UINT,
        "position": _UINT,
        "commitment": _ref("Base64"),
        "path": _list(_ref("Base64"), maxItems=20),
    }
)

_WITNESS: Final = _object(
    {
        "names": _list(_text(), minItems=1),
        "url": _text(),
        "state": {"type": "boolean"},
        "keys": _list(_text(), minItems=1),
        "size": _UINT,
        "problem": _or_null(_text()),
        "since": _or_null(_UINT),
    }
)

_SCHEMAS: Final[Json] = {
    "Hex32": _text(pattern="^[0-9a-f]{64}$"),
    "Base64": _text(contentEncoding="base64"),
    "EntryId": _text(pattern="^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$", description="base64url of a leaf hash"),
    "PartyId": _text(
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", maxLength=253
    ),
    "SystemId": _text(pattern="^[a-z0-9][a-z0-9._-]{0,63}$"),
    "Problem": _object(
        {"title": _text(), "status": {"type": "integer"}, "detail": _text(), "code": _text(pattern="^[a-z0-9-]+/.+$")},
        {
            "rows": _list(_UINT, maxItems=16, minItems=1) | {"description": "zero-based offending rows"},
            "hint": _text(),
            "refusal": _ref("Base64") | {"description": "the log-signed refusal"},
        },
    ),
    "Accepted": _object(
        {
            "entry": _ref("EntryId"),
            "missing": _list(_one_of("rows"), maxItems=1),
            "rows": _or_null(_ref("Hex32")),
            "promise": _or_null(_ref("Base64")),
        }
    ),
    "AcceptedRows": _object({"rows": _ref("Hex32"), "entries": _list(_ref("Accepted"))}),
    "Descriptor": _object(
        {
            "id": _ref("SystemId"),
            "kind": _text(),
            "assets": _list(_text()),
            "locators": _list(_text(), minItems=1),
            "retention": _or_null(_text()),
            "backup_cycle": _or_null(_UINT),
            "processor_log": _or_null(_text()),
            "retired": {"type": "boolean"},
        }
    ),
    "System": _SYSTEM,
    "Systems": _object({"systems": _list(_ref("System"))}),
    "Log": _object(
        {
            "origin": _text(),
            "size": _UINT,
            "root": _ref("Hex32"),
            "epoch": _UINT,
            "time": _UINT,
            "checkpoint": _text(),
            "held": _UINT,
            "erased": _UINT,
            "reheld": _UINT,
            "holders": _UINT,
            "limits": _object({"rows": _UINT, "statement": _UINT, "skew": _UINT, "silence": _UINT}),
            "witnessed": _or_null(_object({"size": _UINT, "time": _UINT})),
            "checked": _or_null(_object({"size": _UINT, "time": _UINT})),
            "witnesses": _list(_WITNESS),
            "ended": {"type": "boolean"},
            "end": _or_null(_UINT),
            "predecessor": _or_null(_object({"origin": _text(), "size": _UINT, "root": _ref("Hex32")})),
            "successor": _or_null(_text()),
        }
    ),
    "Checkpoints": _object(
        {
            "checkpoints": _list(
                _object(
                    {
                        "size": _UINT,
                        "root": _ref("Hex32"),
                        "epoch": _UINT,
                        "time": _UINT,
                        "witnessed": {"type": "boolean"},
                        "checked": {"type": "boolean"},
                        "cosignatures": _list(
                            _object({"name": _text(), "key_id": _text(pattern="^[0-9a-f]{8}$"), "time": _UINT})
                        ),
                    }
                )
            ),
            "next": _or_null(_UINT),
        }
    ),
    "Holders": _object({"holders": _list(_object(_HOLDER_LINE)), "next": _or_null(_ref("PartyId"))}),
    "Holder": _object(
        {
            **_HOLDER_LINE,
            "systems": _list(_ref("System")),
            "check": _object({"method": _one_of("operator", "domain"), "time": _UINT}),
            "keys": _list(
                _object(
                    {
                        "kid": _ref("Hex32"),
                        "key": _ref("Base64"),
                        "use": _one_of("sign", "recover"),
                        "from": _UINT,
                        "until": _or_null(_UINT),
                    }
                )
            ),
            "own": _UINT | {"description": "next seq of its own stream"},
            "recovery": _UINT | {"description": "next seq of its recovery stream"},
            "vrf": _list(_object({"suite": {"const": 3}, "hash": _ref("Base64")})),
        }
    ),
    "History": _object(
        {
            "history": _list(_object(dict.fromkeys(("epoch", "time", "size", "held", "erased", "reheld"), _UINT))),
            "next": _or_null(_UINT),
        }
    ),
    "Entries": _object({"entries": _list(_ENTRY_LINE), "next": _or_null(_UINT)}),
    "LookupQuestion": _object(
        {
            "holder": _ref("PartyId"),
            "locators": _list(
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
                    "additionalProperties": _ref("Hex32"),
                    "maxProperties": MAX_SYSTEMS,
                },
                minItems=1,
                maxItems=MAX_LOCATORS,
            ),
        },
        {"size": _SIZE},
    ),
    "LookupAnswer": _object(
        {
            "checkpoint": _text(),
            "entries": _list(_PROVEN_ENTRY),
            "holder": _PARTY_PROOF,
            "systems": _list(_object({"head": _ref("Base64"), "descriptor": _ref("Base64")})),
            "states": _list(_STATE_PROOF),
        }
    ),
    "RowAnswer": _object(
        {
            "checkpoint": _text(),
            "entries": _list(_PROVEN_ENTRY),
            "holder": _PARTY_PROOF,
            "rows": _list(_ROW_PROOF, minItems=1, maxItems=1),
        }
    ),
    "Health": _object({"status": {"const": "ok"}, "ended": {"type": "boolean"}}),
}


# --- parameters, bodies, answers ---


def _path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_ENTRY: Final = _path("entry_id", _ref("EntryId"))
_PARTY: Final = _path("party", _ref("PartyId"))
_SYSTEM_ID: Final = _path("system", _ref("SystemId"))
_ROOT: Final = _path("root", _ref("Hex32"))
_LEVEL: Final = _path("level", {"type": "integer", "minimum": 0, "maximum": 63})
_N: Final = _path("n", _text(pattern="^[0-9]{3}$"))
_WIDTH: Final = _path("width", {"type": "integer", "minimum": 1, "maximum": 255})
_AT_SIZE: Final = _query("size", _SIZE, "size of one of the last 60 checkpoints; the newest if left out")
_LIMIT: Final = _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100}, "page size")


def _body(schema: Json, *types: str) -> Json:
    return {"required": True, "content": {each: ({"schema": schema} if schema else {}) for each in types}}


def _answer(description: str, schema: Json | None, *types: str, headers: tuple[str, ...] = ()) -> Json:
    content = {each: {"schema": schema} if schema and each == JSON else {} for each in types}
    found: Json = {"description": description}
    if content:
        found["content"] = content
    if headers:
        found["headers"] = {each: {"required": True, "schema": {"type": "string"}} for each in headers}
    return found


def _kept(description: str, schema: Json | None, *types: str, headers: tuple[str, ...] = ()) -> Json:
    return _answer(description, schema, *types, headers=("Cache-Control", "ETag", *headers))


_PROBLEMS: Final = {
    400: "malformed",
    403: "not trusted",
    404: "no such thing",
    409: "refused because of what is already there",
    410: "no longer kept",
    411: "no Content-Length",
    413: "too large",
    415: "wrong media type",
    416: "no such range",
    422: "contradicted by its evidence",
    429: "too many writes",
    500: "a fault of the service",
    503: "not now",
}


def _problem(status: int) -> Json:
    headers = ("Retry-After",) if status in (429, 503) else ()
    found = _answer(_PROBLEMS[status], None, PROBLEM_CBOR, headers=("Cache-Control", *headers))
    found["content"][PROBLEM_JSON] = {"schema": _ref("Problem")}
    return found


def _operation(
    name: str, summary: str, answers: dict[int, Json], problems: tuple[int, ...] = (), *parameters: Json, **more: Json
) -> Json:
    numbers = sorted({400, 500, 503, *problems})
    return {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        **more,
        "responses": {
            **{str(status): answer for status, answer in answers.items()},
            **{str(status): _problem(status) for status in numbers},
        },
    }


_NOT_MODIFIED: Final[Json] = {"description": "the client has it"}


def _read(
    name: str,
    summary: str,
    schema: Json | None,
    types: tuple[str, ...],
    problems: tuple[int, ...] = (),
    *parameters: Json,
) -> Json:
    return {
        "get": _operation(
            name, summary, {200: _kept(summary, schema, *types), 304: _NOT_MODIFIED}, problems, *parameters
        )
    }


def _accepted() -> dict[int, Json]:
    return {
        201: _answer("published: a receipt", None, COSE, RECEIPT, headers=("Location",)),
        202: _answer("waiting", _ref("Accepted"), JSON, CBOR, headers=("Location", "Retry-After")),
    }


def _writes() -> Json:
    refused = (403, 409, 411, 413, 415, 422, 429)
    receipt = _kept("a receipt", None, COSE, RECEIPT, headers=("Location",))
    pending = _answer("not yet", None, headers=("Retry-After", "Cache-Control"))
    part = {"description": "a part", "headers": {"Content-Range": {"required": True, "schema": {"type": "string"}}}}
    several = _answer("several statements name it", _ref("AcceptedRows"), JSON, CBOR)
    statement = _text(maxLength=MAX_STATEMENT) | {"contentMediaType": STATEMENT, "description": "one COSE_Sign1"}
    rows = _text(maxLength=MAX_ROWS * 64) | {"contentMediaType": OCTETS, "description": "count times 64 bytes"}
    return {
        "/entries": {
            "post": _operation(
                "postEntry", "Submit a statement", _accepted(), refused, requestBody=_body(statement, COSE, STATEMENT)
            )
        },
        "/rows/{root}": {
            "put": _operation(
                "putRows",
                "Submit the row file that a pending statement names",
                {200: several, **_accepted()},
                (*refused, 404),
                _ROOT,
                requestBody=_body(rows, OCTETS),
            ),
            "get": _operation(
                "getRows",
                "A row file",
                {200: _kept("the whole", None, OCTETS), 206: part | {"content": {OCTETS: {}}}, 304: _NOT_MODIFIED},
                (404, 416),
                _ROOT,
            ),
        },
        "/entries/{entry_id}": {
            "get": _operation("getEntry", "A receipt", {200: receipt, 204: pending, 304: _NOT_MODIFIED}, (404,), _ENTRY)
        },
        "/entries/{entry_id}/statement": _read("getStatement", "A statement", None, (COSE, STATEMENT), (404,), _ENTRY),
        "/entries/{entry_id}/promise": _read("getPromise", "The log's promise", None, (COSE,), (404,), _ENTRY),
    }


def _tiles() -> Json:
    paths = {
        "/checkpoint": _read("getCheckpoint", "The newest signed checkpoint", None, (_PLAIN,)),
        "/policy": _read("getPolicy", "The log's policy file", None, (_PLAIN,)),
        "/policy/state": _read("getStatePolicy", "Its policy file for state witnesses", None, (_PLAIN,), (404,)),
    }
    for kind, name, level in (("{level}", "Tile", (_LEVEL,)), ("entries", "Bundle", ())):
        summary = "256 hashes" if level else "256 entries"
        for end, form, more in (("{n}", name, ()), ("{n}.p/{width}", f"Partial{name}", (_WIDTH,))):
            # OpenAPI cannot say "more groups": from index 1000 on, n is x001/000 and so on.
            paths[f"/tile/{kind}/{end}"] = _read(
                f"get{form}", f"{summary} of the log (tlog-tiles)", None, (OCTETS,), (404,), *level, _N, *more
            )
    return paths


def _views() -> Json:
    after = _query("after", _ref("PartyId"), "the last id of the page before")
    before = _query("before", _UINT, "the last position of the page before")
    epoch = _query("before", _UINT, "the last epoch of the page before")
    json = (JSON,)
    return {
        "/log": _read("getLog", "What the log is and where it stands", _ref("Log"), json),
        "/checkpoints": _read(
            "getCheckpoints", "Checkpoints and their cosignatures, newest first", _ref("Checkpoints"), json, (),
            _query("before", _UINT, "the last size of the page before"), _LIMIT,
        ),
        "/holders": _read("getHolders", "Holders by id", _ref("Holders"), json, (), after, _LIMIT),
        "/holders/{party}": _read("getHolder", "One holder", _ref("Holder"), json, (404,), _PARTY),
        "/holders/{party}/systems": _read("getSystems", "Its systems", _ref("Systems"), json, (404,), _PARTY),
        "/holders/{party}/systems/{system}/history": _read(
            "getHistory", "How a system stood, newest first", _ref("History"), json, (404,),
            _PARTY, _SYSTEM_ID, epoch, _LIMIT,
        ),
        "/holders/{party}/systems/{system}/history.csv": _read(
            "getHistoryTable", "The same as a table", None, ("text/csv",), (404,), _PARTY, _SYSTEM_ID, epoch
        ),
        "/holders/{party}/entries": _read(
            "getEntries", "Its entries, newest first", _ref("Entries"), json, (404,), _PARTY, before, _LIMIT
        ),
        "/holders/{party}/proof": _read(
            "proveHolder", "Where it and its systems stand, proven", None, (CBOR,), (404,), _PARTY
        ),
        "/holders/{party}/entries/{n}": _read(
            "getEntryList", "256 of its entries, oldest first", None, (OCTETS,), (404,), _PARTY, _N
        ),
        "/holders/{party}/entries/{n}.p/{width}": _read(
            "getPartialEntryList", "The first of them", None, (OCTETS,), (404,), _PARTY, _N, _WIDTH
        ),
    }  # fmt: skip


def _proofs() -> Json:
    gone = (404, 409, 410)
    lookup = {
        200: _answer("bundle parts, all at one checkpoint", _ref("LookupAnswer"), JSON, headers=("Cache-Control",))
    }
    return {
        "/proofs/entry/{entry_id}": _read("proveEntry", "A .tlog-proof", None, (_PLAIN,), gone, _ENTRY),
        "/proofs/row/{entry_id}/{index}": _read(
            "proveRow", "A row, down to a checkpoint", _ref("RowAnswer"), (JSON,), gone, _ENTRY,
            _path("index", _ref("Hex32")), _AT_SIZE,
        ),
        "/proofs/lookup": {
            "post": _operation(
                "proveLookup",
                "What every system of a holder says about some indexes",
                lookup,
                (*gone, 411, 413, 415),
                requestBody=_body(_ref("LookupQuestion"), JSON),
            )
        },
        "/proofs/transition/{epoch}": _read(
            "proveTransition", "The transition proof of an epoch", None, (CBOR,), (404, 410), _path("epoch", _UINT)
        ),
    }  # fmt: skip


def _service() -> Json:
    health = {200: _answer("it can serve", _ref("Health"), JSON, headers=("Cache-Control",))}
    metrics = {200: _answer("Prometheus text", None, _PLAIN, headers=("Cache-Control",))}
    return {
        "/.well-known/scitt-keys": _read("getKeys", "COSE_KeySet of receipts", None, (CBOR,)),
        "/.well-known/scitt-keys/{kid}": _read(
            "getKey", "One COSE_Key", None, (CBOR,), (404,), _path("kid", _text(pattern="^[A-Za-z0-9_-]{1,64}$"))
        ),
        "/openapi.json": _read("getOpenapi", "This document", {"type": "object"}, (JSON,)),
        "/healthz": {"get": _operation("getHealth", "Can this node serve?", health)},
        "/metrics": {"get": _operation("getMetrics", "Request counters", metrics)},
    }


@cache
def document() -> Json:
    """Return the document; callers do not change it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "attest",
            "version": __version__,
            "summary": "A transparency log of what is held and what was deleted",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**_writes(), **_tiles(), **_views(), **_proofs(), **_service()},
        "components": {"schemas": _SCHEMAS},
    }
