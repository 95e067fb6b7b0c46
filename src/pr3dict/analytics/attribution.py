"""The second set of books: a replay's money folded again from its fills, compared, and split by cause.

The replay keeps cash and positions as it goes. Here the ledger (`domain/ledger.py`, which also defines the
causes) folds the same money from the list of fills alone, and a difference of one micro-dollar stops the
report: an unexplained balance is no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pr3dict.domain.errors import WorkError
from pr3dict.domain.ledger import Attribution, Fill, MarketLedger, Valuation, fold
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World

MICRO = 1_000_000
REFUNDED = 2  # MARKET_STATS.settled of a void that returned costs
NO_FILLS = MarketLedger(
    fills=0, bought=0, sold=0, no_contracts=0, cash_micros=0, value_micros=0, attribution=Attribution()
)
ADVERSE_HORIZON = 2  # of dtypes.MARKOUT_HORIZONS_NS: adverse selection is the move in the first minute


@dataclass(frozen=True, slots=True)
class Books:
    """Checked money of one market: what it earned by cause, and the worth of what is still held, micros."""

    valuation: Valuation
    attribution: Attribution
    value_micros: int
    net_contracts: int  # still held, micro-contracts of YES less NO


def ledger_fills(fills: d.Array, tickers: Sequence[str]) -> list[Fill]:
    """FILL rows as the ledger reads them; their cash is in YES terms, so every contract counts as YES."""
    return [
        Fill(
            exch_ns=row["exch_ns"].item(),
            market=tickers[row["market"]],
            side=row["side"].item(),
            price=row["price"].item(),
            size=row["qty"].item(),
            cash_micros=row["cash_micros"].item(),
            fee_micros=row["fee_micros"].item(),
            rebate_micros=row["rebate_micros"].item(),
            mid_micros=row["mid_micros"].item(),
            after_micros=row["after_micros"][ADVERSE_HORIZON].item(),
            maker=bool(row["maker"]),
        )
        for row in fills
    ]


def valuation_of(stats: d.Array) -> Valuation:
    """How the market of one MARKET_STATS row ended for its position."""
    settled = int(stats["settled"])
    return Valuation(
        mark_micros=int(stats["mark_before_settle_micros"] if settled else stats["mark_micros"]),
        settled=settled != 0,
        value_micros=-1 if settled in (0, REFUNDED) else int(stats["settle_value_micros"]),
    )


def held_value_micros(held: d.Array, valuation: Valuation) -> int:
    """Worth of a HOLDING row at the last mark, YES and NO rounded down apart as the exchange does."""
    yes, no, mark = int(held["yes_contracts"]), int(held["no_contracts"]), valuation.mark_micros
    if mark < 0:
        return 0
    return yes * mark // MICRO + no * (MICRO - mark) // MICRO


def _require_equal(name: str, what: str, booked: int, folded: int) -> None:
    if booked != folded:
        raise WorkError(
            f"{name}: the exchange booked {booked} {what} where its fills add up to {folded}; "
            "the result can't be trusted, please report this with the tape"
        )


def _check_market(ticker: str, account: MarketLedger, held: d.Array, stats: d.Array) -> Books:
    valuation = valuation_of(stats)
    volume = account.bought + account.sold
    held_net = int(held["yes_contracts"]) - int(held["no_contracts"])
    folded_net = 0 if valuation.settled else account.net_contracts
    _require_equal(ticker, "fills", int(stats["fills"]), account.fills)
    _require_equal(ticker, "micro-contracts filled", int(stats["contracts_filled"]), volume)
    _require_equal(ticker, "net micro-contracts", held_net, folded_net)
    value = held_value_micros(held, valuation)
    booked = value - int(held["cost_micros"])
    folded = account.cash_micros + account.value_micros
    attribution = account.attribution
    if folded - booked == 1 and not _whole(valuation, held):
        # YES and NO were rounded down apart: the last micro is gone, and holding both is what cost it.
        attribution = msgspec.structs.replace(attribution, inventory=attribution.inventory - 1)
        folded = booked
    _require_equal(ticker, "micros of profit", booked, folded)
    return Books(valuation, attribution, value, held_net)


def _whole(valuation: Valuation, held: d.Array) -> bool:
    """Whether YES and NO are valued without a fraction of a micro between them."""
    if valuation.settled:
        return valuation.value_micros in (-1, 0, MICRO)
    return not (int(held["yes_contracts"]) and int(held["no_contracts"]))


def books_of(world: World, tickers: Sequence[str], start_micros: int) -> tuple[tuple[Books, ...], int]:
    """Books of each market of a finished replay, and the account's equity at its end in micros.

    Raises:
        WorkError: fills, position, cash, or the last point of the equity curve differ from the fold.
    """
    fills = world.fills[: int(world.clock[0].fill_count)]
    valuations = {ticker: valuation_of(stats) for ticker, stats in zip(tickers, world.stats, strict=True)}
    accounts = fold(ledger_fills(fills, tickers), valuations).markets
    books = tuple(
        _check_market(ticker, accounts.get(ticker, NO_FILLS), world.holdings[m], world.stats[m])
        for m, ticker in enumerate(tickers)
    )
    equity = int(world.account[0].cash_micros) + sum(book.value_micros for book in books)
    earned = sum(book.attribution.net_micros for book in books)
    _require_equal("account", "micros of equity", equity, start_micros + earned)
    points = int(world.clock[0].curve_count)
    if points:
        at_end = int(world.curve[points - 1].equity_micros)
        _require_equal("equity curve", "micros at its end", at_end, equity)
    return books, equity
