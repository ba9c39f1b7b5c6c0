"""Gradients of several processes are those of one, with batch norm frozen."""

import torch
import torch.multiprocessing as mp
from torch import nn

from nni_evanet.training.module import Optimisation, Training

CLASSES = 5


class Network(nn.Module):
    """A convolution, a batch norm that keeps its statistics, and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.classifier = nn.Linear(4, CLASSES)

    def forward(self, clips):
        self.norm.eval()
        return self.classifier(self.norm(self.conv(clips)).relu().mean((2, 3, 4)))


class Step(nn.Module):
    """The module's `training_step`, as DDP calls it."""

    def __init__(self, training):
        super().__init__()
        self.training_module = training

    def forward(self, *batch):
        return self.training_module.training_step(batch)


def make_training(multi_label):
    torch.manual_seed(0)
    plan = Optimisation(iterations=1, learning_rate=0.1)
    return Training(Network(), plan, multi_label=multi_label, seed=0)


def make_batch(multi_label):
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (6, 3, 4, 8, 8), generator=generator, dtype=torch.uint8)
    if multi_label:
        return clips, torch.randint(0, 2, (6, CLASSES), generator=generator).float()
    return clips, torch.randint(0, CLASSES, (6,), generator=generator)


def gradients(training):
    return {name: p.grad.clone() for name, p in training.network.named_parameters()}


def work(rank, folder):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for multi_label in (False, True):
        training = make_training(multi_label)
        parallel = nn.parallel.DistributedDataParallel(Step(training))
        parallel(*(part[3 * rank : 3 * rank + 3] for part in make_batch(multi_label))).backward()
        if rank == 0:
            torch.save(gradients(training), f"{folder}/{multi_label}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(tmp_path):
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    for multi_label in (False, True):
        training = make_training(multi_label)
        training.training_step(make_batch(multi_label)).backward()
        found = torch.load(tmp_path / f"{multi_label}.pt", weights_only=True)
        for name, gradient in gradients(training).items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)
