"""A short training on the digits, and its network and test images as OpenOOD has them."""

import pytest

from ood_helpers import Config, fit
from ood_helpers.bridges import OpenOODNet

MEAN, STD = 0.45, 0.22


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return fit(Config("digits", epochs=3, ood=("letters",)), tmp_path_factory.mktemp("runs"), "cpu", progress=False)


@pytest.fixture(scope="session")
def standardised():
    """Images as OpenOOD's preprocessor gives them: in 0..1, standardised."""
    return lambda images: (images / 255 - MEAN) / STD


@pytest.fixture(scope="session")
def net(run):
    return OpenOODNet(run, [MEAN], [STD])


@pytest.fixture(scope="session")
def data(run, standardised):
    """Test images in OpenOOD's form."""
    return standardised(run.images("test"))
