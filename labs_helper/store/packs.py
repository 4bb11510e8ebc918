"""Models on a stick: a pack is a folder, or one tar file, with the model's files and a manifest of their sums.

A pack comes from somebody else's hands, so nothing in it is believed: it may hold plain files with known names, the
ones its manifest lists and no other, and each must have its size and sum. The sums find damage; whether the person
who made the pack can be trusted is for people to say. Nothing in a pack is ever run.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, ModelNotHere
from labs_helper.store import checkpoint, manifest, staging
from labs_helper.store.places import locate, real_card
from labs_helper.store.supply import progress_bar

_CHUNK = 2**20
_MOST_MEMBERS = 3000


# -- export -----------------------------------------------------------------------------------------------


def export(name: str, destination: str | Path, progress: bool = True) -> Path:
    """Write a model as a pack. Returns the pack.

    name: a catalog name or role; bundled models can be exported too.
    destination: a folder, in which the folder NAME is made, or a new file that ends in .tar.
    Raises ModelNotHere, CheckpointRefused, BadRequest, NotEnoughDisk, or DownloadFailed if the disk fails.

    Example:
        export("phi-3.5-mini-instruct-4bit", "/Volumes/STICK")
        export("phi-3.5-mini-instruct-4bit", "phi.tar")
    """
    card = catalog.find(name)[0] if name in {card.name for card in catalog.cards()} else real_card(name)
    path = locate(card)
    checkpoint.verify(path, ships_code=card.ships_code)
    destination = Path(destination).expanduser()
    as_tar = destination.suffix.lower() == ".tar"
    target = destination if as_tar else destination / card.name
    if target.exists():
        raise BadRequest(f"{target} is there already.", "Delete it first, or choose another destination.")
    if not (target.parent if as_tar else destination.parent).is_dir():
        raise BadRequest(f"There is no folder {destination.parent}.", "Make it first, or check the name of the stick.")
    target.parent.mkdir(exist_ok=True)
    made = manifest.Manifest.read(path)
    if made is None:
        with progress_bar(_data_bytes(path), "computing sums", progress) as bar:
            made = manifest.Manifest.of(path, card.name, card.repository, on_bytes=bar.update)
    staging.need_disk(target.parent, made.bytes, f"The pack of {card.name}")
    part = target.with_name(f".{target.name}.part")
    _clear(part)
    try:
        with progress_bar(made.bytes, f"{card.name} -> {target}", progress) as bar:
            (_write_tar if as_tar else _write_folder)(path, part, made, bar.update)
        part.rename(target)
    except OSError as error:
        if error.errno == errno.EFBIG:
            why, do = "its file system holds no files over 4 GB (FAT32)", "Format the stick as exFAT."
        else:
            why, do = error.strerror or str(error), "Try again, or take another disk."
        raise DownloadFailed(f"{target} could not be written: {why}.", do) from error
    finally:
        _clear(part)
    return target


def _data_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if manifest.is_data(file.name))


def _write_folder(path: Path, part: Path, made: manifest.Manifest, on_bytes: Callable) -> None:
    part.mkdir()
    for file in made.files:
        with (path / file.name).open("rb") as source, (part / file.name).open("wb") as sink:
            _copy(source, sink, file, on_bytes)
            sink.flush()
            os.fsync(sink.fileno())  # people pull sticks out as soon as the bar is full
    (part / manifest.NAME).write_text(made.text(), encoding="utf-8")


def _write_tar(path: Path, part: Path, made: manifest.Manifest, on_bytes: Callable) -> None:
    with part.open("wb") as opened, tarfile.open(fileobj=opened, mode="w", format=tarfile.PAX_FORMAT) as tar:
        text = made.text().encode()
        tar.addfile(_member(made.name, manifest.NAME, len(text)), io.BytesIO(text))
        for file in made.files:
            with (path / file.name).open("rb") as source:
                reader = _Reader(source, on_bytes)
                tar.addfile(_member(made.name, file.name, file.size), reader)
                reader.check(file)
        tar.close()
        opened.flush()
        os.fsync(opened.fileno())


def _member(folder: str, name: str, size: int) -> tarfile.TarInfo:
    # No owner, no time: the same model gives the same pack, and nobody's account name travels with it.
    member = tarfile.TarInfo(f"{folder}/{name}")
    member.size, member.mode = size, 0o644
    return member


class _Reader:
    """A file that is told to tarfile, summed while it is read."""

    def __init__(self, source: BinaryIO, on_bytes: Callable):
        self.source, self.on_bytes, self.digest = source, on_bytes, sha256()

    def read(self, count: int) -> bytes:
        data = self.source.read(count)
        self.digest.update(data)
        self.on_bytes(len(data))
        return data

    def check(self, file: manifest.File) -> None:
        if self.digest.hexdigest() != file.sha256:
            raise _damaged(file)


# -- import -----------------------------------------------------------------------------------------------


def import_pack(pack: str | Path, progress: bool = True) -> Path:
    """Take a model from a pack into the models folder. Returns its folder there.

    pack: a folder or .tar file that `export` wrote.
    Raises BadRequest, CheckpointRefused with the reason, or NotEnoughDisk. After an error nothing has changed.

    Example:
        import_pack("/Volumes/STICK/phi-3.5-mini-instruct-4bit")
    """
    pack = Path(pack).expanduser()
    with staging.disk_errors(f"The pack {pack}"), ExitStack() as stack:
        if pack.is_dir():
            made, files = stack.enter_context(_open_folder(pack))
        elif pack.is_file():
            made, files = stack.enter_context(_open_tar(pack))
        else:
            raise BadRequest(f"There is no pack {pack}.", "Check the path, and whether the stick is in.")
        card = _card(made, pack)
        place = staging.final_place(card.name)
        if place.exists():
            if manifest.Manifest.read(place) == made:
                return place
            raise BadRequest(
                f"{card.name} is in {place} already.", f"Run `labs models remove {card.name}` first to replace it."
            )
        with staging.staging(card.name) as folder:
            for left in folder.iterdir():
                left.unlink()
            try:
                staging.need_disk(folder, made.bytes, card.name)
                with progress_bar(made.bytes, card.name, progress) as bar:
                    for file in made.files:
                        with files(file.name) as source, (folder / file.name).open("xb") as sink:
                            _copy(source, sink, file, bar.update)
                return staging.install(folder, card, made)
            except BaseException:  # Ctrl-C included: an import starts anew, so nothing of it is kept
                shutil.rmtree(folder)
                raise


def _card(made: manifest.Manifest, pack: Path) -> ModelCard:
    known = {card.name: card for card in catalog.cards()}
    card = known.get(made.name)
    if card is None or card.tier != "real":
        real = ", ".join(name for name, each in known.items() if each.tier == "real")
        raise CheckpointRefused(
            f"The pack {pack} holds {made.name!r}, which is not a model that this course imports.",
            f"It imports: {real}. Another checkpoint can be used by its folder: load('/path/to/folder').",
        )
    return card


@contextmanager
def _open_folder(pack: Path) -> Iterator[tuple]:
    if not (pack / manifest.NAME).is_file():
        inside = sorted(file.parent.name for file in pack.glob(f"*/{manifest.NAME}"))
        do = f"It holds packs: name one of {', '.join(inside[:5])}." if inside else "Name the folder with that file."
        raise ModelNotHere(f"{pack} is not a pack: it has no {manifest.NAME}.", do)
    names = {}
    with os.scandir(pack) as entries:
        for entry in entries:
            if len(names) > _MOST_MEMBERS:
                raise _refused(pack, "it holds thousands of files")
            if manifest.is_litter(entry.name):
                continue
            if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                kind = "a link" if entry.is_symlink() else "a folder" if entry.is_dir() else "a device or pipe"
                raise _refused(pack, f"{entry.name!r} in it is {kind}, and only plain files are taken")
            names[entry.name] = entry.stat(follow_symlinks=False).st_size

    @contextmanager
    def files(name: str) -> Iterator[BinaryIO]:
        # O_NOFOLLOW: the file may have become a link since it was looked at.
        with os.fdopen(os.open(pack / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
            yield opened

    if names[manifest.NAME] > manifest.SIZE_LIMIT:
        raise _refused(pack, "its manifest is too large to be one")
    with files(manifest.NAME) as opened:
        made = manifest.Manifest.parse(opened.read(manifest.SIZE_LIMIT), str(pack))
    _compare(pack, names, made)
    yield made, files


@contextmanager
def _open_tar(pack: Path) -> Iterator[tuple]:
    try:
        tar = tarfile.open(pack, mode="r:")  # "r:" is plain tar only: a compressed one could grow without end
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _refused(pack, "it is not a plain tar file (compressed ones are not taken)") from error
    with tar:
        members = _members(pack, tar)
        if manifest.NAME not in members:
            raise ModelNotHere(f"{pack} is not a pack: it has no {manifest.NAME}.", "Ask for another copy.")

        @contextmanager
        def files(name: str) -> Iterator[BinaryIO]:
            with tar.extractfile(members[name]) as opened:
                yield opened

        if members[manifest.NAME].size > manifest.SIZE_LIMIT:
            raise _refused(pack, "its manifest is too large to be one")
        with files(manifest.NAME) as opened:
            made = manifest.Manifest.parse(_read_all(pack, opened), str(pack))
        _compare(pack, {name: member.size for name, member in members.items()}, made)
        yield made, files


def _members(pack: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """The plain files of a tar file by name, after refusing everything that is not one."""
    members, folders = {}, set()
    try:
        for count, member in enumerate(tar):
            if count > _MOST_MEMBERS:
                raise _refused(pack, "it holds thousands of files")
            parts = member.name.split("/")
            if member.name.startswith("/") or ".." in parts or len(parts) > 2 or "\\" in member.name:
                raise _refused(pack, f"{member.name[:80]!r} in it leads out of the model's folder")
            if member.isdir() and len(parts) == 1:
                continue
            if manifest.is_litter(parts[-1]):
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                kind = "a link" if member.issym() or member.islnk() else "a device, pipe or folder"
                raise _refused(pack, f"{member.name[:80]!r} in it is {kind}, and only plain files are taken")
            if parts[-1] in members:
                raise _refused(pack, f"{parts[-1]!r} is in it twice")
            folders.add("/".join(parts[:-1]))
            members[parts[-1]] = member
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise _refused(pack, f"it is damaged ({error})") from error
    if len(folders) > 1:
        raise _refused(pack, "it holds more than one folder")
    return members


def _compare(pack: Path, sizes: dict[str, int], made: manifest.Manifest) -> None:
    """Exactly the files of the manifest, with their sizes, before a byte is copied."""
    listed = {file.name: file.size for file in made.files}
    extra = sorted(set(sizes) - set(listed) - {manifest.NAME})
    if extra:
        code = [name for name in extra if not manifest.is_data(name)]
        why = "is not data of a model" if code else "is not in its manifest"
        raise _refused(pack, f"it holds {(code or extra)[0][:80]!r}, which {why}")
    missing = sorted(set(listed) - set(sizes))
    if missing:
        raise _refused(pack, f"{missing[0]} is missing in it")
    for name, size in listed.items():
        if sizes[name] != size:
            raise _refused(pack, f"{name} has {sizes[name]:,} bytes and should have {size:,}")


def _read_all(pack: Path, opened: BinaryIO) -> bytes:
    try:
        return opened.read()
    except (tarfile.TarError, EOFError) as error:
        raise _refused(pack, f"it is damaged ({error})") from error


def _copy(source: BinaryIO, sink: BinaryIO, file: manifest.File, on_bytes: Callable) -> None:
    digest, left = sha256(), file.size
    while left:
        try:
            data = source.read(min(_CHUNK, left))
        except (tarfile.TarError, EOFError):  # a tar file that ends too early
            data = b""
        if not data:
            break
        digest.update(data)
        sink.write(data)
        on_bytes(len(data))
        left -= len(data)
    if left or digest.hexdigest() != file.sha256:
        raise _damaged(file)


def _damaged(file: manifest.File) -> CheckpointRefused:
    return CheckpointRefused(
        f"{file.name} is damaged: its SHA-256 sum is not the one in the manifest.", "Make the pack again."
    )


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refused(pack: Path, why: str) -> CheckpointRefused:
    return CheckpointRefused(
        f"The pack {pack} is refused: {why}.", "Ask for a pack that `labs models export` wrote, and copy it whole."
    )
