"""Processes are killed, bytes flipped, disks filled: a run is complete or absent. OOD_LONG=1 (make test-long): more.

Why so much: a student closes the laptop, a cluster kills a job, a disk fills up, and a result that is silently wrong
costs more than one that is missing. Only real kills at random moments show that no moment is unsafe.

Trainings run in forked children of this process, which has imported everything already: a kill costs no start-up and
comes in the middle of a training. A child that starts torchrun leads a process group of its own, so that launcher and
workers can be killed as a group or one by one.
"""

import gc
import json
import multiprocessing
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import anything

from ood_helpers import runs, training
from ood_helpers.config import Config
from ood_helpers.papers import distributed
from ood_helpers.runs import FORMAT, find_run, load_run
from ood_helpers.training import Checkpoint

# Python 3.12 warns of a fork beside threads; the children here only train, on one thread.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
ROOT = Path(__file__).parents[2]
LONG = bool(os.environ.get("OOD_LONG"))
BASE = Config(epochs=40, limit=96, ood=("near",), dropout=0.2)
CONFIGS = {
    "softmax": BASE,
    "meln": replace(BASE, loss="meln", loss_options={"positive_temperature": True}),
    "dismax_fpr": replace(BASE, loss="dismax_fpr", select="validation", ema_decay=0.9),
}
CONFIGS["torchrun"] = replace(CONFIGS["meln"], seed=1)
fork = multiprocessing.get_context("fork")


def report(**counts):
    """Counts for tests/long_report.md, one JSON line each."""
    if path := os.environ.get("OOD_REPORT"):
        with open(path, "a") as file:
            file.write(json.dumps(counts) + "\n")


def child(function, *arguments):
    process = fork.Process(target=function, args=arguments)
    process.start()
    return process


def train(config, folder):
    training.CHECKPOINT_SHARE = 1.0  # as often as an epoch, so that most kills find one to go on from
    training.fit(config, folder, "cpu", progress=False)


def train_in_team(config, folder):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as in a worker that is started and not forked
    training.CHECKPOINT_SHARE = 1.0
    distributed.fit(config, folder, "cpu", progress=False)


def team(config, folder):
    """What torchrun does, in a process group of its own; only that its two workers are forked."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.setsid()
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    tempfile.tempdir = os.fspath(folder.parent)  # where the logs go
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        start_method="fork",
        rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()),
        max_restarts=0,
    )
    elastic_launch(launch, train_in_team)(config, folder)


def kill(process, chooser):
    """Of a team, all processes, one worker, or the one that started them."""
    if os.getpgid(process.pid) != process.pid:
        process.kill()
    elif (victim := chooser.choice(["all", "worker", "launcher"])) == "all":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(chooser.choice(workers)) if victim == "worker" and workers else process.pid, signal.SIGKILL)
    process.join()


@pytest.fixture
def teams():
    """Processes that start teams; what has no launcher any more may wait for a colleague who never was."""
    started = []
    yield started
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def leftovers(folder):
    return [
        path
        for path in Path(folder).rglob("*")
        if path.is_file()
        and path.suffix != ".lock"
        and (path.parent.name.startswith(".") or path.name not in ("config.json", *runs.FILES))
    ]


def same(config, folder, other):
    """Weights, scores and history, to the bit; only the seconds may differ."""
    first, second = find_run(config, folder), find_run(config, other)
    for (name, a), (_, b) in zip(first.load_model().state_dict().items(), second.load_model().state_dict().items()):
        assert torch.equal(a, b), name
    for name, array in first._arrays.items():
        np.testing.assert_array_equal(array, second._arrays[name], err_msg=name)
    assert {**first.history, "seconds": 0} == {**second.history, "seconds": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nobody disturbed, and how long each took."""
    training.Trainer(BASE.resolved(), runs.load_dataset(BASE), torch.device("cpu"))  # imports what trainings import
    folder, seconds = tmp_path_factory.mktemp("whole"), {}
    for name, config in CONFIGS.items():
        start = time.perf_counter()
        process = child(team if name == "torchrun" else train, config, folder)
        process.join()
        assert process.exitcode == 0
        seconds[name] = time.perf_counter() - start
    return folder, seconds


