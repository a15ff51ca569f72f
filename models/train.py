"""Training of the floating-point detector: ``python -m models.train --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from tqdm import tqdm

from codenet.errors import CodenetError
from models.augment import Augmentation
from models.blocks import set_slope
from models.configs import CONFIGS, NetworkConfig, get_config, normalize
from models.data import ANIMALS, DetectionData, cached_images, load_data
from models.detector import CoDeNet
from models.distill import Distillation, FloatDistillation
from models.losses import WEIGHTS, Batch, detection_loss
from models.targets import make_targets
from models.weights import load_trunk

logger = logging.getLogger(__name__)


#: Learning rates of the box outputs, relative to the others: 16 is the factor by which TTFNet scales these outputs.
BOX_RATES = (("heads.size.out", 16.0), ("heads.offset.out", 16.0))


@dataclass(frozen=True)
class TrainConfig:
    """What a training run depends on besides data and network; it travels in the checkpoint.

    ``slope_end``: the part of the run after which the activations are plain ReLU, annealed from ``slope``.
    ``ema``: decay per step of the averaged weights, which are the result. ``mixed``: convolutions compute in bfloat16. ``rates``: prefixes of parameters' names with what multiplies the
    learning rate for them; the first that fits counts. Sizes and offsets are tens of pixels, which Adam's equal steps would take long to reach.
    """

    iterations: int = 2400
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 100
    slope: float = 0.1
    slope_end: float = 0.6
    ema: float = 0.997
    clip: float = 10.0
    seed: int = 1
    cache_size: int = 320
    mixed: bool = False
    rates: tuple[tuple[str, float], ...] = BOX_RATES
    augmentation: Augmentation = Augmentation()

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.iterations - self.warmup)
        return self.rate * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    def negative_slope(self, step: int) -> float:
        """Slope of the activations at ``step``."""
        return self.slope * max(0.0, 1 - step / max(1.0, self.slope_end * self.iterations))


class Batches:
    """Augmented batches of a data set; batch ``step`` is a function of the seed and ``step`` alone.

    That makes a resumed run equal to an uninterrupted one without any random state in the checkpoint. Of several
    ``workers`` each gets its part of the same batch.
    """

    def __init__(
        self,
        data: DetectionData,
        images: np.ndarray,
        config: TrainConfig,
        network: NetworkConfig,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        if not len(data):
            raise CodenetError("training: the data set has no images, expected at least one")
        self.data, self.images, self.config, self.network = data, images, config, network
        self.slots = range(worker, config.batch, workers)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def _sample(self, position: int) -> int:
        """Index of the image at ``position`` of an endless sequence of shuffled epochs."""
        epoch, index = divmod(position, len(self.data))
        if epoch != self._epoch:
            self._epoch, rng = epoch, np.random.default_rng([self.config.seed, 0, epoch])
            self._order = rng.permutation(len(self.data))
        return int(self._order[index])

    def __getitem__(self, step: int) -> Batch:
        size, output = self.network.size, self.network.output_size
        images, targets = [], []
        for slot in self.slots:
            rng = np.random.default_rng([self.config.seed, 1, step, slot])
            index = self._sample(step * self.config.batch + slot)
            record = self.data.records[index]
            unit = np.array([record.width, record.height] * 2, np.float64)
            image, boxes, labels = self.config.augmentation(
                self.images[index], record.boxes[~record.crowd] / unit, record.labels[~record.crowd], size, rng
            )
            images.append(image)
            targets.append(make_targets(boxes, labels, len(self.data.classes), output))
        owner = np.concatenate([np.full(len(t.index), n, np.int64) for n, t in enumerate(targets)])
        return Batch(
            normalize(np.stack(images)),
            torch.from_numpy(np.stack([t.heatmap for t in targets])),
            torch.from_numpy(owner),
            torch.from_numpy(np.concatenate([t.index for t in targets])),
            torch.from_numpy(np.concatenate([t.box for t in targets])),
            torch.from_numpy(np.concatenate([t.weight for t in targets])),
        )


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer; ``factor`` is what multiplies the group's learning rate.

    Weight decay for convolution weights, none for biases, norms and scales.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = config.decay if parameter.ndim > 1 else 0.0
        factor = next((rate for prefix, rate in config.rates if name.startswith(prefix)), 1.0)
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]


def average_gradients(network: nn.Module) -> None:
    """Average the gradients of all workers, if there are several."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


