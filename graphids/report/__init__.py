"""What a run leaves for a reader: the summary, the model card, pictures and tables."""
