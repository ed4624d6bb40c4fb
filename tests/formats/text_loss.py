"""The loss of a small transformer that predicts the next character, trained in a format.

The text is this documentation: pages that people wrote, joined.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from stored_formats import Format
from torch import Tensor, nn
from torch.nn import functional

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = ("explain", "howto", "start")
CONTEXT, BATCH = 64, 8
WIDTH, HEADS, LAYERS = 64, 4, 2
HELD_OUT = 0.1  # of the text, its end
TESTED = 64  # windows of the text that is held out


class Layer(nn.Module):
    """Attention to earlier characters, then a perceptron, each behind a normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixed, self.attended = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        mixed = self.mixed(self.before(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(found.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.narrow(functional.gelu(self.wide(self.between(x))))


class Transformer(nn.Module):
    """A decoder, whose output matrix is that of its embedding."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        for table in (self.embedding, self.place):
            nn.init.normal_(table.weight, std=0.02)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.last = nn.LayerNorm(WIDTH)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text) + self.place.weight[: text.shape[1]]
        return self.last(self.layers(x)) @ self.embedding.weight.T


@functools.cache
def text() -> Tensor:
    """Return the text as numbers of its characters."""
    pages = (page for folder in FOLDERS for page in sorted((DOCS / folder).glob("*.md")))
    characters = "".join(page.read_text(encoding="utf-8") for page in pages)
    number = {character: i for i, character in enumerate(sorted(set(characters)))}
    return torch.tensor([number[character] for character in characters])


def sizes() -> dict[str, int]:
    """Return the number of parameters and of characters."""
    parameters = sum(param.numel() for param in Transformer(int(text().max()) + 1).parameters())
    return dict(parameters=parameters, characters=len(text()))


def final_loss(form: Format, seed: int, steps: int) -> float:
    """Train, and return the mean cross-entropy of a character of the text that is held out, in
    nats."""
    (loss,) = losses(form, seed, steps, steps)
    return loss


def losses(form: Format, seed: int, steps: int, every: int) -> Iterator[float]:
    """Train, and yield the loss as of `final_loss` after ``every`` so many steps; of a rule that
    evaluates an average it is the average's.

    The model computes in float32 with the stored weights; a gradient has the dtype of its weight.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # so that sums have one order
    model = Transformer(int(text().max()) + 1)
    dtype = getattr(torch, form.dtype)
    stored = {
        key: param.detach().to(dtype).requires_grad_() for key, param in model.named_parameters()
    }
    optimizer = form.torch_optimizer([*stored.items()], seed)
    end = int(len(text()) * (1 - HELD_OUT))
    order = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        starts = torch.randint(end - CONTEXT - 1, (BATCH,), generator=order)
        optimizer.zero_grad()
        _loss(model, stored, starts).backward()
        optimizer.step()
        if step % every == 0:
            with torch.no_grad(), evaluated(optimizer):
                starts = torch.linspace(end, len(text()) - CONTEXT - 1, TESTED).long()
                yield float(_loss(model, stored, starts))


@contextlib.contextmanager
def evaluated(optimizer: Any) -> Iterator[None]:
    """Have the parameters to evaluate in their places, where an optimizer trains others."""
    if not hasattr(optimizer, "eval"):  # another library's
        yield
        return
    optimizer.eval()
    yield
    optimizer.train()


def _loss(model: Transformer, stored: dict[str, Tensor], starts: Tensor) -> Tensor:
    windows = text()[starts[:, None] + torch.arange(CONTEXT + 1)]
    weights = {name: param.float() for name, param in stored.items()}
    logits = torch.func.functional_call(model, weights, windows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
