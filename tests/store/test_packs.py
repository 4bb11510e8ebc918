"""Packs: every broken kind is refused with its own reason, and nothing is left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from labs_helper import catalog, cli, store
from labs_helper.common import files, platforms
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, LabError, ModelNotHere, NotEnoughDisk
from labs_helper.store import manifest, staging
from labs_helper.store.manifest import Manifest
from labs_helper.store.places import destination

NAME = "phi-3.5-mini-instruct-4bit"
CARD = catalog.find(NAME)[0]


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "models"


@pytest.fixture
def installed(tiny_checkpoint, models) -> Path:
    """The model of a user who copied the files by hand: no manifest, and code that must not travel."""
    path = Path(shutil.copytree(tiny_checkpoint, models / NAME))
    (path / "modeling_phi3.py").write_text("raise SystemExit('never run')")
    return path


@pytest.fixture
def pack(installed, tmp_path) -> Path:
    """A good pack in a folder; the model itself is gone."""
    (tmp_path / "stick").mkdir()
    made = store.export(NAME, tmp_path / "stick", progress=False)
    shutil.rmtree(installed)
    return made


def refusal(pack: Path, kind=CheckpointRefused) -> str:
    with pytest.raises(kind) as caught:
        store.import_pack(pack, progress=False)
    assert caught.value.do
    assert not destination(CARD).exists(), "nothing half-written can be used"
    assert not files.part_folder(destination(CARD)).exists(), "and nothing is left lying about"
    return str(caught.value)


def retar(pack: Path, tar: Path, change=lambda members: members) -> Path:
    """A tar file of a pack's files, as [(TarInfo, content)] changed by a test."""
    members = []
    for file in sorted(pack.iterdir()):
        member = tarfile.TarInfo(f"{NAME}/{file.name}")
        member.size = file.stat().st_size
        members.append((member, file.read_bytes()))
    with tarfile.open(tar, "w") as out:
        for member, content in change(members):
            out.addfile(member, io.BytesIO(content))
    return tar


def edit(pack: Path, change) -> None:
    file = pack / manifest.NAME
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


@pytest.mark.parametrize("as_tar", [False, True])
def test_there_and_back(installed, tmp_path, as_tar):
    before = {file.name: file.read_bytes() for file in installed.iterdir() if file.suffix != ".py"}
    (tmp_path / "stick").mkdir()
    target = tmp_path / "stick" / ("phi.tar" if as_tar else "")
    made = store.export(NAME, target, progress=False)
    assert made == (target if as_tar else tmp_path / "stick" / NAME)
    assert [each.name for each in (tmp_path / "stick").iterdir()] == [made.name]
    store.remove(NAME)
    path = store.import_pack(made, progress=False)
    assert path == store.locate(CARD)
    after = {file.name: file.read_bytes() for file in path.iterdir() if file.name != manifest.NAME}
    assert after == before, "every data file, and no code"
    assert "SHA-256" in store.check(NAME, progress=False)
    assert store.import_pack(made, progress=False) == path, "the same pack again changes nothing"


def test_the_same_model_gives_the_same_tar(installed, tmp_path):
    one = store.export(NAME, tmp_path / "one.tar", progress=False).read_bytes()
    assert one == store.export(NAME, tmp_path / "two.tar", progress=False).read_bytes()


def test_a_bundled_model_is_neither_exported_nor_imported(pack, tmp_path):
    with pytest.raises(BadRequest, match="part of the course"):
        store.export("instruct-tiny", tmp_path, progress=False)
    assert not (tmp_path / "instruct-tiny").exists()
    listing = pack / manifest.NAME
    listing.write_text(listing.read_text("utf-8").replace(NAME, "instruct-tiny"), "utf-8")
    assert "not a model that this course imports" in refusal(pack.rename(tmp_path / "instruct-tiny"))


def test_export_into_wrong_places(installed, tmp_path):
    with pytest.raises(BadRequest, match="no folder"):
        store.export(NAME, tmp_path / "missing" / "place", progress=False)
    (tmp_path / NAME).mkdir()
    with pytest.raises(BadRequest, match="there already"):
        store.export(NAME, tmp_path, progress=False)
    with pytest.raises(ModelNotHere, match="labs models fetch"):
        store.export("phi-3.5-mini-instruct-8bit", tmp_path, progress=False)


