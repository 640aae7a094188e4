"""What can have become of one call to Ring: the words in which the shell tells the saga."""

import msgspec


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """New tokens, sealed for write `writes` of their row; `given_at` and `expires_at` in epoch seconds."""

    access: bytes
    refresh: bytes | None
    writes: int
    given_at: float
    expires_at: float


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Ring did what was asked."""

    tokens: Tokens | None = None
    account: str | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Ring answered no, and nothing happened. `stale`: the nonce (POST) or the transition (PATCH) is not good any more."""

    words: str
    stale: bool = False
    past: bool = False  # to a POST: the integration awaits its PATCH already, or is completed
    client: bool = False  # to a code: our client id or secret is wrong, and the code as lost as any other
    doubtful: bool = False  # maybe not Ring's, but of a gate on the way: to a refresh, whoever answers so for days means it


class Unauthorised(msgspec.Struct, frozen=True, kw_only=True):
    """Ring does not accept the access token."""

    words: str


class NotSent(msgspec.Struct, frozen=True, kw_only=True):
    """The request was not acted on: no connection, 429 or 503; or it only reads. `wait`: seconds Ring asked for."""

    words: str
    wait: float = 0.0
    limited: bool = False  # 429: everybody waits
    client: bool = False  # our client id or secret is wrong, which must not end every grant there is
    sealed: bool = False  # our own key is missing: what was to be sent cannot be opened
    stray: bool = False  # the app that the grant came by is not configured: nobody else's credentials would do


class Unclear(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody knows whether Ring acted: timeout, connection cut, 500, 502, 504."""

    words: str
    wait: float = 0.0


Outcome = Done | Refused | Unauthorised | NotSent | Unclear
