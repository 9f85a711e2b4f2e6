"""What a vehicle normally does, fitted on attack-free captures alone, and how far frames deviate from it.

`traffic` prepares frames, `kernels` follow every message and keep its extremes, `profile` joins the habits of several
blocks and holds each against the others, `follower` measures windows.
"""
