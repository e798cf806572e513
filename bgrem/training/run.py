"""From data to a model: fields → batches → fit → run folder with weights, history and card."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bgrem import __version__, models
from bgrem.config import TrainConfig
from bgrem.networks.attention_unet import NETWORKS, initialise
from bgrem.training.batches import Batches, Report
from bgrem.training.checkpoint import TrainingState, read_checkpoint, write_checkpoint
from bgrem.training.history import write_history
from bgrem.training.tasks import TASKS, find_files, load_fields, make_batches
from common.atomic import atomic_write, write_together
from common.checked.json_files import read_json

LOSSES: dict[str, Callable[[TrainConfig], Any]] = {
    "l1": lambda config: keras.losses.MeanAbsoluteError(),
    "l2": lambda config: keras.losses.MeanSquaredError(),
    "huber": lambda config: keras.losses.Huber(delta=config.huber_delta),
}
CONFIG_FILE = "config.json"  # in the run folder
MODEL_FOLDER = "model"  # in the run folder


def train(
    config: TrainConfig, folder: str | os.PathLike[str], *,
    report: Callable[[str], None] = print, progress: Callable[[float], None] | None = None,
) -> Path:  # fmt: skip
    """Train a model and return the folder of its weights, `folder`/model.

    A folder with a checkpoint of the same config goes on where it stopped, with the same result
    as if it had never stopped. Written there: config.json, checkpoint.npz, history.csv,
    history.png, fields/ (the simulated fields) and model/ (weights of the best epoch, as
    exponential moving averages, with SHA-256 and card).

    Parameters
    ----------
    config : TrainConfig
    folder : path
    report : callable, optional
        Called with a line at each step.
    progress : callable, optional
        Called with what is done of all steps of all epochs, from 0 to 1.

    Raises
    ------
    ValueError
        If the folder holds another run, or the data do not fit the config.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, config)
    training, validation = load_fields(config, folder, report)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        network = build_network(config)
    finally:
        keras.config.set_dtype_policy(before)
    compile_network(network, config)
    batches = make_batches(config, training, config.seed, config.steps_per_epoch, vary=config.vary)
    check = make_batches(config, validation, config.seed + 1, config.validation_steps, vary=False)
    keeper = _Keeper(network, config, folder, batches, check, report, progress)
    keeper.resume()
    if keeper.state.epoch < config.epochs and not keeper.is_patience_over():
        network.fit(
            batches, epochs=config.epochs, initial_epoch=keeper.state.epoch, verbose=0,
            shuffle=False, callbacks=[keeper],
        )  # fmt: skip
    return folder / MODEL_FOLDER


def _claim(folder: Path, config: TrainConfig) -> None:
    """Write the config, or see that the folder's run is this one."""
    path = folder / CONFIG_FILE
    text = json.dumps(asdict(config), indent=2) + "\n"
    if path.exists():
        if read_json(path, "is not a config in JSON") != json.loads(text):
            raise ValueError(f"{folder}: holds a run of another config. Choose another folder.")
        return
    with atomic_write(path) as temporary:
        temporary.write_text(text, "utf-8")


def build_network(config: TrainConfig) -> keras.Model:
    """Return the network with its start weights: drawn by the seed, or those of a model."""
    network = NETWORKS[config.network](softening=config.softening)
    if config.start_from:
        start = models.load_model(config.start_from)
        models.set_named_weights(network, models.named_weights(start.network))
    else:
        initialise(network, config.seed)
    return network


def compile_network(network: keras.Model, config: TrainConfig) -> None:
    """Give the network its loss and optimiser."""
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        total = config.epochs * config.steps_per_epoch
        warm_up = min(config.warm_up_steps, total // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 100, total - warm_up, alpha=0.01, warmup_target=rate, warmup_steps=warm_up
        )
    elif config.schedule == "epoch":
        rate = keras.optimizers.schedules.ExponentialDecay(
            rate, config.steps_per_epoch, config.decay, staircase=True
        )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm or None,
        use_ema=config.average > 0, ema_momentum=config.average or 0.99,
    )  # fmt: skip
    network.compile(optimizer=optimizer, loss=LOSSES[config.loss](config), jit_compile=False)


