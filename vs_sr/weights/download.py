"""A file from the web: over https alone, checked, and there whole or not at all. Nothing in it is executed.

What has come of a file that is not whole yet lies beside it, under its name and ``.part``; the next call goes on there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import ssl
import time
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from vs_sr import files, system
from vs_sr.errors import ArgumentError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGEST = 1 << 30
"""Bytes of a file, at most: more than any network here has."""
KEPT = "what has come is kept: the same command goes on from there"
_SCHEMES = ("https",)
_PIECE = 1 << 18
_TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as cut."""
_TRIES = 4
"""Connections in a row that may bring nothing, once one has brought something."""
_PAUSE = 1.0
"""Seconds before the next of them; doubled each time."""
_AGENT = "vs-sr (weights get)"


class _CutError(Exception):
    """A connection that ended before the file did."""


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects to https alone."""

    def redirect_request(self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The next request, with the same range.

        Raises:
            WeightsError: it would go elsewhere.
        """
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    address: str,
    target: Path,
    *,
    sha256: str = "",
    check: Callable[[Path], None] = lambda path: None,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> str:
    """Get a file, or the rest of it, and give its sha-256 in hexadecimal.

    Proxies are taken from the variables ``https_proxy``, ``no_proxy`` and the like.

    Args:
        address: ``https://...``.
        target: the file to write, which is not there yet, in a folder that is.
        sha256: what that of the file begins with, in hexadecimal; empty: nobody has said.
        check: raises WeightsError where a file, whole but under a name of its own, is not what is wanted.
        report: is told the bytes that are there, and those of the whole file where the server says.

    Raises:
        WeightsError: it is not to be had, or is not what is wanted: it is not kept then.
        ArgumentError: it cannot be written here; what has come of it is kept.
    """
    _check_address(address)
    part = _Part(address, target, bool(sha256))
    try:
        files.check_target(target)
    except ArgumentError as error:
        raise ArgumentError(f"{target} {error}") from None
    _fill(part, report)
    found = _digest(part.path)
    try:
        if not found.startswith(sha256):
            raise WeightsError(
                f"{target.name} is not the file that was published: its sha-256 is {found} and should begin with "
                f"{sha256}; nothing of it is kept. Try again; if it stays so, somebody has put another in its place"
            )
        check(part.path)
    except WeightsError:
        part.discard()
        raise
    with _written(part):
        system.replace(part.path, target)
    part.discard()
    return found


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise WeightsError(f"the way leads to {address[:120]}, which is not https; nothing is fetched from there")


def begun(address: str, target: Path, sha256: str = "") -> int:
    """The bytes of a file that an earlier run has left, and that :func:`fetch` goes on after."""
    return _Part(address, target, bool(sha256)).begun()[0]


