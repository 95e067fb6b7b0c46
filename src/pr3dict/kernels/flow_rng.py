"""Random numbers of the flow generator: the same sequence compiled and as plain Python.

xoshiro128++ (D. Blackman and S. Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021) on four
32-bit words held in int64, so that no operation leaves the range that numba and Python share. It serves
simulation only, never secrets.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pr3dict.kernels.jit import njit

MASK32 = 0xFFFFFFFF
TWO_PI = 2.0 * math.pi

Words = npt.NDArray[np.int64]


@njit
def seed_words(words: Words, seed: int) -> None:
    """Fill `words` (shape (4,)) from a non-negative `seed` by the 32-bit finaliser of MurmurHash3."""
    low = int(seed) & MASK32
    high = (int(seed) >> 32) & MASK32
    for i in range(4):
        x = (low + 0x9E3779B9 * (i + 1)) & MASK32
        x = x ^ (high * 0x85EBCA6B & MASK32) if i % 2 == 1 else x ^ high
        x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK32
        x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK32
        words[i] = x ^ (x >> 16)
    if words[0] == 0 and words[1] == 0 and words[2] == 0 and words[3] == 0:
        words[0] = 1


@njit
def next_word(words: Words) -> int:
    """The next 32 random bits."""
    a = int(words[0])
    b = int(words[1])
    c = int(words[2])
    d = int(words[3])
    total = (a + d) & MASK32
    result = ((((total << 7) | (total >> 25)) & MASK32) + a) & MASK32
    shifted = (b << 9) & MASK32
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = ((d << 11) | (d >> 21)) & MASK32
    words[0] = a
    words[1] = b
    words[2] = c
    words[3] = d
    return result


@njit
def uniform(words: Words) -> float:
    """Uniform on the open interval (0, 1)."""
    return (next_word(words) + 0.5) * (1.0 / 4294967296.0)


@njit
def exponential(words: Words) -> float:
    """Exponential with mean 1."""
    return -math.log(uniform(words))


@njit
def normal(words: Words) -> float:
    """Standard normal (G. Box and M. Muller, 1958)."""
    radius = math.sqrt(-2.0 * math.log(uniform(words)))
    return radius * math.cos(TWO_PI * uniform(words))
