"""The simulated exchange as a venue: paper trading, fault tests and a server on loopback."""
