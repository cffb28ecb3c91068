"""The network of a short training and its test images as OpenOOD has them."""

import pytest

from ood_helpers.bridges import OpenOODNet

MEAN, STD = 0.45, 0.22


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
