"""Who has what on the chain, in exact integers: pUSD and tokens, and what is on its way.

Money is made only by `deposit`, pairs of tokens only against a dollar; `faults` says where that fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from standins.common.history import History
from standins.polymarket.state import CROWD, Leg, MarketState, Order, Trade
from standins.polymarket.values import PUSD, Json, decimal_text

HOUSE = "house"  # fees, and what pays rebates and rewards
DUST = 100  # base units: an order that fills in parts pays each part up


class Ledger:
    """Balances by wallet and asset, in base units. The crowd's may be negative: it has no end."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.balances: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.moving: dict[str, Trade] = {}  # trades that are not final
        self.backing: dict[str, int] = defaultdict(int)  # pUSD behind the pairs of a condition
        self.deposited = 0
        self.dropped = 0  # pUSD that no redemption can claim

    def note(self, now_ns: int, wallet: str) -> None:
        """Remember balances for reads that lag."""
        self.history.note(now_ns, ("balances", wallet), dict(self.balances[wallet]))

    def apply(self, now_ns: int, legs: Sequence[Leg]) -> None:
        """Change balances."""
        for leg in legs:
            self.balances[leg.wallet][leg.asset] += leg.amount
        for wallet in {leg.wallet for leg in legs}:
            self.note(now_ns, wallet)

    def deposit(self, now_ns: int, wallet: str, micros: int) -> None:
        """Money from elsewhere, or back to there."""
        self.deposited += micros
        self.apply(now_ns, [Leg(wallet, PUSD, micros)])

    def settle(self, now_ns: int, trade: Trade) -> None:
        """A trade is on the chain for good."""
        self.moving.pop(trade.id, None)
        self.backing[trade.market.spec.condition] += trade.minted
        self.apply(now_ns, trade.legs)

    def leaving(self, wallet: str, asset: str) -> int:
        """What trades that are not final take from a wallet."""
        return sum(
            -leg.amount
            for trade in self.moving.values()
            for leg in trade.legs
            if leg.wallet == wallet and leg.asset == asset and leg.amount < 0
        )

    def available(self, wallet: str, asset: str, open_orders: Sequence[Order]) -> int:
        """What a new order may use; what trades will bring is not there before they are confirmed."""
        kept = sum(o.reserved() for o in open_orders if o.account.wallet == wallet and o.spends == asset)
        return self.balances[wallet][asset] - self.leaving(wallet, asset) - kept

    # --- pairs ------------------------------------------------------------------------------------

    def split(self, now_ns: int, wallet: str, market: MarketState, amount: int) -> str:
        """pUSD becomes a pair; returns why it can't, empty: it did."""
        if amount <= 0 or self.balances[wallet][PUSD] < amount:
            return "ERC20: transfer amount exceeds balance"
        yes, no = market.tokens
        self.backing[market.spec.condition] += amount
        self.apply(now_ns, [Leg(wallet, PUSD, -amount), Leg(wallet, yes, amount), Leg(wallet, no, amount)])
        return ""

    def merge(self, now_ns: int, wallet: str, market: MarketState, amount: int) -> str:
        """A pair becomes pUSD; returns why it can't."""
        yes, no = market.tokens
        if amount <= 0 or min(self.balances[wallet][yes], self.balances[wallet][no]) < amount:
            return "SafeMath: subtraction overflow"
        self.backing[market.spec.condition] -= amount
        self.apply(now_ns, [Leg(wallet, PUSD, amount), Leg(wallet, yes, -amount), Leg(wallet, no, -amount)])
        return ""

    def redeem(
        self, now_ns: int, wallet: str, market: MarketState, amounts: tuple[int, int] | None = None
    ) -> str:
        """Tokens of a resolved market become what they pay (None: all of them); returns why they can't."""
        if market.status != "resolved":
            return "result for condition not received yet"
        held = self.balances[wallet]
        legs, paid = [], 0
        for place, (asset, payout) in enumerate(zip(market.tokens, market.payouts(), strict=True)):
            amount = held[asset] if amounts is None else amounts[place]
            if not 0 <= amount <= held[asset]:
                return "SafeMath: subtraction overflow"
            paid += amount * payout // 1_000_000
            legs.append(Leg(wallet, asset, -amount))
        self.backing[market.spec.condition] -= paid
        self.apply(now_ns, [*legs, Leg(wallet, PUSD, paid)])
        return ""

    def convert(
        self, now_ns: int, wallet: str, markets: Sequence[MarketState], chosen: int, amount: int
    ) -> str:
        """NO of the chosen markets (a bit each) becomes YES of the others and all but one dollar of each."""
        mine = [m for k, m in enumerate(markets) if chosen >> k & 1]
        rest = [m for k, m in enumerate(markets) if not chosen >> k & 1]
        if not mine or amount <= 0 or chosen >> len(markets):
            return "InvalidIndexSet"
        if any(self.balances[wallet][m.tokens[1]] < amount for m in mine):
            return "SafeMath: subtraction overflow"
        freed = (len(mine) - 1) * amount
        legs = [Leg(wallet, m.tokens[1], -amount) for m in mine] + [Leg(wallet, PUSD, freed)]
        legs += [Leg(wallet, m.tokens[0], amount) for m in rest]
        # k NO and nothing else against k-1 dollars and YES of the rest: the event's backing moves as a whole
        self.backing[mine[0].spec.condition] -= freed
        self.apply(now_ns, legs)
        return ""

    # --- truth ------------------------------------------------------------------------------------

    def faults(self, markets: Sequence[MarketState]) -> list[str]:
        """Where the books do not add up; empty: they do."""
        found = []
        cash = sum(held[PUSD] for held in self.balances.values()) + sum(self.backing.values())
        if cash != self.deposited:
            found.append(f"pUSD {cash}, deposited {self.deposited}")
        for market in markets:
            if market.neg_risk or market.status == "resolved":
                continue  # conversions and redemptions take one side away
            counts = {sum(held[asset] for held in self.balances.values()) for asset in market.tokens}
            if counts != {self.backing[market.spec.condition]}:
                found.append(f"{market.spec.slug}: tokens {counts}, backed by {self.backing}")
        for wallet, held in self.balances.items():
            if wallet not in (CROWD, HOUSE):
                found += [f"{wallet} has {n} of {asset}" for asset, n in held.items() if n < -DUST]
        return found

    def truth(self) -> Json:
        """Balances as they are."""
        return {
            wallet: {asset: decimal_text(n) for asset, n in held.items() if n}
            for wallet, held in self.balances.items()
            if wallet not in (CROWD, HOUSE)
        }
