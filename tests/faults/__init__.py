"""Faults by the thousand against checkpoints and models: flips, cuts, kills, full disks, power loss, races, forgery.

`python tests/faults` runs the short form, `--long` the long one; see docs/faults.md.
`subjects -> doors -> damage, kills, failing_calls, power_loss, races, forgery, interruptions -> suite`.
"""
