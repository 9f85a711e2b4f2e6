"""From a tau-normalized network to a finished run: threshold, metrics, model, card, pictures, summary."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import mlflow

from graphids._mlflow.saved_view import CHANGED_BY_TAU, asked_first
from graphids.assessment.assess import Assessment, Vehicles, assess
from graphids.assessment.scored_split import score_split
from graphids.assessment.tau_sweep import sweep_tau
from graphids.core.callbacks import TauNormRecord, VRAMDriftCallback, head_key
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from graphids.core.profile.profile import Profile
from graphids.core.simulation.fleet import SIMULATED_CAR
from graphids.logged_model import model_name
from graphids.options import FLEET
from graphids.outbox.outbox import Outbox
from graphids.report.findings import Findings
from graphids.report.material import material_text
from graphids.report.model_card import DataUsed, model_card
from graphids.report.pictures import log_training_report
from graphids.report.summary import NO_PROFILE, ModelLink, RunLinks, headline, training_summary
from graphids.secrets import without_secrets


class NormalizedNetwork(NamedTuple):
    """A network with its head tau-normalized.

    Attributes:
        gat: The network.
        record: Tau and the head's weight before; it travels in the model, for `retau`.
        preprocessing: What was fitted on the training split.
    """

    gat: GAT
    record: TauNormRecord
    preprocessing: Preprocessing


class LoggedData(NamedTuple):
    """The captures of a run.

    Attributes:
        module: Set up; its validation split gives the threshold, its test split the metrics.
        dataset: The captures as MLflow knows them; metrics are linked to it.
    """

    module: CANDataModule
    dataset: Mapping[str, str]


class Fit(NamedTuple):
    """The fit of a run that trained its network.

    Attributes:
        epoch: Epoch of the weights: MLflow shows the metrics of that step with the model.
        drift: What watched the GPU's memory.
    """

    epoch: int | None
    drift: VRAMDriftCallback | None


def publish(
    outbox: Outbox,
    network: NormalizedNetwork,
    data: LoggedData,
    *,
    false_alarms_per_hour: float,
    save_model: Callable[..., str],
    fit: Fit | None = None,
) -> None:
    """Measure a tau-normalized network, log it as a model and write the run's summary.

    Args:
        outbox: Of the run.
        network: To be measured.
        data: What it is measured on.
        false_alarms_per_hour: Budget for the threshold.
        save_model: `mlflow_graphids.save_model`.
        fit: How the network was trained, where this run trained it.
    """
    epoch, drift = fit or (None, None)
    gat, record, _ = network
    val, test = (score_split(gat, data.module.graphs[split], network.preprocessing) for split in ("val", "test"))
    raw = val.under(gat, record.raw_head)
    findings = Findings(
        assess(
            val,
            raw,
            test,
            data.module.rule_scores,
            false_alarms_per_hour,
            vehicles=vehicles_of(data.module),
        ),
        record,
        sweep_tau(gat, raw, record.raw_head, false_alarms_per_hour),
        data.module.summary["baseline"],
    )
    # From here on the number; until now what was asked for, which may be "auto".
    outbox.set_tags({"graphids.tau": record.tau})
    used, profile = _data_used(data.module), profile_of(data.module)
    name = model_name(record.tau, data.module.hparams["seed"], used.name)
    save = _Saving(name, epoch or 0, save_model)
    digest = _log_model(outbox, network, findings, used, profile, save)
    metrics = {**_metrics(findings.assessment), "tau": record.tau, **({} if epoch is None else {"best_epoch": epoch})}
    outbox.log_metrics(metrics, model=digest, dataset=data.dataset)
    point = findings.assessment.operating_point
    outbox.log_dict(
        {
            **asdict(findings.assessment),
            "operating_point": point.to_dict(),
            "head_row_norms": _row_norms(network),
        },
        "assessment.json",
    )
    log_training_report(outbox, findings, test, data.module.rule_scores["test"], drift)
    outbox.flush()
    model = ModelLink(outbox.model_uri(digest, name), digest)
    text = training_summary(
        findings,
        data.module.summary["split_reason"],
        model,
        links_of(outbox),
        drift=drift,
        material=material_text(data.module.summary, findings.assessment),
    )
    if network.preprocessing.features != "raw" and profile is None:
        text += f"\nadapt   {NO_PROFILE}"
    if data.module.hparams["data"] == FLEET and data.module.summary["held_out"] == SIMULATED_CAR:
        # Its drives, attacked ones too, are what `simulate` writes.
        text += f"\ntry     graphids simulate drives && graphids predict drives/spoof-1.csv --model {model.uri}"
    assessment = findings.assessment
    first = headline(assessment.test, rule=assessment.rule, tau=record.tau, drift=drift, baseline=findings.baseline)
    close_with(outbox, " ".join(filter(None, (point.note(), first))), text)


def links_of(outbox: Outbox) -> RunLinks:
    """Where the run of an outbox is found."""
    return RunLinks(outbox.run_id, outbox.experiment_id, mlflow.get_tracking_uri())


def close_with(outbox: Outbox, headline: str, text: str) -> None:
    """Print the summary, and put it where the run's page in the UI begins: few lines of that show unfolded."""
    outbox.log_text(text, "summary.txt")
    outbox.set_tags({"mlflow.note.content": f"{headline}\n\n```\n{text.strip()}\n```"})
    print(without_secrets(text), flush=True)


