"""The linker's rows as values. Times are epoch seconds in UTC; what is sealed stays sealed here."""

from typing import Final, Literal, NamedTuple, get_args

import msgspec

from schemas.records import App, LinkState

# What is to be done next for a grant. The forms in -ing are intents, committed before a request that must not be blindly
# repeated: a row found in one of them belongs to a linker that died in mid-request.
Stage = Literal[
    "exchange",  # POST the code
    "exchanging",
    "identify",  # GET users/me
    "wait",  # for a user to sign in
    "post",  # POST the integration with the nonce
    "posting",
    "probe",  # PATCH, because nobody knows whether the POST arrived
    "verify",  # PATCH, because a repeated POST was refused: perhaps the first one had arrived
    "patch",  # PATCH, after a POST that was answered
    "refresh",  # renew the tokens, then go on with `resume`
    "refreshing",
    "look",  # GET devices, because Ring told that the user removed the app
    "rest",
]

# Why an account may come to need its user: those that begin with `lost_` have come to it.
Risk = Literal[
    "failing",  # its tokens could not be renewed for days
    "unanswered",  # the answer to a renewal is missing: the next one tells
    "unreadable",  # the key that sealed its tokens is not configured
    "stray",  # the app that it came by is not configured
    "lost_refused",  # Ring refused to renew
    "lost_unanswered",  # the new tokens were in an answer that never came, and Ring refuses the old
    "lost_expired",  # 30 days went by without a renewal
    "lost_unaccepted",  # Ring renewed the tokens and does not take them
    "lost_restored",  # it came after the backup that the store was restored from
]

RISKS: Final[tuple[Risk, ...]] = get_args(Risk)
LOST: Final = frozenset(risk for risk in RISKS if risk.startswith("lost_"))

# The line in which a row waits, by what its step asks of Ring: each has room of its own (linker/rooms.py).
LINKS: Final = 0  # POST, and whether an app was removed that somebody just signed in for
STRANGERS: Final = 1  # codes on the plain path, behind everything proven
ASIDE: Final = 2  # what only keeps tokens alive: ten thousand of them hold up no link
CODES: Final = 3
NAMES: Final = 4  # GET users/me
PATCHES: Final = 5
WANTED: Final = 6  # renewals that the broker waits for
FRESHENED: Final = 7  # renewals that a sign-in waits for: its ten minutes run
ENDED: Final = frozenset({"expired", "lost", "rejected", "contested", "removed"})
OVER: Final = ENDED | {"completed"}
Mark = tuple[str, float]  # (what happened, when)
EARLY: Final = (
    3_600.0  # seconds for which it counts: what Ring has not named by then it does not name with tokens that are taken back
)


class Early(NamedTuple):
    """A removal told before its account was named."""

    app: App  # empty where Ring did not say by which
    removed_at: float  # Ring's time
    told_at: float  # ours


class GrantSteps(msgspec.Struct, frozen=True, kw_only=True):
    """How far a grant has come: all that the live page, and so the role behind the public door, may know of it."""

    state: LinkState = "received"
    tries: int = 0
    reason: str | None = None
    attempt: str | None = None
    marks: tuple[Mark, ...] = ()


class GrantStanding(GrantSteps, frozen=True, kw_only=True):
    """How a grant stands and whose it is: all that `/v1` may know of it."""

    generation: int  # microseconds of received_at: orders the grants of one account
    account: str | None = None
    partner_user: str | None = None
    tokens_at: float | None = None  # when Ring gave these tokens


