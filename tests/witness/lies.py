"""Lies of an operator who has all the keys, each with the code that names it where the log shows what it committed."""

from collections.abc import Callable
from functools import cache

import cbor2

from attest.errors import Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint
from attest.formats.note import Note, sign_text
from attest.merkle import tree
from attest.merkle.tiles import Tile
from tests import reference
from tests.ledger import model
from tests.ledger.log import ORIGIN, Log, descriptor, row_of, rows_of
from tests.ledger.model import Key, Model

ACME, BETA, COURT = "acme.example", "beta.example", "court.example"
DB, BAK = (ACME, "db"), (ACME, "bak")


@cache
def stage():
    """A log with a past, and an epoch begun in which something happens to most things there are."""
    log = Log()
    log.epoch()
    log.admit(ACME)
    log.admit(BETA)
    log.admit(COURT, "authority")
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=86_400), descriptor("db"), descriptor("idle"))
    log.epoch()
    log.hold(ACME, "db", rows_of(1, 2, 3, 4, 6))
    log.hold(ACME, "bak", rows_of(1))
    log.keys(ACME, more="sign")
    log.epoch()
    log.tombstone(ACME, "db", rows_of(3, 6))
    log.systems(BETA, descriptor("crm"))
    log.epoch()
    return log


def busy():
    log = stage().copy()
    log.hold(ACME, "db", rows_of(3, 5) | row_of(2, 1))
    log.tombstone(ACME, "db", rows_of(1))
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=3600))
    log.keys(ACME, ["more"])
    log.end(COURT, by_log=True)
    log.admit("new.example", "auditor")
    return log


def key_of(n):
    return model.map_key(next(iter(row_of(n))))


def change_state(name, n, new):
    """Set or take away the state of row `n` in a system, as if it had always been so."""

    def lie(state: Model):
        key = key_of(n)
        old = state.states[name].pop(key, None)
        found = new(old) if callable(new) else new
        if found is not None:
            state.states[name][key] = found
        state.systems[name]["root"] = reference.node(state.bindings(name))

    return lie


def head(name, **changed):
    """Change fields of a party's or system's head; a callable gets the old value."""

    def lie(state: Model):
        found = state.systems[name] if isinstance(name, tuple) else state.parties[name]
        for field, new in changed.items():
            found[field] = new(found[field]) if callable(new) else new

    return lie


def drop_system(name, *, miscount=False):
    def lie(state: Model):
        for part in (state.systems, state.descriptors, state.states):
            del part[name]
        state.parties[name[0]]["systems"]["count"] -= 0 if miscount else 1

    return lie


def drop_party(name):
    def lie(state: Model):
        del state.parties[name]

    return lie


def extra_party(state: Model):
    state.parties["ghost.example"] = {**state.parties[BETA], "party": "ghost.example"}


def extra_system(state: Model):
    name = (ACME, "ghost")
    state.systems[name] = {**state.systems[DB], "system": "ghost"}
    state.descriptors[name], state.states[name] = state.descriptors[DB], {}
    state.parties[ACME]["systems"]["count"] += 1


def swap_systems(state: Model):
    for part in (state.systems, state.states):
        part[DB], part[BAK] = part[BAK], part[DB]


def redescribe(state: Model):
    new = {**state.descriptors[DB], "locators": ["phone"]}
    state.descriptors[DB] = new
    state.systems[DB]["descriptor"] = model.label("descriptor", model.det(new))


def regrow(state: Model):
    new = {**state.descriptors[BAK], "backup_cycle": 2**40}
    state.descriptors[BAK] = new
    state.systems[BAK]["descriptor"] = model.label("descriptor", model.det(new))


def old_head(name):
    """Replay the head of an earlier epoch."""

    def lie(state: Model):
        past = Model(state.rules_digest)
        for entry in state.entries[:10]:
            past.take(entry, stage().files.get(cbor2.loads(cbor2.loads(entry).value[2]).get("root", b"")))
        which = "systems" if isinstance(name, tuple) else "parties"
        getattr(state, which)[name] = getattr(past, which)[name]

    return lie


def with_keys(change):
    return head(ACME, keys=lambda keys: [change(dict(key)) for key in keys])


def planted(keys):
    return [*keys, {"key": Key("thief").public, "use": "sign", "from": 1, "until": None}]


def more(n):
    return lambda old: old + n


