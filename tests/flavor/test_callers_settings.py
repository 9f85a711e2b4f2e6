"""Whatever the caller has set in its process, a model loads and gives the same scores, to the last bit.

Only where a setting chooses another kernel for products may their sums have another order.
"""

import decimal
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from graphids.core.explanation import explain
from mlflow_graphids import load_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from support.tiny_model import three_ids


@contextmanager
def setting(get: Callable[[], Any], put: Callable[[Any], object], value: Any) -> Iterator[None]:
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextmanager
def warnings_as_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def denormals_flushed() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return setting(torch.get_default_dtype, torch.set_default_dtype, dtype)


def default_device(name: str) -> AbstractContextManager[None]:
    return setting(lambda: None, torch.set_default_device, name)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "float16 by default": lambda: default_dtype(torch.float16),
    "device meta by default": lambda: default_device("meta"),
    "device cpu:0 by default": lambda: default_device("cpu:0"),
    "within torch.device('meta')": lambda: torch.device("meta"),
    "no gradients": lambda: setting(torch.is_grad_enabled, torch.set_grad_enabled, False),
    "inference mode": torch.inference_mode,
    "autocast on the CPU": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic algorithms": lambda: setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "four threads": lambda: setting(torch.get_num_threads, torch.set_num_threads, 4),
    "two threads": lambda: setting(torch.get_num_threads, torch.set_num_threads, 2),
    "medium precision of products": lambda: setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "denormals flushed": denormals_flushed,
    "anomalies detected": torch.autograd.detect_anomaly,
    "numpy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": warnings_as_errors,
    "pandas copies on write": lambda: pd.option_context("mode.copy_on_write", True),
    "pandas infers strings": lambda: pd.option_context("future.infer_string", True),
    "decimals of three digits": lambda: decimal.localcontext(decimal.Context(prec=3)),
    "torch seeded": lambda: torch.random.fork_rng(),
}


# What they change depends on the processor: on one of AMD scores move by up to 3e-8, on one of Intel by nothing.
OTHER_KERNELS = {"four threads", "two threads", "medium precision of products"}


def answers(folder: Path, digest: str, table: pd.DataFrame) -> tuple[VerifiedClassifier, dict[str, Any]]:
    model = load_model(folder, expected_digest=digest)
    frames = three_ids(4000, seed=2)
    scores = model.score(frames, threshold=0.0)
    explanation = explain(model, frames, 3)
    return model, {
        "weights": {name: value.numpy().tobytes() for name, value in model.gat.state_dict().items()},
        "score": scores.score.tobytes(),
        "alert": scores.alert.tobytes(),
        "ids": scores.arbitration_ids,
        "kind": scores.kind.tolist(),
        "explanation": repr(explanation),
        "table": model.predict(table, {"threshold": 0.0}).to_csv(),
        "pyfunc": mlflow.pyfunc.load_model(str(folder)).predict(table, {"threshold": 0.0}).to_csv(),
    }


@pytest.fixture(scope="module")
def expected(pristine: tuple[Path, str], table: pd.DataFrame) -> dict[str, Any]:
    return answers(*pristine, table)[1]


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_of_the_callers_changes_what_a_model_says(
    name: str, pristine: tuple[Path, str], table: pd.DataFrame, expected: dict[str, Any]
) -> None:
    with SETTINGS[name]():
        model, found = answers(*pristine, table)

    if name in OTHER_KERNELS:
        scores, theirs = (np.frombuffer(each["score"]) for each in (found, expected))
        np.testing.assert_allclose(scores, theirs, rtol=1e-6)
        exact = ("weights", "alert", "ids", "kind")
        assert {part: found[part] for part in exact} == {part: expected[part] for part in exact}
    else:
        assert found == expected
    # And a model that was loaded under it is the same outside.
    assert model.score(three_ids(4000, seed=2), threshold=0.0).score.tobytes() == expected["score"]
