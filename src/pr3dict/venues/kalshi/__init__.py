"""Kalshi's wire formats."""
