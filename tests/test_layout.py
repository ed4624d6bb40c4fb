"""The direction of imports: who may import whom, no circles, and what of others is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping

import pytest
from helpers import ROOT
from imports import PACKAGE, UNREADABLE, Import, Module, executed, imports, modules, targets
from samestep.choice import BUILT_IN

# A folder (or file) may import those that stand beside it, and all that these may import. A file
# belongs to the longest name that fits; `core` is core/__init__.py, the package's face.
DIRECTION = {
    "core/interrupts": (),
    "core/version": (),
    "core/identities": (),
    "core/install_command": (),
    "core/pages": (),
    "core/language": ("core/interrupts", "core/pages"),
    "core/parts": ("core/language",),
    "core/rules": ("core/parts",),
    "core/schedules": ("core/language",),
    "core/protocol": ("core/language",),
    "core/choice": ("core/protocol",),
    "core/printing": ("core/rules", "core/version"),  # rules are looked up by name
    "core/parameters": ("core/protocol", "core/identities", "core/rules"),
    "core/step": ("core/parameters", "core/choice"),
    "core/checkpoint": ("core/step", "core/schedules", "core/version"),
    "core/quasi_newton": ("core/checkpoint",),
    "core/optimizers": ("core/quasi_newton",),
    "core": ("core/optimizers", "core/printing"),
    "backends": (),  # its __init__, which is empty: anybody may import it
    "backends/memory": (),
    "backends/arrays": (),
    "backends/tensor": ("backends/arrays", "core/language"),
    "backends/torch_tensors": ("core/identities", "core/printing"),
    "backends/rows": ("backends/tensor", "backends/torch_tensors", "core/step"),
    "backends/gradients": ("backends/rows", "backends/memory"),
    "backends/tensor_gradients": ("backends/gradients",),
    "backends/launching": ("core/printing",),
    "backends/host": ("backends/tensor_gradients", "backends/launching"),
    "backends/numpy": ("backends/host",),
    "backends/numba": ("backends/host", "core/install_command"),
    "backends/cuda": ("backends/tensor_gradients", "backends/launching"),
    "backends/cupy": ("backends/cuda", "core/install_command"),
    "backends/torch": ("backends/numba", "backends/cuda"),
    "backends/torch/optim": ("backends/torch", "core/checkpoint"),
    "core/torch": ("core/optimizers", "backends/torch/optim"),  # a doorway to it
    "golden": ("core/optimizers", "core/printing", "core/install_command"),
    "core/tools": ("golden", "core", "core/torch"),
}  # fmt: skip
ANY_BACKEND = ("backends/host", "backends/cuda")  # what one that is not in the table may import

# Against the direction, by name: a table of strings that are imported when a backend is asked for.
NAMED = {
    ("core/choice", f"backends/{name}")
    for name, module in BUILT_IN.items()
    if module.startswith(PACKAGE)  # tests may have added theirs
}
# Files that import a module whose name they compute: from the table; the user's own.
COMPUTED = {"core/__init__.py", "core/choice.py", "core/tools/cli/rules.py"}

# Of other packages: what is imported with a file, and what besides it inside of functions only.
OTHERS = {
    "core": ({"numpy"}, {"ml_dtypes"}),
    "core/rules": (set(), set()),
    "core/schedules": (set(), set()),
    "core/torch": ({"torch"}, set()),
    "core/tools": (
        {"numpy"},
        {"deepspeed", "jax", "matplotlib", "numba", "optax", "rich", "sklearn", "torch"},
    ),
    "backends": ({"numpy"}, set()),
    "backends/cuda": ({"numpy", "cuda"}, set()),
    "backends/cupy": ({"numpy", "cupy"}, set()),
    "backends/torch": ({"numpy", "torch"}, set()),
    "golden": ({"numpy", "safetensors", "mpmath"}, set()),
}  # fmt: skip

SOURCES = {
    path.as_posix(): (module, (ROOT / path).read_text(encoding="utf-8"))
    for path, module in modules().items()
}
PATHS = {module.name: path for path, (module, _) in SOURCES.items()}


def longest(path: str, names: Iterable[str]) -> str:
    """Return the name of the table that a file belongs to."""
    path = path.partition(".")[0]
    return max((name for name in names if f"{path}/".startswith(f"{name}/")), key=len)


def group(path: str) -> str:
    """As `longest`, of `DIRECTION`; a backend that has no line there is a group of its own."""
    found = longest(path, DIRECTION)
    if found == "backends" and path != "backends/__init__.py":
        return "/".join(path.partition(".")[0].split("/")[:2])
    return found


def allowed(name: str) -> set[str]:
    """Return all groups that a group may import, itself included."""
    beside = DIRECTION.get(name, ANY_BACKEND)
    return {name, "backends"}.union(*map(allowed, beside))


def edges(sources: Mapping[str, tuple[Module, str]]) -> dict[str, set[str]]:
    """Return for each module those of ours that importing it can execute."""
    known = {module.name for module, _ in sources.values()}
    found: dict[str, set[str]] = {name: set() for name in known}
    for module, source in sources.values():
        for each in imports(source, module):
            for target in targets(each.name, known):
                found[module.name] |= executed(target, module.name)
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that all reach each other, two or more."""
    reached = {start: _reached(graph, start) for start in graph}
    found = {frozenset(n for n in reached[m] if m in reached[n]) for m in graph if m in reached[m]}
    return sorted(map(sorted, found))


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = {*graph[start]}
    while ahead:
        found |= ahead
        ahead = set().union(*(graph[name] for name in ahead)) - found
    return found


