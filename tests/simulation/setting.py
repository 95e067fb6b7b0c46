"""The markets, limits and strategy of one seed, from its options."""

from __future__ import annotations

from decimal import Decimal

from pr3dict.domain import events as e
from pr3dict.domain.market import Band, PriceGrid, polymarket_grid
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.venues.polymarket.amounts import LOT
from simulation.polymarket_texts import TICKS, condition_of
from simulation.swarm import Options
from simulation.world import SECOND, START_NS

STEPS = (100, 50, 200)  # the price grids of each market: a cent, half a cent, two cents
NONE = -1
MICRO = 1_000_000
HOUR_NS = 3_600 * SECOND


def listings(options: Options, *, own_in_feed: bool, end_ns: dict[int, int]) -> tuple[e.Listed, ...]:
    """The markets of a seed; `end_ns` gives some of them an end date inside the run."""
    if options.adapter == "polymarket":
        return _at_polymarket(options, end_ns)
    kalshi = options.venue == "kalshi"
    lot = MICRO // 100 if options.adapter == "kalshi" else MICRO
    grids = tuple(PriceGrid((Band(0, 10_000, step),)) for step in STEPS)
    return tuple(
        e.Listed(
            market=m,
            venue=options.venue,
            ticker=f"SIM-{m}",
            event_id="PAIR" if options.exclusive and m < 2 else f"ALONE-{m}",
            exclusive=options.exclusive and m < 2,
            title=f"Market {m}",
            grids=grids,
            min_size=lot,
            lot=lot,
            fee_kind="kalshi" if kalshi else "polymarket",
            taker_ppm=70_000 if kalshi else 20_000,
            maker_ppm=17_500 if kalshi else 0,
            rebate_ppm=0 if kalshi else 200_000,
            trade_unit_micros=100 if kalshi else 0,
            unit_micros=100 if kalshi else 0,
            rebate_unit_micros=100 if kalshi else 0,
            nets_positions=kalshi,
            reduce_in_place=kalshi,
            book_includes_own=own_in_feed,
            close_ns=end_ns.get(m, START_NS + 30 * HOUR_NS),
        )
        for m in range(options.markets)
    )


def _at_polymarket(options: Options, end_ns: dict[int, int]) -> tuple[e.Listed, ...]:
    """The markets as the adapter lists them from what the modelled catalogue says."""
    listings = []
    for m in range(options.markets):
        pair = options.exclusive and m < 2
        listings.append(
            e.Listed(
                market=m,
                venue="polymarket",
                ticker=condition_of(m),
                event_id="PAIR" if pair else f"event-{m}",
                exclusive=pair,
                title=f"Market {m}",
                grids=tuple(polymarket_grid(tick) for tick in TICKS),
                min_size=MICRO,
                lot=LOT,
                fee_kind="polymarket",
                taker_ppm=20_000,
                maker_ppm=0,
                rebate_ppm=0,
                trade_unit_micros=10,
                nets_positions=False,
                reduce_in_place=False,
                book_includes_own=True,
                close_ns=NONE,
                resolution_ns=end_ns.get(m, START_NS + 30 * HOUR_NS),
            )
        )
    return tuple(listings)


def ticks(options: Options) -> tuple[int, ...]:
    """The price grids of each market, in 1/10,000 dollar."""
    return TICKS if options.adapter == "polymarket" else STEPS


def strategy(options: Options) -> MarketMakingConfig:
    """A market maker that is willing to quote these small markets."""
    inventory = Decimal(options.max_inventory)
    return MarketMakingConfig(
        min_liquidity=Decimal(0),
        low_liquidity=Decimal(0),
        min_time_to_resolution=Decimal("0.001"),
        min_existing_spread=Decimal("0.01"),
        base_spread=Decimal("0.03"),
        min_spread=Decimal("0.01"),
        final_hours=Decimal("0.01"),
        closing_hours=Decimal("0.02"),
        quote_size=Decimal(options.quote_size),
        max_order_size=Decimal(max(options.max_inventory, 20)),
        max_inventory=inventory,
        max_position_size=inventory * 3,
        rebalance_threshold=inventory / 2,
        inventory_skew_threshold=inventory / 4,
        levels=2 if options.seed % 3 == 0 else 1,
        max_quote_age_seconds=Decimal(8),
        volume_spike_threshold=Decimal(50),
        max_portfolio_heat=Decimal(options.heat_ppm) / 1_000_000,
        daily_loss_limit=Decimal(options.daily_loss),
        price_band=Decimal("0.25"),
    )


def risk(options: Options) -> RiskConfig:
    """Tight limits and short times, so that much happens in a minute."""
    life = options.life_ns // SECOND
    timeout = Decimal(1) if life <= 5 else Decimal(3)
    skew = Decimal("0.5") if life <= 5 else Decimal(2)
    heat = Decimal(options.heat_ppm) * options.cash / 1_000_000
    return RiskConfig(
        max_order_size=Decimal(max(options.max_inventory, 20)),
        max_orders_per_second=30,
        max_orders_per_minute=600,
        price_collar=Decimal("0.25"),
        max_data_age_seconds=Decimal(6),
        max_loss_per_market=min(Decimal(options.max_inventory), heat),
        max_loss_per_event=min(Decimal(options.max_inventory) * 2, heat),
        max_total_loss=heat,
        answer_timeout_seconds=timeout,
        clock_skew_seconds=skew,
        order_life_seconds=Decimal(life),
        renew_before_seconds=Decimal(life) / 3 if life > 5 else Decimal(1),
        read_retry_seconds=Decimal(1),
        reconcile_interval_seconds=Decimal(5),
        feed_timeout_seconds=Decimal(5),
        pause_seconds=Decimal(8),
        stall_pause_seconds=Decimal(2),
        max_errors=40,
        max_drifts=2,
    )
