"""A run's figures as TensorBoard event files in RUN/events: `tensorboard --logdir RUN`, while it lasts or after."""

from dataclasses import asdict
from pathlib import Path

from ltbc.train import TrainError
from ltbc.train.checkpoint import Progress
from ltbc.train.score import Score

FOLDER = "events"
MISSING = "--events needs tensorboardX, which is not installed: pip install 'let-there-be-color[tensorboard]'"


class Events:
    """Scalars by step. Steps beyond the checkpoint that a resumed run goes on from are marked as to be forgotten."""

    def __init__(self, run: Path, step: int) -> None:
        check()
        from tensorboardX import SummaryWriter

        # the suffix: two that begin in the same second would write into one file
        own, beyond = f".{step}", step + 1 if step else None
        self.writer = SummaryWriter(str(run / FOLDER), purge_step=beyond, filename_suffix=own)

    def step(self, progress: Progress, losses: dict[str, float], images_per_s: float, data_wait: float) -> None:
        """As `journal.Metrics.step`."""
        values = {f"loss/{name}": value for name, value in losses.items()}
        values |= {"speed/images_per_s": images_per_s, "speed/data_wait": data_wait}
        self.add(progress.step, values)

    def measured(self, step: int, scores: dict[str, Score]) -> None:
        """scores: by name, of the held-out pictures."""
        self.add(step, {f"{name}/{figure}": value for name, score in scores.items()
                        for figure, value in asdict(score).items() if value is not None and figure != "pictures"})

    def add(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def check() -> None:
    """Raises TrainError where TensorBoard's writer is missing."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise TrainError(MISSING) from None
