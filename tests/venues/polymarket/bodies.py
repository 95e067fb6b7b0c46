"""A valid body of every kind that Polymarket's REST sends, as its documentation and captures show them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.numbers import Exact, Seconds

YES = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
NO = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
CONDITION = "0x" + "ab" * 32
DIGEST = "0x" + "8f" * 32
WALLET = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
OWNER = "00000000-1111-2222-3333-444444444444"

BOOK: dict[str, Any] = {
    "market": CONDITION,
    "asset_id": YES,
    "timestamp": "1700000000000",
    "hash": "44d2b579af67a83e4ffd0a0a780fb5f4e241e979",
    "bids": [{"price": "0.51", "size": "10"}, {"price": "0.52", "size": "10"}],
    "asks": [{"price": "0.55", "size": "10"}, {"price": "0.54", "size": "10"}],
    "min_order_size": "5",
    "tick_size": "0.01",
    "neg_risk": False,
    "last_trade_price": "0.53",
}
CLOB_MARKET = {
    "c": CONDITION,
    "t": [{"t": YES, "o": "Yes"}, {"t": NO, "o": "No"}],
    "mts": 0.01,
    "mos": 5,
    "nr": False,
    "fd": {"r": 0.05, "e": 1, "to": True},
    "ao": True,
    "sd": 0,
    "gst": None,
    "cbos": False,
    "itode": False,
    "r": {"mi": 50, "ma": 4.5, "moas": 30},
    "v": "v1",
}
VERBOSE_MARKET = {
    "condition_id": CONDITION,
    "tokens": [
        {"token_id": YES, "outcome": "Yes", "price": 0.535, "winner": True},
        {"token_id": NO, "outcome": "No", "price": 0.465, "winner": False},
    ],
    "active": True,
    "closed": True,
    "accepting_orders": False,
    "minimum_tick_size": 0.01,
    "minimum_order_size": 5,
    "neg_risk": False,
    "seconds_delay": 0,
    "game_start_time": None,
    "end_date_iso": "2026-12-31T00:00:00Z",
    "is_50_50_outcome": False,
}
GAMMA_MARKET = {
    "id": "540817",
    "conditionId": CONDITION,
    "slug": "will-x-happen",
    "question": "Will X happen?",
    "version": "v1",
    "active": True,
    "closed": False,
    "archived": False,
    "acceptingOrders": True,
    "enableOrderBook": True,
    "outcomes": '["Yes","No"]',
    "outcomePrices": '["0.53","0.47"]',
    "clobTokenIds": f'["{YES}","{NO}"]',
    "positionIds": None,
    "endDate": "2026-12-31T12:00:00Z",
    "gameStartTime": "2026-12-30 17:00:00+00",
    "secondsDelay": 0,
    "liquidityNum": 18250.4,
    "volumeNum": 912345.6123456789,
    "volume24hr": 15321.2,
    "bestBid": 0.52,
    "bestAsk": 0.54,
    "orderPriceMinTickSize": 0.01,
    "orderMinSize": 5,
    "negRisk": False,
    "negRiskMarketID": None,
    "feesEnabled": True,
    "feeType": "politics_fees",
    "feeSchedule": {"rate": 0.04, "exponent": 1, "takerOnly": True, "rebateRate": 0.25},
    "rewardsMinSize": 50,
    "rewardsMaxSpread": 4.5,
    "clobRewards": [{"rewardsDailyRate": 12, "startDate": "2026-11-01", "endDate": "2500-12-31"}],
    "holdingRewardsEnabled": False,
    "clearBookOnStart": False,
    "sportsMarketType": None,
    "umaResolutionStatus": None,
    "resolutionStatus": None,
    "events": [{"id": "1", "slug": "x", "title": "X", "negRisk": False, "negRiskAugmented": False}],
}
GAMMA_EVENT = {
    "id": "1",
    "slug": "x",
    "title": "X",
    "closed": False,
    "negRisk": False,
    "negRiskAugmented": False,
    "startTime": "2026-11-01T00:00:00Z",
    "endDate": "2026-12-31T12:00:00Z",
    "markets": [GAMMA_MARKET],
}
REWARD_MARKET = {
    "condition_id": CONDITION,
    "rewards_max_spread": 4.5,
    "rewards_min_size": 50,
    "rewards_config": [
        {
            "id": 0,
            "asset_address": WALLET,
            "start_date": "2026-11-01",
            "end_date": "2500-12-31",
            "rate_per_day": 12.5,
            "total_rewards": 92633,
        }
    ],
    "native_daily_rate": 12.5,
    "sponsored_daily_rate": 0,
    "total_daily_rate": 12.5,
    "market_competitiveness": 184.4361,
}
REBATE = {
    "date": "2026-11-21",
    "condition_id": CONDITION,
    "asset_address": WALLET,
    "maker_address": WALLET,
    "rebated_fees_usdc": "3.21",
}
POSTED = {
    "success": True,
    "errorMsg": "",
    "orderID": DIGEST,
    "status": "live",
    "makingAmount": "",
    "takingAmount": "12.5",
    "tradeIDs": [],
    "transactionsHashes": [],
}
CANCELED = {"canceled": [DIGEST], "not_canceled": {"0x" + "11" * 32: "already canceled or matched"}}
ORDER = {
    "id": DIGEST,
    "status": "LIVE",
    "owner": OWNER,
    "maker_address": WALLET,
    "market": CONDITION,
    "asset_id": YES,
    "side": "BUY",
    "original_size": "100",
    "size_matched": "12.5",
    "price": "0.53",
    "outcome": "Yes",
    "order_type": "GTC",
    "expiration": "0",
    "associate_trades": ["t1"],
    "created_at": 1763800000,
}
TRADE = {
    "id": "f0c2ac1a-0000-0000-0000-000000000001",
    "taker_order_id": "0x" + "22" * 32,
    "market": CONDITION,
    "asset_id": YES,
    "side": "SELL",
    "size": "12.5",
    "fee_rate_bps": "0",
    "price": "0.53",
    "status": "TRADE_STATUS_CONFIRMED",
    "match_time": "1763800001",
    "last_update": "1763800010",
    "outcome": "Yes",
    "bucket_index": 0,
    "owner": "55555555-1111-2222-3333-444444444444",
    "maker_address": WALLET,
    "transaction_hash": "0x" + "33" * 32,
    "trader_side": "MAKER",
    "maker_orders": [
        {
            "order_id": DIGEST,
            "owner": OWNER,
            "maker_address": WALLET,
            "matched_amount": "12.5",
            "price": "0.53",
            "fee_rate_bps": "0",
            "asset_id": YES,
            "outcome": "Yes",
            "side": "BUY",
        }
    ],
}
EARNING = {
    "date": "2026-11-21T00:00:00Z",
    "condition_id": CONDITION,
    "asset_address": WALLET,
    "maker_address": WALLET,
    "earnings": 0.237519,
    "asset_rate": 1,
}


def page(*items: Any) -> dict[str, Any]:
    return {"limit": 100, "count": len(items), "next_cursor": "LTE=", "data": list(items)}


BODIES: dict[Any, Any] = {
    Seconds: 1763800000,
    m.Book: BOOK,
    tuple[m.Book, ...]: [BOOK],
    m.ClobMarket: CLOB_MARKET,
    m.VerboseMarket: VERBOSE_MARKET,
    m.MarketByToken: {"condition_id": CONDITION},
    m.TickSize: {"minimum_tick_size": 0.01},
    m.NegRisk: {"neg_risk": False},
    m.Version: {"version": 2},
    m.Geoblock: {"blocked": True, "ip": "203.0.113.7", "country": "US", "region": "NY"},
    m.GammaMarket: GAMMA_MARKET,
    m.GammaMarkets: {"markets": [GAMMA_MARKET], "next_cursor": "abc"},
    m.GammaEvents: {"events": [GAMMA_EVENT], "next_cursor": None},
    m.RewardMarket: REWARD_MARKET,
    m.RewardMarkets: page(REWARD_MARKET),
    tuple[m.Rebate, ...]: [REBATE],
    a.Posted: POSTED,
    a.Canceled: CANCELED,
    a.Heartbeat: {"heartbeat_id": "h1"},
    a.OpenOrder: ORDER,
    a.OpenOrders: page(ORDER),
    a.Trades: page(TRADE),
    a.BalanceAllowance: {"balance": "1000000000", "allowances": {WALLET: str(2**256 - 1)}},
    a.ClosedOnly: {"closed_only": False},
    a.ApiKeys: {"apiKeys": [OWNER]},
    a.RateLimitTier: {"tier": "standard"},
    a.Scoring: {"scoring": True},
    dict[str, bool]: {DIGEST: True},
    a.Earnings: page(EARNING),
    tuple[a.TotalEarning, ...]: [EARNING],
    dict[str, Exact]: {CONDITION: 12.5},
}


def exact(value: Any) -> Decimal:
    """What a number of a body honestly says."""
    return Decimal(value if isinstance(value, str) else repr(value))
