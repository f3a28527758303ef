"""The admin's part of the check: accounts that belong to the site itself."""

from typing import Final

from example_project.browser import BadPage, Browser
from example_project.walkthrough import REFRESH_WITHIN, Walkthrough

ADMIN_LOGIN: Final = ("admin", "admin")
ISSUER_LOGIN: Final = ("grace", "grace")
LIST: Final = "/admin/connected_accounts/connectedaccount/"


class AdminWalkthrough(Walkthrough):
    """Connects, watches, uses and disconnects the site's own accounts at Bits and at Badgr."""

    def run_admin(self, site: str, sandbox: str) -> None:
        self.site, self.sandbox, self.browser = site, sandbox, Browser()
        self.sign_in_to_admin()
        bits = self.connect_bits()
        badgr = self.connect_badgr()
        for name, pk, shown in (
            ("Bits", bits, "bits:application::"),
            ("Badgr", badgr, "entityId"),
        ):
            self.wait_for_renewal(name, pk)
            self.use(name, pk, shown)
        for name, pk in (("Bits", bits), ("Badgr", badgr)):
            self.disconnect_in_admin(name, pk)
        self.look_back()

    def sign_in_to_admin(self) -> None:
        with self.step("signed in to the admin") as details:
            name, password = ADMIN_LOGIN
            self.browser.open(f"{self.site}/admin/login/?next=/admin/")
            form = self.browser.page.form(control="password")
            self.browser.send(form, username=name, password=password)
            self.expect("Site administration")
            details.append(name)

    def connect_bits(self) -> str:
        with self.step("the site's own Bits: connected with the client in settings") as details:
            self.start("bits")
            self.expect("bits:customer::")
            details.append("accepted at once")
            return self.pk_of_shown_page()

    def connect_badgr(self) -> str:
        with self.step("the site's own Badgr: connected by authorization code") as details:
            self.start("badgr")
            self.expect_at(self.sandbox)
            name, password = ISSUER_LOGIN
            login = self.browser.page.form(control="password")
            self.browser.send(login, username=name, password=password)
            self.browser.send(self.browser.page.form(control="allow"), press="allow")
            self.expect_at(f"{self.site}{LIST[:-1]}")
            self.expect("Badgr is connected.")
            self.browser.open(f"{self.site}{LIST}?owner=site&provider=badgr")
            [row] = {
                link
                for link in self.browser.page.links_to(f"{self.site}{LIST}")
                if "/change/" in link
            }
            self.browser.open(row)
            details.append(f"as {name}")
            return self.pk_of_shown_page()

    def start(self, alias: str) -> None:
        self.browser.open(f"{self.site}{LIST}connect/?provider={alias}")
        self.browser.send(self.browser.page.form(control="provider"))

    def pk_of_shown_page(self) -> str:
        path = self.browser.page.url.partition("?")[0].removeprefix(f"{self.site}{LIST}")
        pk, _, rest = path.partition("/")
        if not pk.isdecimal() or rest != "change/":
            raise BadPage(f"ended at {self.browser.page.url.partition('?')[0]}")
        return pk

    def wait_for_renewal(self, name: str, pk: str) -> None:
        def renewed() -> bool:
            page = self.browser.open(f"{self.site}{LIST}{pk}/change/")
            words = page.text.partition("Last refreshed:")[2].split()
            return bool(words) and words[0] != "-"

        with self.step(f"the site's own {name}: token renewed by beat and worker"):
            self.wait_until(renewed, REFRESH_WITHIN, "the token was not renewed")

    def use(self, name: str, pk: str, shown: str) -> None:
        with self.step(f"the site's own {name}: called its API with the new token") as details:
            page = self.browser.open(f"{self.site}/accounts/{pk}/")
            if page.text_of("status") != "200":
                raise BadPage(f"the API was not reached: {page.text[:300]}")
            self.expect(shown)
            details.append("200")

    def disconnect_in_admin(self, name: str, pk: str) -> None:
        with self.step(f"the site's own {name}: disconnected in the admin"):
            form = self.browser.open(f"{self.site}{LIST}").form(control="index")
            if form is None:
                form = self.browser.page.form(control="csrfmiddlewaretoken")
            self.browser.send(form, action="disconnect_and_revoke", _selected_action=pk)
            asked = self.browser.page.form(control="confirmed")
            if asked is None:
                raise BadPage("the admin did not ask before it disconnected")
            self.browser.send(asked)
            self.expect("is disconnected")
