"""The rules between engine, journal and wire, held over random stories."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.trader import Trader

NO_ROWS = np.zeros(0, d.EVENT)
LISTED = e.Listed(
    market=0, venue="kalshi", ticker="T", event_id="E", exclusive=False, title="t", grids=(), min_size=1,
    lot=1, fee_kind="none", nets_positions=True, reduce_in_place=True,
)  # fmt: skip


class ScriptedEngine:
    """Answers each step with the next commands of a script and remembers what it was told."""

    def __init__(self) -> None:
        self.early: tuple[c.Action, ...] = ()  # of a timer before the instant
        self.commands: tuple[c.Action, ...] = ()
        self.inputs: list[e.Control] = []
        self.number = 0

    def advance(self, now_ns: int, data: d.Array, events: Sequence[e.Control]) -> tuple[Step, ...]:
        self.inputs += events
        steps = []
        for commands, inputs in ((self.early, ()), (self.commands, tuple(events))):
            if commands or inputs:
                self.number += 1
                steps.append(Step(number=self.number, now_ns=now_ns, inputs=inputs, commands=commands))
        self.early = self.commands = ()
        return tuple(steps)


class Story:
    """A trader whose wire is a list."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.trader = Trader(self.engine)
        self.wire: list[c.Action] = []
        self.steps: list[Step] = []
        self.now_ns = 0

    def step(self, *commands: c.Action, events: Sequence[e.Control] = ()) -> None:
        self.now_ns += 1
        self.engine.commands = commands
        outcome = self.trader.step(self.now_ns, NO_ROWS, events)
        self.wire += outcome.urgent
        self.steps += outcome.steps

    def durable(self) -> None:
        if self.steps:
            self.wire += self.trader.durable(self.steps[-1].number)

    def told(self, kind: type) -> list[e.Control]:
        return [event for event in self.engine.inputs if isinstance(event, kind)]


def place(order_id: int, market: int = 0) -> c.Place:
    return c.Place(order_id=order_id, market=market, side=d.BID, price=5000, size=1_000_000, tif=d.POST_ONLY)


def cancel(order_id: int) -> c.Cancel:
    return c.Cancel(order_id=order_id, market=0)


def test_a_place_waits_for_the_journal_and_a_cancel_does_not():
    story = Story()
    story.step(place(1), cancel(7), c.ReadOrders(venue="kalshi"))
    assert story.wire == [cancel(7), c.ReadOrders(venue="kalshi")]
    story.durable()
    assert story.wire[2:] == [place(1)]
    story.durable()
    assert len(story.wire) == 3


def test_only_what_is_durable_leaves():
    story = Story()
    story.step(place(1))
    story.step(place(2))
    assert story.trader.durable(1) == (place(1),)
    assert story.trader.durable(2) == (place(2),)
    with pytest.raises(AssertionError, match="was never made"):
        story.trader.durable(3)


def test_a_cancel_takes_back_what_waits_and_neither_leaves():
    story = Story()
    story.step(place(1), place(2))
    story.step(cancel(1))
    story.durable()
    assert story.wire == [place(2)]
    story.step()
    assert story.told(e.NotSent) == [e.NotSent(order_id=1, why="cancelled")]


def test_a_change_that_waits_is_refused_when_its_order_is_cancelled():
    story = Story()
    story.step(
        c.Reduce(order_id=1, market=0, remaining=5), c.Renew(order_id=1, market=0, expiry_ns=9), cancel(1)
    )
    assert story.wire == [cancel(1)]  # the order rests: its cancel must leave
    story.durable()
    story.step()
    assert [(event.request, event.why) for event in story.told(e.RequestRefused)] == [
        ("reduce", "not_sent"),
        ("renew", "not_sent"),
    ]
    assert story.wire == [cancel(1)]


@pytest.mark.parametrize("last", [c.CancelAll(venue="kalshi", why="halt"), c.SetLatch(reason="r", text="t")])
def test_the_big_words_take_back_everything_that_waits(last):
    story = Story()
    story.step(place(1))
    story.step(place(2), last)
    story.durable()
    assert story.wire == [last]
    story.step()
    assert [event.order_id for event in story.told(e.NotSent)] == [1, 2]


