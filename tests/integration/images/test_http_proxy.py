# SPDX-License-Identifier: GPL-3.0-or-later
"""Images by the worker role: through the site's proxy, directly, or by the access point; pipes on the controller."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.images.conftest import HOST, PASSWORD, Site
from tests.unit.webserver import reply

OLD, NEW = b"old image " * 9_000, b"new image " * 8_000
CONNECT = f"CONNECT {HOST}:443 HTTP/1.1"
PIPE_PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Show the machinetypes
      ansible.builtin.debug:
        msg: "{{ lookup('vacuum.htcondor.machinetypes', vacuum_pipes, cache=cache) | to_json }}"
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def faults(output: str) -> list[str]:
    """The messages of failed tasks."""
    return [line.strip() for line in re.findall(r'"msg": "(.+)"', output)]


def changed(output: str) -> dict[str, int]:
    """Host → number of changed tasks, by the recap."""
    return {host: int(number) for host, number in re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", output, re.MULTILINE)}


def test_nodes_and_their_timer_fetch_through_the_proxy(site: Site) -> None:
    site.web.routes["/vm.iso"] = reply(OLD, ETag='"1"')
    variables = {"vacuum_http_proxy": site.proxy_url, "worker_images": site.image()}
    code, output = site.controller.play(variables, "-vvv")
    assert code == 0, output
    assert PASSWORD not in output
    assert site.proxy.requests == [CONNECT] * 2
    for node in site.workers:
        assert node.images()["vm.iso"]["sha256"] == sha256(OLD)
        assert (node.directory / "etc/http_proxy.json").stat().st_mode & 0o777 == 0o600
        assert PASSWORD in json.loads((node.directory / "etc/http_proxy.json").read_text())["http_proxy"]
        assert node.readable_by_all(PASSWORD) == []
    site.web.routes["/vm.iso"] = reply(NEW, ETag='"2"')
    done = site.workers[0].refresh()
    assert (done.returncode, done.stdout) == (0, "vm.iso: changed\n")
    assert site.workers[0].images()["vm.iso"]["sha256"] == sha256(NEW)
    assert site.workers[1].images()["vm.iso"]["sha256"] == sha256(OLD)
    assert site.proxy.requests == [CONNECT] * 3


def test_no_proxy_goes_past_it(site: Site) -> None:
    site.web.routes["/vm.iso"] = reply(OLD)
    images = {"vm.iso": {"source": f"{site.web.url}/vm.iso", "ca": site.ca}}
    variables = {
        "vacuum_http_proxy": site.proxy_url,
        "vacuum_no_proxy": ["127.0.0.0/8", ".example.org"],
        "worker_images": images,
    }
    assert site.controller.play(variables)[0] == 0
    assert (len(site.web.requests), site.proxy.requests) == (2, [])
    assert site.controller.play({**variables, "vacuum_no_proxy": [".example.org"]})[0] == 0
    assert (len(site.web.requests), len(site.proxy.requests)) == (4, 2)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("down", "Connection refused"),
        ("502", "answered 502 'Bad Gateway'"),
        ("nobody", "asks for a user and a password (407)"),
        ("wrong", "does not accept its user and password (407)"),
        ("unknown", "no such host"),
    ],
)
def test_a_proxy_that_is_of_no_use_costs_one_line(site: Site, kind: str, message: str) -> None:
    site.web.routes["/vm.iso"] = reply(OLD)
    url = site.proxy_url
    if kind == "down":
        site.proxy.close()
    elif kind == "502":
        site.proxy.answer = "502 Bad Gateway"
    elif kind == "nobody":
        url = site.proxy.url
    elif kind == "wrong":
        url = site.proxy.with_user(f"vac:{PASSWORD}")
    else:
        url = f"http://vac:{PASSWORD}@squid.vac.invalid:3128"
    code, output = site.controller.play({"vacuum_http_proxy": url, "worker_images": site.image()}, "--limit", "wn1")
    assert code == 2, output
    # Where it happens, and in the last play with what to do.
    (fault,) = {line for line in faults(output) if message in line and "vac_images.timer" in line}
    assert f"https://{HOST}/vm.iso: the proxy " in fault
    assert PASSWORD not in output
    assert not (site.workers[0].directory / "var/images/vm.iso").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"vacuum_http_proxy": f"https://vac:{PASSWORD}@squid:3128"}, "worker_http_proxy: "),
        ({"worker_http_proxy": f"vac:{PASSWORD}@squid"}, "worker_http_proxy: "),
        ({"vacuum_no_proxy": ["http://example.org"]}, "worker_no_proxy: "),
    ],
)
def test_a_wrong_variable_is_one_line_before_anything_is_written(
    site: Site, variables: dict[str, Any], message: str
) -> None:
    code, output = site.controller.play({**variables, "worker_images": site.image()}, "-v", "--limit", "wn1")
    assert code == 2
    assert any(message in line for line in faults(output)), output
    assert PASSWORD not in output
    assert list((site.workers[0].directory / "etc").iterdir()) == []


def test_the_access_point_fetches_for_nodes_without_a_way_out(site: Site) -> None:
    site.web.routes["/vm.iso"] = reply(OLD, ETag='"1"')
    variables = {
        "worker_images_from": "access_point",
        "worker_http_proxy": site.proxy_url,
        "worker_images": site.image(),
    }
    code, output = site.controller.play(variables, "-vvv")
    assert code == 0, output
    assert PASSWORD not in output
    assert site.proxy.requests == [CONNECT], "once, for all nodes"
    for node in site.workers:
        row = node.images()["vm.iso"]
        assert (row["sha256"], row["source"]) == (sha256(OLD), f"https://{HOST}/vm.iso")
        done = node.refresh()
        assert (done.returncode, done.stdout) == (0, ""), "the timer leaves it to the next run"
    assert site.proxy.requests == [CONNECT]
    code, output = site.controller.play(variables)
    assert (code, set(changed(output).values())) == (0, {0}), output
    site.web.routes["/vm.iso"] = reply(NEW, ETag='"2"')
    code, output = site.controller.play(variables, "--check")
    assert (code, changed(output)) == (0, {"wn1": 2, "wn2": 1}), output
    assert [node.images()["vm.iso"]["sha256"] for node in site.workers] == [sha256(OLD), sha256(OLD)]
    code, output = site.controller.play(variables, "--limit", "wn2")
    assert code == 0, output
    assert [node.images()["vm.iso"]["sha256"] for node in site.workers] == [sha256(OLD), sha256(NEW)]


def test_what_the_access_point_has_is_checked_there_and_on_the_node(site: Site) -> None:
    site.web.routes["/vm.iso"] = reply(OLD)
    site.web.routes["/other.iso"] = reply(NEW)
    variables = {"worker_images_from": "access_point", "vacuum_http_proxy": site.proxy_url}
    good = site.image(checksum=f"sha256:{sha256(OLD)}")
    assert site.controller.play({**variables, "worker_images": good})[0] == 0
    wrong = site.image("/other.iso", checksum=f"sha256:{sha256(OLD)[:-1]}0")
    code, output = site.controller.play({**variables, "worker_images": wrong})
    assert code == 2
    assert any(f"SHA-256 is {sha256(NEW)}, not " in line for line in faults(output)), output
    copy = site.controller.directory / "tampered.iso"
    copy.write_bytes(OLD[:-1] + b"!")
    code, output = site.controller.play({"copy": str(copy), "checksum": sha256(NEW)}, "--limit", "wn1", play=TAMPERED)
    assert code == 2
    assert any(f"not {sha256(NEW)}; not used" in line for line in faults(output)), output
    copy.write_bytes(NEW)
    for node in site.workers:
        assert node.images()["vm.iso"]["sha256"] == sha256(OLD)
    code, output = site.controller.play({"copy": str(copy), "checksum": sha256(NEW)}, "--limit", "wn1", play=TAMPERED)
    assert code == 0, output
    assert site.workers[0].images()["vm.iso"]["sha256"] == sha256(NEW)


def test_an_optional_image_that_the_access_point_cannot_fetch_stops_nothing(site: Site) -> None:
    site.web.routes["/vm.iso"] = reply(OLD)
    site.web.routes["/of-a-pipe.iso"] = reply(NEW)
    source: dict[str, Any] = {"source": f"https://{HOST}/of-a-pipe.iso", "ca": site.ca, "optional": True}
    images = {**site.image(), "of-a-pipe.iso": source}
    variables = {"worker_images_from": "access_point", "vacuum_http_proxy": site.proxy_url, "worker_images": images}
    assert site.controller.play(variables)[0] == 0
    site.web.routes["/of-a-pipe.iso"] = reply(b"", "503 Busy")
    site.web.routes["/vm.iso"] = reply(NEW)
    code, output = site.controller.play(variables)
    assert code == 0, output
    assert any("of-a-pipe.iso: " in line and "503 'Busy'" in line for line in faults(output)), output
    for node in site.workers:
        assert {name: row["sha256"] for name, row in node.images().items()} == {
            "vm.iso": sha256(NEW),
            "of-a-pipe.iso": sha256(NEW),
        }


@pytest.mark.parametrize("images_from", ["source", "access_point"])
def test_an_image_that_cannot_be_fetched_costs_no_other_and_is_one_line_at_the_end(
    site: Site, images_from: str
) -> None:
    site.web.routes["/vm.iso"] = reply(OLD)
    site.web.routes["/lost.iso"] = reply(b"", "503 Busy")
    # First in the loop.
    images = {"lost.iso": {"source": f"https://{HOST}/lost.iso", "ca": site.ca}, **site.image()}
    variables = {"worker_images_from": images_from, "vacuum_http_proxy": site.proxy_url, "worker_images": images}
    code, output = site.controller.play(variables, "--forks", "2")
    assert code == 2, output
    for node in site.workers:
        assert {name: row["sha256"] for name, row in node.images().items()} == {"vm.iso": sha256(OLD)}
    end = output[output.index("TASK [Stop on images that could not be installed]") :]
    line = next(text for text in end.splitlines() if "lost.iso" in text)
    where = "head" if images_from == "access_point" else "wn1, wn2"
    assert f"lost.iso ({where}): " in line
    for words in ("503 'Busy'", "worker_images_from: access_point", "vacuum_http_proxy"):
        assert words in line
    site.web.routes["/lost.iso"] = reply(NEW)
    code, output = site.controller.play(variables)
    assert code == 0, output


TAMPERED = f"""
- hosts: worker_node
  gather_facts: false
  tasks:
    - name: Send what is said to be at the URL
      vacuum.htcondor.vm_image:
        source: https://{HOST}/vm.iso
        local_copy: "{{{{ copy }}}}"
        checksum: "{{{{ checksum }}}}"
