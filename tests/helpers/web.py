"""A web server on this machine, with what real ones do to downloads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass
class Site:
    """What a server has, what it does, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By path: ``/a.pth``."""
    redirects: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    """Bytes of the next answers' bodies after which the connection ends; none: all come."""
    ranges: bool = True
    lengths: bool = True
    """Whether it says how long a body is."""
    shifted: bool = False
    """Whether it answers ranges with others than were asked for."""
    tag: str = '"1"'
    refusal: int = 403
    """What it says to those who take it for a proxy to https."""
    held: threading.Event | None = None
    """What it waits for when half of a body has been sent, and the connection ends after it."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path, or whole address of a proxy's request, and range of each request."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.server.site.asked.append((self.path, self.headers.get("Range")))
        self.send_error(self.server.site.refusal)

    def do_GET(self) -> None:
        site = self.server.site
        wanted = self.headers.get("Range")
        site.asked.append((self.path, wanted))
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.end_headers()
            return
        name = f"/{self.path.rsplit('/', 1)[-1]}"
        if name not in site.files:
            self.send_error(404)
            return
        body = site.files[name]
        start = 0
        if wanted and site.ranges and self.headers.get("If-Range", site.tag) == site.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            start += site.shifted
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if site.tag:
            self.send_header("ETag", site.tag)
        if site.lengths:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if site.held is not None:
            self.wfile.write(rest[: len(rest) // 2])
            site.held.wait(20)
        else:
            self.wfile.write(rest[: site.cuts.pop(0)] if site.cuts else rest)


class _Server(ThreadingHTTPServer):
    site: Site

    def handle_error(self, *_: object) -> None:
        """A client that leaves early is no news."""


@contextmanager
def serving(site: Site, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """The site on a free port of this machine, as ``site.url``."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.site = site
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
