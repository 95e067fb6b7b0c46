"""`pr3dict quote`: one decision of the market maker from numbers given by flags, with every term."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pr3dict.cli.config import load_config
from pr3dict.cli.output import console, decimal_string, print_json, table
from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import MONEY_SCALE, format_dollars, parse_money, parse_price, parse_quantity
from pr3dict.strategies.decision import Decision, Order, as_dict
from pr3dict.strategies.market_making import MarketMakingStrategy

_MEANING = {
    "base_spread": "the setting",
    "low_liquidity": "added below low_liquidity",
    "high_volatility": "times while volatility is high",
    "time_to_close": "times near the close",
    "inventory": "times beyond inventory_skew_threshold",
    "markouts": "added for adverse markouts",
    "news": "times while news is in force",
    "clamp": "kept within min_spread and max_spread",
    "skew": "moves both quotes against the position",
    "reward_bid": "wished bid, rewards reckoned with",
    "reward_ask": "wished ask, rewards reckoned with",
    "reward_edge": "expected of fills, $ an hour",
    "reward_income": "expected of rewards, $ an hour",
}


def quote_command(
    fair: Annotated[str, typer.Option(help="Fair value: YES price in dollars, inside (0, 1).")],
    liquidity: Annotated[str, typer.Option(help="Resting dollars within 10 cents of mid.")] = "20000",
    hours: Annotated[str, typer.Option(help="Hours to close and resolution.")] = "72",
    net: Annotated[str, typer.Option(help="Net position in contracts: YES less NO.")] = "0",
    volatile: Annotated[bool, typer.Option("--volatile", help="Volatility is high.")] = False,
    tick: Annotated[str, typer.Option(help="Price step of the market in dollars.")] = "0.01",
    best_bid: Annotated[
        str | None, typer.Option(help="Best YES bid; without it and --best-ask the book is unknown.")
    ] = None,
    best_ask: Annotated[str | None, typer.Option(help="Best YES ask.")] = None,
    reward_spread: Annotated[
        str | None, typer.Option(help="Distance from mid at which nothing scores; without it no rewards.")
    ] = None,
    reward_min_size: Annotated[str, typer.Option(help="Least contracts of an order that scores.")] = "0",
    reward_day: Annotated[str, typer.Option(help="Dollars a day that all makers share.")] = "0",
    reward_others: Annotated[
        str, typer.Option(help="Score of the others on each side, in contracts at the midpoint.")
    ] = "0",
    preset: Annotated[str | None, typer.Option(help="Settings to start from.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with a [market_making] table.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one quoting decision, with every term, from numbers given by flags."""
    strategy = MarketMakingStrategy(config=load_config(preset, config, assignments or ()))
    decision = strategy.quote(
        fair=fair,
        liquidity=liquidity,
        hours=hours,
        net=net,
        volatile=volatile,
        tick=tick,
        best_bid=best_bid,
        best_ask=best_ask,
        rewards=None if reward_spread is None else _rewards(reward_spread, reward_min_size, reward_day),
        reward_others=reward_others,
    )
    if as_json:
        print_json(as_dict(decision))
    else:
        show_decision(decision)


def _rewards(spread: str, min_size: str, day: str) -> RewardTerms:
    try:
        return RewardTerms(
            spread=parse_price(spread), min_size=parse_quantity(min_size), day_micros=parse_money(day)
        )
    except DataError as error:
        raise UsageError(f"--reward-spread, --reward-min-size or --reward-day: {error}") from None


def show_decision(decision: Decision) -> None:
    """Print the terms, the quotes and the reasons of a decision."""
    terms = table("Decision", "term", "effect", "value", "what it is", left=1)
    terms.columns[-1].justify = "left"
    if decision.fair is not None:
        terms.add_row("fair", "", _price(decision.fair), "what a YES contract is worth now")
    for term in decision.terms:
        style = None if term.effect or term.name == "base_spread" else "dim"
        terms.add_row(term.name, term.effect, decimal_string(term.value), _MEANING[term.name], style=style)
    console.print(terms)
    console.print()
    quotes = table("Quotes", "", "bid", "ask")
    for name, pair in (("unskewed", decision.unskewed), ("skewed", decision.skewed)):
        if pair is not None:
            quotes.add_row(name, _price(pair[0]), _price(pair[1]))
    for level in range(max(len(decision.bids), len(decision.asks), 1)):
        name, style = ("quoted", "bold") if level == 0 else (f"level {level + 1}", None)
        quotes.add_row(
            name,
            _order(decision.bids, level),
            _order(decision.asks, level),
            style=style,
        )
    console.print(quotes)
    console.print()
    console.print(f"state    [bold]{decision.state}[/bold]")
    if decision.is_exit:
        console.print("exit     one order on the reducing side, which may take from the book")
    console.print(f"reasons  {escape(', '.join(decision.reasons)) or 'none'}")


def _price(value: Decimal) -> str:
    return f"${format_dollars(int(value * MONEY_SCALE))}"


def _order(orders: tuple[Order, ...], level: int) -> str:
    if level >= len(orders):
        return "-" if level == 0 else ""
    order = orders[level]
    return f"{decimal_string(order.size)} @ {_price(order.price)}"
