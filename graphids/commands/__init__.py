"""The commands of graphids, a module each. `cli` is the root that wires them; nothing imports it."""
