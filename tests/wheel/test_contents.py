"""What is in the wheel: the whole package, nothing else, and metadata that say the same."""

import email.message
import re
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from readme_renderer import markdown

import connected_accounts
from tests.wheel.build import ROOT, build

PACKAGE = ROOT / "connected_accounts"
NOT_SHIPPED = ("__pycache__",)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return BytesParser().parsebytes(wheel.read(name))


def shipped() -> set[str]:
    """Every file of the package in the source tree."""
    return {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and not set(NOT_SHIPPED) & set(path.parts)
    }


def test_the_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if name.startswith("connected_accounts/")}
    assert packed == shipped()


def test_the_wheel_has_nothing_beside_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {
        "connected_accounts",
        f"django_connected_accounts-{connected_accounts.__version__}.dist-info",
    }


@pytest.mark.parametrize(
    "pattern",
    [
        r"py\.typed",
        r"templates/connected_accounts/.+\.html",
        r"templates/admin/.+\.html",
        r"static/connected_accounts/.+\.css",
        r"static/connected_accounts/.+\.js",
        r"migrations/0001_\w+\.py",
        r"management/commands/\w+\.py",
        r"testing/conformance/\w+\.py",
        r"catalogue/[a-z0-9-]+\.toml",
        r"catalogue/[a-z0-9-]+\.json",
    ],
)
def test_the_wheel_has_each_kind_of_file(pattern: str, wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(re.fullmatch(f"connected_accounts/{pattern}", name) for name in names)


def test_every_catalogue_is_shipped_compiled(wheel: zipfile.ZipFile) -> None:
    catalogues = {name[:-3] for name in wheel.namelist() if name.endswith(".po")}
    assert len(catalogues) >= 3
    assert catalogues == {name[:-3] for name in wheel.namelist() if name.endswith(".mo")}


def test_the_source_distribution_makes_the_same_wheel(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        # Debian 12's Python 3.11.2 has no filters yet.
        archive.extractall(
            tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )
    (source,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    again = zipfile.ZipFile(build("wheel", tmp_path / "again", source=source))
    assert sorted(again.namelist()) == sorted(wheel.namelist())


def test_the_plugin_and_the_licence_are_declared(wheel: zipfile.ZipFile) -> None:
    (points,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "connected_accounts = connected_accounts.testing.plugin" in wheel.read(points).decode()
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_the_readme_is_rendered_by_the_package_index(metadata: email.message.Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    page = markdown.render(str(metadata.get_payload()))
    assert page is not None
    assert re.search(r"<h1[^>]*>django-connected-accounts<", page)


# Version and release notes.


def test_package_metadata_and_changelog_name_one_version(metadata: email.message.Message) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    found = re.fullmatch(r"\[([\d.]+)\] - (unreleased|\d{4}-\d\d-\d\d)", headings[0])
    assert found is not None, headings[0]
    assert metadata["Version"] == connected_accounts.__version__ == found[1]
    assert all(re.fullmatch(r"\[[\d.]+\] - \d{4}-\d\d-\d\d", other) for other in headings[1:])


def test_no_other_file_writes_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in project
    assert connected_accounts.__version__ not in re.findall(r'version = "(.+?)"', project)
