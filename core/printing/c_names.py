"""Names that C, C++ and CUDA C do not take, and the names that stand in their place."""

from __future__ import annotations

import re

# with what headers and compilers define, but for names that `may_be_macro` knows
_WORDS = """
    alignas alignof asm auto bool break case catch char char16_t char32_t char8_t class co_await
    co_return co_yield complex concept const const_cast consteval constexpr constinit continue
    decltype default delete do double dynamic_cast else enum errno explicit export extern false
    float for friend goto if imaginary inline int linux long math_errhandling mutable namespace new noexcept
    nullptr operator private protected public register reinterpret_cast requires restrict return
    short signed sizeof static static_assert static_cast stderr stdin stdout struct switch template
    this thread_local throw true try typedef typeid typename typeof union unix unsigned using
    virtual void volatile warpSize wchar_t while and and_eq bitand bitor compl not not_eq or or_eq xor
    xor_eq
"""
KEYWORDS = frozenset(_WORDS.split())


def may_be_macro(name: str) -> bool:
    """Return true for a name of a kind that macros have in headers of C and CUDA: capitals alone,
    ``M_PIf``, ``L_tmpnam``, ``P_tmpdir``, ``cudaEventDefault``."""
    return name.isupper() or re.match("[MLP]_|cuda[A-Z]", name) is not None


def field(name: str) -> str:
    """Return ``name`` as a member of a structure."""
    hostile = name.rstrip("_") in KEYWORDS or may_be_macro(name)
    return f"{name}_" if hostile else name
