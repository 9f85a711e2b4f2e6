"""Formats of capture files, a module each: `text/` is parsed here, `bridged/` is read by python-can."""
