"""Reading the log: tlog-tiles, row files, views, proofs.

Spec: C2SP tlog-tiles; docs/spec/http.md#reads.
"""

from dataclasses import dataclass
from typing import Any

from flask import Response

from attest.api.answers import (
    CBOR,
    HOUR,
    IMMUTABLE,
    JSON,
    MINUTE,
    NEWEST,
    NO_STORE,
    OCTETS,
    TEXT,
    dump,
    plain,
    read,
    read_compressed,
    read_json,
    read_range,
)
from attest.api.backend import Node
from attest.api.inputs import (
    path_hash,
    path_leaf,
    path_party,
    path_system,
    query_decimal,
    query_limit,
    query_party,
    query_size,
    read_lookup,
)
from attest.crypto.keys import thumbprint
from attest.encoding import encode_base64url, encode_cbor, parse_decimal
from attest.errors import Conflict, Unavailable
from attest.formats.holder import parse_list_path
from attest.merkle.tiles import parse_tile_path


@dataclass(frozen=True, slots=True)
class Reads:
    """The endpoints that change nothing."""

    node: Node

    # --- static files, as tlog-tiles has them ---

    def checkpoint(self) -> Response:
        """Answer with the newest signed checkpoint."""
        found = self.node.blob("checkpoint")
        if found is None:
            raise Unavailable("checkpoint/none", "this log has not published a checkpoint yet")
        return read(found, TEXT, NEWEST)

    def tile(self, rest: str) -> Response:
        """Answer with a tile or an entry bundle."""
        path = f"tile/{rest}"
        level, _, _ = parse_tile_path(path)
        found = self.node.blob(path)
        if found is None:
            raise Conflict(
                "tile/unknown",
                "no checkpoint implies this tile, or only its full form is kept",
                hint="read /checkpoint",
            )
        return (read_compressed if level is None else read)(found, OCTETS, IMMUTABLE)

    def rows(self, root: str) -> Response:
        """Answer with a row file, or a part of it."""
        found = self.node.blob(f"rows/{path_hash(root).hex()}")
        if found is None:
            raise Conflict("rows/unknown", "no statement in the log names a row file with this root")
        return read_range(found, OCTETS, IMMUTABLE, tag=root)

    def policy(self) -> Response:
        """Answer with the log's policy file."""
        return read(self.node.policy(), TEXT, MINUTE)

    def state_policy(self) -> Response:
        """Answer with the log's policy file for state witnesses."""
        found = self.node.state_policy()
        if found is None:
            raise Conflict("policy/unknown", "this log names no state witnesses")
        return read(found, TEXT, MINUTE)

    # --- views ---

    def log(self) -> Response:
        """Answer with what the log is and where it stands."""
        return read_json(self.node.browse.log(), NEWEST)

    def checkpoints(self) -> Response:
        """Answer with a page of checkpoints and their cosignatures, newest first."""
        return read_json(self.node.browse.checkpoints(query_decimal("before"), query_limit()), NEWEST)

    def holders(self) -> Response:
        """Answer with a page of holders."""
        return read_json(self.node.browse.holders(query_party("after"), query_limit()), NEWEST)

    def holder(self, party: str) -> Response:
        """Answer with one holder."""
        return read_json(self.node.browse.holder(path_party(party)), NEWEST)

    def systems(self, party: str) -> Response:
        """Answer with all systems of a holder."""
        return read_json(self.node.browse.systems(path_party(party)), NEWEST)

    def entries(self, party: str) -> Response:
        """Answer with a page of a holder's entries, newest first."""
        return read_json(self.node.browse.entries(path_party(party), query_decimal("before"), query_limit()), NEWEST)

    def history(self, party: str, system: str) -> Response:
        """Answer with how a system stood after every epoch that touched it, newest first."""
        return read_json(
            self.node.browse.history(path_party(party), path_system(system), query_decimal("before"), query_limit()),
            NEWEST,
        )

    def party_proof(self, party: str) -> Response:
        """Answer with where a party and its systems stand, proven."""
        return read(self.node.party_proof(path_party(party)), CBOR, NEWEST)

    def party_list(self, party: str, part: str) -> Response:
        """Answer with a file of the list of a party's entries."""
        index, width = parse_list_path(path_party(party), part)
        return read(self.node.party_list(path_party(party), index, width), OCTETS, IMMUTABLE)

    # --- proofs ---

    def proof_entry(self, entry_id: str) -> Response:
        """Answer with a `.tlog-proof`."""
        return read(self.node.tlog_proof(path_leaf(entry_id)).encode(), TEXT, NEWEST)

    def proof_row(self, entry_id: str, index: str) -> Response:
        """Answer with a row in its row file, in its entry, in a checkpoint."""
        size = query_size()
        found = self.node.row_proof(path_leaf(entry_id), path_hash(index), size)
        return read_json(found, NEWEST if size is None else MINUTE)

    def proof_lookup(self) -> Response:
        """Answer what every system of a holder says about some indexes, at one checkpoint."""
        holder, locators, size = read_lookup()
        # The answer links pseudonyms that belong together: nobody on the way may keep it.
        return plain(dump(self.node.lookup(holder, locators, size)), JSON, NO_STORE)

    def proof_transition(self, epoch: str) -> Response:
        """Answer with the transition proof of an epoch."""
        found = self.node.transition(parse_decimal(epoch))
        if found is None:
            raise Conflict("transition/unknown", "no such epoch, or its proof is no longer kept", hint="replay the log")
        return read(found, CBOR, MINUTE)

    # --- keys ---

    def keys(self) -> Response:
        """Answer with the keys under which receipts verify: COSE_KeySet."""
        return read(encode_cbor([self._key()]), CBOR, HOUR)

    def key(self, kid: str) -> Response:
        """Answer with one of them: COSE_Key."""
        key = self._key()
        if kid != encode_base64url(key[2]):
            raise Conflict("key/unknown", "no receipt of this log is signed by that key")
        return read(encode_cbor(key), CBOR, HOUR)

    def _key(self) -> dict[int, Any]:
        public = self.node.genesis.receipts
        # RFC 9052 section 7: kty OKP, kid, alg Ed25519, crv Ed25519, x.
        return {1: 1, 2: thumbprint(public), 3: -19, -1: 6, -2: public}

    # --- the service ---

    def healthz(self) -> Response:
        """Answer whether this node can serve."""
        self.node.healthy()
        return plain(dump({"status": "ok", "ended": self.node.ended()}), JSON, NO_STORE)
