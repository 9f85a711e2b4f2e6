"""From frames to packed graphs.

`packed` is the door: `build_graphs` cuts `windows`, finds `links` between frames, and has `features` fill the columns.
"""
