"""From frames to packed graphs.

`packed` is the door: `build_graphs` cuts `windows`, finds `links` between frames, and has `kernels` fill the columns
that `features` names.
"""
