"""What can be asked of CuPy itself without a GPU: that the machine is described, that kernels are
compiled by the backend's own code, and that it sees where arrays lie. Run where CuPy, NVRTC and
samestep are installed; raises where something is not as expected."""

from __future__ import annotations

import cupy
import numpy as np
import samestep as ss
from samestep.backends.cuda import compiler
from samestep.backends.cuda.judge import SOURCE
from samestep.backends.cupy import arrays, availability


def main() -> None:
    status = availability()
    assert status.available or "driver" in status.detail, status
    print(f"cupy: {status.detail}")
    for text in (SOURCE, ss.emit("adamw", "cuda"), ss.emit("lamb", "cuda", "bfloat16")):
        assert compiler.compiled("kernel", text, compiler.target(80)).startswith(b"\x7fELF")
        assert b".target sm_121" in compiler.compiled("kernel", text, compiler.target(999))
    said = ""
    try:
        compiler.compiled("broken", "int f() { return undefined; }", "-arch=sm_80")
    except RuntimeError as error:
        said = str(error)
    assert "broken.cu(1): error" in said, said
    memory = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(4096, 80, None, 0), 0)
    array = cupy.ndarray((4, 5), np.float32, memory)
    ours = arrays.CupyArrays(0)
    for view in (array, array[1:, ::2], array.T):
        seen = ours.shadow(view)
        assert (seen.ctypes.data, seen.shape, seen.strides) == (
            view.data.ptr, view.shape, view.strides,
        )  # fmt: skip
        assert arrays.aligned(view)
    assert ours.reals(cupy.ndarray((2, 2), np.complex64, memory)).shape == (8,)
    print(f"compiled by NVRTC {compiler.version()}, arrays seen")


if __name__ == "__main__":
    main()
