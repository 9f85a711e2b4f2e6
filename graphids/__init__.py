"""graphids: intrusion detection on a vehicle's CAN bus with a graph attention network.

From a capture file to a verified prediction, room by room (docs/architecture.md, tests/test_architecture.py):

    core.captures -> core.frames -> core.graphs -> core.data -> core.models -> core.classifier -> assessment
    -> outbox -> _mlflow -> report -> mlflow_graphids (the flavor) -> commands

`_fs` (digests, files published whole) stands on the standard library alone and imports nothing of this package.
"""

__version__ = "0.2.0"
