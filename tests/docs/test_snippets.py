"""Every snippet of README and of all pages runs as typed, and prints what the page says."""

from __future__ import annotations

import subprocess

import pytest
from conftest import needs_double
from pages import LEFT_OUT, MADE, ON_DEVICE, PAGES, WRITTEN
from snippets import run, snippets

RUN = {path: text for path, text in {**PAGES, **MADE}.items() if path not in WRITTEN}
README_TESTS = snippets(PAGES["README.md"].partition("<!-- the test command -->\n")[2])[0]


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=needs_double if p in ON_DEVICE else ()) for p in RUN]
)
def test_snippets_run_as_typed(path, tmp_path):
    run(RUN[path], tmp_path, {*LEFT_OUT, README_TESTS.first_line})


def test_what_is_left_out_is_little_and_there():
    found = [each for text in RUN.values() for each in snippets(text)]
    assert {*LEFT_OUT} <= {name for each in found for name in (each.title, each.first_line)}
    assert len(LEFT_OUT) <= 12
    assert len(WRITTEN) <= 2


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```python\n1 / 0\n```", ZeroDivisionError),
        ("```python\nx = 1\n```\n```python\nx\n```", NameError),
        ('```python\nprint(1)\n```\n```text title="prints"\n2\n```', AssertionError),
        ("```console\n$ echo 1\n2\n```", AssertionError),
        ("```console\n$ echo 1\n1\n$ echo 2\n```", AssertionError),
        ("```sh\nfalse\n```", AssertionError),
        ("```sh\nfalse | true\n```", AssertionError),
        ("```pyhton\n1\n```", ValueError),
        ("```\n1\n```", ValueError),
        ("```text\n1\n```", ValueError),
        ("```c\nint main(void) {}\n```", ValueError),
    ],
)
def test_control_a_snippet_that_does_not_run_is_found(page, error, tmp_path):
    with pytest.raises(error):
        run(page, tmp_path)


def test_a_snippet_goes_on_where_it_says_so(tmp_path):
    run('```python\nx = 1\n```\n```python title="continued"\nassert x == 1\n```', tmp_path)


@pytest.mark.parametrize("path", [path for path, text in RUN.items() if "\n```c " in text])
def test_programs_in_c_give_no_warning(path, tmp_path):
    run(RUN[path], tmp_path)
    strict = "-std=c99 -Wall -Wextra -Werror -pedantic"
    for each in snippets(RUN[path]):
        if each.language == "c":
            compile_ = ["cc", *strict.split(), each.title, "-o", "strict", "-lm"]
            subprocess.run(compile_, cwd=tmp_path, check=True)
