"""The account over REST: orders, groups, fills, positions, settlements, cash, limits."""

from __future__ import annotations

import uuid
from typing import Any, Final

from standins.kalshi.asking import Ask
from standins.kalshi.auth import Doorkeeper
from standins.kalshi.desk import Desk
from standins.kalshi.errors import bad_parameter, not_found, refused, undecodable
from standins.kalshi.ledger import reserved
from standins.kalshi.limits import Limits
from standins.kalshi.public import DAY_NS, LIVE_DAYS, ORDERS_LIVE_DAYS
from standins.kalshi.state import MarketState, Order
from standins.kalshi.values import SECOND, Json, count_text, iso, money_text, new_uuid
from standins.kalshi.venue import Venue

OLD_PAGE: Final = 200  # most rows of a page of old ones
TRANSFER_NS: Final = SECOND  # moving cash between shards takes a moment


class Portfolio:
    """Handlers by name; each takes an `Ask` and returns the answer's body."""

    def __init__(self, venue: Venue, desk: Desk, limits: Limits, doorkeeper: Doorkeeper) -> None:
        self.venue = venue
        self.desk = desk
        self.limits = limits
        self.doorkeeper = doorkeeper
        self.transfers: dict[str, Json] = {}

    # --- orders -----------------------------------------------------------------------------------

    def create(self, ask: Ask) -> Json:
        """POST /portfolio/events/orders."""
        return self.desk.create(ask.body)

    def cancel(self, ask: Ask) -> Json:
        """DELETE /portfolio/events/orders/{order_id}."""
        ask.primary_only()
        return self.desk.cancel(
            ask.path["order_id"], ask.text("market_ticker") or None, ask.whole("exchange_index")
        )

    def amend(self, ask: Ask) -> Json:
        """POST /portfolio/events/orders/{order_id}/amend."""
        ask.primary_only()
        return self.desk.amend(ask.path["order_id"], ask.body)

    def decrease(self, ask: Ask) -> Json:
        """POST /portfolio/events/orders/{order_id}/decrease."""
        ask.primary_only()
        return self.desk.decrease(ask.path["order_id"], ask.body)

    def create_batch(self, ask: Ask) -> Json:
        """POST /portfolio/events/orders/batched."""
        return self.desk.create_batch(ask.body)

    def cancel_batch(self, ask: Ask) -> Json:
        """DELETE /portfolio/events/orders/batched."""
        return self.desk.cancel_batch(ask.body)

    def cancel_all(self, ask: Ask) -> None:
        """DELETE /portfolio/events/orders."""
        ask.primary_only()
        self.desk.cancel_all()

    def orders(self, ask: Ask) -> Json:
        """GET /portfolio/orders, newest first."""
        events, ticker, status = ask.words("event_ticker", 10), ask.text("ticker"), ask.text("status")
        shard, oldest = ask.whole("exchange_index"), iso(ask.now_ns - ORDERS_LIVE_DAYS * DAY_NS)
        found = []
        for row in self.venue.history.all_at("order", ask.as_of_ns):
            order = self.venue.orders.get(row["order_id"])
            if order is None or _is_old(row, oldest):
                continue
            event = self.venue.markets[order.market].spec.event
            if (
                (not ticker or row["ticker"] == ticker)
                and (not events or event in events)
                and (not status or row["status"] == status)
                and (shard is None or row["exchange_index"] == shard)
                and ask.within(order.created_ns)
            ):
                found.append(row)
        found.reverse()
        return ask.page("orders", found)

    def order(self, ask: Ask) -> Json:
        """GET /portfolio/orders/{order_id}."""
        row = self.venue.history.at(("order", ask.path["order_id"]), ask.as_of_ns)
        oldest = iso(ask.now_ns - ORDERS_LIVE_DAYS * DAY_NS)
        if row is None or ask.path["order_id"] not in self.venue.orders or _is_old(row, oldest):
            raise not_found()
        return {"order": row}

    def queue_positions(self, ask: Ask) -> Json:
        """GET /portfolio/orders/queue_positions."""
        ask.primary_only()
        tickers, event = ask.words("market_tickers"), ask.text("event_ticker")
        if not tickers and not event:
            raise bad_parameter("market_tickers or event_ticker: required")
        rows = [
            {
                "order_id": order.id, "market_ticker": order.ticker,
                "queue_position_fp": count_text(self.venue.queue_ahead(order)),
            }
            for market in self.venue.markets
            if market.spec.ticker in tickers or market.spec.event == event
            for order in self.venue.open_of[market.place].values()
        ]  # fmt: skip
        return {"queue_positions": rows}

    def queue_position(self, ask: Ask) -> Json:
        """GET /portfolio/orders/{order_id}/queue_position."""
        order = self.venue.orders.get(ask.path["order_id"])
        if order is None or not order.is_open:
            raise not_found()
        return {"queue_position_fp": count_text(self.venue.queue_ahead(order))}

    # --- order groups -----------------------------------------------------------------------------

    def create_group(self, ask: Ask) -> Json:
        """POST /portfolio/order_groups/create."""
        return self.desk.create_group(ask.body)

    def groups(self, ask: Ask) -> Json:
        """GET /portfolio/order_groups."""
        shard = ask.whole("exchange_index")
        rows = [g.json() for g in self.venue.groups.values() if shard in (None, g.exchange_index)]
        return {"order_groups": rows}

    def group(self, ask: Ask) -> Json:
        """GET /portfolio/order_groups/{order_group_id}: found on any shard."""
        group = self.venue.groups.get(ask.path["order_group_id"])
        if group is None:
            raise not_found("order_group_not_found")
        orders = [o.id for o in self.venue.orders.values() if o.group == group.id and o.is_open]
        body = group.json()
        del body["id"]
        return body | {"orders": orders}

    def limit_group(self, ask: Ask) -> Json:
        """PUT .../limit."""
        group = self.desk.group(ask.path["order_group_id"], ask.whole("exchange_index"))
        self.desk.limit_group(group, ask.body)
        return {}

    def trigger_group(self, ask: Ask) -> Json:
        """PUT .../trigger."""
        self.venue.trigger(self.desk.group(ask.path["order_group_id"], ask.whole("exchange_index")))
        return {}

    def reset_group(self, ask: Ask) -> Json:
        """PUT .../reset."""
        self.desk.reset_group(self.desk.group(ask.path["order_group_id"], ask.whole("exchange_index")))
        return {}

    def delete_group(self, ask: Ask) -> Json:
        """DELETE /portfolio/order_groups/{order_group_id}."""
        self.desk.delete_group(self.desk.group(ask.path["order_group_id"], ask.whole("exchange_index")))
        return {}

    # --- what is held -----------------------------------------------------------------------------

    def fills(self, ask: Ask) -> Json:
        """GET /portfolio/fills, newest first."""
        tickers, order_id, shard = ask.words("ticker", 100), ask.text("order_id"), ask.whole("exchange_index")
        ledger, oldest_ns = self.venue.ledger, ask.now_ns - LIVE_DAYS * DAY_NS
        found = [
            row
            for row, at_ns in zip(ledger.fills, ledger.fill_ns, strict=True)
            if oldest_ns <= at_ns <= ask.as_of_ns
            and (not tickers or row["ticker"] in tickers)
            and (not order_id or row["order_id"] == order_id)
            and (shard is None or row["exchange_index"] == shard)
            and ask.within(at_ns)
        ]
        found.reverse()
        return ask.page("fills", found)

    def positions(self, ask: Ask) -> Json:
        """GET /portfolio/positions."""
        ask.primary_only()
        wanted, kinds = ask.text("settlement_status", "unsettled"), ask.words("count_filter")
        ticker, event, shard = ask.text("ticker"), ask.text("event_ticker"), ask.whole("exchange_index")
        rows: list[Json] = []
        by_event: dict[str, list[Json]] = {}
        for row, its_event in self.venue.history.all_at("position", ask.as_of_ns):
            settled = self.venue.by_ticker[row["ticker"]].status == "finalized"
            if wanted != "all" and settled != (wanted == "settled"):
                continue
            empty = {
                "position": row["position_fp"] == "0.00",
                "total_traded": row["total_traded_dollars"] == "0.000000",
            }  # fmt: skip
            if any(empty.get(kind, False) for kind in kinds) or (ticker and row["ticker"] != ticker):
                continue
            if (event and its_event != event) or shard not in (None, row["exchange_index"]):
                continue
            rows.append(row)
            by_event[its_event] = [*by_event.get(its_event, []), row]
        answer = ask.page("market_positions", rows)
        answer["event_positions"] = [_event_position(name, held) for name, held in by_event.items()]
        return answer

    def settlements(self, ask: Ask) -> Json:
        """GET /portfolio/settlements, newest first."""
        ticker, event = ask.text("ticker"), ask.text("event_ticker")
        found = [
            row
            for at_ns, row in self.venue.ledger.settlements
            if at_ns <= ask.as_of_ns
            and (not ticker or row["ticker"] == ticker)
            and (not event or row["event_ticker"] == event)
            and ask.within(at_ns)
        ]
        found.reverse()
        return ask.page("settlements", found)

    def balance(self, ask: Ask) -> Json:
        """GET /portfolio/balance: all shards, what resting orders lock included."""
        ask.primary_only()
        cash = self.venue.history.at(("cash",), ask.as_of_ns) or {}
        shard = ask.whole("exchange_index")
        if shard is not None:
            if shard not in cash:
                raise not_found("user_not_found")
            cash = {shard: cash[shard]}
        total = sum(cash.values())
        value = sum(self._value(m) for m in self.venue.markets if m.spec.exchange_index in cash)
        return {
            "balance": total // 10_000, "balance_dollars": money_text(total),
            "portfolio_value": value // 10_000, "updated_ts": ask.as_of_ns // SECOND,
            "balance_breakdown": [
                {"exchange_index": s, "balance": money_text(amount)} for s, amount in cash.items()
            ],
        }  # fmt: skip

    def _value(self, market: MarketState) -> int:
        size = self.venue.position(market)
        price = market.last_price or 5_000
        return abs(size) * (price if size > 0 else 10_000 - price) // 10_000

    def resting_value(self, _ask: Ask) -> Json:
        """GET /portfolio/summary/total_resting_order_value."""
        by_shard = dict.fromkeys(self.venue.ledger.cash, 0)
        for market in self.venue.markets:
            resting: list[Order] = list(self.venue.open_of[market.place].values())
            by_shard[market.spec.exchange_index] += reserved(resting, self.venue.position(market))
        return {
            "total_resting_order_value": sum(by_shard.values()) // 10_000,
            "resting_order_value_breakdown": [
                {"exchange_index": s, "balance": money_text(v)} for s, v in by_shard.items()
            ],
        }

    def subaccount_balances(self, ask: Ask) -> Json:
        """GET /portfolio/subaccounts/balances."""
        rows = [
            {
                "subaccount_number": 0, "exchange_index": s, "balance": money_text(v),
                "updated_ts": ask.now_ns // SECOND,
            }
            for s, v in self.venue.ledger.cash.items()
        ]  # fmt: skip
        return {"subaccount_balances": rows}

    def netting(self, _ask: Ask) -> Json:
        """GET /portfolio/subaccounts/netting: off."""
        rows = [
            {"subaccount_number": 0, "enabled": False, "exchange_index": s} for s in self.venue.ledger.cash
        ]
        return {"netting_configs": rows}

    # --- cash between shards ----------------------------------------------------------------------

    def transfer(self, ask: Ask) -> Json:
        """POST /portfolio/intra_exchange_instance_transfer: in centi-cents, done a moment later."""
        body: dict[str, Any] = ask.body
        amount = body.get("amount")
        source, target = body.get("source_exchange_shard", 0), body.get("destination_exchange_shard", 0)
        client_id = body.get("client_transfer_id")
        if not isinstance(amount, int) or isinstance(amount, bool) or amount <= 0:
            raise undecodable("amount must be a positive number of centi-cents")
        if client_id is not None:
            if not _is_uuid(client_id):
                raise undecodable("client_transfer_id must be a UUID")
            known = [i for i, row in self.transfers.items() if row["client_transfer_id"] == client_id]
            if known:
                return {"transfer_id": known[0]}
        if source not in self.venue.ledger.cash or target not in self.venue.ledger.cash:
            raise not_found("user_not_found")
        if amount * 100 > self.venue.free_cash(source):
            raise refused(400, "insufficient_balance")
        number = new_uuid(self.venue.faults.chance)
        row = {
            "transfer_id": number, "source": "event_contract", "destination": "event_contract",
            "source_exchange_shard": source, "destination_exchange_shard": target,
            "amount": money_text(amount * 100), "status": "pending", "created_ts": ask.now_ns // SECOND,
            "client_transfer_id": client_id,
        }  # fmt: skip
        self.transfers[number] = row

        def carry_out() -> None:
            row["status"] = "complete" if self.venue.transfer(source, target, amount * 100) else "failed"

        self.venue.at(ask.now_ns + TRANSFER_NS, carry_out)
        return {"transfer_id": number}

    def transfer_of(self, ask: Ask) -> Json:
        """GET /portfolio/intra_exchange_instance_transfers/{transfer_id}."""
        row = self.transfers.get(ask.path["transfer_id"])
        if row is None:
            raise not_found()
        return {"transfer": row}

    def transfer_list(self, ask: Ask) -> Json:
        """GET /portfolio/intra_exchange_instance_transfers."""
        return ask.page("transfers", list(self.transfers.values()))

    # --- the account's terms ----------------------------------------------------------------------

    def account_limits(self, _ask: Ask) -> Json:
        """GET /account/limits."""
        return self.limits.json()

    def upgrade(self, ask: Ask) -> Json:
        """POST /account/api_usage_level/upgrade: basic to advanced, for who has placed an order."""
        if not self.venue.orders:
            raise refused(403, "forbidden", "at least one API order is needed")
        if self.limits.tier == "basic":
            self.limits.set_tier("advanced", ask.now_ns)
        return {}

    def api_keys(self, _ask: Ask) -> Json:
        """GET /api_keys."""
        rows = [
            {"api_key_id": k.id, "name": k.name, "scopes": list(k.scopes), "subaccount": k.subaccount}
            for k in self.doorkeeper.keys.values()
        ]
        return {"api_keys": rows, "api_key_region_expiration_ts": self.doorkeeper.region_expires_s}

    # --- what has moved to the old ones -----------------------------------------------------------

    def old_orders(self, ask: Ask) -> Json:
        """GET /historical/orders: those that ended before the cutoff, newest first."""
        ticker, oldest = ask.text("ticker"), iso(ask.now_ns - ORDERS_LIVE_DAYS * DAY_NS)
        rows = self.venue.history.all_at("order", ask.now_ns)
        found = [row for row in rows if _is_old(row, oldest) and ticker in ("", row["ticker"])]
        found.reverse()
        return ask.page("orders", found, OLD_PAGE)

    def old_fills(self, ask: Ask) -> Json:
        """GET /historical/fills: those from before the cutoff, newest first."""
        ticker, ledger = ask.text("ticker"), self.venue.ledger
        oldest_ns = ask.now_ns - LIVE_DAYS * DAY_NS
        found = [
            row
            for row, at_ns in zip(ledger.fills, ledger.fill_ns, strict=True)
            if at_ns < oldest_ns and ticker in ("", row["ticker"])
        ]
        found.reverse()
        return ask.page("fills", found, OLD_PAGE)

    def old_positions(self, ask: Ask) -> Json:
        """GET /historical/positions: the stand-in moves none there."""
        return {"market_positions": [], "event_positions": [], "cursor": "", "limit": ask.limit()}


def _is_old(row: Json, oldest: str) -> bool:
    return bool(row["status"] != "resting" and row["last_update_time"] < oldest)


def _is_uuid(text: Any) -> bool:
    try:
        return str(uuid.UUID(text)) == str(text).lower()
    except (ValueError, AttributeError, TypeError):
        return False


def _event_position(name: str, held: list[Json]) -> Json:
    def total(field: str) -> str:
        return money_text(sum(round(float(row[field]) * 1e6) for row in held))

    shares = sum(round(abs(float(row["position_fp"])) * 100) for row in held)
    return {
        "event_ticker": name, "total_cost_dollars": total("total_traded_dollars"),
        "total_cost_shares_fp": count_text(shares * 10_000),
        "event_exposure_dollars": total("market_exposure_dollars"),
        "realized_pnl_dollars": total("realized_pnl_dollars"),
        "fees_paid_dollars": total("fees_paid_dollars"),
    }  # fmt: skip
