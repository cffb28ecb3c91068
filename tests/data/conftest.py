"""Fixtures of the data tests: the digits, and a server on the loopback that stands for the internet."""

import hashlib
import logging
import threading

import pytest
from loopback import Server

from ood_helpers import data


@pytest.fixture
def caplog(caplog):
    """pytest's own, with the messages of level INFO, where data sets say what they convert."""
    caplog.set_level(logging.INFO, "ood_helpers.data")
    return caplog


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """offer(name, content): the set's row names the server, the archive's own file and its MD5."""

    def put(name, content, md5=None, file=None):
        row = data.SETS[name]
        server.content = content
        url = f"http://127.0.0.1:{server.server_port}/{file or row.source.url.rpartition('/')[2]}"
        source = row.source._replace(url=url, md5=md5 or hashlib.md5(content).hexdigest())
        monkeypatch.setitem(data.SETS, name, row._replace(source=source))

    return put
