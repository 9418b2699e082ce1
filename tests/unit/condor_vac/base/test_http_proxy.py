# SPDX-License-Identifier: GPL-3.0-or-later
"""How a proxy is written, which hosts it is asked for, and that no message holds its password."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from condor_vac.base import http_proxy, http_proxy_file
from condor_vac.base.errors import VacError
from condor_vac.base.http_proxy import HttpProxy
from condor_vac.cli import dispatch
from tests.unit.forward_proxy import forward_proxy
from tests.unit.webserver import reply, web_server


def proxy(no_proxy: object) -> HttpProxy:
    made = http_proxy.parse("http://squid.example.org:3128", no_proxy)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("text", "host", "port", "credentials"),
    [
        ("http://squid.example.org:3128", "squid.example.org", 3128, None),
        ("http://squid:80/", "squid", 80, None),
        ("http://192.0.2.7:8080", "192.0.2.7", 8080, None),
        ("http://[2001:db8::1]:3128", "2001:db8::1", 3128, None),
        ("http://vac:sesame@squid:3128", "squid", 3128, "vac:sesame"),
        ("http://vac:a%40b%3A%2F%25@squid:3128", "squid", 3128, "vac:a@b:/%"),
        ("http://vac:p@ss@squid:3128", "squid", 3128, "vac:p@ss"),
        ("http://vac@squid:3128", "squid", 3128, "vac:"),
    ],
)
def test_what_is_a_proxy(text: str, host: str, port: int, credentials: str | None) -> None:
    assert http_proxy.parse(text) == HttpProxy(host, port, credentials)


@pytest.mark.parametrize("text", ["", None])
def test_nothing_is_no_proxy(text: object) -> None:
    assert http_proxy.parse(text, ["example.org"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "squid:3128",
        "squid.example.org",
        "http://squid.example.org",
        "http://squid:0",
        "http://squid:99999",
        "http://squid:port",
        "https://squid:3128",
        "socks5://squid:1080",
        "http://:3128",
        "http://squid:3128/path",
        "http://squid:3128?x",
        "http://squid:3128#x",
        "http://squid :3128",
        "http://squid:3128\r\nX: y",
        "http://sq\xe9id:3128",
        "http://[::1:3128",
        "http://-squid:3128",
        "http://" + "a" * 2000 + ":3128",
        "vac:sesame@squid:3128",
        "https://vac:sesame@squid:3128",
        "http://vac:sesame/@squid:3128",
        "http://vac:sesame#@squid:3128",
        "http://vac:sesame@squid",
        "http://vac:ses\name@squid:3128",
        "http://vac:@sesame@squid:99999",
        3128,
        True,
        ["http://squid:3128"],
    ],
)
def test_what_is_not_a_proxy_is_one_line_without_its_password(text: object) -> None:
    with pytest.raises(ValueError, match="http_proxy: ") as caught:
        http_proxy.parse(text)
    message = str(caught.value)
    assert "http://[USER:PASSWORD@]HOST:PORT" in message
    assert message.isprintable()
    assert "sesame" not in message
    assert "ses\\n" not in message
    assert http_proxy.fault(text, [], ("worker_http_proxy", "worker_no_proxy")).startswith("worker_http_proxy: ")


@pytest.mark.parametrize(
    ("no_proxy", "direct", "by_proxy"),
    [
        ([], [], ["example.org", "127.0.0.1", "localhost"]),
        (["example.org"], ["example.org", "EXAMPLE.org", "example.org.", "a.b.example.org"], ["badexample.org", "org"]),
        ([".example.org"], ["example.org", "a.example.org"], ["example.com"]),
        (["*.example.org"], ["example.org", "a.example.org"], ["example.com"]),
        (["Example.ORG."], ["www.example.org"], ["example.org.uk"]),
        (["localhost"], ["localhost"], ["127.0.0.1", "notlocalhost"]),
        (["*"], ["example.org", "10.0.0.1", "::1"], []),
        (["10.1.2.3"], ["10.1.2.3"], ["10.1.2.30", "x10.1.2.3", "3.10.1.2.3"]),
        (["2.3"], [], ["10.1.2.3"]),
        (["10.0.0.0/8"], ["10.1.2.3"], ["11.1.2.3", "ten.example.org"]),
        (["10.9.9.9/8"], ["10.1.2.3"], ["11.1.2.3"]),
        (["::1"], ["::1", "0:0:0:0:0:0:0:1"], ["::2"]),
        (["[::1]"], ["::1"], ["127.0.0.1"]),
        (["2001:db8::/32"], ["2001:db8::5"], ["2001:db9::5"]),
        ("a.org, b.org  c.org", ["a.org", "b.org", "x.c.org"], ["d.org"]),
        (["a.org,b.org"], ["b.org"], ["c.org"]),
    ],
)
def test_who_is_reached_directly(no_proxy: object, direct: list[str], by_proxy: list[str]) -> None:
    made = proxy(no_proxy)
    assert [host for host in direct if made.serves(host, 443)] == []
    assert [host for host in by_proxy if not made.serves(host, 443)] == []


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [("example.org:8443", "a.example.org", 8443), ("10.1.2.3:80", "10.1.2.3", 80), ("[::1]:8443", "::1", 8443)],
)
def test_an_entry_with_a_port_is_for_that_port(entry: str, host: str, port: int) -> None:
    assert not proxy([entry]).serves(host, port)
    assert proxy([entry]).serves(host, 443)


@pytest.mark.parametrize(
    "entry",
    ["http://example.org", "example.org/x", "a*b", "**", ".", "x:0", "x:99999", "10.0.0.0/40", "[::1", "vac:sesame@x"],
)
def test_what_is_not_an_exception(entry: str) -> None:
    with pytest.raises(ValueError, match="no_proxy: ") as caught:
        proxy(["good.org", entry])
    assert "sesame" not in str(caught.value)
    assert http_proxy.fault("", [entry], ("p", "worker_no_proxy")).startswith("worker_no_proxy: ")


@pytest.mark.parametrize("no_proxy", [3, {"example.org": True}])
def test_exceptions_are_a_list(no_proxy: object) -> None:
    with pytest.raises(ValueError, match="no_proxy: must be a list"):
        proxy(no_proxy)


def test_no_print_shows_the_password() -> None:
    made = http_proxy.parse("http://vac:sesame@squid:3128")
    assert "sesame" not in f"{made!r} {made}"
    assert http_proxy.fault("http://vac:sesame@squid:3128", ["a.org"], ("p", "n")) == ""


def test_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "proxy.json"
    path.write_text('{"http_proxy": "http://vac:sesame@squid:3128", "no_proxy": ["example.org"]}')
    made = http_proxy_file.load(str(path))
    assert made is not None
    assert (made.credentials, made.serves("example.org", 443)) == ("vac:sesame", False)
    path.write_text('{"http_proxy": ""}')
    assert http_proxy_file.load(str(path)) is None
    assert http_proxy_file.load(None) is None
    assert http_proxy_file.load_if_there(str(tmp_path / "none")) is None
    with pytest.raises(VacError, match="none: cannot read"):
        http_proxy_file.load(str(tmp_path / "none"))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"http_proxy": "http://squid:1"}')))
    assert http_proxy_file.load("-") == HttpProxy("squid", 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"http_proxy": "http://vac:sesame@squid:3128"',
        "http://vac:sesame@squid:3128",
        '["http://vac:sesame@squid:3128"]',
        '{"proxy": "http://vac:sesame@squid:3128"}',
        '{"http_proxy": "https://vac:sesame@squid:3128"}',
        '{"http_proxy": 1}',
        '{"no_proxy": ["http://x"]}',
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "proxy.json"
    path.write_text(text)
    with pytest.raises(VacError) as caught:
        http_proxy_file.load_if_there(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["pipe", "URL", "--prefix", "vo"],
        ["render-user-data", "URL"],
        ["image", "put", "--directory", "DIR", "vm.iso", "URL"],
    ],
)
def test_commands_take_a_proxy(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.json"
    with web_server() as web, forward_proxy(user="vac:sesame") as squid:
        offer = {"suffix": "a", "root_image": "https://vo.example/i.iso", "user_data": "https://vo.example/u"}
        web.routes["/p"] = reply(json.dumps({"machinetypes": [offer]}).encode())
        words = [word.replace("URL", f"{web.url}/p").replace("DIR", str(tmp_path / "images")) for word in command]
        file.write_text(json.dumps({"http_proxy": squid.with_user("vac:sesame")}))
        assert dispatch.main([*words, "--http-proxy", str(file)]) == 0
        assert squid.requests == [f"GET {web.url}/p HTTP/1.1"]
        file.write_text(json.dumps({"http_proxy": squid.with_user("vac:sesam")}))
        assert dispatch.main([*words, "--http-proxy", str(file)]) != 0
    assert "does not accept its user and password (407)" in capfd.readouterr().err