@pytest.mark.parametrize("name", CONFIGS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(name, whole, teams, tmp_path):
    folder, seconds = whole
    config, random_moment, kills, after_a_checkpoint = CONFIGS[name], random.Random(name), 0, 0
    start, wanted = (team, 34 if LONG else 3) if name == "torchrun" else (train, 34 if LONG else 10)
    for attempt in range(10 * wanted):
        place = tmp_path / str(kills // 10)  # a new training after every ten kills
        enough = kills >= wanted and after_a_checkpoint
        process = child(start, config, place)
        teams += [process] if start is team else []
        process.join(None if enough else random_moment.uniform(0, 0.5 * seconds[name]))
        if process.is_alive():
            kill(process, random_moment)
            kills += 1
            after_a_checkpoint += Checkpoint(config, place).path.exists()
            continue
        assert process.exitcode == 0
        same(config, place, folder)
        assert not leftovers(place)
        if enough:
            break
        place.rename(tmp_path / f"done{attempt}")
    assert enough
    report(test=f"SIGKILL at random moments, {name}", kills=kills, after_a_checkpoint=after_a_checkpoint)


def train_until_write(config, folder, number):
    """Die in the middle of the given write: after the bytes, before the rename."""
    count = [0]

    def mortal(rename):
        def rename_or_die(*arguments):
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(*arguments)

        return rename_or_die

    os.replace = mortal(os.replace)
    train(config, folder)


def test_killed_while_it_writes(whole, tmp_path):
    config = CONFIGS["meln"]
    for number in range(1, 30 if LONG else 6):
        process = child(train_until_write, config, tmp_path, number)
        process.join()
        if process.exitcode == 0:
            number -= 1
            break
        assert process.exitcode == -signal.SIGKILL and find_run(config, tmp_path) is None
    child(train, config, tmp_path).join()
    same(config, tmp_path, whole[0])
    assert not leftovers(tmp_path)
    report(test="SIGKILL between a write and its rename", kills=number)


def test_everything_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """So that the power may fail at any moment."""
    flushed, moved, flush, move = [], [], os.fsync, os.replace

    def told(descriptor):
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        flush(descriptor)

    def asked(staging, place):
        assert {staging, *staging.rglob("*")} <= set(flushed)
        assert not moved or moved[-1].parent in flushed
        flushed.clear()
        move(staging, place)
        moved.append(place)

    monkeypatch.setattr(os, "fsync", told)
    monkeypatch.setattr(os, "replace", asked)
    monkeypatch.setattr(training, "CHECKPOINT_SHARE", 1.0)
    train(replace(BASE, epochs=3), tmp_path)
    assert len(moved) > 1 and flushed == [tmp_path] and moved[-1].parent == tmp_path


def test_checkpoints_take_their_share_of_the_time_and_no_more(tmp_path, monkeypatch):
    """By a clock that only epochs (1 s) and writes (0.11 s) move, as on a slow disk."""
    clock, written, train_epoch = [0.0], [], training.Trainer.train_epoch

    def slow_epoch(trainer):
        clock[0] += 1
        return train_epoch(trainer)

    def slow_write(checkpoint, state):
        clock[0] += 0.11
        written.append(state["epoch"])

    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(training.Trainer, "train_epoch", slow_epoch)
    monkeypatch.setattr(Checkpoint, "write", slow_write)
    training.fit(replace(BASE, epochs=30), tmp_path, "cpu", progress=False)
    gaps = np.diff(written)
    assert written[0] == 1 and len(written) > 3  # the first write tells what one costs, the next wait for it
    assert (0.11 / gaps <= training.CHECKPOINT_SHARE).all() and (0.11 / gaps > 0.8 * training.CHECKPOINT_SHARE).all()


def interrupted(config, folder, output):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        train(config, folder)
    except KeyboardInterrupt as error:
        output.write_text(" ".join(error.__notes__))


def test_control_c_says_how_to_go_on(whole, tmp_path):
    config = CONFIGS["softmax"]
    process = child(interrupted, config, tmp_path, tmp_path / "message")
    checkpoint = Checkpoint(config, tmp_path)
    while not checkpoint.path.exists() and process.is_alive():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert "resume" in (tmp_path / "message").read_text() and find_run(config, tmp_path) is None
    assert checkpoint.read()["epoch"] >= 1
    child(train, config, tmp_path).join()
    same(config, tmp_path, whole[0])


def starved(config, folder, output):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))  # no file may grow: as on a full disk
        train(config, folder)
    except OSError as error:
        os.write(output, str(error).encode())


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_still_loads(whole, tmp_path):
    config = CONFIGS["softmax"]
    checkpoint = Checkpoint(config, tmp_path)
    process = child(train, config, tmp_path)
    while not checkpoint.path.exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    epoch = checkpoint.read()["epoch"]
    reader, writer = os.pipe()
    child(starved, config, tmp_path, writer).join()
    os.close(writer)
    said = os.read(reader, 10_000).decode()
    assert "cannot be written: File too large" in said and "what was saved before is kept" in said
    assert checkpoint.read()["epoch"] == epoch
    child(train, config, tmp_path).join()
    same(config, tmp_path, whole[0])


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"file.* cannot be written: Not a directory"):
        training.fit(BASE, tmp_path / "file", "cpu", progress=False)


