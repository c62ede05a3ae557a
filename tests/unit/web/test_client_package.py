"""The npm package of the browser client."""

import json
from typing import Any

from flask_sse_hub.web import client_package
from flask_sse_hub.web.client_script import CLIENT_FILE, SOURCE_MAP


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client_package.file("package.json"))
    return found


def test_the_files_contain_the_client() -> None:
    """Flask serves two of them, and the names are sorted."""
    names = [file.name for file in client_package.files()]
    assert {CLIENT_FILE, SOURCE_MAP} < set(names)
    assert names == sorted(names)


def test_the_package_has_the_name_that_the_import_map_has() -> None:
    """Modules have the same import with and without a bundler."""
    assert manifest()["name"] == client_package.NAME


def test_everything_that_is_exported_exists() -> None:
    """Each entry point has a module, types, and a source map with the sources."""
    names = {file.name for file in client_package.files()}
    exports = manifest()["exports"]
    assert exports.pop("./package.json") == "./package.json"
    assert set(exports) == {
        ".",
        "./answer",
        "./refresh",
        "./react",
        "./vue",
        "./svelte",
    }
    for entry in exports.values():
        files = {
            entry["types"][2:],
            entry["default"][2:],
            f"{entry['default'][2:]}.map",
        }
        assert files <= names
        found = json.loads(client_package.file(f"{entry['default'][2:]}.map"))
        assert all(found["sourcesContent"])
        assert len(found["sources"]) == len(found["sourcesContent"])


def test_a_bundler_may_leave_out_unused_parts() -> None:
    """The modules do nothing when they are imported."""
    assert manifest()["sideEffects"] is False


def test_the_licence_is_included() -> None:
    """Its notice has to be in all copies. Nothing of others is in the files."""
    text = client_package.file("LICENSES.txt").decode()
    assert "MIT License" in text
    assert text.count("Copyright") == 1
