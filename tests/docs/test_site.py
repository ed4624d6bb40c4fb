"""What the site is made of: equations of every variant, a page of every rule, links that lead
somewhere."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import pytest
import samestep as ss
from helpers import ROOT
from variants import every_variant

sys.path.insert(0, str(ROOT / "docs" / "make"))
from check_links import broken_links
from equations import equations
from graph import NODE, svg
from rule_pages import rule_pages


def lines(rule: ss.Rule) -> list[tuple[str, str]]:
    """Return the left and right sides of a rule's equations, as text without blanks."""
    table = ElementTree.fromstring(equations(rule).replace("&", "&amp;"))[0]
    return [("".join(row[0].itertext()), "".join(row[1].itertext())[1:]) for row in table]


@pytest.mark.parametrize("rule", every_variant(), ids=lambda rule: rule.label)
def test_equations_end_with_the_parameter_and_have_all_state(rule):
    left = [name for name, _ in lines(rule)]
    assert {"param", *rule.state} <= {*left}
    assert all(right for _, right in lines(rule))


def test_equations_of_sgd_are_those_of_its_text():
    assert lines(ss.rules.registry["sgd"]) == [
        ("grad", "grad+weight_decay⋅finite_or_zero(param)"),
        ("delta", "lr⋅grad"),
        ("param", "param−delta"),
    ]
    momentum = ss.rules.registry["sgd"].variant(momentum=True)
    assert lines(momentum)[-2:] == [
        ("delta", "lr⋅{momentum_bufferifmovinggradelse"),
        ("param", "param−delta"),
    ]


def test_equations_keep_parentheses_and_say_which_value_is_meant():
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, old):
        new = (param - (grad - old)) * (param + grad)
        old = grad
        return new - s.lr * xp.norm(param), old

    found = lines(ss.Rule("own", scalars, update, defaults=dict(lr=1.0)))
    assert found == [
        ("new", "(param−(grad−old))⋅(param+grad)"),
        ("param", "new−lr⋅∑tensor(param2)"),
        ("old", "grad"),
    ]


def test_control_a_value_from_before_is_marked():
    def scalars(xp, step, carry, h):
        return dict(lr=h.lr), carry

    def update(xp, s, param, grad, old):
        before = old
        old = old + grad
        return param - s.lr * (old - before), old

    assert lines(ss.Rule("own", scalars, update, defaults=dict(lr=1.0)))[-1][1] == (
        "param−lr⋅(old−old(before))"
    )


def test_every_rule_has_a_page_with_its_defaults_and_bytes():
    pages = rule_pages()
    for name, rule in ss.rules.classes.items():
        page = pages[f"rules/{rule.name}.md"]
        assert page.startswith(f"# {name}\n")
        assert all(f"| `{key}` | `{value}` |" in page for key, value in rule.defaults.items())
    assert "| `adamw` | `exp_avg`, `exp_avg_sq` | 8 | 16 |" in pages["rules/adamw.md"]


def test_the_reference_leaves_out_what_python_says_of_its_own_types():
    griffe = pytest.importorskip("griffe")
    from own_docstrings import OwnDocstrings

    def of(name: str, *extensions) -> str | None:
        loaded = griffe.load_extensions(*extensions)
        module = griffe.inspect("samestep.schedules.schedule", extensions=loaded)
        found = module[name].docstring
        return found and found.value

    assert of("MAX_SIZE").startswith("int(")  # the control
    assert of("MAX_SIZE", OwnDocstrings) is None
    assert of("Schedule.size", OwnDocstrings).startswith("The number of schedules")


def test_every_page_is_in_the_navigation():
    named = re.findall(r": ((?!source/)[\w/]+\.md)", (ROOT / "mkdocs.yml").read_text())
    docs = ROOT / "docs"
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    there |= {f"examples/{path.stem}.md" for path in (docs / "examples").glob("*.py")}
    assert {*named} == there


def test_the_flowchart_is_drawn_with_all_boxes_and_arrows():
    (text,) = re.findall(
        r"```mermaid\n(.*?)```", (ROOT / "docs" / "design.md").read_text(), re.DOTALL
    )
    drawn = svg(text)
    ElementTree.fromstring(drawn)
    assert re.findall("<text .*?>(.*?)</text>", drawn) == [label for _, label in NODE.findall(text)]
    assert drawn.count("url(#tip)") == text.count("-->") + text.count(" & ")
    boxes = [
        tuple(map(int, box))
        for box in re.findall('<rect x="(-?[0-9]+)" y="([0-9]+)" width="([0-9]+)"', drawn)
    ]
    for x, y, width in boxes:
        assert x >= 0
        assert not [b for b in boxes if b[1] == y and x < b[0] < x + width], "boxes overlap"


def test_control_a_flowchart_that_cannot_be_drawn_is_refused():
    nodes = 'flowchart BT\n    a["A"]\n    b["B"]\n'
    svg(f"{nodes}    a --> b\n")
    with pytest.raises(ValueError, match="neither a node nor arrows"):
        svg(f"{nodes}    a ==> b\n")
    with pytest.raises(ValueError, match="circle"):
        svg(f"{nodes}    a --> b\n    b --> a\n")


@pytest.mark.parametrize(
    "fault",
    [
        '<a href="missing/">x</a>',
        '<a href="../page/#nowhere">x</a>',
        '<a href="#nowhere">x</a>',
        '<img src="picture.png">',
        '<script src="https://elsewhere.example/a.js"></script>',
        '<link rel="stylesheet" href="//elsewhere.example/a.css">',
    ],
)
def test_control_a_broken_link_is_found(fault, tmp_path):
    page = tmp_path / "page" / "index.html"
    page.parent.mkdir()
    fine = (
        '<h1 id="here">x</h1><a href="#here"></a><a href="../page/"></a><a href="https://a.b"></a>'
    )
    page.write_text(fine)
    assert not broken_links(tmp_path)
    page.write_text(fine + fault)
    assert len(broken_links(tmp_path)) == 1
