"""Limits, the gate that every order passes, and breakers: numbers in, verdicts out."""
