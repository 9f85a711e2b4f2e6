"""What a vehicle normally does, fitted on attack-free captures alone, and how far frames deviate from it.

`traffic` prepares frames, `habits` follows every message and keeps its extremes, `profile` joins the habits of several
blocks and holds each against the others, `deviations` measures windows.
"""
