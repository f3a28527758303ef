"""The actions of staff on existing accounts; each asks first."""

from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connected_accounts.admin.addresses import admin_url, site_of
from connected_accounts.exceptions import ConnectedAccountsError, Undecryptable
from connected_accounts.models import ConnectedAccount, Kind, Status
from connected_accounts.owners import is_owner_key
from connected_accounts.web import browser

CONFIRM: Final = "admin/connected_accounts/connectedaccount/confirm.html"
CHANGE: Final = "connected_accounts.change_connectedaccount"
SHOWN: Final = 20
MANY: Final = 100  # from here on an action warns, and refreshes are not sent one by one


def ask_first(
    request: HttpRequest, context: dict[str, Any], accounts: QuerySet[ConnectedAccount], action: str
) -> HttpResponse | None:
    """The page that says what an action of the list is about to do; None once that was said yes to.
    Back to the list where none of the accounts is there any more.

    ``context`` has ``title`` and ``explanation``."""
    if not accounts.exists():
        words = _("The accounts that you chose are no longer in this list; nothing was done.")
        messages.warning(request, words)
        return browser.SeeOther(request.get_full_path())
    if request.POST.get("confirmed") == "yes":
        return None
    chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    total = accounts.count()
    context |= {
        "total": total,
        "many": total > MANY,
        "action": action,
        "accounts": list(accounts.select_related("user")[:SHOWN]),
        "more": max(0, total - SHOWN),
        "chosen": chosen,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "across": request.POST.get("select_across", "0"),
    }
    return TemplateResponse(request, CONFIRM, context)


def refresh(accounts: QuerySet[ConnectedAccount]) -> str:
    """Have the accounts refreshed: a few at once, whatever they wait for; many in turn, as their
    providers' pauses and rate limits let them. Returns what to tell the person."""
    from connected_accounts import tasks  # loads Celery

    pks = list(accounts.values_list("pk", flat=True)[: MANY + 1])
    if len(pks) > MANY or not tasks.has_celery():
        rows = ConnectedAccount.objects.renewable().exclude(refresh_at=None)
        # A subquery of the list, which may have been narrowed by a join.
        due = rows.filter(pk__in=accounts.order_by().values("pk"))
        count = due.transition(refresh_at=timezone.now())
        tasks.enqueue(tasks.refresh_due_accounts)
        words = ngettext(
            "%(count)d account is due now, and is refreshed in turn.",
            "%(count)d accounts are due now, and are refreshed in turn.",
            count,
        )
        return words % {"count": count}
    for pk in pks:
        tasks.enqueue(tasks.refresh_account, pk)
    words = ngettext(
        "%(count)d account is being refreshed; reload the list to see how it went.",
        "%(count)d accounts are being refreshed; reload the list to see how it went.",
        len(pks),
    )
    return words % {"count": len(pks)}


def ask_to_reconnect(accounts: QuerySet[ConnectedAccount]) -> tuple[int, int]:
    """Have one mail sent to the owner of each account that must be connected again, unless it was
    within the last week. Returns how many that is, and how many accounts get none."""
    from connected_accounts import tasks  # loads Celery
    from connected_accounts.operations.notices import address_of

    ended = accounts.filter(status=Status.RECONNECT_REQUIRED, user__isnull=False)
    rows = [row for row in ended.select_related("user") if address_of(row.user)]
    for row in rows:
        tasks.enqueue(tasks.mail_reconnect, row.pk, row.generation)
    return len(rows), accounts.count() - len(rows)


def give_away(
    request: HttpRequest, accounts: QuerySet[ConnectedAccount], name: str
) -> tuple[int, str]:
    """Give each account to the user of that name, or the owner of that key. Returns how many were,
    and why the next was not."""
    from connected_accounts.operations.ownership import move_to_owner

    name = name.strip()
    user = get_user_model()._base_manager.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    if user is None and not is_owner_key(name):
        return 0, _("There is no user of this name, and it is not the key of a team.")
    moved = 0
    for account in accounts:
        try:
            move_to_owner(account, user or name, by=request.user)
        except Undecryptable:
            return moved, f"{account}: {Kind.UNDECRYPTABLE.label}."
        except ConnectedAccountsError as error:
            if error.code == "already_connected":
                return moved, _("%(account)s: its new owner has this account already.") % {
                    "account": account
                }
            return moved, _("%(account)s is gone.") % {"account": account}
        moved += 1
    return moved, ""


def try_account(request: HttpRequest, context: dict[str, Any], pk: str) -> HttpResponse:
    """GET asks; POST calls the provider once with the account's token, and says what came back."""
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    account = ConnectedAccount.objects.filter(pk=pk).first() if pk.isdecimal() else None
    if account is None:
        raise Http404
    change = admin_url(site_of(request), "connectedaccount_change", account.pk)
    if request.method != "POST":
        explanation = _(
            "The provider is called once with this account's token, which is refreshed first where "
            "that is due. Nothing is changed there."
        )
        context |= {"explanation": explanation, "accounts": [account], "back": change}
        return TemplateResponse(request, CONFIRM, context)
    from connected_accounts.web.check_results import test_and_explain  # loads requests

    result = test_and_explain(account)
    level = messages.SUCCESS if result.state == "connected" else messages.WARNING
    messages.add_message(request, level, f"{result.title}. {result.text}")
    return browser.SeeOther(change)
