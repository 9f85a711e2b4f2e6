"""The parts of the simulated vehicle: its drive, messages and bus, and what an intruder does to them."""
