"""serve.web.rates: counters per client and their limit."""

import asyncio

import pytest
from fastapi import Request

from serve.problems import Problem
from serve.web.rates import BUCKETS, RateLimit, bucket_of


def request_from(address: str) -> Request:
    return Request({"type": "http", "client": (address, 1), "headers": []})


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8:0:0:ffff::2")
    assert bucket_of("2001:db8:0:1::1") != bucket_of("2001:db8::1")


def test_memory_is_bounded_however_many_clients_there_are() -> None:
    async def play() -> int:
        rate = RateLimit(1000)
        for number in range(3 * BUCKETS):
            await rate.admit(request_from(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
        return len(rate._counts.storage.storage)  # type: ignore[attr-defined]

    # Each bucket has a counter for this minute and one for the previous minute.
    assert BUCKETS / 2 < asyncio.run(play()) <= 2 * BUCKETS


def test_only_what_is_beyond_the_limit_is_refused() -> None:
    async def play() -> None:
        rate = RateLimit(3)
        for _ in range(3):
            await rate.admit(request_from("192.0.2.1"))
        with pytest.raises(Problem) as caught:
            await rate.admit(request_from("192.0.2.1"))
        assert caught.value.status_code == 429
        await rate.admit(request_from("192.0.2.2"))
        for _ in range(10):
            await RateLimit(None).admit(request_from("192.0.2.1"))

    asyncio.run(play())
