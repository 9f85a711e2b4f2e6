import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.fabric.utilities.types import _Stateful
from numpy.typing import NDArray
from torch_geometric.data import Batch, Data

from graphids._fs import IntegrityError
from graphids.core.data import dataset as module
from graphids.core.data.batches import GraphBatches, NodeBudgetBatchSampler
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.dataset import dataset_digest, labelled_windows
from graphids.core.data.preprocessing import UNK, Preprocessing
from graphids.core.frames import Capture, DataError, Frames
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.simulation.simulate import simulate_vehicle, simulated_captures

SMALL = {"data": "simulated", "window_size": 64, "stride": 32, "batch_size": 16, "simulated_duration_s": 3.0}


@pytest.fixture(scope="module")
def prepared() -> CANDataModule:
    data = CANDataModule(**SMALL)
    data.setup("fit")
    return data


def test_setup_fills_every_split_with_every_class(prepared: CANDataModule) -> None:
    assert prepared.classes == ("normal", "dos", "fuzzy", "masquerade", "replay", "spoof", "suppress")
    for name in ("train", "val", "test"):
        assert prepared.graphs[name].classes == prepared.classes
        assert set(prepared.graphs[name].label.tolist()) == set(range(7))
    assert prepared.rule_scores["val"].shape == prepared.graphs["val"].label.shape


def test_setup_runs_once(prepared: CANDataModule) -> None:
    graphs = prepared.graphs["train"]

    prepared.setup("test")

    assert prepared.graphs["train"] is graphs


def test_summary_counts_every_frame_and_window(prepared: CANDataModule) -> None:
    summary = json.loads(json.dumps(prepared.summary))

    assert summary["split"] == "capture"
    assert sum(summary[name]["frames"] for name in ("train", "val", "test")) == summary["frames"]
    assert sum(summary["train"]["windows"].values()) == len(prepared.graphs["train"])
    assert summary["train"]["seconds"] == pytest.approx(3.0 * summary["train"]["captures"], rel=0.02)


def test_what_is_fitted_sees_the_training_split_alone(prepared: CANDataModule) -> None:
    expected = Preprocessing.fit(prepared.graphs["train"], window_size=64, stride=32)

    assert prepared.preprocessing.to_dict() == expected.to_dict()


def test_validation_batches_hold_the_windows_in_recorded_order(prepared: CANDataModule) -> None:
    labels = torch.cat([batch.y for batch in prepared.val_dataloader()])

    assert labels.tolist() == prepared.graphs["val"].label.tolist()


def test_validation_shows_every_id_as_it_is(prepared: CANDataModule) -> None:
    tokens = torch.cat([batch.token for batch in prepared.val_dataloader()])

    assert tokens.tolist() == prepared.preprocessing.tokens(prepared.graphs["val"].node_key).tolist()


def test_training_batches_are_a_new_permutation_each_epoch(prepared: CANDataModule) -> None:
    loader = prepared.train_dataloader()
    first, second = ([batch.y.tolist() for batch in loader] for _ in range(2))
    again = [batch.y.tolist() for batch in prepared.train_dataloader()]

    assert first == again
    assert first != second
    assert sorted(chain.from_iterable(first)) == sorted(prepared.graphs["train"].label.tolist())


def test_the_trainer_numbers_the_epochs_so_that_a_resumed_run_goes_on_with_its_order(
    prepared: CANDataModule, tmp_path: Path
) -> None:
    def trained(epochs: int, checkpoint: Path | None = None) -> list[list[int]]:
        model = _Recorder()
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            use_distributed_sampler=False,
        )
        trainer.fit(model, datamodule=prepared, ckpt_path=checkpoint, weights_only=False)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return model.first_labels

    straight = trained(3)
    first = trained(1)
    resumed = trained(3, checkpoint=tmp_path / "1.ckpt")

    assert len(straight) == 3
    assert straight[0] != straight[1]
    assert first + resumed == straight


