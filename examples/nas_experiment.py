"""Evolve video networks from Python: our space and our strategy in NNI's NasExperiment.

    nni-evanet make-dataset moving-digits demo/moving_digits --clips-per-class 60
    python examples/nas_experiment.py demo/moving_digits

The search runs on this machine, two trials at a time, for about ten minutes on two cores; NNI's web
page shows it. In each trial a function of this file trains the network. To let PyTorch Lightning
train it instead:

    python examples/nas_experiment.py demo/moving_digits --evaluator lightning

Ctrl-C stops the search. It goes on, with the same options, where it stopped: every result is kept,
and the networks that were in training are trained again. (NNI counts the trials that it has
started, so that these count twice towards --trials.)

    python examples/nas_experiment.py demo/moving_digits --resume EXPERIMENT_ID

To search something of your own, exchange any of the three arguments of NasExperiment in `main`.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nni
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment
from torch import Tensor, nn

from nni_evanet.data import load_dataset, split_validation
from nni_evanet.data.batches import EvaluationBatches, TrainBatches, normalise
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.search_spaces import ResNetSpace
from nni_evanet.strategies import Annealed, DiversityAnnealedEvolution
from nni_evanet.training.recipe import GRADIENT_NORM, loss_of, make_optimizer, zero_classifier_

CLASSES = 12


def main() -> None:
    """The experiment, from top to bottom."""
    options = read_options()

    # 1. What to search: its samples are networks from clips (B, 3, T, H, W) to logits (B, CLASSES).
    space = ResNetSpace(CLASSES, width=options.width, dropout=0.0)

    # 2. What makes a network good: its accuracy on held-out clips after a short training. NNI sends
    #    the evaluator's arguments to every trial, so they are numbers and names and not the clips.
    training = {
        "data": str(options.data.resolve()),
        "frames": options.frames,
        "size": options.size,
        "iterations": options.iterations,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "validation_clips": options.validation_clips,
    }
    evaluator = {"function": with_function, "lightning": with_lightning}[options.evaluator](
        training
    )

    # 3. How to search: the paper's evolution, for a smaller budget than the paper's.
    strategy = DiversityAnnealedEvolution(
        population_size=options.population_size,
        sample_size=6,
        schedule=Annealed(max_mutations=3, rounds=10),
    )

    experiment = NasExperiment(space, evaluator, strategy, id=options.resume)
    experiment.config.experiment_name = "EvaNet on moving digits, from Python"
    experiment.config.trial_concurrency = options.concurrency
    experiment.config.max_trial_number = options.trials
    # Trials import this file, and NNI starts them in the folder that the experiment is started in.
    os.chdir(Path(__file__).parent)

    print(f"Experiment {experiment.id}: watch it at http://127.0.0.1:{options.port}", flush=True)
    start = experiment.resume if options.resume else experiment.run
    done = start(options.port)  # until the last trial, or Ctrl-C, which stops NNI's manager, too
    if done is not None:
        experiment.stop()

    failed = sum(evaluation.fitness is None for evaluation in strategy.evolution.history)
    print(f"{len(strategy.evolution.history)} networks evaluated, {failed} failed. The best:")
    if failed:
        folder = Path(experiment.config.experiment_working_directory, experiment.id)
        print(f"(why some failed: {folder}/environments/local-env/trials/*/trial.stderr)")
    for model in experiment.export_top_models(3):
        architecture = space.architecture_of(model.sample)
        print(f"accuracy {model.metric:.3f}  {architecture.fingerprint}  {architecture.to_json()}")
    if done is None:
        print(f"Interrupted. Go on with the same options and --resume {experiment.id}")


# --- the evaluators; this part runs in the trials ---


def with_function(training: dict[str, Any]) -> FunctionalEvaluator:
    """An evaluator that calls `evaluate` with the sampled network."""
    return FunctionalEvaluator(evaluate, **training)


def evaluate(
    network: nn.Module,
    *,
    data: str,
    frames: int,
    size: int,
    iterations: int,
    batch_size: int,
    learning_rate: float,
    validation_clips: int,
) -> None:
    """Train a network, and report its accuracy on the held-out clips to NNI."""
    torch.set_num_threads(1)  # the trials share the cores
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    training, validation = load_clips(data, frames, size, validation_clips)

    zero_classifier_(network)
    optimizer, schedule = make_optimizer(
        network, learning_rate=learning_rate, iterations=iterations
    )
    network.train()
    for clips, labels in TrainBatches(training, batch_size=batch_size, iterations=iterations):
        loss = loss_of(network(normalise(clips.to(device))), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimizer.step()
        schedule.step()

    network.eval()
    correct = 0
    with torch.inference_mode():
        for clips, labels, _ in EvaluationBatches(validation, batch_size=batch_size):
            logits = network(normalise(clips.to(device)))
            correct += int((logits.argmax(1).cpu() == labels).sum())
    nni.report_final_result(correct / len(validation))


def with_lightning(training: dict[str, Any]) -> Lightning:
    """An evaluator that lets Lightning train the sampled network."""
    trainer = Trainer(
        max_epochs=1,
        gradient_clip_val=GRADIENT_NORM,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return Lightning(VideoClassification(**training), trainer)


@nni.trace  # NNI makes it anew in every trial, from its arguments
class VideoClassification(LightningModule):
    """Trains `self.model`, which NNI sets, on clips, and reports its accuracy to NNI."""

    def __init__(
        self,
        data: str,
        frames: int,
        size: int,
        iterations: int,
        batch_size: int,
        learning_rate: float,
        validation_clips: int,
    ) -> None:
        super().__init__()
        self.source = (data, frames, size, validation_clips)
        self.iterations = iterations
        self.batch_size = batch_size
        self.learning_rate = learning_rate

    def setup(self, stage: str) -> None:
        torch.set_num_threads(1)  # the trials share the cores
        self.training_clips, self.validation_clips = load_clips(*self.source)
        zero_classifier_(self.model)

    def train_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        return TrainBatches(
            self.training_clips, batch_size=self.batch_size, iterations=self.iterations
        )

    def val_dataloader(self) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        return EvaluationBatches(self.validation_clips, batch_size=self.batch_size)

    def configure_optimizers(self) -> Any:
        optimizer, schedule = make_optimizer(
            self.model, learning_rate=self.learning_rate, iterations=self.iterations
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        clips, labels = batch
        return loss_of(self.model(normalise(clips)), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        clips, labels, _ = batch
        correct = self.model(normalise(clips)).argmax(1) == labels
        self.log("accuracy", correct.float().mean(), batch_size=len(labels))

    def on_fit_end(self) -> None:
        nni.report_final_result(float(self.trainer.callback_metrics["accuracy"]))


def load_clips(
    data: str, frames: int, size: int, validation_clips: int
) -> tuple[ClipDataset, ClipDataset]:
    """The clips to train on and the held-out ones; the same for all trials."""
    videos = load_dataset("moving-digits", data)
    parts = split_validation(videos.videos, count=validation_clips, seed=0)
    geometry = Geometry(frames=frames, size=size, margin=videos.margin, flip=videos.flip)
    training = ClipDataset(parts.training, geometry, training=True)
    validation = ClipDataset(parts.validation, geometry, training=False)
    return training, validation


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Evolve video networks on moving digits.")
    parser.add_argument("data", type=Path, help="what `nni-evanet make-dataset` has written")
    parser.add_argument("--evaluator", choices=["function", "lightning"], default="function")
    parser.add_argument("--resume", metavar="EXPERIMENT_ID", help="an interrupted experiment")
    parser.add_argument("--port", type=int, default=8080, help="of NNI's web page")
    parser.add_argument("--trials", type=int, default=44)
    parser.add_argument("--concurrency", type=int, default=2, help="trials at a time")
    parser.add_argument("--population-size", type=int, default=16)
    parser.add_argument("--width", type=int, default=8, help="filters of the stem")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=16, help="height and width of a clip")
    parser.add_argument("--iterations", type=int, default=105)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.015)
    parser.add_argument("--validation-clips", type=int, default=240)
    return parser.parse_args()


if __name__ == "__main__":
    # Trials look for the evaluators in the module that they are from: `__main__` is another there.
    import nas_experiment

    nas_experiment.main()