def against_direction(graph: Mapping[str, set[str]], paths: Mapping[str, str]) -> set[tuple]:
    """Return the imports that the table does not allow: a module and the other's group."""
    pairs = ((m, group(paths[m]), group(paths[target])) for m in graph for target in graph[m])
    return {(m, to) for m, of, to in pairs if to not in allowed(of) and (of, to) not in NAMED}


def others(found: Iterable[Import], eager: set[str], lazy: set[str]) -> list[str]:
    """Return the imports that are neither ours, nor the standard library's, nor allowed."""
    ours = {PACKAGE, UNREADABLE, *sys.stdlib_module_names}
    names = ((each.name.split(".")[0], each.lazy) for each in found)
    return [name for name, later in names if name not in ours | eager | (lazy if later else set())]


GRAPH = edges(SOURCES)


def test_every_import_goes_in_the_direction_of_the_table():
    assert not against_direction(GRAPH, PATHS)


def test_every_arrow_of_the_table_is_somebody_s_import():
    taken = {(group(PATHS[m]), group(PATHS[target])) for m in GRAPH for target in GRAPH[m]}
    unused = {
        (of, to)
        for of, beside in DIRECTION.items()
        for to in beside
        if not any((of, further) in taken for further in allowed(to))
    }
    assert not unused
    assert {(of, to) for of, to in NAMED if (of, to) not in taken} == set()


def test_no_file_is_in_a_circle():
    graph = {
        name: {to for to in found if (group(PATHS[name]), group(PATHS[to])) not in NAMED}
        for name, found in GRAPH.items()
    }
    assert not circles(graph)


def test_only_named_files_import_what_they_compute():
    found = {
        path
        for path, (module, source) in SOURCES.items()
        if UNREADABLE in {each.name for each in imports(source, module)}
    }
    assert found == COMPUTED


def test_a_folder_imports_only_packages_that_it_may():
    for path, (module, source) in SOURCES.items():
        found = others(imports(source, module), *OTHERS[longest(path, OTHERS)])
        assert not found, f"{path} imports {found}"


def test_a_rule_imports_only_what_rules_are_written_with():
    written_with = {f"{PACKAGE}.language.{name}" for name in ("rule", "intervals", "names")}
    for path, (module, _) in SOURCES.items():
        if path.startswith("core/rules/"):
            inside = {name for name in GRAPH[module.name] if name.startswith(f"{PACKAGE}.rules")}
            parts = {name for name in GRAPH[module.name] if name.startswith(f"{PACKAGE}.parts")}
            outside = GRAPH[module.name] - inside - parts
            assert outside <= written_with | {f"{PACKAGE}.language"}, path


