"""Where the files are that are not Python: `migrations/` and `web/`, in a wheel or in a work tree."""

from pathlib import Path


def resources(name: str) -> Path:
    """Return the directory `migrations` or `web`. Raises `FileNotFoundError` where the installation lacks it."""
    package = Path(__file__).resolve().parent
    for place in (package / "_files" / name, package.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"this installation has no {name}/")
