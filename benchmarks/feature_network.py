"""Train the small network behind the metrics called F-... on Fashion-MNIST, and write it as half-precision weights.

    .venv/bin/python benchmarks/feature_network.py --out src/obverse/metrics/fashion.safetensors

Batch normalisation while training, folded into the convolutions afterwards; images mirrored and moved by up to one
pixel; AdamW with one cycle of the rate. Accuracy is counted on the 10,000 test images, with the weights as written.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from obverse.data import Dataset, load
from obverse.data.sources import FASHION_MNIST
from obverse.ground.noise import permutation, uniform
from obverse.metrics.fashion import FashionNetwork

VERSION = "1"  # of the weights: raise it when they change, since no F-... of another version compares
BATCH, RATE, DECAY, SMOOTHING, SHIFT = 128, 4e-3, 1e-2, 0.05, 1


class Normalised(nn.Module):
    """The network while it is trained: with a batch normalisation after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = FashionNetwork()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c.out_channels) for c in self.plain.convolutions)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.plain.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).relu()
        return self.plain.classify(x.mean((2, 3)))

    def folded(self) -> FashionNetwork:
        """The same function without normalisations, in weights that half precision holds."""
        self.eval()
        network = FashionNetwork()
        for i, (convolution, norm) in enumerate(zip(self.plain.convolutions, self.norms, strict=True)):
            network.convolutions[i] = fuse_conv_bn_eval(convolution, norm)
        network.classify = self.plain.classify
        return network.half().float().eval()


def moved(x: Tensor, step: int) -> Tensor:
    """Each image mirrored or not, and moved by up to a pixel; what comes in at the edges is black."""
    chance = uniform((len(x), 3), seed=0, purpose="augment", step=step)
    down, right = (chance[:, :2] * (2 * SHIFT + 1)).long().T
    padded = pad(x, (SHIFT,) * 4, value=-1.0)
    rows, columns = down[:, None] + torch.arange(28), right[:, None] + torch.arange(28)
    columns = torch.where(chance[:, 2:] < 0.5, columns, columns.flip(1))
    return padded[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(data: Dataset, epochs: int) -> FashionNetwork:
    """One run; the draws of images are functions of the epoch and the step, the first weights of torch's seed."""
    torch.manual_seed(0)
    network = Normalised().to(memory_format=torch.channels_last)
    steps = epochs * (len(data) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.2)
    begun, step = time.perf_counter(), 0
    for epoch in range(epochs):
        order = permutation(len(data), seed=0, purpose="epoch", step=epoch)
        total = 0.0
        for index in order[: len(data) // BATCH * BATCH].split(BATCH):
            rows = data.rows(index)
            x = moved(rows.x, step).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                scores = network(x)
            loss = cross_entropy(scores.float(), rows.label, label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            total, step = total + float(loss.detach()), step + 1
        seconds = time.perf_counter() - begun
        print(f"epoch {epoch + 1} of {epochs}: loss {total / (len(data) // BATCH):.4f}, {seconds:.0f} s", flush=True)
    return network.folded()


@torch.no_grad()
def accuracy(network: FashionNetwork, data: Dataset) -> float:
    """The share of images whose garment is named."""
    batches = [data.rows(index) for index in torch.arange(len(data)).split(1000)]
    return sum(int((network(b.x).argmax(1) == b.label).sum()) for b in batches) / len(data)


def main() -> None:
    """Train, count, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fashion.safetensors"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, test = load("fashion-mnist"), load(FASHION_MNIST / "t10k-images-idx3-ubyte.gz")
    begun = time.perf_counter()
    network = train(data, options.epochs)
    seconds = time.perf_counter() - begun
    right = accuracy(network, test)
    what = {
        "what": "features and classes of grey images of 28 x 28, values in [-1, 1]; normalisation folded, float16",
        "data": "Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT licence), 60,000 training images",
        "trained": f"{options.epochs} epochs, batch {BATCH}, bfloat16, AdamW {RATE} in one cycle, decay {DECAY}, label "
        f"smoothing {SMOOTHING}, mirrored, moved by up to {SHIFT} pixels",
        "accuracy": f"{right:.4f}",
        "accuracy on": "the 10,000 test images, with these weights",
        "classes": json.dumps(data.classes),
        "version": VERSION,
    }
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, options.out, what)
    print(f"accuracy {right:.2%} on {len(test):,}; {options.out} {options.out.stat().st_size:,} bytes; {seconds:.0f} s")


if __name__ == "__main__":
    main()
