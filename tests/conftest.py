"""What every test starts from: one thread, no window, no deadline; figures of a test end with it."""

import importlib.util
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on networks this small only wait for each other
os.environ["MPLBACKEND"] = "Agg"
# A make that a test starts is nobody's child: it would print "Entering directory" and take over -B.
for name in [name for name in os.environ if name.startswith(("MAKE", "MFLAGS"))]:
    del os.environ[name]

import random  # noqa: E402
import sys  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

# A slow machine is no failure, and every run but the long one generates the same cases.
SLOW = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("ood", **SLOW, derandomize=True, database=None)
hypothesis.settings.register_profile("long", **SLOW, derandomize=False, max_examples=8_000)
hypothesis.settings.load_profile("long" if os.environ.get("OOD_LONG") else "ood")


# Folders have one each, and of modules with doctests, which these are not, only one may have a name.
collect_ignore_glob = ["*conftest.py"]
# fuzz.py needs atheris, which make test-long only uses where it is.
collect_ignore = ["project/fuzz.py"]
if importlib.util.find_spec("openood") is None:  # it is not on the package index
    collect_ignore += ["bridges/openood_library.py"]
if not os.environ.get("OOD_LONG"):
    collect_ignore += ["project/test_other_images.py", "widgets/test_timing.py"]


def seed_everything():
    """The same random numbers in every run, whichever tests ran before: torch itself seeds every process anew."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_collectstart(collector):
    seed_everything()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    seed_everything()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """With OOD_REPORT, how many generated cases each property test went through, for tests/long_report.md."""
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle is None or "OOD_REPORT" not in os.environ:
        yield
        return
    original, count = handle.inner_test, [0]

    def counted(*arguments, **keywords):
        count[0] += 1
        return original(*arguments, **keywords)

    handle.inner_test = counted
    outcome = yield
    handle.inner_test = original
    if outcome.excinfo is None:
        with open(os.environ["OOD_REPORT"], "a") as file:
            file.write(json.dumps({"test": item.name, "cases": count[0]}) + "\n")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def chromium():
    """A headless browser; a machine without one skips its tests, CI may not."""
    from ood_helpers.bench import explorer_latency as latency

    try:
        with latency.browser() as browser:
            from playwright.sync_api import expect

            expect.set_options(timeout=30_000)
            yield browser
    except (ImportError, FileNotFoundError) as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A short training on the digits."""
    from ood_helpers import Config, fit

    return fit(Config("digits", epochs=3, ood=("letters",)), tmp_path_factory.mktemp("runs"), "cpu", progress=False)
