"""Real clients and real servers around a real Weir, all on loopback."""