class _Recorder(pl.LightningModule):
    """Remembers the labels of each epoch's first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.first_labels: list[list[int]] = []

    def training_step(self, batch: Data, batch_idx: int) -> torch.Tensor:
        if batch_idx == 0:
            self.first_labels.append(batch.y.tolist())
        return self.weight * batch.x.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_a_batch_is_what_pyg_makes_of_its_graphs_one_by_one(prepared: CANDataModule) -> None:
    batches = GraphBatches(prepared.graphs["test"], prepared.preprocessing)
    indices = np.array([9, 2, 5])

    batch = batches[indices]

    expected = Batch.from_data_list([batches[[index]] for index in indices.tolist()], exclude_keys=["batch"])
    for name in ("x", "token", "edge_index", "edge_attr", "y", "node_y"):
        assert torch.equal(batch[name], expected[name]), name
    assert torch.equal(batch.batch, expected.batch)
    assert batch.num_graphs == 3
    assert batch.to("cpu").num_graphs == 3


def test_a_batchs_dtypes_are_the_contracts(prepared: CANDataModule) -> None:
    batch = GraphBatches(prepared.graphs["test"], prepared.preprocessing)[range(4)]

    assert {name: batch[name].dtype for name in ("x", "edge_attr")} == {"x": torch.float32, "edge_attr": torch.float32}
    assert {batch[name].dtype for name in ("token", "edge_index", "batch", "y")} == {torch.int64}
    assert torch.isfinite(batch.x).all()


def test_node_labels_say_which_ids_are_attacked_and_nothing_where_an_attack_marks_no_frame(
    prepared: CANDataModule,
) -> None:
    graphs = prepared.graphs["test"]
    normal, attacked = (int(np.flatnonzero(graphs.label == label)[0]) for label in (0, 1))
    pair = graphs.take([normal, attacked])
    last = slice(pair.node_ptr[1], None)

    node_y = GraphBatches(pair, prepared.preprocessing)[[0, 1]].node_y
    pair.node_attacked[last] = 0  # as in a suppression
    unmarked = GraphBatches(pair, prepared.preprocessing)[[0, 1]].node_y

    assert node_y.dtype == torch.int8
    assert node_y.tolist() == graphs.take([normal, attacked]).node_attacked.tolist()
    assert node_y[last].max() == 1
    assert unmarked.tolist() == [0] * int(pair.node_ptr[1]) + [-1] * int(pair.num_nodes()[1])


def test_training_shows_some_known_ids_as_unk_and_scales_them_as_such(prepared: CANDataModule) -> None:
    graphs, preprocessing = prepared.graphs["train"], prepared.preprocessing
    indices = range(100)
    plain = GraphBatches(graphs, preprocessing)[indices]

    masked = GraphBatches(graphs, preprocessing, unk_rate=0.1)[indices]

    changed = masked.token != plain.token
    assert (masked.token[changed] == UNK).all()
    assert changed.float().mean().item() == pytest.approx(0.1, abs=0.03)
    as_unk = preprocessing.nodes(graphs.take(indices).x, np.zeros(len(changed), np.int64))
    assert torch.equal(masked.x[changed], torch.from_numpy(as_unk)[changed])
    assert torch.equal(masked.token, GraphBatches(graphs, preprocessing, unk_rate=0.1)[indices].token)


def test_a_kind_that_the_model_has_no_class_for_is_labelled_minus_one(prepared: CANDataModule) -> None:
    graphs = prepared.graphs["test"].take(np.flatnonzero(prepared.graphs["test"].label == 1)[:1])
    renamed = replace(graphs, classes=("normal", "ransom", *graphs.classes[2:]))

    assert GraphBatches(renamed, prepared.preprocessing)[[0]].y.tolist() == [-1]


def test_a_node_budget_closes_a_batch_early() -> None:
    sampler = NodeBudgetBatchSampler([4, 4, 4, 100, 1, 1, 1], batch_size=3, max_nodes=10)

    assert [batch.tolist() for batch in sampler] == [[0, 1], [2], [3], [4, 5, 6]]
    assert len(sampler) == 4


@pytest.mark.parametrize("max_nodes", [None, 30])
def test_every_graph_is_in_one_batch_of_each_epoch(max_nodes: int | None) -> None:
    counts = np.random.default_rng(0).integers(1, 12, 50)
    sampler = NodeBudgetBatchSampler(counts, batch_size=7, max_nodes=max_nodes, shuffle=True)

    for _ in range(3):
        assert sorted(index for batch in sampler for index in batch.tolist()) == list(range(50))


def test_shuffled_batches_mix_the_classes() -> None:
    """Windows of an attack lie together in a capture and resemble each other in size."""
    label = np.repeat([0, 1], [750, 250])
    sampler = NodeBudgetBatchSampler(20 + 10 * label, batch_size=50, max_nodes=1200, shuffle=True)

    shares = [label[batch].mean() for batch in sampler]

    assert 0.05 < min(shares) < max(shares) < 0.55


def test_a_sampler_goes_on_from_its_stored_epoch() -> None:
    def epochs(sampler: NodeBudgetBatchSampler, n: int) -> Iterator[list[list[int]]]:
        return iter([[batch.tolist() for batch in sampler] for _ in range(n)])

    straight, stopped, resumed = (NodeBudgetBatchSampler([1] * 20, 5, shuffle=True, seed=1) for _ in range(3))
    expected = list(epochs(straight, 4))
    begun = list(epochs(stopped, 2))
    resumed.load_state_dict(stopped.state_dict())

    assert begun + list(epochs(resumed, 2)) == expected


def test_a_sampler_goes_on_within_an_epoch_from_its_stored_place() -> None:
    whole, stopped, resumed = (NodeBudgetBatchSampler(np.ones(40), 3, shuffle=True, seed=1) for _ in range(3))
    expected = [[batch.tolist() for batch in whole] for _ in range(2)]
    passes = iter(stopped)
    begun = [next(passes).tolist() for _ in range(5)]

    assert stopped.state_dict() == {"epoch": 0, "batch": 5}
    resumed.load_state_dict(stopped.state_dict())
    resumed.set_epoch(0)  # as Lightning does before each epoch; the place within it stays

    assert begun + [batch.tolist() for batch in resumed] == expected[0]
    assert [batch.tolist() for batch in resumed] == expected[1]
    assert len(resumed) == 14


def test_another_epoch_begins_at_its_first_batch() -> None:
    sampler = NodeBudgetBatchSampler(np.ones(9), 3)
    sampler.set_position(epoch=2, batch=1)
    sampler.set_epoch(3)

    assert len(list(sampler)) == 3


def test_a_training_loader_has_the_state_that_lightning_stores(prepared: CANDataModule) -> None:
    loader = prepared.train_dataloader()
    next(iter(loader))

    assert isinstance(loader, _Stateful)
    assert loader.state_dict() == {"epoch": 0, "batch": 1}


def test_a_checkpoint_of_other_captures_is_refused(prepared: CANDataModule) -> None:
    prepared.load_state_dict(prepared.state_dict())

    with pytest.raises(IntegrityError, match=r"captures have digest .* trained on other.*train anew"):
        prepared.load_state_dict({"dataset_digest": "other"})


def test_ranks_share_the_batches_evenly() -> None:
    ranks = [NodeBudgetBatchSampler([1] * 35, 5, shuffle=True, rank=rank, world_size=2) for rank in range(2)]

    first, second = ([tuple(batch) for batch in sampler] for sampler in ranks)

    assert len(first) == len(second) == len(ranks[0]) == 3
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1, "max_nodes": 0}, "max_nodes 0"),
        ({"batch_size": 1, "rank": 2, "world_size": 2}, "rank is 2"),
    ],
)
def test_an_impossible_sampler_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NodeBudgetBatchSampler([1], **arguments)


def test_the_digest_tells_data_sets_apart_by_content_name_and_label() -> None:
    captures = simulated_captures(duration_s=1.0, captures_per_kind=1)[:6]
    frames = captures[-1].frames
    payload = frames.payload.copy()
    payload[-1, -1] ^= 1

    def with_last(**changes: Any) -> str:
        return dataset_digest([*captures[:-1], replace(captures[-1], **changes)])

    digests = {
        dataset_digest(captures),
        with_last(name="other"),
        with_last(frames=replace(frames, payload=payload)),
        with_last(frames=replace(frames, attack_kind=frames.attack_kind * 0)),
        with_last(frames=replace(frames, attack=None, attack_kind=None)),
    }
    assert len(digests) == 5
    assert dataset_digest(captures) == dataset_digest(simulated_captures(duration_s=1.0, captures_per_kind=1)[:6])


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(captures: list[Capture], **arguments: Any) -> CANDataModule:
        monkeypatch.setattr(module, "find_captures", lambda _: [(Path(c.name), c.name) for c in captures])
        monkeypatch.setattr(module, "read_captures", lambda path, **_: [c for c in captures if c.name == str(path)])
        return CANDataModule(**({"data": "drives", "window_size": 64, "stride": 32} | arguments))

    return put


def drive(attacked: slice, *, seconds: float = 20.0) -> Frames:
    """1000 frames per second of three IDs in turn, those of `attacked` marked."""
    n = int(1000 * seconds)
    attack = np.zeros(n, np.uint8)
    attack[attacked] = 1
    return Frames(
        timestamp=np.arange(n) / 1000,
        arbitration_id=(0x100 + np.arange(n) % 3).astype(np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8),
        is_extended=np.zeros(n, bool),
        channel=np.zeros(n, np.uint8),
        attack=attack,
        attack_kind=attack.astype(np.int16),
        kinds=("normal", "spoof"),
    )


@pytest.mark.parametrize(
    ("attacked", "lacking"),
    [
        (slice(0, 100), r"val has no attack window: train \d+ normal and \d attack, val \d+ normal and 0 attack, test"),
        (slice(None), "train has no normal window and val has no normal window and test has no normal window"),
        (slice(16_500, 17_500), "train has no attack window"),
    ],
)
def test_a_split_that_cannot_train_or_validate_is_told_before_training_with_counts_and_ways_out(
    read_as: Any, attacked: slice, lacking: str
) -> None:
    data = read_as([Capture("c.log", drive(attacked), "c.log")], gap_s=1.0)

    with pytest.raises(DataError, match=rf"{lacking}.*Split by time.*data\.split \(capture\).*smaller data\.gap_s"):
        data.setup()


def test_one_attack_in_the_middle_of_one_short_recording_trains_with_default_settings(captures_dir: Path) -> None:
    name = "crysys_masquerade/S-1-1-malicious-CONST-msg-mod-0x410-0.4-0.6.log.gz"
    data = CANDataModule(data=str(captures_dir / name))

    data.setup()

    for split in ("train", "val", "test"):
        assert data.graphs[split].present_classes() == ["normal", "attack"]


@pytest.mark.parametrize("name", ["can_train_and_test", "j1939_truck", "semisynthetic/camaro", "semisynthetic/gt350"])
@pytest.mark.parametrize("seed", range(3))
def test_every_split_by_time_of_the_real_captures_meets_normal_traffic_and_each_attack(
    captures_dir: Path, name: str, seed: int
) -> None:
    data = CANDataModule(data=str(captures_dir / name), split="time", split_seed=seed)

    data.setup()

    for split in ("train", "val", "test"):
        assert data.graphs[split].present_classes() == list(data.classes)


def test_timestamps_that_stand_still_are_told_before_training(read_as: Any) -> None:
    frames = drive(slice(0, 20_000, 4000))
    frozen = replace(frames, timestamp=np.full(len(frames), 7.0))

    with pytest.raises(DataError, match="Timestamps do not advance over the normal windows of the captures"):
        read_as([Capture("c.log", frozen, "c.log")]).setup()


def test_one_split_whose_normal_windows_take_no_time_is_told_before_training(read_as: Any) -> None:
    attacked = drive(slice(500, 600), seconds=2.0)
    frozen = replace(attacked, timestamp=np.zeros(len(attacked)))
    captures = [Capture(f"c{i}.log", frozen if i == 1 else attacked, f"c{i}.log") for i in range(3)]

    with pytest.raises(DataError, match=r"do not advance over the normal windows of the (train|val|test) split"):
        read_as(captures).setup()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"stride": 10**9},
            r"data\.stride is 1000000000 frames, but the longest of 1 captures has 20000 .*: .* one window",
        ),
        ({"window_size": 10**6}, r"data\.window_size is 1000000 frames, .* no capture holds a window. Use a smaller"),
        ({"stride": 9000}, r"only normal ones among \d+\. A stride of 9000 skips frames between windows of 64"),
    ],
)
def test_a_window_or_stride_beyond_the_recording_is_explained_as_such(
    read_as: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_as([Capture("c.log", drive(slice(15_000, 15_100)), "c.log")], **arguments).setup()


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("window_size", 1, "an integer >= 2"),
        ("stride", 0, "an integer >= 1"),
        ("batch_size", 0, "an integer >= 1"),
        ("batch_size", 2.5, "an integer >= 1"),
        ("split", "window", "one of auto, capture, time"),
        ("gap_s", -1.0, "a finite number >= 0"),
        ("gap_s", float("inf"), "a finite number >= 0"),
        ("seed", -1, "an integer >= 0"),
        ("split_seed", -1, "an integer >= 0"),
        ("data_seed", -1, "an integer >= 0"),
        ("kinds", "folder", "one of auto, filename, none"),
        ("on_bad_line", "skip", "one of raise, drop"),
        ("unk_rate", 1.0, r"a probability in \[0, 1\)"),
        ("unk_rate", float("nan"), r"a probability in \[0, 1\)"),
        ("max_nodes_per_batch", 0, "an integer >= 1, or null"),
        ("simulated_duration_s", 0.5, "1 to 86400"),
        ("simulated_captures_per_kind", 0, "an integer >= 1"),
        ("inject", "yes", "one of auto, always, never"),
        ("features", "both", "one of auto, raw, deviations"),
        ("hold_out", "", "a vehicle's name, or auto"),
        ("injected_windows", 0, "an integer >= 1"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_its_name_before_anything_is_read(
    argument: str, value: Any, expected: str
) -> None:
    with pytest.raises(ValueError, match=rf"data\.{argument} is {value!r}, expected {expected}"):
        CANDataModule(**{argument: value})


def test_labelled_windows_are_those_of_whole_captures() -> None:
    captures = [Capture(name, drive(slice(0, 100), seconds=1.0), name) for name in ("a", "b")]

    graphs = labelled_windows(captures, window_size=100, stride=50)

    assert graphs.capture_names == ("a", "b")
    assert graphs.label.tolist() == [1, 1, *[0] * 17] * 2


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (drive(slice(0, 10), seconds=0.05), "longest of 1 captures has 50 frames .*, and the model's windows have 100"),
        (drive(slice(None), seconds=1.0), "None of the 19 windows is normal"),
        (replace(drive(slice(0, 9), seconds=1.0), timestamp=np.zeros(1000)), "Timestamps do not advance"),
        (replace(drive(slice(0, 9)), attack=None, attack_kind=None), "Training and evaluation need labels"),
    ],
)
def test_captures_that_cannot_be_measured_are_refused(frames: Frames, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled_windows([Capture("c", frames, "c")], window_size=100, stride=50)


def test_a_node_limit_below_the_largest_batch_cuts_the_batches_made_from_then_on() -> None:
    data = CANDataModule(**SMALL)
    data.setup()
    largest = int(np.sort(data.graphs["train"].num_nodes())[-16:].sum())
    before = len(data.train_dataloader())

    assert not data.limit_nodes(largest)
    assert len(data.train_dataloader()) == before

    assert data.limit_nodes(largest // 2)
    assert not data.limit_nodes(largest)
    assert len(data.train_dataloader()) > before
    assert max(batch.num_nodes for batch in data.train_dataloader()) <= largest // 2
    with pytest.raises(ValueError, match="max_nodes is 0"):
        data.limit_nodes(0)


def test_one_long_labelled_capture_trains_split_by_time(read_as: Any) -> None:
    frames = simulate_vehicle(seed=0, duration_s=40.0, attack="fuzzy")

    data = read_as([Capture("drive.csv", frames, "drive.csv")])
    data.setup()

    assert data.summary["split"] == "time"
    assert data.classes == ("normal", "fuzzy")
    first: dict[str, NDArray[np.int64]] = {name: graphs.first_frame for name, graphs in data.graphs.items()}
    used = [{frame for f in first[name].tolist() for frame in range(f, f + 64)} for name in first]
    assert len(set.union(*used)) == sum(len(frames) for frames in used)


def test_an_unlabelled_capture_is_named_with_the_ways_to_label_it(read_as: Any) -> None:
    frames = replace(simulate_vehicle(seed=0, duration_s=2.0), attack=None, attack_kind=None)

    with pytest.raises(ValueError, match=r"none in 1 of 1 captures: quiet\.log.*labels\.csv"):
        read_as([Capture("quiet.log", frames, "quiet.log")], inject="never").setup()


def test_normal_traffic_alone_cannot_train_without_injection(read_as: Any) -> None:
    frames = simulate_vehicle(seed=0, duration_s=10.0)

    with pytest.raises(ValueError, match="at least one attack"):
        read_as([Capture("n.log", frames, "n.log")], inject="never").setup()


def test_a_split_without_a_full_window_says_what_to_do(read_as: Any) -> None:
    frames = simulate_vehicle(seed=0, duration_s=2.0, attack="dos")

    with pytest.raises(ValueError, match=r"val split has no full window: \d+ frames.*smaller window or gap_s"):
        read_as([Capture("short.log", frames, "short.log")], gap_s=1.0).setup()


def test_filling_a_batch_leaves_the_raw_features_alone(prepared: CANDataModule) -> None:
    graphs: PackedGraphs = prepared.graphs["val"]
    before = graphs.x.copy()

    GraphBatches(graphs, prepared.preprocessing)[range(5)].x.fill_(7.0)

    assert (graphs.x == before).all()
