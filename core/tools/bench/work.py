"""The work of the benchmark: lists of parameter shapes, and random arrays of these shapes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..cli.errors import UserError
from .timing import Arrays

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """Parameters to update.

    Many small ones are also timed with gradients in new arrays at every step, as most frameworks
    hand them over, since looking at them is then most of the work.
    """

    name: str
    title: str
    shapes: tuple[Shape, ...]
    many_small: bool = False

    @property
    def parameters(self) -> int:
        return sum(map(math.prod, self.shapes))


def all_work(quick: bool = False) -> dict[str, Work]:
    """Return the work by name; ``quick`` keeps a part of each, to try the benchmark."""
    size, part = (200_000, 20) if quick else (50_000_000, 1)
    resnet, gpt2 = tuple(resnet50_shapes()), tuple(gpt2_shapes())
    resnet, gpt2 = resnet[: len(resnet) // part], gpt2[-(len(gpt2) // part) :]
    return {
        work.name: work
        for work in (
            Work("large", f"one tensor of {size:,}", ((size,),)),
            Work("resnet50", f"{len(resnet)} tensors of ResNet-50", resnet),
            Work("gpt2", f"{len(gpt2)} tensors of GPT-2 small", gpt2),
            _many_small("thousand", 1000 // part, 1000),
            _many_small("small", 2000 // part, 64),
            _many_small("tiny", 4, 10),
        )
    }


def _many_small(name: str, tensors: int, size: int) -> Work:
    return Work(name, f"{tensors:,} tensors of {size:,}", ((size,),) * tensors, many_small=True)


def choose(names: Sequence[str] | None, known: Collection[str]) -> list[str]:
    """Return each of the names once, or all that are known if None. Raises UserError."""
    for name in names or ():
        if name not in known:
            raise UserError(f"--work {name}: no such work; there are {', '.join(known)}")
    return list(dict.fromkeys(names or known))


def normal(shapes: Sequence[Shape], seed: int) -> Arrays:
    """Return random float32 arrays of these shapes."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def resnet50_shapes() -> Iterator[Shape]:
    """Yield the parameter shapes of ResNet-50.

    He et al., Deep Residual Learning, arXiv:1512.03385, Table 1, in the order of
    torchvision's module.
    """
    channels = 64
    yield from _convolution(3, channels, 7)
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            yield from _convolution(channels, width, 1)
            yield from _convolution(width, width, 3)
            yield from _convolution(width, 4 * width, 1)
            if block == 0:  # the shortcut changes the number of channels
                yield from _convolution(channels, 4 * width, 1)
            channels = 4 * width
    yield from ((1000, channels), (1000,))


def gpt2_shapes() -> Iterator[Shape]:
    """Yield the parameter shapes of GPT-2 small: 12 layers of width 768.

    Radford et al., Language Models are Unsupervised Multitask Learners, 2019, Table 2, in the order
    of the released model. The matrix of the output is that of the embedding.
    """
    vocabulary, context, width = 50_257, 1024, 768
    yield from ((vocabulary, width), (context, width))
    for _ in range(12):
        yield from ((width,), (width,))  # normalization: scale and shift
        yield from ((width, 3 * width), (3 * width,))  # attention: queries, keys and values
        yield from ((width, width), (width,))
        yield from ((width,), (width,))
        yield from ((width, 4 * width), (4 * width,))
        yield from ((4 * width, width), (width,))
    yield from ((width,), (width,))


def _convolution(inputs: int, outputs: int, size: int) -> tuple[Shape, ...]:
    """Return the shapes of a kernel and of the scale and shift of its batch normalization."""
    return ((outputs, inputs, size, size), (outputs,), (outputs,))
