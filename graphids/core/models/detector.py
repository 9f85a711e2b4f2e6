"""Detector: the GAT with its loss, metrics and optimizer, as Lightning trains it."""

import math
import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal, Self, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch_geometric.data import Data
from torchmetrics import Metric

from graphids._fs import read_verified
from graphids.core.evaluation import attack_margin, detection_metrics
from graphids.core.models.gat import GAT, SIZES, Jumping, Represented, check_architecture
from graphids.core.models.losses import balanced_binary_cross_entropy, focal_cross_entropy, inverse_sqrt_frequency
from graphids.core.models.metrics import EpochMean, SplitMargins
from graphids.core.models.optimization import lr_factor, parameter_groups

# Top-level keys that make a checkpoint self-contained: `GAT.architecture()` and `Preprocessing.to_dict()`.
ARCHITECTURE_KEY = "graphids_architecture"
PREPROCESSING_KEY = "graphids_preprocessing"
# Sums from which the means of an interrupted epoch continue.
EPOCH_SUMS_KEY = "graphids_epoch_sums"
# Of the nodes' loss beside that of the windows. Without it the first ID that an alert names is attacked in .57 of
# windows, with it in .85 (six vehicles left out, three seeds); at 1 no more are, and attacks are detected no better.
NODE_LOSS_WEIGHT = 0.2
Loss = Literal["cross_entropy", "class_weighted", "focal"]


