"""Keeps what Python says of the types int, str and bool out of the reference, which inspection
takes for the docstrings of attributes with such values."""

from __future__ import annotations

from typing import Any

import griffe


class OwnDocstrings(griffe.Extension):
    """Leaves out docstrings of attributes that are no properties."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Take the docstring from an attribute that cannot have one of its own."""
        if "property" not in attr.labels:
            attr.docstring = None
