import functools
import http.server
import threading
from types import SimpleNamespace

import pytest


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a directory and notes what was asked for."""

    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def end_headers(self):
        super().end_headers()
        if self.server.cut_short:
            self.close_connection = True
            self.wfile.write(b"the beginning")
            self.wfile = SimpleNamespace(write=len, flush=bool, closed=True, close=bool)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves ``directory`` at ``address``; with ``cut_short`` connections end too early."""
    directory = tmp_path / "served"
    directory.mkdir()
    handler = functools.partial(Handler, directory=directory)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.directory, server.requests, server.cut_short = directory, [], False
    server.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
