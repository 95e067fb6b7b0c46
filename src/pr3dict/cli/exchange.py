"""`pr3dict exchange`: the simulated exchange as a process of its own, for other processes on this machine."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pr3dict.cli.output import messages

if TYPE_CHECKING:
    from pr3dict.runtime.spec import BacktestSpec
    from pr3dict.runtime.tapeset import TapeSet
    from pr3dict.venues.simulated.server import ExchangeServer

MAX_PORT: Final = 65_535
MAX_SPEED: Final = 100_000.0
MAX_MARKETS: Final = 100


def make_server(tapes: TapeSet, spec: BacktestSpec, speed: float) -> ExchangeServer:
    """A server of all tapes, before its clock starts."""
    from pr3dict.runtime.clock import SystemPacer
    from pr3dict.runtime.listing import listings_of, own_grids
    from pr3dict.runtime.spec import QUEUES
    from pr3dict.venues.simulated.exchange import SimulatedExchange
    from pr3dict.venues.simulated.server import ExchangeServer

    rules = spec.rules.copy()
    rules["queue"], rules["queue_power"] = QUEUES[spec.queue], spec.queue_power
    listings = listings_of(tapes, direct_member=spec.direct_member)
    exchange = SimulatedExchange(listings, own_grids(tapes), rules, spec.cash_micros)
    return ExchangeServer(exchange, SystemPacer(), speed=speed, start_ns=tapes.start_ns)


async def serve(server: ExchangeServer, port: int, truth: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; then write what is true."""
    from pr3dict.store.files import write_whole
    from pr3dict.venues.simulated import wire
    from pr3dict.venues.simulated.server import LOOPBACK

    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    port = await server.start(port)
    ready = {
        "host": LOOPBACK,
        "port": port,
        "markets": len(server.exchange.listings),
        "speed": server.speed,
    }
    typer.echo(json.dumps(ready))
    life = asyncio.create_task(server.run())
    end = asyncio.create_task(asked_to_end.wait())
    await asyncio.wait((life, end), return_when=asyncio.FIRST_COMPLETED)
    end.cancel()
    if life.done():
        life.result()
    life.cancel()
    await server.close()
    if truth is not None:
        write_whole(truth, wire.encode(server.truth()))


def exchange_command(
    tapes: Annotated[
        list[str] | None, typer.Argument(metavar="[TAPE]...", help="Tapes, folders of tapes, or patterns.")
    ] = None,
    markets: Annotated[
        int | None, typer.Option(help="Serve this many generated (synthetic) markets instead of tapes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same generated markets.")] = 1,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")] = 0,
    speed: Annotated[float, typer.Option(help="Recorded seconds a second.")] = 1.0,
    cash: Annotated[str, typer.Option(help="Cash of the account in dollars.")] = "10000",
    queue: Annotated[str, typer.Option(help="Queue model of the exchange.")] = "risk-averse",
    truth: Annotated[
        Path | None,
        typer.Option(metavar="F.json", help="At the end, write the fills, positions, open orders and cash."),
    ] = None,
) -> None:
    """Serve the simulated exchange to other processes of this machine, until it is asked to end."""
    from pr3dict.cli.backtest import spec_of
    from pr3dict.cli.report import check_target
    from pr3dict.domain.errors import UsageError
    from pr3dict.kernels.warm import warm_exchange
    from pr3dict.runtime.tapeset import load

    if (tapes is None or not tapes) == (markets is None):
        raise UsageError("give tapes, or --markets N for generated ones, not both")
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"--port: {port} is outside 0 to {MAX_PORT}")
    if not 0 < speed <= MAX_SPEED:
        raise UsageError(f"--speed: {speed:g} is not above 0 and at most {MAX_SPEED:g}")
    if markets is not None and not 1 <= markets <= MAX_MARKETS:
        raise UsageError(f"--markets: {markets} is outside 1 to {MAX_MARKETS}")
    check_target("--truth", truth)
    spec = spec_of(cash=cash, queue=queue)
    with messages.status("Loading markets..."):
        if markets is None:
            given = load(tapes or [], latency_ns=0)
        else:
            from pr3dict.cli.demo import synthetic_tapes

            given = synthetic_tapes(markets, seed, 0)
        warm_exchange()
        server = make_server(given, spec, speed)
    asyncio.run(serve(server, port, truth))
