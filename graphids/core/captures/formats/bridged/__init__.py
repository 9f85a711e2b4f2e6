"""Formats that python-can reads: a module each, whose `BridgedFormat` stands in `formats.registry`."""
