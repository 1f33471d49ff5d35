"""Row files hashed in batches are row files."""

import secrets

import pytest

from attest.errors import Malformed, Refuted
from attest.formats.rows import RowFile
from attest.statemap import HashedRows, parallel
from tests.world import random_rows


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 1_000, 1_025])
def test_roots_and_map_keys_are_those_of_any_row_file(count, processes):
    """Whoever hashes, one by one or in batches: what is signed is one root."""
    plain = RowFile.build(random_rows(count))
    with parallel(processes):
        hashed = HashedRows.parse(plain.encoded)
        assert (hashed.root(), hashed.map_keys()) == (plain.root(), plain.map_keys())
        hashed.check(count, plain.root())
        with pytest.raises(Refuted, match="the rows have root"):
            hashed.check(count, secrets.token_bytes(32))


def test_what_is_no_row_file_is_none_here_either():
    """Size and order are checked by the same code."""
    rows = RowFile.build(random_rows(2)).encoded
    for damaged in (b"", rows[1:], rows[64:] + rows[:64]):
        with pytest.raises(Malformed, match=r"rows"):
            HashedRows.parse(damaged)