class _Part:
    """What there is of a file, and what tells whether the server still has the same one."""

    def __init__(self, address: str, target: Path, checked: bool) -> None:
        self.address = address
        self.name = target.name
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._checked = checked
        """Whether a checksum tells in the end that the pieces are of one file."""

    def begun(self) -> tuple[int, str]:
        """The bytes to go on after, and the version (an ETag or a date) that they are of, if known."""
        try:
            size = self.path.stat().st_size
            known = json.loads(self._note.read_text(encoding="utf-8"))
            version = str(known["version"]) if known["address"] == self.address else ""
        except FileNotFoundError:
            return 0, ""
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
        return (size, version) if version or self._checked else (0, "")

    def kept(self) -> str:
        """What to say of it where the work ends early."""
        return f"; {KEPT}" if self.begun()[0] else ""

    def begin(self, version: str) -> None:
        """Forget what was there, and note the version that follows."""
        with _written(self):
            self.path.write_bytes(b"")
            self._note.write_text(json.dumps({"address": self.address, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        """Remove all of it."""
        for path in (self.path, self._note):
            with suppress(OSError):
                path.unlink()


def _fill(part: _Part, report: Callable[[int, int | None], None]) -> None:
    """Bring the rest of a file, in as many connections as it takes."""
    brought = began = False
    fruitless = 0

    def heard(done: int, total: int | None) -> None:
        nonlocal brought
        brought = True
        report(done, total)

    while True:
        brought = False
        try:
            return _connect(part, heard)
        except HTTPError as error:
            raise WeightsError(f"{part.name}: {_refusal(error, part.address)}") from None
        except (URLError, HTTPException, OSError, _CutError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            began = began or brought
            fruitless = 0 if brought else fruitless + 1
            if not began or fruitless >= _TRIES:
                raise WeightsError(f"{part.name}: {_failure(reason, part.address)}{part.kept()}") from None
            time.sleep(_PAUSE * 2**fruitless)


def _connect(part: _Part, heard: Callable[[int, int | None], None]) -> None:
    """Bring as much of the rest as one connection does.

    Raises:
        URLError, HTTPException, OSError, _CutError: it ended early.
    """
    have, answer = _rest(part)
    if answer is None:
        return
    with answer:
        rest = int(length) if (length := answer.headers.get("Content-Length", "")).isdecimal() else None
        if not have:
            part.begin(_version(answer))
        total = None if rest is None else have + rest
        _check_size(part, total or 0)
        _check_space(part, rest or 0)
        _take(part, answer, have, total, heard)


def _rest(part: _Part) -> tuple[int, HTTPResponse | None]:
    """What is there already, and the answer that goes on after it; None: nothing is missing."""
    have, version = part.begun()
    if not have:
        return 0, _open(part.address)
    try:
        answer = _open(part.address, have, version)
    except HTTPError as error:
        if error.code != 416:
            raise
        if re.fullmatch(rf"bytes \*/{have}", error.headers.get("Content-Range", "")):
            return have, None  # the last run was ended when all had come
    else:
        if answer.status != 206:  # all of it: another version, or a server that knows no ranges
            return 0, answer
        if re.fullmatch(rf"bytes {have}-\d+/(?:\d+|\*)", answer.headers.get("Content-Range", "")):
            return have, answer
        answer.close()
    return 0, _open(part.address)


def _open(address: str, have: int = 0, version: str = "") -> HTTPResponse:
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(context=_trusted()),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    answer = opener.open(request.Request(address, headers=headers), timeout=_TIMEOUT)
    assert isinstance(answer, HTTPResponse)
    return answer


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts; reading them takes longer than a connection."""
    return ssl.create_default_context()


def _version(answer: HTTPResponse) -> str:
    """What tells this version of a file from others, byte for byte: weak tags do not."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _take(
    part: _Part, answer: HTTPResponse, at: int, total: int | None, heard: Callable[[int, int | None], None]
) -> None:
    with _written(part), part.path.open("r+b") as file:
        file.seek(at)
        while piece := _read(answer):
            at += len(piece)
            _check_size(part, at)
            file.write(piece)
            heard(at, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and at < total:
        raise _CutError


def _read(answer: HTTPResponse) -> bytes:
    """A piece, as soon as there is some; what goes wrong here is the connection's fault, not the disk's."""
    try:
        return answer.read1(_PIECE)
    except (OSError, HTTPException):
        raise _CutError from None


def _check_size(part: _Part, size: int) -> None:
    if size > LARGEST:
        part.discard()
        raise WeightsError(f"{part.name} would have {size >> 20} MiB; {LARGEST >> 20} MiB at most are taken")


def _check_space(part: _Part, wanted: int) -> None:
    free = shutil.disk_usage(part.path.parent).free
    if wanted > free:
        raise ArgumentError(
            f"{part.path.parent} has {free >> 20} MiB left, and {(wanted >> 20) + 1} MiB are to come; make room, or "
            "name another folder with --to"
        )


@contextmanager
def _written(part: _Part) -> Iterator[None]:
    """An error of the disk becomes a message that says what to do."""
    try:
        yield
    except OSError as error:
        way = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see who may write there"
        text = f"{part.path} cannot be written: {files.reason(error)}; {way}, or name another folder with --to"
        raise ArgumentError(text + part.kept()) from None


def _digest(path: Path) -> str:
    try:
        with files.open_regular(path) as file:
            return files.sha256(file)
    except ArgumentError as error:
        raise WeightsError(f"{path} {error}") from None


def _refusal(error: HTTPError, address: str) -> str:
    """What a server means by not answering with the file."""
    host = urlsplit(address).hostname
    if 300 <= error.code < 400:
        return f"the way from {host} leads in circles, or not to https"
    said = f"{host} says {error.code} {error.reason}"
    if error.code in (404, 410):
        return f"{said}: it is no longer at {address}; look at its publisher's page for where it is now"
    return f"{said}: try again later, or get {address} by other means"


def _failure(reason: object, address: str) -> str:
    """Why there was no answer, or no whole one."""
    host = urlsplit(address).hostname
    if isinstance(reason, _CutError):
        return f"the connection to {host} was cut again and again"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"{host} cannot show who it is ({reason.verify_message}), so nothing is taken from it"
    why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    if "407" in why:  # of the way through the proxy, which is no answer yet
        return f"{why}: give https_proxy a name and a password, as in http://name:password@host:port"
    return (
        f"{host} cannot be reached ({why}); is this machine online? A proxy is named by the variable https_proxy. "
        f"Where there is no way out, get {address} on another machine, and give its path as weights"
    )
