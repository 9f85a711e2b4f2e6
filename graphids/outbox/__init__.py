"""What a run tells MLflow, kept on disk until MLflow has it.

`outbox` is the door. Entries go through `durable_queue` into a `journal`, and `sender` delivers them by `delivery`.
"""
