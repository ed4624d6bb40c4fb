"""The check that a backend multiplies matrices in the dtypes that a rule asks for."""

from __future__ import annotations

from ..language.rule import Rule
from ..language.stages import stages
from ..protocol import Backend


def check_products(backend: Backend, rule: Rule, where: str) -> None:
    """Raise ValueError, beginning with ``where``, for a dtype that the backend does not multiply
    in."""
    for call in stages(rule).calls:
        if call.dtype is not None and call.dtype not in backend.product_dtypes:
            raise ValueError(
                f"{where}{rule.label} multiplies matrices in {call.dtype}, and backend "
                f"{backend.name!r} has no such products; PyTorch has: backend='torch', else leave the "
                "dtype out"
            )
