"""PR3DICT: a market maker for binary prediction markets on Kalshi and Polymarket."""

__version__ = "0.1.0"
