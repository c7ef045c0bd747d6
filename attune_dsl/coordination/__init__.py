"""How agents see and signal each other: signals, agents, listings."""
