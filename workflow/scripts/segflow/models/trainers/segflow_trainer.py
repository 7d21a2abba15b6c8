"""nnU-Net's trainer with resumable, interruptible and quick training.

nnU-Net finds this class through ``nnUNet_extTrainer``, in training and in prediction, and imports
this file alone; the library is put on the path here, so that nnU-Net's own commands find it, too.
Everything that is particular to a model comes with its plans file under the key ``segflow``.
"""

import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed
from torch._dynamo import OptimizedModule

SCRIPTS = str(Path(__file__).parents[3])
if SCRIPTS not in sys.path:
    sys.path.append(SCRIPTS)

from segflow.jobs.devices import peak_megabytes  # noqa: E402
from segflow.jobs.interruption import SIGNALS, Interrupted  # noqa: E402
from segflow.models.augmentations import BUILT_IN, mirrored_axes  # noqa: E402
from segflow.models.checkpoints import (  # noqa: E402
    BEST,
    LATEST,
    random_states,
    restore_random_states,
    seed_everything,
    write_checkpoint,
)
from segflow.models.classes import (  # noqa: E402
    ClassLoss,
    age_encoding,
    balanced,
    classes_of_patches,
    weigh_classes,
)
from segflow.models.heads import HeadedLoss, WithHead  # noqa: E402
from segflow.models.networks import NNUNET, network_of, stages_of  # noqa: E402
from segflow.models.optimization import make_optimizer, make_schedule  # noqa: E402
from segflow.models.progress import Pace, describe_epoch, enter_epoch  # noqa: E402
from segflow.models.scores import (  # noqa: E402
    NAMES,
    count_decisions,
    describe_classes,
    epoch_scores,
    moving_average,
)
from segflow.models.stopping import Patience  # noqa: E402

ANNOUNCE_SECONDS = 20


