"""What a process looks like, as one JSON object: `status.json` in its data directory, and the screens.

Money, prices and sizes are decimal strings of dollars and contracts as everywhere in the program's JSON,
times ISO 8601 in UTC beside ns, spans seconds. What is not known is null. Keys are only ever added within
one `STATUS_FORMAT`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from pr3dict.domain.units import BID, NS_PER_SECOND, format_contracts, format_dollars, format_price
from pr3dict.engine.account import OpenOrder
from pr3dict.engine.view import EngineView, MarketView

STATUS_FORMAT: Final = 1
MARKET_STATUS: Final = (
    "initialized", "active", "paused", "closed", "determined", "settled", "post_only", "restarting",
    "disputed", "amended",
)  # fmt: skip
PAPER_ACCOUNTS: Final = ("paper", "exchange ")  # how the accounts without real orders begin
BREAKER_HOLD: Final = "breaker:"
SETTLED: Final = MARKET_STATUS.index("settled")
SHOWN_OVER: Final = 20  # of the markets that have paid and in which nothing is held, the newest


def status_of(view: EngineView) -> dict[str, Any]:
    """A view of the engine as JSON; `written` is the time of this machine, `now` that of the market.

    `fills`, `alerts` and `breakers` name what the view holds; `runtime.journal_tail` fills in their words.
    `adapters` are the counts of each venue's adapter, which a process on live data adds; where its fills are
    simulated, it says in `simulation` how.
    """
    written_ns = time.time_ns()
    trading, fees = _earned(view)
    return {
        "format": STATUS_FORMAT,
        "written": moment(written_ns),
        "written_ns": written_ns,
        **_mode(view.account),
        "account": view.account,
        "version": view.version,
        "now": moment(view.now_ns),
        "now_ns": view.now_ns,
        "uptime_s": None,
        "equity": format_dollars(view.equity_micros),
        "cash": format_dollars(view.cash_micros),
        "locked": format_dollars(view.locked_micros),
        "opening_cash": format_dollars(view.start_micros),
        "pnl": {
            "total": format_dollars(view.pnl_micros),
            "day": format_dollars(-view.day_loss_micros),
            "by_cause": {"trading": format_dollars(trading), "fees": format_dollars(-fees)},
        },
        "heat": format_dollars(view.heat_micros),
        "heat_limit": format_dollars(view.heat_limit_micros),
        "daily_loss": format_dollars(max(view.day_loss_micros, 0)),
        "daily_loss_limit": format_dollars(view.daily_loss_limit_micros),
        "holds": list(view.holds),
        "venues": {venue: list(holds) for venue, holds in view.venues.items()},
        **_markets(view),
        "orders": [_order(market, order) for market in view.markets for order in market.orders],
        "fills": [],
        "fill_count": sum(market.fills for market in view.markets),
        "breakers": [
            {"breaker": name.removeprefix(BREAKER_HOLD), **_place(view, m), "text": "", "until": None}
            for m, name in _breakers(view)
        ],
        "latch": None,
        "adapters": {},
        "simulation": None,
        "journal": {"steps": view.step},
        "rates": {"messages": view.rows, "messages_per_s": None, "steps_per_s": None},
        "alerts": [
            {"name": name, **_place(view, m), "severity": None, "text": ""} for name, m in view.alerts
        ],
        "programme": [
            {
                "product": duty.product,
                "hour": moment(duty.hour_ns),
                "two_sided": not duty.why,
                "why": duty.why or None,
                "absent_s": round(duty.absent_ns / NS_PER_SECOND, 3),
                "left_s": round(duty.left_ns / NS_PER_SECOND, 3),
                "kept": duty.kept,
            }
            for duty in view.duties
        ],
    }


def _markets(view: EngineView) -> dict[str, Any]:
    """The markets, and the sums of those that paid so long ago that they are no longer shown one by one."""
    over = [market for market in view.markets if market.status == SETTLED and market.is_flat]
    past = over[: max(0, len(over) - SHOWN_OVER)]
    hidden = {market.market for market in past}
    return {
        "markets": [_market(market) for market in view.markets if market.market not in hidden],
        "past": {
            "markets": len(past),
            "fills": sum(market.fills for market in past),
            "fees": format_dollars(sum(market.fees_micros for market in past)),
            "pnl": format_dollars(sum(market.pnl_micros for market in past)),
        },
    }


def _mode(account: str) -> dict[str, str | None]:
    """Paper or live, and which environment of the venue: "kalshi demo 1a2b3c4d" is live on demo.

    "paper kalshi demo" is paper on demo's market data.
    """
    words = account.split()
    if account.startswith(PAPER_ACCOUNTS):
        return {"mode": "paper", "env": words[2] if words[0] == "paper" and len(words) > 2 else None}
    return {"mode": "live", "env": words[1] if len(words) > 1 else None}


def moment(at_ns: int) -> str | None:
    """A time as ISO 8601 in UTC with milliseconds; None for none."""
    if at_ns <= 0:
        return None
    whole, rest = divmod(at_ns, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def _earned(view: EngineView) -> tuple[int, int]:
    """Profit before fees, and fees less rebates."""
    fees = sum(market.fees_micros for market in view.markets)
    return view.pnl_micros + fees, fees


def _breakers(view: EngineView) -> list[tuple[int, str]]:
    """Breakers that hold something back: (market or -1 for everything, hold)."""
    everywhere = [(-1, hold) for hold in view.holds if hold.startswith(BREAKER_HOLD)]
    of_markets = [
        (market.market, hold)
        for market in view.markets
        for hold in market.holds
        if hold.startswith(BREAKER_HOLD) and hold not in view.holds
    ]
    return [*everywhere, *of_markets]


def _place(view: EngineView, market: int) -> dict[str, Any]:
    """Which market something is about; nulls: all of them."""
    known = 0 <= market < len(view.markets)
    return {"market": market if known else None, "ticker": view.markets[market].ticker if known else None}


def _price(units: int) -> str | None:
    return format_price(units) if units >= 0 else None


def _dollars(micros: int) -> str | None:
    return format_dollars(micros) if micros >= 0 else None


def _seconds(span_ns: int) -> float | None:
    return round(span_ns / NS_PER_SECOND, 3) if span_ns >= 0 else None


def _market(m: MarketView) -> dict[str, Any]:
    return {
        "market": m.market,
        "venue": m.venue,
        "ticker": m.ticker,
        "title": m.title,
        "event": m.event_id,
        "status": MARKET_STATUS[m.status],
        "close": moment(m.close_ns),
        "expected_resolution": moment(m.resolution_ns),
        "fair": _dollars(m.fair_micros),
        "uncertainty": _dollars(m.uncertainty_micros) if m.fair_micros >= 0 else None,
        "bid": _price(m.our_bid),
        "bid_size": format_contracts(m.our_bid_size) if m.our_bid >= 0 else None,
        "ask": _price(m.our_ask),
        "ask_size": format_contracts(m.our_ask_size) if m.our_ask >= 0 else None,
        "best_bid": _price(m.best_bid),
        "best_ask": _price(m.best_ask) if m.best_ask <= 10_000 else None,
        "state": m.state,
        "reasons": list(m.reasons),
        "holds": list(m.holds),
        "quote_age_s": _seconds(m.quote_age_ns),
        "book_age_s": _seconds(m.book_age_ns),
        "yes_contracts": format_contracts(m.yes_contracts),
        "no_contracts": format_contracts(m.no_contracts),
        "net_position": format_contracts(m.net_contracts),
        "gross_position": format_contracts(m.yes_contracts + m.no_contracts),
        "worst_case_loss": format_dollars(max(m.loss_yes_micros, m.loss_no_micros)),
        "open_orders": len(m.orders),
        "orders_placed": m.orders_placed,
        "fills": m.fills,
        "fees": format_dollars(m.fees_micros),
        "pnl": format_dollars(m.pnl_micros),
        "settled": None,
    }


def _order(m: MarketView, order: OpenOrder) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "venue_id": order.venue_id,
        "ticker": m.ticker,
        "side": side_word(order.side),
        "sell": order.sell,
        "price": format_price(order.price),
        "remaining": format_contracts(order.remaining),
        "state": str(getattr(order.state, "value", order.state)),
        "sent": moment(order.sent_ns),
        "expiry": moment(order.expiry_ns),
        "queue_ahead": format_contracts(order.queue_ahead) if order.queue_ahead >= 0 else None,
        "queue_as_of": moment(order.queue_ns),
    }


def side_word(side: int) -> str:
    """A side of the book in YES terms."""
    return "bid" if side == BID else "ask"
