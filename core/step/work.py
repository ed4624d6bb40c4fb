"""The work of a step: the launches that measure gradients, and those that update parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import Backend, Tensor
from .launches import Launches
from .measurement import Measurement
from .settings import Settings


class Work:
    """The launches of a step over some tensors: those that measure, and those that update."""

    def __init__(self, backend: Backend, tensors: Sequence[Tensor]) -> None:
        self._backend, self._tensors = backend, tensors
        self.updates = Launches(backend, tensors)
        self.measurement: Measurement | None = None

    def measurement_for(self, settings: Settings) -> Measurement | None:
        """Return what measures as much of the gradients as clipping and skipping have to know."""
        clips = settings.clip_global_norm is not None
        if not (clips or settings.skips):
            return None
        if self.measurement is None or self.measurement.norm != clips:
            self.measurement = Measurement(self._backend, self._tensors, clips)
        return self.measurement

    def bind_again(self) -> None:
        """Tell everything that has addresses of the tensors that these lie elsewhere now."""
        self.updates.bind_again()
        self.measurement = None
