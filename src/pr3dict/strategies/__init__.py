"""What a user configures: the settings, their presets, and the market maker that holds them."""

from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import PRESETS, preset

__all__ = ["PRESETS", "MarketMakingConfig", "MarketMakingStrategy", "preset"]
