"""One body of each kind, written after Kalshi's documentation, for every test that needs one."""

from __future__ import annotations

from typing import Any

from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import models as m

T = "2026-11-22T13:46:20Z"
RANGES = [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}]

MARKET: dict[str, Any] = {
    "ticker": "KXA-1",
    "event_ticker": "KXA",
    "market_type": "binary",
    "title": "A?",
    "yes_sub_title": "yes",
    "no_sub_title": "no",
    "created_time": T,
    "updated_time": T,
    "open_time": "2026-11-01T00:00:00Z",
    "close_time": "2026-12-01T00:00:00Z",
    "latest_expiration_time": "2026-12-08T00:00:00Z",
    "expected_expiration_time": "2026-12-01T00:00:00Z",
    "settlement_timer_seconds": 3600,
    "status": "active",
    "yes_bid_dollars": "0.4500",
    "yes_bid_size_fp": "10.00",
    "yes_ask_dollars": "0.4700",
    "yes_ask_size_fp": "5.00",
    "no_bid_dollars": "0.5300",
    "no_ask_dollars": "0.5500",
    "last_price_dollars": "0.4600",
    "volume_fp": "900.00",
    "volume_24h_fp": "90.00",
    "result": "",
    "can_close_early": True,
    "open_interest_fp": "300.00",
    "price_level_structure": "linear_cent",
    "price_ranges": RANGES,
    "exchange_index": 2,
    "brand_new_field": {"x": [1]},
}
EVENT: dict[str, Any] = {
    "event_ticker": "KXA",
    "series_ticker": "KXA",
    "title": "A",
    "sub_title": "",
    "mutually_exclusive": True,
    "collateral_return_type": "MECNET",
    "exchange_index": 2,
}
SERIES: dict[str, Any] = {
    "ticker": "KXA",
    "title": "A",
    "fee_type": "quadratic_with_maker_fees",
    "fee_multiplier": 0.5,
    "category": "Sports",
    "frequency": "daily",
    "tags": ["x"],
}
ORDER: dict[str, Any] = {
    "order_id": "o-1",
    "user_id": "u",
    "client_order_id": "test-7",
    "ticker": "KXA-1",
    "outcome_side": "yes",
    "book_side": "bid",
    "type": "limit",
    "status": "resting",
    "yes_price_dollars": "0.4500",
    "no_price_dollars": "0.5500",
    "initial_count_fp": "10.00",
    "fill_count_fp": "4.00",
    "remaining_count_fp": "6.00",
    "taker_fees_dollars": "0.000000",
    "maker_fees_dollars": "0.000000",
    "taker_fill_cost_dollars": "0.000000",
    "maker_fill_cost_dollars": "1.800000",
    "expiration_time": "2026-11-22T14:00:00Z",
    "created_time": T,
    "exchange_index": 2,
}
FILL: dict[str, Any] = {
    "fill_id": "t-1",
    "trade_id": "t-1",
    "order_id": "o-1",
    "ticker": "KXA-1",
    "market_ticker": "KXA-1",
    "outcome_side": "yes",
    "book_side": "bid",
    "count_fp": "4.00",
    "yes_price_dollars": "0.4500",
    "no_price_dollars": "0.5500",
    "is_taker": False,
    "fee_cost": "0.017400",
    "exchange_index": 2,
    "created_time": "2026-11-22T13:46:24.001Z",
    "ts": 1795355184,
}
POSITION: dict[str, Any] = {
    "ticker": "KXA-1",
    "exchange_index": 2,
    "position_fp": "-4.00",
    "market_exposure_dollars": "1.800000",
    "total_traded_dollars": "1.800000",
    "realized_pnl_dollars": "-0.100000",
    "fees_paid_dollars": "0.017400",
    "last_updated_ts": T,
}
SETTLEMENT: dict[str, Any] = {
    "ticker": "KXA-1",
    "event_ticker": "KXA",
    "exchange_index": 2,
    "market_result": "yes",
    "yes_count_fp": "4.00",
    "yes_total_cost_dollars": "1.800000",
    "no_count_fp": "0.00",
    "no_total_cost_dollars": "0.000000",
    "revenue": 400,
    "value": 100,
    "fee_cost": "0.000000",
    "settled_time": T,
}
SIDES = {"yes_dollars": [["0.4400", "120.00"], ["0.4500", "10.00"]], "no_dollars": [["0.5300", "5.00"]]}
HOURS = {"start_time": T, "end_time": T, "monday": [{"open_time": "00:00", "close_time": "24:00"}]}
MILESTONE = {
    "id": "m1",
    "category": "Sports",
    "type": "game",
    "start_date": T,
    "end_date": None,
    "title": "x",
    "related_event_tickers": ["KXA"],
    "primary_event_tickers": ["KXA"],
    "details": {},
    "last_updated_ts": T,
}
PROGRAM = {
    "id": "p1",
    "market_id": "x",
    "market_ticker": "KXA-1",
    "incentive_type": "liquidity",
    "start_date": T,
    "end_date": T,
    "period_reward": 1_000_000,
    "paid_out": False,
    "discount_factor_bps": 5000,
    "target_size_fp": "500.00",
}
GROUP = {"id": "g1", "contracts_limit_fp": "100.00", "is_auto_cancel_enabled": True, "exchange_index": 2}

