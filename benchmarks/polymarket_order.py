"""How long an order of Polymarket's takes from the command to the signed bytes of its request.

Builds, signs and serialises post-only orders and signs their requests, for an EOA and for a deposit wallet;
prints the median and the 99th percentile in microseconds, as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from pr3dict.domain.commands import Place
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.requests import Requests, Terms
from pr3dict.venues.polymarket.sign import WalletKey, WalletKind

KEY = "11" * 32
WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
YES = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
NO = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
TERMS = Terms("0x" + "ab" * 32, YES, NO, 100, neg_risk=False)


def measure(signer: WalletKey, rounds: int) -> dict[str, float]:
    key = ApiKey(signer.address, "00000000-1111-2222-3333-444444444444", "c2VjcmV0c2VjcmV0", "passphrase")
    requests = Requests(signer, key.key, lambda _: TERMS, "bench")
    spans = []
    for number in range(rounds + 200):
        place = Place(
            order_id=number + 1,
            market=0,
            side=d.BID if number % 2 else d.ASK,
            price=100 + 100 * (number % 98),
            size=10_000_000,
            tif=d.POST_ONLY,
        )
        start = time.perf_counter_ns()
        body = requests.create(place, time.time_ns()).body()
        key.headers(time.time_ns() // 10**9, "POST", "/order", body)
        spans.append((time.perf_counter_ns() - start) / 1000)
    spans = sorted(spans[200:])  # the first ones warm up
    return {"p50_us": round(statistics.median(spans), 1), "p99_us": round(spans[len(spans) * 99 // 100], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5_000)
    rounds = parser.parse_args().rounds
    wallets = {
        "eoa": WalletKey(KEY),
        "deposit_wallet": WalletKey(KEY, WalletKind.DEPOSIT, WALLET),
        "session_key": WalletKey(KEY, WalletKind.DEPOSIT, WALLET, session=True),
    }
    print(json.dumps({name: measure(signer, rounds) for name, signer in wallets.items()}))


if __name__ == "__main__":
    main()
