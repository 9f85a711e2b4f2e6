"""Everything that a run logs, in MLflow's vocabulary: kept on local disk, sent in the background."""

import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_LOGGED_IMAGES, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from PIL import Image

from graphids.outbox.delivery import dataset_fields
from graphids.outbox.durable_queue import JOURNAL, DurableQueue
from graphids.secrets import without_secrets

FOLDER = "outbox"
# MLflow's sql stores keep 36 characters of a data set's digest; a tag holds all of it.
_DATASET_DIGEST_CHARACTERS = 36
_MAX_PARAM_CHARACTERS = 6000
_MAX_NAME_CHARACTERS = 250
_IMAGE_KEY = re.compile(r"[a-zA-Z0-9_\-./ ]+")


class Outbox:
    """What one run logs, without the secrets in it.

    Each method but `flush` and `close` returns once the entry is durable on local disk; none waits for MLflow.

    Args:
        run_id: The run.
        experiment_id: Its experiment.
        queue: Keeps and sends; None in all processes of a run but the first: they log nothing.
        resumed: The run has logged before: metrics that it has at a step are not logged again.
        named: Someone chose its name, which is kept.

    Attributes:
        resumed: As given.
        status: The status that the run was ended with; empty until then.
    """

    def __init__(
        self,
        run_id: str,
        experiment_id: str = "",
        queue: DurableQueue | None = None,
        *,
        resumed: bool = False,
        named: bool = True,
    ) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.status = ""
        self._queue = queue
        self.resumed = resumed
        self._named = named
        self._tables: list[str] = []

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the parameters that the run does not have yet."""
        self._append("params", params={key: str(value)[:_MAX_PARAM_CHARACTERS] for key, value in params.items()})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set or replace tags."""
        self._append("tags", tags={key: str(value) for key, value in tags.items()})

    def name_run(self, name: str) -> None:
        """Name a run unless someone has named it."""
        if not self._named:
            self.set_tags({MLFLOW_RUN_NAME: name[:_MAX_NAME_CHARACTERS]})

    def set_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment that nobody else has set, changed or removed; without them the run goes on."""
        self._append("experiment", experiment_id=self.experiment_id, tags=dict(tags))

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        *,
        step: int = 0,
        model: str | None = None,
        model_id: str | None = None,
        dataset: Mapping[str, str] | None = None,
        is_new: bool = False,
    ) -> None:
        """Log metrics in one batch, so that each step of every chart comes from one request.

        Args:
            metrics: Values by name.
            step: The epoch.
            model: Digest of this outbox's model that they belong to.
            model_id: Or the LoggedModel that they belong to.
            dataset: What `log_input` returned.
            is_new: The run cannot have them at this step yet, so they are not searched for in a resumed run.
        """
        self._append(
            "metrics",
            metrics={key: float(value) for key, value in metrics.items()},
            step=step,
            model=model,
            model_id=model_id,
            dataset=dataset and {key: dataset[key] for key in ("name", "digest")},
            unless_logged=self.resumed and not is_new,
        )

    def log_input(
        self, *, name: str, digest: str, source: str, profile: Mapping[str, Any], context: str = "training"
    ) -> dict[str, str]:
        """Record captures as an input of the run; the returned value links metrics to them."""
        dataset = dataset_fields(name, digest[:_DATASET_DIGEST_CHARACTERS], source, profile)
        self._append("dataset", dataset=dataset, context=context)
        return dataset

    def log_input_model(self, model_id: str) -> None:
        """Record a LoggedModel as an input of the run."""
        self._append("model_input", model_id=model_id)

    def log_bytes(self, data: bytes, name: str) -> None:
        """Log an artifact, `folder/file` or a file in the run's top folder."""
        self._append("artifact", name=name, sha256=self._keep(data), bytes=len(data))

    def log_text(self, text: str, name: str) -> None:
        """Log an artifact in UTF-8."""
        self.log_bytes(without_secrets(text).encode(), name)

    def log_dict(self, content: Mapping[str, Any], name: str) -> None:
        """Log an artifact as indented JSON."""
        self.log_text(json.dumps(content, indent=2), name)

    def log_image(self, png: bytes, key: str, *, step: int = 0) -> None:
        """Log a picture for the image grids of the UI, as `mlflow.log_image(image, key=key, step=step)` does.

        Its file names depend on `key` and `step` only: logged again by a resumed run, it replaces itself. MLflow's own
        names contain the time and a random number.

        Args:
            png: The picture.
            key: Title of the grid; the part before a slash is its section. Letters, digits, `_-. /`.
            step: One picture of a key per step.

        Raises:
            ValueError: If MLflow would not accept the key.
        """
        if not _IMAGE_KEY.fullmatch(key):
            raise ValueError(f"log_image: key is {key!r}, expected only letters, digits, '_', '-', '.', ' ' and '/'.")
        name = f"images/{key.replace('/', '~')}+step+{step}+timestamp+0+0"
        self.log_bytes(png, f"{name}.png")
        # What the grid shows: MLflow's own copy of 256 pixels is too small to read an axis.
        self.log_bytes(_lossless_webp(png), f"{name}+compressed.webp")
        self.set_tags({MLFLOW_LOGGED_IMAGES: True})

    def log_table(self, columns: Mapping[str, Sequence[Any]], name: str) -> None:
        """Log a table that the UI shows as one and compares by its columns, as `mlflow.log_table` does.

        A table of the same name is replaced; MLflow would append to it.

        Args:
            columns: Values by title, all of one length: text, finite numbers, or None for undefined ones.
            name: `<table>.json`.
        """
        rows = list(zip(*columns.values(), strict=True))
        self.log_text(json.dumps({"columns": list(columns), "data": rows}, allow_nan=False), name)
        if name not in self._tables:
            self._tables.append(name)
        listed = [{"path": path, "type": "table"} for path in self._tables]
        self.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps(listed)})

    def log_model(
        self,
        save: Callable[[Path], str],
        *,
        name: str,
        step: int,
        tags: Mapping[str, str],
        description: str | None = None,
    ) -> str:
        """Save a model and log the saved bytes as a LoggedModel, whose param `graphids.digest` anchors them.

        Args:
            save: Saves it to a folder, which does not exist yet, and returns its root digest.
            name: Name of the LoggedModel.
            step: Step of the run that the model belongs to.
            tags: Tags of the LoggedModel.
            description: Markdown for the LoggedModel's page in the UI.

        Returns:
            The root digest; `model_uri` tells where the model is found.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            digest = save(folder)
            content = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        files = {path: self._keep(data) for path, data in content.items()}
        size = sum(map(len, content.values()))
        described = {} if description is None else {MLFLOW_RUN_NOTE: description}
        tags = {**described, **tags}
        self._append("model", digest=digest, files=files, name=name, step=step, tags=tags, bytes=size)
        return digest

    def model_uri(self, digest: str, name: str) -> str:
        """URI of a logged model: by its id once MLflow has given it one, by its run until then."""
        model_id = self._queue.model_ids.get(digest) if self._queue is not None else None
        return f"models:/{model_id}" if model_id else f"runs:/{self.run_id}/{name}"

    def set_terminated(self, status: str) -> None:
        """End the run now, as FINISHED, FAILED or KILLED, whenever MLflow learns of it."""
        self.status = status
        self._append("end", status=status)

    def flush(self) -> bool:
        """Wait while entries are being sent; returns whether MLflow has all of them.

        During one outage of MLflow it waits 8 s in total, however often it is called.

        Raises:
            MlflowException: If MLflow refused an entry.
            IntegrityError: If a kept file has changed, or a model's anchor has another digest.
        """
        if self._queue is None:
            return True
        all_sent = self._queue.flush()
        for refusal in self._queue.refusals.values():
            raise refusal
        return all_sent

    def close(self) -> bool:
        """Wait as `flush` does and stop sending; returns whether MLflow has everything, and reports what is left."""
        return self._queue is None or self._queue.close()

    def _append(self, op: str, **fields: Any) -> None:
        if self._queue is not None:
            self._queue.append(op, **fields)

    def _keep(self, data: bytes) -> str:
        return self._queue.keep(data) if self._queue is not None else ""


def _lossless_webp(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def find_outboxes(place: Path) -> list[Path]:
    """Outboxes at a folder: the folder itself, or those of the run or runs in it."""
    patterns = (JOURNAL, f"{FOLDER}/{JOURNAL}", f"*/{FOLDER}/{JOURNAL}")
    return sorted({found.parent for pattern in patterns for found in place.glob(pattern)})