BODIES: dict[type, dict[str, Any]] = {
    m.ExchangeStatus: {
        "exchange_active": True,
        "trading_active": True,
        "exchange_estimated_resume_time": None,
        "exchange_index_statuses": [
            {"exchange_index": 2, "exchange_active": True, "trading_active": False, "description": "x"}
        ],
    },
    m.ScheduleAnswer: {
        "schedule": {
            "standard_hours": [HOURS],
            "maintenance_windows": [{"start_datetime": T, "end_datetime": T}],
        }
    },
    m.UserDataTimestamp: {"as_of_time": "2026-11-22T13:46:20.123456Z"},
    m.MarketAnswer: {"market": MARKET},
    m.Markets: {"markets": [MARKET], "cursor": ""},
    m.OrderbookAnswer: {"orderbook_fp": SIDES},
    m.Orderbooks: {"orderbooks": [{"ticker": "KXA-1", "orderbook_fp": SIDES}]},
    m.Trades: {
        "trades": [
            {
                "trade_id": "t",
                "ticker": "KXA-1",
                "count_fp": "4.00",
                "yes_price_dollars": "0.4500",
                "no_price_dollars": "0.5500",
                "taker_outcome_side": "no",
                "taker_book_side": "ask",
                "created_time": T,
                "is_block_trade": False,
            }
        ],
        "cursor": "c2",
    },
    m.EventAnswer: {"event": EVENT, "markets": [MARKET]},
    m.Events: {"events": [EVENT], "cursor": ""},
    m.SeriesAnswer: {"series": SERIES},
    m.SeriesList: {"series": [SERIES]},
    m.SeriesFeeChanges: {
        "series_fee_change_arr": [
            {
                "id": "1",
                "series_ticker": "KXA",
                "fee_type": "quadratic",
                "fee_multiplier": 1,
                "scheduled_ts": T,
            }
        ]
    },
    m.EventFeeChanges: {
        "event_fee_changes": [
            {
                "id": "1",
                "event_ticker": "KXA",
                "fee_type_override": None,
                "fee_multiplier_override": 0.5,
                "scheduled_ts": T,
            }
        ],
        "cursor": "",
    },
    m.MilestoneAnswer: {"milestone": MILESTONE},
    m.Milestones: {"milestones": [MILESTONE], "cursor": ""},
    m.IncentivePrograms: {"incentive_programs": [PROGRAM], "next_cursor": ""},
    m.Candlesticks: {
        "ticker": "KXA-1",
        "candlesticks": [{"end_period_ts": 1795355184, "volume_fp": "1.00", "open_interest_fp": "2.00"}],
    },
    a.OrderAnswer: {"order": ORDER},
    a.Orders: {"orders": [ORDER], "cursor": ""},
    a.QueuePositions: {
        "queue_positions": [{"order_id": "o-1", "market_ticker": "KXA-1", "queue_position_fp": "25.00"}]
    },
    a.QueuePositionAnswer: {"queue_position_fp": "25.00"},
    a.Fills: {"fills": [FILL], "cursor": ""},
    a.Positions: {"market_positions": [POSITION], "event_positions": [], "cursor": ""},
    a.Settlements: {"settlements": [SETTLEMENT], "cursor": ""},
    a.Balance: {
        "balance": 12345,
        "balance_dollars": "123.456700",
        "portfolio_value": 200,
        "updated_ts": 1795355184,
        "balance_breakdown": [{"exchange_index": 2, "balance": "23.456700"}],
    },
    a.OrderGroups: {"order_groups": [GROUP]},
    a.OrderGroup: {"is_auto_cancel_enabled": True, "contracts_limit_fp": "100.00", "orders": ["o-1"]},
    a.Cutoff: {
        "market_settled_ts": "2026-08-25T00:00:00Z",
        "trades_created_ts": "2026-08-25T00:00:00Z",
        "orders_updated_ts": "2026-11-08T00:00:00Z",
        "market_positions_last_updated_ts": None,
    },
    a.AccountLimits: {
        "usage_tier": "basic",
        "read": {"refill_rate": 200, "bucket_capacity": 400},
        "write": {"refill_rate": 100, "bucket_capacity": 100},
        "grants": [{"exchange_instance": "x", "level": "basic", "source": "s"}],
    },
    a.EndpointCosts: {
        "default_cost": 10,
        "endpoint_costs": [{"method": "DELETE", "path": "/portfolio/events/orders/{order_id}", "cost": 2}],
    },
    a.ApiKeys: {
        "api_keys": [{"api_key_id": "k", "name": "n", "scopes": ["read"]}],
        "api_key_region_expiration_ts": 1795355184,
    },
    a.Created: {
        "order_id": "o-1",
        "client_order_id": "test-7",
        "fill_count": "0.00",
        "remaining_count": "10.00",
        "average_fill_price": None,
        "ts_ms": 1795355184001,
    },
    a.Canceled: {
        "order_id": "o-1",
        "client_order_id": "test-7",
        "reduced_by": "6.00",
        "ts_ms": 1795355184001,
    },
    a.Amended: {"order_id": "o-1", "remaining_count": "6.00", "fill_count": None, "ts_ms": 1795355184001},
    a.Decreased: {"order_id": "o-1", "remaining_count": "3.00", "ts_ms": 1795355184001},
    a.CreatedBatch: {
        "orders": [
            {
                "order_id": "o-1",
                "client_order_id": "test-7",
                "fill_count": "0.00",
                "remaining_count": "10.00",
                "ts_ms": 1795355184001,
            },
            {"client_order_id": "test-8", "error": {"code": "invalid_order", "message": "no"}},
        ]
    },
    a.CanceledBatch: {
        "orders": [
            {"order_id": "o-1", "reduced_by": "6.00"},
            {"order_id": "o-2", "error": {"code": "not_found", "message": "no"}},
        ]
    },
    a.GroupCreated: {"order_group_id": "g1", "subaccount": 0, "exchange_index": 2},
}

