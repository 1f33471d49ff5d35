"""Every rule refuses what it is there to refuse, to the whole ledger and to a bare proof alike."""

from functools import cache

import pytest

from attest.crypto import commitment, keys
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.rows import RowFile
from attest.formats.state import pack_state
from attest.formats.statement import MAX_STATEMENT, Limits, Statement
from attest.ledger.epoch import Draft, Ledger
from attest.ledger.rules import RULES, RULES_DIGEST, final_size, judge
from attest.ledger.transition import Anchor, verify_transition
from tests.ledger import model
from tests.ledger.log import MAPS, ORIGIN, START, Log, ToyMap, descriptor, log_fields, row_of, rows_of
from tests.ledger.model import Key

ACME, BETA, COURT = "acme.example", "beta.example", "court.example"
SMALL_ORDER = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


@pytest.fixture(params=MAPS)
def log(request):
    """A log with two holders and a court; `db` and `bak` of acme hold rows 1, 2 and 3."""
    return prepared(request.param).copy()


@cache
def prepared(maps):
    log = Log(MAPS[maps])
    log.epoch()
    log.admit(ACME)
    log.admit(BETA)
    log.admit(COURT, "authority")
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=86_400), descriptor("db"), descriptor("idle"))
    log.epoch()
    log.hold(ACME, "bak", rows_of(1))
    log.hold(ACME, "db", rows_of(1, 2, 3))
    log.epoch()
    return log


# --- who signs, for which log, with which key ---