def test_export_to_a_file_or_into_one(installed, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"file is a file.*ends in \.tar"):
        store.export(NAME, tmp_path / "file", progress=False)
    with pytest.raises(BadRequest, match="no folder"):
        store.export(NAME, tmp_path / "file" / "place", progress=False)


def test_export_to_a_stick_that_may_not_be_written(installed, tmp_path, monkeypatch):
    def refused(self, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DownloadFailed, match="cannot be made: Permission denied"):
        store.export(NAME, tmp_path / "place", progress=False)


def test_a_model_that_changed_since_its_manifest_is_not_exported(pack, tmp_path):
    path = store.import_pack(pack, progress=False)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    for target in (tmp_path / "out.tar", tmp_path / "out"):
        with pytest.raises(CheckpointRefused, match="damaged"):
            store.export(NAME, target, progress=False)
    assert not (tmp_path / "out.tar").exists() and not list((tmp_path / "out").iterdir())


def test_a_fat32_stick(installed, tmp_path, monkeypatch):
    def too_large(*arguments):
        raise OSError(27, "File too large")

    monkeypatch.setattr("labs_helper.store.packs._copy", too_large)
    with pytest.raises(LabError, match="exFAT"):
        store.export(NAME, tmp_path, progress=False)
    assert not (tmp_path / NAME).exists()


def test_disks_are_looked_at_first(pack, installed_again, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, staging.SPARE + 1000))
    with pytest.raises(NotEnoughDisk):
        store.export(NAME, tmp_path / "more", progress=False)
    shutil.rmtree(installed_again)
    assert "GB can be used" in refusal(pack, NotEnoughDisk)


@pytest.fixture
def installed_again(pack, tiny_checkpoint, models) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, models / NAME))


@pytest.mark.parametrize(("number", "said"), [(28, "became full"), (5, "could not be read or written")])
def test_a_disk_that_fails_in_the_middle(pack, monkeypatch, number, said):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("labs_helper.store.packs._copy", fail)
    assert said in refusal(pack, LabError)


def test_another_model_of_that_name_is_not_replaced(pack, installed_again):
    with pytest.raises(BadRequest, match="labs models remove"):
        store.import_pack(pack, progress=False)


def test_what_the_finder_leaves_on_sticks_is_ignored(pack):
    for name in ("._model.safetensors", ".DS_Store", "Thumbs.db"):
        (pack / name).write_bytes(b"litter")
    path = store.import_pack(pack, progress=False)
    assert not list(path.glob(".*")) and not (path / "Thumbs.db").exists()


# -- broken packs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("modeling_phi3.py", "not data"),
        ("run.sh", "not data"),
        ("pytorch_model.bin", "not data"),
        (".hidden.json", "not data"),
        ("extra.json", "not in its manifest"),
        ("lib.so", "not data"),
    ],
)
def test_files_that_do_not_belong(pack, name, said):
    (pack / name).write_text("{}")
    assert said in refusal(pack)


def test_a_missing_file(pack):
    (pack / "tokenizer.json").unlink()
    assert "tokenizer.json is missing" in refusal(pack)


def test_a_wrong_size(pack):
    with (pack / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert "should have" in refusal(pack)


def test_a_wrong_sum(pack):
    weights = pack / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert "model.safetensors is damaged" in refusal(pack)


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["link out", "link in", "folder", "pipe"])
def test_things_that_are_not_files(pack, tmp_path, kind):
    target = pack / "model.safetensors"
    if kind == "link out":
        target.rename(tmp_path / "elsewhere")
        target.symlink_to(tmp_path / "elsewhere")
    elif kind == "link in":
        (pack / "config.json").rename(pack / "other.json")
        (pack / "config.json").symlink_to("other.json")
    elif kind == "folder":
        (pack / "more.json").mkdir()
    else:
        os.mkfifo(pack / "pipe.json")
    assert "only plain files" in refusal(pack)


