"""The 80 faults to survive: which knob of the simulated world injects each, and which are tested elsewhere.

Those from 101 on befall only accounts at the model of Kalshi, those from 201 on at that of Polymarket.

`most` is the probability of a knob's fault at full intensity: for each opportunity (a request, a message, a
fill), or for each virtual second where the fault is a thing that befalls the world.
"""

from __future__ import annotations

from typing import NamedTuple


class Knob(NamedTuple):
    """One source of faults and the rows of the catalogue that it stands for."""

    rows: tuple[int, ...]
    most: float
    what: str


KNOBS: dict[str, Knob] = {
    # A. submit and cancel: for each request
    "place_lost": Knob((1,), 0.06, "a new order is lost on its way to the venue"),
    "place_answer_lost": Knob((2,), 0.06, "the answer to a new order is lost"),
    "place_late": Knob((3,), 0.05, "a new order reaches the venue after our time-out"),
    "place_expired": Knob((4,), 0.03, "a new order reaches the venue after its expiry"),
    "answer_late": Knob((5,), 0.05, "an answer arrives long after the order was seen elsewhere"),
    "server_error": Knob((6,), 0.05, "the venue carries a request out and answers with a server error"),
    "refused": Knob((7,), 0.06, "the venue refuses an order for a known reason"),
    "refused_strangely": Knob((8,), 0.03, "the venue refuses with a code that nobody knows"),
    "request_twice": Knob((9,), 0.05, "a request reaches the venue twice"),
    "batch_leg_blank": Knob((10,), 0.10, "one leg of a batch is answered with nothing"),
    "batch_failed": Knob((11,), 0.05, "a whole batch is answered with an error after it took effect"),
    "cancel_lost": Knob((12,), 0.08, "a cancel or its answer is lost"),
    "cancel_raced": Knob((13,), 0.15, "an order fills at the instant at which its cancel arrives"),
    "cancel_not_done": Knob((14,), 0.06, "the venue answers a cancel but leaves the order"),
    "amend_half": Knob((15,), 0.20, "a reduction or renewal takes effect but its answer is lost"),
    "list_old_half": Knob((16,), 0.20, "a list of orders was taken before the last changes"),
    "churn": Knob((17,), 0.08, "the touch jumps back and forth for seconds"),
    "cancel_lie": Knob((18,), 0.03, "an order is answered cancelled without its fills"),
    # B. fills and settlement: for each fill
    "fill_first": Knob((19,), 0.10, "a fill overtakes the answer to its order"),
    "fill_twice": Knob((20,), 0.15, "a fill is pushed twice"),
    "fill_both_routes": Knob((21,), 0.10, "a fill is read over REST before the stream delivers it"),
    "fill_conflict": Knob((22,), 0.03, "a fill is repeated with another price or size"),
    "fill_shuffled": Knob((23,), 0.20, "fills arrive out of order"),
    "fill_late": Knob((24,), 0.08, "a fill arrives seconds or minutes late"),
    "overfill": Knob((25,), 0.02, "the venue fills more than was ordered"),
    "foreign_fill": Knob((26,), 0.02, "a fill of an order that we never placed"),
    "void": Knob((27,), 0.15, "a provisional fill fails after seconds"),
    "void_alone": Knob((28,), 0.30, "a failure is told but not the fill that failed"),
    "final_late": Knob((29,), 0.15, "a fill stays provisional for long"),
    "final_conflict": Knob((30,), 0.03, "a final fill is said to have failed"),
    "ghost": Knob((31,), 0.02, "an order is reported filled without any trade"),
    "void_storm": Knob((32,), 0.01, "a third of all fills fails for a while"),
    "fee_noise": Knob((33,), 0.10, "a fee differs from the schedule"),
    "settle": Knob((34,), 0.025, "a market settles; some are amended or refunded"),
    "settle_unknown": Knob((35,), 0.010, "a market settles while an order's fate is unknown"),
    "past_end": Knob((36,), 0.50, "a market trades on past its end date"),
    # C. market data: for each message, or each second
    "sequence": Knob((38,), 0.01, "a book message is lost, repeated or comes again from the past"),
    "snapshot_old": Knob((39,), 0.30, "a snapshot is older than changes that came before it"),
    "mute": Knob((40,), 0.02, "the connection stays up but carries nothing"),
    "slow": Knob((41,), 0.02, "messages come later and later"),
    "mute_market": Knob((42,), 0.02, "one subscription of many stops"),
    "book_nonsense": Knob((43,), 0.01, "a book message is crossed, negative or absurd"),
    "malformed": Knob((45,), 0.02, "messages that nobody can decode"),
    "tick": Knob((46,), 0.015, "the tick size changes while quotes rest"),
    "own_echo": Knob((47,), 1.0, "the feed shows our own orders"),
    "trade_noise": Knob((50,), 0.10, "trade prints are lost, doubled or turned round"),
    # D. venue state: for each second
    "pause": Knob((51,), 0.03, "trading of a market or the whole exchange pauses"),
    "reactivation": Knob((52,), 0.02, "a pause ends and the venue has wiped our orders without a word"),
    "restart": Knob((53,), 0.015, "the venue's engine restarts, then takes post-only orders"),
    "limited": Knob((54,), 0.03, "the venue's rate limiter refuses for seconds"),
    "unauthorized": Knob((55,), 0.010, "the venue refuses our credentials for seconds"),
    "wipe": Knob((56,), 0.015, "a missed heartbeat: the venue cancels everything"),
    "group": Knob((57,), 0.010, "a venue-side limit cancels everything and refuses new orders"),
    "money_moved": Knob((58,), 0.02, "a person moves money out or in"),
    "list_lag": Knob((59,), 0.15, "a list lags seconds behind"),
    "rollback": Knob((60,), 0.015, "an accepted order disappears"),
    "outage": Knob((61,), 0.010, "the venue cannot be reached at all"),
    # E. process, host, storage
    "crash": Knob((62, 63), 0.03, "the process or the machine dies"),
    "disk_full": Knob((64,), 0.010, "the disk is full"),
    "disk_error": Knob((65,), 0.008, "a write to the journal fails"),
    "disk_slow": Knob((66,), 0.03, "the journal takes seconds"),
    "sleep": Knob((68,), 0.015, "the process sleeps"),
    "clock": Knob((69,), 1.0, "the wall clock is wrong"),
    "stall": Knob((70,), 0.04, "the event loop is blocked"),
    "crash_again": Knob((73,), 0.50, "the process dies again while it recovers"),
    # F. risk, policy, people
    "absurd": Knob((76,), 0.05, "the policy asks for an absurd order"),
    "fair_jump": Knob((77,), 0.02, "fair value jumps by 40 cents"),
    "loss": Knob((78,), 0.02, "the market runs against the position"),
    "people": Knob((80,), 0.05, "a person halts, resumes, flattens, pauses, cancels or trades by hand"),
    # ordinary rough weather, without a row of its own
    "jitter": Knob((), 0.30, "latency varies"),
    "partition_user": Knob((), 0.02, "the stream of our own orders is cut"),
    "partition_market": Knob((), 0.02, "the stream of books is cut"),
    "read_failed": Knob((), 0.10, "a read gets no answer"),
    "informed": Knob((), 0.30, "somebody knows better and hits stale quotes"),
    "copycat": Knob((), 0.10, "another maker copies our quotes"),
}

