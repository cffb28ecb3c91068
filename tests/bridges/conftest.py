"""A short training on the digits for the tests of the bridges."""

import pytest

from ood_helpers import Config, fit


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return fit(Config("digits", epochs=3, ood=("letters",)), tmp_path_factory.mktemp("runs"), "cpu", progress=False)