def test_a_checkpoint_that_asks_for_code(pack):
    config = json.loads((pack / "config.json").read_text())
    (pack / "config.json").write_text(json.dumps({**config, "model_file": "evil.py"}))
    (pack / manifest.NAME).write_text(Manifest.of(pack, NAME).text())
    assert "model_file" in refusal(pack)


def test_weights_that_are_not_weights(pack):
    (pack / "model.safetensors").write_bytes(b"\x80\x04pickle" * 10)
    (pack / manifest.NAME).write_text(Manifest.of(pack, NAME).text())
    assert "not a whole safetensors file" in refusal(pack)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(name="../../etc"), "unusable model name"),
        (lambda m: m.update(name="evil"), "not a model that this course imports"),
        (lambda m: m.update(name="instruct-tiny"), "not a model that this course imports"),
        (lambda m: m.update(format="other"), "format"),
        (lambda m: m.update(files=[]), "lists 0 files"),
        (lambda m: m.update(files="abc"), "cannot be read"),
        (lambda m: m.update(repository="a\nb"), "origin"),
        (lambda m: m.update(more=1), "cannot be read"),
        (lambda m: m["files"][0].update(name="../config.json"), "not part of a model"),
        (lambda m: m["files"][0].update(name="/etc/passwd.json"), "not part of a model"),
        (lambda m: m["files"][0].update(name="a.py"), "not part of a model"),
        (lambda m: m["files"][0].update(name=manifest.NAME), "not part of a model"),
        (lambda m: m["files"][0].update(name=3), "not part of a model"),
        (lambda m: m["files"].append({**m["files"][0], "name": m["files"][0]["name"].upper()}), "not part|twice"),
        (lambda m: m["files"][0].update(size=-1), "size"),
        (lambda m: m["files"][0].update(size=True), "size"),
        (lambda m: m["files"][0].update(size=10**40), "size"),
        (lambda m: m["files"][0].update(sha256="0" * 63), "sum"),
        (lambda m: m["files"][0].update(sha256="0" * 64), "damaged"),
    ],
)
def test_manifests_that_lie(pack, change, said):
    import re

    edit(pack, change)
    assert re.search(said, refusal(pack))


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"[]", b"\xff\xfe", b" " * 2_000_000])
def test_manifests_that_are_none(pack, text):
    (pack / manifest.NAME).write_bytes(text)
    assert "manifest" in refusal(pack)


def test_folders_and_files_that_are_no_packs(pack, tmp_path, models):
    (pack / manifest.NAME).unlink()
    assert "not a pack" in refusal(pack, ModelNotHere)
    assert "There is no pack" in refusal(tmp_path / "nothing", BadRequest)
    (tmp_path / "some.tar").write_bytes(b"not a tar file" * 100)
    assert "not a plain tar" in refusal(tmp_path / "some.tar")


# -- broken tar files -------------------------------------------------------------------------------------


def named(name: str, **fields) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, b""


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (named("../../escaped.json"), "leads out"),
        (named("/absolute.json"), "leads out"),
        (named(f"{NAME}/../up.json"), "leads out"),
        (named(f"{NAME}/deep/file.json"), "leads out"),
        (named(f"{NAME}\\..\\up.json"), "leads out"),
        (named(f"{NAME}/l.json", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link"),
        (named(f"{NAME}/l.json", type=tarfile.LNKTYPE, linkname=f"{NAME}/config.json"), "a link"),
        (named(f"{NAME}/d.json", type=tarfile.CHRTYPE), "a device"),
        (named(f"{NAME}/p.json", type=tarfile.FIFOTYPE), "a device"),
        (named(f"{NAME}/s.json", type=tarfile.GNUTYPE_SPARSE), "a device|damaged"),
        (named(f"{NAME}/config.json"), "twice"),
        (named("other/extra.json"), "more than one folder"),
        (named(f"{NAME}/evil.py"), "not data"),
        (named(f"{NAME}/extra.json"), "not in its manifest"),
    ],
)
def test_members_that_do_not_belong(pack, tmp_path, extra, said):
    import re

    tar = retar(pack, tmp_path / "pack.tar", lambda members: [*members, extra])
    assert re.search(said, refusal(tar))
    assert not (tmp_path / "escaped.json").exists()