class Detector(LightningModule):
    """Classifies windows of CAN traffic; class 0 is normal, the others are attack kinds.

    The network's dimensions come from the data: `configure_model` builds `gat` from the trainer's data module
    (`preprocessing`, and the labels of `graphs["train"]`), or a checkpoint brings them. Logs per epoch
    `train/loss`, `train/accuracy`, `val/loss`, `test/loss`, and of the attack margin `val/auroc`,
    `val/average_precision` (attack against normal) and `val/macro_auroc`, the mean over attack kinds of kind against
    normal: the value to monitor. A metric that the validation split cannot define is not logged, with one warning
    that names it; early stopping that monitors it then ends with Lightning's error.

    Args:
        size: Named size of the network, see `SIZES`.
        hidden: Width of a node's state; None takes the size's. Likewise `layers`, `heads` and `dropout`.
        layers: Number of GATv2 layers.
        heads: Attention heads per layer; they share `hidden`.
        dropout: Probability.
        jumping: How layer outputs combine.
        embedding_dim: Width of the arbitration ID's embedding.
        edges: Whether nodes attend to their neighbours, see `GAT`. None: on raw features they do, on deviations they do
            not, because there the network without edges detects as well and names the attacked ID more often.
        loss: `class_weighted` weighs classes by inverse square root of their frequency; `focal` does so too and
            down-weights windows that are already classified well.
        focal_gamma: Exponent of the focal loss, ignored by the others.
        lr: Peak learning rate of AdamW, reached after the warm-up; a cosine then lowers it to a hundredth.
        weight_decay: Of weight matrices; biases, norms and embeddings are not decayed.
        warmup: Share of all steps over which the learning rate rises linearly.
        false_alarms_per_hour: Normal windows per hour that may alert; the threshold is chosen for it after training.
            `graphids retune` chooses another one.

    Raises:
        ValueError: For an unknown size or loss, or a number out of range.
    """

    gat: GAT
    class_weight: Tensor

    def __init__(
        self,
        size: str = "small",
        hidden: int | None = None,
        layers: int | None = None,
        heads: int | None = None,
        dropout: float | None = None,
        jumping: Jumping = "max",
        embedding_dim: int = 16,
        edges: bool | None = None,
        loss: Loss = "class_weighted",
        focal_gamma: float = 2.0,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        warmup: float = 0.1,
        # One a minute: a validation split of a few minutes cannot tell rarer false alarms apart.
        false_alarms_per_hour: float = 60.0,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"model.size is {size!r}, expected one of {', '.join(SIZES)}.")
        if loss not in ("cross_entropy", "class_weighted", "focal"):
            raise ValueError(f"model.loss is {loss!r}, expected cross_entropy, class_weighted or focal.")
        if not (math.isfinite(lr) and lr > 0):
            raise ValueError(f"model.lr is {lr}, expected a finite number > 0.")
        for name, value in (("focal_gamma", focal_gamma), ("weight_decay", weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"model.{name} is {value}, expected a finite number >= 0.")
        if not 0 <= warmup < 1:
            raise ValueError(f"model.warmup is {warmup}, expected a share of the steps in [0, 1).")
        # Plain values only: a checkpoint has to load with weights_only=True.
        self.save_hyperparameters()
        check_architecture(self._chosen())
        self.preprocessing_dict: dict[str, Any] | None = None
        self._validation = SplitMargins()
        self._train_loss, self._train_accuracy = EpochMean(), EpochMean()
        self._warned_undefined = False

    def build(
        self,
        num_tokens: int,
        num_node_features: int,
        num_edge_features: int,
        num_classes: int,
        *,
        features: str = "raw",
    ) -> None:
        """Build the network for data of these dimensions and node features, with class weights of 1."""
        self._adopt(GAT(num_tokens, num_node_features, num_edge_features, num_classes, **self._chosen(features)))

    def _chosen(self, features: str = "raw") -> dict[str, Any]:
        """Arguments of the network that the settings choose; the others follow from the data."""
        hp = self.hparams
        chosen: dict[str, Any] = dict(SIZES[hp["size"]])
        chosen |= {key: hp[key] for key in chosen if hp[key] is not None}
        edges = features == "raw" if hp["edges"] is None else hp["edges"]
        return chosen | {"jumping": hp["jumping"], "embedding_dim": hp["embedding_dim"], "edges": edges}

    def configure_model(self) -> None:
        """Build the network from the trainer's data module, once; without one, a checkpoint brings it."""
        datamodule = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        if "gat" in self._modules or datamodule is None:
            return
        preprocessing = datamodule.preprocessing
        num_classes = len(preprocessing.classes)
        self.build(
            num_tokens=preprocessing.num_tokens,
            num_node_features=preprocessing.node_mean.shape[1],
            num_edge_features=len(preprocessing.edge_mean),
            num_classes=num_classes,
            features=preprocessing.features,
        )
        self.preprocessing_dict = preprocessing.to_dict()
        if self.hparams["loss"] != "cross_entropy":
            labels = torch.as_tensor(datamodule.graphs["train"].label)
            self.class_weight.copy_(inverse_sqrt_frequency(labels, num_classes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to rebuild the network and its input."""
        checkpoint[ARCHITECTURE_KEY] = self.gat.architecture()
        checkpoint[PREPROCESSING_KEY] = self.preprocessing_dict
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
        checkpoint[EPOCH_SUMS_KEY] = [mean.sums(batches) for mean in (self._train_loss, self._train_accuracy)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the checkpoint's weights belong to.

        Raises:
            ValueError: If a different network has already been built.
        """
        means = (self._train_loss, self._train_accuracy)
        for mean, sums in zip(means, checkpoint.get(EPOCH_SUMS_KEY, ()), strict=False):
            mean.resume(sums)
        architecture = checkpoint[ARCHITECTURE_KEY]
        if "gat" not in self._modules:
            self._adopt(GAT(**architecture))
            self.preprocessing_dict = checkpoint[PREPROCESSING_KEY]
        elif architecture != (built := self.gat.architecture()):
            differing = {k: (v, built.get(k)) for k, v in architecture.items() if v != built.get(k)}
            raise ValueError(
                f"The checkpoint's network differs from the one built for this data (checkpoint, built): {differing}. "
                "Resume with the data and the model settings of the run that wrote the checkpoint."
            )

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # a stream has no sidecar
        cls, checkpoint_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Self:
        """Lightning's, but from verified bytes: Lightning's own bypasses the trainer's checkpoint plugin.

        Args:
            checkpoint_path: A checkpoint with its sidecar.
            *args: As Lightning's.
            **kwargs: As Lightning's; `weights_only` is always True.

        Raises:
            IntegrityError: As `graphids._fs.atomic_load`.
        """
        kwargs["weights_only"] = True
        return super().load_from_checkpoint(BytesIO(read_verified(checkpoint_path)), *args, **kwargs)

    def forward(self, batch: Data) -> Tensor:
        """Logits, float [G, C]."""
        states = self._represent(batch).states
        return cast(Tensor, self.gat.head(states))

    def loss(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Loss of a labelled batch, a scalar, and its logits, float [G, C].

        To the loss of the windows' classes comes that of the nodes, where `batch.node_y` knows which are attacked.
        """
        represented = self._represent(batch)
        logits: Tensor = self.gat.head(represented.states)
        gamma = self.hparams["focal_gamma"] if self.hparams["loss"] == "focal" else 0.0
        of_windows = focal_cross_entropy(logits.float(), batch.y, self.class_weight, gamma)
        of_nodes = balanced_binary_cross_entropy(represented.node_logits.float(), batch.node_y)
        return of_windows + NODE_LOSS_WEIGHT * of_nodes, logits

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        loss, logits = self.loss(batch)
        accuracy = (logits.argmax(dim=1) == batch.y).float().mean()
        self._train_loss.update(loss, batch.num_graphs, batch_idx)
        self._train_accuracy.update(accuracy, batch.num_graphs, batch_idx)
        self._log_epoch({"train/loss": self._train_loss, "train/accuracy": self._train_accuracy}, batch)
        return loss

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Collect margins; the metrics need the whole split."""
        loss, logits = self.loss(batch)
        self._log_epoch({"val/loss": loss}, batch)
        self._validation.update(attack_margin(logits), batch.y)

    def on_validation_epoch_end(self) -> None:
        """Log threshold-free metrics of the attack margin."""
        margins, labels = self._validation.compute()
        self._validation.reset()
        classes = [str(index) for index in range(self.gat.architecture()["num_classes"])]
        # A diverged model has no metrics; its loss says so, and a checkpoint of it is never the best.
        metrics = (
            detection_metrics(margins, labels, classes, threshold=0.0, hours=1.0) if margins.isfinite().all() else {}
        )
        names = {"auroc": "all/auroc", "average_precision": "all/average_precision", "macro_auroc": "macro/auroc"}
        defined = {f"val/{name}": metrics[key] for name, key in names.items() if key in metrics}
        self.log_dict(defined)
        undefined = [f"val/{name}" for name, key in names.items() if key not in metrics]
        if undefined and not self._warned_undefined and not self.trainer.sanity_checking:
            self._warned_undefined = True
            rank_zero_warn(
                f"{', '.join(undefined)} cannot be computed and are not logged: of {len(labels)} validation windows "
                f"{int((labels == 0).sum())} are normal and {int((labels > 0).sum())} attacks, and "
                f"{int((~margins.isfinite()).sum())} margins are not finite. Expected both classes and finite margins; "
                "give the validation split both, lower lr, or monitor val/loss."
            )

    def test_step(self, batch: Data, batch_idx: int) -> None:
        """Loss alone; metrics of the test split need a threshold, which is chosen after training."""
        self._log_epoch({"test/loss": self.loss(batch)[0]}, batch)

    def predict_step(self, batch: Data, batch_idx: int) -> Tensor:
        """Logits, float [G, C]."""
        logits: Tensor = self(batch)
        return logits

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the learning rate warms up linearly and falls along a cosine, per step."""
        lr, weight_decay = self.hparams["lr"], self.hparams["weight_decay"]
        optimizer = torch.optim.AdamW(parameter_groups(self.gat), lr=lr, weight_decay=weight_decay)
        total, warmup = self.trainer.estimated_stepping_batches, self.hparams["warmup"]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, total, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _adopt(self, gat: GAT) -> None:
        self.gat = gat
        self.register_buffer("class_weight", torch.ones(gat.architecture()["num_classes"]))

    def _represent(self, batch: Data) -> Represented:
        if "gat" not in self._modules:
            raise RuntimeError(
                "Detector has no network yet: expected a data module with `preprocessing` on the trainer, or a "
                "checkpoint. Pass datamodule= to the trainer, or call build(...)."
            )
        return self.gat.represent(
            batch.x, batch.token, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs
        )

    def _log_epoch(self, values: Mapping[str, Tensor | Metric], batch: Data) -> None:
        self.log_dict(dict(values), on_step=False, on_epoch=True, batch_size=batch.num_graphs, sync_dist=True)