def _data_used(module: CANDataModule) -> DataUsed:
    return DataUsed(Path(module.hparams["data"]).name, module.dataset_digest, module.summary)


def vehicles_of(module: CANDataModule) -> Vehicles | None:
    """The vehicles of the test split; None where they are not told apart."""
    of_window = module.window_vehicles.get("test")
    return None if of_window is None else Vehicles(of_window, module.summary["held_out"])


def profile_of(module: CANDataModule) -> Profile | None:
    """The profile that the model carries: of the vehicle that was held out, or of the only one; else None.

    A network that learned from several vehicles is measured on another one, by its profile, as that one's model.
    """
    profiles, held_out = module.profiles, module.summary.get("held_out")
    if held_out:
        return profiles.get(held_out)
    return next(iter(profiles.values())) if len(profiles) == 1 else None


class _Saving(NamedTuple):
    """How a model is logged: its name, its step, and `mlflow_graphids.save_model`."""

    name: str
    step: int
    save_model: Callable[..., str]


def _log_model(
    outbox: Outbox,
    network: NormalizedNetwork,
    findings: Findings,
    data: DataUsed,
    profile: Profile | None,
    saving: _Saving,
) -> str:
    """Log the network as a model with its card; returns its root digest."""
    gat, record, preprocessing = network
    before, _ = record.row_norms()
    tau_record = {
        "tau": record.tau,
        "key": head_key(gat.state_dict()),
        "raw_head": record.raw_head,
        "row_norms": before,
    }
    classifier = WindowClassifier(gat.cpu(), preprocessing, findings.assessment.threshold, tau_record, profile)
    card = without_secrets(model_card(findings, preprocessing, data, profile))
    return outbox.log_model(
        lambda folder: saving.save_model(classifier, folder, model_card=card),
        name=saving.name,
        step=saving.step,
        tags={"graphids.tau": str(record.tau)},
        description=card,
    )


def _row_norms(network: NormalizedNetwork) -> dict[str, dict[str, float]]:
    """Norm of each class's row of the head, before and after tau-normalization."""
    rows = zip(network.preprocessing.classes, *network.record.row_norms(), strict=True)
    return {name: {"before": before, "after": after} for name, before, after in rows}


def _metrics(assessment: Assessment) -> dict[str, float]:
    """Metric names as the UI groups them: test/, test_rule/, and validation around tau-normalization.

    What does not depend on who scores is under test/ alone; assessment.json has all of it. MLflow's own charts come in
    the order of names, and the detector stands before the baseline.
    """
    return {
        **{f"test/{name}": value for name, value in asked_first(assessment.test).items()},
        **{
            f"test_rule/{name}": value
            for name, value in asked_first(assessment.rule).items()
            if not name.endswith(("/windows", "/prevalence"))
        },
        **{f"val_before_tau/{name}": assessment.before[name] for name in CHANGED_BY_TAU if name in assessment.before},
        **{f"val_after_tau/{name}": assessment.after[name] for name in CHANGED_BY_TAU if name in assessment.after},
        "threshold": assessment.threshold,
    }
