"""Downloads: whole or not at all, gone on with after whatever ends them, and from nowhere but where they should be."""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from helpers.support import environment
from helpers.web import Site, serving

from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.weights import download

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = random.Random(1).randbytes(600_000)
OTHER = random.Random(2).randbytes(600_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "_SCHEMES", ("https", "http"))
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Site(files={"/net.pth": BODY})) as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


def alone(target: Path) -> bool:
    """Whether nothing lies beside the file."""
    return sorted(target.parent.iterdir()) == [target]


def ranges(site: Site) -> list[str | None]:
    return [wanted for _, wanted in site.asked]


def interrupted(site: Site, target: Path) -> None:
    """A download that Ctrl-C ends when some has come."""

    def report(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch(f"{site.url}/net.pth", target, report=report)
    assert not target.exists()


@pytest.mark.parametrize("lengths", [True, False])
def test_whole(site: Site, target: Path, lengths: bool) -> None:
    site.lengths = lengths
    told: list[tuple[int, int | None]] = []
    found = download.fetch(f"{site.url}/net.pth", target, sha256=SHA256[:8], report=lambda *now: told.append(now))
    assert found == SHA256
    assert target.read_bytes() == BODY
    assert alone(target)
    assert told[-1] == (len(BODY), len(BODY) if lengths else None)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_connections_that_are_cut_are_gone_on_with(site: Site, target: Path) -> None:
    """Three of them, within a call; nothing is fetched twice."""
    site.cuts = [100_000, 0, 200_000]
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert target.read_bytes() == BODY
    assert alone(target)
    assert ranges(site) == [None, "bytes=100000-", "bytes=100000-", "bytes=300000-"]


def test_connections_that_bring_nothing_end_in_a_message(site: Site, target: Path) -> None:
    site.cuts = [100_000, *[0] * 20]
    with pytest.raises(WeightsError, match=r"127.0.0.1 was cut again and again; what has come is kept"):
        download.fetch(f"{site.url}/net.pth", target)
    assert len(site.asked) == 1 + download._TRIES
    site.cuts = []
    assert download.begun(f"{site.url}/net.pth", target) == 100_000
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert ranges(site)[-1] == "bytes=100000-"
    assert alone(target)


def test_an_interrupted_one_is_gone_on_with(site: Site, target: Path) -> None:
    interrupted(site, target)
    have = target.with_name("net.pth.part").stat().st_size
    assert 0 < have < len(BODY)
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert ranges(site) == [None, f"bytes={have}-"]
    assert target.read_bytes() == BODY
    assert alone(target)


def test_another_version_begins_again(site: Site, target: Path) -> None:
    """The server has another file now: the pieces of two are not put together."""
    interrupted(site, target)
    site.files["/net.pth"], site.tag = OTHER, '"2"'
    download.fetch(f"{site.url}/net.pth", target)
    assert target.read_bytes() == OTHER


def test_without_a_version_pieces_are_trusted_to_a_checksum_alone(site: Site, target: Path) -> None:
    site.tag = ""
    interrupted(site, target)
    assert download.begun(f"{site.url}/net.pth", target) == 0
    assert download.begun(f"{site.url}/net.pth", target, SHA256) > 0
    download.fetch(f"{site.url}/net.pth", target, sha256=SHA256)
    assert ranges(site)[1] is not None
    target.unlink()
    interrupted(site, target)
    download.fetch(f"{site.url}/net.pth", target)
    assert ranges(site)[-1] is None
    assert target.read_bytes() == BODY


def test_what_has_come_from_elsewhere_and_weak_tags_prove_nothing(site: Site, target: Path) -> None:
    interrupted(site, target)
    site.files["/other.pth"] = OTHER  # with the same tag
    assert download.begun(f"{site.url}/other.pth", target) == 0
    download.fetch(f"{site.url}/other.pth", target)
    assert target.read_bytes() == OTHER
    target.unlink()
    site.tag = 'W/"1"'
    interrupted(site, target)
    assert download.begun(f"{site.url}/net.pth", target) == 0


KILLED = """
import sys
from pathlib import Path
from vs_sr.weights import download
download._SCHEMES = ("http",)
download.fetch(sys.argv[1], Path(sys.argv[2]))
"""


def test_one_whose_process_was_killed_is_gone_on_with(site: Site, target: Path) -> None:
    site.held = threading.Event()
    command = [sys.executable, "-c", KILLED, f"{site.url}/net.pth", str(target)]
    process = subprocess.Popen(command, env=environment(no_proxy="127.0.0.1"))
    deadline = time.monotonic() + 60
    while download.begun(f"{site.url}/net.pth", target) < len(BODY) // 4:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    site.held.set()
    site.held = None
    have = download.begun(f"{site.url}/net.pth", target)
    assert not target.exists()
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert ranges(site) == [None, f"bytes={have}-"]
    assert alone(target)


@pytest.mark.parametrize("flaw", ["ranges", "shifted"])
def test_a_server_without_ranges_or_with_wrong_ones_sends_all_of_it_again(site: Site, target: Path, flaw: str) -> None:
    interrupted(site, target)
    setattr(site, flaw, flaw == "shifted")
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert target.read_bytes() == BODY
    assert len(site.asked) == {"ranges": 2, "shifted": 3}[flaw]  # what is good of an answer is taken


def test_one_that_was_ended_when_all_had_come(site: Site, target: Path) -> None:
    interrupted(site, target)
    target.with_name("net.pth.part").write_bytes(BODY)
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert ranges(site) == [None, f"bytes={len(BODY)}-"]
    assert alone(target)


def test_more_than_there_is_begins_again(site: Site, target: Path) -> None:
    interrupted(site, target)
    target.with_name("net.pth.part").write_bytes(BODY + b"more")
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256


def test_what_is_not_what_was_published_is_not_kept(site: Site, target: Path) -> None:
    with pytest.raises(WeightsError, match=rf"its sha-256 is {SHA256} and should begin with 543c8261"):
        download.fetch(f"{site.url}/net.pth", target, sha256="543c8261")
    assert not list(target.parent.iterdir())

    def check(path: Path) -> None:
        assert path.read_bytes() == BODY
        raise WeightsError("these are not they")

    with pytest.raises(WeightsError, match="these are not they"):
        download.fetch(f"{site.url}/net.pth", target, check=check)
    assert not list(target.parent.iterdir())


def test_one_that_is_gone(site: Site, target: Path) -> None:
    with pytest.raises(WeightsError, match=r"404 Not Found: it is no longer at http://.*/gone.pth; look at its pub"):
        download.fetch(f"{site.url}/gone.pth", target)
    assert not list(target.parent.iterdir())


def test_redirects_are_followed_with_the_range(site: Site, target: Path) -> None:
    site.redirects = {"/from.pth": "/over", "/over": f"{site.url}/net.pth"}
    site.cuts = [100_000]
    assert download.fetch(f"{site.url}/from.pth", target) == SHA256
    assert site.asked[-1] == ("/net.pth", "bytes=100000-")
    site.redirects = {"/in": "/circles", "/circles": "/in"}
    with pytest.raises(WeightsError, match=r"the way from 127.0.0.1 leads in circles"):
        download.fetch(f"{site.url}/in", target.with_name("2.pth"))


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:9/net.pth", "file:///etc/hostname", "ftp://127.0.0.1/net.pth"])
def test_nothing_comes_from_elsewhere_than_https(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    monkeypatch.setattr(download, "_SCHEMES", ("https",))
    for address in (f"{site.url}/net.pth", elsewhere):
        with pytest.raises(WeightsError, match="which is not https; nothing is fetched"):
            download.fetch(address, target)
    assert not site.asked


@pytest.mark.parametrize(
    ("elsewhere", "text"),
    [
        ("https://127.0.0.1:9/net.pth", "the way leads to https://127.0.0.1:9/net.pth, which is not"),
        ("file:///etc/hostname", "the way from 127.0.0.1 leads .*not to https"),
        ("ftp://127.0.0.1/net.pth", "the way leads to ftp://127.0.0.1/net.pth, which is not https"),
    ],
)
def test_no_redirect_leads_elsewhere(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str, text: str
) -> None:
    """This server has no TLS, so the two schemes change places here."""
    monkeypatch.setattr(download, "_SCHEMES", ("http",))
    site.redirects = {"/net.pth": elsewhere}
    with pytest.raises(WeightsError, match=text):
        download.fetch(f"{site.url}/net.pth", target)
    assert not list(target.parent.iterdir())


def test_no_room(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 20))
    site.files["/net.pth"] = bytes(5 << 20)
    with pytest.raises(ArgumentError, match=r"has 3 MiB left, and 6 MiB are to come; make room, or name another"):
        download.fetch(f"{site.url}/net.pth", target)
    assert not target.exists()


def test_a_disk_that_is_full(site: Site, target: Path) -> None:
    target.with_name("net.pth.part").symlink_to("/dev/full")
    with pytest.raises(ArgumentError, match=r"net.pth.part cannot be written: No space left on device; make room"):
        download.fetch(f"{site.url}/net.pth", target)
    assert not target.exists()


def test_what_came_before_the_disk_was_full_is_kept(site: Site, target: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(ArgumentError, match=r"File too large; .*; what has come is kept"):
            download.fetch(f"{site.url}/net.pth", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    have = download.begun(f"{site.url}/net.pth", target)
    assert 0 < have <= 200_000
    assert download.fetch(f"{site.url}/net.pth", target) == SHA256
    assert ranges(site)[-1] == f"bytes={have}-"


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_comes(site: Site, target: Path) -> None:
    with pytest.raises(ArgumentError, match="there is no such folder"):
        download.fetch(f"{site.url}/net.pth", target / "net.pth")
    assert not site.asked


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_without_end(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, lengths: bool) -> None:
    monkeypatch.setattr(download, "LARGEST", 100_000)
    monkeypatch.setattr(download, "_PIECE", 10_000)
    site.lengths = lengths
    told: list[int] = []
    with pytest.raises(WeightsError, match="at most are taken"):
        download.fetch(f"{site.url}/net.pth", target, report=lambda done, total: told.append(done))
    assert bool(told) != lengths  # where it is said beforehand, nothing is taken at all
    assert max(told, default=0) <= 100_000
    assert not list(target.parent.iterdir())


def test_a_machine_without_a_way_out(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it was tried again"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth"
        with pytest.raises(WeightsError, match=r"127.0.0.1 cannot be reached \(Connection refused\); is this machine"):
            download.fetch(address, target)
    assert not list(target.parent.iterdir())


def test_proxies_are_those_of_the_environment(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    assert download.fetch("http://weights.invalid/net.pth", target) == SHA256
    assert site.asked == [("http://weights.invalid/net.pth", None)]
    monkeypatch.setenv("no_proxy", "weights.invalid")
    with pytest.raises(WeightsError, match=r"weights.invalid cannot be reached"):
        download.fetch("http://weights.invalid/net.pth", target.with_name("2.pth"))


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (403, r"weights.invalid cannot be reached \(Tunnel connection failed: 403 Forbidden\)"),
        (407, r"407 Proxy Authentication Required: give https_proxy a name and a password"),
    ],
)
def test_a_proxy_hands_https_on_and_sees_nothing_of_it(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, text: str
) -> None:
    monkeypatch.setenv("https_proxy", site.url)
    site.refusal = refusal
    with pytest.raises(WeightsError, match=text):
        download.fetch("https://weights.invalid/net.pth", target)
    assert site.asked == [("weights.invalid:443", None)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there to make a certificate")
def test_a_server_that_cannot_show_who_it_is(site: Site, target: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "tls" / "certificate.pem"
    certificate.parent.mkdir()
    key, name = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], ["-subj", "/CN=127.0.0.1"]
    command = ["openssl", "req", "-x509", "-nodes", *key, *name, "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=certificate.parent, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with serving(Site(files={"/net.pth": BODY}), tls) as secure:
        with pytest.raises(WeightsError, match=r"127.0.0.1 cannot show who it is \(self-signed certificate\)"):
            download.fetch(f"{secure.url}/net.pth", target)
        assert not secure.asked
