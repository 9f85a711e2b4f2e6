"""graphids: intrusion detection on a vehicle's CAN bus with a graph attention network.

The pipeline, left to right; a module imports only from its left:

    core.data.frames -> captures -> simulate -> windows -> graphs -> preprocessing -> splits -> rules -> datamodule
    -> core.models.gat -> detector -> core.evaluation -> core.classifier -> core.callbacks -> _mlflow -> train
    -> mlflow_graphids (the flavor) -> cli (the root that wires everything)

`_fs` (digests, atomic files) stands on the standard library alone and imports nothing of this package.
"""
