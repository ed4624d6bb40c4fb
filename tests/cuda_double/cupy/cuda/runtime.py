"""The double's machine: what the tests say it is."""

from __future__ import annotations

from typing import Any

DRIVER = 13020
RUNTIME = 13020
DEVICES = 2
PROCESSORS = 2
CONTEXT = False  # whether one is current; only what is allocated makes it so
_device = 0


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int, message: str = "") -> None:
        self.status = status
        super().__init__(message or f"CUDA error {status}")


def error(name: str) -> CUDARuntimeError:
    """As CuPy words it."""
    meanings = {
        "cudaErrorInsufficientDriver": (35, "CUDA driver version is insufficient for CUDA runtime version"),
        "cudaErrorInvalidDevice": (101, "invalid device ordinal"),
        "cudaErrorStreamCaptureUnsupported": (900, "operation not permitted when stream is capturing"),
        "cudaErrorStreamCaptureIsolation": (905, "dependency created on uncaptured work in another stream"),
    }  # fmt: skip
    status, meaning = meanings[name]
    return CUDARuntimeError(status, f"{name}: {meaning}")


def driverGetVersion() -> int:
    return DRIVER


def runtimeGetVersion() -> int:
    return RUNTIME


def getDeviceCount() -> int:
    if DRIVER < RUNTIME // 1000 * 1000:
        raise error("cudaErrorInsufficientDriver")
    return DEVICES


def getDevice() -> int:
    return _device


def setDevice(device: int) -> None:
    global _device
    if not 0 <= device < DEVICES:
        raise error("cudaErrorInvalidDevice")
    _device = device


def getDeviceProperties(device: int) -> dict[str, Any]:
    return {
        "name": b"the CPU, through a double of CuPy",
        "major": 8,
        "minor": 0,
        "multiProcessorCount": PROCESSORS,
    }
