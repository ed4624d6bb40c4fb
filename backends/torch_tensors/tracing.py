"""Refuses work on tensors where PyTorch only records it: a launch writes to memory, which no record
has."""

from __future__ import annotations

from .view import loaded


def refuse_traced(what: str) -> None:
    """Raise RuntimeError, beginning with ``what``, if PyTorch is recording operations or playing
    them on tensors without elements."""
    if found := _traced_by():
        raise RuntimeError(
            f"{what} cannot be traced ({found}): it writes to the memory of tensors, which no graph "
            "sees; do it outside of what is traced"
        )


def _traced_by() -> str:
    """Return who traces this thread; "" if nobody does."""
    torch = loaded()
    c, ops = torch._C, torch._ops
    if c._is_tracing():
        return "torch.jit.trace"
    if c._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func"
    before = ops._len_torch_dispatch_stack_pre_dispatch()
    if not c._len_torch_dispatch_stack() and not before:
        return ""
    keys = c._TorchDispatchModeKey
    modes = {
        keys.PROXY: "make_fx",
        keys.FUNCTIONAL: "functionalization",
        keys.FAKE: "FakeTensorMode",
    }
    for key, name in modes.items():
        early = before and key is not keys.FAKE and ops._get_dispatch_mode_pre_dispatch(key)
        if early or c._get_dispatch_mode(key) is not None:
            return name
    return ""
