# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages show no URL's query: it may hold a token, and logs and state files have many readers."""

from __future__ import annotations

import pytest

from condor_vac.base import urls
from condor_vac.base.urls import FetchError, without_queries


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/t?token=S: refused (by x); is the server slow, or far away?",
         "https://h/t?…: refused (by x); is the server slow, or far away?"),
        ("'https://h/t?a=b:c&d=S': must be https", "'https://h/t?…': must be https"),
        ("https://h/t (from https://h/x?S)", "https://h/t (from https://h/x?…)"),
        ("see https://h/p?S, or https://h/q#S.", "see https://h/p?…, or https://h/q?…."),
        ("redirects to '/p?S'", "redirects to '/p?…'"),
        ("is it the right address?", "is it the right address?"),
        ('"https://h/t?S"', '"https://h/t?…"'),
        ("https://h/t?S\nx", "https://h/t?…\nx"),
    ],
)  # fmt: skip
def test_a_query_is_left_out_of_a_sentence(text: str, shown: str) -> None:
    assert without_queries(text) == shown
    assert str(FetchError(text)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://h.example/t?token=SECRET",
        "https://h/a b?token=SECRET x",
        "https:///t?token=SECRET",
        "ftp://h/t#SECRET",
        "https://h/?SECRET\n",
    ],
)
def test_a_url_that_is_refused_is_shown_without_it(url: str) -> None:
    with pytest.raises(FetchError) as refused:
        urls.check_url(url)
    assert "SECRET" not in str(refused.value)
    assert url.split("?", maxsplit=1)[0].split("#", maxsplit=1)[0] in str(refused.value)


def test_a_url_that_is_good_stays_whole() -> None:
    assert urls.check_url("https://h.example/t?token=SECRET") == "https://h.example/t?token=SECRET"
