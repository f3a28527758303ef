"""Connecting and disconnecting at sites that differ from the usual one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.doc_pages import DOCS, blocks
from tests.quickstart.servers import free_port
from tests.sites.conftest import ASGI, PERSON, Site
from tests.sites.nginx import nginx

Stand = Callable[..., Site]


def test_a_site_without_celery_and_broker_renews_withdraws_and_tells(stand: Stand) -> None:
    site = stand("plain")
    site.sign_in()
    assert "GitLab is connected." in site.connect().text
    assert "no issues" in site.manage("check")
    site.due()
    assert site.manage("refresh_connections") == "1 refreshed, 0 failed, 0 revocations tried\n"
    assert site.get("/use/").json() == {"id": "ada", "name": "Ada Lovelace", "username": "ada"}

    site.sandbox.fake.withdraw()
    site.due()
    assert site.get("/use/").json() == {"error": "revoked"}
    (mail,) = (site.folder / "mails").iterdir()
    assert f"To: {PERSON[1]}" in mail.read_text()
    home = site.browser.open(f"{site.address}/")
    assert "1 connection needs your attention" in home.text
    assert "1 connection needs" not in site.browser.open(f"{site.address}/connections/").text

    assert "GitLab is disconnected." in site.disconnect().text
    assert site.manage("refresh_connections").endswith("1 revocations tried\n")
    assert "not sent" not in site.family.children[0].tail()


def test_a_page_in_each_language_connects_by_one_redirect_uri(stand: Stand) -> None:
    site = stand("in_languages")
    site.sign_in()
    assert "GitLab ist verbunden." in site.connect("/de/connections/").text
    assert "GitLab est de nouveau connecté." in site.connect("/fr/connections/").text
    assert "GitLab ist getrennt." in site.disconnect("/de/connections/").text


def test_staff_on_an_admin_site_of_their_own_see_and_end_a_connection(stand: Stand) -> None:
    site = stand("two_admins")
    site.sign_in()
    site.connect()
    accounts = f"{site.address}/staff/connected_accounts/connectedaccount/"
    page = site.browser.open(accounts)
    assert not page.links_to(f"{site.address}/admin/")
    (person,) = {link for link in page.links if "/person/" in link}
    assert "ada" in site.browser.open(person).text
    chosen = {"action": "disconnect_and_revoke", "_selected_action": "1", "confirmed": "yes"}
    page = site.browser.open(accounts)
    form = page.form(control="action")
    assert form is not None
    site.browser.send(form, **chosen)
    assert site.browser.page.url == accounts
    assert "1 account is disconnected" in site.browser.page.text
    site.manage("refresh_connections")
    assert not any(grant.is_alive for grant in site.sandbox.fake.grants)
    assert site.get("/admin/connected_accounts/connectedaccount/").status_code == 404


def test_people_with_a_uuid_who_sign_in_by_e_mail_are_found_by_it(stand: Stand) -> None:
    site = stand("people")
    site.sign_in(PERSON[1])
    assert "GitLab is connected." in site.connect().text
    listed = f"{site.address}/admin/connected_accounts/connectedaccount/?q={PERSON[1]}"
    page = site.browser.open(listed)
    (person,) = {link for link in page.links if "/person/user:" in link}
    assert PERSON[1] in site.browser.open(person).text
    assert "GitLab is disconnected." in site.disconnect().text
    assert PERSON[1] in site.browser.open(person).text


def test_asgi_with_an_asynchronous_middleware_connects_uses_and_disconnects(stand: Stand) -> None:
    site = stand("asynchronous", server=ASGI)
    site.sign_in()
    assert "GitLab is connected." in site.connect().text
    passed = site.get("/use-asynchronously/")
    assert passed.json() == {"token": True}
    assert passed.headers["X-Passed"] == "asynchronously"
    site.due()
    assert site.get("/use-asynchronously/").json() == {"token": True}
    assert "GitLab is disconnected." in site.disconnect().text
    site.manage("refresh_connections")
    assert not any(grant.is_alive for grant in site.sandbox.fake.grants)
    assert "Error" not in site.family.children[0].tail()


@pytest.mark.parametrize("told_by", ["settings", "server"])
def test_under_a_path_behind_nginx_each_address_has_the_path(
    stand: Stand, tmp_path: Path, told_by: str
) -> None:
    """As the documentation has it; or with a server that sets ``SCRIPT_NAME`` itself."""
    front, inner = free_port(), free_port()
    address = f"http://127.0.0.1:{front}/app"
    (location,) = [b.text for b in blocks(DOCS / "how-to/under-a-path.md", "nginx")]
    location = location.replace("127.0.0.1:8000/", f"127.0.0.1:{inner}/")
    server = ("waitress", f"--listen=127.0.0.1:{inner}", "tests.sites.servers:wsgi")
    if told_by == "server":
        location = location.replace(f"{inner}/;", f"{inner};")
        server = (*server[:2], "--url-prefix=/app", server[2])
    with nginx(tmp_path, front, location):
        site = stand("under_a_path", address=address, server=server)
        assert "no issues" in site.manage("check")
        site.sign_in()
        assert site.browser.page.url == f"{address}/connections/"
        page = site.connect()
        assert "GitLab is connected." in page.text
        outside = [link for link in page.links if not link.startswith(f"{address}/")]
        assert outside == []
        site.sandbox.fake.withdraw()
        site.due()
        site.manage("refresh_connections")
        (mail,) = (site.folder / "mails").iterdir()
        assert f"{address}/connections/1/reconnect/" in mail.read_text()
        assert 'href="/app/static/connected_accounts/connected_accounts.css"' in site.get("/").text
        assert "GitLab is disconnected." in site.disconnect().text
        elsewhere = site.browser.session.get(f"http://127.0.0.1:{front}/connections/", timeout=60)
        assert elsewhere.status_code == 404
