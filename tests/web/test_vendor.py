"""What others wrote is vendored whole, named, licensed, and rebuilt to the same bytes."""

import hashlib
import json
import re
import subprocess

import pytest

from tests.web.second import NODE, ROOT

WEB = ROOT / "web"
VENDOR = WEB / "vendor"
LOCK = json.loads((WEB / "package-lock.json").read_text())


def test_the_vendored_file_is_what_its_packages_give() -> None:
    """esbuild, at its locked version, makes the committed bytes from the locked packages."""
    done = subprocess.run([NODE, WEB / "tools/vendor.mjs", "--print"], capture_output=True, check=True)

    assert done.stdout == (VENDOR / "noble.js").read_bytes()


@pytest.mark.parametrize("name", ["dist/entry.js", "dist/lookup.js", "dist/site.js", "dist/verify.js", "vendor/qr.js"])
def test_what_pages_load_is_what_its_sources_give(name: str) -> None:
    """The verifier as one script, and what draws QR codes."""
    done = subprocess.run([NODE, WEB / "tools/site.mjs", "--print", name], capture_output=True, check=True)

    assert done.stdout == (WEB / name).read_bytes()


def test_what_draws_qr_codes_is_described() -> None:
    """As the other vendored file is."""
    page = (VENDOR / "README.md").read_text()
    package = LOCK["packages"]["node_modules/lean-qr"]

    assert hashlib.sha256((VENDOR / "qr.js").read_bytes()).hexdigest() in page
    assert f"| lean-qr | {package['version']} | {package['license']} |" in page
    assert (VENDOR / "qr.LICENSE").read_bytes() == (WEB / "node_modules/lean-qr/LICENSE").read_bytes()
    assert "MIT" in (VENDOR / "qr.LICENSE").read_text()


def test_the_vendored_file_is_described() -> None:
    """Name, version, licence and digest of what is inside stand beside it, and the licences in full."""
    page = (VENDOR / "README.md").read_text()
    licences = (VENDOR / "noble.LICENSE").read_text()

    assert hashlib.sha256((VENDOR / "noble.js").read_bytes()).hexdigest() in page
    for name in ("@noble/curves", "@noble/hashes", "@noble/post-quantum"):
        package = LOCK["packages"][f"node_modules/{name}"]
        assert f"| {name} | {package['version']} | {package['license']} |" in page
        assert name in licences


def test_the_lock_pins_by_hash_and_names_no_registry() -> None:
    """Whoever installs may use any mirror: the bytes are fixed, where they come from is not."""
    packages = [package for path, package in LOCK["packages"].items() if path]
    asked = json.loads((WEB / "package.json").read_text())["devDependencies"]

    assert all("integrity" in package and "resolved" not in package for package in packages)
    assert all(re.fullmatch(r"[0-9.]+", version) for version in asked.values())


def test_the_library_stays_within_itself() -> None:
    """It asks no network, loads nothing later, and can be made one classic script."""
    forbidden = re.compile(
        r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\(\s*[\"'`]|import\.meta|\beval\("
        r"|new Function"
        r"|\b(?:local|session)Storage|indexedDB|document\.|window\."
    )
    files = sorted((WEB / "lib").glob("*.js"))
    outside = {
        f"{file.name}: {found}"
        for file in files
        for found in re.findall(r"^(?:import|export) .*? from \"([^\"]+)\"", file.read_text(), flags=re.M | re.S)
        if not re.fullmatch(r"\./[a-z-]+\.js|\.\./vendor/noble\.js", found)
    }
    code = {file.name: re.sub(r"import\(\"[^\"]+\"\)\.\w+", "", file.read_text()) for file in files}

    assert outside == set()
    assert {name: found for name, text in code.items() if (found := forbidden.findall(text))} == {}
    assert not any(re.search(r"^await |^for await", text, flags=re.M) for text in code.values())