class Trainer:
    """A network, its averaged copy of the state, optimizer and step; `run` trains, `save` and `resume` keep it."""

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        identity: dict[str, Any],
        distillation: Distillation | FloatDistillation | None = None,
    ) -> None:
        self.network, self.config, self.identity, self.distillation = network, config, identity, distillation
        self.optimizer = torch.optim.AdamW(parameter_groups(network, config), lr=config.rate)
        self.average = {key: value.detach().clone() for key, value in network.state_dict().items()}
        self.step = 0

    def _update_average(self) -> None:
        # A young average follows quickly: the early weights should leave no trace.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)
                else:
                    self.average[key].copy_(value)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; returns the loss parts. `CodenetError` with the parts if the loss is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate(self.step) * group["factor"]
        set_slope(self.network, self.config.negative_slope(self.step))
        parts = self._loss(batch)
        values = {name: float(part.detach()) for name, part in parts.items()}
        if not math.isfinite(values["total"]):
            raise CodenetError(f"training: loss at step {self.step} is not finite: {values}")
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return values

    def _loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.config.mixed):
            outputs = self.network(batch.images)
            features = None if self.distillation is None else self.distillation.loss(batch.images)
        parts = detection_loss(outputs, batch)
        if features is not None:
            parts |= {"teacher": features, "total": parts["total"] + features}
        return parts

    def save(self, path: Path) -> None:
        """Write a checkpoint; an interrupted write leaves the old file."""
        partial = path.with_suffix(".partial")
        state = {
            **self.identity,
            "train": dataclasses.asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, partial)
        partial.rename(path)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same network; `CodenetError` if it is another's."""
        state = load_checkpoint(path)
        for key, value in self.identity.items():
            if state.get(key) != value:
                raise CodenetError(f"checkpoint {path}: {key} is {state.get(key)!r}, expected {value!r}")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = state["average"], state["step"]

    def run(self, batches: Batches, path: Path | None, every: int = 100, report: Callable[[str], None] = print) -> None:
        """Train up to ``config.iterations``, saving to ``path`` every ``every`` steps and at the end."""
        self.network.train()
        sums: dict[str, float] = {}
        first = not distributed.is_initialized() or distributed.get_rank() == 0
        bar = tqdm(
            total=self.config.iterations, initial=self.step, desc="train", unit="it", mininterval=10, disable=not first
        )
        while self.step < self.config.iterations:
            for name, value in self.train_step(batches[self.step]).items():
                sums[name] = sums.get(name, 0.0) + value
            bar.update()
            if self.step % every == 0 or self.step == self.config.iterations:
                count = (self.step - 1) % every + 1
                means = "  ".join(f"{name} {value / count:.4f}" for name, value in sums.items())
                sums = {}
                if first:
                    report(f"step {self.step}/{self.config.iterations}  {means}")
                if first and path is not None:
                    self.save(path)
        bar.close()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; `CodenetError` naming the file if it is none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds
        raise CodenetError(f"checkpoint {path}: cannot be read: {error}") from error
    if not isinstance(state, dict) or not {"kind", "network", "config", "classes"} <= state.keys():
        raise CodenetError(f"checkpoint {path}: not a checkpoint of this project")
    return state


def load_network(path: Path) -> CoDeNet:
    """The averaged floating-point network of a checkpoint, in evaluation mode."""
    state = load_checkpoint(path)
    if state["kind"] != "float":
        raise CodenetError(f"checkpoint {path}: kind is {state['kind']!r}, expected 'float'")
    network = CoDeNet(NetworkConfig.from_dict(state["config"]), tuple(state["classes"]))
    network.load_state_dict(state["average"])
    return network.eval()


def float_identity(network: CoDeNet) -> dict[str, Any]:
    """What a checkpoint must have in common with the network that resumes from it."""
    return {"kind": "float", "config": network.config.to_dict(), "classes": list(network.classes)}


