# SPDX-License-Identifier: GPL-3.0-or-later
"""Elements: text and attributes are escaped, and hold no character that is not printable."""

from __future__ import annotations

import pytest

from condor_vac.page.markup import document, element, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [("<b>&amp;", "&lt;b&gt;&amp;amp;"), ("\x1b[2J\x00\u202e", "\ufffd[2J\ufffd\ufffd"), ("é💥", "é💥")],
)
def test_text_is_escaped_wherever_it_stands(text: str, shown: str) -> None:
    made = document("en", [], [element("p", "a", text, element("b", text), text, text)], "")
    assert f"<p>a{shown}<b>{shown}</b>{shown}{shown}</p>" in made.decode("utf-8")


def test_attributes_are_escaped() -> None:
    made = document("en", [], [element("a", class_='"><b>\n', stroke_width=1 / 3, x=5)], "a > b {}").decode("utf-8")
    # HTML allows "<" within quotes.
    assert '<a class="&quot;&gt;<b&gt;\ufffd" ' in made
    assert 'stroke-width="0.333333" x="5"' in made
    assert "<style>a > b {}</style>" in made


def test_a_table_has_its_heads_and_cells() -> None:
    made = document("en", [], [table(("one", "two"), [["1", element("code", "<2>")]])], "").decode("utf-8")
    assert '<th scope="col">one</th><th scope="col">two</th>' in made
    assert "<td>1</td><td><code>&lt;2&gt;</code></td>" in made
