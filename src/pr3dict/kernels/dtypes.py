"""Every array layout of the brain, field by field, and the integer codes that its rows hold.

Units (see `domain/units.py`): a field named `*_price` or `price` is in 1/10,000 dollar of a YES contract,
`qty`, `*_size`, `*_contracts` in 1/1,000,000 contract, `*_micros` in 1/1,000,000 dollar, `*_ns` in ns UTC (or
a span), `*_ppm` in parts per million. Rows are aligned `np.record`s, so `row.field` reads the same in
compiled code and in plain Python. -1 means "none" for a price, an order or a level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_LEVELS = 10  # quote levels a side
ORDER_SLOTS = 48  # own orders a market, in every state
VOLATILITY_SAMPLES = 128  # ring of squared fair-value changes
VOLUME_BUCKETS = 256  # ring of traded volume
PENDING_MARKOUTS = 64  # own fills whose markout is not yet known
MARKOUT_HORIZONS_NS = (1_000_000_000, 10_000_000_000, 60_000_000_000, 300_000_000_000)

# Side of the book. A NO bid at q is a YES ask at 1 - q, so two sides describe a market.
BID = 0
ASK = 1

NO_BID = -1  # below any price
NO_ASK = 10_001  # above any price

WATCH_TAKEN = 1024  # more than the orders that can stand at one level

# Event kinds.
LEVEL = 1  # resting size at (side, price) becomes `qty`
TRADE = 2  # `qty` traded at `price`; side BID: the taker bought YES, ASK: the taker bought NO (sold YES)
SNAPSHOT = 3  # a level of a full book; the loader turns snapshots into LEVEL events before a replay
STATUS = 4  # `aux` is a market status
TICK = 5  # `aux` is the index of the new price grid
SETTLE = 6  # `qty` is the value of one YES contract in micros
NEWS = 7  # `aux` is a news severity, `qty` its duration in ns
CLOSE_TIME = 8  # `aux` is the new close time in ns

# Event flags (`EVENT.bits`).
INFERRED = 1  # a trade that the recording did not hold but implies
SNAP_FIRST = 2
SNAP_LAST = 4
REFUND = 8  # a void that returns each position's cost
SYNTHETIC = 16
FROM_SNAPSHOT = 32  # a LEVEL that the loader made from a snapshot

# Market status. A market takes orders only when ACTIVE, or POST_ONLY for resting ones.
INITIALIZED = 0
ACTIVE = 1
PAUSED = 2  # orders refused, cancels accepted
CLOSED = 3  # everything refused
DETERMINED = 4
SETTLED = 5
POST_ONLY_MODE = 6  # after a restart: only post-only orders and cancels
RESTARTING = 7  # everything refused for now

# News severity.
NEWS_WIDEN = 1
NEWS_PULL = 2

# Time in force.
POST_ONLY = 0
LIMIT = 1  # may take, then rests
IOC = 2
FOK = 3

# State of an own order as we know it.
FREE = 0
PENDING = 1  # sent, no answer yet
LIVE = 2
CANCELING = 3  # cancel sent, no answer yet

# Which contract an order trades: buying the side's own contract or selling what is held of the other.
BUY_LEG = 0
SELL_LEG = 1

# Messages to the exchange and reports from it.
NEW = 1
CANCEL = 2
REDUCE = 3
ACK = 1
REJECT = 2
CANCELED = 3
REDUCED = 4
FILL_REPORT = 5
CANCEL_REJECT = 6

# Why the exchange refused or cancelled.
WHY_NONE = 0
WHY_POST_ONLY_CROSS = 1
WHY_OFF_GRID = 2
WHY_MIN_SIZE = 3
WHY_NOT_ACTIVE = 4
WHY_RATE_LIMIT = 5
WHY_UNKNOWN_ORDER = 6
WHY_EXPIRED = 7
WHY_CLOSED = 8
WHY_UNFILLED_IOC = 9
WHY_NO_CASH = 10
WHY_REACTIVATED = 11
WHY_SELF_TRADE = 12
WHY_NOT_HELD = 13
WHY_GATE = 14  # our own gate refused it: it never left
WHY_NOT_SENT = 15  # it surely never left this machine
WHY_NAMES: tuple[str, ...] = (
    "none",
    "post_only_cross",
    "off_grid",
    "min_size",
    "not_active",
    "rate_limit",
    "unknown_order",
    "expired",
    "closed",
    "unfilled_ioc",
    "no_cash",
    "reactivated",
    "self_trade",
    "not_held",
    "gate",
    "not_sent",
)

# How much of a market is held back, whatever its policy wants (`MARKET.hold`).
HOLD_NOTHING = 0
HOLD_QUOTES = 1  # only exits go out
HOLD_ALL = 2

# Queue models: what share of a level's decrease beyond trades happened behind us.
QUEUE_RISK_AVERSE = 0
QUEUE_POWER = 1
QUEUE_POWER2 = 2
QUEUE_POWER3 = 3
QUEUE_LOG = 4
QUEUE_LOG2 = 5
QUEUE_OPTIMISTIC = 6

# Fee schedules.
FEE_NONE = 0
FEE_KALSHI = 1
FEE_POLYMARKET = 2

# Fair-value models and quoting policies, dispatched by code (a function argument would miss the disk cache).
FAIR_MID = 0
FAIR_MICROPRICE = 1
FAIR_ORDER_FLOW = 2
POLICY_PR3DICT = 0
POLICY_FIXED_SPREAD = 1

# What liquidity rewards may do to a quote (kernels/rewards.py).
REWARDS_OFF = 0
REWARDS_RESPECT = 1  # into the reward band, to the least size that scores, at no expected loss
REWARDS_OPTIMISE = 2  # to the optimum of expected edge plus expected reward

# Inventory states (spec section 6).
STATE_NORMAL = 0
STATE_SKEWED = 1
STATE_REBALANCING = 2
STATE_FORCED_EXIT = 3

# Reasons of a decision: bit numbers of `QUOTE.reasons`; texts in `REASON_NAMES`.
# fmt: off
REASON_NAMES: tuple[str, ...] = (
    "no_book", "one_sided_book", "crossed_book", "market_not_active", "low_liquidity",
    "too_close_to_resolution", "too_far_from_resolution", "unknown_resolution_time", "narrow_spread",
    "reduce_only", "volume_pause", "news_pause", "news_widened", "markout_widened",
    "spread_clamped_to_min", "spread_clamped_to_max", "skewed", "rebalancing", "forced_exit",
    "forced_exit_near_resolution", "bid_off_grid", "ask_off_grid", "bid_clamped_post_only",
    "ask_clamped_post_only", "bid_size_cut_inventory", "ask_size_cut_inventory", "bid_size_cut_gross",
    "ask_size_cut_gross", "size_cut_heat", "size_cut_cash", "bid_size_below_min", "ask_size_below_min",
    "daily_loss_limit", "portfolio_heat", "exit_unabsorbed", "outside_price_band", "order_rate_limited",
    "not_selected", "held", "flattening", "bid_moved_for_rewards", "ask_moved_for_rewards",
    "bid_raised_for_rewards", "ask_raised_for_rewards",
)
(
    R_NO_BOOK, R_ONE_SIDED_BOOK, R_CROSSED_BOOK, R_NOT_ACTIVE, R_LOW_LIQUIDITY, R_TOO_CLOSE, R_TOO_FAR,
    R_UNKNOWN_RESOLUTION, R_NARROW_SPREAD, R_REDUCE_ONLY, R_VOLUME_PAUSE, R_NEWS_PAUSE, R_NEWS_WIDENED,
    R_MARKOUT_WIDENED, R_CLAMPED_MIN, R_CLAMPED_MAX, R_SKEWED, R_REBALANCING, R_FORCED_EXIT,
    R_FORCED_EXIT_TIME, R_BID_OFF_GRID, R_ASK_OFF_GRID, R_BID_POST_ONLY, R_ASK_POST_ONLY,
    R_BID_CUT_INVENTORY, R_ASK_CUT_INVENTORY, R_BID_CUT_GROSS, R_ASK_CUT_GROSS, R_CUT_HEAT, R_CUT_CASH,
    R_BID_BELOW_MIN, R_ASK_BELOW_MIN, R_DAILY_LOSS, R_HEAT, R_EXIT_UNABSORBED, R_PRICE_BAND,
    R_ORDER_RATE, R_NOT_SELECTED, R_HELD, R_FLATTENING, R_BID_REWARD_PRICE, R_ASK_REWARD_PRICE,
    R_BID_REWARD_SIZE, R_ASK_REWARD_SIZE,
) = range(len(REASON_NAMES))
# fmt: on


def _row(fields: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]]) -> np.dtype[np.record]:
    # In plain Python `row.size` would be numpy's own attribute, not the field: such names are refused.
    clash = [name for name, *_ in fields if hasattr(np.void, name)]
    if clash:
        raise TypeError(f"field names {clash} are attributes of numpy scalars: choose others")
    layout: np.dtype[np.void] = np.dtype(fields, align=True)
    row: np.dtype[np.record] = np.dtype((np.record, layout))  # type: ignore[assignment]
    return row


EVENT = _row(
    [
        ("exch_ns", "i8"),  # exchange time
        ("local_ns", "i8"),  # time at which we see it
        ("qty", "i8"),
        ("aux", "i8"),
        ("price", "i4"),
        ("market", "i4"),  # row of the market in this replay
        ("kind", "i1"),
        ("side", "i1"),
        ("bits", "i2"),
    ]
)

BOOK = _row(
    [
        ("grid", "i4"),  # row of the price grid
        ("bid_level", "i4"),  # best bid's level; -1: no bids
        ("ask_level", "i4"),  # best ask's level; grid's level count: no asks
        ("status", "i4"),
        ("event_ns", "i8"),  # time of the last event applied
    ]
)

MARKET = _row(
    [
        # What the market is.
        ("event", "i4"),  # group of mutually exclusive markets; -1: alone
        ("nets_positions", "i1"),  # the venue nets YES against NO by itself
        ("reduce_in_place", "i1"),  # an order may shrink without losing its place in the queue
        ("book_includes_own", "i1"),  # the feed shows our orders (live); a recording does not
        ("status", "i1"),
        ("waiting", "i1"),  # 1: has no place among `max_markets`, so it is only wound down
        ("hold", "i1"),  # HOLD_*: what a person, a breaker or the state of the feed forbids
        ("leaving", "i1"),  # 1: a person wants to be out, at `leaving_slippage_micros` from fair at worst
        ("close_ns", "i8"),  # trading ends; -1: unknown
        ("resolution_ns", "i8"),  # expected resolution; -1: unknown
        ("min_size", "i8"),  # smallest order, micro-contracts
        ("lot", "i8"),  # orders are multiples of this, micro-contracts
        ("stated_liquidity_micros", "i8"),  # the venue's own figure; -1: none, measure the book
        ("leaving_slippage_micros", "i8"),
        ("snapshots", "i8"),  # whole books seen
        # The book as we see it, own quotes taken out (kernels/estimators.observe_book).
        ("bid_price", "i4"),
        ("ask_price", "i4"),
        ("bid_size", "i8"),
        ("ask_size", "i8"),
        ("far_bid_price", "i4"),  # best bid with own orders in: what a post-only ask may not cross
        ("far_ask_price", "i4"),
        ("liquidity_micros", "i8"),  # resting dollars on both sides within 10 cents of mid
        ("book_ns", "i8"),  # local time of the last book event
        # Inventory (spec section 1) and what rests or flies, micro-contracts.
        ("yes_contracts", "i8"),
        ("no_contracts", "i8"),
        ("cost_micros", "i8"),  # cash paid less cash received in this market (fees apart)
        ("slots_used", "i4"),  # no slot from this one on holds an order
        ("open_bid", "i8"),  # own bids in every state but FREE
        ("open_ask", "i8"),
        # Fair value.
        ("fair_micros", "i8"),  # -1: none
        ("uncertainty_micros", "i8"),
        # Realised volatility on a fixed grid.
        ("vol_next_ns", "i8"),  # next grid time; 0: not started
        ("vol_last_micros", "i8"),  # fair value at the last grid time
        ("vol_count", "i4"),  # samples in the ring
        ("vol_head", "i4"),
        ("vol_sum", "f8"),  # sum of squared changes in the ring, micros squared
        ("vol_ring", "i8", (VOLATILITY_SAMPLES,)),  # changes of fair value, micros
        ("volatility_micros", "i8"),  # per square-root hour
        # Signed flow, exponentially forgotten.
        ("flow_ns", "i8"),
        ("flow_signed", "f8"),  # contracts, taker buys less taker sells
        ("flow_total", "f8"),
        # Volume rate.
        ("volume_start_ns", "i8"),  # first trade or book event seen; 0: none
        ("volume_bucket", "i8"),  # number of the newest bucket since the epoch
        ("volume_ring", "i8", (VOLUME_BUCKETS,)),  # micro-contracts a bucket
        ("volume_window", "i8"),  # micro-contracts in the short window
        ("volume_baseline", "i8"),  # micro-contracts in the long window
        # Markouts of own fills.
        ("markout_head", "i4"),
        ("markout_count", "i4"),
        ("markout_ns", "i8", (PENDING_MARKOUTS,)),  # when each pending markout is due
        ("markout_price", "i4", (PENDING_MARKOUTS,)),
        ("markout_size", "i8", (PENDING_MARKOUTS,)),
        ("markout_side", "i1", (PENDING_MARKOUTS,)),
        ("markout_micros", "f8"),  # running mean of (mid after - price) in our favour, micros a contract
        ("markout_weight", "f8"),  # contracts behind that mean
        # Pauses.
        ("paused_until_ns", "i8"),  # volume spike; 0: not paused
        ("news_until_ns", "i8"),
        ("news_severity", "i1"),
        # The quote that stands.
        ("refresh", "i1"),  # 1: decide again at the next opportunity (fill, cancel, status, grid)
        ("quoted_state", "i1"),  # what `quote_state` said when it was placed; -1: never quoted
        ("quoted_fair_micros", "i8"),
        ("quoted_ns", "i8"),
        ("retry_ns", "i8"),  # after a refused order: decide again then; 0: nothing to retry
        ("stirred", "i1"),  # 1: touch, orders or position changed since the last decision
        ("changed", "i1"),  # waits for a decision at the current instant
        ("resync", "i1"),  # 1: bring orders to the standing quote again (a cancel was confirmed)
        # Risk.
        ("loss_yes_micros", "i8"),  # worst-case loss with resting orders, should YES win
        ("loss_no_micros", "i8"),
        ("value_micros", "i8"),  # position at fair value, or at the last one known
        ("locked_micros", "i8"),  # cash that own orders lock
        ("exit_alert", "i1"),  # a forced exit did not find enough book
        # Liquidity rewards: the venue's terms, and what is seen of the competition (kernels/rewards.py).
        ("reward_spread", "i4"),  # an order this far from the midpoint scores nothing; 0: no rewards
        ("reward_mid", "i4"),  # midpoint that distances are measured from, 1/20,000 dollar; -1: none
        ("reward_min_size", "i8"),  # a smaller order scores nothing
        ("reward_day_micros", "i8"),  # what all makers of the market share in a day
        ("reward_bid_others", "i8"),  # score of the others' bids and asks, micro-contracts
        ("reward_ask_others", "i8"),
        ("maker_cost_micros", "i8"),  # expected maker fee less rebate of a contract at fair value
    ]
)

PARAMS = _row(
    [
        ("policy", "i4"),
        ("fair_model", "i4"),
        # Spread (spec 4).
        ("base_spread_micros", "i8"),
        ("min_spread_micros", "i8"),
        ("max_spread_micros", "i8"),
        ("low_liquidity_micros", "i8"),
        ("low_liquidity_addon_micros", "i8"),
        ("volatility_multiplier_ppm", "i8"),
        ("high_volatility_micros", "i8"),  # per square-root hour
        ("final_ns", "i8"),
        ("final_multiplier_ppm", "i8"),
        ("closing_ns", "i8"),
        ("closing_multiplier_ppm", "i8"),
        ("inventory_multiplier_ppm", "i8"),
        # Skew (spec 5).
        ("inventory_skew_threshold", "i8"),  # micro-contracts
        ("skew_per_10_micros", "i8"),
        ("target_inventory", "i8"),  # micro-contracts, signed
        # Inventory (spec 6).
        ("rebalance_threshold", "i8"),
        ("max_inventory", "i8"),
        ("max_position_size", "i8"),
        ("exit_inventory", "i8"),  # |net| above this is a forced exit below min_time_to_resolution
        ("max_exit_slippage_micros", "i8"),
        # Selection (spec 2).
        ("min_liquidity_micros", "i8"),
        ("min_time_to_resolution_ns", "i8"),
        ("max_time_to_resolution_ns", "i8"),
        ("min_existing_spread_micros", "i8"),
        # Lifecycle (spec 7).
        ("quote_size", "i8"),
        ("liquid_market_micros", "i8"),
        ("liquid_size_multiplier_ppm", "i8"),
        ("max_quote_age_ns", "i8"),
        ("requote_threshold_micros", "i8"),
        ("refill_fraction_ppm", "i8"),  # an order is right while it holds this share of its size
        ("levels", "i4"),
        ("level_spacing_micros", "i8"),
        # Risk (spec 8).
        ("volume_spike_ppm", "i8"),
        ("volume_window_ns", "i8"),
        ("volume_baseline_ns", "i8"),
        ("volume_pause_ns", "i8"),
        ("news_multiplier_ppm", "i8"),
        ("markout_horizon_ns", "i8"),
        ("markout_min_contracts", "i8"),  # micro-contracts that must have filled before markouts widen
        ("markout_multiplier_ppm", "i8"),  # spread += 2 x this x adverse markout
        ("price_band_micros", "i8"),  # no order further than this from fair value
        ("max_order_size", "i8"),
        # Estimators.
        ("volatility_grid_ns", "i8"),
        ("volatility_samples", "i4"),  # window / grid
        ("flow_half_life_ns", "i8"),
        ("flow_weight_ppm", "i8"),  # share of the half-spread that one-sided flow may move fair value
        ("markout_half_life_contracts", "i8"),
        # Replay only: decide on a fixed clock instead of on events; 0: on events.
        ("decision_interval_ns", "i8"),
        ("fixed_half_spread_micros", "i8"),  # POLICY_FIXED_SPREAD
        # Liquidity rewards.
        ("rewards", "i4"),  # REWARDS_*
        ("reward_fill_rate_ppm", "i8"),  # fills an hour of a quote at its reservation price
        ("reward_fill_decay_ppm", "i8"),  # a dollar: chance of a fill falls as exp(-decay x distance)
        ("reward_adverse_micros", "i8"),  # least adverse cost of a contract that is reckoned with
        ("reward_stress_ppm", "i8"),  # that cost times this must be earned wherever a quote is moved to
    ]
)

QUOTE = _row(
    [
        ("now_ns", "i8"),
        ("fair_micros", "i8"),
        ("uncertainty_micros", "i8"),
        # Spread terms in order of application: each is the spread after that step.
        ("spread_base_micros", "i8"),
        ("spread_liquidity_micros", "i8"),
        ("spread_volatility_micros", "i8"),
        ("spread_time_micros", "i8"),
        ("spread_inventory_micros", "i8"),
        ("spread_markout_micros", "i8"),
        ("spread_news_micros", "i8"),
        ("spread_micros", "i8"),  # after the clamp
        ("skew_micros", "i8"),
        ("unskewed_bid_micros", "i8"),
        ("unskewed_ask_micros", "i8"),
        ("skewed_bid_micros", "i8"),
        ("skewed_ask_micros", "i8"),
        ("net_contracts", "i8"),  # from target
        ("liquidity_micros", "i8"),
        ("volatility_micros", "i8"),
        ("existing_spread_micros", "i8"),  # -1: none
        ("resolution_left_ns", "i8"),  # -1: unknown
        # Liquidity rewards; all 0 where they were not reckoned with. Money is expected, an hour.
        ("rewards", "i8"),  # REWARDS_* that made the quote
        ("reward_mid_micros", "i8"),
        ("reward_others", "i8"),  # the most that the makers of what else rests can score, micro-contracts
        ("reward_bid_score", "i8"),  # of the sides as they are wished, before heat and cash
        ("reward_ask_score", "i8"),
        ("reward_micros", "i8"),
        ("reward_edge_micros", "i8"),  # of fills
        ("unmoved_reward_micros", "i8"),  # both for the quote as it would be without rewards
        ("unmoved_edge_micros", "i8"),
        ("reward_bid_price", "i8"),  # innermost level that rewards ask for; 0: not moved
        ("reward_ask_price", "i8"),
        ("reward_bid_size", "i8"),  # size that scores, wished for the innermost level; 0: not raised
        ("reward_ask_size", "i8"),
        ("reasons", "i8"),  # bits R_*
        ("state", "i1"),
        ("exit", "i1"),  # the ask (long) or bid (short) below is a forced exit
        ("bid_tif", "i1"),
        ("ask_tif", "i1"),
        ("levels", "i4"),
        ("bid_price", "i4", (MAX_LEVELS,)),  # -1: not quoted
        ("ask_price", "i4", (MAX_LEVELS,)),
        ("bid_size", "i8", (MAX_LEVELS,)),
        ("ask_size", "i8", (MAX_LEVELS,)),
    ]
)

ORDER = _row(
    [
        ("id", "i8"),
        ("sent_ns", "i8"),
        ("expiry_ns", "i8"),  # 0: none
        ("remaining", "i8"),
        ("qty", "i8"),  # size last asked of the exchange
        ("price", "i4"),
        ("side", "i1"),
        ("state", "i1"),
        ("tif", "i1"),
        ("leg", "i1"),
    ]
)

# The same order as the exchange sees it; slot for slot the same place as in ORDER.
EXCHANGE_ORDER = _row(
    [
        ("id", "i8"),
        ("expiry_ns", "i8"),
        ("qty", "i8"),
        ("remaining", "i8"),
        ("front", "i8"),  # micro-contracts ahead of us in the queue
        ("traded", "i8"),  # traded at our level since its last size change
        ("fee_accumulator_micros", "i8"),  # Kalshi: rounding fees not yet given back
        ("seq", "i8"),  # order of arrival at the exchange
        ("price", "i4"),
        ("level", "i4"),
        ("side", "i1"),
        ("active", "i1"),
        ("leg", "i1"),
    ]
)

MESSAGE = _row(
    [
        ("at_ns", "i8"),  # arrival
        ("id", "i8"),
        ("qty", "i8"),
        ("expiry_ns", "i8"),
        ("fee_micros", "i8"),
        ("rebate_micros", "i8"),
        ("price", "i4"),
        ("market", "i4"),
        ("slot", "i4"),
        ("kind", "i1"),
        ("side", "i1"),
        ("tif", "i1"),
        ("leg", "i1"),
        ("why", "i1"),
        ("maker", "i1"),
    ]
)

FEE = _row(
    [
        ("kind", "i4"),
        ("taker_ppm", "i8"),  # rate x multiplier
        ("maker_ppm", "i8"),
        ("rebate_ppm", "i8"),  # share of the taker fee that comes back to the maker
        ("trade_unit_micros", "i8"),  # Kalshi: the model fee is rounded up to this
        ("unit_micros", "i8"),  # Kalshi: precision of the account's balance
        ("rebate_unit_micros", "i8"),  # Kalshi: an order gets rounding fees back in multiples of this
    ]
)

FILL = _row(
    [
        ("exch_ns", "i8"),
        ("order_id", "i8"),
        ("qty", "i8"),
        ("cash_micros", "i8"),  # without fees, in YES terms: a bid pays, an ask receives
        ("fee_micros", "i8"),
        ("rebate_micros", "i8"),
        ("mid_micros", "i8"),  # exchange mid just before; -1: one-sided book
        ("after_micros", "i8", (len(MARKOUT_HORIZONS_NS),)),  # mid a horizon later; -1: not reached
        ("fair_micros", "i8"),  # fair value of the decision that stood; -1: none
        ("net_contracts", "i8"),  # position after, micro-contracts
        ("price", "i4"),
        ("market", "i4"),
        ("side", "i1"),  # BID: we bought YES terms
        ("maker", "i1"),
    ]
)

CURVE = _row(
    [
        ("exch_ns", "i8"),
        ("equity_micros", "i8"),  # cash plus marked positions
        ("cash_micros", "i8"),
    ]
)

# One row a market, filled by the replay.
MARKET_STATS = _row(
    [
        ("events", "i8"),
        ("decisions", "i8"),
        ("orders", "i8"),
        ("cancels", "i8"),
        ("rejects", "i8"),
        ("fills", "i8"),
        ("orders_filled", "i8"),  # orders with at least one fill
        ("contracts_filled", "i8"),
        ("forced_exits", "i8"),
        ("exit_alerts", "i8"),
        ("volume_pauses", "i8"),
        ("max_inventory", "i8"),  # largest |net|, micro-contracts
        ("quotable_ns", "i8"),  # time with a two-sided book in an active market
        ("two_sided_ns", "i8"),  # of that, time with a live bid and a live ask of ours
        ("quoted_spread_sum", "f8"),  # our ask - bid in micros x ns two-sided
        ("rebalancing_ns", "i8"),
        ("skew_sum", "f8"),  # |net| x ns
        ("observed_ns", "i8"),
        ("settled", "i1"),  # 1: paid at a value, 2: cost refunded
        ("settle_value_micros", "i8"),  # -1: not settled
        ("mark_micros", "i8"),  # last mid; -1: never two-sided
        ("mark_before_settle_micros", "i8"),
        ("traded_contracts", "i8"),  # tape volume
        ("inferred_contracts", "i8"),
        ("reason_counts", "i8", (len(REASON_NAMES),)),  # decisions that carried each reason
    ]
)

ACCOUNT = _row(
    [
        ("cash_micros", "i8"),  # at the exchange
        ("local_cash_micros", "i8"),  # as far as we know
        ("reserved_micros", "i8"),  # locked by own resting orders (exchange view)
        ("value_micros", "i8"),  # positions at fair value, as far as we know
        ("locked_micros", "i8"),  # cash that own orders lock, as far as we know
        ("day_start_equity_micros", "i8"),
        ("day_end_ns", "i8"),
        ("killed", "i1"),  # daily loss limit hit
        ("kills", "i8"),
        ("heat_micros", "i8"),  # worst-case loss of all markets, over the outcomes of each event
        ("max_heat_micros", "i8"),
        ("order_tokens", "f8"),  # of the exchange's rate limit
        ("order_tokens_ns", "i8"),
        ("own_tokens", "f8"),  # of our own rate limit
        ("own_tokens_ns", "i8"),
        ("next_order_id", "i8"),
        ("error", "i4"),  # a bounded buffer overflowed: see replay.ERRORS
    ]
)

# What holds for a whole replay.
RULES = _row(
    [
        ("queue", "i4"),
        ("queue_power", "f8"),
        ("entry_ns", "i8"),  # order and cancel: us to exchange
        ("response_ns", "i8"),  # exchange to us
        ("order_rate", "f8"),  # orders a second the exchange accepts; 0: no limit
        ("order_burst", "f8"),
        ("max_order_rate", "f8"),  # orders a second that we send at most; 0: no limit
        ("max_heat_ppm", "i8"),
        ("daily_loss_limit_micros", "i8"),
        ("rearm_daily", "i1"),
        ("day_offset_ns", "i8"),  # start of the venue's trading day, UTC
        ("curve_interval_ns", "i8"),
        ("merge_threshold", "i8"),  # micro-contracts of pairs that are merged back to cash
        ("max_markets", "i8"),  # places: markets quoted at once; 0: no limit
        ("rotation_interval_ns", "i8"),
        ("rotation_advantage_ppm", "i8"),  # by how much a challenger must score more
        ("selection_memory_ns", "i8"),  # statistics are halved when they span this; 0: never
    ]
)

# What the exchange holds for us in a market.
HOLDING = _row(
    [
        ("yes_contracts", "i8"),
        ("no_contracts", "i8"),
        ("cost_micros", "i8"),  # paid less received, fees apart
        ("live_orders", "i4"),
        ("live_bids", "i4"),
        ("live_asks", "i4"),
        ("taken", "i4"),  # 1: `consumed` holds something for this market
        ("own_bid_price", "i4"),  # best of our resting bids; NO_BID
        ("own_ask_price", "i4"),  # best of our resting asks; NO_ASK
        ("reserved_micros", "i8"),
        ("since_ns", "i8"),  # quote statistics are integrated up to here; 0: not started
    ]
)

# Cursors of a replay, so that it can stop and go on.
CLOCK = _row(
    [
        ("started", "i1"),
        ("done", "i1"),
        ("clocked", "i1"),  # no market is decided on events, only at fixed intervals
        ("now_ns", "i8"),
        ("exchange_event", "i8"),  # next tape event at the exchange
        ("local_event", "i8"),  # next tape event for us
        ("outbox_head", "i8"),
        ("outbox_tail", "i8"),
        ("inbox_head", "i8"),
        ("inbox_tail", "i8"),
        ("selecting", "i1"),  # more markets than places: statistics of each are kept
        ("next_selection_ns", "i8"),  # next sample of all markets
        ("next_rotation_ns", "i8"),  # next ranking of all markets; 0: not set
        ("next_expiry_ns", "i8"),  # no order expires earlier
        ("next_curve_ns", "i8"),
        ("fill_count", "i8"),
        ("curve_count", "i8"),
        ("decisions", "i8"),
        ("changed_count", "i8"),
        ("arrivals", "i8"),  # orders that reached the exchange
        ("markout_cursor", "i8", (len(MARKOUT_HORIZONS_NS),)),
        ("next_markout_ns", "i8"),
    ]
)

Array = npt.NDArray[np.record]
Row = Any  # one np.record: its fields are above, out of mypy's sight
