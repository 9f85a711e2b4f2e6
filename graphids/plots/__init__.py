"""Pictures of a run, drawn as matplotlib figures; nothing here knows MLflow."""
