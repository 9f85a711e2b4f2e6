"""Formats of capture files: what each line of each of them means, and the compiled parsers that read it."""