# By name: the code when the log shows the heads it has committed, and what it does to the state.
LIES: dict[str, tuple[str, Callable[[Model], None]]] = {
    "omit a held record": ("epoch/states", change_state(DB, 2, None)),
    "leave a record out": ("epoch/omitted", change_state(DB, 5, None)),
    "leave a tombstone out": ("epoch/omitted", change_state(DB, 1, lambda _: stage().model.states[DB][key_of(1)])),
    "omit a record that is touched": ("epoch/states", change_state(DB, 1, None)),
    "omit an untouched record": ("epoch/states", change_state(DB, 4, None)),
    "omit an erased record": ("epoch/states", change_state(DB, 3, None)),
    "invent a held record": ("epoch/states", change_state(DB, 77, model.pack(1, 1, 1, 9, bytes(32)))),
    "an erased record is held": ("epoch/states", change_state(DB, 6, lambda old: b"\x01" + (old or bytes(49))[1:])),
    "a held record is erased": ("epoch/states", change_state(DB, 4, lambda old: b"\x02" + (old or bytes(49))[1:])),
    "an unknown status": ("epoch/states", change_state(DB, 4, lambda old: b"\x05" + (old or bytes(49))[1:])),
    "another commitment": ("epoch/states", change_state(DB, 1, lambda old: (old or bytes(49))[:17] + bytes(32))),
    "another position": (
        "epoch/states",
        change_state(DB, 4, lambda old: (old or bytes(49))[:16] + b"\x01" + (old or bytes(49))[17:]),
    ),
    "another generation": (
        "epoch/states",
        change_state(DB, 3, lambda old: b"\x02" + bytes(4) + (old or bytes(49))[5:]),
    ),
    "fewer held": ("epoch/held", head(DB, held=more(-1))),
    "more held": ("epoch/held", head(DB, held=more(1))),
    "nothing held": ("epoch/held", head(DB, held=0)),
    "fewer erased": ("epoch/erased", head(DB, erased=0)),
    "more reheld": ("epoch/reheld", head(DB, reheld=more(1))),
    "a system's seq ahead": ("epoch/entries", head(DB, entries=more(1))),
    "a system's seq behind": ("epoch/entries", head(DB, entries=more(-1))),
    "a system's chain": ("epoch/chain", head(DB, chain=bytes(32))),
    "a system's chain extended twice": (
        "epoch/chain",
        head(DB, chain=lambda old: model.label("chain", old, bytes(8), bytes(32))),
    ),
    "a system retired": ("epoch/status", head(DB, status=2)),
    "a system of an unknown extension": ("epoch/extension", head(DB, other=bytes([1] * 32))),
    "the map of an empty system": ("epoch/states", head(DB, root=bytes(32))),
    "the map of another system": (
        "epoch/states",
        lambda state: state.systems[DB].update(root=state.systems[BAK]["root"]),
    ),
    "an untouched system's count": ("epoch/systems", head((ACME, "idle"), held=more(1))),
    "drop a system": ("epoch/systems", drop_system((ACME, "idle"))),
    "drop a touched system": ("epoch/dropped", drop_system(DB)),
    "drop a system, keep the count": ("epoch/systems", drop_system((ACME, "idle"), miscount=True)),
    "invent a system": ("epoch/systems", extra_system),
    "swap two systems": ("epoch/other-head", swap_systems),
    "another descriptor": ("epoch/descriptor", redescribe),
    "a backup cycle grown": ("epoch/descriptor", regrow),
    "replay a system's old head": ("epoch/old-head", old_head(DB)),
    "replay a party's old head": ("epoch/old-head", old_head(ACME)),
    "replay the log's old head": ("epoch/old-head", old_head(ORIGIN)),
    "drop a party": ("rule/epoch-root", drop_party(BETA)),
    "drop a party spoken about": ("epoch/dropped", drop_party(COURT)),
    "invent a party": ("rule/epoch-root", extra_party),
    "own seq ahead": ("epoch/seq", head(ACME, own=more(1))),
    "own seq behind": ("epoch/seq", head(ACME, own=more(-1))),
    "recovery seq ahead": ("epoch/seq", head(ACME, recovery=more(1))),
    "a party's chain": ("epoch/chain", head(ACME, chain=bytes(32))),
    "a party's entries": ("epoch/entries", head(ACME, entries=more(1))),
    "the chain of one spoken about": ("epoch/chain", head(COURT, chain=bytes(32))),
    "an untouched party's entries": ("rule/epoch-root", head(BETA, entries=more(1))),
    "a party ended": ("epoch/status", head(ACME, status=2)),
    "a party of another role": ("epoch/role", head(COURT, role="holder")),
    "a party admitted elsewhere": ("epoch/admitted", head(ACME, admitted=1)),
    "a key from the beginning": ("epoch/key-interval", with_keys(lambda key: key | {"from": 0})),
    "keys revoked before": ("epoch/key-interval", with_keys(lambda key: key | {"until": key["from"]})),
    "keys revoked after": ("epoch/key-interval", with_keys(lambda key: key | {"until": 2**40})),
    "keys of the other use": ("epoch/keys", with_keys(lambda key: key | {"use": "sign"})),
    "no keys": ("epoch/keys", head(ACME, keys=[])),
    "a planted key": ("epoch/keys", head(ACME, keys=planted)),
    "a planted key of the log": ("epoch/keys", head(ORIGIN, keys=planted)),
    "another VRF key": ("epoch/vrf", head(ACME, vrf=[{"suite": 3, "hash": bytes(32)}])),
    "a second VRF key": ("epoch/vrf", head(ACME, vrf=lambda old: [*old, {"suite": 3, "hash": bytes(32)}])),
    "the log's seq": ("epoch/seq", head(ORIGIN, own=more(1))),
    "the log's entries": ("epoch/entries", head(ORIGIN, entries=more(-1))),
    "the log's chain": ("epoch/chain", head(ORIGIN, chain=bytes(32))),
    "an epoch more": ("epoch/clock", head(ORIGIN, epoch=lambda old: old | {"number": old["number"] + 1})),
    "an earlier epoch time": ("epoch/clock", head(ORIGIN, epoch=lambda old: old | {"time": 0})),
    "a forgotten claim of time": ("epoch/clock", head(ORIGIN, epoch=lambda old: old | {"latest": 0})),
    "another rule set": ("epoch/rules", head(ORIGIN, rules={"name": "attest-rules/2", "digest": bytes(32)})),
}

