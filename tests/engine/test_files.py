"""A file or directory is the old one or the new one, never a part of it; a lock is held by one living process."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ood_helpers.engine.files import atomic_directory, atomic_write, locked


def fail(*_):
    raise KeyboardInterrupt


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "file"
    for content, expected in (("Größe", "Größe".encode()), (b"\0\1", b"\0\1")):
        atomic_write(path, content)
        assert path.read_bytes() == expected and os.listdir(path.parent) == ["file"]


def test_an_interrupted_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_write(path, "old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_a_directory_appears_complete_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_directory(path) as staging:
            (staging / "inner").mkdir()
            (staging / "inner" / content).write_text(content)
            assert not (path / "inner" / content).exists()
        assert [file.name for file in path.rglob("*")] == ["inner", content] and os.listdir(tmp_path) == ["folder"]


def test_an_error_while_a_directory_is_filled_leaves_the_old_one(tmp_path):
    path = tmp_path / ".hidden"
    with atomic_directory(path) as staging:
        (staging / "old").touch()
    with pytest.raises(KeyError), atomic_directory(path) as staging:
        (staging / "new").touch()
        raise KeyError
    assert os.listdir(path) == ["old"] and os.listdir(tmp_path) == [".hidden"]


@pytest.mark.slow
def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    script = "import os, sys; from ood_helpers.engine.files import atomic_directory\n"
    script += "with atomic_directory(sys.argv[1]): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "folder"]).returncode == 9
    (leftover,) = tmp_path.iterdir()
    (leftover / "half").touch()
    with atomic_directory(tmp_path / "folder") as staging:
        assert not list(staging.iterdir())
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.slow
@pytest.mark.parametrize("renames", [0, 1])
def test_a_process_killed_while_it_replaces_a_directory_loses_nothing(renames, tmp_path):
    path = tmp_path / "folder"
    with atomic_directory(path) as staging:
        (staging / "old").touch()
    script = """if True:
        import os, sys
        from ood_helpers.engine.files import atomic_directory
        done, replace = [], os.replace
        def rename(*paths):
            if len(done) == int(sys.argv[2]):
                os._exit(9)
            done.append(replace(*paths))
        os.replace = rename
        with atomic_directory(sys.argv[1]) as staging:
            (staging / "new").touch()"""
    assert subprocess.run([sys.executable, "-c", script, path, str(renames)]).returncode == 9
    with pytest.raises(KeyError), atomic_directory(path):
        raise KeyError
    assert os.listdir(path) == ["old"] and os.listdir(tmp_path) == ["folder"]


def test_a_directory_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path, replace = tmp_path / "folder", os.replace
    with atomic_directory(path) as staging:
        (staging / "old").touch()
    monkeypatch.setattr(
        os, "replace", lambda source, target: (fail if source.suffix == ".part" else replace)(source, target)
    )
    with pytest.raises(KeyboardInterrupt), atomic_directory(path):
        pass
    assert os.listdir(path) == ["old"] and os.listdir(tmp_path) == ["folder"]


def test_everything_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    flushed, renamed, fsync, replace = set(), [], os.fsync, os.replace

    def recording_fsync(descriptor):
        flushed.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def checked_replace(source, target):
        assert {source, *source.rglob("*")} <= flushed
        flushed.clear()
        replace(source, target)
        renamed.append(target.name)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", checked_replace)
    atomic_write(tmp_path / "file", "content")
    assert flushed == {tmp_path}
    with atomic_directory(tmp_path / "folder") as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "file").write_text("content")
    assert flushed == {tmp_path} and renamed == ["file", "folder"]


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    inner, message = tmp_path / "file" / "inner", "cannot be written: (Not a directory|File exists); free some space"
    with pytest.raises(OSError, match=message):
        atomic_write(inner, "")
    with pytest.raises(OSError, match=message), atomic_directory(inner):
        pass
    with pytest.raises(OSError, match=message), locked(inner, "waiting"):
        pass


@pytest.mark.slow
def test_a_lock_is_waited_for_until_its_process_dies(tmp_path, capsys):
    script = (
        "import sys, time; from ood_helpers.engine.files import locked\n"
        "with locked(sys.argv[1], ''): print('held', flush=True), time.sleep(600)"
    )
    with locked(tmp_path / "lock", "waiting for nobody"):
        assert "waiting" not in capsys.readouterr().err
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "lock"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    threading.Timer(0.3, process.kill).start()
    with locked(tmp_path / "lock", "waiting for another process"):
        assert process.wait() == -9
    assert "waiting for another process" in capsys.readouterr().err
    process.stdout.close()
