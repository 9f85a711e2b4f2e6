"""The command `adapt`: a model's network with the profile of another vehicle, without training."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np

from graphids._mlflow.tracked_run import tracked_run
from graphids.commands.attack_free import attack_free_captures, left_out
from graphids.commands.finished_run import PROFILE_TAG
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with, links_of
from graphids.commands.vehicle_alarms import alarm_words
from graphids.commands.vehicle_model import profile_at, settings_for, with_profile
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.core.captures.read import OnBadLine
from graphids.core.classifier import WindowClassifier
from graphids.core.data.dataset import dataset_digest
from graphids.core.frames import Capture, Frames
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.options import OptionError
from graphids.outbox.outbox import Outbox
from graphids.secrets import without_secrets
from graphids.wording import counted, time_words
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier

_MAX_NAME_CHARACTERS = 40


class VehicleData(NamedTuple):
    """Where the profile of the vehicle comes from: attack-free captures of one bus, or a file that has it."""

    captures: Sequence[str]
    profile: Path | None
    bus: str | None
    on_bad_line: OnBadLine


class _Vehicle(NamedTuple):
    """The vehicle's profile, its name, and the captures that it was fitted on, if they are here."""

    profile: Profile
    name: str
    captures: list[Capture]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(profile_bytes(self.profile)).hexdigest()


class _Adapted(NamedTuple):
    """The model for the vehicle, its defaults of `predict`'s params, its card, and what its threshold costs there."""

    classifier: WindowClassifier
    settings: dict[str, Any]
    card: str
    cost: str

    def save(self, folder: Path, save_model: Callable[..., str]) -> str:
        """Save it, and return its root digest."""
        return save_model(self.classifier, folder, model_config=self.settings, model_card=self.card)


def adapt(
    model_uri: str,
    data: VehicleData,
    output: Path | None,
    *,
    load: Callable[[str], VerifiedClassifier],
    save_model: Callable[..., str],
) -> None:
    """Log a model's network with the profile of another vehicle, as a new model, or save it to a folder.

    Weights and threshold stay as they are, bit for bit; nothing is trained. Where there are captures, one line says
    how often traffic of the vehicle that the profile has not seen would have alerted.

    Args:
        model_uri: The model, or `base`.
        data: Of the vehicle.
        output: A new folder for the model, which is then in no MLflow run; None logs it as a new LoggedModel.
        load: Loads a verified model by its URI.
        save_model: `mlflow_graphids.save_model`.

    Raises:
        OptionError: If not exactly one of captures and profile is given.
        DataError: If the captures or the profile cannot be used, or the model judges raw features.
        FileExistsError: If `output` exists.
        IntegrityError: If the model does not verify.
    """
    if bool(data.captures) == (data.profile is not None):
        raise OptionError("adapt: expected either attack-free captures of the vehicle, or --profile FILE; give one.")
    if output is None:
        _log(model_uri, data, load, save_model)
        return
    if output.exists():
        raise FileExistsError(f"{output} exists. Expected the name of a new folder; name another or remove this one.")
    source = load(model_uri)
    vehicle = _vehicle_of(data)
    adapted = _adapted(source, vehicle)
    digest = adapted.save(output, save_model)
    print(_summary(adapted, vehicle, str(output), digest))


def _log(
    model_uri: str, data: VehicleData, load: Callable[[str], VerifiedClassifier], save_model: Callable[..., str]
) -> None:
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        outbox.name_run(f"adapt {model_uri}")
        outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.source_model": model_uri})
        source = load(model_uri)
        vehicle = _vehicle_of(data)
        tags = {
            "graphids.source_model": model_uri,
            "graphids.source_digest": source.digest,
            PROFILE_TAG: vehicle.sha256,
        }
        outbox.name_run(f"adapt {model_uri} to {vehicle.name}")
        outbox.set_tags(tags)
        outbox.log_params({"source_digest": source.digest, "profile_sha256": vehicle.sha256})
        if source.model_id is not None:
            outbox.log_input_model(source.model_id)
        if vehicle.captures:
            _log_captures(outbox, vehicle, data.captures)
        adapted, name = _adapted(source, vehicle), model_name("adapted", vehicle.name)
        digest = outbox.log_model(
            lambda folder: adapted.save(folder, save_model), name=name, step=0, tags=tags, description=adapted.card
        )
        outbox.flush()
        text = _summary(adapted, vehicle, outbox.model_uri(digest, name), digest)
        close_with(outbox, adapted.cost, f"{text}\n\nrun     {outbox.run_id}\n{links_of(outbox).lines()}")


