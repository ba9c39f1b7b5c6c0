"""Workarounds that can be shown without a manager. The others are in tests/nnictl."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from nni_evanet import compat
from nni_evanet.errors import InputError


@pytest.fixture
def manager():
    """A server that has a trial's record from the third request on, as a busy manager may."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            ready = len(requests) >= 3 and self.path == "/prefix/api/v1/nni/trial-jobs/abc"
            self.send_response(200 if ready else 404)
            self.end_headers()
            record = {"parameter_id": 7, "parameters": {"x": 1}}
            self.wfile.write(json.dumps({"hyperParameters": [json.dumps(record)]}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_record_is_waited_for_and_read_below_a_url_prefix(manager):
    record = compat._own_record(f"{manager}/prefix", "abc", 30)
    assert record == {"parameter_id": 7, "parameters": {"x": 1}}


def test_a_record_that_never_comes_is_an_error_that_names_the_address(manager):
    with pytest.raises(RuntimeError, match="cannot read this trial's parameters"):
        compat._own_record(f"{manager}/prefix", "other", 0)


def test_an_unknown_experiment_is_named():
    with pytest.raises(InputError, match="experiment nowhere: not known to nnictl"):
        compat.experiment_folder("nowhere")
