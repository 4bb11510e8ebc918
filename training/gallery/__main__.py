"""Draw every picture of the vision lab and write its lists."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.gallery import large, small
from training.gallery.base import FOLDER, ROOT, save, write_list, write_readme


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write (default images/vision)")
    parser.add_argument("--only", default="", help="only files whose name holds this; the lists are left alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = [*small.pictures(), *large.pictures()]
    for picture in pictures:
        if options.only in picture.file:
            save(picture, options.out)
    if not options.only:
        write_list(pictures, options.out)
        if options.out == FOLDER:
            write_readme(pictures, ROOT / "images" / "README.md")
    total = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{len(pictures)} files, {total / 1e6:.2f} MB in {options.out}")


if __name__ == "__main__":
    main()
