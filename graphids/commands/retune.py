"""The command `retune`: a run's model with a threshold for another rate of false alarms, without training."""

from collections.abc import Callable
from typing import Any

from graphids._mlflow.tracked_run import tracked_run
from graphids.commands.finished_run import FinishedRun
from graphids.commands.processes import settle_rank
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormRecord
from graphids.options import AUTO

_SETTING = "false_alarms_per_hour"


def retune(
    source_run_id: str,
    false_alarms_per_hour: float,
    *,
    load_model: Callable[..., Any],
    save_model: Callable[..., str],
) -> None:
    """Log the model of `source_run_id` again with a threshold for another rate; weights and tau stay as they are.

    The captures are read again and must be the ones that the run was trained on: their digest is compared. Their
    validation split chooses the threshold, and their test split measures it.

    Raises:
        OptionError: If the run is unknown or has not logged exactly one model.
        IntegrityError: If its model does not verify, or its captures have changed since.
    """
    settle_rank()
    with tracked_run() as outbox:
        rate = f"{false_alarms_per_hour:g}"
        # Before anything can fail: a failed run needs a name too.
        outbox.name_run(f"{rate} false alarms/h, retune of {source_run_id[:8]}")
        outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.retune_of": source_run_id})
        source = FinishedRun.of(source_run_id, load_model)
        data = source.read_captures(outbox)
        tau_record = source.classifier.tau_record
        record = TauNormRecord(
            tau_record["tau"],
            tau_record["key"],
            tau_record["raw_head"],
            chosen=source.run.data.params.get("tau") == AUTO,
        )
        seed = source.config["seed_everything"]
        outbox.name_run(f"{rate} false alarms/h tau={record.tau:g} seed={seed} retune of {source_run_id[:8]}")
        source.config["model"][_SETTING] = false_alarms_per_hour
        source.publish_as(outbox, record, data, {f"model.{_SETTING}": false_alarms_per_hour}, save_model)
