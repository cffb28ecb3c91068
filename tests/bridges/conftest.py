"""A short training on the digits for the tests of the bridges; OpenOOD's files, copied from its repository."""

import sys
from pathlib import Path

import pytest

from ood_helpers import Config, fit

sys.path.append(str(Path(__file__).parent / "openood_1_5"))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return fit(Config("digits", epochs=3, ood=("letters",)), tmp_path_factory.mktemp("runs"), "cpu", progress=False)
