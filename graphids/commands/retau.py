"""The command `retau`: a run's model under another tau, without training."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from graphids._mlflow.tracked_run import tracked_run
from graphids.assessment.tau_sweep import best_tau
from graphids.commands.finished_run import FinishedRun
from graphids.commands.processes import settle_rank
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormRecord, head_key
from graphids.core.models.gat import GAT
from graphids.options import AUTO


def retau(
    source_run_id: str, tau: float | Literal["auto"], *, load_model: Callable[..., Any], save_model: Callable[..., str]
) -> None:
    """Log the model of `source_run_id` again under another tau, from its raw head; threshold and metrics are new.

    The captures are read again and must be the ones that the run was trained on: their digest is compared. With "auto"
    their validation split chooses tau.

    Raises:
        OptionError: If the run is unknown or has not logged exactly one model.
        IntegrityError: If its model does not verify, or its captures have changed since.
    """
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        outbox.name_run(f"tau={_shown(tau)} retau of {source_run_id[:8]}")
        outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.tau": tau, "graphids.retau_of": source_run_id})
        source = FinishedRun.of(source_run_id, load_model)
        data = source.read_captures(outbox)
        raw_head: Tensor = source.classifier.tau_record["raw_head"]
        gat: GAT = source.classifier.gat
        budget = source.config["model"]["false_alarms_per_hour"]
        number = best_tau(gat, raw_head, data.module, budget) if tau == AUTO else tau
        record = TauNormRecord(number, head_key(gat.state_dict()), raw_head, chosen=tau == AUTO)
        with torch.no_grad():
            gat.head.weight.copy_(record.normed_head())
        outbox.name_run(f"tau={number:g} seed={source.config['seed_everything']} retau of {source_run_id[:8]}")
        for callback in source.config["trainer"]["callbacks"]:
            if callback["class_path"].endswith(".TauNormCallback"):
                callback["init_args"] |= {"tau": tau, "choose_tau": "graphids.assessment.tau_sweep.choose_tau"}
        source.publish_as(outbox, record, data, {"tau": tau}, save_model)


def _shown(tau: float | str) -> str:
    return tau if isinstance(tau, str) else f"{tau:g}"
