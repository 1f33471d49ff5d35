"""The limits on writes."""

import pytest

from attest.api.limits import MAX_ADDRESSES, TooMany, Uploads, WriteLimit
from attest.errors import Unavailable


class _Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_no_limit_lets_everything_pass():
    """Without a number every write passes."""
    limit = WriteLimit(None, _Clock())

    for _ in range(10_000):
        limit.take("192.0.2.1")


def test_a_full_bucket_is_refilled_by_the_minute():
    """Sixty a minute: sixty at once, then one a second, and the refusal says when."""
    clock = _Clock()
    limit = WriteLimit(60, clock)
    for _ in range(60):
        limit.take("192.0.2.1")

    with pytest.raises(TooMany) as refused:
        limit.take("192.0.2.1")
    assert refused.value.code == "http/rate"
    assert refused.value.retry_s == 1
    limit.take("192.0.2.2")  # somebody else
    clock.now_s += 1
    limit.take("192.0.2.1")
    with pytest.raises(TooMany):
        limit.take("192.0.2.1")


def test_a_slow_limit_says_how_long_to_wait():
    """One a minute: the second write is told to come back in a minute."""
    limit = WriteLimit(1, _Clock())
    limit.take("192.0.2.1")

    with pytest.raises(TooMany) as refused:
        limit.take("192.0.2.1")
    assert refused.value.retry_s == 60


def test_a_subscriber_with_many_addresses_is_one():
    """All addresses of one IPv6 /64 share a bucket."""
    limit = WriteLimit(1, _Clock())
    limit.take("2001:db8::1")
    limit.take("2001:db8:0:1::1")

    with pytest.raises(TooMany):
        limit.take("2001:db8::ffff:2")


@pytest.mark.parametrize("address", [None, "", "unix", "fe80::1%eth0"])
def test_odd_addresses_are_counted_too(address: str | None):
    """A missing or unreadable address is no way around the limit."""
    limit = WriteLimit(1, _Clock())
    limit.take(address)

    with pytest.raises(TooMany):
        limit.take(address)


def test_memory_stays_bounded():
    """However many addresses write, only so many are remembered."""
    limit = WriteLimit(1, _Clock())
    for number in range(MAX_ADDRESSES + 50):
        limit.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")

    assert len(limit._buckets) == MAX_ADDRESSES


def test_uploads_fill_memory_up_to_a_bound():
    """What does not fit beside the rest is told to come back, and fits again once the rest is done."""
    uploads = Uploads(100)
    with uploads.hold(60), uploads.hold(40):
        with pytest.raises(Unavailable) as refused, uploads.hold(1):
            pass
        assert refused.value.code == "http/busy"
    with uploads.hold(100):
        pass


def test_an_upload_that_fails_gives_its_room_back():
    """Room is not lost with a refused file."""
    uploads = Uploads(100)
    for _ in range(3):
        with pytest.raises(ValueError, match="refused"), uploads.hold(100):
            raise ValueError("refused")
