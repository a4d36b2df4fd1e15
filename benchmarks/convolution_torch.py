"""A VGG16 with batch norm in PyTorch, as a good user of it would train it; imported by processes of their own."""

import time
from typing import Any

import torch
from torch import nn

CONVOLUTIONS = (2, 2, 3, 3, 3)
CHANNELS = (64, 128, 256, 512, 512)
UNITS = 4096
BATCH = 128
_worker: dict[str, Any] = {}


def network(width: float, classes: int, side: int) -> nn.Sequential:
    """VGG16 with batch norm, in the channels-last layout, for images of so many pixels a side."""
    layers: list[nn.Module] = []
    channels = 3
    for convolutions, of in zip(CONVOLUTIONS, CHANNELS, strict=True):
        for _ in range(convolutions):
            wide = round(width * of)
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
            channels = wide
        layers.append(nn.MaxPool2d(2))
    units = round(width * UNITS)
    layers += [nn.Flatten(), nn.Linear(channels * (side // 32) ** 2, units), nn.ReLU()]
    layers += [nn.Linear(units, units), nn.ReLU(), nn.Linear(units, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def start(width: float, classes: int, threads: int, mixed: bool) -> None:
    """Make this process a worker with so many threads; `mixed`: convolutions and products in bfloat16."""
    torch.set_num_threads(threads)
    _worker.update(width=width, classes=classes, mixed=mixed)


def rate(train: Any) -> float:
    """Train one epoch in shuffled minibatches, after a step to warm up: images a second."""
    x, y = train
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y).long()
    if "model" not in _worker:
        model = network(_worker["width"], _worker["classes"], x.shape[1])
        _worker.update(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
        step(images[:BATCH], labels[:BATCH])
    begin = time.perf_counter()
    for rows in torch.randperm(len(labels)).split(BATCH):
        step(images[rows], labels[rows])
    return len(labels) / (time.perf_counter() - begin)


def step(images: torch.Tensor, labels: torch.Tensor) -> None:
    """One minibatch."""
    _worker["optimizer"].zero_grad(set_to_none=True)
    batch = (images.float() / 255).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=_worker["mixed"]):
        loss = nn.functional.cross_entropy(_worker["model"](batch), labels)
    loss.backward()
    _worker["optimizer"].step()
