"""The command `retune` for a model of a vehicle: the same network and profile with alarms for another budget."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from textwrap import fill

from graphids._mlflow.tracked_run import tracked_run
from graphids.commands.adapt import VehicleData, model_name
from graphids.commands.attack_free import attack_free_captures
from graphids.commands.finished_run import PROFILE_TAG
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with, links_of
from graphids.commands.vehicle_alarms import alarm_words, unknown_words, with_alarms
from graphids.commands.vehicle_model import settings_for
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.core.data.dataset import dataset_digest
from graphids.core.frames import DataError
from graphids.core.profile.profile_file import profile_bytes
from graphids.secrets import without_secrets
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier


def retune_vehicle(
    model_uri: str,
    held_out: VehicleData,
    per_hour: float,
    *,
    load: Callable[[str], VerifiedClassifier],
    save_model: Callable[..., str],
) -> None:
    """Log a model of a vehicle again with alarms that keep another budget, chosen on more attack-free hours.

    Weights and habits stay as they are, bit for bit.

    Args:
        model_uri: The model.
        held_out: Attack-free captures that its profile was not fitted on.
        per_hour: False-alarm incidents an hour.
        load: Loads a verified model by its URI.
        save_model: `mlflow_graphids.save_model`.

    Raises:
        DataError: If the model has no profile, or the captures cannot be used.
        IntegrityError: If the model does not verify.
    """
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        outbox.name_run(f"{per_hour:g} false alarms/h, retune of {model_uri}")
        outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.source_model": model_uri})
        source = load(model_uri)
        if source.profile is None:
            raise DataError(
                f"{model_uri}: has no profile of a vehicle, and its alarms are a vehicle's. Give it one with `graphids "
                "adapt`, or retune the run that trained it, without captures."
            )
        captures = list(attack_free_captures(held_out.captures, held_out.bus, held_out.on_bad_line))
        recordings = [capture.frames for capture in captures]
        profile = with_alarms(source, source.profile, per_hour, held_out=recordings)
        sha256 = hashlib.sha256(profile_bytes(profile)).hexdigest()
        classifier, words = source.for_vehicle(profile), unknown_words(profile, recordings)
        words = words if profile.alarms is None else alarm_words(profile.alarms) + words
        tags = {
            "graphids.source_model": model_uri,
            "graphids.source_digest": source.digest,
            PROFILE_TAG: sha256,
        }
        outbox.set_tags(tags)
        outbox.log_params({"source_digest": source.digest, "profile_sha256": sha256, "false_alarms_per_hour": per_hour})
        if source.model_id is not None:
            outbox.log_input_model(source.model_id)
        outbox.log_input(
            name=Path(held_out.captures[0]).name,
            digest=dataset_digest(captures),
            source=" ".join(held_out.captures),
            profile={"captures": len(captures), "frames": sum(len(capture.frames) for capture in captures)},
            context="alarms",
        )
        card = without_secrets(
            f"# Intrusion detection on the CAN bus of one vehicle\n\nThe network and the profile of the model with "
            f"graphids.digest {source.digest}, unchanged, with other alarms. {words} What the network was trained on "
            "and what it was measured on stands in the card of that model.\n"
        )
        name = model_name("retuned", Path(held_out.captures[0]).name)
        digest = outbox.log_model(
            lambda folder: save_model(
                classifier, folder, model_config=settings_for(source, classifier), model_card=card
            ),
            name=name,
            step=0,
            tags=tags,
            description=card,
        )
        outbox.flush()
        uri = outbox.model_uri(digest, name)
        text = f"{fill(words, 118)}\n\nmodel   {uri}\ndigest  {digest}\npredict graphids predict next.log --model {uri}"
        close_with(outbox, words, f"{text}\n\nrun     {outbox.run_id}\n{links_of(outbox).lines()}")
