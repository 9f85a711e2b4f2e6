"""What is known of a tau-normalized network once it has been measured: the subject of summary, card and pictures."""

from dataclasses import dataclass

from graphids.assessment.assess import Assessment
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord

# The baseline of raw features.
RULES = "rules"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured of one network.

    Attributes:
        assessment: Metrics and thresholds.
        record: Tau and the head before it.
        sweep: What other values of tau would do on validation.
        baseline: What the network is compared with.
    """

    assessment: Assessment
    record: TauNormRecord
    sweep: TauSweep
    baseline: str = RULES