class Grant(GrantStanding, frozen=True, kw_only=True):
    """One code that Ring gave us, and everything that became of it: for the linker alone."""

    code_hash: str  # SHA-256 of the code in hex: the natural key
    app: App
    stranger: bool = False
    received_at: float
    stage: Stage = "exchange"
    resume: Stage | None = None  # where to go on after a refresh
    resume_at: float | None = None  # when that step is due, where the refresh is not for its sake; else at once
    renewed: bool = False  # the tokens were renewed for the stage at hand: a second 401 does not renew them again
    untaken_at: float | None = None  # since when Ring's API refuses these renewed tokens
    due_at: float | None
    queue: int = CODES  # its line
    begun: int = 0  # how often this stage was taken up without an end: above 1, a linker died in it
    posts: int = 0  # of this nonce
    patched: bool = False  # a PATCH for this nonce may have arrived whose answer nobody has
    nonce_until: float | None = None
    code: bytes | None = None  # sealed box, until it was sent
    access: bytes | None = None  # sealed by the vault, as is refresh
    refresh: bytes | None = None
    writes: int = 0  # the vault's write counter: old ciphertext does not open in a newer row
    expires_at: float | None = None  # of the access token
    settles_at: float | None = None  # the answer to a renewal is missing: the same refresh token is not sent before
    risk: Risk | None = None
    withdrawn_at: float | None = None  # when, by what Ring told, the user removed the app: not proven yet
    look_at: float | None = None  # when Ring is asked whether that is so
    looks: int = 0  # how often it still took the token since
    open_at: float | None = None  # when it became unclaimed, the last time
    pool: int | None = None  # the generation, while a nonce may match this grant
    completed_at: float | None = None
    counter: int = 0  # compare-and-swap


class AttemptSteps(msgspec.Struct, frozen=True, kw_only=True):
    """How far a confirmed sign-in has come: all that anybody but the linker may know of it."""

    attempt: str
    partner_user: str
    state: LinkState = "received"
    grant: str | None = None  # the grant whose account reproduces the nonce, once it is known
    follows: str | None = None  # the attempt of the same user that brought the same nonce first
    reason: str | None = None
    marks: tuple[Mark, ...] = ()


class Attempt(AttemptSteps, frozen=True, kw_only=True):
    """One confirmed sign-in, which looks for its grant."""

    nonce_hash: str | None  # SHA-256; unique; None where another attempt brought the nonce first
    secret: bytes | None  # sealed box around LinkSecret, until it was used
    time: str  # as Ring sent it
    until: float  # end of the nonce's window
    requested_at: float
    due_at: float | None
    horizon: float | None = None  # grants that opened before were tried already
    counter: int = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the world may know of one account; announced whenever `announced` < `version`."""

    account: str
    version: int = 0
    announced: int = 0
    generation: int = 0
    state: LinkState = "unclaimed"
    linked: bool = False
    partner_user: str | None = None  # whose it is, or was until its link ended
    changed_at: float = 0.0
    since: float = 0.0  # epoch seconds from when on its events are the linked user's; 0: not known
    risk: Risk | None = None  # announced where it is lost
    apps: str = ""  # the ids of the apps of its open grants, sorted, with commas between

    @property
    def user(self) -> str | None:
        """Return whose it is."""
        return self.partner_user if self.linked else None

    @property
    def last_user(self) -> str | None:
        """Return whose it was, where it is not linked any more."""
        return None if self.linked else self.partner_user

    @property
    def app_ids(self) -> tuple[App, ...]:
        """Return them one by one."""
        return tuple(self.apps.split(",")) if self.apps else ()


class End(NamedTuple):
    """That a sign-in or a grant came to an end, or completed."""

    what: Literal["attempt", "grant"]
    state: LinkState
    risk: Risk | None = None  # what a grant's tokens were lost by
    attempt: str | None = None  # the public id of a sign-in
    why: str | None = None


def end_of(before: Grant | Attempt, after: Grant | Attempt) -> tuple[End, ...]:
    """Return the end that this transition is, if it is one."""
    if after.state == before.state or after.state not in OVER:
        return ()
    if isinstance(after, Grant):
        return (End("grant", after.state, after.risk),)
    return (End("attempt", after.state, attempt=after.attempt, why=after.reason),)