# The same for epochs that are wrong themselves: the code, and the fields that are other ones.
EPOCHS: dict[str, tuple[str, Callable[[Log], dict[str, object]]]] = {
    "a number too low": ("rule/epoch-number", lambda log: {"number": log.epoch_fields()["number"] - 1}),
    "a number too high": ("rule/epoch-number", lambda log: {"number": log.epoch_fields()["number"] + 1}),
    "the time of the last": ("rule/epoch-time", lambda log: {"time": log.time - 1}),
    "the root of the last": ("epoch/old-root", lambda log: {"root": log.committed.top_root()}),
    "the root of an earlier one": ("rule/epoch-root", lambda log: {"root": log.ledger.previous.payload.root[::-1]}),
    "no root": ("rule/epoch-root", lambda log: {"root": bytes(32)}),
}


def lying_epoch(log, lie) -> bytes:
    """The proof of an epoch that commits a state which does not follow; it shows the heads that it commits."""
    after = log.model.copy()
    lie(after)
    epoch = log.sign_epoch(root=after.top_root())
    return log.force(epoch=epoch.entry, after=after)


# --- an operator who publishes whatever its keys have signed ---


class Operator:
    """Publishes a log in memory, right or wrong; to a state witness it is the log over HTTP."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.entries: list[bytes] = []
        self.proofs: dict[int, bytes] = {}
        self.asked: list[str] = []
        for proof in log.proofs:
            self.publish(proof)

    def publish(self, proof: bytes) -> None:
        """Append the entries of an epoch, and serve its proof."""
        found = cbor2.loads(proof)
        self.entries += found["entries"]
        number = cbor2.loads(cbor2.loads(found["entries"][-1]).value[2])["number"]
        self.proofs[number] = proof

    def signed(self, size: int | None = None, *, key: str | None = None) -> SignedCheckpoint:
        """Sign a checkpoint as the log does, with its Ed25519 key."""
        size = len(self.entries) if size is None else size
        checkpoint = Checkpoint(self.log.origin, size, tree.root(tree.leaf_hashes(self.entries[:size])))
        text = checkpoint.encode()
        line = sign_text(self.log.origin, Key(key or self.log.origin + " note"), text)
        return SignedCheckpoint(checkpoint, Note(text, (line,)))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Prove that the log has only grown."""
        return tuple(tree.consistency_path(old, new, tree.subtree_reader(tree.leaf_hashes(self.entries[:new]))))

    # --- what it serves ---

    def tiles(self, wanted: list[Tile]) -> list[bytes]:
        return [self.tile(*tile) for tile in wanted]

    def tile(self, level: int, index: int, width: int) -> bytes:
        self.asked.append(f"tile/{level}/{index}")
        leaves, size = tree.leaf_hashes(self.entries), 256**level
        starts = range(index * 256 * size, (index * 256 + width) * size, size)
        return b"".join(tree.root(leaves[start : start + size]) for start in starts)

    def bundle(self, index: int, width: int) -> list[bytes]:
        self.asked.append(f"bundle/{index}")
        return self.entries[index * 256 : index * 256 + width]

    def transition(self, epoch: int, most: int) -> bytes | None:
        self.asked.append(f"transition/{epoch}")
        return self.proofs.get(epoch)

    def rows(self, root: bytes, most: int) -> bytes:
        self.asked.append(f"rows/{root.hex()}")
        if root not in self.log.files:
            raise Unavailable("http/not-found", "no such row file")
        return self.log.files[root]
