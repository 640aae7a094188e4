"""Dispatch's own view of accounts and their devices. Pure: rows come in, new rows and answers go out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from schemas.records import AccountChanged, App
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import DEVICE_REMOVED, Envelope
from workers.dispatch import apps
from workers.dispatch.normalise import NOTHING, View
from workers.runtime.lines import Doubt

MICROSECONDS: Final = 1_000_000
APART_S: Final = 5.0  # by which Ring's clock and ours may differ, and by which an event is ahead of the code it belongs to
DISTRUSTED: Final = "distrusted"  # the state of an account of which the store, set back, may not know the truth
Told = tuple[str, App]  # of which account, and by which app


class Version(msgspec.Struct, frozen=True):
    """One version of an account's link; fields as in `tables.accounts`."""

    account: str
    version: int
    state: str
    linked: bool
    partner_user: str | None
    partner_since: float
    apps: str = ""
    former_apps: str = ""
    generation: int = 0


class Holding(msgspec.Struct, frozen=True):
    """That an account had (or no longer had) a device at a time, in epoch seconds, by an app; fields as in `tables.devices`."""

    device: str
    account: str
    held: bool
    at: float
    app: App


class Known:
    """What is known at this point of a batch; what is learnt on the way is collected for the store."""

    def __init__(self, versions: Iterable[Version], holdings: Iterable[Holding]) -> None:
        """Take rows of the store, older before newer."""
        self._versions = {version.account: version for version in versions}
        self._holdings: dict[str, dict[Told, Holding]] = {}
        for holding in holdings:
            self._holdings.setdefault(holding.device, {})[holding.account, holding.app] = holding
        self._new_versions: list[Version] = []
        self._new_holdings: dict[tuple[str, Told], Holding] = {}
        self._stood = {version.account: version.version for version in self._versions.values()}
        self._forgotten: set[str] = set()

    @property
    def new_versions(self) -> Sequence[Version]:
        """Versions to be added."""
        return self._new_versions

    @property
    def new_holdings(self) -> Sequence[Holding]:
        """Holdings to be added: each app's last word on a pair."""
        return [*self._new_holdings.values()]

    @property
    def replaced(self) -> Mapping[str, int]:
        """Of changed accounts, the version that stood before this batch: the ones below it are of no use, even after an undo."""
        return {new.account: self._stood[new.account] for new in self._new_versions if new.account in self._stood}

    @property
    def forgotten(self) -> Collection[str]:
        """Accounts of which the store shall keep nothing that it held before this batch."""
        return self._forgotten

    def change(self, change: AccountChanged) -> bool:
        """Take a change in; say whether it is news: one whose version is not higher is none."""
        before = self._versions.get(change.account)
        if before is not None and change.version <= before.version:
            return False
        self._versions[change.account] = after(before, change)
        self._new_versions.append(self._versions[change.account])
        return True

    def forget(self, account: str) -> None:
        """Know nothing more of an account, nor of its devices."""
        self._forgotten.add(account)
        self._versions.pop(account, None)
        self._stood.pop(account, None)
        self._new_versions = [version for version in self._new_versions if version.account != account]
        self._new_holdings = {pair: holding for pair, holding in self._new_holdings.items() if holding.account != account}
        for said in self._holdings.values():
            for told in [told for told in said if told[0] == account]:
                del said[told]

    def see(self, envelope: Envelope, arrival: Arrival) -> None:
        """Learn from an event that names both an account and a device."""
        if not envelope.account or not envelope.device:
            return
        said, told = self._holdings.setdefault(envelope.device, {}), (envelope.account, arrival.app)
        at = (envelope.time or arrival.received_at).timestamp()
        now = Holding(envelope.device, envelope.account, envelope.type != DEVICE_REMOVED, at, arrival.app)
        if news(said.get(told), now):
            said[told] = self._new_holdings[envelope.device, told] = now

    def owner(self, device: str | None) -> str | None:
        """Return the account an event without one belongs to: the only completed account that has the device, or None."""
        linked = [held.account for held in self._believed(device or "") if held.held and self._is_or_was_linked(held.account)]
        return linked[0] if len(linked) == 1 else None

    def _believed(self, device: str) -> Collection[Holding]:
        """Return each account's last word on a device, of those by its own apps."""
        words = sorted(self._holdings.get(device, {}).values(), key=lambda held: held.at)
        return {held.account: held for held in words if not self._foreign(held)}.values()

    def _foreign(self, held: Holding) -> bool:
        """Say whether another app taught this, maybe while nobody could say; what was learnt by earlier versions names none."""
        version = self._versions.get(held.account)
        return bool(held.app) and version is not None and apps.foreign(version.apps, version.former_apps, held.app, held.at)

    def view(self, account: str, received_at: datetime, at: datetime) -> View:
        """Return what an event received then, which happened `at` by Ring's clock, may say of its account's link."""
        version = self._versions.get(account)
        return seen(version, received_at.timestamp(), at.timestamp()) if version else NOTHING

    def foreign(self, account: str, arrival: Arrival) -> bool:
        """Say whether a webhook was signed with the key of an app by which none of the account's grants came."""
        version = self._versions.get(account)
        at = arrival.received_at.timestamp()
        return version is not None and apps.foreign(version.apps, version.former_apps, arrival.app, at)

    def linked(self, account: str) -> bool:
        """Say whether an account's link is known to be complete."""
        return self._is_or_was_linked(account) and not self.distrusted(account)

    def distrusted(self, account: str) -> bool:
        """Say whether it has to be told again how the account stands."""
        version = self._versions.get(account)
        return version is not None and version.state == DISTRUSTED

    def _is_or_was_linked(self, account: str) -> bool:
        version = self._versions.get(account)
        return version is not None and version.linked

    def connected_at(self, account: str) -> float:
        """Return when the code of the account's link came, in epoch seconds; 0 where that is not known."""
        version = self._versions.get(account)
        return version.generation / MICROSECONDS if version else 0.0

    def proven(self, account: str, doubt: Doubt) -> bool:
        """Say whether a removal that was told ended what was there then: the link is of a later code, or by other apps alone."""
        return doubt.proven or doubt.at <= self.connected_at(account) or self.left(account, doubt)

    def left(self, account: str, doubt: Doubt) -> bool:
        """Say whether the account has open grants, and none by the app that was removed."""
        version = self._versions.get(account)
        return version is not None and apps.gone(version.apps, doubt.app)

    def removed(self, account: str) -> bool:
        """Say whether the account's user has taken the app away."""
        version = self._versions.get(account)
        return version is not None and version.state == "removed"


def after(before: Version | None, change: AccountChanged) -> Version:
    """Return the version that a change makes; since when events are its user's the linker says, who knows every grant."""
    user, since = (before.partner_user, before.partner_since) if before else (None, 0.0)
    if change.linked and (change.since or change.partner_user != user):
        since = (change.since or change.at).timestamp()
    former = apps.after(before.apps, before.former_apps, change.apps, change.at.timestamp()) if before else ""
    own, named = apps.written(change.apps), change.whose or user
    return Version(change.account, change.version, change.state, change.linked, named, since, own, former, change.generation)


def seen(version: Version, received_at: float, at: float) -> View:
    """Return the view for an event; one that came, or happened, before the present user's time names no user (security.md 4).

    Ring sends an event again for more than an hour. None names one, either, while it has to be told again whose the account is.
    """
    since = version.partner_since
    if received_at < since or at < since - APART_S or version.state == DISTRUSTED:
        return NOTHING
    return View(linked=version.linked, partner_user=version.partner_user)


def news(before: Holding | None, now: Holding) -> bool:
    """Say whether an event tells something new of a pair; older events than the last word tell nothing."""
    return before is None or (now.held != before.held and now.at > before.at)
