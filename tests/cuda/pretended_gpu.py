"""PyTorch's compiler, made to believe that tensors in host memory are on a GPU.

All that is replaced is where it asks for the device, and the launch of a kernel: what it is given,
and the way from there to the kernels' text, is what users have. It takes a build of PyTorch for the
CPU, and Triton.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import triton
from samestep.backends.torch.operations import Operations
from samestep.language import kept
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import compile_fx, config
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.cache_dir_utils import triton_cache_dir
from triton.backends.compiler import GPUTarget
from triton_kernel import Kernel

GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;
static impl::NoOpDeviceGuardImpl<DeviceType::CUDA> guard;
extern "C" void set_guard(bool on)
{
    impl::device_guard_impl_registry[size_t(DeviceType::CUDA)].store(on ? &guard : nullptr);
}
"""


@functools.cache
def library() -> ctypes.CDLL:
    """``set_guard``: whether PyTorch has something that makes a device current; it does nothing."""
    home = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{home}/include", "-xc++", "-"]
        command += ["-o", f"{folder}/guard.so", f"-L{home}/lib", "-lc10"]
        subprocess.run(command, input=GUARD, text=True, check=True)
        return ctypes.CDLL(f"{folder}/guard.so")


@contextlib.contextmanager
def pretended_gpu(architecture: int = 90) -> Iterator[dict[str, Kernel]]:
    """While it is entered, what is compiled is compiled for a GPU. Gives the kernels by their text,
    growing as they are made."""
    kernels: dict[str, Kernel] = {}

    def kernel(name: str, text: str, *_: Any, **__: Any) -> Kernel:
        if text not in kernels:
            kernels[text] = Kernel(name, text, len(kernels))
        return kernels[text]

    fresh()
    with contextlib.ExitStack() as stack:
        for owner, names in replaced(architecture):
            stack.enter_context(patch.multiple(owner, create=True, **names))
        stack.enter_context(patch.object(AsyncCompile, "triton", staticmethod(kernel)))
        stack.enter_context(config.patch(use_static_triton_launcher=False, fx_graph_cache=False))
        stack.enter_context(triton.knobs.compilation.scope())
        stack.enter_context(triton.knobs.cache.scope())
        triton.knobs.compilation.disable_line_info = True
        triton.knobs.cache.dir = triton_cache_dir(0)
        library().set_guard(True)
        try:
            yield kernels
        except Exception as error:
            raise next((k.failure for k in kernels.values() if k.failure), error) from None
        finally:
            library().set_guard(False)
            fresh()


def fresh() -> None:
    """Forget every graph, and PyTorch's answers to whether Triton can run here."""
    torch._dynamo.reset()
    gc.unfreeze()  # conftest.py has frozen what was there before
    for each in gc.get_objects():
        if type(each) is Operations:
            vars(each).pop(kept.RESULTS, None)
    gc.freeze()
    for function in vars(torch.utils._triton).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def replaced(architecture: int) -> list[tuple[Any, dict[str, Any]]]:
    """Owners, and their attributes: the answers about a device, and what a generated module calls
    around its launches."""
    major, minor = divmod(architecture, 10)
    properties = SimpleNamespace(
        major=major, minor=minor, multi_processor_count=132, regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32,
    )  # fmt: skip
    answers = {
        "is_available": True, "is_triton_capable": True, "device_count": 1, "current_device": 0,
        "get_device_properties": properties, "get_compute_capability": architecture,
    }  # fmt: skip
    told = {
        name: staticmethod(lambda *_, answer=answer: answer) for name, answer in answers.items()
    }
    target = GPUTarget("cuda", architecture, 32)
    driver = SimpleNamespace(get_current_target=lambda: target, get_current_device=lambda: 0)
    compile_for_host = compile_fx.compile_fx

    def compile_for_gpu(graph: torch.fx.GraphModule, inputs: Any, **more: Any) -> Any:
        return compile_for_host(graph, inputs_on_gpu(graph), **more)

    return [
        (CudaInterface, told),
        (CudaInterface.Worker, {name: told[name] for name in ("current_device", "get_device_properties")}),
        (torch.cuda, {
            "get_device_properties": lambda *_: properties,
            "get_device_capability": lambda *_: (major, minor),
            "set_device": lambda _: None,
            "_DeviceGuard": contextlib.nullcontext,
        }),
        (torch._C, {"_cuda_getCurrentRawStream": lambda _: 0}),
        (torch._C._dynamo.guards, {
            "_empty_strided_cuda": torch._C._dynamo.guards._empty_strided_cpu,
        }),
        (triton.runtime.driver, {"_active": driver}),
        (triton_helpers, {"set_driver_to_gpu": lambda: None}),
        (compile_fx, {"compile_fx": compile_for_gpu}),
    ]  # fmt: skip


def inputs_on_gpu(graph: torch.fx.GraphModule) -> list[Any]:
    """What the compiler is given in place of a graph's inputs: their shapes and dtypes, and another
    place."""
    found = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            given = node.meta["example_value"]
            if isinstance(given, torch.Tensor):
                with given.fake_mode:
                    given = torch.empty_strided(
                        given.shape, given.stride(), dtype=given.dtype, device="cuda"
                    )
            found.append(given)
    return found