def powerless(folder, output):
    os.chdir(folder)
    if os.getuid() == 0:
        os.setuid(65534)  # for root every folder can be written
    try:
        training.fit(BASE, "runs", "cpu", progress=False)
    except OSError as error:
        os.write(output, str(error).encode())


@pytest.mark.parametrize("hidden", ["", ".training"])
def test_a_read_only_folder_is_one_sentence(hidden, tmp_path):
    (tmp_path / "runs" / hidden).mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "runs", tmp_path / "runs" / hidden):
        folder.chmod(0o555)
    reader, writer = os.pipe()
    child(powerless, tmp_path, writer).join()
    os.close(writer)
    with open(reader) as said:
        assert said.read().startswith("runs/.training cannot be written: Permission denied; free some space or choose")


def train_and_tell(config, folder, told):
    original = training.Trainer.run
    training.Trainer.run = lambda *arguments: (told.put("trained"), original(*arguments))[1]
    training.fit(config, folder, "cpu", progress=False)
    told.put("found")


def test_eight_at_once_train_once(tmp_path):
    told = fork.Queue()
    processes = [child(train_and_tell, BASE, tmp_path, told) for _ in range(8)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    said = [told.get(timeout=10) for _ in range(9)]
    assert sorted(said) == ["found"] * 8 + ["trained"] and told.empty()


def hold(config, folder):
    with Checkpoint(config, folder).locked():
        time.sleep(600)


def test_the_lock_of_a_dead_process_holds_nobody(tmp_path, capsys):
    process = child(hold, BASE, tmp_path)
    lock = Checkpoint(BASE, tmp_path).path.with_suffix(".lock")
    while not lock.exists():
        time.sleep(0.001)
    training.fit(replace(BASE, epochs=1), tmp_path, "cpu", progress=False)  # another training does not wait ...
    assert "waiting" not in capsys.readouterr().err
    threading.Timer(0.5, process.kill).start()
    with Checkpoint(BASE, tmp_path).locked():  # ... this one does, says so, and no longer than the other lives
        assert not process.is_alive()
    assert "waiting for another process" in capsys.readouterr().err
    process.join()


def test_every_flipped_byte_is_found_and_named(tmp_path):
    config = replace(BASE, epochs=2)
    run = training.fit(config, tmp_path, "cpu", progress=False)
    files = sorted(path for path in run.path.iterdir())
    chooser, flips = random.Random(0), 2000 if LONG else 200
    for i in range(flips):
        path = files[i % len(files)]
        content = bytearray(path.read_bytes())
        position = chooser.randrange(len(content))
        content[position] ^= 1 << chooser.randrange(8)
        original = path.read_bytes()
        path.write_bytes(content)
        try:
            again = find_run(config, tmp_path)
        except ValueError as error:
            assert str(path) in str(error) or path.name == "config.json", error
        else:  # a flip in the record that changes no meaning, such as the width of a space
            assert path.name == "config.json" and again == run
        path.write_bytes(original)
    assert find_run(config, tmp_path) == run
    report(test="flipped bytes", flips=flips)


def test_a_damaged_run_is_trained_again_and_said_so(tmp_path):
    config = replace(BASE, epochs=2)
    run = training.fit(config, tmp_path, "cpu", progress=False)
    logits = run.logits["test"]
    (run.path / "weights.pt").write_bytes((run.path / "weights.pt").read_bytes()[:-1])
    with pytest.warns(UserWarning, match="weights.pt is missing or damaged.* training it again"):
        again = training.fit(config, tmp_path, "cpu", progress=False)
    np.testing.assert_array_equal(again.logits["test"], logits)


def test_a_damaged_checkpoint_is_not_believed(tmp_path):
    checkpoint = Checkpoint(BASE, tmp_path)
    with checkpoint.locked():
        checkpoint.write({"epoch": 3})
    assert checkpoint.read() == {"epoch": 3}
    content = bytearray(checkpoint.path.read_bytes())
    content[100] ^= 1
    checkpoint.path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged; the training starts from the beginning"):
        assert checkpoint.read() is None


class Malicious:
    def __reduce__(self):
        return (os.mkdir, (os.environ["OOD_TRAP"],))


def signed(record):
    """A tampered record's JSON with the checksum it needs: an attacker can compute it too."""
    record = {name: value for name, value in record.items() if name != "checksum"}
    return json.dumps(record | {"checksum": runs.checksum(json.dumps(record, sort_keys=True).encode())})


def sign(folder):
    record = json.loads((folder / "config.json").read_text())
    record["files"] = {name: runs.checksum((folder / name).read_bytes()) for name in runs.FILES}
    (folder / "config.json").write_text(signed(record))


def test_a_pickle_in_a_runs_folder_is_not_run(tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    monkeypatch.setenv("OOD_TRAP", str(trap))
    run = training.fit(replace(BASE, epochs=1), tmp_path, "cpu", progress=False)
    for payload in (pickle.dumps(Malicious(), protocol=2), None):
        if payload:
            (run.path / "weights.pt").write_bytes(payload)
        else:
            torch.save({"weight": Malicious()}, run.path / "weights.pt")
        sign(run.path)
        with pytest.raises(pickle.UnpicklingError):
            load_run(run.path).load_model()
    content = (run.path / "weights.pt").read_bytes()
    checkpoint = Checkpoint(BASE, tmp_path)
    checkpoint.path.write_bytes(runs.checksum(content).encode() + content)
    with pytest.raises(pickle.UnpicklingError):
        checkpoint.read()
    np.savez(run.path / "outputs.npz", **{"logits/test": np.array([Malicious()], dtype=object)})
    sign(run.path)
    with pytest.raises(ValueError, match="pickle"):
        load_run(run.path).logits
    assert not trap.exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epoch": 3}, "unknown field 'epoch' in a configuration; known: data, loss"),
        ({"epochs": "3"}, "epochs must be of type int, not '3'"),
        ({"seed": True}, "seed must be of type int"),
        ({"loss_options": 5}, "loss_options must map names to values"),
        ({"ood": "near"}, "ood must be of type tuple"),
        ({"loss": "sofmax"}, "unknown loss"),
        ({"data": ["digits"]}, "data must be of type str"),
        ({"lr": None}, None),
    ],
)
def test_configurations_from_outside_are_checked_field_by_field(change, message):
    from dataclasses import asdict

    record = json.loads(json.dumps(asdict(BASE))) | change
    if message is None:
        assert Config.from_dict(record).resolved().lr == 0.1  # None asks for the default
        return
    with pytest.raises(ValueError, match=message):
        Config.from_dict(record)