def test_the_latch_is_set_before_anything_else_is_sent():
    story = Story()
    story.step(cancel(1), c.CancelAll(venue="kalshi", why="x"), c.SetLatch(reason="r", text="t"))
    assert [type(action) for action in story.wire] == [c.SetLatch, c.Cancel, c.CancelAll]


def test_what_a_timer_wanted_before_the_instant_is_held_to_the_same_rules():
    story = Story()
    story.engine.early = (place(1), cancel(9))
    story.step(c.SetLatch(reason="r", text="t"), place(2))
    assert [step.number for step in story.steps] == [1, 2]
    assert story.wire == [c.SetLatch(reason="r", text="t"), cancel(9)]
    story.durable()
    story.step()
    assert len(story.wire) == 2 and [event.order_id for event in story.told(e.NotSent)] == [1, 2]


def test_no_order_leaves_under_the_latch_until_a_person_clears_it():
    story = Story()
    story.step(events=[e.Latched(reason="loss", text="")])
    story.step(place(1))
    story.durable()
    assert story.wire == []
    clear = c.ClearLatch(who="me", reason="checked")
    story.step(clear, place(2))
    story.durable()
    story.step(place(3))
    story.durable()
    assert story.wire == [clear, place(2), place(3)]
    assert [event.order_id for event in story.told(e.NotSent)] == [1]


def test_a_latch_set_before_its_clearing_was_durable_stays():
    story = Story()
    story.step(c.SetLatch(reason="r", text=""))
    story.step(c.ClearLatch(who="me", reason="ok"))
    story.step(c.SetLatch(reason="again", text=""))
    story.durable()
    story.step(place(1))
    story.durable()
    assert [type(action) for action in story.wire] == [c.SetLatch, c.SetLatch]


def test_a_person_may_flatten_under_the_latch():
    story = Story()
    flatten = e.Flatten(command_id="1", who="me", market=-1, max_slippage_micros=0)
    story.step(c.SetLatch(reason="r", text=""))
    story.step(c.Answer(command_id="1", ok=True, text="selling"), place(1), events=[flatten])
    story.durable()
    assert story.wire[-1] == place(1)


def test_a_flatten_that_the_engine_refused_opens_nothing():
    story = Story()
    flatten = e.Flatten(command_id="1", who="me", market=99, max_slippage_micros=0)
    story.step(c.SetLatch(reason="r", text=""))
    story.step(c.Answer(command_id="1", ok=False, text="no such market"), place(1), events=[flatten])
    story.durable()
    assert place(1) not in story.wire


def test_after_a_full_disk_only_cancels_leave():
    story = Story()
    story.step(place(1), c.Reduce(order_id=9, market=0, remaining=5))
    assert story.trader.failed("no room", "full") == ()
    kept = len(story.steps)
    story.step(place(2), cancel(3), c.Exit(code=1, why="no room"))
    assert story.wire == [cancel(3), c.Exit(code=1, why="no room")]
    assert isinstance(story.engine.inputs[0], e.LogFailed)
    assert [event.order_id for event in story.told(e.RequestRefused)] == [9]
    story.step()
    assert [event.order_id for event in story.told(e.NotSent)] == [1, 2]
    assert len(story.steps) == kept, "no step may be journaled after a failure"
    assert story.trader.failed("again", "io") == ()


def test_after_a_failed_sync_everything_is_cancelled_and_the_process_ends():
    story = Story()
    story.step(place(1), events=[LISTED])
    actions = story.trader.failed("EIO", "io")
    assert actions == (c.CancelAll(venue="kalshi", why="log_failed"), c.Exit(code=1, why="EIO"))
    assert story.trader.waiting == ()


def operate(name: str = "7:1") -> c.Operate:
    return c.Operate(market=0, operation="merge", size=1_000_000, name=name)


def test_an_operation_waits_for_the_journal_and_its_preparation_does_not():
    story = Story()
    prepare = c.PrepareOperation(market=0, operation="merge", size=1_000_000)
    story.step(operate(), prepare)
    assert story.wire == [prepare]
    story.durable()
    assert story.wire == [prepare, operate()]


