"""The dead man's switch: while our heartbeats come, orders stand; ten seconds without one end them all.

It begins with the first heartbeat and can't be switched off: whoever stops beating cancels everything. Each
answer names the id of the next one, so two processes with one API key can't both beat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.orders import Answer, PolymarketOrders
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.session import Clock

BEAT_NS: Final = 4 * NS_PER_SECOND
AGAIN_NS: Final = NS_PER_SECOND // 2  # after one without an answer
ALLOWED_NS: Final = 10 * NS_PER_SECOND  # without one the venue cancels everything
WRONG_IDS: Final = 3  # in a row: somebody else beats with this key


class Heartbeats:
    """Beats for ever.

    Attributes:
        beats: heartbeats that counted.
        lost: how often none counted for so long that the venue cancels everything.
        strangers: how often somebody else's heartbeats came between ours.
    """

    def __init__(
        self, requests: PolymarketOrders, clock: Clock, on_lost: Callable[[str], None],
        on_answer: Callable[[Answer], None],
    ) -> None:  # fmt: skip
        """`on_lost` hears when our orders must count as cancelled, once an episode."""
        self.beats = self.lost = self.strangers = 0
        self._requests = requests
        self._clock = clock
        self._on_lost = on_lost
        self._on_answer = on_answer
        self._id = ""
        self._last_ns = 0
        self._wrong = 0
        self._told = False

    async def run(self) -> None:
        """Beat until cancelled."""
        self._last_ns = self._clock.now_ns()
        while True:
            await self._clock.sleep(BEAT_NS if await self.beat() else AGAIN_NS)

    async def beat(self) -> bool:
        """One heartbeat, with the id that the venue wants; whether it counted."""
        sent_ns = self._clock.now_ns()
        answer = await self._requests.heartbeat(self._id)
        if answer.outcome.verdict is Verdict.REFUSED and answer.body is not None:
            self._wrong += self._id != ""
            self._id = answer.body.heartbeat_id
            answer = await self._requests.heartbeat(self._id)
        self._on_answer(answer)
        counted = answer.outcome.verdict is Verdict.ACCEPTED and answer.body is not None
        if counted:
            self._id = answer.body.heartbeat_id
            self._counted(sent_ns)
        elif self._clock.now_ns() - self._last_ns > ALLOWED_NS and not self._told:
            self._told = True
            self.lost += 1
            self._on_lost("no heartbeat counted for ten seconds: the venue cancels everything")
        return counted

    def _counted(self, sent_ns: int) -> None:
        late = sent_ns - self._last_ns > ALLOWED_NS
        if late and self.beats and not self._told:
            self.lost += 1
            self._on_lost("a heartbeat came too late: the venue has cancelled everything")
        self._told = False
        self._last_ns = sent_ns
        self.beats += 1
        if self._wrong >= WRONG_IDS:
            self._wrong = 0
            self.strangers += 1