"""


def test_pipes_are_read_through_the_proxy_of_the_controller(site: Site, tmp_path: Path) -> None:
    offer = {"suffix": "prod", "root_image": f"https://{HOST}/i.iso", "user_data": f"https://{HOST}/u"}
    site.web.routes["/p"] = reply(json.dumps({"machinetypes": [offer]}).encode())
    variables = {
        "vacuum_http_proxy": site.proxy_url,
        "vacuum_pipes": {"vo": {"url": f"https://{HOST}/p"}},
        "cache": str(tmp_path / "cache"),
    }
    code, output = site.controller.play(variables, "-vvv", play=PIPE_PLAY, SSL_CERT_FILE=site.ca)
    assert (code, site.proxy.requests) == (0, [CONNECT]), output
    assert "vo-prod" in output
    assert PASSWORD not in output
    site.proxy.answer = "502 Bad Gateway"
    other = {**variables, "cache": str(tmp_path / "other")}
    code, output = site.controller.play(other, play=PIPE_PLAY, SSL_CERT_FILE=site.ca)
    assert code == 2
    assert "vacuum_pipes.vo: " in output
    assert "answered 502" in output
    wrong = {**other, "vacuum_http_proxy": f"socks5://vac:{PASSWORD}@squid:1080"}
    code, output = site.controller.play(wrong, play=PIPE_PLAY, SSL_CERT_FILE=site.ca)
    assert code == 2
    assert "vacuum_http_proxy: '...@squid:1080': must be http://" in output
    assert PASSWORD not in output
