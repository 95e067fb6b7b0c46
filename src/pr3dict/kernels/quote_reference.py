"""The quoting policy once more, the obvious slow way: dollars and contracts as fractions, lists, no arrays.

Written from the requirement, not from `quote.py`: tests hold the two to identical QUOTE fields. The one thing
both must share is where a number becomes a whole micro-dollar: after each product, half away from zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import rewards_reference as rewards

Row = Mapping[str, Any]
MICRO = 1_000_000
HALF = Fraction(1, 2)
STATES = ("normal", "skewed", "rebalancing", "forced_exit")


def decide(
    market: Row,
    params: Row,
    prices: Sequence[int],
    now_ns: int,
    heat_room_micros: int,
    cash_room_micros: int,
    killed: bool,
) -> dict[str, Any]:
    """The QUOTE row as a dict, from MARKET and PARAMS rows by field name and the grid as ascending prices."""
    quote = _blank(market, params, now_ns)
    reasons: set[str] = set()
    if params["policy"] == d.POLICY_FIXED_SPREAD:
        bids, asks = _fixed_spread(market, params, prices, killed, quote, reasons)
    else:
        _spread(market, params, now_ns, quote, reasons)
        _wishes(params, quote, reasons)
        state = _state(market, params, now_ns, reasons)
        quote["state"] = STATES.index(state)
        reduce_only = _filters(market, params, heat_room_micros, quote, reasons)
        allowed = _gates(market, now_ns, killed, reasons)
        bids, asks = [], []
        if state == "forced_exit" and "exit" in allowed:
            bids, asks = _exit(market, params, prices, now_ns, quote, reasons)
        elif state != "forced_exit" and "quote" in allowed:
            rooms = (max(heat_room_micros, 0), max(cash_room_micros, 0))
            if params["rewards"] and market["reward_spread"] > 0 and market["reward_mid"] >= 0:
                offers = _offers(market, params, prices, state, reduce_only, quote)
                rewards.place(market, params, prices, offers, quote, reasons)
            bids, asks = _sides(market, params, prices, state, reduce_only, rooms, quote, reasons)
    quote["reasons"] = sum(1 << d.REASON_NAMES.index(name) for name in reasons)
    quote["levels"] = max(len(bids), len(asks))
    for name, orders in (("bid", bids), ("ask", asks)):
        rest = d.MAX_LEVELS - len(orders)
        quote[f"{name}_price"] = [price for price, _ in orders] + [-1] * rest
        quote[f"{name}_size"] = [size for _, size in orders] + [0] * rest
    return quote


def _times(micros: int, ppm: int) -> int:
    exact = Fraction(abs(micros) * ppm, MICRO)
    rounded = math.floor(exact + HALF)
    return rounded if micros >= 0 else -rounded


def _net(market: Row) -> int:
    net: int = market["yes_contracts"] - market["no_contracts"]
    return net


def _left(market: Row, now_ns: int) -> int | None:
    return None if market["resolution_ns"] < 0 else max(0, market["resolution_ns"] - now_ns)


def _blank(market: Row, params: Row, now_ns: int) -> dict[str, Any]:
    bid, ask = market["bid_price"], market["ask_price"]
    left = _left(market, now_ns)
    stated = market["stated_liquidity_micros"]
    quote: dict[str, Any] = {
        "now_ns": now_ns,
        "fair_micros": market["fair_micros"],
        "uncertainty_micros": market["uncertainty_micros"],
        "net_contracts": _net(market) - params["target_inventory"],
        "liquidity_micros": market["liquidity_micros"] if stated < 0 else stated,
        "volatility_micros": market["volatility_micros"],
        "existing_spread_micros": (ask - bid) * 100 if min(bid, ask) >= 0 else -1,
        "resolution_left_ns": -1 if left is None else left,
        "skew_micros": 0,
        "state": 0,
        "exit": 0,
        "bid_tif": d.POST_ONLY,
        "ask_tif": d.POST_ONLY,
    }
    quote |= dict.fromkeys((name for name in d.QUOTE.names or () if "reward" in name), 0)
    quote["unmoved_edge_micros"] = 0
    for which in ("unskewed", "skewed"):
        quote[f"{which}_bid_micros"] = quote[f"{which}_ask_micros"] = -1
    return quote


def _spread(market: Row, params: Row, now_ns: int, quote: dict[str, Any], reasons: set[str]) -> None:
    spread = quote["spread_base_micros"] = params["base_spread_micros"]
    if quote["liquidity_micros"] < params["low_liquidity_micros"]:
        spread += params["low_liquidity_addon_micros"]
    quote["spread_liquidity_micros"] = spread
    if quote["volatility_micros"] > params["high_volatility_micros"]:
        spread = _times(spread, params["volatility_multiplier_ppm"])
    quote["spread_volatility_micros"] = spread
    end = market["close_ns"] if market["close_ns"] >= 0 else market["resolution_ns"]
    for tier in ("final", "closing"):
        if end >= 0 and end - now_ns <= params[f"{tier}_ns"]:
            spread = _times(spread, params[f"{tier}_multiplier_ppm"])
            break
    quote["spread_time_micros"] = spread
    if abs(quote["net_contracts"]) > params["inventory_skew_threshold"]:
        spread = _times(spread, params["inventory_multiplier_ppm"])
    quote["spread_inventory_micros"] = spread
    adverse = min(math.floor(max(-market["markout_micros"], 0.0)), MICRO)
    enough = market["markout_weight"] * MICRO >= params["markout_min_contracts"]
    addon = 2 * _times(adverse, params["markout_multiplier_ppm"]) if enough else 0
    if addon > 0:
        reasons.add("markout_widened")
    spread = quote["spread_markout_micros"] = spread + addon
    paused = market["paused_until_ns"] > now_ns
    if not paused and market["news_until_ns"] > now_ns and market["news_severity"] == d.NEWS_WIDEN:
        reasons.add("news_widened")
        spread = _times(spread, params["news_multiplier_ppm"])
    quote["spread_news_micros"] = spread
    low, high = params["min_spread_micros"], params["max_spread_micros"]
    if spread < low:
        reasons.add("spread_clamped_to_min")
    elif spread > high:
        reasons.add("spread_clamped_to_max")
    quote["spread_micros"] = min(max(spread, low), high)


def _wishes(params: Row, quote: dict[str, Any], reasons: set[str]) -> None:
    net = Fraction(quote["net_contracts"], MICRO)
    skew = 0
    if abs(quote["net_contracts"]) > params["inventory_skew_threshold"]:
        skew = -math.trunc(net / 10) * params["skew_per_10_micros"]
    quote["skew_micros"] = skew
    if skew:
        reasons.add("skewed")
    if quote["fair_micros"] >= 0:
        half = max(math.ceil(Fraction(quote["spread_micros"], 2)), 1)
        for side, sign in (("bid", -1), ("ask", 1)):
            quote[f"unskewed_{side}_micros"] = quote["fair_micros"] + sign * half
            quote[f"skewed_{side}_micros"] = quote["fair_micros"] + sign * half + skew


def _late(market: Row, params: Row, now_ns: int) -> bool:
    left = _left(market, now_ns)
    too_close = left is not None and left < params["min_time_to_resolution_ns"]
    return too_close and abs(_net(market)) > params["exit_inventory"]


def _state(market: Row, params: Row, now_ns: int, reasons: set[str]) -> str:
    distance = abs(_net(market) - params["target_inventory"])
    late = _late(market, params, now_ns)
    if late:
        reasons.add("forced_exit_near_resolution")
    if distance > params["max_inventory"]:
        reasons.add("forced_exit")
    leaving = market["leaving"] and _net(market) != 0
    if late or leaving or distance > params["max_inventory"]:
        return "forced_exit"
    if distance > params["rebalance_threshold"]:
        reasons.add("rebalancing")
        return "rebalancing"
    return "skewed" if distance > params["inventory_skew_threshold"] else "normal"


def _filters(market: Row, params: Row, heat_room: int, quote: dict[str, Any], reasons: set[str]) -> bool:
    left = quote["resolution_left_ns"]
    failed = {"not_selected"} if market["waiting"] else set()
    if quote["liquidity_micros"] < params["min_liquidity_micros"]:
        failed.add("low_liquidity")
    if left == -1:
        failed.add("unknown_resolution_time")
    elif left < params["min_time_to_resolution_ns"]:
        failed.add("too_close_to_resolution")
    elif left > params["max_time_to_resolution_ns"]:
        failed.add("too_far_from_resolution")
    existing = quote["existing_spread_micros"]
    # A crossed book has a negative spread and is refused for that; -1 says that a side is missing.
    if existing >= 0 and existing < params["min_existing_spread_micros"]:
        failed.add("narrow_spread")
    if heat_room <= 0:
        failed.add("portfolio_heat")
    if failed:
        reasons |= failed | {"reduce_only"}
    return bool(failed)


def _book_defect(market: Row) -> str | None:
    sides = [price for price in (market["bid_price"], market["ask_price"]) if price >= 0]
    if len(sides) < 2:
        return "one_sided_book" if sides else "no_book"
    if sides[0] >= sides[1]:
        return "crossed_book"
    return "no_book" if market["fair_micros"] < 0 else None


def _gates(market: Row, now_ns: int, killed: bool, reasons: set[str]) -> set[str]:
    allowed = {"exit", "quote"}
    if market["paused_until_ns"] > now_ns:
        reasons.add("volume_pause")
        allowed.discard("quote")
    if market["news_until_ns"] > now_ns and market["news_severity"] == d.NEWS_PULL:
        reasons.add("news_pause")
        allowed.discard("quote")
    defect = _book_defect(market)
    if defect:
        reasons.add(defect)
        allowed.discard("quote")
    if market["leaving"]:
        reasons.add("flattening")
        allowed.discard("quote")
    if market["hold"]:
        reasons.add("held")
        allowed -= {"quote", "exit"} if market["hold"] == d.HOLD_ALL else {"quote"}
    if market["status"] not in (d.ACTIVE, d.POST_ONLY_MODE):
        reasons.add("market_not_active")
        allowed.clear()
    if killed:
        reasons.add("daily_loss_limit")
        allowed -= {"quote"} if market["leaving"] else {"quote", "exit"}
    if market["fair_micros"] < 0 or defect == "crossed_book":
        allowed.clear()
    return allowed


def _round(prices: Sequence[int], side: str, micros: int) -> int | None:
    """The nearest grid price not above (bid) or not below (ask) a wish; None if there is none."""
    if side == "bid":
        return max((p for p in prices if p * 100 <= micros), default=None)
    return min((p for p in prices if p * 100 >= micros), default=None)


def _passive(prices: Sequence[int], side: str, price: int, far: int) -> int | None:
    if far < 0:
        return price
    if side == "bid":
        return max((p for p in prices if p <= price and p < far), default=None)
    return min((p for p in prices if p >= price and p > far), default=None)


def _ladder(
    market: Row, params: Row, prices: Sequence[int], side: str, quote: dict[str, Any], reasons: set[str]
) -> list[int]:
    far = market["far_ask_price" if side == "bid" else "far_bid_price"]
    step = -params["level_spacing_micros"] if side == "bid" else params["level_spacing_micros"]
    ladder: list[int] = []
    first = quote[f"reward_{side}_price"] * 100 or quote[f"skewed_{side}_micros"]
    for i in range(params["levels"]):
        wish = first + i * step
        rounded = _round(prices, side, wish) if 0 < wish < MICRO else None
        if rounded is None:
            reasons.add(f"{side}_off_grid")
            continue
        price = _passive(prices, side, rounded, far)
        if price != rounded:
            reasons.add(f"{side}_clamped_post_only")
        if price is None:
            reasons.add(f"{side}_off_grid")
        elif abs(price * 100 - quote["fair_micros"]) > params["price_band_micros"]:
            reasons.add("outside_price_band")
        elif price not in ladder:
            ladder.append(price)
    return ladder


def _offers(
    market: Row, params: Row, prices: Sequence[int], state: str, reduce_only: bool, quote: dict[str, Any]
) -> dict[str, rewards.Offer]:
    """Each side as it would be without rewards."""
    offers = {}
    for side in ("bid", "ask"):
        room = _room(market, params, side, state, reduce_only)
        far = market["far_ask_price" if side == "bid" else "far_bid_price"]
        wish = quote[f"skewed_{side}_micros"]
        price = _round(prices, side, wish) if room is not None and 0 < wish < MICRO else None
        if price is not None:
            price = _passive(prices, side, price, far)
        inventory, gross = room or (0, 0)
        offers[side] = rewards.Offer(
            price, min(inventory, gross), min(_wished_size(params, quote), inventory)
        )
    return offers


def _wished_size(params: Row, quote: Row) -> int:
    wish = params["quote_size"]
    if quote["liquidity_micros"] > params["liquid_market_micros"]:
        wish = _times(wish, params["liquid_size_multiplier_ppm"])
    return int(min(wish, params["max_order_size"]))


def _whole_lots(market: Row, size: int | Fraction) -> int:
    lot: int = market["lot"]
    return math.floor(Fraction(size) / lot) * lot


def _room(market: Row, params: Row, side: str, state: str, reduce_only: bool) -> tuple[int, int] | None:
    """(inventory room, gross room) of a side in micro-contracts; None if it may not be quoted."""
    sign = 1 if side == "bid" else -1
    from_target = sign * (_net(market) - params["target_inventory"])
    from_zero = sign * _net(market)
    rooms = [params["max_inventory"] - from_target]
    if state == "rebalancing":
        rooms.append(-from_target)
    if reduce_only:
        rooms.append(-from_zero)
    if any(room <= 0 for room in rooms[1:]):
        return None
    own, other = ("yes", "no") if side == "bid" else ("no", "yes")
    held, opposite = market[f"{own}_contracts"], market[f"{other}_contracts"]
    limit = params["max_position_size"]
    gross = limit - held + opposite if market["nets_positions"] else max(limit - held - opposite, opposite)
    return max(min(rooms), 0), max(gross, 0)


def _costs(side: str, orders: Sequence[tuple[int, int]], free: int) -> list[int]:
    """What each order locks in micros, rounded up, once the first `free` contracts are given for nothing."""
    costs = []
    for price, size in orders:
        paid = max(size - free, 0)
        free -= size - paid
        unit = Fraction(price if side == "bid" else 10_000 - price, 10_000)
        costs.append(math.ceil(unit * paid))
    return costs


def _afford(
    market: Row, side: str, orders: Sequence[tuple[int, int]], budget: int
) -> tuple[list[tuple[int, int]], bool]:
    """Orders cut, innermost served first, so that together they lock no more than the budget."""
    free = max(-_net(market) if side == "bid" else _net(market), 0)
    kept: list[tuple[int, int]] = []
    for price, size in orders:
        spent = sum(_costs(side, kept, free))
        free_left = max(free - sum(s for _, s in kept), 0)
        unit = Fraction(price if side == "bid" else 10_000 - price, 10_000)
        if math.ceil(unit * max(size - free_left, 0)) > budget - spent:
            size = _whole_lots(market, min(size, free_left) + math.floor((budget - spent) / unit))
        kept.append((price, size))
    return kept, kept != list(orders)


def _sides(
    market: Row,
    params: Row,
    prices: Sequence[int],
    state: str,
    reduce_only: bool,
    rooms: tuple[int, int],
    quote: dict[str, Any],
    reasons: set[str],
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    heat, cash = rooms
    wanted: dict[str, list[tuple[int, int]]] = {"bid": [], "ask": []}
    for side in wanted:
        room = _room(market, params, side, state, reduce_only)
        if room is None:
            continue
        ladder = _ladder(market, params, prices, side, quote, reasons)
        orders = _sized(market, params, side, ladder, room, quote, reasons)
        wanted[side], cut = _afford(market, side, orders, heat)
        if cut:
            reasons.add("size_cut_heat")
    free = {"bid": max(-_net(market), 0), "ask": max(_net(market), 0)}
    costs = {side: sum(_costs(side, orders, free[side])) for side, orders in wanted.items()}
    result = []
    for side, other in (("bid", "ask"), ("ask", "bid")):
        orders, cut = _afford(market, side, wanted[side], max(cash // 2, cash - costs[other]))
        if cut:
            reasons.add("size_cut_cash")
        wish = _wished_size(params, quote)
        if orders and quote[f"reward_{side}_size"] > wish:
            price, size = orders[0]
            if size < market["reward_min_size"]:
                size = min(size, _whole_lots(market, wish))
            if size > wish:
                reasons.add(f"{side}_raised_for_rewards")
            orders = [(price, size), *orders[1:]]
        kept = []
        for price, size in orders:
            if size < max(market["min_size"], market["lot"]):
                reasons.add(f"{side}_size_below_min")
                break
            kept.append((price, size))
        result.append(kept)
    return result[0], result[1]


def _sized(
    market: Row,
    params: Row,
    side: str,
    ladder: Sequence[int],
    room: tuple[int, int],
    quote: dict[str, Any],
    reasons: set[str],
) -> list[tuple[int, int]]:
    wish = _wished_size(params, quote)
    orders: list[tuple[int, int]] = []
    for price in ladder:
        used = sum(size for _, size in orders)
        size = wish if orders else max(wish, quote[f"reward_{side}_size"])
        for left, limit in ((room[0] - used, "inventory"), (room[1] - used, "gross")):
            if size > left:
                reasons.add(f"{side}_size_cut_{limit}")
                size = left
        orders.append((price, _whole_lots(market, size)))
    return orders


def _exit(
    market: Row,
    params: Row,
    prices: Sequence[int],
    now_ns: int,
    quote: dict[str, Any],
    reasons: set[str],
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    held = abs(_net(market))
    excess = abs(quote["net_contracts"]) - params["max_inventory"]
    slippage = params["max_exit_slippage_micros"]
    if market["leaving"]:
        excess, slippage = held, market["leaving_slippage_micros"]
    elif _late(market, params, now_ns):
        excess = held - params["exit_inventory"]
    smallest = max(market["min_size"], market["lot"])
    size = math.ceil(Fraction(max(excess, smallest), market["lot"])) * market["lot"]
    size = min(size, _whole_lots(market, held), _whole_lots(market, params["max_order_size"]))
    side = "ask" if _net(market) > 0 else "bid"
    reach = min(slippage, params["price_band_micros"])
    price = _round(prices, side, quote["fair_micros"] + (reach if side == "bid" else -reach))
    touch = market["ask_price"] if side == "bid" else market["bid_price"]
    tif = d.LIMIT
    absorbed = price is not None and touch >= 0 and (touch <= price if side == "bid" else touch >= price)
    if price is not None and market["status"] == d.POST_ONLY_MODE:
        far = market["far_ask_price" if side == "bid" else "far_bid_price"]
        price = _passive(prices, side, price, far)
        reasons.add(f"{side}_clamped_post_only")
        tif, absorbed = d.POST_ONLY, False
    if not absorbed or size < smallest:
        reasons.add("exit_unabsorbed")
    if price is None:
        reasons.add(f"{side}_off_grid")
        return [], []
    if size < smallest:
        reasons.add(f"{side}_size_below_min")
        return [], []
    quote["exit"] = 1
    quote[f"{side}_tif"] = tif
    return ([(price, size)], []) if side == "bid" else ([], [(price, size)])


def _fixed_spread(
    market: Row,
    params: Row,
    prices: Sequence[int],
    killed: bool,
    quote: dict[str, Any],
    reasons: set[str],
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    half = params["fixed_half_spread_micros"]
    for step in ("base", "liquidity", "volatility", "time", "inventory", "markout", "news"):
        quote[f"spread_{step}_micros"] = 2 * half
    quote["spread_micros"] = 2 * half
    wishes = {"bid": quote["fair_micros"] - half, "ask": quote["fair_micros"] + half}
    if quote["fair_micros"] >= 0:
        for side, wish in wishes.items():
            quote[f"unskewed_{side}_micros"] = quote[f"skewed_{side}_micros"] = wish
    defect = _book_defect(market)
    reasons |= {defect} if defect else set()
    reasons |= {"market_not_active"} if market["status"] not in (d.ACTIVE, d.POST_ONLY_MODE) else set()
    reasons |= {"flattening"} if market["leaving"] else set()
    reasons |= {"held"} if market["hold"] else set()
    reasons |= {"daily_loss_limit"} if killed else set()
    if reasons:
        return [], []
    if market["waiting"]:
        reasons |= {"not_selected", "reduce_only"}
    sides: dict[str, list[tuple[int, int]]] = {"bid": [], "ask": []}
    for side, wish in wishes.items():
        toward = quote["net_contracts"] if side == "bid" else -quote["net_contracts"]
        price = _round(prices, side, wish) if 0 < wish < MICRO else None
        if toward >= params["max_inventory"]:
            reasons.add(f"{side}_size_cut_inventory")
            continue
        held = -_net(market) if side == "bid" else _net(market)
        if market["waiting"] and held <= 0:
            continue
        if price is None:
            reasons.add(f"{side}_off_grid")
            continue
        size = min(params["quote_size"], held) if market["waiting"] else params["quote_size"]
        sides[side].append((price, size))
    return sides["bid"], sides["ask"]