def _vehicle_of(data: VehicleData) -> _Vehicle:
    if data.profile is not None:
        return _Vehicle(profile_at(data.profile), data.profile.stem, [])
    captures = list(attack_free_captures(data.captures, data.bus, data.on_bad_line))
    return _Vehicle(fit_profile([capture.frames for capture in captures]), Path(data.captures[0]).name, captures)


def _log_captures(outbox: Outbox, vehicle: _Vehicle, source: Sequence[str]) -> None:
    outbox.log_input(
        name=vehicle.name,
        digest=dataset_digest(vehicle.captures),
        source=" ".join(source),
        profile={"captures": len(vehicle.captures), "frames": vehicle.profile.frames},
        context="profile",
    )


def _adapted(source: VerifiedClassifier, vehicle: _Vehicle) -> _Adapted:
    classifier, profile = with_profile(source, vehicle.profile), vehicle.profile
    settings = settings_for(source, classifier)
    threshold = float(settings.get("threshold", classifier.threshold))
    origin = "that its alarms chose" if classifier.has_own_alarms else "the threshold of that model"
    cost = _cost(classifier, [capture.frames for capture in vehicle.captures], threshold)
    if profile.alarms is not None:
        cost = alarm_words(profile.alarms)
        if not classifier.has_own_alarms:
            cost = f"{cost} They were chosen with another network: here the experts keep their share, the score none."
    card = f"""# Intrusion detection on the CAN bus of one vehicle

The network of the model with graphids.digest {source.digest}, unchanged, with the profile of a vehicle: \
{counted(len(profile.node_key), "arbitration ID")}, fitted on {counted(profile.frames, "frame")}, \
{time_words(profile.seconds / 3600)} of attack-free traffic (sha256 {vehicle.sha256}). What the network was trained on \
and what it was measured on stands in the card of that model.

A window of {classifier.preprocessing.window_size:,} frames alerts at a score of {threshold:.6g} or more, \
{origin}. {cost}
"""
    return _Adapted(classifier, settings, without_secrets(card), cost)


def _cost(classifier: WindowClassifier, recordings: list[Frames], threshold: float) -> str:
    """What the threshold costs on traffic of the vehicle, each block judged by the profile of the others."""
    if not recordings:
        return "How often it alerts on attack-free traffic of this vehicle was not measured: give captures for that."
    alerts = windows = 0
    seconds = 0.0
    for block, others in left_out(recordings):
        bare = WindowClassifier(
            classifier.gat, classifier.preprocessing, threshold, classifier.tau_record, fit_profile(others)
        )
        for frames in block:
            scores = bare.score(frames, top_k=0)
            alerts, windows = alerts + int(scores.alert.sum()), windows + len(scores)
            seconds += float(np.ptp(frames.timestamp)) if len(frames) else 0.0
    if not windows or not seconds:
        return "How often it alerts on attack-free traffic of this vehicle was not measured: no capture holds a window."
    return (
        f"Blocks of the vehicle's own traffic, judged by the profile of the others, would alert "
        f"{alerts * 3600 / seconds:.1f} times an hour ({alerts:,} of {counted(windows, 'window')} in "
        f"{time_words(seconds / 3600)}); the profile of the model has seen all of them."
    )


def model_name(how: str, vehicle: str) -> str:
    """In the characters that MLflow has in the name of a LoggedModel."""
    return re.sub(r"[^A-Za-z0-9-]", "_", f"{how}-{vehicle[:_MAX_NAME_CHARACTERS]}")


def _summary(adapted: _Adapted, vehicle: _Vehicle, uri: str, digest: str) -> str:
    profile = vehicle.profile
    pinned = "" if ":/" in uri else f" --expected-digest {digest}"
    return f"""profile {counted(len(profile.node_key), "arbitration ID")}, {counted(profile.frames, "frame")}, \
{time_words(profile.seconds / 3600)}; sha256 {vehicle.sha256}
{fill(adapted.cost, 118)}

model   {uri}
digest  {digest}
predict graphids predict next.log --model {uri}{pinned}
serve   graphids serve {uri}{pinned}"""