FRAMES: dict[str, dict[str, Any]] = {
    "fill": {
        "trade_id": "t-1",
        "order_id": "o-1",
        "client_order_id": "test-7",
        "market_ticker": "KXA-1",
        "exchange_index": 2,
        "is_taker": False,
        "outcome_side": "yes",
        "book_side": "bid",
        "yes_price_dollars": "0.4500",
        "count_fp": "4.00",
        "fee_cost": "0.017400",
        "post_position_fp": "4.00",
        "subaccount": 0,
        "ts_ms": 1795355184001,
        "ts": 1795355184,
    },
    "user_order": {
        "order_id": "o-1",
        "user_id": "u",
        "ticker": "KXA-1",
        "exchange_index": 2,
        "status": "resting",
        "outcome_side": "yes",
        "book_side": "bid",
        "yes_price_dollars": "0.4500",
        "initial_count_fp": "10.00",
        "fill_count_fp": "4.00",
        "remaining_count_fp": "6.00",
        "client_order_id": "test-7",
        "order_group_id": "g1",
        "last_updated_ts_ms": 1795355184001,
        "last_update_reason": "Trade",
        "subaccount_number": 0,
    },
    "market_position": {
        "user_id": "u",
        "market_ticker": "KXA-1",
        "position_fp": "4.00",
        "position_cost_dollars": "1.8000",
        "subaccount": 0,
    },
    "order_group_updates": {"event_type": "triggered", "order_group_id": "g1", "ts_ms": 1795355184001},
    "market_lifecycle_v2": {
        "event_type": "determined",
        "market_ticker": "KXA-1",
        "result": "yes",
        "determination_ts": 1795355999,
        "settlement_value": "1.0000",
    },
    "event_fee_update": {
        "event_ticker": "KXA",
        "fee_type_override": "quadratic",
        "fee_multiplier_override": 0.5,
    },
    "subscribed": {"channel": "orderbook_delta", "sid": 1},
    "ok": {"market_tickers": ["KXA-1"]},
    "error": {"code": 8, "msg": "Unknown channel name"},
}
MARKET_FRAMES: dict[str, dict[str, Any]] = {
    "orderbook_snapshot": {
        "market_ticker": "KXA-1",
        "yes_dollars_fp": [["0.4400", "120.00"], ["0.4500", "10.00"]],
        "no_dollars_fp": [["0.5300", "5.00"]],
    },
    "orderbook_delta": {
        "market_ticker": "KXA-1",
        "price_dollars": "0.4500",
        "delta_fp": "-4.00",
        "side": "yes",
        "ts_ms": 1795355184001,
    },
    "trade": {
        "trade_id": "t",
        "market_ticker": "KXA-1",
        "yes_price_dollars": "0.4500",
        "count_fp": "4.00",
        "taker_outcome_side": "no",
        "ts_ms": 1795355184001,
    },
    "ticker": {
        "market_ticker": "KXA-1",
        "price_dollars": "0.4600",
        "yes_bid_dollars": "0.4500",
        "yes_ask_dollars": "0.4700",
        "yes_bid_size_fp": "6.00",
        "volume_fp": "900.00",
        "ts_ms": 1795355184001,
    },
}
