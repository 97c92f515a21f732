"""The serving job: answers over HTTP, with a page for people."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.serving.app import create_app
from dtsnet_jax.serving.detectors import ServedDetectors
from dtsnet_jax.serving.guard import is_loopback
from dtsnet_jax.serving.service import Service

TOKEN_VARIABLE = "DTSNET_TOKEN"
SHORTEST_TOKEN = 16
FINISHING_SECONDS = 60  # that requests under way have once the server is asked to end


@dataclass(frozen=True)
class ServingOptions:
    """Where to listen, and what to keep.

    Attributes:
      host, port: the address; 0 is any port that is free.
      out: where changed limits and corrections are written.
      max_upload_mb: mebibytes of a request.
      follow: --out of a ``--job=predict`` whose photographs the page shows, too.
    """

    host: str
    port: int
    out: Path
    max_upload_mb: int
    follow: Path


def serve(detectors: ServedDetectors, options: ServingOptions) -> None:
    """Answers requests until it is interrupted; what was begun is finished.

    Raises:
      UserError: the address cannot be had, or others than this machine would be served without a
        token.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not is_loopback(options.host) and len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"--host is '{options.host}', where others reach the server, but the environment "
            f"variable {TOKEN_VARIABLE} has {len(token)} characters; set it to a secret of "
            f"{SHORTEST_TOKEN} or more, which they have to give."
        )
    with _listen(options.host, options.port) as listener:
        if len(detectors.names) == 1:
            detectors[detectors.names[0]]  # is loaded before the first request
        app = create_app(
            Service(detectors),
            options.out,
            token=token,
            max_upload_mb=options.max_upload_mb,
            follow=options.follow,
        )
        host, port = listener.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(
            f"serving {', '.join(detectors.names)} on http://{address} (API: /docs); "
            "Ctrl-C ends it",
            flush=True,
        )
        settings = {"log_level": "warning", "ws": "none"}
        settings |= {"timeout_graceful_shutdown": FINISHING_SECONDS}
        server = uvicorn.Server(uvicorn.Config(app, **settings))
        try:
            server.run([listener])
        except (Interrupted, KeyboardInterrupt):  # what the server had begun is done by now
            print("ended")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} of '{host}' cannot be had ({error}); choose another --host or --port."
        ) from error
