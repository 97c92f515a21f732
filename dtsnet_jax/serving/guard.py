"""Who may ask a server, how many at once, and how long sending may take."""

import asyncio
import base64
import math
import secrets
import time
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtsnet_jax.serving.metrics import Metrics

SMALL_MB = 1.0  # mebibytes of a request without photographs
UNDER_WAY = 32  # requests with photographs that wait or are worked on; others get 503
SENDING_SECONDS = 60.0  # in which all of a request has to arrive
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OPEN_PATHS = ("/health",)  # for whoever watches over machines


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests before anything is read of them.

    Without a token only this machine is served, and only under its own name, so that no page of
    another server that is open in a browser here reaches it under another. With one, requests give
    it as ``Authorization: Bearer TOKEN``, and browsers ask for it as the password of any user.
    """

    def __init__(self, app: ASGIApp, token: str, max_upload_mb: int, metrics: Metrics):
        """Wraps an application.

        Args:
          app: what answers.
          token: the secret; '' for none.
          max_upload_mb: mebibytes of a request.
          metrics: are told of what is under way and refused.
        """
        self._app, self._token, self._metrics = app, token, metrics
        self._max_upload_mb = max_upload_mb
        self._under_way = 0
        self._seconds = 1.0  # that a request with photographs takes, lately

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if scope["path"] != "/predict":
            await self._app(scope, _bounded(receive, SMALL_MB, ""), send)
            return
        self._metrics.set_requests(self._under_way + 1)
        self._under_way += 1
        start = time.monotonic()
        try:
            bounded = _bounded(receive, self._max_upload_mb, " (--max_upload_mb)")
            await self._app(scope, bounded, send)
        finally:
            self._under_way -= 1
            self._metrics.set_requests(self._under_way)
            self._seconds += (time.monotonic() - start - self._seconds) / 16

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        """The answer to a request that is refused; None where it is not."""
        if self._token and path in _OPEN_PATHS:
            return None
        if self._token and not self._is_authorized(headers.get("authorization", "")):
            return refuse(
                401,
                "the token is missing or wrong; send 'Authorization: Bearer TOKEN'.",
                {"WWW-Authenticate": 'Basic realm="any user, the token as password"'},
            )
        host = headers.get("host", "")
        if not self._token and not is_loopback(_split(host).hostname or ""):
            return refuse(403, f"the host is '{host}', expected 127.0.0.1 or localhost.")
        if method not in _SAFE_METHODS and not _is_of_own_page(headers):
            return refuse(403, "the request comes from the page of another server.")
        if path == "/predict" and self._under_way >= UNDER_WAY:
            self._metrics.refuse()
            return refuse(
                503,
                f"{UNDER_WAY} requests are under way, and no more can wait; send it again later.",
                {"Retry-After": str(math.ceil(self._seconds))},
            )
        return None

    def _is_authorized(self, given: str) -> bool:
        scheme, _, credentials = given.partition(" ")
        secret = credentials.encode("latin-1")  # as it was sent
        if scheme.lower() == "basic":
            try:
                secret = base64.b64decode(secret).partition(b":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return secrets.compare_digest(secret, self._token.encode(errors="surrogateescape"))


def _split(host: str) -> SplitResult:
    try:
        return urlsplit(f"//{host}")
    except ValueError:
        return urlsplit("")


def _is_of_own_page(headers: Headers) -> bool:
    """Whether a request comes from this server's page, or from no page."""
    site = headers.get("sec-fetch-site")  # which browsers send to addresses that they trust
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _bounded(receive: Receive, max_mb: float, flag: str) -> Receive:
    """The same, but what arrives may neither be larger nor take longer than is allowed."""
    end = time.monotonic() + SENDING_SECONDS
    size, complete = 0, False

    async def receive_bounded() -> Message:
        nonlocal size, complete
        if complete:  # what comes now is that the client has gone
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except TimeoutError as error:
            sentence = f"the request did not arrive within {SENDING_SECONDS:.0f} seconds."
            raise HTTPException(408, sentence) from error
        size += len(message.get("body", b""))
        if size > max_mb * 2**20:
            raise HTTPException(413, f"the request is larger than {max_mb:g} MB{flag}.")
        complete = not message.get("more_body", False)
        return message

    return receive_bounded


def refuse(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says in a sentence what is wrong."""
    return JSONResponse({"error": sentence}, status, headers)
