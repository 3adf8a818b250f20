"""The look of plots: any text, and the same picture for the same data."""

from __future__ import annotations

import base64

import pytest

from edgetl.plotting import NARROW, new_figure, plain, plot_style, uri


@pytest.mark.parametrize(("text", "shown"), [("a\x00b", "a?b"), ("x" * 40, "x" * 27 + "…"), ("裂纹", "裂纹")])
def test_plain_text_is_what_xml_can_hold_shortened(text, shown):
    assert plain(text) == shown


def test_a_figure_is_one_svg_without_a_date():
    def draw():
        with plot_style():
            figure, axes = new_figure(NARROW)
            axes.plot([0, 1], [1, 0], label="$a$")
            axes.legend()
            return uri(figure)

    head, _, data = draw().partition(",")
    assert head == "data:image/svg+xml;base64"
    svg = base64.b64decode(data)
    assert b"$a$" in svg  # text stays text
    assert draw() == f"{head},{data}"