def test_a_good_tar_from_another_tool(pack, tmp_path):
    tar = retar(
        pack,
        tmp_path / "pack.tar",
        lambda members: [named(NAME, type=tarfile.DIRTYPE), *members, named(f"{NAME}/._config.json")],
    )
    assert store.import_pack(tar, progress=False) == store.locate(CARD)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_a_tar_that_is_cut_short(pack, tmp_path, share):
    data = retar(pack, tmp_path / "pack.tar").read_bytes()
    (tmp_path / "pack.tar").write_bytes(data[: int(len(data) * share)])
    refusal(tmp_path / "pack.tar", LabError)


def test_a_compressed_tar_is_not_unpacked(pack, tmp_path):
    with tarfile.open(tmp_path / "pack.tar", "w:gz") as out:
        out.add(pack, NAME)
    assert "compressed" in refusal(tmp_path / "pack.tar")


def test_a_tar_of_thousands_of_files(pack, tmp_path):
    more = [named(f"{NAME}/{number}.json") for number in range(4000)]
    assert "thousands" in refusal(retar(pack, tmp_path / "pack.tar", lambda members: more + members))


# -- the command ------------------------------------------------------------------------------------------


def test_the_commands(installed, tmp_path, capsys):
    (tmp_path / "stick").mkdir()
    assert cli.main(["models", "export", NAME, str(tmp_path / "stick")]) == 0
    assert cli.main(["models", "remove", NAME]) == 0
    assert cli.main(["models", "import", str(tmp_path / "stick" / NAME)]) == 0
    assert cli.main(["models", "verify", NAME]) == 0
    assert cli.main(["models", "list"]) == 0
    shown = capsys.readouterr().out
    for said in ("Written: ", "Removed; ", "Ready: ", "sums of its"):
        assert said in shown
    assert [line.split()[3] for line in shown.splitlines() if line.startswith(NAME + " ")][-1] == "yes"
    assert cli.main(["models", "import", str(tmp_path / "stick")]) == 1
    assert f"It holds packs: name one of {NAME}" in capsys.readouterr().err


def test_fetch_says_which_model_a_role_is(installed, capsys, monkeypatch):
    monkeypatch.setattr(platforms, "has_mlx_gpu", lambda: True)
    assert cli.main(["models", "fetch", "instruct"]) == 0
    assert capsys.readouterr().out.startswith(f"instruct: {NAME}.\n")
    assert cli.main(["models", "fetch", NAME]) == 0
    assert capsys.readouterr().out.startswith("Ready: ")


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["one long header", "many headers", "a long name"])
def test_headers_are_read_within_a_bound(pack, tmp_path, kind):
    """tarfile reads a header into memory, whatever length it names: here 2 GB in all, in a file of a few kB."""
    import resource

    tar, length, count = tmp_path / "bad.tar", 2**31, 1
    if kind == "many headers":
        length, count = 2**23, 256
    with tar.open("wb") as file:
        for _number in range(count):
            header = tarfile.TarInfo("pax")
            header.type = tarfile.GNUTYPE_LONGNAME if kind == "a long name" else tarfile.XHDTYPE
            header.size = length
            file.write(header.tobuf(tarfile.USTAR_FORMAT if kind != "a long name" else tarfile.GNU_FORMAT))
            file.truncate(file.tell() + length)  # a hole: it costs no disk
            file.seek(0, 2)
            member = tarfile.TarInfo(f"{NAME}/config.json")
            file.write(member.tobuf())
        file.write(bytes(1024))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "headers are too long" in refusal(tar)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1024 if sys.platform == "linux" else 1) < 100e6


@pytest.mark.posix
def test_an_export_that_was_killed_goes_on_with_a_clean_start(installed, tmp_path):
    """SIGKILL leaves the part; the next export to that place takes it away."""
    (tmp_path / "stick").mkdir()
    part = files.part_folder(tmp_path / "stick" / NAME)
    part.mkdir()
    (part / "half").write_bytes(b"x")
    made = store.export(NAME, tmp_path / "stick", progress=False)
    assert list((tmp_path / "stick").iterdir()) == [made] and not (made / "half").exists()
