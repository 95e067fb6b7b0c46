"""What a user sets about risk and about the engine's times: the `[risk]` table of the config file.

A cap or a breaker at 0 is off: then only the strategy's own limits hold, which the gate checks as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pr3dict.risk.programme import ProgrammeConfig
from pr3dict.strategies.settings import (
    CONTRACTS,
    COUNT,
    DOLLARS,
    PRICE,
    SECONDS,
    SHARE,
    Rule,
    Settings,
    build_table,
    choice,
    number,
)

MAX_WINDOW_SECONDS = "86400"


class RiskConfig(Settings):
    """Caps of the gate, thresholds of the breakers, times of the engine; 0 turns a cap or a breaker off.

    Amounts are dollars, sizes contracts, times seconds (or a text with a suffix: "90s", "5m"). Each field's
    unit and meaning stand in its description (and in docs/reference/config.md); `integer(key)` and the
    properties below give micros, micro-contracts and ns.

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted, or settings that contradict.
    """

    # fmt: off
    max_order_size: Decimal = number(
        "0", CONTRACTS, "Gate", "", "Largest single order, beside the strategy's own; 0 is off.")
    max_orders_per_second: int = number(
        "0", COUNT, "Gate", "", "New orders in any second over all markets; 0 is off.", low="0", high="10000")
    max_orders_per_minute: int = number(
        "0", COUNT, "Gate", "", "New orders in any minute over all markets; 0 is off.",
        low="0", high="100000")
    price_collar: Decimal = number(
        "0", PRICE, "Gate", "",
        "No order further than this from fair value, beside the strategy's `price_band`; 0 is off.")
    max_data_age_seconds: Decimal = number(
        "0", SECONDS, "Gate", "",
        "No order on a book last known to be current longer ago than this (by an event or a round "
        "trip of its feed); 0 is off.")
    max_loss_per_market: Decimal = number(
        "0", DOLLARS, "Gate", "", "Worst-case loss of one market, open orders and provisional fills read "
        "against us; 0 is off.")
    max_loss_per_event: Decimal = number(
        "0", DOLLARS, "Gate", "", "The same over all outcomes of one event; 0 is off.")
    max_total_loss: Decimal = number(
        "0", DOLLARS, "Gate", "", "The same summed over all events; 0 is off.")
    min_free_cash: Decimal = number(
        "0", DOLLARS, "Gate", "",
        "Cash that is left after all open orders and the new one are paid; 0 is off, then an order may cost "
        "what the account holds and the venue decides.")
    refuse_crossing: bool = choice(
        False, "Gate", "",
        "Refuse a post-only order that the known book says would cross; else the venue refuses it.",
        "true, false")
    absurd_orders: int = number(
        "3", COUNT, "Gate", "",
        "Orders of impossible price or size in `absurd_window_seconds` that halt the market; 0 is off.",
        low="0", high="1000")
    absurd_window_seconds: Decimal = number(
        "60", SECONDS, "Gate", "", "Window of `absurd_orders`.", low="1", high=MAX_WINDOW_SECONDS)

    max_errors: int = number(
        "20", COUNT, "Breakers", "", "Lost answers and failed reads of a venue in `error_window_seconds`.",
        low="0", high="10000")
    error_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_errors`.", low="1", high=MAX_WINDOW_SECONDS)
    max_refusals: int = number(
        "60", COUNT, "Breakers", "",
        "Requests of a market that its venue refused in `refusal_window_seconds`, crossings left out.",
        low="0", high="10000")
    refusal_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_refusals`.", low="1", high=MAX_WINDOW_SECONDS)
    max_crossings: int = number(
        "120", COUNT, "Breakers", "",
        "Post-only orders of a market refused as crossing in `crossing_window_seconds`.",
        low="0", high="10000")
    crossing_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_crossings`.", low="1", high=MAX_WINDOW_SECONDS)
    fill_burst_contracts: Decimal = number(
        "1000", CONTRACTS, "Breakers", "", "Contracts filled in a market in `fill_burst_window_seconds`.")
    fill_burst_count: int = number(
        "200", COUNT, "Breakers", "", "Fills in a market in `fill_burst_window_seconds`.",
        low="0", high="10000")
    fill_burst_window_seconds: Decimal = number(
        "10", SECONDS, "Breakers", "", "Window of both fill bursts.", low="1", high=MAX_WINDOW_SECONDS)
    max_unasked_ends: int = number(
        "60", COUNT, "Breakers", "",
        "Orders of a market that ended unasked and unfilled in `unasked_window_seconds`, no fill between "
        "(repeated execution).", low="0", high="10000")
    unasked_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_unasked_ends`.", low="1", high=MAX_WINDOW_SECONDS)
    max_churn: int = number(
        "1000", COUNT, "Breakers", "",
        "Orders of a market cancelled within `churn_life_seconds` of placing, in `churn_window_seconds`.",
        low="0", high="10000")
    churn_life_seconds: Decimal = number(
        "1", SECONDS, "Breakers", "", "An order cancelled younger than this counts as churn.",
        low="0.001", high="3600")
    churn_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_churn`.", low="1", high=MAX_WINDOW_SECONDS)
    max_settlement_failures: Decimal = number(
        "0.2", SHARE, "Breakers", "",
        "Share of a venue's last `settlement_fills` fills that it voided; 0 is off.")
    settlement_fills: int = number(
        "20", COUNT, "Breakers", "", "Fills over which voids are counted.", low="5", high="500")
    max_drifts: int = number(
        "1", COUNT, "Breakers", "",
        "Positions, cash or fills that the venue's reads contradict in `drift_window_seconds`.",
        low="0", high="100")
    drift_window_seconds: Decimal = number(
        "300", SECONDS, "Breakers", "", "Window of `max_drifts`.", low="1", high=MAX_WINDOW_SECONDS)
    max_foreign_orders: int = number(
        "5", COUNT, "Breakers", "",
        "Orders or fills of the account that are not ours in `foreign_window_seconds`.",
        low="0", high="1000")
    foreign_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_foreign_orders`.", low="1", high=MAX_WINDOW_SECONDS)
    clock_skew_seconds: Decimal = number(
        "2", SECONDS, "Breakers", "",
        "Most that our clock and the venue's may differ; also added to an order's expiry before its absence "
        "is proof.", low="0.1", high="60")
    clock_jump_seconds: Decimal = number(
        "2", SECONDS, "Breakers", "", "A sleep or a jump of the clock from here on pauses all; 0 is off.")
    loop_stall_seconds: Decimal = number(
        "0.5", SECONDS, "Breakers", "", "The event loop did not run for this long; 0 is off.")
    log_stall_seconds: Decimal = number(
        "2", SECONDS, "Breakers", "", "The journal confirmed no write for this long; 0 is off.")
    max_malformed: int = number(
        "20", COUNT, "Breakers", "",
        "Messages of a venue that the decoder refused in `malformed_window_seconds`.", low="0", high="100000")
    malformed_window_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "Window of `max_malformed`.", low="1", high=MAX_WINDOW_SECONDS)
    max_book_disagreements: int = number(
        "3", COUNT, "Breakers", "",
        "Times that a market's book differed from a second route in `book_window_seconds`.",
        low="0", high="1000")
    max_invalid_books: int = number(
        "20", COUNT, "Breakers", "",
        "Times that a market's book broke (gap, crossing, overflow) in `book_window_seconds`.",
        low="0", high="1000")
    book_window_seconds: Decimal = number(
        "300", SECONDS, "Breakers", "", "Window of both book counts.", low="1", high=MAX_WINDOW_SECONDS)
    max_feed_losses: int = number(
        "10", COUNT, "Breakers", "", "Times that a venue's feed was lost in `feed_loss_window_seconds`.",
        low="0", high="1000")
    feed_loss_window_seconds: Decimal = number(
        "300", SECONDS, "Breakers", "", "Window of `max_feed_losses`.", low="1", high=MAX_WINDOW_SECONDS)
    max_starts: int = number(
        "0", COUNT, "Breakers", "",
        "Starts without a clean stop in `start_window_seconds` (crash loop); 0 is off.", low="0", high="100")
    start_window_seconds: Decimal = number(
        "600", SECONDS, "Breakers", "", "Window of `max_starts`.", low="1", high=MAX_WINDOW_SECONDS)
    pause_seconds: Decimal = number(
        "60", SECONDS, "Breakers", "", "How long a breaker that returns by itself pauses quoting.",
        low="1", high="3600")
    stall_pause_seconds: Decimal = number(
        "5", SECONDS, "Breakers", "", "The same after a stall of the event loop, the journal or the clock.",
        low="0.1", high="3600")

    answer_timeout_seconds: Decimal = number(
        "5", SECONDS, "Engine", "", "A request without an answer for this long is unknown.",
        low="0.1", high="600")
    order_life_seconds: Decimal = number(
        "0", SECONDS, "Engine", "",
        "Expiry that each order carries, which bounds the life of an unknown one; 0 is none.", high="86400")
    renew_before_seconds: Decimal = number(
        "10", SECONDS, "Engine", "", "A resting order is renewed this long before its expiry.",
        low="0.1", high="3600")
    cash_tolerance: Decimal = number(
        "0", DOLLARS, "Engine", "",
        "Difference between the venue's cash and ours that is no drift; `live` takes a cent where it is 0, "
        "for Kalshi keeps what a scalar payout has below one.", high="1")
    read_retry_seconds: Decimal = number(
        "2", SECONDS, "Engine", "", "A read that failed or proved nothing is asked again after this.",
        low="0.1", high="600")
    reconcile_interval_seconds: Decimal = number(
        "30", SECONDS, "Engine", "", "How often orders, fills, positions and cash are read and compared.",
        low="1", high="3600")
    feed_timeout_seconds: Decimal = number(
        "10", SECONDS, "Engine", "",
        "A venue whose stream gave no sign of life for this long is not quoted.", low="0.5", high="3600")
    stop_timeout_seconds: Decimal = number(
        "10", SECONDS, "Engine", "", "How long a clean stop waits for its cancels to be confirmed.",
        low="0.1", high="600")
    programme: ProgrammeConfig | None = choice(
        None, "Engine", "", "Terms of a venue's programme, set in the `[programme]` table beside this one.",
        "the table")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """Every rule between settings, in the order in which they are checked."""
        life, before = self.order_life_seconds, self.renew_before_seconds
        slack = self.answer_timeout_seconds + self.clock_skew_seconds
        return (
            self._unless_off("max_loss_per_market", "max_loss_per_event"),
            self._unless_off("max_loss_per_event", "max_total_loss"),
            self._unless_off("max_orders_per_second", "max_orders_per_minute"),
            Rule(
                "renew_before_seconds",
                life == 0 or before < life,
                f"{before} is not below order_life_seconds {life}; lower it or lengthen the life",
            ),
            Rule(
                "order_life_seconds",
                life == 0 or life > slack,
                f"{life} is within answer_timeout_seconds plus clock_skew_seconds ({slack}); lengthen it",
            ),
            self.ordered("answer_timeout_seconds", "reconcile_interval_seconds"),
        )

    def _unless_off(self, small: str, large: str) -> Rule:
        rule = self.ordered(small, large)
        return rule._replace(holds=rule.holds or getattr(self, large) == 0)

    @property
    def max_order_size_contracts(self) -> int:
        """Largest single order in micro-contracts; 0: off."""
        return self.integer("max_order_size")

    @property
    def price_collar_micros(self) -> int:
        """Most distance from fair value in micros; 0: off."""
        return self.integer("price_collar")

    @property
    def max_data_age_ns(self) -> int:
        """Oldest book that an order may rest on, in ns; 0: off."""
        return self.integer("max_data_age_seconds")

    @property
    def max_loss_per_market_micros(self) -> int:
        """Worst-case loss of a market in micros; 0: off."""
        return self.integer("max_loss_per_market")

    @property
    def max_loss_per_event_micros(self) -> int:
        """Worst-case loss of an event in micros; 0: off."""
        return self.integer("max_loss_per_event")

    @property
    def max_total_loss_micros(self) -> int:
        """Worst-case loss of everything in micros; 0: off."""
        return self.integer("max_total_loss")

    @property
    def min_free_cash_micros(self) -> int:
        """Cash that orders leave alone, in micros; 0: off."""
        return self.integer("min_free_cash")

    @property
    def clock_skew_ns(self) -> int:
        """Most that two clocks may differ, in ns."""
        return self.integer("clock_skew_seconds")

    @property
    def pause_ns(self) -> int:
        """How long a breaker pauses quoting, in ns."""
        return self.integer("pause_seconds")

    @property
    def stall_pause_ns(self) -> int:
        """How long a stall pauses quoting, in ns."""
        return self.integer("stall_pause_seconds")

    @property
    def answer_timeout_ns(self) -> int:
        """Time after which a request is unknown, in ns."""
        return self.integer("answer_timeout_seconds")

    @property
    def order_life_ns(self) -> int:
        """Expiry of each order from its placing, in ns; 0: none."""
        return self.integer("order_life_seconds")

    @property
    def renew_before_ns(self) -> int:
        """Time before its expiry at which an order is renewed, in ns."""
        return self.integer("renew_before_seconds")

    @property
    def cash_tolerance_micros(self) -> int:
        """Difference of cash that is no drift, in micros."""
        return self.integer("cash_tolerance")

    @property
    def read_retry_ns(self) -> int:
        """Time after which a read is repeated, in ns."""
        return self.integer("read_retry_seconds")

    @property
    def reconcile_interval_ns(self) -> int:
        """Time between two comparisons with the venue, in ns."""
        return self.integer("reconcile_interval_seconds")

    @property
    def feed_timeout_ns(self) -> int:
        """Silence after which a feed is stale, in ns."""
        return self.integer("feed_timeout_seconds")

    @property
    def stop_timeout_ns(self) -> int:
        """Longest wait of a clean stop, in ns."""
        return self.integer("stop_timeout_seconds")


def build_risk(
    file_settings: Mapping[str, Any] | None = None,
    source: str = "config",
    single: Mapping[str, str] | None = None,
) -> RiskConfig:
    """Put the `[risk]` settings together: the file's, then `single` ones of the command line.

    Raises:
        ConfigError: a setting is wrong; the sentence names `source` or `--set`, and the key.
    """
    return build_table(RiskConfig, "risk", file_settings, source, single)
