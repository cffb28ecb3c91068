"""Downloads, against a server on the loopback: resumed, verified, unpacked inside their folder."""

import io
import os
import sys
import tarfile
import threading
import time
import zipfile

import pytest
import torch
from filelock import FileLock
from imagesets import LIKE
from loopback import picture, tar, zipped

from ood_helpers import data


def lsun(count=4):
    return tar({f"LSUN_resize/LSUN_resize/{i}.png": picture() for i in range(count)})


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_set_is_downloaded_once(server, offer, tmp_path):
    offer("lsun_resize", lsun())
    first = data.load_ood("lsun_resize", LIKE, tmp_path)
    second = data.load_ood("lsun_resize", LIKE, tmp_path)
    assert torch.equal(first.images, second.images) and server.asked == [None]
    assert names(tmp_path) == [
        ".lock",
        "lsun_resize/LSUN_resize.tar.gz",
        *(f"lsun_resize/unpacked/LSUN_resize/LSUN_resize/{i}.png" for i in range(4)),
    ]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_resumed(ranges, server, offer, tmp_path):
    offer("lsun_resize", lsun())
    server.cut, server.ranges = 1000, ranges
    total = len(server.content)
    with pytest.raises(FileNotFoundError) as caught:
        data.load_ood("lsun_resize", LIKE, tmp_path)
    message = str(caught.value)
    assert f"lsun_resize could not be downloaded (the connection broke after 1000 of {total} bytes" in message
    assert "LSUN_resize.tar.gz elsewhere and put it into" in message and "\n" not in message
    assert names(tmp_path) == [".lock", "lsun_resize/LSUN_resize.tar.gz.part"]
    server.cut = None
    assert len(data.load_ood("lsun_resize", LIKE, tmp_path).images) == 4
    assert server.asked == [None, "bytes=1000-"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("old", [b"the beginning of another file", "longer", "complete"])
def test_a_partial_download_of_another_file_is_discarded(old, server, offer, tmp_path):
    content = lsun()
    offer("lsun_resize", content)
    part = tmp_path / "lsun_resize" / "LSUN_resize.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes({"longer": content + b"more", "complete": content}.get(old, old))
    assert len(data.load_ood("lsun_resize", LIKE, tmp_path).images) == 4
    assert [asked is None for asked in server.asked] == ([] if old == "complete" else [False, True])


def test_a_wrong_checksum_leaves_nothing(offer, tmp_path):
    offer("lsun_resize", lsun(), md5="0" * 32)
    with pytest.raises(FileNotFoundError, match=r"\(the file at http://.* has the wrong MD5, expected 0000"):
        data.load_ood("lsun_resize", LIKE, tmp_path / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_is_one_sentence_and_leaves_nothing(status, server, offer, tmp_path):
    offer("tiny_imagenet", b"")
    server.status = status
    sentence = (
        rf"tiny_imagenet could not be downloaded \(HTTP Error {status}: .*\); without a network, "
        "fetch http://.*tiny-imagenet-200.zip elsewhere and put it into"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        data.load_ood("tiny_imagenet", LIKE, tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_no_network_says_what_to_put_where_and_that_is_then_used(server, offer, tmp_path):
    content = lsun()
    offer("lsun_resize", content)
    server.shutdown()
    server.server_close()
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*refused.*put it into") as caught:
        data.load_ood("lsun_resize", LIKE, tmp_path)
    file = tmp_path / "lsun_resize" / "LSUN_resize.tar.gz"
    assert str(caught.value).endswith(str(file.parent))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content[:-1])
    with pytest.raises(FileNotFoundError, match=r"the existing LSUN_resize.tar.gz has the wrong MD5"):
        data.load_ood("lsun_resize", LIKE, tmp_path)
    assert file.read_bytes() == content[:-1]  # the user's own file is theirs to delete
    file.write_bytes(content)
    assert len(data.load_ood("lsun_resize", LIKE, tmp_path).images) == 4


def test_leftovers_of_a_killed_process_are_not_used(offer, tmp_path):
    offer("lsun_resize", lsun())
    half = tmp_path / "lsun_resize" / ".unpacked.part" / "LSUN_resize"
    half.mkdir(parents=True)
    (half / "other.png").write_bytes(picture())
    assert len(data.load_ood("lsun_resize", LIKE, tmp_path).images) == 4 and not half.exists()


def test_two_at_once_download_once_and_the_second_says_that_it_waits(server, offer, tmp_path, capfd):
    offer("lsun_resize", lsun())
    loaded = []
    with FileLock(tmp_path / ".lock"):
        threads = [
            threading.Thread(target=lambda: loaded.append(data.load_ood("lsun_resize", LIKE, tmp_path)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        deadline, shown = time.monotonic() + 30, ""
        while shown.count("waiting for another process, which prepares files in") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            sys.stderr.flush()
            shown += capfd.readouterr().err
        assert not loaded and not server.asked
    for thread in threads:
        thread.join()
    assert len(loaded) == 2 and server.asked == [None]


# Archives that would write elsewhere

OUTSIDE = {
    "up.tar.gz": tar({"LSUN/a.png": picture(), "LSUN/../../../evil.png": b"x"}),
    "root.tar.gz": tar({"LSUN/a.png": picture(), "/evil.png": b"x"}),
    "link.tar.gz": tar({"LSUN": {"type": tarfile.SYMTYPE, "linkname": ".."}, "LSUN/evil.png": b"x"}),
    "hard.tar.gz": tar({"LSUN/a.png": {"type": tarfile.LNKTYPE, "linkname": "../../evil.png"}}),
    "device.tar": tar({"LSUN/a.png": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}}, "w"),
    "pipe.tar": tar({"LSUN/a.png": {"type": tarfile.FIFOTYPE}}, "w"),
    "up.zip": zipped({"LSUN/a.png": picture(), "LSUN/../../../evil.png": b"x"}),
    "root.zip": zipped({"LSUN/a.png": picture(), "/evil.png": b"x"}),
}


@pytest.mark.parametrize("file", OUTSIDE)
def test_an_archive_cannot_write_outside_its_folder(file, offer, tmp_path):
    root = tmp_path / "one" / "two"
    offer("lsun_resize", OUTSIDE[file], file=file)
    with pytest.raises(ValueError, match=f"{file}' contains '.*', which is not a plain file inside it; it is not"):
        data.load_ood("lsun_resize", LIKE, root)
    assert names(tmp_path) == ["one/two/.lock", f"one/two/lsun_resize/{file}"]
    assert not os.path.exists("/evil.png")


def test_a_links_target_in_a_zip_is_only_text(offer, tmp_path):
    link = zipfile.ZipInfo("LSUN/link.png")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO(zipped({"LSUN/a.png": picture()}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    offer("lsun_resize", buffer.getvalue(), file="a.zip")
    with pytest.warns(UserWarning, match="skipped 1 of 2 files"):
        assert len(data.load_ood("lsun_resize", LIKE, tmp_path).images) == 1
    written = tmp_path / "lsun_resize" / "unpacked" / "LSUN" / "link.png"
    assert not written.is_symlink() and written.read_text() == "/etc/passwd"
