"""A ``main`` for exported CUDA: as that for C, with memory that host and device share."""

from __future__ import annotations

from ..export import Exported
from .check_c import Steps, program_text

MEMORY = """\
static void must(cudaError_t error)
{
    if (error != cudaSuccess) fail(cudaGetErrorString(error), "CUDA");
}

static void *memory(size_t count, size_t size)
{
    void *found = NULL;
    must(cudaMallocManaged(&found, (count ? count : 1) * size));
    memset(found, 0, count * size);
    return found;
}
"""


def check_program(exported: Exported) -> str:
    """What stands behind exported functions so that they become a program."""
    text = program_text(exported, [CudaSteps(p, exported.dtype) for p in exported.programs])
    start = text.index("static void *memory(")
    end = text.index("}\n", start) + 2
    return text[:start] + MEMORY + text[end:]


class CudaSteps(Steps):
    """One tensor in a launch of its own."""

    release = "cudaFree"

    def extra_memory(self) -> dict[str, tuple[str, str]]:
        return {"gradient": (self.stored, "n")}

    def prepared(self) -> list[str]:
        fields = ["params", "gradient", *self.counts, *self.sizes, "0"]
        return [
            f"{self.label}_tensor there = {{{', '.join(fields)}}};",
            f"{self.label}_launch launch;",
            f"must({self.label}_create(&launch, &there, 1, 1, 0));",
        ]

    def initialized(self) -> list[str]:
        return [f"must({self.label}_init(&h, &there, 0));", "must(cudaDeviceSynchronize());"]

    def updated(self) -> list[str]:
        return [
            "memcpy(gradient, grads, n * sizeof *gradient);",
            f"must({self.label}_step(&launch, &s, 0));",
            "must(cudaDeviceSynchronize());",
        ]

    def finished(self) -> list[str]:
        return [f"must({self.label}_destroy(&launch));"]
