"""What everybody reads: books, prices, markets of the CLOB, rewards, and Gamma's lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from standins.polymarket.asking import Ask
from standins.polymarket.book import book_hash
from standins.polymarket.catalog import FEES, EventSpec
from standins.polymarket.crypto import ADDRESSES
from standins.polymarket.errors import refused
from standins.polymarket.state import MarketState, event_id, market_id
from standins.polymarket.values import (
    BUY,
    DOLLAR,
    MICRO,
    SECOND,
    SELL,
    YES,
    Json,
    iso_s,
    opposite,
    page,
    price_text,
    read_whole,
)
from standins.polymarket.venue import Venue

MOST_BOOKS: Final = 500
GAMMA_PAGE: Final = 100
MOST_CONDITIONS: Final = 100


class Public:
    """Public reads."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue

    # --- the CLOB ---------------------------------------------------------------------------------

    def ok(self, _ask: Ask) -> str:
        """`GET /ok`."""
        return "OK"

    def time(self, ask: Ask) -> int:
        """`GET /time`."""
        skew_ns = int(self.venue.faults.number("clock_skew_ms") * 1_000_000)
        return (ask.now_ns + skew_ns) // SECOND

    def version(self, _ask: Ask) -> Json:
        """`GET /version`."""
        return {"version": 2}

    def _asset(self, asset: Any) -> tuple[MarketState, int]:
        found = self.venue.by_asset.get(str(asset))
        if found is None or found[0].status == "waiting":
            raise refused(404, "No orderbook exists for the requested token id")
        return found

    def _told(self, market: MarketState, token: int) -> Json:
        book = self.venue.book_json(market, token)
        return book | {"hash": book_hash(book)}

    def book(self, ask: Ask) -> Json:
        """`GET /book`."""
        return self._told(*self._asset(ask.text("token_id")))

    def books(self, ask: Ask) -> list[Json]:
        """`POST /books`."""
        known = [self.venue.by_asset.get(_token_id(each)) for each in ask.items(MOST_BOOKS)]
        return [self._told(*each) for each in known if each is not None]

    def _touch(self, asset: Any) -> tuple[int, int]:
        market, token = self._asset(asset)
        bid, ask = market.book.best()
        return (bid, ask) if token == YES else (opposite(ask), opposite(bid))

    def midpoint(self, ask: Ask) -> Json:
        """`GET /midpoint`."""
        return {"mid": self._mid(ask.text("token_id"))}

    def _mid(self, asset: Any) -> str:
        bid, ask = self._touch(asset)
        return f"{(bid + ask) / 2 / DOLLAR:.5f}".rstrip("0").rstrip(".")

    def midpoints(self, ask: Ask) -> Json:
        """`POST /midpoints`."""
        assets = [_token_id(each) for each in ask.items(MOST_BOOKS)]
        return {asset: self._mid(asset) for asset in assets if asset in self.venue.by_asset}

    def _price(self, asset: Any, side: Any) -> str:
        if side not in (BUY, SELL):
            raise refused(400, "Invalid side")
        bid, ask = self._touch(asset)
        return price_text(bid if side == BUY else ask)

    def price(self, ask: Ask) -> Json:
        """`GET /price`: the best bid for BUY."""
        return {"price": self._price(ask.text("token_id"), ask.text("side"))}

    def prices(self, ask: Ask) -> Json:
        """`POST /prices`."""
        found: Json = {}
        for each in ask.items(MOST_BOOKS):
            asset, side = _token_id(each), each.get("side") if isinstance(each, dict) else None
            if asset in self.venue.by_asset:
                found.setdefault(asset, {})[side] = self._price(asset, side)
        return found

    def spread(self, ask: Ask) -> Json:
        """`GET /spread`."""
        bid, best_ask = self._touch(ask.text("token_id"))
        return {"spread": price_text(best_ask - bid)}

    def spreads(self, ask: Ask) -> Json:
        """`POST /spreads`."""
        found = {}
        for each in ask.items(MOST_BOOKS):
            asset = _token_id(each)
            if asset in self.venue.by_asset:
                bid, best_ask = self._touch(asset)
                found[asset] = price_text(best_ask - bid)
        return found

    def last_price(self, ask: Ask) -> Json:
        """`GET /last-trade-price`."""
        return self._last(ask.text("token_id"))

    def _last(self, asset: Any) -> Json:
        market, token = self._asset(asset)
        if not market.last_price:
            return {"price": "0.5", "side": ""}
        price = market.last_price if token == YES else opposite(market.last_price)
        return {"price": price_text(price), "side": market.last_side}

    def last_prices(self, ask: Ask) -> list[Json]:
        """`POST /last-trades-prices`."""
        assets = [_token_id(each) for each in ask.items(MOST_BOOKS)]
        return [{"token_id": a} | self._last(a) for a in assets if a in self.venue.by_asset]

    def tick_size(self, ask: Ask) -> Json:
        """`GET /tick-size`."""
        return {"minimum_tick_size": self._asset(ask.text("token_id"))[0].tick / DOLLAR}

    def neg_risk(self, ask: Ask) -> Json:
        """`GET /neg-risk`."""
        return {"neg_risk": self._asset(ask.text("token_id"))[0].neg_risk}

    def fee_rate(self, ask: Ask) -> Json:
        """`GET /fee-rate`: a legacy number."""
        self._asset(ask.text("token_id"))
        return {"base_fee": 0}

    def by_token(self, ask: Ask) -> Json:
        """`GET /markets-by-token/{token}`."""
        market, _ = self._asset(ask.path["token"])
        yes, no = market.tokens
        return {
            "condition_id": market.spec.condition, "primary_token_id": yes, "secondary_token_id": no,
        }  # fmt: skip

    def _market(self, ask: Ask) -> MarketState:
        market = self.venue.by_condition.get(ask.path["condition"])
        if market is None or market.status == "waiting":
            raise refused(404, "market not found")
        return market

    def clob_market(self, ask: Ask) -> Json:
        """`GET /clob-markets/{condition}`."""
        market = self._market(ask)
        spec = market.spec
        tokens = [{"t": t, "o": name} for t, name in zip(spec.tokens, spec.outcomes, strict=True)]
        game = iso_s(market.game_start_ns) if market.game_start_ns else None
        return {
            "c": spec.condition, "t": tokens, "mts": market.tick / DOLLAR, "mos": spec.min_size,
            "nr": market.neg_risk, "fd": {"r": market.fee_rate_ppm / MICRO, "e": 1, "to": True},
            "ao": market.accepting, "sd": spec.hold_s, "gst": game, "cbos": spec.clears_at_start,
            "itode": spec.hold_ms > 0, "v": spec.version,
            "r": {"mi": market.rewards_min_size, "ma": spec.rewards_max_spread_cents, "moas": 30},
        }  # fmt: skip

    def market(self, ask: Ask) -> Json:
        """`GET /markets/{condition}` of the CLOB."""
        market = self._market(ask)
        spec, over = market.spec, market.status == "resolved"
        bid, best_ask = market.book.best()
        mid = (bid + best_ask) / 2 / DOLLAR
        tokens = [
            {
                "token_id": asset, "outcome": name, "price": mid if token == YES else 1 - mid,
                "winner": over and market.winner == token,
            }
            for token, (asset, name) in enumerate(zip(spec.tokens, spec.outcomes, strict=True))
        ]  # fmt: skip
        game = iso_s(market.game_start_ns) if market.game_start_ns else None
        return {
            "condition_id": spec.condition, "question": spec.question, "market_slug": spec.slug,
            "enable_order_book": True, "active": True, "closed": over, "archived": False,
            "accepting_orders": market.accepting, "minimum_order_size": spec.min_size,
            "minimum_tick_size": market.tick / DOLLAR, "end_date_iso": iso_s(market.end_ns),
            "game_start_time": game, "seconds_delay": spec.hold_s, "neg_risk": market.neg_risk,
            "neg_risk_market_id": market.event.neg_risk_id, "tokens": tokens,
            "rewards": {
                "rates": [
                    {"asset_address": ADDRESSES["collateral"], "rewards_daily_rate": spec.rewards_daily},
                ],
                "min_size": market.rewards_min_size, "max_spread": spec.rewards_max_spread_cents,
            },
        }  # fmt: skip

    def history(self, ask: Ask) -> Json:
        """`GET /prices-history`: the last price of each minute."""
        market, token = self._asset(ask.text("market"))
        first, last = ask.whole("startTs", 0), ask.whole("endTs", 2**62)
        minutes = {
            t // 60 * 60: p if token == YES else opposite(p) for t, p in market.prices if first <= t <= last
        }
        return {"history": [{"t": t, "p": p / DOLLAR} for t, p in sorted(minutes.items())]}

    # --- rewards ----------------------------------------------------------------------------------

    def rewards_now(self, ask: Ask) -> Json:
        """`GET /rewards/markets/current`."""
        rewards = self.venue.rewards
        live = [m for m in self.venue.markets if m.spec.rewards_daily and m.status == "active"]
        return page([rewards.market_json(m) for m in live], ask.text("next_cursor"), 500)

    def rewards_of(self, ask: Ask) -> Json:
        """`GET /rewards/markets/{condition}`."""
        return page([self.venue.rewards.detail_json(self._market(ask))], ask.text("next_cursor"))

    def rebates(self, ask: Ask) -> list[Json]:
        """`GET /rebates/current`."""
        return self.venue.rewards.rebates_json(ask.text("date"), ask.text("maker_address"))

    # --- Gamma ------------------------------------------------------------------------------------

    def gamma_json(self, market: MarketState) -> Json:
        """A market of Gamma: some of its lists are JSON inside of strings."""
        spec, over = market.spec, market.status == "resolved"
        bid, best_ask = market.book.best()
        mid = (bid + best_ask) / 2
        prices = [p / MICRO for p in market.payouts()] if over else [mid / DOLLAR, 1 - mid / DOLLAR]
        fee_type, rate, rebate = FEES[spec.category]
        v2 = spec.version == "v2"
        depth = sum(p * s // DOLLAR for side in market.book.totals for p, s in side.items()) / MICRO
        volume = market.volume_micros / MICRO
        place = list(self.venue.events).index(spec.event)
        return {
            "id": market_id(market.place), "conditionId": spec.condition[:64] if v2 else spec.condition,
            "slug": spec.slug, "question": spec.question, "version": spec.version, "active": True,
            "closed": over, "archived": False, "acceptingOrders": market.accepting, "enableOrderBook": True,
            "outcomes": json.dumps(list(spec.outcomes)),
            "outcomePrices": json.dumps([f"{price:g}" for price in prices]),
            "clobTokenIds": None if v2 else json.dumps(list(spec.tokens)),
            "positionIds": list(spec.tokens) if v2 else None, "startDate": iso_s(market.start_ns),
            "endDate": iso_s(market.end_ns), "endDateIso": iso_s(market.end_ns)[:10],
            "gameStartTime": iso_s(market.listed_start_ns) if market.listed_start_ns else None,
            "secondsDelay": spec.hold_s, "liquidityNum": depth, "liquidityClob": depth, "volumeNum": volume,
            "volume24hr": volume, "bestBid": bid / DOLLAR, "bestAsk": best_ask / DOLLAR,
            "spread": (best_ask - bid) / DOLLAR, "lastTradePrice": market.last_price / DOLLAR,
            "oneDayPriceChange": 0.0, "orderPriceMinTickSize": market.tick / DOLLAR,
            "orderMinSize": spec.min_size, "negRisk": market.neg_risk,
            "negRiskMarketID": market.event.neg_risk_id or None, "feesEnabled": rate > 0, "feeType": fee_type,
            "feeSchedule": {
                "rate": rate / MICRO, "exponent": 1, "takerOnly": True, "rebateRate": rebate / 100,
            },
            "makerBaseFee": 1000, "takerBaseFee": 1000, "rewardsMinSize": market.rewards_min_size,
            "rewardsMaxSpread": spec.rewards_max_spread_cents, "clobRewards": [self._gamma_reward(market)],
            "competitive": 0.9, "holdingRewardsEnabled": False, "clearBookOnStart": spec.clears_at_start,
            "sportsMarketType": "moneyline" if spec.category == "sports" else None,
            "umaResolutionStatus": market.uma, "events": [{"id": event_id(place), "slug": spec.event}],
        }  # fmt: skip

    def _gamma_reward(self, market: MarketState) -> Json:
        return {
            "id": str(market.place + 1), "conditionId": market.spec.condition,
            "assetAddress": ADDRESSES["collateral"], "rewardsAmount": 0,
            "rewardsDailyRate": market.spec.rewards_daily, "startDate": "2026-11-01", "endDate": "2500-12-31",
        }  # fmt: skip

    def _event_json(self, place: int, event: EventSpec) -> Json:
        markets = [m for m in self.venue.markets if m.spec.event == event.slug]
        over = all(m.status == "resolved" for m in markets)
        return {
            "id": event_id(place), "slug": event.slug, "ticker": event.slug, "title": event.title,
            "active": True, "closed": over, "archived": False, "negRisk": event.neg_risk,
            "negRiskMarketID": event.neg_risk_id or None, "markets": [self.gamma_json(m) for m in markets],
            "tags": [],
        }  # fmt: skip

    def gamma_markets(self, ask: Ask) -> Json:
        """`GET /markets/keyset`."""
        return self._keyset(ask, "markets", [self.gamma_json(m) for m in self._chosen(ask)])

    def gamma_list(self, ask: Ask) -> list[Json]:
        """`GET /markets` by condition or slug, without pages."""
        return [self.gamma_json(m) for m in self._chosen(ask)][: ask.whole("limit", GAMMA_PAGE)]

    def _chosen(self, ask: Ask) -> Sequence[MarketState]:
        closed = ask.text("closed", "false").lower() == "true"
        if len(ask.query.getall("condition_ids", [])) > MOST_CONDITIONS:
            raise refused(422, f"condition_ids: at most {MOST_CONDITIONS}")
        wanted = {
            "conditionId": set(ask.query.getall("condition_ids", [])),
            "slug": set(ask.query.getall("slug", [])),
        }  # fmt: skip
        assets = set(ask.query.getall("clob_token_ids", []))
        return [
            m
            for m in self.venue.markets
            if (m.status == "resolved") == closed
            and (not wanted["slug"] or m.spec.slug in wanted["slug"])
            and (not wanted["conditionId"] or _names(m) & wanted["conditionId"])
            and (not assets or assets & set(m.tokens))
        ]  # fmt: skip

    def gamma_market(self, ask: Ask) -> Json:
        """`GET /markets/{id}`."""
        for market in self.venue.markets:
            if market_id(market.place) == ask.path["market_id"]:
                return self.gamma_json(market)
        raise refused(404, "id not found")

    def gamma_events(self, ask: Ask) -> Json:
        """`GET /events/keyset`."""
        return self._keyset(ask, "events", self._events(ask))

    def gamma_event_list(self, ask: Ask) -> list[Json]:
        """`GET /events`, by slug for instance."""
        return self._events(ask)[: ask.whole("limit", GAMMA_PAGE)]

    def _events(self, ask: Ask) -> list[Json]:
        closed = ask.text("closed", "false").lower() == "true"
        slugs = set(ask.query.getall("slug", []))
        events = [self._event_json(k, e) for k, e in enumerate(self.venue.events.values())]
        return [e for e in events if e["closed"] == closed and (not slugs or e["slug"] in slugs)]

    @staticmethod
    def _keyset(ask: Ask, name: str, entries: list[Json]) -> Json:
        limit = ask.whole("limit", 20)
        if not 1 <= limit <= GAMMA_PAGE:
            raise refused(422, f"limit must be between 1 and {GAMMA_PAGE}")
        after = ask.text("after_cursor")
        found = read_whole(after.removeprefix("k")) if after else -1
        if found is None:
            raise refused(422, "invalid after_cursor")
        rest = [entry for entry in entries if int(entry["id"]) > found]
        body: Json = {name: rest[:limit]}
        if len(rest) > limit:
            body["next_cursor"] = f"k{rest[limit - 1]['id']}"
        return body


def _names(market: MarketState) -> set[str]:
    """How a condition may be named."""
    return (
        {market.spec.condition, market.spec.condition[:64]}
        if market.spec.version == "v2"
        else {market.spec.condition}
    )


def _token_id(entry: Any) -> str:
    return str(entry.get("token_id", "")) if isinstance(entry, dict) else ""


def geoblock(*, blocked: bool) -> Json:
    """The web site's probe of where one is."""
    country, region = ("US", "NY") if blocked else ("IE", "L")
    return {"blocked": blocked, "ip": "127.0.0.1", "country": country, "region": region}
