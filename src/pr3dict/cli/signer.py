"""`pr3dict signer`: a process that holds a Polymarket wallet's key and signs within caps of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pr3dict.runtime.signer_process import SignerServer
    from pr3dict.venues.polymarket.signing import Caps


def caps_of(
    *, max_size: str, price_range: str, price_collar: str, orders_per_minute: int, notional_per_hour: str
) -> Caps:
    """The caps of the options; raises `UsageError` for what is no number or allows nothing."""
    from pr3dict.domain.errors import DataError, UsageError
    from pr3dict.domain.units import parse_money, parse_price, parse_quantity
    from pr3dict.venues.polymarket.signing import Caps

    def read(option: str, parse: Callable[[str], int], text: str) -> int:
        try:
            return parse(text)
        except DataError as error:
            raise UsageError(f"{option}: {error}") from None

    low, _, high = price_range.partition("-")
    caps = Caps(
        max_size=read("--max-size", parse_quantity, max_size),
        min_price=read("--price-range", parse_price, low),
        max_price=read("--price-range", parse_price, high),
        collar=0 if price_collar == "0" else read("--price-collar", parse_price, price_collar),
        orders_a_minute=orders_per_minute,
        notional_an_hour=read("--notional-per-hour", parse_money, notional_per_hour),
    )
    if caps.max_size <= 0 or caps.notional_an_hour <= 0 or caps.orders_a_minute <= 0:
        raise UsageError("--max-size, --orders-per-minute and --notional-per-hour must be above 0")
    if not 0 < caps.min_price <= caps.max_price or caps.collar < 0:
        raise UsageError("--price-range: give the lowest and the highest price, such as 0.01-0.99")
    return caps


async def serve(server: SignerServer, *, as_json: bool) -> None:
    """Answer until SIGTERM or SIGINT."""
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    await server.start()
    try:
        _say(server, as_json=as_json)
        await asked_to_end.wait()
    finally:
        await server.close()
    counts = {"signed": server.holder.signed, "refused": server.holder.refused}
    typer.echo(json.dumps(counts) if as_json else f"signed {counts['signed']}, refused {counts['refused']}")


def _say(server: SignerServer, *, as_json: bool) -> None:
    who = server.holder.who()
    if as_json:
        ready = {"socket": str(server.path), "address": who.address, "wallet": who.maker, "kind": who.kind}
        typer.echo(json.dumps(ready))
        return
    typer.echo(f"signs for {who.maker} with the key of {who.address}; socket {server.path}")


def signer_command(
    socket: Annotated[Path, typer.Option(help="The Unix socket to answer on; it is made with mode 0600.")],
    max_size: Annotated[str, typer.Option(help="Largest order, and largest split, in contracts.")],
    notional_per_hour: Annotated[
        str, typer.Option(help="Dollars that orders and splits of any hour may come to.")
    ],
    env: Annotated[str, typer.Option(help="Whose key: prod, or local (a stand-in).")] = "prod",
    price_range: Annotated[
        str, typer.Option(metavar="LOW-HIGH", help="Lowest and highest price of a token, in dollars.")
    ] = "0.01-0.99",
    price_collar: Annotated[
        str,
        typer.Option(
            help="Furthest that an order's price may be from the one signed before it of the same token, if "
            "that was less than a minute ago; 0 is any."
        ),
    ] = "0",
    orders_per_minute: Annotated[int, typer.Option(help="Orders of any minute.")] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it answers as JSON.")] = False,
) -> None:
    """Hold a Polymarket wallet's key and sign for a trading process of this user, within these caps.

    The key comes from the same places as for `live`; point that process at the socket by the variable
    PR3DICT_POLYMARKET_<ENV>_SIGNER_SOCKET and give it no key.
    """
    from pr3dict.domain.errors import UsageError
    from pr3dict.runtime.clock import SystemClock
    from pr3dict.runtime.logs import make_log
    from pr3dict.runtime.polymarket_access import ENVS
    from pr3dict.runtime.signer_process import SignerServer, wallet_key

    if env not in ENVS:
        raise UsageError(f"--env: {env!r} is none of {', '.join(ENVS)}")
    caps = caps_of(
        max_size=max_size,
        price_range=price_range,
        price_collar=price_collar,
        orders_per_minute=orders_per_minute,
        notional_per_hour=notional_per_hour,
    )
    key = wallet_key(env, os.environ)
    log = make_log(None)
    asyncio.run(serve(SignerServer(key, caps, socket, SystemClock(), log), as_json=as_json))