class _Keeper(keras.callbacks.Callback):
    """After each epoch: validate with averaged weights, keep the best, write a checkpoint."""

    def __init__(
        self,
        network: keras.Model,
        config: TrainConfig,
        folder: Path,
        batches: Batches,
        check: Batches,
        report: Report,
        progress: Callable[[float], None] | None,
    ) -> None:
        super().__init__()
        self.network, self.config, self.folder = network, config, folder
        self.batches, self.check, self.report = batches, check, report
        self.progress = progress or (lambda done: None)
        self.state = TrainingState()
        self._started = 0.0

    def resume(self) -> None:
        """Take up a checkpoint, if there is one."""
        found = read_checkpoint(self.folder, self.network)
        if found is not None:
            self.state = found
            self.report(f"goes on after epoch {self.state.epoch}")

    def is_patience_over(self) -> bool:
        """Return whether the loss has not improved for too long."""
        return bool(
            self.config.patience
            and self.state.epoch - self.state.best_epoch >= self.config.patience
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Let the batches be those of this epoch."""
        self.batches.epoch = epoch
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell how much is done."""
        done = self.batches.epoch + (batch + 1) / self.config.steps_per_epoch
        self.progress(done / self.config.epochs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Validate, keep, write."""
        network, state = self.network, self.state
        raw = [np.array(weight) for weight in network.get_weights()]
        if self.config.average:
            network.optimizer.finalize_variable_values(network.trainable_variables)
        loss = validation_loss(network, self.check, self.config)
        state.add(
            {
                "epoch": epoch + 1,
                "loss": float(logs["loss"]),
                "validation_loss": loss,
                "learning_rate": float(network.optimizer.learning_rate),
                "seconds": round(time.perf_counter() - self._started, 1),
            }
        )
        if not np.isfinite(loss):
            raise ValueError(f"epoch {epoch + 1}: the loss is {loss}. Lower the learning rate.")
        with write_together():
            if state.best_epoch == state.epoch:
                models.save_model(
                    self.folder / MODEL_FOLDER,
                    models.named_weights(network),
                    describe(self.config, state),
                )
            network.set_weights(raw)
            write_checkpoint(self.folder, network, state)
            write_history(self.folder, state.history)
        self.report(f"epoch {epoch + 1}: loss {logs['loss']:.4f}, validation {loss:.4f}")
        if self.is_patience_over():
            self.report(f"no better loss for {self.config.patience} epochs: stops")
            network.stop_training = True


def validation_loss(network: keras.Model, check: Batches, config: TrainConfig) -> float:
    """Return the mean loss of the config over all batches of `check`."""
    losses = []
    for index in range(len(check)):
        inputs, *wanted = check[index]  # the target, and weights if there are
        predicted = np.asarray(network.predict_on_batch(inputs), np.float32)
        losses.append(float(LOSSES[config.loss](config)(wanted[0], predicted, *wanted[1:])))
    return float(np.mean(losses))


def describe(config: TrainConfig, state: TrainingState) -> dict[str, Any]:
    """Return model.json: what the network is, what it was trained on, and how."""
    domain = dict(config.domain)
    if config.files:
        domain.setdefault("data", f"files of the user: {len(find_files(config.files))} fields")
    return {
        "version": __version__,
        "network": {"name": config.network, "softening": config.softening},
        "task": config.task,
        **TASKS[config.task].describe(config),
        "tile": config.tile,
        "domain": domain,
        "training": {
            "config": {one.name: getattr(config, one.name) for one in fields(config)},
            "epoch": state.best_epoch,
            "validation_loss": round(state.best_loss, 6),
            "tiles": state.best_epoch * config.steps_per_epoch * config.batch_size,
            "software": f"keras {keras.__version__} on {keras.config.backend()}",
        },
    }