def test_another_format_is_refused_with_a_way_forward(tmp_path):
    """Also by fit: hours of training are not thrown away because the package is another."""
    config = replace(BASE, epochs=1)
    run = training.fit(config, tmp_path, "cpu", progress=False)
    record = json.loads((run.path / "config.json").read_text())
    for version in (FORMAT - 1, FORMAT + 1, None):
        content = json.dumps(record | {"format": version})
        (run.path / "config.json").write_text(content)
        for use in (lambda: load_run(run.path), lambda: training.fit(config, tmp_path, "cpu", progress=False)):
            with pytest.raises(ValueError, match=r"read it with the version that wrote it, or delete the folder"):
                use()
        assert (run.path / "config.json").read_text() == content


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    run = training.fit(replace(BASE, epochs=1), tmp_path_factory.mktemp("small"), "cpu", progress=False)
    return run, (run.path / "config.json").read_text()


@given(field=st.sampled_from(["format", *runs.RECORD, "data", "loss", "ood", "loss_options"]), value=anything)
def test_any_signed_record_is_a_run_or_refused(field, value, small):
    run, text = small
    record = json.loads(text)
    (record if field in record else record["config"])[field] = value
    (run.path / "config.json").write_text(signed(record))
    try:
        found = load_run(run.path)
    except ValueError as error:
        assert str(error)
    else:
        assert all(isinstance(name, str) for name in found.classes)
        assert find_run(found.config, run.path.parent) in (None, found)


if LONG:  # it takes a minute, and atheris

    def test_files_made_by_a_fuzzer_do_no_harm():
        pytest.importorskip("atheris")  # an extra of its own: pip install '.[fuzz]'
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # several times as fast as a disk
        with tempfile.TemporaryDirectory(dir=memory) as place:
            done = subprocess.run(
                [sys.executable, ROOT / "tests/project/fuzz.py", "-max_total_time=60"],
                cwd=place,
                env=os.environ | {"TMPDIR": place, "PYTHONPATH": str(ROOT / "tests")},
                capture_output=True,
                text=True,
            )
        assert done.returncode == 0, done.stderr[-3000:]
        report(test="files made by a fuzzer", files=int(re.search(r"Done (\d+) runs", done.stderr)[1]))


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert len(rows) > 8
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named and set(named) <= tests, row


def test_many_trainings_leave_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path / "temporary"))

    def state():
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096, threading.active_count(), len(os.listdir("/proc/self/fd"))

    count, before = 50 if LONG else 12, None
    for seed in range(count):
        training.fit(replace(BASE, epochs=1, seed=seed), tmp_path, "cpu", progress=False)
        if seed == count // 5:
            before = state()  # by now everything lazy is loaded
    memory, threads, files = state()
    assert memory < 1.05 * before[0] and threads == before[1] and files == before[2]
    assert not leftovers(tmp_path)
    report(test="trainings in one process", count=count, memory_before=before[0], memory_after=memory)
