"""Pictures of a run, as matplotlib figures; nothing here knows MLflow."""
