"""Four trainings for the UI: two taus, each on a card that keeps its memory and on one that loses it."""

import json
import re
from dataclasses import dataclass
from itertools import product
from typing import Any
from urllib.parse import quote

from graphids.core.callbacks import MemoryReading
from support.resumed_run import SIZES, TinyRuns
from support.tracking_server import TrackingServer

GIB = 2**30
TAUS = (0.0, 1.0)
OK, WARNING = "ok", "WARNING"
_AS_TRAINING = "?workflowType=machine_learning"
# From which reading on the card loses memory: the first is the baseline, then one follows each epoch.
_LOST_AFTER = {OK: 10**6, WARNING: 2}


@dataclass
class InjectedCard:
    """A card of 40 GiB of which this process holds 2; after `lost_after` readings others take 16 more."""

    lost_after: int

    def __call__(self) -> MemoryReading:
        self.lost_after -= 1
        others = 6 if self.lost_after >= 0 else 22
        return MemoryReading(
            total=40 * GIB, device_free=(38 - others) * GIB, reserved=2 * GIB, allocated=int(1.2 * GIB)
        )


_CARD = f"{InjectedCard.__module__}.{InjectedCard.__qualname__}"


@dataclass(frozen=True, slots=True)
class FourRuns:
    """Where the runs are.

    Attributes:
        uri: Of the server.
        run_ids: By tau and status of the card.
        names: Of the runs, by the same.
        experiment_id: Of all of them.
        model_id: Of one of them.
        said: What the last training wrote to the terminal.
    """

    uri: str
    run_ids: dict[tuple[float, str], str]
    names: dict[tuple[float, str], str]
    experiment_id: str
    model_id: str
    said: str

    @property
    def view(self) -> str:
        """The saved view's address, as the training printed it."""
        found = re.search(r"http\S*viewStateShareKey\S*", self.said)
        if found is None:
            raise AssertionError(f"expected a link to the saved view, the training said:\n{self.said}")
        return found[0]

    @property
    def charts(self) -> str:
        return f"{self.view}&compareRunsMode=CHART"

    def run(self, tau: float, status: str, tab: str = "") -> str:
        return f"{self.uri}/#/experiments/{self.experiment_id}/runs/{self.run_ids[tau, status]}{tab}{_AS_TRAINING}"

    @property
    def models(self) -> str:
        return f"{self.uri}/#/experiments/{self.experiment_id}/models{_AS_TRAINING}"

    @property
    def model(self) -> str:
        return f"{self.uri}/#/experiments/{self.experiment_id}/models/{self.model_id}{_AS_TRAINING}"

    def compare(self, *run_ids: str) -> str:
        runs, experiments = (quote(json.dumps(ids)) for ids in (run_ids, [self.experiment_id]))
        return f"{self.uri}/#/compare-runs?runs={runs}&experiments={experiments}"


def train_four(server: TrackingServer, *, overrides: tuple[str, ...] = SIZES, **parameters: Any) -> FourRuns:
    """Train into a server, each in a process of its own.

    Args:
        server: Started; the runs' folders lie beside its own.
        overrides: Of the configuration.
        parameters: Of the project.
    """
    run_ids = {}
    TinyRuns(server.folder, server.uri).ask(lambda client: len(client.search_experiments()))  # it makes its tables
    for tau, status in product(TAUS, _LOST_AFTER):
        runs = TinyRuns(server.folder, server.uri, drawn=True, tau=tau, **parameters)
        runs.overrides = overrides
        for callback in runs.config["trainer"]["callbacks"]:
            if callback["class_path"].endswith(".VRAMDriftCallback"):
                card = {"class_path": _CARD, "init_args": {"lost_after": _LOST_AFTER[status]}}
                callback["init_args"]["memory_reader"] = card
        run_ids[tau, status], code = runs.train()
        if code != 0:
            raise RuntimeError(runs.log())
    said = runs.log()

    def names_and_model(client: Any) -> list[Any]:
        found = [client.get_run(run_id) for run_id in run_ids.values()]
        return [[run.info.run_name for run in found], found[-1].info.experiment_id, _model_id(found[-1])]

    names, experiment_id, model_id = runs.ask(names_and_model)
    return FourRuns(server.uri, run_ids, dict(zip(run_ids, names, strict=True)), experiment_id, model_id, said)


def _model_id(run: Any) -> str:
    (output,) = run.outputs.model_outputs
    return str(output.model_id)