KALSHI_KNOBS: dict[str, Knob] = {
    "sweep": Knob((101,), 0.03, "a sweep fires an order group: its orders go, new ones are refused"),
    "shard_poor": Knob((102,), 0.02, "a shard's balance does not cover an order"),
    "shard_down": Knob((103,), 0.015, "one shard does not trade"),
    "shard_unknown": Knob((104,), 0.010, "the account is not known on a shard"),
    "close_moved": Knob((105, 106), 0.02, "a close time moves, and the market closes by the clock alone"),
    "cross_accepted": Knob((107,), 1.0, "a post-only order that crosses is accepted and cancelled at once"),
    "conflict": Knob((108,), 0.05, "an order is repeated on its way and answered 409 already exists"),
    "renamed": Knob((109,), 0.30, "an amendment gives the order another id"),
    "private_twice": Knob((110,), 0.15, "a message about an order or a fill comes twice"),
    "maintenance": Knob((111,), 0.30, "an announced maintenance window: the exchange is closed"),
    "dispute": Knob((112,), 0.50, "a result is disputed and amended before it pays, without a notice"),
    "pause_cancels": Knob((113,), 1.0, "a pause cancels what rests, told or not"),
}

POLYMARKET_KNOBS: dict[str, Knob] = {
    "duplicated": Knob((201,), 0.05, "an order is repeated on its way and answered Duplicated"),
    "beat_stranger": Knob((202,), 0.03, "somebody else beats with our API key"),
    "beats_lost": Knob((204,), 0.02, "heartbeats get lost until the venue cancels everything"),
    "sale_unsettled": Knob((205,), 0.50, "tokens that are not on the chain yet can't be sold"),
    "retrying": Knob((206,), 0.35, "a trade is sent to the chain a second time"),
    "dispute_uma": Knob((207,), 0.50, "an outcome is proposed and disputed before a market is resolved"),
    "user_mute": Knob((208,), 0.015, "the account's channel stays up but carries nothing"),
    "book_cleared": Knob((209,), 0.02, "a game starts: the venue takes every order out of the book"),
    "unsupported": Knob((210,), 0.02, "an order is cancelled because nothing covers it"),
    "operation_failed": Knob((212,), 0.50, "a merge fails on the chain"),
    "operation_busy": Knob((213,), 0.30, "the relayer takes no merge"),
    "operation_lost": Knob((216,), 0.50, "the answer to a merge is lost, carried out or not"),
    "failure_untold": Knob((211,), 0.30, "a trade fails and only the list of trades says so"),
}

ALL_KNOBS: dict[str, Knob] = KNOBS | KALSHI_KNOBS | POLYMARKET_KNOBS

LEFT_OUT: dict[int, str] = {
    37: "merging is an action of the chain: the Polymarket adapter's",
    44: "bytes to numbers: the decoders' property and fuzz tests",
    48: "NO prices are turned round in the decoders: their mirror tests",
    49: "quotes across two venues are no part of this engine",
    67: "corrupt or foreign files: the journal's tests",
    71: "memory, handles, DNS, TLS: the process tests",
    72: "two processes: the lease's tests",
    74: "versions of the journal: its own tests",
    75: "a task that dies: the shell's tests",
    79: "settings: the tests of the configuration",
}

ROWS: tuple[int, ...] = tuple(row for row in range(1, 81) if row not in LEFT_OUT)

KALSHI_ROWS: tuple[int, ...] = tuple(row for knob in KALSHI_KNOBS.values() for row in knob.rows)

POLYMARKET_ROWS: tuple[int, ...] = tuple(row for knob in POLYMARKET_KNOBS.values() for row in knob.rows)

ROW_NAMES: dict[int, str] = {row: knob.what for knob in ALL_KNOBS.values() for row in knob.rows} | {
    106: "a market closes by the clock alone while orders rest",
    63: "power is lost: the unsynced tail of the journal is gone, torn or full of holes",
}