@pytest.mark.parametrize("last", ["cancel all", "latch", "full", "io"])
def test_an_operation_that_never_left_is_told_to_have_ended(last):
    story = Story()
    story.step(operate(), events=[LISTED])
    if last == "cancel all":
        story.step(c.CancelAll(venue="kalshi", why="x"))
    elif last == "latch":
        story.step(c.SetLatch(reason="x", text="x"))
    else:
        story.trader.failed("no room", last)
    story.step()
    (ended,) = story.told(e.OperationEnded)
    assert (ended.name, ended.operation, ended.done) == ("7:1", "merge", False) and ended.why
    story.durable()
    assert operate() not in story.wire


def test_an_exit_waits_for_the_journal():
    story = Story()
    story.step(c.Exit(code=3, why="loss"))
    assert story.wire == []
    story.step(c.CancelAll(venue="kalshi", why="x"))
    story.durable()
    assert story.wire[-1] == c.Exit(code=3, why="loss")


def test_an_instant_without_anything_leaves_no_trace():
    story = Story()
    outcome = story.trader.step(5, NO_ROWS, ())
    assert outcome.steps == () and outcome.urgent == ()


ORDERS = st.integers(1, 6)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.just(0)),
        st.tuples(st.sampled_from(["cancel", "reduce", "renew"]), ORDERS),
        st.tuples(
            st.sampled_from(["durable", "partly", "cancel_all", "latch", "clear", "full", "io"]), st.just(0)
        ),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(MOVES)
def test_rules_of_the_wire_hold_in_any_story(moves):
    story = Story()
    durable, placed, cancelled_at, failed_at = 0, 0, {}, None
    left_after: list[tuple[c.Action, int]] = []  # what left, with the last durable step at that time

    def note() -> None:
        left_after.extend((action, durable) for action in story.wire[len(left_after) :])

    for move, order_id in moves:
        if move == "place":
            placed += 1
            story.step(place(placed))
        elif move == "cancel":
            cancelled_at.setdefault(order_id, len(story.wire))
            story.step(cancel(order_id))
        elif move == "reduce":
            story.step(c.Reduce(order_id=order_id, market=0, remaining=1))
        elif move == "renew":
            story.step(c.Renew(order_id=order_id, market=0, expiry_ns=1))
        elif move == "cancel_all":
            story.step(c.CancelAll(venue="kalshi", why="x"))
        elif move == "latch":
            story.step(c.SetLatch(reason="r", text=""))
        elif move == "clear":
            story.step(c.ClearLatch(who="me", reason="ok"))
        elif move in ("full", "io"):
            story.wire += story.trader.failed("x", move)
            failed_at = len(story.wire) if failed_at is None else failed_at
        elif failed_at is None and story.steps:
            durable = (
                story.steps[-1].number if move == "durable" else max(durable, story.steps[-1].number - 1)
            )
            story.wire += story.trader.durable(durable)
        note()
    intents = {a.order_id: s.number for s in story.steps for a in s.commands if isinstance(a, c.Place)}
    for action, known in left_after:
        if isinstance(action, c.Place):
            assert intents[action.order_id] <= known, "left before it was durable"
    sent = [action.order_id for action in story.wire if isinstance(action, c.Place)]
    assert len(sent) == len(set(sent)) and sent == sorted(sent)
    for order_id, seen in cancelled_at.items():
        later = [a for a in story.wire[seen:] if isinstance(a, c.Place) and a.order_id == order_id]
        if order_id <= placed and later:
            first_cancel = next(s.number for s in story.steps for a in s.commands if a == cancel(order_id))
            assert first_cancel < intents[order_id], "a cancelled order left"
    if failed_at is not None:
        assert not [
            a for a in story.wire[failed_at:] if isinstance(a, c.Place | c.Reduce | c.Renew | c.ClearLatch)
        ]
    waiting = [a.order_id for a in story.trader.waiting if isinstance(a, c.Place)]
    story.step()
    unsent = [event.order_id for event in story.told(e.NotSent)]
    assert sorted(sent + waiting + unsent) == list(range(1, placed + 1)), "an order without a fate"


def test_crash_points_stand_before_and_after_the_step_and_before_the_wire():
    passed: list[str] = []
    engine = ScriptedEngine()
    trader = Trader(engine, crash_point=passed.append)
    engine.commands = (place(1),)
    trader.step(1, NO_ROWS, ())
    trader.durable(1)
    assert passed == ["trader.before_step", "trader.after_step", "trader.durable"]
