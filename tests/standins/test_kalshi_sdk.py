"""A client that this project did not write: the official TypeScript SDK trades against the stand-in."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from standins.kalshi import KalshiStandIn
from standins.kalshi.probe import Probe
from standins.kalshi.sdk_types import SdkTypes

PACKAGE = "kalshi-typescript"
OLDEST = (3, 30)
INSTALL_S, SESSION_S = 45, 30
SCRIPT = Path(__file__).parent / "kalshi" / "sdk_session.cjs"
T0 = "KXA-0-T0"

# Where the API is younger than the SDK's types or its types are tighter than its text: by pattern of path.
YOUNGER = (
    r"\$\.(remaining_count|fill_count|average_fill_price|average_fee_paid) is None",  # since 2026-09-03
    r"\.price\.\w+_dollars is None",  # a candle without trades has null prices
)


@pytest.fixture(scope="module")
def package():
    """The folder of the installed SDK."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not on this machine: the official SDK can't run")
    folder = Path(os.environ.get("PR3DICT_SDK_CACHE", Path(tempfile.gettempdir()) / f"{PACKAGE}-cache"))
    found = folder / "node_modules" / PACKAGE
    if not (found / "package.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = f"{PACKAGE}@>={OLDEST[0]}.{OLDEST[1]}"
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(folder), wanted]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install {PACKAGE} within {INSTALL_S} s: is the registry reachable?")
        if done.returncode:
            pytest.skip(f"npm can't install {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    version = json.loads((found / "package.json").read_text(encoding="utf-8"))["version"]
    assert tuple(map(int, version.split(".")[:2])) >= OLDEST
    return found


@pytest.fixture(scope="module")
def session(package, tmp_path_factory):
    """Every answer that the SDK got, by name, and what is true at the stand-in afterwards."""
    key_file = tmp_path_factory.mktemp("keys") / "key.pem"

    async def trade():
        async with KalshiStandIn(tier="prestige") as server, Probe(server):
            key = server.rsa_key  # this SDK signs with RSA only
            key_file.write_text(key.pem, encoding="utf-8")
            node = await asyncio.create_subprocess_exec(
                "node", str(SCRIPT), str(package.parents[1]), server.url, key.id, str(key_file), T0,
                "KXA-0", "KXA",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            out, errors = await asyncio.wait_for(node.communicate(), SESSION_S)
            assert node.returncode == 0, errors.decode()[-2_000:]
            lines = [json.loads(line) for line in out.decode().splitlines()]
            return {line["name"]: line for line in lines}, server.do("truth")

    return asyncio.run(trade())


def test_the_sdk_places_amends_reduces_and_cancels(session):
    answers, truth = session
    statuses = {
        name: answers[name]["status"] for name in ("create", "amend", "decrease", "cancel", "cancel all")
    }
    assert statuses == {"create": 201, "amend": 200, "decrease": 200, "cancel": 200, "cancel all": 204}
    created, cancelled = answers["create"]["body"], answers["cancel"]["body"]
    assert (created["client_order_id"], created["remaining_count"]) == ("sdk-1", "10.00")
    assert answers["amend"]["body"]["remaining_count"] == "12.00"
    assert answers["decrease"]["body"]["remaining_count"] == "10.00"
    assert (cancelled["order_id"], cancelled["reduced_by"]) == (created["order_id"], "10.00")
    assert (answers["cancel again"]["status"], answers["again"]["status"]) == (404, 409)
    assert answers["again"]["body"]["error"]["code"] == "order_already_exists"
    assert answers["cross"]["body"]["error"]["details"] == "post only cross"
    first, second = answers["batch"]["body"]["orders"]
    assert first["remaining_count"] == "10.00" and second["error"]["code"] == "invalid_order"
    assert truth["open_orders"] == [] and truth["unexplained"] == []


def test_the_sdk_reads_what_is_true(session):
    answers, truth = session
    assert answers["order"]["body"]["order"]["order_id"] == answers["create"]["body"]["order_id"]
    assert answers["queue"]["body"]["queue_position_fp"] == "100.00"
    assert answers["group detail"]["body"]["orders"] == [answers["create"]["body"]["order_id"]]
    [fill] = answers["fills"]["body"]["fills"]
    assert (fill["count_fp"], fill["yes_price_dollars"], fill["is_taker"]) == ("4.00", "0.5200", True)
    assert answers["positions"]["body"]["market_positions"][0]["position_fp"] == "4.00"
    cash = sum(round(float(amount) * 1e6) for amount in truth["cash"].values())
    assert round(float(answers["balance"]["body"]["balance_dollars"]) * 1e6) == cash
    assert answers["book"]["body"]["orderbook_fp"]["no_dollars"][-1] == ["0.4800", "96.00"]


def test_every_answer_is_of_the_type_that_the_sdk_declares(session, package):
    types = SdkTypes(package / "dist" / "models")
    answers, _ = session
    typed = {name: line for name, line in answers.items() if line.get("model")}
    assert len(typed) >= 38 and all(line["status"] in (200, 201) for line in typed.values())
    faults = [
        f"{name}: {fault}"
        for name, line in typed.items()
        for fault in types.faults(line["body"], line["model"])
        if not any(re.search(pattern, fault) for pattern in YOUNGER)
    ]
    assert faults == []


def test_the_types_of_the_sdk_find_faults(package):
    types = SdkTypes(package / "dist" / "models")
    fill = {"fill_id": 7}
    found = types.faults({"fills": [fill], "cursor": ""}, "GetFillsResponse")
    assert "$.fills[0].fill_id is 7, no string" in found and "$.fills[0].trade_id is missing" in found
    assert types.faults(
        {"orderbook_fp": {"yes_dollars": [], "no_dollars": [[1]]}}, "GetMarketOrderbookResponse"
    )
