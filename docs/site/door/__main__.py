"""After Sphinx: engine, models, policy and service worker for a built site.

python -m docs.site.door build/site [--without-engine]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from docs.site.door import engine, models, publish


def main(site: Path, with_engine: bool) -> int:
    """Add everything to a built site. Returns 1 and says why where the engine is missing.

    Example:
        main(Path("build/site"), with_engine=False)
    """
    folder = site / "model"
    shutil.rmtree(folder, ignore_errors=True)  # no model of an earlier build stays
    folder.mkdir()
    if with_engine:
        try:
            engine.add(folder, Path("build/npm"))
        except engine.EngineMissing as missing:
            print(missing, file=sys.stderr)
            return 1
        models.add(folder)
    listed = publish.manifest(folder)
    pages = publish.protect(site)
    (site / ".nojekyll").touch()  # else GitHub Pages leaves out folders that begin with _
    version = publish.worker(site)
    size = sum(entry["bytes"] for entry in listed["files"].values()) / 1e6
    print(f"{pages} pages, engine and models {size:.1f} MB, version {version}")
    if not with_engine:
        print("NOTE: without the engine, so the page Ask answers nothing. It says so.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--without-engine" not in sys.argv[2:]))
