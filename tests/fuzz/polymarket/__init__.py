"""Polymarket's part of the fuzzer: the targets by name, each made of a seed and a generator."""

from __future__ import annotations

import random

from fuzz.polymarket.answers import Answers
from fuzz.polymarket.feed import Feed
from fuzz.polymarket.world import World

TARGETS = {"feed": Feed, "answers": Answers}


def target(name: str, rng: random.Random) -> Feed | Answers:
    """One of them on a world of its own."""
    return TARGETS[name](World(rng.randrange(2**32)), rng)
