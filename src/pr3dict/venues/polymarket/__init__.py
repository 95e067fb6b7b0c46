"""Polymarket's wire formats."""
