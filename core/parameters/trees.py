"""Nested parameters: lists, tuples and dicts of arrays, as one flat list with names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import Any

Spec = Any  # None for a leaf, else (kind, [(key, Spec), ...])


def listed(params: Any) -> Any:
    """Turn iterators and views, such as a model's ``parameters()`` or a dict's ``values()``, into
    lists."""
    return list(params) if isinstance(params, (Iterator, ValuesView)) else params


def flatten(tree: Any, name: str) -> tuple[list[Any], list[str], Spec]:
    """Return the leaves in order, a name for each (``params["layers"][0]``), and the structure.

    Whatever is not a list, tuple or mapping is a leaf. Raises TypeError for a model or a function,
    whose parameters were probably meant.
    """
    if isinstance(tree, (Mapping, list, tuple)):
        leaves: list[Any] = []
        names: list[str] = []
        children: list[tuple[Any, Spec]] = []
        for key, child in _items(tree):
            below = flatten(child, f"{name}[{key!r}]")
            leaves += below[0]
            names += below[1]
            children.append((key, below[2]))
        return leaves, names, ("dict" if isinstance(tree, Mapping) else "list", children)
    if callable(getattr(tree, "parameters", None)):
        raise TypeError(f"{name} is a {type(tree).__name__}; did you mean its parameters()?")
    if callable(tree):
        raise TypeError(f"{name} is a {type(tree).__name__}; did you mean to call it?")
    return [tree], [name], None


def flatten_like(spec: Spec, tree: Any, name: str) -> Iterator[Any]:
    """Yield the leaves of ``tree``, which must have the structure ``spec``.

    None stands for a leaf or for a whole branch of Nones.

    Raises
    ------
    TypeError, ValueError, KeyError
        Where the structure differs, saying where.
    """
    if spec is None:
        yield tree
        return
    kind, children = spec
    if tree is None:
        for _, child in children:
            yield from flatten_like(child, None, name)
        return
    expected = Mapping if kind == "dict" else (list, tuple)
    if not isinstance(tree, expected):
        raise TypeError(f"{name} must be a {kind} like the parameters, not {type(tree).__name__}")
    if kind == "list":
        if len(tree) != len(children):
            raise ValueError(f"{name} has {len(tree)} entries; the parameters have {len(children)}")
    elif set(tree) != {key for key, _ in children}:
        raise ValueError(f"{name} does not match the parameters: {_differing_keys(children, tree)}")
    for key, child in children:
        yield from flatten_like(child, tree[key], f"{name}[{key!r}]")


def unflatten(spec: Spec, leaves: Iterator[Any]) -> Any:
    """Return the next of these leaves in the structure ``spec``."""
    if spec is None:
        return next(leaves)
    kind, children = spec
    values = [unflatten(child, leaves) for _, child in children]
    keys = [key for key, _ in children]
    return dict(zip(keys, values, strict=True)) if kind == "dict" else values


def _differing_keys(children: list[tuple[Any, Spec]], tree: Any) -> str:
    """Say which keys only the parameters have, and which only ``tree``."""
    known = dict(children)
    missing, unknown = (
        [key for key in known if key not in tree],
        [k for k in tree if k not in known],
    )
    found = {"missing": missing, "unknown": unknown}
    return ", ".join(f"{what} {keys}" for what, keys in found.items() if keys)


def flat_count(specs: list[Spec]) -> int | None:
    """Return the number of entries if these groups are one list of arrays, not nested; else
    None."""
    if len(specs) != 1 or specs[0] is None:
        return None
    kind, children = specs[0]
    flat = kind == "list" and all(child is None for _, child in children)
    return len(children) if flat else None


def gradient_leaves(
    specs: list[Spec], flat: int | None, single: bool, grads: Any, name: str = "grads"
) -> list[Any]:
    """Return the leaves of ``grads``, which messages call ``name``, for groups with these
    structures; ``flat`` is their `flat_count`.

    A ``single`` group's gradients come without a list around them. Raises as `flatten_like` does.
    """
    if single and type(grads) is list and len(grads) == flat:
        return grads
    grads = listed(grads)
    if single and len(specs) == 1:
        _check_is_no_pair(specs[0], grads, name)
        _check_stands_alone(specs[0], grads, name)
        return list(flatten_like(specs[0], grads, name))
    if not isinstance(grads, (list, tuple)) or len(grads) != len(specs):
        found = (
            f"{len(grads)} entries" if isinstance(grads, (list, tuple)) else type(grads).__name__
        )
        raise ValueError(
            f"{name} must be a list with one entry per group: {len(specs)}, not {found}"
        )
    leaves: list[Any] = []
    for i, (spec, group) in enumerate(zip(specs, grads, strict=True)):
        if isinstance(group, Mapping) and set(group) == {"params"} and not _has_params(spec):
            group = group["params"]
        leaves += flatten_like(spec, listed(group), f"{name}[{i}]")
    return leaves


def _check_is_no_pair(spec: Spec, grads: Any, name: str) -> None:
    """Raise TypeError for the (loss, gradients) that a function returned, where it can be nothing
    else."""
    two = spec is not None and spec[0] == "list" and len(spec[1]) == 2
    if two or not isinstance(grads, tuple) or len(grads) != 2:
        return
    if getattr(grads[0], "shape", ()) == () and not isinstance(grads[0], (Mapping, list, tuple)):
        raise TypeError(
            f"{name} is a tuple of a {type(grads[0]).__name__} and a {type(grads[1]).__name__}; if a "
            "function returns the loss and the gradients, unpack them: loss, grads = f(params)"
        )


def _check_stands_alone(spec: Spec, grads: Any, name: str) -> None:
    """Raise TypeError for a list of arrays where the parameter is one array."""
    if spec is None and isinstance(grads, (list, tuple)) and any(hasattr(g, "ndim") for g in grads):
        raise TypeError(
            f"{name} is a {type(grads).__name__} of arrays, but params is one array, not in a list; "
            "give its gradient as it is, without a list"
        )


def _has_params(spec: Spec) -> bool:
    """Say whether parameters of this structure are a dict with ``"params"`` themselves."""
    return spec is not None and spec[0] == "dict" and any(key == "params" for key, _ in spec[1])


def _items(tree: Any) -> Iterator[tuple[Any, Any]]:
    return iter(tree.items()) if isinstance(tree, Mapping) else enumerate(tree)