def test_a_statement_for_another_log_is_refused(log):
    """The audience is signed, so that nothing moves from log to log."""
    log.refuses("rule/audience", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", aud="other.example/log"))


@pytest.mark.parametrize("issuer", ["https://nobody.example", ACME, "https://https://" + ACME, "http://" + ACME])
def test_an_issuer_that_is_not_admitted_is_refused(log, issuer):
    """Only `https://` and an admitted id is an issuer; nothing else is folded into one."""
    log.refuses("rule/issuer", log.sign({"kind": "systems/1", "systems": [descriptor("new")]}, ACME, iss=issuer))


@pytest.mark.parametrize("key", [BETA, ORIGIN, "stranger"])
def test_a_foreign_or_unknown_key_is_refused(log, key):
    """Another party's key, the log's key and a stranger's sign nothing for acme."""
    log.refuses("rule/key", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", key=key))


def test_a_signature_by_another_key_than_the_kid_says_is_refused(log):
    """The kid names the key; the signature must be that key's."""
    forged = log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", key=BETA, header={4: Key(ACME).kid})
    log.refuses("signature/invalid", forged)


@pytest.mark.parametrize("place", range(64))
def test_a_damaged_signature_is_refused(log, place):
    """One bit anywhere in the signature spoils it."""
    entry = bytearray(log.encode(log.hold_fields(rows_of(9)), ACME, stream="db"))
    entry[place - 64] ^= 1
    log.refuses("signature/invalid", Statement.parse(bytes(entry)))


def test_a_signature_has_one_spelling(log):
    """S plus the group order is a second signature of the same message: refused, or entries would have twins."""
    entry = log.encode(log.hold_fields(rows_of(9)), ACME, stream="db")
    order = 2**252 + 27742317777372353535851937790883648493
    twin = int.from_bytes(entry[-32:], "little") + order
    log.refuses("signature/invalid", Statement.parse(entry[:-32] + twin.to_bytes(32, "little")))


def test_a_recovery_key_signs_nothing_in_other_streams(log):
    """What lies in a safe is for recovery, not for daily work."""
    log.refuses("rule/key-use", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", key=ACME + " recover"))
    log.refuses("rule/key-use", log.sign(log.key_change(ACME, more="sign"), ACME, key=ACME + " recover"))


def test_a_signing_key_signs_nothing_in_the_recovery_stream(log):
    """Or a stolen signing key could number the recovery stream ahead of its owner."""
    log.refuses("rule/key-use", log.sign(log.key_change(ACME, more="sign"), ACME, stream="#recovery", key=ACME))


def test_a_key_signs_from_the_next_position_on(log):
    """Admitting one's own key and using it in the same entry is impossible; in the next it is not."""
    log.keys(ACME, more="sign")
    log.hold(ACME, "db", rows_of(9), cause="backfill")
    added = log.model.parties[ACME]["keys"][-1]
    assert added["from"] == len(log.model.entries) - 1

    statement = log.sign(log.hold_fields(rows_of(10)), ACME, stream="db", key="more")
    at = added["from"]
    with pytest.raises(Untrusted) as early:
        judge(log.draft, at - 1, statement, RowFile.build(rows_of(10)))
    assert early.value.code == "rule/key-interval"
    log.add(statement)


def test_a_revoked_key_signs_nothing_more(log):
    """From the entry after the revocation on."""
    log.keys(ACME, more="sign")
    log.keys(ACME, [ACME], recovery=True)
    log.refuses("rule/key-interval", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db"))
    log.epoch()
    log.refuses("rule/key-interval", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db"))
    log.add(log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", key="more"))


def test_a_key_may_revoke_itself(log):
    """It is in force at the position of its revocation."""
    log.keys(ACME, more="sign")
    log.keys(ACME, [ACME])
    assert log.draft.party(ACME).keys[0].until == log.draft.position


# --- streams and seq ---


@pytest.mark.parametrize("off", [-1, 1, 100])
@pytest.mark.parametrize("stream", [None, "db", "#recovery"])
def test_a_wrong_seq_is_refused(log, stream, off):
    """Behind, ahead or far ahead, in the own stream, a system's, and the recovery stream."""
    log.keys(ACME, recovery=True, more="sign")
    payload = log.hold_fields(rows_of(9)) if stream == "db" else log.key_change(ACME, again="sign")
    payload["seq"] = log.seq(ACME, stream) + off
    log.refuses("rule/seq", log.sign(payload, ACME, stream=stream))


def test_a_seq_is_used_once(log):
    """The same bytes again, or another statement with the number of an accepted one, are refused."""
    first = log.hold(ACME, "db", rows_of(9))
    log.refuses("rule/seq", first)
    log.refuses("rule/seq", log.sign({**log.hold_fields(rows_of(10)), "seq": first.seq}, ACME, stream="db"))
    log.epoch()
    log.refuses("rule/seq", first)


def test_streams_are_numbered_apart(log):
    """A system's stream, the own one and the recovery stream each count for themselves."""
    assert (log.seq(ACME, "db"), log.seq(ACME, "bak"), log.seq(ACME), log.seq(ACME, "#recovery")) == (1, 1, 1, 0)
    log.keys(ACME, recovery=True, more="sign")
    assert (log.seq(ACME, "db"), log.seq(ACME, "bak"), log.seq(ACME), log.seq(ACME, "#recovery")) == (1, 1, 1, 1)
    log.epoch()


def test_kinds_stay_in_their_streams(log):
    """Holds and tombstones in a system's stream, keys and ends in the recovery stream, all else in the own one."""
    log.refuses("rule/stream", log.sign(log.hold_fields(rows_of(9)), ACME))
    log.refuses("rule/stream", log.sign(log.tombstone_fields(rows_of(1)), ACME))
    log.refuses("rule/stream", log.sign({"kind": "systems/1", "systems": [descriptor("new")]}, ACME, stream="db"))
    log.refuses("rule/stream", log.sign(log.key_change(ACME, more="sign"), ACME, stream="db"))
    systems = {"kind": "systems/1", "systems": [descriptor("new")]}
    log.refuses("rule/stream", log.sign(systems, ACME, stream="#recovery"))
    log.refuses("rule/stream", log.sign(log.hold_fields(rows_of(9)), ACME, stream="#recovery"))


def test_a_party_writes_only_under_its_own_name(log):
    """Another issuer's stream, as sub, is no stream of one's own."""
    payload = {"kind": "systems/1", "systems": [descriptor("new")]}
    log.refuses("rule/stream", log.sign(payload, ACME, stream="https://" + BETA))
    log.refuses("rule/system", log.sign(log.hold_fields(rows_of(9)), BETA, stream="db"))
    log.refuses("rule/system", log.sign(log.hold_fields(rows_of(9)), ACME, stream=f"https://{BETA}#recovery"))


def test_the_log_has_no_recovery_stream(log):
    """Its keys never rotate; its statements have one stream."""
    log.refuses("rule/key-use", log.sign({"kind": "party-end/1", "about": ACME}, stream="#recovery", key=ORIGIN))


# --- whom the log speaks about ---


def test_only_the_log_speaks_about_others(log):
    """In this rule set; not even about oneself."""
    for about in (BETA, ACME):
        log.refuses("rule/about", log.sign({**log.key_change(ACME, more="sign"), "about": about}, ACME))
        log.refuses("rule/about", log.sign({**log.hold_fields(rows_of(9)), "about": about}, ACME, stream="db"))


def test_the_log_speaks_about_admitted_parties(log):
    """One nobody knows cannot be ended, and nobody loses keys."""
    log.refuses("rule/about", log.sign({"kind": "party-end/1", "about": "nobody.example"}))
    log.refuses("rule/about", log.sign(log.key_change(ORIGIN, [ORIGIN])))


def test_the_log_does_not_speak_about_itself():
    """Even where its name could be a party's: it keeps its one key, and its end is about nobody."""
    log = Log(origin="log.example")
    log.epoch()
    log.refuses("rule/about", log.sign({"kind": "party-end/1", "about": "log.example"}))
    log.refuses("rule/about", log.sign(log.key_change("log.example", ["log.example"], about=True)))


def test_epochs_and_policies_are_about_nobody(log):
    """`about` would move a party's chain without telling it anything."""
    log.refuses("rule/about", log.sign({"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST, "about": ACME}))
    epoch = log.sign_epoch(about=ACME)
    with pytest.raises(Conflict) as refused:
        log.draft.finish(epoch)
    assert refused.value.code == "rule/about"


def test_an_admission_is_about_the_party_admitted(log):
    """Or another party's register would move."""
    log.refuses("rule/about", log.sign({**log.party("new.example"), "about": BETA}))
    without = log.party("new.example")
    del without["about"]
    log.refuses("rule/about", log.sign(without))


# --- what each role may say ---


@pytest.mark.parametrize("who", [ACME, COURT])
def test_only_the_log_admits_sets_policies_and_ends_epochs(log, who):
    """Whoever else signs such a thing."""
    log.refuses("rule/role", log.sign({"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST}, who))
    with pytest.raises(Conflict) as refused:
        log.draft.finish(log.sign(log.epoch_fields(), who))
    assert refused.value.code == "rule/role"
    party = log.party("new.example")
    del party["about"]
    log.refuses("rule/role", log.sign(party, who))


def test_only_holders_register_systems(log):
    """Not the court, not the log."""
    for who in (COURT, ORIGIN):
        log.refuses("rule/role", log.sign({"kind": "systems/1", "systems": [descriptor("new")]}, who))
        log.refuses("rule/system", log.sign(log.hold_fields(rows_of(9)), who, stream="db"))


# --- admission ---


def test_a_party_is_admitted_once(log):
    """Not again, not again after it ended, not under another role; and the log is no party."""
    log.refuses("rule/party-exists", log.sign(log.party(ACME)))
    log.refuses("rule/party-exists", log.sign(log.party(COURT, "auditor")))
    log.end(BETA)
    log.refuses("rule/party-exists", log.sign(log.party(BETA)))
    log.epoch()
    log.refuses("rule/party-exists", log.sign(log.party(BETA)))


def test_the_log_is_not_admitted_as_a_party():
    """Its head would be replaced by one with other keys."""
    log = Log(origin="log.example")
    log.epoch()
    log.refuses("rule/party-exists", log.sign(log.party("log.example")))


@pytest.mark.parametrize("uses", [{"a": "sign", "b": "sign"}, {"a": "recover", "b": "recover"}])
def test_an_admission_needs_keys_of_both_uses(log, uses):
    """Without a recovery key a stolen key is for ever, without a signing key nothing begins."""
    log.refuses("rule/keys", log.sign(log.party("new.example", uses=uses)))


def test_a_holder_has_one_vrf_series_and_others_none(log):
    """Its indexes would have no place, or the court would have some."""
    log.refuses("rule/vrf", log.sign(log.party("new.example", vrf=[])))
    log.refuses("rule/vrf", log.sign(log.party("new.example", "auditor", vrf=[{"suite": 3, "hash": bytes(32)}])))


def test_new_keys_prove_possession(log):
    """Of the key itself, for this log, this party and this very list of keys."""
    honest = log.party("new.example")
    a, b = honest["keys"]
    for wrong in (
        [a, {**b, "proof": bytes(64)}],
        [{**a, "proof": b["proof"]}, b],
        [{**a, "use": "recover"}, {**b, "use": "sign"}],
        [b, a],
    ):
        log.refuses("rule/possession", log.sign({**honest, "keys": wrong}))
    for changed in ({"name": "Someone Else"}, {"legal_id": "LEI other"}, {"vrf": [{"suite": 3, "hash": bytes(32)}]}):
        log.refuses("rule/possession", log.sign({**honest, **changed}))
    log.refuses("rule/possession", log.sign({**honest, "id": "thief.example", "about": "thief.example"}))
    log.add(log.sign({**honest, "check": {"method": "domain", "time": START + 5}}))


def test_proofs_of_possession_are_for_one_log(log):
    """A proof made for another log admits nothing here."""
    other = Log(origin="other.example/log")
    log.refuses("rule/possession", log.sign(other.party("new.example")))


def test_proofs_of_possession_are_for_one_kind(log):
    """Those of an admission do not add keys later, nor those of another party."""
    admission = log.party("new.example", uses={"k": "sign", "r": "recover"})
    change = log.key_change(ACME, k="sign")
    change["add"][0]["proof"] = admission["keys"][0]["proof"]
    log.refuses("rule/possession", log.sign(change, ACME))
    log.refuses("rule/possession", log.sign(log.key_change(BETA, k="sign"), ACME))


@pytest.mark.parametrize(
    ("public", "code"),
    [
        (bytes(32), "key/small-order"),
        (b"\x01" + bytes(31), "key/small-order"),
        (SMALL_ORDER, "key/small-order"),
        (b"\x02" + bytes(31), "key/not-a-point"),
        (b"\xee" + b"\xff" * 30 + b"\x7f", "key/not-canonical"),
    ],
)
def test_keys_under_which_anybody_signs_are_refused(log, public, code):
    """A small-order key verifies a forged proof of possession, so it is refused before."""
    honest = log.party("new.example")
    # R = identity... and S = 0 satisfies the equation of OpenSSL for the identity key.
    forged = {"key": public, "use": "sign", "proof": b"\x01" + bytes(63)}
    statement = log.sign({**honest, "keys": [forged, honest["keys"][1]]})
    with pytest.raises(Malformed) as refused:
        log.draft.add(statement)
    assert refused.value.code == code
    with pytest.raises(Malformed) as stateless:
        verify_transition(log.force(statement.entry), log.anchor, log.rows)
    assert stateless.value.code == code
    change = log.key_change(ACME, more="sign")
    change["add"] = [forged]
    with pytest.raises(Malformed):
        log.draft.add(log.sign(change, ACME))


# --- key changes ---


def test_a_key_is_admitted_once(log):
    """A kid occurs once in a party's list, revoked ones included, and once in an addition."""
    log.refuses("rule/keys", log.sign(log.key_change(ACME, **{ACME: "sign"}), ACME))
    log.refuses("rule/keys", log.sign(log.key_change(ACME, **{ACME: "recover"}), ACME, stream="#recovery"))
    log.keys(ACME, more="sign")
    log.keys(ACME, ["more"])
    log.refuses("rule/keys", log.sign(log.key_change(ACME, more="sign"), ACME))
    twice = log.key_change(ACME, new="sign")
    twice["add"] *= 2
    message = model.possession(ORIGIN, ACME, twice)
    twice["add"] = [{**new, "proof": Key("new").sign(message)} for new in twice["add"]]
    log.refuses("rule/keys", log.sign(twice, ACME))


def test_two_parties_may_have_one_key(log):
    """A kid is unique in a party, not in the log: nobody can block another's key by naming it first."""
    log.keys(ACME, shared="sign")
    log.keys(BETA, shared="sign")
    log.epoch()


def test_only_keys_in_force_are_revoked(log):
    """Not a stranger's, not another party's, not one revoked before."""
    for name in ("stranger", BETA):
        log.refuses("rule/keys", log.sign(log.key_change(ACME, [name]), ACME))
    log.keys(ACME, more="sign")
    log.keys(ACME, ["more"])
    log.refuses("rule/keys", log.sign(log.key_change(ACME, ["more"]), ACME))


@pytest.mark.parametrize("name", [ACME, ACME + " recover"])
@pytest.mark.parametrize("by", ["recovery", "log"])
def test_the_last_key_of_a_use_stays(log, name, by):
    """Neither the party nor the log can lock it out: `party-end/1` is for that."""
    change = log.key_change(ACME, [name], about=by == "log")
    statement = log.sign(change) if by == "log" else log.sign(change, ACME, stream="#recovery")
    log.refuses("rule/last-key", statement)


def test_a_key_added_and_revoked_at_once_does_not_count(log):
    """The last signing key cannot go by adding one that is revoked in the same breath."""
    log.refuses("rule/last-key", log.sign(log.key_change(ACME, ["new", ACME], new="sign"), ACME))


def test_signing_keys_do_not_touch_recovery_keys(log):
    """A stolen signing key can neither bring in a recovery key of its own nor take the owner's away."""
    log.keys(ACME, recovery=True, second="recover")
    log.refuses("rule/key-use", log.sign(log.key_change(ACME, mine="recover"), ACME))
    log.refuses("rule/key-use", log.sign(log.key_change(ACME, ["second"]), ACME))
    log.keys(ACME, ["second"], recovery=True)


def test_the_log_only_revokes(log):
    """With a key of its own in a party's list it could sign as that party."""
    log.refuses("rule/keys", log.sign(log.key_change(ACME, about=True, planted="sign")))
    log.keys(ACME, more="sign")
    log.add(log.sign(log.key_change(ACME, ["more"], about=True)))
    log.epoch()
    assert log.ledger.parties[ACME].keys[-1].until == log.ledger.size - 1


def test_a_party_has_at_most_64_keys(log):
    """Revoked ones included, or heads and proofs would grow without end."""
    names = [f"key {n}" for n in range(62)]
    for at in range(0, 62, 16):
        log.keys(ACME, **dict.fromkeys(names[at : at + 16], "sign"))
    log.keys(ACME, names[:16])
    log.refuses("rule/keys", log.sign(log.key_change(ACME, one="sign"), ACME))
    log.epoch()
    log.refuses("rule/keys", log.sign(log.key_change(ACME, one="sign"), ACME))


# --- ends ---


def test_a_party_that_ended_says_nothing_more(log):
    """In none of its streams, with none of its keys; nor does the log about it; its head stands."""
    log.end(ACME)
    for done in (False, True):
        log.refuses("rule/party-ended", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db"))
        log.refuses("rule/party-ended", log.sign(log.key_change(ACME, more="sign"), ACME))
        log.refuses("rule/party-ended", log.sign(log.key_change(ACME, more="sign"), ACME, stream="#recovery"))
        log.refuses("rule/party-ended", log.sign({"kind": "party-end/1", "about": ACME}))
        log.refuses("rule/party-ended", log.sign(log.key_change(ACME, [ACME], about=True)))
        if not done:
            log.epoch()


def test_a_party_ends_itself_with_a_recovery_key_only(log):
    """A stolen signing key cannot end its owner."""
    log.refuses("rule/key-use", log.sign({"kind": "party-end/1"}, ACME))
    log.end(ACME)
    log.end(BETA, by_log=True)
    log.epoch()


def test_a_log_ends_with_one_epoch(log):
    """Behind its own party-end/1 stands the epoch that commits it, nothing else, and nothing ever after."""
    log.hold(ACME, "db", rows_of(9))
    log.retire()
    after = {
        "another end": lambda: log.sign({"kind": "party-end/1"}),
        "the end of a party": lambda: log.sign({"kind": "party-end/1", "about": ACME}),
        "an admission": lambda: log.sign(log.party("new.example")),
        "a policy": lambda: log.sign({"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST}),
        "a hold": lambda: log.sign(log.hold_fields(rows_of(10)), ACME, stream="db"),
        "a key": lambda: log.sign(log.key_change(ACME, more="sign"), ACME, stream="#recovery"),
        "a stranger": lambda: log.sign(log.hold_fields(rows_of(10)), "nobody.example", stream="db"),
    }
    for make in after.values():
        log.refuses("rule/log-ended", make())

    log.epoch()

    for make in after.values():
        log.refuses("rule/log-ended", make())
    refuses_epoch(log, "rule/log-ended", log.sign_epoch())


def test_the_epoch_behind_the_end_is_judged_like_any_other(log):
    """Its number, time, root and signature."""
    log.retire()
    refuses_epoch(log, "rule/epoch-number", log.sign_epoch(number=0))
    refuses_epoch(log, "rule/epoch-root", log.sign_epoch(root=bytes(32)))
    refuses_epoch(log, "rule/epoch-time", log.sign_epoch(time=log.time - 5))
    refuses_epoch(log, "rule/key", log.sign(log.epoch_fields(), key=ACME))
    log.epoch()


def test_the_head_of_a_log_says_where_it_ends(log):
    """Status 2, and its key verifies no position from the final size on."""
    assert final_size(log.draft.party(ORIGIN)) is None
    log.retire()
    log.epoch()
    head = log.ledger.parties[ORIGIN]
    assert (head.status, head.keys[0].until, final_size(head)) == (2, log.ledger.size, log.ledger.size)


def test_a_party_cannot_end_the_log(log):
    """Its own end is its own, and needs its recovery key."""
    log.end(COURT)
    assert final_size(log.draft.party(ORIGIN)) is None
    log.hold(ACME, "db", rows_of(9))
    log.epoch()


def test_a_log_may_end_before_anything_happened():
    """In its first epoch."""
    log = Log()
    log.retire()
    log.epoch()
    assert log.ledger.size == 3
    log.refuses("rule/log-ended", log.sign(log.party(ACME)))


# --- systems ---


def test_rows_need_a_registered_system(log):
    """Registered by this holder, and spelled so."""
    for system in ("nowhere", "DB", "db ", ""):
        if system:
            log.refuses("rule/system", log.sign(log.hold_fields(rows_of(9)), ACME, stream=system))


@pytest.mark.parametrize(
    "changed", [{"kind": "search"}, {"locators": ["email", "phone"]}, {"locators": ["phone"]}], ids=str
)
def test_kind_and_locators_never_change(log, changed):
    """What was not indexed under a type before would look as if never committed."""
    new = {"kind": "systems/1", "systems": [descriptor("db", **{"kind": "database", **changed})]}
    log.refuses("rule/system-fixed", log.sign(new, ACME))


@pytest.mark.parametrize("cycle", [86_401, 2**53 - 1, None])
def test_a_backup_cycle_only_shrinks(log, cycle):
    """Or a deletion promised for tomorrow moves to next year."""
    grown = {"kind": "systems/1", "systems": [descriptor("bak", "backup", backup_cycle=cycle)]}
    log.refuses("rule/backup-cycle", log.sign(grown, ACME))


def test_a_backup_cycle_may_shrink_and_stays_shrunk(log):
    """Down to zero, within an epoch and across."""
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=3600))
    grown = {"kind": "systems/1", "systems": [descriptor("bak", "backup", backup_cycle=3601)]}
    log.refuses("rule/backup-cycle", log.sign(grown, ACME))
    log.epoch()
    log.refuses("rule/backup-cycle", log.sign(grown, ACME))
    log.systems(ACME, descriptor("bak", "backup", backup_cycle=0))
    log.epoch()


def test_a_bound_may_be_declared_late(log):
    """No bound declared is the weakest promise there is."""
    log.systems(ACME, descriptor("db", backup_cycle=60, retention="a week", assets=["mail"], processor_log="p.example"))
    log.epoch()


def test_a_system_that_holds_is_not_retired(log):
    """Not while one row is held, in this epoch or from before; then for good."""
    retire = {"kind": "systems/1", "systems": [descriptor("db", retired=True)]}
    log.refuses("rule/still-held", log.sign(retire, ACME))
    log.tombstone(ACME, "db", rows_of(1, 2))
    log.refuses("rule/still-held", log.sign(retire, ACME))
    log.tombstone(ACME, "db", rows_of(3))
    log.systems(ACME, descriptor("db", retired=True))
    for _ in range(2):
        log.refuses("rule/system-retired", log.sign(log.hold_fields(rows_of(9)), ACME, stream="db"))
        log.refuses("rule/system-retired", log.sign(log.tombstone_fields(rows_of(1)), ACME, stream="db"))
        for flag in (False, True):
            again = {"kind": "systems/1", "systems": [descriptor("db", retired=flag)]}
            log.refuses("rule/system-retired", log.sign(again, ACME))
        log.epoch()


def test_a_system_does_not_begin_retired(log):
    """It would be one more name and no place."""
    born = {"kind": "systems/1", "systems": [descriptor("new", retired=True)]}
    log.refuses("rule/system-retired", log.sign(born, ACME))


def test_systems_are_taken_whole_or_not_at_all(log):
    """One bad descriptor, and the good one next to it is not registered."""
    both = {"kind": "systems/1", "systems": [descriptor("aaa"), descriptor("db", "search")]}
    log.refuses("rule/system-fixed", log.sign(both, ACME))
    assert log.draft.system((ACME, "aaa")) is None


# --- rows ---


def test_the_life_of_an_index(log):
    """Held, versions, erased, held again: with generation, version and position as the protocol counts them."""
    key = model.map_key(next(iter(row_of(2))))

    def state():
        found = log.draft.states((ACME, "db"), [key])[0]
        return found[0], int.from_bytes(found[1:5], "big"), int.from_bytes(found[5:9], "big")

    def head():
        head = log.draft.system((ACME, "db"))
        return head.held, head.erased, head.reheld

    assert (state(), head()) == ((1, 1, 1), (3, 0, 0))
    log.hold(ACME, "db", row_of(2, 1), cause="corrected")
    assert (state(), head()) == ((1, 1, 2), (3, 0, 0))
    log.tombstone(ACME, "db", row_of(2, 1))
    assert (state(), head()) == ((2, 1, 2), (2, 1, 0))
    log.epoch()
    log.hold(ACME, "db", row_of(2, 1), cause="retracted", ref=[bytes(32)])
    assert (state(), head()) == ((1, 2, 1), (3, 0, 1))
    log.epoch()
    log.tombstone(ACME, "db", row_of(2, 1))
    log.hold(ACME, "db", row_of(2, 5), cause="restored")
    assert (state(), head()) == ((1, 3, 1), (3, 0, 2))
    log.epoch()


@pytest.mark.parametrize("where", ["before", "in this epoch"])
def test_rows_that_do_not_fit_their_states_are_refused(log, where):
    """Held with this commitment already; erased or never held; held with another commitment."""
    if where == "in this epoch":
        log.systems(ACME, descriptor("db2"))
        log.hold(ACME, "db2", rows_of(1, 2, 3))
        log.tombstone(ACME, "db2", row_of(3))
        system = "db2"
    else:
        log.tombstone(ACME, "db", row_of(3))
        log.epoch()
        system = "db"

    log.refuses("rule/already-held", log.sign(log.hold_fields(rows_of(1)), ACME, stream=system))
    log.refuses("rule/already-held", log.sign(log.hold_fields(rows_of(1, 7)), ACME, stream=system))
    log.refuses("rule/not-held", log.sign(log.tombstone_fields(rows_of(3)), ACME, stream=system))
    log.refuses("rule/not-held", log.sign(log.tombstone_fields(rows_of(1, 7)), ACME, stream=system))
    log.refuses("rule/not-held", log.sign(log.tombstone_fields(row_of(3, 1)), ACME, stream=system))
    mismatch = log.tombstone_fields(rows_of(1) | row_of(2, 1))
    log.refuses("rule/commitment-mismatch", log.sign(mismatch, ACME, stream=system))


def test_the_offending_rows_are_named(log):
    """By their number in the row file, sixteen of them at most."""
    log.hold(ACME, "db", rows_of(*range(10, 30)))
    order = sorted(rows_of(*range(10, 31)))
    fresh = order.index(next(iter(row_of(30))))
    statement = log.sign(log.hold_fields(rows_of(*range(10, 31))), ACME, stream="db")
    with pytest.raises(Conflict) as refused:
        log.draft.add(statement, RowFile.build(rows_of(*range(10, 31))))
    assert refused.value.rows == tuple(n for n in range(21) if n != fresh)[:16]

    statement = log.sign(log.tombstone_fields(rows_of(10, 30)), ACME, stream="db")
    with pytest.raises(Conflict) as refused:
        log.draft.add(statement, RowFile.build(rows_of(10, 30)))
    assert refused.value.rows == (sorted(rows_of(10, 30)).index(next(iter(row_of(30)))),)


def test_a_refused_statement_leaves_no_trace(log):
    """After refusals of every kind the epoch is the one without them."""
    before = log.draft.close().root
    log.refuses("rule/already-held", log.sign(log.hold_fields(rows_of(1, 7)), ACME, stream="db"))
    log.refuses("rule/seq", log.sign({**log.hold_fields(rows_of(8)), "seq": 9}, ACME, stream="db"))
    assert log.draft.close().root == before
    log.epoch()


def test_a_missing_row_file_is_not_decided(log):
    """It may turn up; without it nothing can be said."""
    fields = log.hold_fields(rows_of(9))
    del log.files[fields["root"]]
    log.refuses("rows/missing", log.sign(fields, ACME, stream="db"))


@pytest.mark.parametrize("off", [-1, 1])
def test_a_row_file_has_the_signed_count(log, off):
    """The count fixes the shape of the tree, hence the place of every row."""
    fields = log.hold_fields(rows_of(7, 8, 9))
    log.refuses("rows/count", log.sign({**fields, "count": 3 + off}, ACME, stream="db"))


def test_a_row_file_has_the_signed_root(log):
    """Another file under this root is not the file."""
    fields = log.hold_fields(rows_of(7, 8))
    log.files[fields["root"]] = model.row_file(rows_of(7, 9))
    log.refuses("rows/root", log.sign(fields, ACME, stream="db"))


def test_unsorted_or_repeated_rows_are_refused_even_when_signed(log):
    """One index has one row: twice would be two states at once."""
    rows = model.row_file(rows_of(7, 8))
    for file in (rows[64:] + rows[:64], rows[:64] * 2, rows[:64] + rows[:32] + bytes(32)):
        root = model.row_root(file)
        log.files[root] = file
        fields = {"kind": "hold/1", "count": 2, "root": root, "cause": "collected"}
        log.refuses("rows/order", log.sign(fields, ACME, stream="db"))


def test_more_rows_than_this_log_takes_are_refused(log):
    """Also when nobody has stored the file."""
    fields = log.hold_fields(rows_of(*range(100, 165)))
    log.refuses("rows/size", log.sign(fields, ACME, stream="db"))
    del log.files[fields["root"]]
    log.refuses("rows/size", log.sign(fields, ACME, stream="db"))


class _Strange:
    """A view in which every index has this state: what only another rule set, or four billion statements, lead to."""

    def __init__(self, draft, state):
        self._draft, self._state = draft, state

    def __getattr__(self, name):
        return getattr(self._draft, name)

    def states(self, system, keys):
        return [self._state] * len(keys)


@pytest.mark.parametrize("kind", ["hold_fields", "tombstone_fields"])
@pytest.mark.parametrize("status", [0, 3, 4, 5, 255])
def test_an_unknown_status_is_not_decided(log, kind, status):
    """Migrated, restricted and what else may come: not held and not erased as far as we know."""
    strange = _Strange(log.draft, bytes([status]) + log.draft.states((ACME, "db"), [map_key_of(1)])[0][1:])
    statement = log.sign(getattr(log, kind)(rows_of(1)), ACME, stream="db")
    with pytest.raises(Unavailable) as undecided:
        judge(strange, log.draft.position, statement, RowFile.build(rows_of(1)))
    assert undecided.value.code == "rule/unknown-status"


@pytest.mark.parametrize(("status", "generation", "version"), [(1, 1, 2**32 - 1), (2, 2**32 - 1, 1)])
def test_counters_end_rather_than_wrap(log, status, generation, version):
    """A version or generation that wrapped to 0 would repeat history."""
    strange = _Strange(log.draft, pack_state(status, generation, version, 5, bytes(32)))
    statement = log.sign(log.hold_fields(rows_of(1)), ACME, stream="db")
    with pytest.raises(Conflict) as refused:
        judge(strange, log.draft.position, statement, RowFile.build(rows_of(1)))
    assert refused.value.code == "rule/counter"


def map_key_of(n):
    return commitment.map_key(next(iter(row_of(n))))


# --- sizes and rule sets ---


def test_a_statement_above_the_logs_own_limit_is_refused():
    """Entry 0 may ask for less than 16 KiB."""
    log = Log(begin=False)
    log.add(log.sign(log_fields(limits={"rows": 64, "statement": 1024, "skew": 300, "silence": 60})))
    log.admit(ACME)
    log.epoch()
    big = [descriptor(f"s{n}") for n in range(9)]
    assert len(log.encode({"kind": "systems/1", "systems": big}, ACME)) > 1024
    log.refuses("statement/size", log.sign({"kind": "systems/1", "systems": big}, ACME))
    log.systems(ACME, *big[:3])
    log.epoch()


def test_an_unknown_rule_set_is_not_decided(log):
    """From the next position on; whoever does not know it never says refuted."""
    for name, digest in (("attest-rules/2", RULES_DIGEST), (RULES, bytes([1] * 32))):
        policy = log.sign({"kind": "policy/1", "name": name, "digest": digest})
        draft = Draft(log.ledger)
        draft.add(policy)
        hold = log.sign(log.hold_fields(rows_of(9)), ACME, stream="db")
        with pytest.raises(Unavailable) as undecided:
            draft.add(hold, RowFile.build(rows_of(9)))
        assert undecided.value.code == "rule/unknown-rules"
        with pytest.raises(Unavailable) as stateless:
            verify_transition(log.force(policy.entry, hold.entry), log.anchor, log.rows)
        assert stateless.value.code == "rule/unknown-rules"


def test_the_rule_set_in_force_can_be_confirmed(log):
    """A policy/1 that names the rules we know changes nothing."""
    log.add(log.sign({"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST}))
    log.hold(ACME, "db", rows_of(9))
    log.epoch()


# --- entry 0 ---


def begin(fields, **how):
    log = Log(begin=False)
    return log.sign({**log_fields(), **fields}, **how)


@pytest.mark.parametrize(
    ("fields", "how", "code"),
    [
        ({"seq": 1}, {}, "rule/genesis"),
        ({"about": ACME}, {}, "rule/genesis"),
        ({"origin": "other.example/log"}, {}, "rule/genesis"),
        ({}, {"aud": "other.example/log"}, "rule/genesis"),
        ({}, {"iss": "https://other.example/log"}, "rule/genesis"),
        ({}, {"stream": "db"}, "rule/genesis"),
        ({}, {"stream": "#recovery", "key": ORIGIN}, "rule/genesis"),
        ({}, {"key": "stranger"}, "rule/key"),
        ({}, {"key": "stranger", "header": {4: Key(ORIGIN).kid}}, "signature/invalid"),
        ({"keys": {**log_fields()["keys"], "receipts": Key(ORIGIN).public}}, {}, "rule/genesis"),
        ({"keys": {**log_fields()["keys"], "note_ed25519": Key(ORIGIN).public}}, {}, "rule/genesis"),
        ({"keys": {**log_fields()["keys"], "receipts": Key(ORIGIN + " note").public}}, {}, "rule/genesis"),
        ({"keys": {**log_fields()["keys"], "statements": bytes(32)}}, {}, "key/small-order"),
        ({"keys": {**log_fields()["keys"], "receipts": bytes(32)}}, {}, "key/small-order"),
        ({"keys": {**log_fields()["keys"], "note_ed25519": SMALL_ORDER}}, {}, "key/small-order"),
    ],
)
def test_a_log_begins_in_its_own_name(fields, how, code):
    """Entry 0 is signed by the key it names, about nobody, with three different admissible keys."""
    log = Log(begin=False)
    statement = begin(fields, **how)
    with pytest.raises(AttestError) as whole:
        log.draft.add(statement)
    with pytest.raises(AttestError) as stateless:
        verify_transition(log.force(statement.entry), Anchor.empty(), log.rows)
    assert (whole.value.code, stateless.value.code) == (code, code)


def test_a_log_begins_with_log_1():
    """Anything else at position 0 is refused."""
    log = Log(begin=False)
    log.refuses("rule/genesis", log.sign(log.party(ACME)))
    log.refuses("rule/genesis", log.sign({"kind": "policy/1", "name": RULES, "digest": RULES_DIGEST}))


def test_a_log_begins_once(log):
    """A second log/1 would bring other keys; also within the first epoch."""
    log.refuses("rule/genesis", log.sign({**log_fields(), "seq": 0}))
    log.refuses("rule/genesis", log.sign(log_fields()))
    fresh = Log()
    fresh.refuses("rule/genesis", fresh.sign({**log_fields(), "seq": 0}))
    fresh.refuses("rule/genesis", fresh.sign({**log_fields("new.example/log"), "seq": 0}, "new.example/log"))


def test_a_log_may_name_its_predecessor():
    """For the verdict to print; no rule reads it."""
    log = Log(begin=False)
    log.add(log.sign(log_fields(predecessor={"origin": "old.example/log", "size": 12, "root": bytes(32)})))
    log.epoch()
    assert log.anchor.genesis.predecessor.origin == "old.example/log"
    assert log.anchor.genesis.limits == Limits(64, 8192, 300, 3600)


# --- epochs ---


def refuses_epoch(log, code, statement, named=None):
    with pytest.raises(AttestError) as whole:
        log.draft.finish(statement)
    with pytest.raises(AttestError) as stateless:
        verify_transition(log.force(epoch=statement.entry), log.anchor, log.rows)
    with pytest.raises(AttestError):
        log.ledger.advance(log.draft, statement)
    with pytest.raises(model.Refused):
        log.model.copy().take(statement.entry)

    assert (whole.value.code, stateless.value.code) == (code, named or code)


@pytest.mark.parametrize("off", [-1, 1])
def test_epochs_are_numbered_without_gaps(log, off):
    """So that a missing one is noticed."""
    number = log.epoch_fields()["number"]
    refuses_epoch(log, "rule/epoch-number", log.sign_epoch(number=number + off))


def test_epoch_time_strictly_increases(log):
    """Equal is not later."""
    last = log.time
    for time in (last, last - 1, 0):
        refuses_epoch(log, "rule/epoch-time", log.sign_epoch(time=time))
    log.epoch(time=last + 1)


@pytest.mark.parametrize("off", [-1, 1])
def test_epoch_time_is_its_iat(log, off):
    """One time, signed twice, is one time."""
    refuses_epoch(log, "rule/epoch-time", log.sign_epoch(iat=log.time + 1 + off))


@pytest.mark.parametrize("claim", ["iat", "erased_at"])
def test_an_epoch_is_not_long_before_what_it_commits(log, claim):
    """At most 300 s before any iat or erased_at since the last epoch: a log cannot date its epochs back."""
    later = log.time + 1 + 301
    if claim == "iat":
        log.add(log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", iat=later))
    else:
        log.tombstone(ACME, "db", rows_of(1), erased_at=later)
    log.hold(ACME, "db", rows_of(10))
    refuses_epoch(log, "rule/epoch-time", log.sign_epoch())
    log.time = later - 301
    log.epoch()
    log.time -= 10
    log.time = START + 400
    log.epoch()


def test_the_bound_by_claims_ends_with_the_epoch(log):
    """What a past epoch has weighed binds none after it."""
    later = log.time + 301
    log.add(log.sign(log.hold_fields(rows_of(9)), ACME, stream="db", iat=later))
    log.epoch()
    assert log.draft.party(ORIGIN).log.latest == 0
    log.epoch()


def test_an_epoch_commits_the_state_before_itself(log):
    """Any other root is refused, that of the last epoch too."""
    log.hold(ACME, "db", rows_of(9))
    refuses_epoch(log, "rule/epoch-root", log.sign_epoch(root=bytes(32)))
    refuses_epoch(log, "rule/epoch-root", log.sign_epoch(root=log.ledger.top.root), "epoch/old-root")
    refuses_epoch(log, "rule/epoch-root", log.sign_epoch(root=model.sha256(b"")))
    log.epoch()


def test_an_epoch_in_the_wrong_stream_or_by_the_wrong_key_is_refused(log):
    """It is the log's own statement in the log's own stream."""
    refuses_epoch(log, "rule/seq", log.sign({**log.epoch_fields(), "seq": 0}, iat=log.time + 1))
    log.time += 1
    refuses_epoch(log, "rule/stream", log.sign(log.epoch_fields(), stream="db"))
    refuses_epoch(log, "rule/key", log.sign(log.epoch_fields(), key=ACME))
    refuses_epoch(log, "signature/invalid", log.sign(log.epoch_fields(), key=ACME, header={4: Key(ORIGIN).kid}))


def test_epochs_without_a_checkpoint_are_replayed():
    """After a crash an epoch entry may be followed by another: the state goes on from it."""
    log = Log()
    log.epoch()
    log.admit(ACME)
    log.epoch()
    log.epoch()
    assert log.ledger.parties[ORIGIN].log.epochs == 2
    log.epoch()
    assert log.ledger.parties[ORIGIN].log.epochs == 3


def test_a_draft_taken_in_one_go_equals_one_cut_into_epochs():
    """An epoch entry among the entries of a draft has the effect it has at the end of one."""
    log = Log()
    log.epoch()
    log.admit(ACME)
    cut = Draft(log.ledger)
    for entry in log.pending:
        cut.add(Statement.parse(entry))
    epoch = log.sign_epoch()
    log.time -= 1
    log.epoch()
    cut.add(epoch)
    log.systems(ACME, descriptor("db"))
    cut.add(Statement.parse(log.pending[0]))
    assert cut.close().root == log.draft.close().root


def test_ledgers_start_empty():
    """Before entry 0 there is no name, no party and no limit but the format's own."""
    ledger = Ledger(ToyMap)
    assert (ledger.origin, ledger.limits, ledger.party(ORIGIN), ledger.top_root()) == ("", Limits(), None, bytes(32))
    assert ledger.limits.statement == MAX_STATEMENT
    assert ledger.systems_of(ACME) == []


def test_the_systems_of_a_holder_are_listed_in_order(log):
    """Ids ascending, others' left out."""
    log.systems(BETA, descriptor("aaa"))
    log.epoch()
    assert [head.system for head in log.ledger.systems_of(ACME)] == ["bak", "db", "idle"]


def test_a_key_item_verifies_a_half_open_interval(log):
    """from <= e < until."""
    item = log.ledger.parties[ACME].keys[0]
    admitted = log.ledger.parties[ACME].admitted
    assert not item.verifies(admitted)
    assert item.verifies(admitted + 1)
    assert item.verifies(2**60)
    assert keys.thumbprint(item.key) == Key(ACME).kid


def test_row_files_are_checked_by_the_rules_themselves(log):
    """Whoever calls the rules need not have checked the file before."""
    statement = log.sign(log.hold_fields(rows_of(7, 8)), ACME, stream="db")
    for rows, code in ((rows_of(7), "rows/count"), (rows_of(7, 9), "rows/root")):
        with pytest.raises(Refuted) as refused:
            judge(log.draft, log.draft.position, statement, RowFile.build(rows))
        assert refused.value.code == code
