"""`pr3dict pairs`: how many pairs of YES and NO a trading process holds in a market."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from pr3dict.cli.halt import MarketArgument, running
from pr3dict.cli.output import console, print_json
from pr3dict.cli.process import (
    ANSWER_TIMEOUT_S,
    DataDirOption,
    JsonOption,
    TimeoutOption,
    ask,
    check_timeout,
    find_market,
    operator,
)


def pairs_command(
    market: MarketArgument,
    count: Annotated[str, typer.Argument(metavar="COUNT", help="Pairs to hold there; 0 is none.")],
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Hold so many pairs of YES and NO in one market, so that both sides can be sold without cash.

    What is missing is split from dollars, unless buying both sides costs less than a dollar; what is beyond
    is merged back to cash. Only where the wallet has a way to do it; it stands until another count is given.
    """
    from pr3dict.domain.errors import DataError, UsageError
    from pr3dict.domain.events import KeepPairs
    from pr3dict.domain.units import parse_quantity

    timeout_s = check_timeout(timeout)
    try:
        pairs = parse_quantity(count)
    except DataError as error:
        raise UsageError(f"COUNT: {error}; write pairs, for example 250") from None
    seen, status = running(data_dir, "nothing is split or merged; start it again")
    found = find_market(status, market)
    command = KeepPairs(command_id="", who=operator(), market=found["market"], pairs=pairs)
    answer = ask(seen.data_dir, command, timeout_s)
    if as_json:
        said = {"ok": answer.ok, "text": answer.text, "command_id": answer.command_id}
        print_json({**said, "market": found["ticker"]})
    else:
        console.print(escape(answer.text))
