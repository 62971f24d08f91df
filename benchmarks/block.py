"""An epoch of fine-tuning from a block up, against one through the whole network.

    uv run python -m benchmarks.block
    uv run python -m benchmarks.block --from Mixed_7c --batch 16 --steps 2 --rounds 3

Three contenders take the same number of training steps on batches of the same size, with the same
head, recipe and precision, in alternation:
- whole network: every weight is trained, on stored images (finetune.trainable_from: null);
- trunk anew: the part is trained, and the trunk runs forward in every step, without a cache;
- cached trunk: the part is trained on activations that are read from the cache.
The images are random pixels and the weights random too: neither changes the time. The first round
isn't timed. Activations are cached before, and how long that took is printed. On a CPU the seconds
are those of all cores together, which other jobs on the machine hardly change.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import nn
from tqdm import tqdm

from benchmarks.timing import alternate, machine, table
from headstart import config
from headstart.backbones.network_splitting import split_network
from headstart.extraction.feature_cache import FeatureCache
from headstart.extraction.row_caches import RowCaches
from headstart.extraction.trunk_activations import TrunkActivations
from headstart.networks.weight_initialization import variance_scaling
from headstart.training.activation_inputs import ActivationInputs
from headstart.training.image_transforms import InputSpec, InputTransform
from headstart.training.network_evaluation import ImageTensors, autocast
from headstart.training.train_state import TrainState
from headstart.training.training_loop import TrainingTask, make_mixup, train_epoch

CLASSES = 200
SIDE = 64
"""Of the stored images, in px."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="inception_v3")
    parser.add_argument("--size", type=int, default=299, help="of the network's input, in px")
    parser.add_argument("--from", dest="trainable_from", default="Mixed_7b")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = config.load_params().recipes["finetune"]
    recipe = recipe.model_copy(update={"batch_size": args.batch, "layer_decay": 1.0})
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    count = args.steps * args.batch
    print(f"{machine()}, timm {timm.__version__}", flush=True)
    print(f"{args.architecture} at {args.size} px, {args.steps} steps of {args.batch}", flush=True)
    pixels = torch.randint(256, (count, SIDE, SIDE, 3), dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    input_spec = InputSpec(args.size, 1.0, (0.5,) * 3, (0.5,) * 3)

    def epoch(network: nn.Module, data: torch.Tensor, inputs: InputTransform) -> Callable:
        examples = ImageTensors(data, labels)
        task = TrainingTask(examples, examples, inputs, CLASSES)
        network.to(device).to(memory_format=torch.channels_last).train()
        state = TrainState(network, recipe, args.steps)

        def work() -> float:
            start = clock()
            with tqdm(disable=True) as bar:
                train_epoch(state, recipe, task, device, make_mixup(recipe, CLASSES), bar)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return clock() - start

        return work

    def build() -> nn.Module:
        network = timm.create_model(args.architecture, num_classes=CLASSES)
        variance_scaling(network)  # timm's own initialization gives numbers that are too large
        return freeze_batch_norm_2d(network)

    split = split_network(build(), args.size, args.trainable_from)
    print(f"the part has {split.upper_share:.1%} of a forward pass's operations", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        start = clock()
        rows = [trunk_rows(split.trunk, input_spec, x, device) for x in pixels.split(args.batch)]
        print(f"caching: {clock() - start:.1f} s (torch, without OpenVINO)", flush=True)
        keys = np.array([i.to_bytes(16, "big") for i in range(1, count + 1)], "S16")
        cache = FeatureCache(Path(folder), rows[0].shape[1], "float16")
        for part, part_keys in zip(rows, np.split(keys, args.steps), strict=True):
            cache.add(part_keys, part)
        cached = ActivationInputs(
            TrunkActivations(RowCaches([cache]), keys[:, None], split.shape, {})
        )
        anew = split_network(build(), args.size, args.trainable_from)
        contenders = {
            "whole network": epoch(build(), pixels, input_spec),
            "trunk anew": epoch(Stacked(anew.trunk, anew.upper), pixels, input_spec),
            "cached trunk": epoch(split.upper, torch.arange(count), cached),
        }
        for run in contenders.values():
            run()
        seconds = alternate(contenders, args.rounds)
    print("\n" + table(seconds, "whole network", count, "image"), flush=True)


class Stacked(nn.Module):
    """The whole network, of which only the upper part is trained."""

    def __init__(self, trunk: nn.Module, upper: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False)
        self.upper = upper

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            activations = self.trunk(x)
        return self.upper(activations)


@torch.no_grad()
def trunk_rows(
    trunk: nn.Module, input_spec: InputSpec, pixels: torch.Tensor, device: torch.device
) -> np.ndarray:
    """The trunk's activations as rows of the cache: [B, ...] float16."""
    trunk.to(device).to(memory_format=torch.channels_last)
    with autocast(device):
        activations = trunk(input_spec.eval_transform(pixels.to(device)))
    return activations.half().flatten(1).cpu().numpy()


if __name__ == "__main__":
    main()
