"""Whether a folder holds the model it claims to be; neither torch nor PyG is loaded.

`folder` is the door: it holds every file to the `manifest`, and the manifest to what `trust` found in `anchors` or by
`signing`.
"""
