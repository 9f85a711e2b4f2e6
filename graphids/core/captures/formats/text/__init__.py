"""One module for each text format (`candump_log`), whose object of the same name stands in `formats.registry`."""
