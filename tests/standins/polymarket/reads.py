"""What an account reads of itself: orders, trades, balances, rewards, its keys."""

from __future__ import annotations

from decimal import Decimal

from standins.polymarket.asking import Ask
from standins.polymarket.auth import Doorkeeper
from standins.polymarket.crypto import ADDRESSES
from standins.polymarket.errors import refused
from standins.polymarket.limits import Limits
from standins.polymarket.state import UNLIMITED, Account
from standins.polymarket.values import MICRO, PUSD, SECOND, Json, day_of, page
from standins.polymarket.venue import Venue

STRICT_NS = 1_797_206_400 * SECOND  # 2026-12-14: asset_id needs market, associate_trades goes away
_SPENDERS = ("standard", "neg_risk", "v3", "adapter", "neg_risk_adapter")


class Reads:
    """Private reads; those of the account's index may lag."""

    def __init__(self, venue: Venue, doorkeeper: Doorkeeper, limits: Limits) -> None:
        self.venue = venue
        self.doorkeeper = doorkeeper
        self.limits = limits

    # --- orders and trades ------------------------------------------------------------------------

    def orders(self, ask: Ask) -> Json:
        """`GET /data/orders`: what rests."""
        if ask.now_ns >= STRICT_NS and ask.text("asset_id") and not ask.text("market"):
            raise refused(400, "market is required with asset_id")
        found = []
        ended = [order for _, order in self.venue.ended] if ask.as_of_ns < ask.now_ns else []
        for order in dict.fromkeys([*ended, *self.venue.open.values()]):
            if self.venue.owner_of[order.key] != ask.owner:
                continue
            then = self.venue.history.at(("order", order.id), ask.as_of_ns)
            if then is not None and then[0] and _wanted(ask, then[1], "id", "market", "asset_id"):
                found.append(then[1])
        answer = page(found, ask.text("next_cursor"))
        return answer | {"data": [self._shown(ask, row) for row in answer["data"]]}

    def order(self, ask: Ask) -> Json:
        """`GET /data/order/{id}`: finished ones too."""
        order = self.venue.orders.get(ask.path["order_id"])
        if order is None or self.venue.owner_of[order.key] != ask.owner:
            raise refused(404, "order not found")
        then = self.venue.history.at(("order", order.id), ask.as_of_ns)
        if then is None:
            raise refused(404, "order not found")
        return self._shown(ask, then[1])

    def _shown(self, ask: Ask, row: Json) -> Json:
        """An order as reads give it: now and then in other words."""
        row = dict(row)
        if ask.now_ns >= STRICT_NS:
            del row["associate_trades"]
        if self.venue.faults.hits("status_prefix"):
            row["status"] = f"ORDER_STATUS_{row['status']}"
        if self.venue.faults.hits("base_units"):
            for name in ("original_size", "size_matched"):
                row[name] = str(int(Decimal(row[name]) * MICRO))
        return row

    def trades(self, ask: Ask) -> Json:
        """`GET /data/trades`, the newest first."""
        after, before = ask.whole("after", 0), ask.whole("before", 2**62)
        maker = ask.text("maker_address").lower()
        found = []
        for trade_id in reversed(self.venue.trade_ids[ask.owner]):
            then = self.venue.history.at(("trade", trade_id), ask.as_of_ns)
            if then is None:
                continue
            if self.venue.trades[trade_id].matched_ns < after * SECOND:
                break  # and so are all that were before it
            rows = {k: row for k, row in then.items() if self.venue.owner_of[k] == ask.owner}
            row = rows.get(ask.signer.id) or next(iter(rows.values()))
            makers = {row["maker_address"].lower()} | {
                each["maker_address"].lower() for each in row["maker_orders"]
            }
            if maker and maker not in makers:
                continue
            if after <= int(row["match_time"]) <= before and _wanted(ask, row, "id", "market", "asset_id"):
                found.append(row)
        return page(found, ask.text("next_cursor"))

    # --- money ------------------------------------------------------------------------------------

    def _account(self, ask: Ask) -> Account:
        kind = ask.whole("signature_type", -1)
        account = self.venue.account_of(ask.owner, None if kind < 0 else kind)
        if account is None:
            raise refused(400, "no wallet of this signature type")
        return account

    def balance(self, ask: Ask) -> Json:
        """`GET /balance-allowance`: what is on the chain, and who may spend it."""
        account, kind, asset = self._account(ask), ask.text("asset_type"), PUSD
        if kind in ("CONDITIONAL", "CONDITIONAL-V2"):
            asset = ask.text("token_id")
            found = self.venue.by_asset.get(asset)
            if found is None or (kind == "CONDITIONAL-V2") != (found[0].spec.version == "v2"):
                raise refused(400, "invalid token_id")
        elif kind != "COLLATERAL":
            raise refused(400, "assetAddress invalid")
        allowed = {ADDRESSES[name]: self._allowance(account, asset, ADDRESSES[name]) for name in _SPENDERS}
        then = self.venue.history.at(("balances", account.wallet), ask.as_of_ns) or {}
        return {
            "balance": str(then.get(asset, 0)), "allowances": {k: str(v) for k, v in allowed.items()},
        }  # fmt: skip

    @staticmethod
    def _allowance(account: Account, asset: str, spender: str) -> int:
        if asset == PUSD:
            return account.spenders.get(spender, 0)
        return UNLIMITED if spender in account.operators else 0

    # --- rewards ----------------------------------------------------------------------------------

    def scoring(self, ask: Ask) -> Json:
        """`GET /order-scoring`."""
        return {"scoring": self._scores(ask.text("order_id"))}

    def scorings(self, ask: Ask) -> Json:
        """`POST /orders-scoring`."""
        return {str(order_id): self._scores(str(order_id)) for order_id in ask.items(1_000)}

    def _scores(self, order_id: str) -> bool:
        order = self.venue.open.get(order_id)
        return order is not None and self.venue.rewards.scores(order)

    def earnings(self, ask: Ask) -> Json:
        """`GET /rewards/user`."""
        day = ask.text("date", day_of(ask.now_ns))
        rows = self.venue.rewards.earnings_json(day, self._account(ask).wallet)
        return page(rows, ask.text("next_cursor"))

    def total_earnings(self, ask: Ask) -> list[Json]:
        """`GET /rewards/user/total`."""
        wallet, day = self._account(ask).wallet, ask.text("date", day_of(ask.now_ns))
        rows = self.venue.rewards.earnings_json(day, wallet)
        if not rows:
            return []
        total = round(sum(row["earnings"] for row in rows), 6)
        told = {name: rows[0][name] for name in ("date", "asset_address", "maker_address", "asset_rate")}
        return [told | {"earnings": total}]

    def percentages(self, ask: Ask) -> Json:
        """`GET /rewards/user/percentages`."""
        return self.venue.rewards.percentages(self._account(ask).wallet)

    # --- the account itself -----------------------------------------------------------------------

    def keys(self, ask: Ask) -> Json:
        """`GET /auth/api-keys`."""
        mine = [key.id for key in self.doorkeeper.keys.values() if key.owner == ask.owner]
        return {"apiKeys": mine}

    def delete_key(self, ask: Ask) -> str:
        """`DELETE /auth/api-key`."""
        for order in self.venue.of_key(ask.signer.id):
            self.venue.cancel(order)
        del self.doorkeeper.keys[ask.signer.id]
        return "OK"

    def closed_only(self, ask: Ask) -> Json:
        """`GET /auth/ban-status/closed-only`."""
        mine = [account for account in self.venue.accounts.values() if account.owner == ask.owner]
        return {"closed_only": any(account.closed_only for account in mine)}

    def tier(self, _ask: Ask) -> Json:
        """`GET /v1/user/rate-limit-tier`."""
        return self.limits.json()

    def notifications(self, _ask: Ask) -> list[Json]:
        """`GET /notifications`: there are none."""
        return []


def _wanted(ask: Ask, row: Json, *names: str) -> bool:
    return all(ask.text(name) in ("", row[name]) for name in names)
