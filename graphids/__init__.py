"""graphids: intrusion detection on a vehicle's CAN bus with a graph attention network.

The pipeline, left to right; a module imports only from its left (docs/architecture.md, tests/test_architecture.py):

    core.data: frames -> formats -> captures -> simulate -> windows -> graphs -> preprocessing -> splits -> datamodule
    core: models.gat -> models.detector -> classifier -> callbacks
    _mlflow -> config -> assessment -> train -> mlflow_graphids (the flavor) -> cli (the root that wires everything)

`_fs` (digests, atomic files) stands on the standard library alone and imports nothing of this package.
"""
