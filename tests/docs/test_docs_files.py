"""The files that the documentation shows, and which of its blocks no test runs."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import RequestFactory
from waitress.adjustments import Adjustments
from waitress.proxy_headers import proxy_headers_middleware

from connected_accounts import conf
from tests.docs.doc_pages import DOCS, NOT_RUN, PACKAGE, TEXTS, Block, blocks, without_code
from tests.docs.doc_shell import check, lines

RUN = ("python", "sh", "django", "ini", "yaml", "toml", "json", "css")
# Output of a command and plain text; and what another program than ours reads.
SHOWN = ("text", "nginx", "dockerfile", "js")
WORKERS = DOCS / "how-to/workers.md"


def every(*languages: str) -> list[Any]:
    found = [block for path in TEXTS for block in blocks(path, *languages)]
    return [pytest.param(block, id=str(block)) for block in found]


def test_every_block_says_what_language_it_is_in() -> None:
    for path in TEXTS:
        found = blocks(path)
        assert len(found) == len(re.findall(r"^ *```\w", path.read_text("utf-8"), re.MULTILINE))
        for block in found:
            assert block.language in (*RUN, *SHOWN), block


def test_what_belongs_to_an_item_of_a_list_is_indented_by_four() -> None:
    """Or the list ends there, and its numbers begin anew. After it the next item wants a blank
    line, or it becomes a part of this one."""
    for path in TEXTS:
        text = path.read_text("utf-8")
        assert not re.search(r"^(?!(    )+`| *$) +```", text, re.MULTILINE), path
        for above, line in pairwise(without_code(text).splitlines()):
            indented = re.match(r" +(?=\S)", line)
            assert above or not indented or len(indented[0]) % 4 == 0, f"{path}: {line}"
            begins = re.match(r"\d+\. |- ", line)
            assert not begins or not above.startswith("    "), f"{path}: {line}"


def test_no_other_block_is_left_out_than_these() -> None:
    left_out = [block for path in TEXTS for block in blocks(path, *RUN) if not block.runs]
    assert {(block.path.name, block.title.removeprefix(NOT_RUN)) for block in left_out} == {
        ("beside-your-tools.md", "make tools runs it"),
        ("keys.md", "it needs boto3 and an AWS account"),
        ("mcp-servers.md", "needs mcp and a server, and is run so by make mcp"),
        ("side-by-side.md", "it needs django-allauth"),
        ("side-by-side.md", "it needs social-auth-app-django"),
        ("side-by-side.md", "it needs Authlib"),
        ("strong-clients.md", "it needs a certificate"),
        ("strong-clients.md", "make servers runs it"),
        ("strong-clients.md", "it reads a key from your secrets"),
    }


READERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


@pytest.mark.parametrize("block", every(*READERS))
def test_data_can_be_read(block: Block) -> None:
    assert READERS[block.language](block.text)


@pytest.mark.parametrize("block", every("css"))
def test_css_sets_properties_that_the_style_sheet_has(block: Block) -> None:
    css = (PACKAGE / "static/connected_accounts/connected_accounts.css").read_text("utf-8")
    for name in re.findall(r"--[\w-]+", block.text):
        assert not name.startswith("--ca-") or f"var({name}," in css


@pytest.mark.django_db
def test_the_answer_without_a_connection_is_the_one_that_is_shown(ada: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["yoursite.example"]
    page = DOCS / "how-to/require-a-connection.md"
    (view,) = [block for block in blocks(page, "python") if "APIView" in block.text]
    (shown,) = blocks(page, "json")
    made: dict[str, Any] = {}
    exec(view.text, made)
    request: Any = RequestFactory().get("/", headers={"host": "yoursite.example"}, secure=True)
    request.user = ada
    answer = made["Backpack"].as_view()(request)
    assert answer.status_code == 403
    assert json.loads(json.dumps(answer.data)) == json.loads(shown.text)


# Units of systemd.


def unit(block: Block) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block.text)
    return parser


UNITS = [block for block in blocks(WORKERS, "ini") if "/systemd/" in block.title]
SERVICES = [block for block in UNITS if block.title.endswith(".service")]


@pytest.mark.parametrize("block", SERVICES, ids=lambda block: Path(block.title).name)
def test_a_unit_starts_a_command_that_is_one(block: Block) -> None:
    service = unit(block)["Service"]
    (command,) = lines(service["ExecStart"])
    assert command[0].startswith("/srv/yoursite/.venv/bin/")
    check(command)
    assert service["EnvironmentFile"] in [shown.title for shown in blocks(WORKERS, "ini")]


def test_a_worker_is_given_the_time_that_it_needs() -> None:
    needed = float(conf.DEFAULTS["HTTP_DEADLINE"]) + 30
    worker = next(unit(block) for block in SERVICES if "worker" in block.title)["Service"]
    assert float(worker["TimeoutStopSec"]) >= needed
    assert (worker["KillMode"], worker["KillSignal"]) == ("mixed", "SIGTERM")
    assert float(compose()["services"]["worker"]["stop_grace_period"].rstrip("s")) >= needed


@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.9"])
def test_the_web_server_believes_the_proxy_and_nobody_else(peer: str) -> None:
    web = next(unit(block) for block in SERVICES if "web" in block.title)["Service"]
    (command,) = lines(web["ExecStart"])
    given, _ = Adjustments.parse_args(command[1:])
    read = Adjustments(**{name: given[name] for name in given if name not in ("call", "help")})
    seen: dict[str, Any] = {}
    server = proxy_headers_middleware(
        lambda environ, start: seen.update(environ) or [],
        trusted_proxy=read.trusted_proxy,
        trusted_proxy_count=read.trusted_proxy_count,
        trusted_proxy_headers=read.trusted_proxy_headers,
        clear_untrusted=read.clear_untrusted_proxy_headers,
    )
    told = {"HTTP_X_FORWARDED_FOR": "198.51.100.7", "HTTP_X_FORWARDED_PROTO": "https"}
    here = {"REMOTE_ADDR": peer, "REMOTE_HOST": peer, "wsgi.url_scheme": "http"}
    server({**here, **told, "SERVER_PORT": "8000", "SERVER_NAME": "site"}, lambda *a: None)
    trusted = peer == "127.0.0.1"
    assert seen["wsgi.url_scheme"] == ("https" if trusted else "http")
    assert seen["REMOTE_ADDR"] == ("198.51.100.7" if trusted else peer)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("optional: systemd is not installed")
    for block in UNITS:
        # What the machine of the tests does not have.
        text = block.text.replace("/srv/yoursite/.venv/bin/", f"{Path(sys.executable).parent}/")
        text = text.replace("=/srv/yoursite", f"={tmp_path}").replace("=yoursite\n", "=root\n")
        text = text.replace("StateDirectory=root", "StateDirectory=yoursite")
        (tmp_path / Path(block.title).name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", *sorted(str(path) for path in tmp_path.glob("yoursite-*"))],
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = [line for line in done.stderr.splitlines() if "yoursite" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_the_commands_about_units_name_units_that_are_shown() -> None:
    shown = {Path(block.title).stem for block in UNITS} | {Path(b.title).name for b in UNITS}
    for page in (WORKERS, DOCS / "how-to/upgrade.md"):
        for block in blocks(page, "sh"):
            for name in re.findall(r"(yoursite-[\w.]+)", block.text):
                assert name in shown, f"{block}: {name}"


# The compose file.


def compose() -> Any:
    (block,) = [block for block in blocks(WORKERS, "yaml") if block.title == "compose.yaml"]
    return yaml.safe_load(block.text)


def test_every_service_of_the_compose_file_starts_a_command_that_is_one() -> None:
    services = compose()["services"]
    for name, service in services.items():
        if name != "database":  # whose image knows its own
            assert isinstance(service["command"], list), f"{name}: a shell would swallow SIGTERM"
            check(service["command"])
        probe = service.get("healthcheck", {}).get("test", ["CMD", "redis-cli"])
        assert probe[0] == "CMD"
        check(probe[1:])
        assert set(service.get("depends_on", {})) <= set(services)
    assert {"web", "worker", "beat", "migrate"} <= set(services)


def test_the_volumes_of_the_compose_file_are_declared() -> None:
    found = compose()
    used = [v for service in found["services"].values() for v in service.get("volumes", [])]
    assert {volume.partition(":")[0] for volume in used} == set(found["volumes"])


def test_the_commands_about_containers_name_services_of_the_compose_file() -> None:
    for page in (WORKERS, DOCS / "how-to/upgrade.md"):
        for block in blocks(page, "sh"):
            for words in lines(block.text):
                if words[:2] == ["docker", "compose"]:
                    rest = [word for word in words[3:] if not word.startswith("-")]
                    wanted = rest[:1] if words[2] in ("exec", "run") else rest
                    assert set(wanted) <= set(compose()["services"]), words


def test_the_environment_has_what_the_settings_read() -> None:
    """Of both pages together: settings on one, their environment on the other."""
    (environment,) = [b for b in blocks(WORKERS, "ini") if b.title == "/etc/yoursite.env"]
    given = dict(line.split("=", 1) for line in environment.text.splitlines())
    pages = [DOCS / "how-to/postgresql-and-redis.md", DOCS / "how-to/badgr.md"]
    wanted = {"SECRET_KEY", "FIELD_ENCRYPTION_KEY", "DJANGO_SETTINGS_MODULE"}
    for page in pages:
        for block in blocks(page, "python"):
            wanted |= set(re.findall(r"environ\[.(\w+).\]", block.text))
    assert wanted - {"RABBITMQ_URL"} == set(given)
    common = compose()["x-site"]["environment"]
    assert set(common) <= set(given)
    assert os.path.basename(compose()["x-site"]["env_file"]) == ".env"