class SegflowTrainer(nnUNetTrainer):
    """nnU-Net's trainer, with the settings of a Segflow model.

    * A checkpoint is written every few minutes, at every improvement and on SIGTERM, SIGINT or
      SIGUSR1, each whole or not at all. It holds the random states, so that training goes on from
      the very iteration as if nothing had happened (exactly so on the CPU without workers).
    * Processes that share each batch, one on each GPU, stop at the same iteration.
    * Training stops early when the moving average of its score has not improved for ``patience``
      epochs, and at once when a loss or a weight is no finite number.
    * Each epoch is a row of ``progress.csv`` as soon as it ends.
    * The final validation is not part of it.

    Plans without the key ``segflow`` train as nnU-Net's own trainer would.
    """

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        plans.setdefault("continue_training", False)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.settings = plans.get("segflow", {})
        self.training = training = self.settings.get("training", {})
        is_ours = network_of(self.configuration_manager.configuration["architecture"])[0] != NNUNET
        self.enable_deep_supervision = not is_ours and self.settings.get("deep_supervision", True)
        self.score = "f1" if self.classifier else training.get("select_by", "dice")
        self.num_epochs = training.get("epochs", self.num_epochs)
        self.num_iterations_per_epoch = training.get(
            "iterations_per_epoch", self.num_iterations_per_epoch
        )
        self.num_val_iterations_per_epoch = training.get(
            "validation_iterations_per_epoch", self.num_val_iterations_per_epoch
        )
        self.initial_lr = training.get("learning_rate", self.initial_lr)
        self.weight_decay = training.get("weight_decay", self.weight_decay)
        self.augmentation = self._augmentation()
        configured = self.configuration_manager.configuration
        if configured.get("resize") == configured["patch_size"]:
            # Whole images: a patch around their foreground would be half beside them.
            self.oversample_foreground_percent = 0.0
        if self.classifier:
            # Around the structure, if that is what it looks at in prediction, or anywhere.
            crops = self.settings["previous_model"] is not None
            self.oversample_foreground_percent = float(crops)
        self.patience = Patience(training.get("patience", 0))
        self.checkpoint_seconds = 60 * training.get("checkpoint_minutes", 5)
        self.compiled = training.get("compile", True)
        if self.is_cascaded and self.preprocessed_dataset_folder_base and self.settings:
            self.folder_with_segs_from_previous_stage = os.path.join(
                self.preprocessed_dataset_folder_base, f"{self.plans_manager.plans_name}_previous"
            )
        self.identity: dict = {}
        self.classes: dict[str, int] = {}  # of the cases that have one, where classes are learnt
        self.ages: dict[str, float] = {}  # in years, of those that have one, where ages are used
        self.last_checkpoint = self.last_announcement = time.monotonic()
        self.requested_stop: int | None = None
        self.restored: dict = {}

    @property
    def name(self) -> str:
        """What people call this training."""
        return f"{self.plans_manager.plans_name} fold {self.fold}"

    # What is particular to a model

    def _augmentation(self) -> dict:
        """Return the augmentation as a file of ``config/augmentations`` describes one."""
        name = self.training.get("augmentation", "nnunet")
        if name in BUILT_IN:
            return {"base": name, "transforms": []}
        return self.settings["augmentation"]

    @staticmethod
    def build_network_architecture(
        plans_manager,
        configuration_manager,
        num_input_channels,
        num_output_channels,
        enable_deep_supervision=True,
    ):
        """Return the network that plans name: one of `segflow.models.networks`, or nnU-Net's."""
        name, options = network_of(configuration_manager.configuration["architecture"])
        settings = plans_manager.plans.get("segflow", {})
        head, classifier = settings.get("head"), settings.get("classifier")
        n_out = len(classifier["classes"]) if classifier else num_output_channels
        channels = num_input_channels, n_out
        if name == NNUNET:
            network = nnUNetTrainer.build_network_architecture(
                plans_manager, configuration_manager, *channels, enable_deep_supervision
            )
            if not enable_deep_supervision:
                # They give nothing, and processes that share a batch wait for every gradient.
                decoder = getattr(network, "decoder", None)
                for layer in getattr(decoder, "seg_layers", [])[:-1]:
                    layer.requires_grad_(False)
        else:
            # Imported here: the libraries of networks take seconds.
            from segflow.models.network_builders import build_network

            patch = configuration_manager.patch_size
            network = build_network(name, options, len(patch), *channels)
        if head is None:
            return network
        return WithHead(
            network, stages_of(name), num_input_channels, configuration_manager.patch_size, head
        )

    def set_deep_supervision_enabled(self, enabled: bool):
        """Switch the outputs of lower resolution on or off, where the network has any."""
        if self.enable_deep_supervision:
            super().set_deep_supervision_enabled(enabled)

    def initialize(self):
        """Seed all generators, then build network, optimizer and loss."""
        seed = self.settings.get("seed")
        if seed is not None and not self.was_initialized:
            seed += self.local_rank  # or all processes would draw the same patches
            seed_everything(seed)
        super().initialize()
        if "pretrained" in self.settings:
            self._take_pretrained(**self.settings["pretrained"])

    def _take_pretrained(self, file: str, sha256: str) -> None:
        """Start from the weights of another training that fit."""
        from segflow.models.pretrained import load_pretrained

        with TemporaryDirectory() as scratch:
            taken, left = load_pretrained(self._plain_network(), Path(file), sha256, Path(scratch))
        self.print_to_log_file(
            f"{file}: {len(taken)} weights taken, {len(left)} as drawn: {', '.join(left) or 'none'}"
        )

    def _plain_network(self) -> torch.nn.Module:
        """Return the network without what shares or compiles it."""
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def _do_i_compile(self):
        return self.compiled and super()._do_i_compile()

    def configure_optimizers(self):
        """Return optimizer and schedule by the names that the model says, or nnU-Net's own."""
        if not self.training:
            return super().configure_optimizers()
        optimizer = make_optimizer(self.training, self._parameters())
        scores = partial(self._scores, self.logger)
        return optimizer, make_schedule(self.training, optimizer, self.num_epochs, scores)

    def _parameters(self) -> Any:
        """Return what is optimized: the head in a group of its own, whose rate is a multiple."""
        if self.head is None:
            return self.network.parameters()
        own = list(self._plain_network().head.parameters())
        ids = set(map(id, own))
        others = [value for value in self.network.parameters() if id(value) not in ids]
        return [{"params": others}, {"params": own, "factor": self.head["rate_factor"]}]

    def _build_loss(self):
        """Return the loss of the segmentation, of the classes, or of both."""
        if not self.telling:
            return self._build_segmentation_loss()
        counts = Counter(self.classes.get(case) for case in self.do_split()[0])
        numbers = range(len(self.telling["classes"]))
        weights = weigh_classes([counts[number] for number in numbers], self.telling["weighted"])
        smoothing = self.telling["label_smoothing"]
        if self.classifier:
            return ClassLoss(smoothing, weights)
        return HeadedLoss(self._build_segmentation_loss(), smoothing, weights)

    def _build_segmentation_loss(self):
        """Return the loss that the model says, or nnU-Net's own."""
        theirs = super()._build_loss()
        terms = self.training.get("loss")
        if not terms:
            return theirs
        from segflow.models.losses import CompoundLoss

        own = CompoundLoss(
            terms,
            self.label_manager.has_regions,
            self.label_manager.ignore_label,
            self.configuration_manager.batch_dice,
        )
        if not self.enable_deep_supervision:
            return own
        theirs.loss = own  # inside nnU-Net's weights of the resolutions
        return theirs

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        """Without nnU-Net's augmentation, load patches of the final size; mirror as trained."""
        result = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        if self.augmentation["base"] == "nnunet":
            return result
        patch = self.configuration_manager.patch_size
        mirrored = mirrored_axes(self.augmentation, len(patch))
        self.inference_allowed_mirroring_axes = mirrored or None
        return result[0], result[1], patch, None

    def get_training_transforms(self, *args, **kwargs):
        """Return nnU-Net's augmentation or the transforms of validation, and the model's own."""
        if self.augmentation["base"] == "nnunet":
            pipeline = super().get_training_transforms(*args, **kwargs)
        else:
            names = ("is_cascaded", "foreground_labels", "regions", "ignore_label")
            chosen = {name: kwargs[name] for name in names}
            pipeline = self.get_validation_transforms(args[2], **chosen)
        if not self.augmentation["transforms"]:
            return pipeline
        from segflow.models.transforms import with_transforms

        return with_transforms(pipeline, self.augmentation["transforms"])

    # Classes of cases, of a head or of a network that tells nothing else

    @property
    def head(self) -> dict | None:
        """The key ``head`` of the plans."""
        return self.settings.get("head")

    @property
    def classifier(self) -> dict | None:
        """The key ``classifier`` of the plans."""
        return self.settings.get("classifier")

    @property
    def telling(self) -> dict | None:
        """What both say of how classes are learnt."""
        return self.head or self.classifier

    def get_tr_and_val_datasets(self):
        """Return the cases of training, those of rare classes repeated, and of validation."""
        training, validation = super().get_tr_and_val_datasets()
        if self.telling and self.telling["balanced"]:
            training.identifiers = balanced(training.identifiers, self.classes)
        return training, validation

    def _say_classes(self, batch: dict) -> None:
        """Tell the loss the class of each patch that counts, and the network its age."""
        if encoding := age_encoding(self._plain_network()):
            encoding.ages = torch.tensor([self.ages.get(str(key), np.nan) for key in batch["keys"]])
        target = batch["target"]
        self.loss.known = classes_of_patches(
            batch["keys"],
            target[0] if isinstance(target, list) else target,
            self.telling["outputs"],
            self.telling["has_regions"],
            self.classes,
            self.telling["least_voxels"],
        )

    def _head_weight(self) -> float:
        """Return the weight of the class loss in this epoch."""
        done = self.current_epoch / self.num_epochs - self.head["begin"]
        if done < 0:
            return 0.0
        rising = done / self.head["warm_up"] if self.head["warm_up"] else 1.0
        return self.head["weight"] * min(1.0, rising)

    def validation_step(self, batch: dict) -> dict:
        """Validate on a batch: its segmentation, its classes, or both."""
        if not self.telling:
            return super().validation_step(batch)
        self._say_classes(batch)
        if self.classifier:
            result = {}
            with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
                logits = self.network(batch["data"].to(self.device, non_blocking=True))
        else:
            with self._plain_network().collecting() as collected:
                result = super().validation_step(batch)
            logits = torch.cat([logits for logits, _ in collected])
        logits, known = logits.float().cpu(), self.loss.known
        counts = known >= 0
        cost = self.loss.classification(logits).item()
        result["class_loss"] = np.full(1, cost)
        result["classes"] = known[counts].tolist()
        result["class_probabilities"] = logits[counts].softmax(1).tolist()
        if self.classifier:
            # To nnU-Net decisions on patches are what those on voxels are elsewhere.
            result |= count_decisions(known[counts], logits[counts].argmax(1), logits.shape[1])
            result["loss"] = cost
        return result

    def on_validation_epoch_end(self, val_outputs: list[dict]):
        """Sum up an epoch, and how well it tells classes apart."""
        super().on_validation_epoch_end(val_outputs)
        if self.telling:
            self.class_report = describe_classes(val_outputs, self.telling["classes"])

    # The loop

    def run_training(self):
        """Train until the last epoch, an early stop or a signal.

        Raises
        ------
        Interrupted
            After a signal; the checkpoint has been written.
        """
        handlers = {number: signal.signal(number, self._request_stop) for number in SIGNALS}
        try:
            self.on_train_start()
            n_steps = self.num_iterations_per_epoch + self.num_val_iterations_per_epoch
            self.pace = Pace(f"{self.name}: an epoch", n_steps)
            if states := self.restored.pop("random", None):  # loaders have drawn since
                restore_random_states(states, self.device)
            while self.current_epoch < self.num_epochs and not self._is_stalled():
                self._run_epoch()
            self.on_train_end()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _request_stop(self, number, frame):
        self.requested_stop = number

    def _run_epoch(self):
        """Run one epoch, from the iteration at which a checkpoint left it."""
        losses = self.restored.pop("losses", [])
        elapsed = self.restored.pop("seconds", 0.0)
        self.epoch_start = time.monotonic() - elapsed
        if not losses:
            self.on_epoch_start()
            self.on_train_epoch_start()
        self.network.train()
        for iteration in range(len(losses), self.num_iterations_per_epoch):
            if getattr(self.lr_scheduler, "each_iteration", False):
                done = iteration / self.num_iterations_per_epoch
                self.lr_scheduler.step(self.current_epoch + done)
            if self.head is not None:
                self.loss.weight = self._head_weight()
                self._scale_rates()
            losses.append(self._train_on(next(self.dataloader_train), iteration))
            if self.local_rank == 0:
                self.pace.step()
            self._checkpoint_if_due(losses)
        self.on_train_epoch_end(losses)
        if self.telling:
            self.train_class_loss = float(np.mean([loss["class_loss"] for loss in losses]))
        with torch.no_grad():
            self.on_validation_epoch_start()
            outputs = [
                self.validation_step(next(self.dataloader_val))
                for _ in range(self.num_val_iterations_per_epoch)
            ]
            self.on_validation_epoch_end(outputs)
        self.on_epoch_end()

    def _train_on(self, batch: dict, iteration: int) -> dict:
        """Train on a batch.

        Raises
        ------
        FloatingPointError
            If its loss is no finite number.
        """
        if "mixing" in self.augmentation:
            from segflow.models.transforms import mix

            mix(batch, **self.augmentation["mixing"])
        if self.telling:
            self._say_classes(batch)
        result = self.train_step(batch)
        if self.telling:
            result["class_loss"] = np.full(1, self.loss.class_loss)
        if not np.isfinite(result["loss"]):
            self._give_up(
                f"the loss of iteration {iteration + 1} is {result['loss']}, on patches of "
                f"{', '.join(sorted({str(case) for case in batch['keys']}))}"
            )
        return result

    def _scale_rates(self) -> None:
        """Bring the head's learning rate to its multiple of what the schedule says."""
        first, own = self.optimizer.param_groups
        own["lr"] = first["lr"] * own["factor"]

    def _give_up(self, what: str) -> None:
        raise FloatingPointError(
            f"{self.name}: epoch {self.current_epoch + 1}: {what}; the last checkpoint is from "
            "before. Set training.clip or a smaller training.learning_rate of "
            f"config/models/{self.plans_manager.plans_name}.yaml"
        )

    def _checkpoint_if_due(self, losses):
        due = time.monotonic() - self.last_checkpoint > self.checkpoint_seconds
        stop = self.requested_stop or 0
        if self.is_ddp:
            due, stop = self._agree(int(due), stop)
        if due or stop:
            self._save_state(LATEST, self.current_epoch, losses)
        if stop:
            raise Interrupted.by(stop)

    def _agree(self, *wishes: int) -> list[int]:
        """Return the largest of all processes' wishes, so that all do the same."""
        agreed = torch.tensor(wishes, device=self.device)
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
        return agreed.tolist()

    def on_epoch_end(self):
        """Log the epoch, and keep the weights if they are the best so far."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        average = self._average()
        improved = self.patience.improved(self.current_epoch, average)
        self._best_ema = self.patience.best_score  # as nnU-Net knows it
        if self.local_rank == 0:
            self._log_progress()
        self.current_epoch += 1
        if improved:
            self._save_state(BEST, self.current_epoch, [])

    def _scores(self, logger) -> list[float]:
        """Return the score of each epoch so far."""
        return epoch_scores(logger.get_value("dice_per_class_or_region", step=None), self.score)

    def _average(self) -> float:
        """Return the moving average of the score."""
        if self.score != "iou":
            return self.logger.get_value("ema_fg_dice", step=-1)
        return moving_average(self._scores(self.logger))

    def _is_stalled(self) -> bool:
        """Say whether patience is lost."""
        stalled = self.patience.is_lost(self.current_epoch)
        if stalled:
            self.print_to_log_file(
                f"stopped early: best epoch {self.patience.best_epoch}, "
                f"patience {self.patience.n_epochs}"
            )
        return stalled

    def _log_progress(self):
        """Append the epoch to ``progress.csv`` and print it with the time that is left."""
        values = {
            "epoch": self.current_epoch,
            "train_loss": self.logger.get_value("train_losses", step=-1),
            "val_loss": self.logger.get_value("val_losses", step=-1),
            "score": self._scores(self.logger)[-1],
            "score_average": self._average(),
            "score_name": NAMES[self.score],
            "learning_rate": self.logger.get_value("lrs", step=-1),
            "seconds": time.monotonic() - self.epoch_start,
        }
        if self.telling:
            values |= {"class_loss": self.train_class_loss, **self.class_report}
        enter_epoch(Path(self.output_folder, "progress.csv"), values)
        line = describe_epoch(self.name, self.num_epochs, values)
        self.print_to_log_file(line, also_print_to_console=False)
        # Standard error also goes to the terminal, which should not fill with epochs.
        now = time.monotonic()
        announce = now - self.last_announcement > ANNOUNCE_SECONDS
        self.last_announcement = now if announce else self.last_announcement
        print(line, file=sys.stderr if announce else sys.stdout, flush=True)

    # Checkpoints

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint at the end of the current epoch, as nnU-Net means it."""
        self._save_state(Path(filename).name, self.current_epoch + 1, [])

    def _save_state(self, name: str, epoch: int, losses: list) -> None:
        """Write a checkpoint atomically.

        Parameters
        ----------
        name : str
            Name of the file.
        epoch : int
            Epoch with which training goes on.
        losses : list of dict
            Results of the iterations of that epoch which are done already.
        """
        self.last_checkpoint = time.monotonic()
        own = {"losses": losses, "random": random_states(self.device)}
        if self.is_ddp:
            ranks: list = [None] * distributed.get_world_size()
            distributed.all_gather_object(ranks, own)
            own = {**own, "ranks": ranks}
        if self.local_rank != 0 or self.disable_checkpointing:
            return
        weights = self._plain_network().state_dict()
        if not all(value.isfinite().all() for value in weights.values()):
            self._give_up("weights are no finite numbers")
        scaler = self.grad_scaler
        state = {
            "network_weights": weights,
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": scaler.state_dict() if scaler is not None else None,
            "logging": self.logger.get_checkpoint(),
            "_best_ema": self._best_ema,
            "current_epoch": epoch,
            "init_args": self.my_init_kwargs,
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            "segflow": {
                "identity": self.identity,
                "position": [epoch, len(losses)],
                "best_epoch": self.patience.best_epoch,
                "peak_mb": peak_megabytes(self.device.type),
                "seconds": time.monotonic() - self.epoch_start if losses else 0.0,
                **own,
            },
        }
        write_checkpoint(Path(self.output_folder, name), state)

    def load_checkpoint(self, filename_or_checkpoint) -> None:
        """Restore network, optimizer, log, position in the epoch and random states."""
        super().load_checkpoint(filename_or_checkpoint)
        state = torch.load(filename_or_checkpoint, map_location="cpu", weights_only=False)
        self.restored = dict(state.get("segflow", {}))
        if self.is_ddp:
            self.restored |= self.restored.get("ranks", [{}])[self.local_rank]
        self.patience.best_epoch = self.restored.get("best_epoch", -1)
        self.patience.best_score = self._best_ema
