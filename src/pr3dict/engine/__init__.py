"""The engine: a fold of events and market data into state and commands; no clock, no I/O, no chance."""
