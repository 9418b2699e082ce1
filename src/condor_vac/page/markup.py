# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG as a tree of elements. Python's own serializer escapes each text and attribute of it.

So no text of a guest, a node or a job's user can become markup: there is no way to put a string in unescaped, except
into ``style``, which gets only constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union
from xml.etree.ElementTree import Element, tostring

from condor_vac.base.shared import printable

Node = Union[Element, str]


def element(tag: str, *children: Node, **attributes: str | float) -> Element:
    """An element; ``class_`` is the attribute class, and other underscores are hyphens."""
    made = Element(tag, {key.rstrip("_").replace("_", "-"): _value(value) for key, value in attributes.items()})
    return extended(made, children)


def extended(parent: Element, children: Iterable[Node]) -> Element:
    """``parent``, with these children behind those that it has."""
    for child in children:
        if not isinstance(child, str):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + printable(child)
        else:
            parent.text = (parent.text or "") + printable(child)
    return parent


def table(heads: Iterable[str], rows: Iterable[Iterable[Node]]) -> Element:
    """A table that scrolls by itself where the screen is narrower."""
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    return element("div", element("table", head, element("tbody", *body)), class_="wide")


def document(language: str, head: Iterable[Element], body: Iterable[Element], style: str) -> bytes:
    """The whole document in UTF-8."""
    sheet = Element("style")
    sheet.text = style
    root = element("html", element("head", *head, sheet), element("body", *body), lang=language)
    text: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + text + b"\n"


def _value(value: str | float) -> str:
    return printable(value) if isinstance(value, str) else f"{value:.6g}"
