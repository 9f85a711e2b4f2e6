"""From a capture file to frames.

`read` is the door: `find_captures`, `read_captures` and `stream_frames`. A format of `formats` is recognised from the
content, `capture_file` opens it, `labels` finds what lies beside it, and `clock` judges its timestamps.
"""
