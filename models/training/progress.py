# SPDX-License-Identifier: Apache-2.0
"""What is noted of a training run: a table of its intervals, curves of it as pictures, TensorBoard events, the best
checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codenet import files
from codenet.errors import CodenetError
from codenet.svg import COLOURS, Axis, Chart
from models.network.checkpoints import write_checkpoint
from models.training.distributed import rank
from models.training.losses import WEIGHTS

if TYPE_CHECKING:
    from models.training.trainer import Trainer
    from models.training.validation import Validation

logger = logging.getLogger(__name__)


def open_tensorboard(folder: Path, step: int) -> Any:
    """A writer of TensorBoard events that replaces what was noted after ``step``; `CodenetError` without the
    package.
    """
    if find_spec("tensorboard") is None:
        raise CodenetError(
            "TensorBoard logs need the package tensorboard: pip install tensorboard, or train with --no-tensorboard"
        )
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


@dataclass
class Progress:
    """Notes each interval of a run in ``output``; validates at the end, and at the first interval after every
    ``evaluate_every`` steps.

    ``history.jsonl`` has one object a line: ``step``, ``rate``, ``slope``, the mean losses, and where it was validated
    ``ap50`` and ``ap``. ``losses.svg`` and ``ap50.svg`` draw it. ``best.pt`` has the averaged weights of the best
    validation among those with plain ReLU, that is slope 0: a network is used with no other.
    """

    output: Path
    validation: Validation | None = None
    evaluate_every: int = 0
    tensorboard: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)
    writer: Any = None
    last: int = 0  # step of the interval before

    @property
    def history(self) -> Path:
        """The table's file."""
        return self.output / "history.jsonl"

    def resumed(self, trainer: Trainer) -> None:
        """Keep of an earlier run's table what lies before the step that the run goes on from."""
        self.last = trainer.step
        if rank():
            return
        self.lines = [line for line in read_history(self.history) if line["step"] <= trainer.step]
        files.write(self.history, "".join(f"{json.dumps(line)}\n" for line in self.lines))
        if self.tensorboard:
            self.writer = open_tensorboard(self.output / "tensorboard", trainer.step)

    def interval(self, trainer: Trainer, losses: dict[str, float]) -> None:
        """Note the losses, validate if it is time, draw."""
        step, slope = trainer.step, trainer.config.negative_slope(trainer.step)
        line = {"step": step, "rate": trainer.config.learning_rate(step - 1), "slope": slope, **losses}
        if self._due(trainer):
            line |= self._validate(trainer, slope)
        self.last = step
        if rank():
            return
        self.lines.append(line)
        files.write(self.history, "".join(f"{json.dumps(line)}\n" for line in self.lines))
        draw(self.lines, self.output)
        if self.writer is not None:
            for name, value in line.items():
                if name != "step":
                    self.writer.add_scalar(f"losses/{name}" if name in losses else name, value, step)
            self.writer.flush()

    def _due(self, trainer: Trainer) -> bool:
        if self.validation is None or not self.evaluate_every:
            return False
        passed = trainer.step // self.evaluate_every > self.last // self.evaluate_every
        return passed or trainer.step == trainer.config.iterations

    def _validate(self, trainer: Trainer, slope: float) -> dict[str, float]:
        assert self.validation is not None
        score = self.validation.score(trainer.average, slope)
        if rank() == 0:
            logger.info("step %d  validation %s%s", trainer.step, score, f"  slope {slope:.3f}" * (slope > 0))
        if slope == 0 and score.ap50 > trainer.best.get("ap50", -math.inf):
            trainer.best = {"ap50": score.ap50, "step": trainer.step}
            if rank() == 0:
                kept = {key: trainer.state()[key] for key in (*trainer.identity, "train", "step", "average", "best")}
                write_checkpoint(kept | {"network": trainer.average}, self.output / "best.pt", keep=False)
        return {"ap50": score.ap50, "ap": score.ap}


def read_history(path: Path) -> list[dict[str, Any]]:
    """Lines of a run's table; a last one cut off by a kill is left out, and without a file there are none."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def draw(lines: list[dict[str, Any]], output: Path) -> None:
    """Write ``losses.svg``: the parts with their weights in the total; and ``ap50.svg`` if there was a validation."""
    names = [name for name in (*WEIGHTS, "teacher", "total") if name in lines[-1]]
    weighted = {
        name: [(line["step"], line[name] * WEIGHTS.get(name, 1.0)) for line in lines if name in line] for name in names
    }
    _chart("Training loss", "loss", weighted, output / "losses.svg")
    scores = {name: [(line["step"], line[name]) for line in lines if name in line] for name in ("ap50", "ap")}
    if scores["ap50"]:
        _chart("Validation", "average precision", scores, output / "ap50.svg")


def _chart(title: str, label: str, series: dict[str, list[tuple[int, float]]], path: Path) -> None:
    points = [point for line in series.values() for point in line]
    highest = max((value for _, value in points), default=1.0) or 1.0
    chart = Chart(title, Axis("step", 0, max(1, *(step for step, _ in points))), Axis(label, 0, 1.05 * highest))
    for (name, line), colour in zip(series.items(), COLOURS, strict=False):
        chart.legend.append((name, colour))
        chart.line([(float(step), value) for step, value in line], colour)
        for step, value in line if len(line) < 50 else ():
            chart.point(step, value, colour, f"{name} {value:.4f} at step {step}", radius=2.5)
    files.write(path, chart.text())