def test_the_picture_in_the_documentation_is_the_table():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert picture(text) == {(of, to) for of, beside in DIRECTION.items() for to in beside}


def picture(text: str) -> set[tuple[str, str]]:
    """Return the arrows of a page's Mermaid picture. Boxes carry the names of the table."""
    (drawn,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    name = dict(re.findall(r'(\w+)\["?([\w/]+)"?\]', drawn))
    lines = re.findall(r"^ *(\w+) --> ([\w &]+)$", drawn, re.MULTILINE)
    return {(name[of], name[to]) for of, beside in lines for to in beside.split(" & ")}


@pytest.mark.parametrize(
    ("path", "source", "to"),
    [
        ("core/language/tracer.py", "from ..rules import find_rule", "core/rules"),
        ("core/rules/adam.py", "from ..parameters.clock import Clock", "core/parameters"),
        ("core/step/launches.py", "def f():\n    from ..optimizers import classes", "core/optimizers"),
        ("core/step/launches.py", "from ..backends.host import rows", "backends/host"),
        ("core/parameters/groups.py", "from .. import torch", "core/torch"),
        ("golden/verify.py", "from ..tools.cli import console", "core/tools"),
        ("golden/verify.py", "import samestep.backends.numpy", "backends/numpy"),
        ("backends/numba.py", "from .numpy import NumpyBackend", "backends/numpy"),
        ("backends/torch/launch.py", "def f():\n    from ..cupy import x", "backends/cupy"),
        ("backends/toy.py", "from .numba import x", "backends/numba"),
        ("backends/rows.py", "from ..optimizers import optimizer", "core/optimizers"),
        ("backends/torch/optim/load.py", "TABLE = {'a': 'samestep.golden.format'}", "golden"),
    ],
)  # fmt: skip
def test_control_an_import_against_the_direction_is_found(path, source, to):
    module = Module.of(path.removesuffix(".py"))
    paths = {**PATHS, module.name: path}
    graph = edges({**SOURCES, path: (module, source)})
    found = against_direction({module.name: graph[module.name]}, paths)
    assert (module.name, to) in found


def test_control_a_new_backend_may_import_what_backends_share():
    path = "backends/toy.py"
    source = "from .host.backend import HostBackend\nfrom ..protocol import Availability"
    module = Module.of("backends/toy")
    graph = edges({**SOURCES, path: (module, source)})
    assert graph[module.name]
    assert not against_direction({module.name: graph[module.name]}, {**PATHS, module.name: path})


@pytest.mark.parametrize(
    "sources",
    [
        {"core/a": "from . import b", "core/b": "def f():\n    from .a import x"},
        {"core/a": "from . import b", "core/b": "from . import c", "core/c": "import samestep.a"},
        {"core/a/__init__": "from ..b import x", "core/b": "from .a.c import x"},
    ],
    ids=["two", "three", "through a package's __init__"],
)
def test_control_a_circle_is_found(sources):
    files = {f"{path}.py": (Module.of(path), source) for path, source in sources.items()}
    files["core/a/c.py"] = (Module.of("core/a/c"), "")
    assert circles(edges(files)) == [sorted(Module.of(path).name for path in sources)]


def test_control_a_chain_is_no_circle():
    sources = {"core/a": "from . import b", "core/b": "from . import c", "core/c": ""}
    assert not circles(edges({f"{p}.py": (Module.of(p), s) for p, s in sources.items()}))


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("core", "import numba"),
        ("core", "def f():\n    import torch"),
        ("core", "import ml_dtypes"),
        ("core/rules", "import numpy"),
        ("backends/torch", "import numba"),
        ("core/tools", "import optax"),
    ],
)
def test_control_a_forbidden_package_is_found(folder, source):
    assert others(imports(source, Module.of(f"{folder}/x")), *OTHERS[folder])


def test_control_an_arrow_too_many_is_seen_in_the_picture():
    page = '```mermaid\nflowchart BT\n    a["core/a"] \n  b[core/b]\n  c[c]\n a --> b & c\n```'
    assert picture(page) == {("core/a", "core/b"), ("core/a", "c")}
