"""`labs update`: a clone and a zip come up to date, and nothing that a learner wrote is lost, whatever goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from labs_helper import cli
from labs_helper.course import update, update_clone
from labs_helper.course.release import HANDED_OUT
from labs_helper.errors import BadRequest, LabError

LAB, DEEP, OTHER = "notebooks/01-sample.ipynb", "docs/läuft 1.md", "README.md"


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def copies(folder: Path) -> dict[str, str]:
    """The learner's versions: the file that each is of, and its text."""
    return {
        path.relative_to(folder).as_posix().partition(".copy-")[0] + path.suffix: path.read_text("utf-8")
        for path in folder.rglob("*.copy-*")
        if ".git" not in path.parts
    }


def everything(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


# -- clones ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name, value in {"NAME": "A", "EMAIL": "a@example.org"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def author(tmp_path):
    """Where the course is written; `publish` commits."""
    folder = tmp_path / "author"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    publish(folder, {LAB: "one", DEEP: "one", OTHER: "one", ".gitignore": "ignored.txt\n*.copy-*\n"})
    return folder


def publish(folder, files, gone=()):
    write(folder, files)
    git(folder, "add", "-A", "-f", *files)
    if gone:
        git(folder, "rm", "-q", *gone)
    git(folder, "commit", "-q", "-m", "more")


@pytest.fixture
def clone(author, tmp_path):
    git(tmp_path, "clone", "-q", str(author), "clone")
    return tmp_path / "clone"


def test_an_untouched_clone_comes_up_to_date(author, clone):
    assert str(update.update(root=clone)) == "The course is up to date."
    publish(author, {LAB: "two", "new/file.txt": "new"}, gone=[OTHER])
    done = update.update(root=clone)
    assert set(done.changed) == {LAB, "new/file.txt", OTHER} and done.copies == ()
    assert (clone / LAB).read_text() == "two" and (clone / "new/file.txt").exists() and not (clone / OTHER).exists()
    assert git(clone, "rev-parse", "HEAD") == git(author, "rev-parse", "HEAD")
    assert git(clone, "status", "--porcelain") == ""


def test_what_a_learner_changed_is_kept_beside_it(author, clone):
    write(clone, {LAB: "mine", DEEP: "mine too", OTHER: "untouched by the update", "notes.txt": "my own"})
    publish(author, {LAB: "two", DEEP: "two"})
    done = update.update(root=clone)
    assert copies(clone) == {LAB: "mine", DEEP: "mine too"}
    assert (clone / LAB).read_text() == (clone / DEEP).read_text("utf-8") == "two"
    assert (clone / OTHER).read_text() == "untouched by the update" and (clone / "notes.txt").read_text() == "my own"
    assert all(str(copy) in str(done) for copy in done.copies) and "choose Revert" in str(done)


@pytest.mark.parametrize("staged", [False, True])
def test_files_of_mine_that_the_update_brings_too(author, clone, staged):
    write(clone, {"data/new.csv": "mine", "ignored.txt": "mine as well"})
    if staged:
        git(clone, "add", "data/new.csv")
    publish(author, {"data/new.csv": "theirs", "ignored.txt": "theirs"})
    update.update(root=clone)
    assert copies(clone) == {"data/new.csv": "mine", "ignored.txt": "mine as well"}
    assert (clone / "data/new.csv").read_text() == (clone / "ignored.txt").read_text() == "theirs"
    assert git(clone, "status", "--porcelain") == ""


def test_staged_and_deleted_files(author, clone):
    write(clone, {LAB: "staged"})
    git(clone, "add", LAB)
    (clone / OTHER).unlink()
    publish(author, {LAB: "two", OTHER: "two"})
    update.update(root=clone)
    assert copies(clone) == {LAB: "staged"}
    assert (clone / LAB).read_text() == (clone / OTHER).read_text() == "two"


def test_a_file_that_is_gone_in_the_update_stays_as_my_copy(author, clone):
    write(clone, {OTHER: "mine"})
    publish(author, {}, gone=[OTHER])
    update.update(root=clone)
    assert copies(clone) == {OTHER: "mine"} and not (clone / OTHER).exists()


def detached(author, clone):
    git(clone, "checkout", "-q", "--detach")
    return "on no branch"


def no_upstream(author, clone):
    git(clone, "switch", "-q", "-c", "my-own")
    return "follows no branch"


def own_commits(author, clone):
    publish(clone, {"mine.txt": "committed"})
    return "commits of its own"


def unfinished(author, clone):
    publish(clone, {DEEP: "committed"})
    subprocess.run(["git", "-C", str(clone), "pull", "-q", "--no-rebase"], capture_output=True, check=False)
    (clone / ".git/MERGE_HEAD").write_text(git(author, "rev-parse", "HEAD"))
    return "not finished"


def no_network(author, clone):
    author.rename(author.with_name("away"))
    return "could not be asked"


def no_git(author, clone):
    return "git is missing"


def a_folder_in_the_way(author, clone):
    (clone / "data/new.csv").mkdir(parents=True)
    write(clone, {"data/new.csv/inside.txt": "mine"})
    return "could not bring the new files in"


STATES = [detached, no_upstream, own_commits, unfinished, no_network, no_git, a_folder_in_the_way]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_whatever_is_in_the_way_is_a_sentence_and_nothing_changes(author, clone, state, monkeypatch):
    publish(author, {LAB: "two", DEEP: "two", "data/new.csv": "theirs"})
    words = state(author, clone)
    write(clone, {LAB: "mine"})
    if state is no_git:
        monkeypatch.setattr("shutil.which", lambda name: None)
    before, head = everything(clone), git(clone, "rev-parse", "HEAD")
    with pytest.raises(LabError, match=words) as caught:
        update.update(root=clone)
    assert caught.value.do
    assert everything(clone) == before and git(clone, "rev-parse", "HEAD") == head


@pytest.mark.parametrize("step", ["dated_copy", "merge"])
def test_a_full_disk_leaves_everything_as_it_was(author, clone, monkeypatch, step):
    publish(author, {LAB: "two", DEEP: "two"})
    write(clone, {LAB: "mine", DEEP: "mine too"})
    before = everything(clone)
    called = []
    real_copy, real_git = update_clone.dated_copy, update_clone._git  # private: there is no other way to fill a disk

    def full(*arguments):
        called.append(arguments)
        if len(called) == 2:
            raise OSError(28, "No space left on device")
        return real_copy(*arguments)

    def stuck(root, *words, **texts):
        if words[0] == "merge":
            raise LabError("git could not write.", "Make space.")
        return real_git(root, *words, **texts)

    monkeypatch.setattr(update_clone, *(("dated_copy", full) if step == "dated_copy" else ("_git", stuck)))
    with pytest.raises(LabError):
        update.update(root=clone)
    assert everything(clone) == before


def test_commits_of_my_own_and_nothing_new_is_up_to_date(author, clone):
    publish(clone, {"mine.txt": "committed"})
    assert update.update(root=clone).changed == ()


def test_a_clone_takes_no_file(clone, tmp_path):
    with pytest.raises(BadRequest, match="is a clone"):
        update.update(tmp_path / "any.zip", root=clone)


# -- zips -----------------------------------------------------------------------------------------------------------


def listed(files: dict[str, str]) -> dict[str, str]:
    return files | {HANDED_OUT: json.dumps({n: hashlib.sha256(t.encode()).hexdigest() for n, t in files.items()})}


def packed(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in listed(files).items() if HANDED_OUT not in files else files.items():
            archive.writestr(f"phi35-labs/{name}", text)
    return path


FIRST = {LAB: "one", DEEP: "one", OTHER: "one", "gone.md": "one", "same.md": "one"}
SECOND = {LAB: "two", DEEP: "two", OTHER: "two", "same.md": "one", "new/file.txt": "new"}


@pytest.fixture
def home(tmp_path):
    """A course that came as a zip."""
    folder = tmp_path / "course"
    write(folder, listed(FIRST))
    return folder


@pytest.fixture(params=["zip", "folder", "folder around it"])
def newer(request, tmp_path):
    if request.param == "zip":
        return packed(tmp_path / "newer.zip", SECOND)
    write(tmp_path / "newer/phi35-labs", listed(SECOND))
    return tmp_path / ("newer/phi35-labs" if request.param == "folder" else "newer")


def test_a_newer_zip_brings_its_files_and_keeps_mine(home, newer, monkeypatch, capsys):
    write(home, {LAB: "mine", "same.md": "mine, and the update has nothing new", "notes.txt": "my own"})
    monkeypatch.setenv("LABS_HOME", str(home))
    assert cli.main(["update", str(newer)]) == 0
    shown = capsys.readouterr().out
    assert copies(home) == {LAB: "mine"} and "Your versions are now:" in shown
    kept = {"same.md": "mine, and the update has nothing new", "notes.txt": "my own"}
    after = {name: text for name, text in everything(home).items() if ".copy-" not in name}
    assert after == listed(SECOND) | kept
    assert cli.main(["update", str(newer)]) == 0
    assert "up to date" in capsys.readouterr().out and len(copies(home)) == 1


def test_a_file_of_mine_where_the_update_has_one_is_kept(home, newer):
    write(home, {"new/file.txt": "mine", "gone.md": "mine"})
    update.update(newer, root=home)
    assert copies(home) == {"new/file.txt": "mine"} and (home / "gone.md").read_text() == "mine"


def test_without_a_list_each_file_that_differs_is_kept(home, newer):
    (home / HANDED_OUT).unlink()
    update.update(newer, root=home)
    assert copies(home) == {LAB: "one", DEEP: "one", OTHER: "one"} and (home / LAB).read_text() == "two"


def test_an_update_that_broke_off_goes_on(home, newer, monkeypatch):
    write(home, {LAB: "mine"})
    calls = []
    from labs_helper.course import update_zip

    real = update_zip.write_whole

    def full(path, content):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(update_zip, "write_whole", full)
        with pytest.raises(LabError, match="No space left"):
            update.update(newer, root=home)
    update.update(newer, root=home)
    assert copies(home) == {LAB: "mine"}
    assert {name: text for name, text in everything(home).items() if ".copy-" not in name} == listed(SECOND)


def cut_off(path):
    packed(path, SECOND)
    path.write_bytes(path.read_bytes()[:-200])


def changed_inside(path):
    packed(path, listed(SECOND) | {OTHER: "somebody changed it"})


def a_part_is_missing(path):
    packed(path, {name: text for name, text in listed(SECOND).items() if name != OTHER})


def something_else(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday/picture.txt", "beach")


def no_zip(path):
    path.write_text("hello")


def out_of_the_folder(path):
    packed(path, {**SECOND, "../outside.txt": "evil"})


def out_of_windows(path):
    packed(path, {**SECOND, "C:\\outside.txt": "evil"})


def an_absolute_name(path):
    packed(path, {**SECOND, "/tmp/outside.txt": "evil"})


def not_there(path):
    pass


BROKEN = [cut_off, changed_inside, a_part_is_missing, something_else, no_zip, out_of_the_folder, out_of_windows]
BROKEN += [an_absolute_name, not_there]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_zip_that_is_not_whole_changes_nothing(home, tmp_path, broken):
    write(home, {LAB: "mine"})
    path, before = tmp_path / "newer.zip", everything(home)
    broken(path)
    outside = set(tmp_path.iterdir())
    with pytest.raises(BadRequest) as caught:
        update.update(path, root=home)
    assert caught.value.do and everything(home) == before and set(tmp_path.iterdir()) == outside


def test_without_a_zip_it_says_what_to_get(home, monkeypatch, capsys):
    monkeypatch.setenv("LABS_HOME", str(home))
    assert cli.main(["update"]) == 1
    assert "labs update FILE.zip" in capsys.readouterr().err


def test_packages_that_changed_are_told(home, tmp_path):
    newer = packed(tmp_path / "n.zip", {**SECOND, "pyproject.toml": "two"})
    assert "make lab" in str(update.update(newer, root=home))
