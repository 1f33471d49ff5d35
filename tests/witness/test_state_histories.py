"""Random honest histories: whatever parties do, and wherever the log is looked at, it is vouched for."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.log import Log
from tests.ledger.test_histories import BEGINNING, actions, offer, statement
from tests.witness.lies import Operator
from tests.witness.statewitness import StateWitness

steady = settings(derandomize=True, deadline=None, max_examples=25, database=None)


@steady
@given(
    st.lists(st.one_of(actions, st.just("look"), st.just("forget"), st.just("restart")), min_size=5, max_size=30),
    st.sampled_from([None, 0, 2]),
)
def test_an_honest_log_is_always_vouched_for(history, kept):
    """Looked at after any epoch, by a witness that restarts, loses what it knew, or finds that proofs are gone."""
    log = Log()
    with tempfile.TemporaryDirectory() as folder:
        operator = Operator(log)
        witness = StateWitness(operator, Path(folder))
        published = 0

        def look() -> None:
            nonlocal published
            for proof in log.proofs[published:]:
                operator.publish(proof)
            published = len(log.proofs)
            gone = [] if kept is None else sorted(operator.proofs)[: len(operator.proofs) - kept]
            # The log drops proofs only after a day.
            witness.now = log.time
            if operator.entries and not (gone and 0 < witness.size < len(operator.entries)):
                for number in gone:
                    del operator.proofs[number]
            if operator.entries:
                witness.assess()
                assert witness.size == len(operator.entries)

        for action in [*BEGINNING, *history, ("epoch", 0, 0, 1, 0, 0), "look"]:
            if action == "look":
                look()
            elif action == "forget":
                witness.assessor.close()
                witness.anchors.forget(log.origin)
                witness.open()
            elif action == "restart":
                witness.assessor.close()
                witness.open()
            elif action[0] == "epoch":
                log.epoch()
            else:
                offer(log, statement(log, action))
        assert not witness.evidence()
        witness.db.close()
