"""The network and its training: `gat` knows tensors only, `detector` is what Lightning trains."""
