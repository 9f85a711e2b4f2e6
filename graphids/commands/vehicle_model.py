"""Which model a command scores with: one of its own, or the base model, and whose vehicle's profile."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.core.profile.profile import Profile
from graphids.core.profile.profile_file import MAX_PROFILE_BYTES, read_profile
from graphids.options import OptionError
from mlflow_graphids.base import NAME, load_base_model
from mlflow_graphids.loading import load_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier


class ScoringModel(NamedTuple):
    """A verified model, perhaps with another profile than it was saved with.

    Attributes:
        classifier: The model.
        reader: That it carries.
        digest: Of the model as it was saved.
    """

    classifier: WindowClassifier
    reader: Callable[[Path], Frames] | None
    digest: str


def scoring_model(
    model: str | None, profile: Path | None, *, trust: Mapping[str, Any], allow_code: bool = False
) -> ScoringModel:
    """The model that a command was told to score with.

    Args:
        model: Its URI, or `base`; None for the base model where there is a profile.
        profile: File of the profile to judge by instead of the model's own.
        trust: Keyword arguments of `load_model`.
        allow_code: As in `load_model`.

    Raises:
        OptionError: If neither is given.
        DataError: If the profile cannot be read, or the model judges raw features.
        IntegrityError: As in `load_model`.
    """
    if model is None and profile is None:
        raise OptionError(
            "--model: not given; expected the URI of a model, or --profile FILE, the vehicle's profile as `graphids "
            "profile` writes it, to judge by the base model."
        )
    given = None if profile is None else profile_at(profile)
    loaded = named_model(model or NAME, trust=trust, allow_code=allow_code)
    return ScoringModel(loaded if given is None else with_profile(loaded, given), loaded.capture_reader, loaded.digest)


def named_model(model: str, *, trust: Mapping[str, Any], allow_code: bool = False) -> VerifiedClassifier:
    """The model of that URI, or the one that ships with graphids, `base`; errors as in `load_model`."""
    return load_base_model(**trust) if model == NAME else load_model(model, **trust, allow_code=allow_code)


def profile_at(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        DataError: If it is not a profile, of another version, changed or inconsistent.
        OSError: If it cannot be read.
    """
    with path.open("rb") as stream:
        return read_profile(stream.read(MAX_PROFILE_BYTES + 1), str(path))


def with_profile(model: VerifiedClassifier, profile: Profile) -> WindowClassifier:
    """The same network and settings for the vehicle of a profile; not a verified model any more.

    Raises:
        DataError: If the model judges raw features.
    """
    if model.preprocessing.features == "raw":
        raise DataError(
            "The model judges raw features of the vehicle that it was trained on, and cannot use a profile. Expected "
            "a model that judges by deviations from one: leave --model out for the base model."
        )
    return WindowClassifier(model.gat, model.preprocessing, model.threshold, model.tau_record, profile)
