"""What an account is, seen over all its grants: only the serving generation decides `linked`. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from linker.rows import ENDED, LOST, Account, Grant, Risk
from schemas.records import CLOCKS_APART, App

_POSTED: Final = frozenset({"patch", "probe", "verify", "post"})


def serving(grants: Sequence[Grant]) -> Grant | None:
    """Return the newest completed grant: the old generation serves until a newer one completes (correctness.md §7)."""
    return max((grant for grant in grants if grant.state == "completed"), key=_order, default=None)


def replaced(grants: Sequence[Grant]) -> list[Grant]:
    """Return the grants that a newer completed one has made pointless."""
    now = serving(grants)
    return [grant for grant in grants if now and _order(grant) < _order(now) and grant.state not in ENDED]


def heir(grants: Sequence[Grant], link: Grant, meant_by: float) -> Grant | None:
    """Return the newer grant that a link's sign-in was meant for, and that was only slow: Ring was told by the link's tokens.

    `meant_by`: by when that sign-in's own code has come. What is in doubt takes nothing over, nor does a code that came after
    the completion, which it undid at Ring.
    """
    told_at = min(meant_by, link.completed_at or 0.0)
    mine = (one for one in grants if one.app == link.app and _order(link) < _order(one) and one.received_at <= told_at)
    return _newest(one for one in mine if waits(one))


def waits(grant: Grant) -> bool:
    """Say whether a grant waits for somebody to sign in, and nothing about it is in doubt."""
    return (grant.state, grant.stage, grant.risk, grant.withdrawn_at) == ("unclaimed", "wait", None, None)


def overtaken(grants: Sequence[Grant], app: App) -> list[Grant]:
    """Return the grants that the PATCH of another, which just completed by this app, may have completed too.

    Ring's integration is one for each app. It refuses their own PATCH then, and they must not take that for a link that cannot
    be completed; one by another app must not take its refusal for a link that is.
    """
    posted = (grant for grant in grants if grant.stage in _POSTED and grant.posts)
    return [grant for grant in posted if grant.app == app and not grant.patched]


def seen(account: Account, grants: Sequence[Grant], now: float) -> Account:
    """Return the account as its grants make it; the version rises only where something changed.

    Where none serves and none is on its way, it stands as the one that ended last: its removal is the account's, whatever a newer
    one had come to before.
    """
    shown = serving(grants) or _newest(grant for grant in grants if grant.state not in ENDED) or ended_last(grants)
    if shown is None:
        return account
    linked = shown.state == "completed"
    # A grant that is not linked yet does not change whose it was; one that ended does, whoever else is on the way.
    user = (shown.partner_user if linked else _last_user(grants)) or account.partner_user
    since = _since(account, shown, grants, now) if linked else account.since
    after = replace(account, state=shown.state, generation=shown.generation, linked=linked, partner_user=user, since=since)
    after = replace(after, apps=",".join(sorted(apps(grants))))
    risk = shown.risk if linked else _loss(account, shown, grants) or shown.risk
    news = after != account or (risk in LOST) != (account.risk in LOST)  # another risk is the operator's to know, not the world's
    after = replace(after, risk=risk)
    return replace(after, version=account.version + 1, changed_at=now) if news else after


def _loss(account: Account, shown: Grant, grants: Sequence[Grant]) -> Risk | None:
    """Return by what the link was lost that served last: until one serves again, whatever nobody signed in for comes and goes.

    A removal is no loss: the user wanted it.
    """
    if shown.state == "removed":
        return None
    served = max((grant for grant in grants if grant.completed_at), key=lambda grant: grant.completed_at or 0.0, default=None)
    if served and served.state == "lost":
        return served.risk
    return account.risk if account.risk == "lost_restored" else None  # of a link that is not in this store


def _since(account: Account, shown: Grant, grants: Sequence[Grant], now: float) -> float:
    """Return from when on events are the serving grant's user's (security.md 4).

    Who serves on, or comes back with nobody in between, keeps what was theirs. A first user gets what came since the code of the
    link: an earlier connection may have been another's. After somebody else, and be it that they only signed in, it is from now.
    """
    user = shown.partner_user
    if account.linked and account.partner_user == user and account.since:
        return account.since
    mine = max((grant.completed_at or 0.0 for grant in grants if grant is not shown and grant.partner_user == user), default=0.0)
    others = [grant for grant in grants if grant.partner_user not in {None, user}]
    if account.partner_user not in {None, user} or any(_latest(grant) > mine for grant in others):
        return now
    return account.since if mine and account.since else shown.received_at - CLOCKS_APART


def _latest(grant: Grant) -> float:
    """Return when something happened to a grant last; a removal told of later than its loss only says why it had ended."""
    marks = grant.marks[:-1] if [name for name, _ in grant.marks[-2:]] == ["lost", "removed"] else grant.marks
    return max((at for _, at in marks), default=grant.received_at)


def _newest(grants: Iterable[Grant]) -> Grant | None:
    return max(grants, key=_order, default=None)


def ended_last(grants: Iterable[Grant]) -> Grant | None:
    """Return the grant that ended last."""
    ended = (grant for grant in grants if grant.state in ENDED)
    return max(ended, key=lambda grant: (_latest(grant), _order(grant)), default=None)


def _last_user(grants: Sequence[Grant]) -> str | None:
    """Return who had signed in for the grant that ended last, of those for which somebody had."""
    last = ended_last(grant for grant in grants if grant.partner_user)
    return last.partner_user if last else None


def apps(grants: Sequence[Grant]) -> set[App]:
    """Return the apps by which the account's webhooks may come: the serving grant's, and those of grants on their way."""
    return {grant.app for grant in grants if grant.state not in ENDED}


def heeds(grants: Sequence[Grant], app: App | None) -> bool:
    """Say whether what that app tells of the account counts: not where only others serve it, or are about to."""
    known = apps(grants)
    return app is None or not known or app in known


def _order(grant: Grant) -> tuple[int, str]:
    return grant.generation, grant.code_hash
