"""Simulated captures that more than one module of this folder scores."""

import pytest

from graphids.core.data.datamodule import CANDataModule


@pytest.fixture(scope="package")
def data() -> CANDataModule:
    """Windows of 64 frames with stride 32, set up; tests leave it as it is."""
    module = CANDataModule(
        "simulated", 64, 32, simulated_duration_s=3.0, simulated_captures_per_kind=3, split="capture"
    )
    module.setup("fit")
    return module