def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 at more than float32's speed."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def setup_logging(output: Path) -> None:
    """Log to ``output/log.txt`` and the terminal."""
    output.mkdir(parents=True, exist_ok=True)
    handlers: Iterable[logging.Handler] = (logging.FileHandler(output / "log.txt"), logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


def add_common_arguments(parser: argparse.ArgumentParser, defaults: TrainConfig) -> None:
    """Arguments that floating-point and quantization-aware training share."""
    parser.add_argument("--data", type=Path, required=True, help="folder with train split, COCO JSON or VOC XML")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--resume", action="store_true", help="continue from OUTPUT/checkpoint.pt")
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--rate", type=float, default=defaults.rate)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=2, help="processes that share a batch, one thread each")


def start_workers(arguments: argparse.Namespace, job: Callable[[argparse.Namespace, int], None]) -> None:
    """Run ``job(arguments, worker)`` in ``arguments.workers`` processes whose gradients are averaged.

    Processes of one thread each wait for one another once a step; the threads of one process do so at each operation,
    which is many times slower on a machine that has other things to do.
    """
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.workers == 1:
        job(arguments, 0)
        return
    meeting = arguments.output / f"meeting-{os.getpid()}"
    torch.multiprocessing.spawn(_worker, (arguments, job, meeting), arguments.workers)
    meeting.unlink(missing_ok=True)


def _worker(
    worker: int, arguments: argparse.Namespace, job: Callable[[argparse.Namespace, int], None], meeting: Path
) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{meeting.resolve()}", rank=worker, world_size=arguments.workers)
    job(arguments, worker)
    distributed.destroy_process_group()


def train(arguments: argparse.Namespace, worker: int) -> None:
    """One worker of a training run."""
    setup_logging(arguments.output)
    torch.manual_seed(arguments.seed)
    config = TrainConfig(
        arguments.iterations,
        arguments.batch,
        arguments.rate,
        slope=arguments.slope,
        seed=arguments.seed,
        cache_size=max(TrainConfig.cache_size, get_config(arguments.config).size),
        mixed=arguments.mixed,
        rates=(*BOX_RATES, ("backbone.", arguments.trunk_rate)),
    )
    network = CoDeNet(get_config(arguments.config), tuple(arguments.classes))
    if arguments.start is not None:
        network.load_state_dict(load_checkpoint(arguments.start)["average"])
    if arguments.trunk is not None:  # After the start: another configuration's decoder may follow a trunk of one's own.
        load_trunk(network.backbone, arguments.trunk)
    network = network.to(memory_format=torch.channels_last)
    data = load_data(arguments.data, "train", arguments.classes)
    images = cached_images(data, config.cache_size, arguments.output.parent / "cache")
    distillation = Distillation(network, arguments.teacher) if arguments.teacher is not None else None
    trainer = Trainer(network, config, float_identity(network), distillation)
    path = arguments.output / "checkpoint.pt"
    if arguments.resume:
        trainer.resume(path)
    if worker == 0:
        logger.info("network %s, %s, %d images, loss weights %s", network.config, config, len(data), WEIGHTS)
    batches = Batches(data, images, config, network.config, worker, arguments.workers)
    trainer.run(batches, path, report=logger.info)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser, TrainConfig())
    parser.add_argument("--config", choices=list(CONFIGS), default="a")
    parser.add_argument("--trunk", type=Path, help="NumPy archive of trunk weights to start from")
    parser.add_argument("--teacher", type=Path, help="NumPy archive of the trunk whose features the backbone learns")
    parser.add_argument("--start", type=Path, help="checkpoint of another run to start from")
    parser.add_argument("--trunk-rate", type=float, default=1.0, help="what multiplies the backbone's learning rate")
    parser.add_argument(
        "--mixed",
        action=argparse.BooleanOptionalAction,
        default=has_fast_bfloat16(),
        help="convolutions in bfloat16 (default: where the processor has it)",
    )
    parser.add_argument("--slope", type=float, default=TrainConfig.slope, help="negative slope at the start")
    parser.add_argument("--classes", nargs="+", default=list(ANIMALS))
    start_workers(parser.parse_args(), train)


if __name__ == "__main__":
    main()
