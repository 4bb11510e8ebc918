"""Where the course's repository is: one entry in pyproject.toml, from which every text and link takes it.

A fork says once where it is (`labs workshop home ADDRESS`). Until then the texts name no address that would not work.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import quote

from labs_helper.catalog import course_folder
from labs_helper.common import addresses
from labs_helper.common.files import write_whole
from labs_helper.common.translate import ENGLISH, _, language, speaking
from labs_helper.course.translation import offered
from labs_helper.errors import BadRequest, LabError

# Texts with marked places, and settings of a hub that hold the address as it is.
_TEXTS = ("README.md", "docs/instructors.md")
_SETTINGS = ("docs/hub/jupyterhub_config.py", "docs/hub/values.yaml")
_NOT_SET = "https://github.com/OWNER/REPOSITORY"
_PLACE = re.compile(r"(<!-- home: (\w+) -->\n).*?(<!-- home: end -->)", re.S)
_BADGE = "https://github.com/codespaces/badge.svg"


def home(root: Path | None = None) -> str:
    """The address of the course's repository, from `[project.urls]` in pyproject.toml; "" if nobody has set it.

    Example:
        home()      # 'https://github.com/someone/phi35-labs'
    """
    text = ((root or course_folder()) / "pyproject.toml").read_text("utf-8")
    urls = tomllib.loads(text).get("project", {}).get("urls", {})
    return str(urls.get("Repository", ""))


def repository(root: Path | None = None) -> str:
    """The address of the course for a link: the one that is set, else the one that this clone came from.

    Raises:
        LabError: neither is known.

    Example:
        repository()
    """
    root = root or course_folder()
    address = home(root) or _origin(root)
    if not address:
        raise LabError(
            _("Nobody has said where this course's repository is."),
            _("Add its address to the command, or set it once with `labs workshop home ADDRESS`."),
        )
    return address


def _origin(root: Path) -> str:
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        address = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    if by_ssh := re.fullmatch(r"(?:ssh://)?git@([^:/]+)[:/](.+)", address):
        address = f"https://{by_ssh[1]}/{by_ssh[2]}"
    # Not a folder on this disk, and no password that somebody keeps in the address.
    return address.removesuffix(".git") if re.fullmatch(r"https?://[^\s@]+", address) else ""


def codespaces(address: str, spoken: str = ENGLISH) -> str:
    """The link that opens a repository in Codespaces, in a language; "" if it is not on GitHub.

    Example:
        codespaces("https://github.com/someone/phi35-labs", "ko")
    """
    on_github = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    container = "" if spoken == ENGLISH else f"&devcontainer_path=.devcontainer%2F{spoken}%2Fdevcontainer.json"
    return f"https://codespaces.new/{on_github[1]}?quickstart=1{container}" if on_github else ""


def set_home(address: str, *, root: Path | None = None) -> list[Path]:
    """Write the address into pyproject.toml and into every text that shows it.

    Args:
        address: as learners would clone it; "" takes the address out again.
        root: the course's folder.

    Returns:
        The files that changed.

    Raises:
        BadRequest: this is not an address.

    Example:
        set_home("https://github.com/someone/phi35-labs")
    """
    root = root or course_folder()
    if address:
        example = "https://github.com/someone/phi35-labs"
        address = str(addresses.parse(address, name=_("The address of the repository"), example=example))
        address = address.removesuffix(".git")
        if "OWNER" in address:
            raise BadRequest(
                _("OWNER is a placeholder."), _("Write an address such as {example}.").format(example=example)
            )
    before = home(root)
    spoken = dict.fromkeys(_TEXTS, ENGLISH) | _translated(root)
    texts = {root / name: (root / name).read_text("utf-8") for name in ("pyproject.toml", *spoken, *_SETTINGS)}
    changed = []
    for path, text in texts.items():
        name = path.relative_to(root).as_posix()
        if name == "pyproject.toml":
            new = _with_entry(text, address)
        elif name in spoken:
            with speaking(spoken[name]):
                new = filled(text, address, root=root)
        else:
            old, current = before or _NOT_SET, address or _NOT_SET
            new = text.replace(old, current).replace(quote(old, safe=""), quote(current, safe=""))
        if new != text:
            write_whole(path, new.encode())
            changed.append(path)
    return changed


def _with_entry(text: str, address: str) -> str:
    text = re.sub(r'^Repository = ".*"\n', "", text, flags=re.M)
    entry = f'Repository = "{address}"\n' if address else ""
    return text.replace("[project.urls]\n", f"[project.urls]\n{entry}")


def _translated(root: Path) -> dict[str, str]:
    """The texts in other languages, each with its language."""
    known = offered.languages(root / "labs_helper" / "locale" / offered.TABLE)
    names = {offered.file_of(text, each.code): each.code for each in known for text in _TEXTS if text in each.documents}
    return {name: code for name, code in names.items() if (root / name).is_file()}


def filled(text: str, address: str, *, root: Path | None = None) -> str:
    """A text with its marked places written for an address, or for none, in the language that is spoken.

    Args:
        text: with its marks.
        address: of the repository, or "".
        root: the course's folder, whose languages the text links to.

    Example:
        filled(Path("README.md").read_text("utf-8"), "")
    """
    folder = root or course_folder()
    return _PLACE.sub(lambda place: f"{place[1]}{_words(place[2], address, folder)}{place[3]}", text)


def emptied(text: str) -> str:
    """A text whose marked places are blank, line by line: they are written, not translated.

    Example:
        emptied(Path("README.md").read_text("utf-8"))
    """
    return _PLACE.sub(lambda place: f"{place[1]}{chr(10) * (place[0].count(chr(10)) - 1)}{place[3]}", text)


_START = """```
git clone {address} phi35-labs && cd phi35-labs
make lab{spoken}
```

"""
_SETUP = """```
git clone {address} phi35-labs && cd phi35-labs
make setup                      # {cost}
source .venv/bin/activate       # {why}
labs doctor
```

"""


def _words(place: str, address: str, root: Path) -> str:
    """What is at a marked place."""
    there = (root / ".devcontainer" / language() / "devcontainer.json").is_file()
    link = codespaces(address, language() if there else ENGLISH)
    if place == "languages":
        return _languages(root)
    if place == "badge":
        words = _("Open in GitHub Codespaces")
        return f"[![{words}]({_BADGE})]({link})\n\n" if link else ""
    if place == "codespaces":
        text = (
            _("[open the course]({link})").format(link=link)
            if link
            else _("on the repository's page on GitHub: Code, Codespaces, Create codespace")
        )
        return f"- **Codespaces:** {text}.\n"
    spoken = "" if language() == ENGLISH else f" LANG={language()}"
    text = {"start": _START, "setup": _SETUP}[place].format(
        address=address or "ADDRESS",
        spoken=spoken,
        cost=_("one to three minutes, about 1.8 GB of disk"),
        why=_("in each new terminal: now it knows the command labs"),
    )
    where = _("ADDRESS is the address of this repository: on GitHub, behind the green button **Code**.")
    return text if address else f"{text}{where}\n\n"


def _languages(root: Path) -> str:
    """Links to README in the other languages; nothing as long as there are none."""
    known = offered.languages(root / "labs_helper" / "locale" / offered.TABLE)
    files = {ENGLISH: ("English", "README.md")}
    files |= {each.code: (each.name, f"README.{each.code}.md") for each in known if "README.md" in each.documents}
    links = [name if code == language() else f"[{name}]({file})" for code, (name, file) in files.items()]
    return f"{' | '.join(links)}\n\n" if len(files) > 1 else ""
