"""Times that a float of half or single precision has rounded: frames then share them, and their gaps are lost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.clock import JUDGED_FRAMES
from graphids.core.frames import DataError

MAX_STEP_S = 1e-4  # a frame of 8 bytes takes 0.11 ms on a bus of 1 Mbit/s


def require_fine_steps(where: str, dtype: np.dtype[Any], seconds: NDArray[np.float64]) -> None:
    """Refuse times that were rounded, also where they are float64 by now.

    MLflow turns float32 into the float64 of a signature, and JSON has one type of number.

    Args:
        where: The column, as the subject of the error.
        dtype: As the column came.
        seconds: Its values.

    Raises:
        DataError: Naming the type and its step.
    """
    largest = np.abs(seconds).max(initial=0.0)
    name, float_type = str(dtype), dtype.type if dtype in (np.float16, np.float32) else np.float32
    step_s = float(np.spacing(float_type(largest)))
    if step_s <= MAX_STEP_S:
        return
    if dtype not in (np.float16, np.float32):
        is_rounded = len(seconds) >= JUDGED_FRAMES and bool((seconds == seconds.astype(np.float32)).all())
        # Halves and quarters of a second are exact in float32, and have no bits that only rounding leaves.
        if not is_rounded or not (seconds % (16 * step_s)).any():
            return
        name = f"{dtype} that holds values of float32"
    raise DataError(
        f"{where} is {name}: at {largest:.10g} s its step is {step_s:g} s, and frames follow each other "
        f"within {MAX_STEP_S:g} s. Expected float64 from the recorder on; what was rounded is lost."
    )
