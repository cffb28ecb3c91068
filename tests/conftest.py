"""What every test starts from: one thread, no window, no deadline; figures of a test end with it."""
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on networks this small only wait for each other
os.environ["MPLBACKEND"] = "Agg"

import sys  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# A slow machine is no failure.
hypothesis.settings.register_profile("ood", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ood")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
