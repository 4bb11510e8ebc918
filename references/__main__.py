"""`python -m references` writes the stored results; with --check it only says which differ."""

from __future__ import annotations

import sys

from references import alike, texts


def main(arguments: list[str]) -> int:
    """Write the files, or compare them. Returns 1 if a comparison finds a difference."""
    made = texts().items()
    stale = [(path, text) for path, text in made if not path.exists() or not alike(path.read_text("utf-8"), text)]
    for path, text in stale:
        print(f"{path.name} {'differs' if '--check' in arguments else 'written'}")
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
