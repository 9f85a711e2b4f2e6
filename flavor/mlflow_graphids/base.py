"""The base model, which ships with the package: it judges any vehicle, once it has a profile of it.

`tools/make_base_model.py` makes it, and writes its digest here: the anchor of a folder that an installation holds, and
that anyone could have changed who can write there.
"""

import os
from pathlib import Path

from mlflow_graphids.artifacts import IncompatibleModelError
from mlflow_graphids.loading import load_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.verification.trust import Policy

NAME = "base"
FOLDER = Path(__file__).parent / "base_model"
DIGEST = "7b55c413b44393faaa57b28027da4f01fa9b6aa6bae2426309a20b18921d7598"


def load_base_model(
    expected_digest: str | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
) -> VerifiedClassifier:
    """Load the base model, verified against the digest that this version of graphids has in its source.

    Args:
        expected_digest: As in `load_model`; by default `DIGEST`.
        policy: As in `load_model`; "signed" needs a signature of it, which you make by `graphids sign`.
        signature: As in `load_model`.
        public_key: As in `load_model`.

    Raises:
        IntegrityError: If its files are not those that were shipped. All other errors are those of `load_model`.
        IncompatibleModelError: In a checkout whose features have changed since it was made.
    """
    try:
        return load_model(FOLDER, expected_digest or DIGEST, policy=policy, signature=signature, public_key=public_key)
    except IncompatibleModelError as error:
        raise IncompatibleModelError(f"{error} For the base model: run `python tools/make_base_model.py`.") from error
