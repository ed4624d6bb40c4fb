"""A tiny transformer that learns to continue sequences, with a scheduler and gradient clipping."""

from __future__ import annotations

import contextlib

import torch

STEPS = 200
SYMBOLS, LENGTH, WIDTH = 11, 12, 16


class Transformer(torch.nn.Module):
    """One causal layer of attention; in and out share the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(SYMBOLS, WIDTH)
        self.position = torch.nn.Parameter(0.1 * torch.randn(LENGTH, WIDTH))
        self.layer = torch.nn.TransformerEncoderLayer(
            WIDTH, nhead=2, dim_feedforward=32, dropout=0.0, batch_first=True
        )
        self.head = torch.nn.Linear(WIDTH, SYMBOLS)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, tokens):
        hidden = self.layer(self.embedding(tokens) + self.position, src_mask=self.mask)
        return self.head(hidden)


def batch(step):
    """Arithmetic sequences modulo a prime."""
    generator = torch.Generator().manual_seed(step)
    start, stride = torch.randint(SYMBOLS, (2, 8, 1), generator=generator)
    return (start + stride * torch.arange(LENGTH + 1)) % SYMBOLS


@contextlib.contextmanager
def settings():
    """Float64, and one thread: the same bits in every process."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


class Training:
    """Model, optimizer, scheduler, and the losses so far."""

    def __init__(self, optimizer_class, **options):
        torch.manual_seed(0)
        self.model = Transformer()
        bare = [p for p in self.model.parameters() if p.ndim < 2]
        rest = [p for p in self.model.parameters() if p.ndim >= 2]
        groups = [{"params": rest}, {"params": bare, "weight_decay": 0.0}]
        self.optimizer = optimizer_class(groups, **{"lr": 1e-2, "weight_decay": 0.1, **options})
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, 1e-2, total_steps=STEPS
        )
        self.losses = []

    def run(self, last):
        for step in range(len(self.losses), last):
            tokens = batch(step)
            self.optimizer.zero_grad()
            logits = self.model(tokens[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
            self.optimizer.step()
            self.scheduler.step()
            self.losses.append(loss.item())
        return self

    def save(self, path):
        parts = {n: getattr(self, n).state_dict() for n in ("model", "optimizer", "scheduler")}
        torch.save({**parts, "losses": self.losses}, path)

    def load(self, path):
        saved = torch.load(path, weights_only=True)
        for name in ("model", "scheduler", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.losses = saved["losses"]
        return self
