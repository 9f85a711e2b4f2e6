"""From packed graphs to batches: what is fitted on the training split, how captures are split, and the data module."""
