"""Models on a stick: a pack is a folder, or one tar file, with the model's files and a manifest of their sums.

A pack comes from somebody else, so everything in it is checked: it may hold plain files with known names, exactly the
ones that its manifest lists, and each must have its size and sum. The sums find damage; whether the maker of the pack
can be trusted is for people to say. Nothing in a pack is ever run.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.common import files, platforms
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, ModelNotHere
from labs_helper.store import adapters, checkpoint, manifest, staging
from labs_helper.store.places import destination, locate, real_card
from labs_helper.store.supply import progress_bar

_CHUNK = 2**20
_MOST_MEMBERS = 3000
_MOST_HEADERS = 16 * 2**20  # bytes of a tar file beside its files; a pack has some 512 for each file
_Open = Callable[[str], AbstractContextManager[IO[bytes]]]  # opens a file of a pack by its name


# -- export -----------------------------------------------------------------------------------------------


def export(name: str, to: str | Path, progress: bool = True) -> Path:
    """Write a model as a pack. Returns the pack.

    Args:
        name: a catalog name or role, or an adapter.
        to: a folder, in which a folder with the model's name is made, or a new file that ends in .tar.
        progress: show a progress bar.

    Raises:
        BadRequest: `to` is there already, or its folder is not; or the model is a bundled one.
        ModelNotHere: the model is not on this machine.
        CheckpointRefused: the model is damaged.
        NotEnoughDisk: the pack does not fit.
        DownloadFailed: the disk fails.

    Example:
        export("phi-3.5-mini-instruct-4bit", "/Volumes/STICK")
        export("phi-3.5-mini-instruct-4bit", "phi.tar")
    """
    own_name, repository, path = _to_export(name)
    to = Path(to).expanduser()
    as_tar = to.suffix.lower() == ".tar"
    target = to if as_tar else to / own_name
    if target.exists():
        raise BadRequest(
            _("{target} is there already.").format(target=target), _("Delete it first, or choose another destination.")
        )
    if not to.parent.is_dir():
        raise BadRequest(
            _("There is no folder {parent}.").format(parent=to.parent),
            _("Make it first, or check the name of the stick."),
        )
    if not as_tar and to.exists() and not to.is_dir():
        raise BadRequest(_("{to} is a file.").format(to=to), _("Name a folder, or a new file that ends in .tar."))
    try:
        target.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise DownloadFailed(
            _("{folder} cannot be made: {why}.").format(folder=target.parent, why=error.strerror or error),
            _("Choose another destination, or take another disk."),
        ) from error
    listing = manifest.Manifest.read(path)
    if listing is None:
        with progress_bar(_data_bytes(path), _("computing sums"), progress) as bar:
            listing = manifest.Manifest.of(path, own_name, repository, on_bytes=bar.update)
    staging.need_disk(target.parent, listing.size, _("The pack of {name}").format(name=own_name))
    part = files.part_folder(target)  # a file, for a tar
    _clear(part)
    try:
        with progress_bar(listing.size, f"{own_name} -> {target}", progress) as bar:
            (_write_tar if as_tar else _write_folder)(path, part, listing, bar.update)
        platforms.rename(part, target)
    except OSError as error:
        if error.errno == errno.EFBIG:
            why, do = _("its file system holds no files over 4 GB (FAT32)"), _("Format the stick as exFAT.")
        else:
            why, do = error.strerror or str(error), _("Try again, or take another disk.")
        raise DownloadFailed(_("{target} could not be written: {why}.").format(target=target, why=why), do) from error
    finally:
        _clear(part)
    return target


def _to_export(name: str) -> tuple[str, str | None, Path]:
    """Name, origin and folder of a model or adapter, after it was checked."""
    if name in adapters.names() and name not in {card.name for card in catalog.cards()}:
        path = adapters.locate(name)
        adapters.verify(path)
        return name, None, path
    card = real_card(name)  # a bundled one is on every computer that has the course, and no pack of it is imported
    path = locate(card)
    checkpoint.verify(path, ships_code=card.ships_code)
    return card.name, card.repository, path


def _data_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if manifest.is_data(file.name))


def _write_folder(path: Path, part: Path, listing: manifest.Manifest, on_bytes: manifest.OnBytes) -> None:
    part.mkdir()
    for file in listing.files:
        with (path / file.name).open("rb") as source, (part / file.name).open("wb") as sink:
            _copy(source, sink, file, on_bytes)
            files.sync(sink)  # people pull sticks out as soon as the bar is full
    (part / manifest.NAME).write_text(listing.text(), encoding="utf-8")


def _write_tar(path: Path, part: Path, listing: manifest.Manifest, on_bytes: manifest.OnBytes) -> None:
    with part.open("wb") as opened, tarfile.open(fileobj=opened, mode="w", format=tarfile.PAX_FORMAT) as tar:
        text = listing.text().encode()
        tar.addfile(_member(listing.name, manifest.NAME, len(text)), io.BytesIO(text))
        for file in listing.files:
            with (path / file.name).open("rb") as source:
                reader = _Reader(source, on_bytes)
                tar.addfile(_member(listing.name, file.name, file.size), reader)
                reader.check(file)
        tar.close()
        files.sync(opened)


def _member(folder: str, name: str, size: int) -> tarfile.TarInfo:
    # No owner, no time: the same model gives the same pack, and nobody's account name travels with it.
    member = tarfile.TarInfo(f"{folder}/{name}")
    member.size, member.mode = size, 0o644
    return member


class _Reader:
    """A file for tarfile to read, which computes its sum on the way."""

    def __init__(self, source: IO[bytes], on_bytes: manifest.OnBytes):
        self.source, self.on_bytes, self.digest = source, on_bytes, sha256()

    def read(self, count: int = -1, /) -> bytes:
        data = self.source.read(count)
        self.digest.update(data)
        self.on_bytes(len(data))
        return data

    def check(self, file: manifest.File) -> None:
        if self.digest.hexdigest() != file.sha256:
            raise _damaged(file)


# -- import -----------------------------------------------------------------------------------------------


def import_pack(pack: str | Path, progress: bool = True) -> Path:
    """Copy a model from a pack into the models folder. Returns its folder there.

    After an error nothing has changed.

    Args:
        pack: a folder or .tar file that `export` wrote.
        progress: show a progress bar.

    Raises:
        BadRequest: there is no such pack, or another model of that name is here.
        ModelNotHere: the folder or file is not a pack.
        CheckpointRefused: the pack is damaged, or holds something that it must not.
        NotEnoughDisk: the model does not fit.
        DownloadFailed: the stick or the disk fails.

    Example:
        import_pack("/Volumes/STICK/phi-3.5-mini-instruct-4bit")
    """
    pack = Path(pack).expanduser()
    with staging.disk_errors(_("The pack {pack}").format(pack=pack)), ExitStack() as stack:
        if pack.is_dir():
            listing, open_file = stack.enter_context(_open_folder(pack))
        elif pack.is_file():
            listing, open_file = stack.enter_context(_open_tar(pack))
        else:
            raise BadRequest(
                _("There is no pack {pack}.").format(pack=pack), _("Check the path, and whether the stick is in.")
            )
        if adapters.is_adapter(listing):
            return _import_adapter(listing, pack, open_file)
        card = _card(listing, pack)
        folder = destination(card)
        if folder.exists():
            if manifest.Manifest.read(folder) == listing:
                return folder
            raise BadRequest(
                _("{name} is in {folder} already.").format(name=card.name, folder=folder),
                _("Run `labs models remove {name}` first to replace it.").format(name=card.name),
            )
        with staging.staging(card, resume=False) as part:
            staging.need_disk(part, listing.size, card.name)
            with progress_bar(listing.size, card.name, progress) as bar:
                for file in listing.files:
                    with open_file(file.name) as source, (part / file.name).open("xb") as sink:
                        _copy(source, sink, file, bar.update)
            return staging.install(part, card, listing)


def _import_adapter(listing: manifest.Manifest, pack: Path, open_file: _Open) -> Path:
    """Copy an adapter, checked before it gets its name. Whether it fits a model is checked when it is loaded."""
    folder = adapters.folder(listing.name)
    if folder.exists():
        if manifest.Manifest.read(folder) == listing:
            return folder
        raise BadRequest(
            _("There is an adapter {name} in {folder} already.").format(name=listing.name, folder=folder),
            _("Run `labs models remove {name}` first to replace it.").format(name=listing.name),
        )
    if listing.size > adapters.MOST_BYTES:
        raise _refused(pack, _("it is too large for an adapter"))
    with files.collecting(folder, resume=False) as part:
        staging.need_disk(part, listing.size, listing.name)
        for file in listing.files:
            with open_file(file.name) as source, (part / file.name).open("xb") as sink:
                _copy(source, sink, file, lambda _count: None)
        (part / manifest.NAME).write_text(listing.text(), encoding="utf-8")
        adapters.verify(part)
        files.finish(part, folder)
    return folder


def _card(listing: manifest.Manifest, pack: Path) -> ModelCard:
    known = {card.name: card for card in catalog.cards() if card.tier == "real"}
    if listing.name not in known:
        raise CheckpointRefused(
            _("The pack {pack} holds {name!r}, which is not a model that this course imports.").format(
                pack=pack, name=listing.name
            ),
            _("It imports: {names}. Another checkpoint can be used by its folder: load('/path/to/folder').").format(
                names=", ".join(known)
            ),
        )
    return known[listing.name]


@contextmanager
def _open_folder(pack: Path) -> Iterator[tuple[manifest.Manifest, _Open]]:
    if not (pack / manifest.NAME).is_file():
        inside = sorted(file.parent.name for file in pack.glob(f"*/{manifest.NAME}"))
        do = _("It holds packs: name one of {names}.") if inside else _("Name the folder with that file.")
        raise _not_a_pack(pack, do.format(names=", ".join(inside[:5])))
    sizes: dict[str, int] = {}
    with os.scandir(pack) as entries:
        for entry in entries:
            if len(sizes) > _MOST_MEMBERS:
                raise _refused(pack, _("it holds thousands of files"))
            if manifest.is_litter(entry.name):
                continue
            if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                kind = _("a link") if entry.is_symlink() else _("a device, pipe or folder")
                raise _refused(pack, _not_plain().format(name=entry.name, kind=kind))
            sizes[entry.name] = entry.stat(follow_symlinks=False).st_size

    @contextmanager
    def open_file(name: str) -> Iterator[IO[bytes]]:
        with platforms.open_plain(pack / name) as opened:  # it may have become a link since it was looked at
            yield opened

    if sizes[manifest.NAME] > manifest.SIZE_LIMIT:
        raise _refused(pack, _("its manifest is too large to be one"))
    with open_file(manifest.NAME) as opened:
        listing = manifest.Manifest.parse(opened.read(manifest.SIZE_LIMIT), str(pack))
    _compare(pack, sizes, listing)
    yield listing, open_file


@contextmanager
def _open_tar(pack: Path) -> Iterator[tuple[manifest.Manifest, _Open]]:
    with ExitStack() as stack:
        opened_pack = stack.enter_context(_Headers(pack))
        try:
            # "r:" is plain tar only: a compressed one could grow without end.
            tar = stack.enter_context(tarfile.open(fileobj=opened_pack, mode="r:"))
            members = _members(pack, tar)
        except _TooLong as error:
            raise _refused(pack, _("its headers are too long to be those of a model")) from error
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise _refused(pack, _("it is not a plain tar file (compressed ones are not taken)")) from error
        opened_pack.left = None
        if manifest.NAME not in members:
            raise _not_a_pack(pack, _("Ask for another copy."))

        @contextmanager
        def open_file(name: str) -> Iterator[IO[bytes]]:
            opened = tar.extractfile(members[name])
            assert opened is not None, "a member that is a plain file can be opened"
            with opened:
                yield opened

        if members[manifest.NAME].size > manifest.SIZE_LIMIT:
            raise _refused(pack, _("its manifest is too large to be one"))
        with open_file(manifest.NAME) as opened:
            listing = manifest.Manifest.parse(_read_all(pack, opened), str(pack))
        _compare(pack, {name: member.size for name, member in members.items()}, listing)
        yield listing, open_file


class _TooLong(Exception):
    """A tar file wants more memory for its headers than a pack needs."""


class _Headers(io.FileIO):
    """A tar file whose headers are read within a bound: tarfile reads one of any length into memory.

    Attributes:
        left: bytes that may still be read; None for no bound, when the files themselves are read.
    """

    left: int | None = _MOST_HEADERS

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left is not None:
            if size is None or not 0 <= size <= self.left:
                raise _TooLong
            self.left -= size
        return super().read(size)


def _members(pack: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """The plain files of a tar file by name, after refusing everything that is not one."""
    members: dict[str, tarfile.TarInfo] = {}
    folders = set()
    try:
        for count, member in enumerate(tar):
            if count > _MOST_MEMBERS:
                raise _refused(pack, _("it holds thousands of files"))
            parts = member.name.split("/")
            if member.name.startswith("/") or ".." in parts or len(parts) > 2 or "\\" in member.name:
                raise _refused(pack, _("{name!r} in it leads out of the model's folder").format(name=member.name[:80]))
            if member.isdir() and len(parts) == 1:
                continue
            if manifest.is_litter(parts[-1]):
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                kind = _("a link") if member.issym() or member.islnk() else _("a device, pipe or folder")
                raise _refused(pack, _not_plain().format(name=member.name[:80], kind=kind))
            if parts[-1] in members:
                raise _refused(pack, _("{name!r} is in it twice").format(name=parts[-1]))
            folders.add("/".join(parts[:-1]))
            members[parts[-1]] = member
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise _refused(pack, _("it is damaged ({error})").format(error=error)) from error
    if len(folders) > 1:
        raise _refused(pack, _("it holds more than one folder"))
    return members


def _compare(pack: Path, sizes: dict[str, int], listing: manifest.Manifest) -> None:
    """Refuse a pack that does not hold exactly the files of its manifest, before a byte is copied."""
    listed = {file.name: file.size for file in listing.files}
    extra = sorted(set(sizes) - set(listed) - {manifest.NAME})
    if extra:
        code = [name for name in extra if not manifest.is_data(name)]
        if platforms.is_reserved((code or extra)[0]):
            why = _("it holds {name!r}, a name that Windows keeps for itself")
        elif code:
            why = _("it holds {name!r}, which is not data of a model")
        else:
            why = _("it holds {name!r}, which is not in its manifest")
        raise _refused(pack, why.format(name=(code or extra)[0][:80]))
    missing = sorted(set(listed) - set(sizes))
    if missing:
        raise _refused(pack, _("{name} is missing in it").format(name=missing[0]))
    for name, size in listed.items():
        if sizes[name] != size:
            raise _refused(
                pack,
                _("{name} has {size:,} bytes and should have {expected:,}").format(
                    name=name, size=sizes[name], expected=size
                ),
            )


def _read_all(pack: Path, opened: IO[bytes]) -> bytes:
    try:
        return opened.read()
    except (tarfile.TarError, EOFError) as error:
        raise _refused(pack, _("it is damaged ({error})").format(error=error)) from error


def _copy(source: IO[bytes], sink: IO[bytes], file: manifest.File, on_bytes: manifest.OnBytes) -> None:
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
        _("{file} is damaged: its SHA-256 sum is not the one in the manifest.").format(file=file.name),
        _("Make the pack again."),
    )


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _not_plain() -> str:
    return _("{name!r} in it is {kind}, and only plain files are taken")


def _not_a_pack(pack: Path, do: str) -> ModelNotHere:
    return ModelNotHere(_("{pack} is not a pack: it has no {file}.").format(pack=pack, file=manifest.NAME), do)


def _refused(pack: Path, why: str) -> CheckpointRefused:
    return CheckpointRefused(
        _("The pack {pack} is refused: {why}.").format(pack=pack, why=why),
        _("Ask for a pack that `labs models export` wrote, and copy it whole."),
    )
