"""The way to Polymarket: bytes to decision, a new order to its signed bytes, and pacing in the lowest tier.

1. `decision`: recorded messages through decoder, book, fair value, quote and diff, as in tick_to_quote.py.
2. `order`: from the engine's command to the signed body of its request and the request's own signature, for
   an EOA, a deposit wallet, and a session key of a deposit wallet.
3. `pacing`: 20 requotes a second of both sides (two new orders, and the cancels of the two before) against
   the stand-in in the Standard tier (40 orders and 80 cancels a second). What the budget does not allow is
   not sent; `rate_limited` counts answers of 429.

The last line printed is one JSON object, times in microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from kalshi import CONTRACT, Ear, WallClock, child, said
from pr3dict.domain import commands as c
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.shell import in_loop
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import Hosts, PolymarketHttp
from pr3dict.venues.polymarket.markets import Life, life_of, listed
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.requests import Requests, Terms
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind
from recorded_messages import polymarket_feed
from tick_to_quote import WARM_SHARE, measure_polymarket, percentiles, summary

ROOT = Path(__file__).resolve().parent.parent
KEY = "11" * 32  # the stand-in's wallet
WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
YES = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
NO = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
TERMS = Terms("0x" + "ab" * 32, YES, NO, 100, neg_risk=False)
WARM = 200  # orders that are not measured
REQUOTES_A_SECOND = 20


def place(number: int, side: int, price: int) -> c.Place:
    """A new order of ten contracts."""
    return c.Place(order_id=number, market=0, side=side, price=price, size=10 * CONTRACT, tif=d.POST_ONLY)


# --- a command to signed bytes ------------------------------------------------------------------------


def measure_orders(orders: int) -> dict[str, Any]:
    """Microseconds from the command to the signed request, for each kind of wallet."""
    wallets = {
        "eoa": WalletKey(KEY),
        "deposit_wallet": WalletKey(KEY, WalletKind.DEPOSIT, WALLET),
        "session_key": WalletKey(KEY, WalletKind.DEPOSIT, WALLET, session=True),
    }
    return {"orders": orders, **{name: _build(signer, orders) for name, signer in wallets.items()}}


def _build(signer: WalletKey, orders: int) -> dict[str, float]:
    key = ApiKey(signer.address, "00000000-1111-2222-3333-444444444444", "c2VjcmV0c2VjcmV0", "passphrase")
    requests = Requests(signer, key.key, lambda _: TERMS, "bench")
    spent = np.zeros(WARM + orders, np.int64)
    for k in range(len(spent)):
        order = place(k + 1, BID if k % 2 else ASK, 100 + 100 * (k % 98))
        began = time.perf_counter_ns()
        body = requests.create(order, time.time_ns()).body()
        key.headers(time.time_ns() // 10**9, "POST", "/order", body)
        spent[k] = time.perf_counter_ns() - began
    return percentiles(spent[WARM:])


# --- pacing -----------------------------------------------------------------------------------------


async def lives_of(rest: PolymarketRest) -> list[Life]:
    """The stand-in's markets."""
    found = []
    for row, market in enumerate((await rest.gamma_markets()).items):
        clob = await rest.clob_market(market.condition_id or "")
        found.append(life_of(listed(market, row=row, clob=clob), market, clob))
    return found


async def requote(server: dict[str, str], seconds: float) -> dict[str, int]:
    """Requotes of both sides at a steady pace, and what came of them."""
    clock, ear = WallClock(), Ear()
    rest = server["rest"]
    hosts = Hosts(rest, server["gamma"], rest, rest, server["ws_market"], server["ws_user"])
    http = PolymarketHttp(hosts, clock, Budget(clock.now_ns()), signer=WalletKey(KEY), answer_s=30.0)
    http.key = await PolymarketOrders(http).find_key()
    lives = await lives_of(PolymarketRest(http))
    wire = PolymarketWire(http, None, ear, clock, lives, AdapterTerms(prefix="bench"))
    try:
        await wire.start()
        began, count, number = time.monotonic(), round(seconds * REQUOTES_A_SECOND), 0
        for k in range(count):
            await asyncio.sleep(max(0.0, began + k / REQUOTES_A_SECOND - time.monotonic()))
            cancels = [c.Cancel(order_id=order_id, market=0) for order_id in ear.accepted]
            ear.accepted.clear()
            number += 2
            away = 100 * (k % 2)
            wire.send(0, [*cancels, place(number, BID, 4_500 - away), place(number + 1, ASK, 5_500 + away)])
        took_s = time.monotonic() - began
        await asyncio.sleep(2.0)  # what waits for the budget
        figures = wire.figures()
    finally:
        await wire.close()
    counts = ear.counts
    return {
        "requotes": count,
        "requotes_per_s": round(count / took_s),
        "placed": counts["Accepted"],
        "cancelled": counts["Closed"],
        "held_back": counts["NotSent"],
        "refused": counts["Refused"] + counts["RequestRefused"],
        "lost": counts["AnswerLost"],
        "rate_limited": figures["rate_limited"],
    }


def measure_pacing(seconds: float) -> dict[str, int]:
    """Against a stand-in of its own."""
    with child("-m", "standins.polymarket", "--tier", "standard") as process:
        return in_loop(requote(said(process), seconds))


def measure_decision(data: Path, most: int) -> dict[str, float] | None:
    """Bytes to decision; None without recordings."""
    folder = data / "polymarket-mlb-l2-2025"
    if not folder.is_dir():
        print(f"no recordings at {folder}: name their folder with --data or PR3DICT_DATA", file=sys.stderr)
        return None
    spent, world = measure_polymarket(*polymarket_feed(folder, most))
    return summary(spent[len(spent) // WARM_SHARE :], world)


def main() -> None:
    """Print the measurement as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("PR3DICT_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of recordings")
    parser.add_argument("--messages", type=int, default=100_000, help="most recorded messages")
    parser.add_argument("--orders", type=int, default=5_000, help="measured, for each kind of wallet")
    parser.add_argument("--seconds", type=float, default=10.0, help="of requotes")
    arguments = parser.parse_args()
    pacing = measure_pacing(arguments.seconds)
    order = measure_orders(arguments.orders)
    decision = measure_decision(arguments.data, arguments.messages)
    print(json.dumps({"decision": decision, "order": order, "pacing": pacing}))


if __name__ == "__main__":
    main()
