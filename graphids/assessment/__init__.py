"""A split scored by a finished model: metrics, curves, the threshold, and what each tau would do."""
