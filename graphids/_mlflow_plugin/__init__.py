"""Makes `mlflow.graphids` exist after `import mlflow`, and patches what MLflow gets wrong; imports nothing heavy."""
