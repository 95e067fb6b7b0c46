"""Section 8: programmes, as Kalshi lists them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    SECOND,
    T0,
    T1,
    T2,
    T3,
    anywhere,
    changed,
    listening,
    served,
    small,
)
from conformance.kalshi.rows import Unused, row
from conformance.kalshi.trade import small_pages
from pr3dict.domain.errors import DataError
from pr3dict.venues.kalshi.rest import ReadFailedError
from standins.kalshi import Programme

UNUSED = (
    Unused("The sportsbook hedging rebate", "it is for orders of sportsbooks, above 300,000 contracts"),
    Unused("Terms of a market-maker agreement", "they are private: they stand in the configuration"),
)

DAY_S = 86_400
PROGRAMMES = (
    Programme(T0),
    Programme(T1, kind="volume", reward_centicents=25_000_000),
    Programme(T2, start_in_s=DAY_S, end_in_s=2 * DAY_S, discount_bps=10_000, target=20_000),
    Programme(T3, start_in_s=-3 * DAY_S, end_in_s=-2 * DAY_S, paid_out=True),
    Programme(T3, start_in_s=-2 * DAY_S, end_in_s=-DAY_S),
)


def listing():
    return replace(small(), programmes=PROGRAMMES)


@row(
    "8.1",
    "Programmes are read without a key, by status and kind: there are too many to read them all.",
    demo=True,
)
def test_filters():
    async def body(account):
        found = await account.rest.incentive_programs()
        assert {p.incentive_type for p in found} <= {"liquidity"}
        if account.server is not None:
            assert [p.market_ticker for p in found] == [T0]

    anywhere(body)

    async def at_stand_in(server, rest):
        with listening(server) as heard:
            told = {
                (status, kind): [
                    p.market_ticker for p in await rest.incentive_programs(status=status, kind=kind)
                ]
                for status in ("active", "upcoming", "closed", "paid_out", "all")
                for kind in ("liquidity", "volume", "all")
            }
        assert told["active", "all"] == [T0, T1] and told["active", "volume"] == [T1]
        assert told["upcoming", "all"] == [T2] and told["closed", "all"] == told["paid_out", "all"] == [T3]
        assert len(told["all", "all"]) == 5
        assert not any("KALSHI-ACCESS-KEY" in h.headers for h in heard)

    served(at_stand_in, catalog=listing())


@row("8.2", "A period's reward is in hundredths of a cent, exactly.")
def test_rewards():
    async def body(server, rest):
        rewards = {p.market_ticker: int(p.period_reward) for p in await rest.incentive_programs(kind="all")}
        assert rewards == {T0: 100_000_000, T1: 2_500_000_000}  # 100 and 2,500 dollars in micros

    served(body, catalog=listing())


@row("8.3", "A liquidity programme states its discount in basis points and its target in contracts.")
def test_terms():
    async def body(server, rest):
        [now] = await rest.incentive_programs()
        [next_one] = await rest.incentive_programs(status="upcoming")
        assert (int(now.discount_factor_bps), int(now.target_size_fp)) == (5_000, 1_000 * CONTRACT)
        assert (int(next_one.discount_factor_bps), int(next_one.target_size_fp)) == (
            10_000,
            20_000 * CONTRACT,
        )

    served(body, catalog=listing())


@row("8.4", "A volume programme has neither, and is read all the same.")
def test_volume_programmes():
    async def body(server, rest):
        [one] = await rest.incentive_programs(kind="volume")
        assert one.discount_factor_bps is None and one.target_size_fp is None

    served(body, catalog=listing())


@row("8.5", "A period has a beginning and an end, the id of its own, and the ticker of its market.")
def test_periods():
    async def body(server, rest):
        found = await rest.incentive_programs(status="all")
        assert len({p.id for p in found}) == len(found) == 4
        for one in found:
            assert int(one.start_date) < int(one.end_date)
            assert (await rest.market(one.market_ticker)).ticker == one.market_ticker
        listed_s = server.venue.start_ns // SECOND  # times are whole seconds
        spans = {int(p.start_date) // SECOND - listed_s for p in found}
        assert spans == {-DAY_S, DAY_S, -3 * DAY_S, -2 * DAY_S} and sum(p.paid_out for p in found) == 1

    served(body, catalog=listing())


@row("8.6", "All pages are turned by the cursor of these lists, which has another name than the others'.")
def test_pages(monkeypatch):
    small_pages(monkeypatch, 2)

    async def body(server, rest):
        with listening(server) as heard:
            assert len(await rest.incentive_programs(status="all", kind="all")) == 5
        assert [bool(h.query.get("cursor")) for h in heard] == [False, True, True]

    served(body, catalog=listing())


@row(
    "8.7", "Without a reward, a period or a market a programme is refused, never guessed; new kinds are read."
)
@pytest.mark.parametrize(
    "field", ["period_reward", "start_date", "end_date", "market_ticker", "incentive_type"]
)
def test_missing_fields(field):
    async def body(server, rest):
        def without(answer):
            return answer | {"incentive_programs": [{**p, field: None} for p in answer["incentive_programs"]]}

        changed(server, "incentive_programs", without)
        with pytest.raises(DataError, match=field):
            await rest.incentive_programs()

        def renamed(answer):
            return answer | {
                "incentive_programs": [
                    {**p, "incentive_type": "brand_new"} for p in answer["incentive_programs"]
                ]
            }

        changed(server, "incentive_programs", renamed)
        assert [p.incentive_type for p in await rest.incentive_programs()] == ["brand_new"]

    served(body, catalog=listing())


@row("8.8", "A filter that Kalshi does not know is an error, not an empty list.")
def test_unknown_filter():
    async def body(server, rest):
        with pytest.raises(ReadFailedError, match="not supported"):
            await rest.incentive_programs(status="someday")

    served(body, catalog=listing())
