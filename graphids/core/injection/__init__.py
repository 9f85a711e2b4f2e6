"""Attacks laid over traffic, simulated or recorded.

`bus` arbitrates, `sender` says what an attack asks of a message, `attacks` what an intruder does.
"""
