"""Every finding's page: the one place for its words. Codes are stable; the first digit says how far the connection has come."""

from typing import Final

from schemas.findings.finding import Page

_IN_THE_APP: Final = (
    "In the Ring app, signed in to the Ring account that was allowlisted, open the Ring Appstore, choose your app, select "
    "devices, confirm."
)
_RECONNECT: Final = "The user removes the app in the Ring app and connects it again."
_TAP: Final = "The user taps Sign In in the Ring app again."

NO_CALL: Final = Page(
    code="RH-101",
    title="No call from Ring yet",
    means='The portal\'s "Log in with Ring" button only allowlists a tester: it calls none of your URLs, and its success means '
    "nothing more. Ring calls once a user connects the app in the Ring app.",
    do=(_IN_THE_APP,),
    hinders=(
        "The Ring app is signed in to another Ring account than the one that was allowlisted.",
        "The account has no device at a US address. Developers elsewhere move a device to a location in the US for the test.",
        "The account has no active paid Ring Protect plan.",
        "The app has its 10 staging users already, or as a private app its 5 accounts.",
        "The URLs were entered under the portal's other environment: staging and production each have their own.",
        "The URLs do not begin with https, their certificate chain is incomplete, or a firewall lets only known addresses in.",
    ),
)
UNPROVEN: Final = Page(
    code="RH-102",
    title="Calls came, and none has proved to be Ring's",
    means="Anybody can call a public URL, so a call counts as Ring's only once a signature, a nonce or an exchange held. If "
    "these were Ring's, the HMAC key here is not the one that the portal showed.",
    do=(
        "Compare RINGHOOK_RING_HMAC_KEY with the portal's key, as it stands there: no space, no line end, not decoded.",
        "If they were strangers, go on as if nobody had called (RH-101).",
    ),
)
WRONG_SECRET: Final = Page(
    code="RH-103",
    title="Codes come to another path than RINGHOOK_EXCHANGE_SECRET names",
    means="The Token Exchange URL in the portal ends in another secret than the one that is configured here.",
    do=("Enter in the portal as Token Exchange URL: your public URL, /ring/token-exchange/ and the value that .env has.",),
)
ODD_CODE: Final = Page(
    code="RH-104",
    title="A code came in a form that is not known",
    means="Something was posted to the Token Exchange URL in which no code could be found. If it was Ring, its "
    "request has changed.",
    do=("Look at what came (its fields are named below, never its values), and report it to the makers of ringhook.",),
)
SIGNATURES: Final = Page(
    code="RH-105",
    title="Webhooks come whose signature does not fit",
    means="Something was posted to the Webhook URL that is not signed with this key over these bytes. Ring counts the refusals: "
    "after a run of them it may disable the endpoint.",
    do=(
        "Compare RINGHOOK_RING_HMAC_KEY with the portal's key: its text itself is the key, it is never decoded from base64.",
        "Look whether what stands before ringhook (a proxy, a gateway, a tunnel) rewrites bodies: the bytes must arrive as sent.",
        "Where two apps are in use, set the second one's key as RINGHOOK_RING_HMAC_KEY_NEXT.",
    ),
)
NOT_REACHED: Final = Page(
    code="RH-107",
    title="The public URL is not reached from this machine",
    means="Where this machine cannot reach it, Ring most likely cannot either; only some networks let nobody out and in again.",
    do=(
        "Try the URL from outside, from a phone without Wi-Fi for example.",
        "Look at the name's DNS entry, the firewall, and the certificate: the whole chain must be sent, not the last one alone.",
    ),
)
REDIRECTED: Final = Page(
    code="RH-108",
    title="The public URL redirects",
    means="Ring posts to the URL that the portal names, and follows no redirect.",
    do=("Set RINGHOOK_PUBLIC_URL, and the portal's URLs, to the address where it leads.",),
)
ANOTHER: Final = Page(
    code="RH-109",
    title="Something else answers at the public URL",
    means="A proxy's own page, another service, or a path that is cut on the way.",
    do=("Have the proxy pass /ring/ on to RINGHOOK_PUBLIC_LISTEN, path and body unchanged.",),
)
PROBE_REFUSED: Final = Page(
    code="RH-110",
    title="A signed webhook does not come through the public URL",
    means="The doctor signs a webhook as Ring does and posts it to the public Webhook URL. 401: what answers has another HMAC "
    "key, or something on the way rewrites bodies or drops the header X-Signature. 503: the bus takes nothing.",
    do=(
        "Where it was 401: see that `ringhook ingress` (or `up`) was restarted since the key was changed.",
        "See that the proxy passes the header X-Signature and the body on unchanged.",
        "Where it was 503: `/readyz` of ingress says what is in the way.",
    ),
)
PROBE_ELSEWHERE: Final = Page(
    code="RH-111",
    title="Another installation answers at the public URL",
    means="The doctor's webhook was taken at the public URL, and this installation's bus does not hold it: what answers there "
    "writes onto another bus, of staging or production perhaps, which share Ring's keys.",
    do=("Compare RINGHOOK_PUBLIC_URL, RINGHOOK_BUS_URL and RINGHOOK_NAMESPACE of the roles with those here.",),
)
MISFITS: Final = {
    "body_rewritten": "it fits once the body's JSON is written in another way, so something on the way here rewrites bodies",
    "body_line_end": "it fits but for a line end or spaces around the body, so something on the way here changes bodies",
    "signature_base64": "it is the right signature in base64, where Ring writes hex: something on the way here makes it anew",
    "key_line_end": "it fits with a line end or a space more, or less, in RINGHOOK_RING_HMAC_KEY",
    "key_quoted": "it fits without the quotes around RINGHOOK_RING_HMAC_KEY",
    "key_encoded": "it fits with what base64 makes of RINGHOOK_RING_HMAC_KEY: the key was encoded before it was put there",
    "key_decoded": "it fits with the base64 of RINGHOOK_RING_HMAC_KEY: the key was decoded before it was put there",
    "key_hex": "it fits with RINGHOOK_RING_HMAC_KEY read from hex, or written in it",
}
CODE_EXPIRED: Final = Page(
    code="RH-201",
    title="A code was too old before it could be told to Ring",
    means="A code lives 60 seconds. It came and is held, and no linker sent it in time.",
    do=("See that `ringhook linker` (or `up`) runs and reaches Ring.", _RECONNECT),
)
WRONG_CLIENT: Final = Page(
    code="RH-202",
    title="Ring does not accept this app's client id or secret",
    means="Each code that comes is lost, and no token is renewed: the credentials are another app's, or were copied "
    "with a mistake.",
    do=(
        "Compare RINGHOOK_RING_CLIENT_ID and RINGHOOK_RING_CLIENT_SECRET with the portal's, and restart.",
        "Where the code was the second app's: the last part of its Token Exchange URL is RINGHOOK_EXCHANGE_SECRET_NEXT.",
        _RECONNECT,
    ),
)
CODE_REFUSED: Final = Page(
    code="RH-203",
    title="Ring did not accept a code",
    means="The code was used before, was too old for Ring, or was never Ring's: anybody can post one.",
    do=(f"If it was a user's: {_RECONNECT[0].lower()}{_RECONNECT[1:]}",),
)
CODE_LOST: Final = Page(
    code="RH-204",
    title="The answer to a code never came",
    means="A code is good for one use, so it is never sent twice. Ring's answer was lost on the "
    "way, or the linker was killed just then.",
    do=(_RECONNECT,),
)
NO_REDIRECT: Final = Page(
    code="RH-301",
    title="Ring gave a code, and no browser has come yet",
    means="Ring sends the user's browser to the Account Link URL next, and the user signs in with you there.",
    do=("Look whether the Ring app shows a browser that cannot reach the Account Link URL.", _TAP),
    hinders=(
        "The Account Link URL in the portal is not this installation's.",
        "It was entered under the portal's other environment.",
        "It is not reachable from the user's phone.",
    ),
)
NO_SIGN_IN: Final = Page(
    code="RH-302",
    title="A browser came, and nobody has signed in and confirmed",
    means="Until a user signs in with you and confirms, nobody knows whose the Ring account is, and its events wait.",
    do=("Go through your sign-in yourself, to the page that asks to confirm.", _TAP),
)
NO_MATCH: Final = Page(
    code="RH-303",
    title="A sign-in's nonce names none of the accounts that are known here",
    means="The nonce is made of the time and the account id with the HMAC key. Either that account's code never became tokens "
    "here, or the key is not the one that Ring signs with.",
    do=(
        "Look whether a code came to nothing just before (RH-201 to RH-204): its user connects the app again.",
        "Compare RINGHOOK_RING_HMAC_KEY with the portal's key: the text as it stands there, not decoded.",
        "Look whether the portal's Token Exchange URL and Account Link URL lead to one and the same installation.",
    ),
)
STALE: Final = Page(
    code="RH-304",
    title="A browser came with a time that is too old, or lies ahead",
    means="Ring's redirect is good for ten minutes. Somebody opened an old one, or this host's clock is wrong.",
    do=("Compare this host's clock (`timedatectl` says whether it is synchronised).", _TAP),
)
DORMANT: Final = Page(
    code="RH-401",
    title="Ring knows of a sign-in, and the link is not completed yet",
    means="Until Ring takes the last step (PATCH) the integration is dormant: no webhook comes for it. The step is "
    "tried on for 30 days.",
    do=("Read what Ring answers, below.", "See that `ringhook linker` (or `up`) runs and reaches Ring's API."),
)
HELD_UP: Final = Page(
    code="RH-402",
    title="A link is held up by Ring's API",
    means="A step of the link did not succeed and is tried again.",
    do=("Read what Ring answers, below.", "See that `ringhook linker` (or `up`) runs and reaches Ring's API."),
)
NO_WEBHOOK: Final = Page(
    code="RH-501",
    title="A link is complete, and no signed webhook has come",
    means="Ring sends one for each event of the devices that the user selected.",
    do=("Ring the bell, or walk before the camera.", "Compare the portal's Webhook URL with your public URL and /ring/webhook."),
    hinders=(
        "The account has no active paid Ring Protect plan.",
        "No device was selected as the app was connected.",
        "The Webhook URL was entered under the portal's other environment.",
    ),
)
TOKENS_LOST: Final = Page(
    code="RH-601",
    title="Accounts have lost their tokens",
    means="Ring renews them no more. Only the account's own user can begin anew.",
    do=("`ringhook accounts list --at-risk` says whose they are, and why.", _RECONNECT),
)
UNWANTED: Final = Page(
    code="RH-701",
    title="A destination does not take events",
    means="It is held back as long as it fails, and loses nothing: its events wait on the bus.",
    do=(
        "`ringhook destinations check NAME` sends it a test event and says what is in the way.",
        "`ringhook deliveries list --failed --destination NAME` tells what it answered.",
    ),
)
GONE: Final = Page(
    code="RH-702",
    title="A destination has said that it is gone (410)",
    means="Nothing is sent to it any more until somebody resumes it; its events wait on the bus for as long as they are kept.",
    do=("`ringhook destinations resume NAME` once it takes events again.",),
)
BEHIND: Final = Page(
    code="RH-703",
    title="A destination is far behind",
    means="It takes events, and more slowly than they come.",
    do=(
        "`ringhook destinations status` says how many wait.",
        "Raise its `concurrency` or `rate`, or let it take `batched` bodies.",
    ),
)
WAITING: Final = Page(
    code="RH-704",
    title="Events wait for their account's link",
    means="They are delivered once the account's user signs in with you, and after a day without its account's link.",
    do=("`ringhook accounts list` names the accounts that nobody has claimed.", _TAP),
)
PAGES: Final = (
    NO_CALL,
    UNPROVEN,
    WRONG_SECRET,
    ODD_CODE,
    SIGNATURES,
    NOT_REACHED,
    REDIRECTED,
    ANOTHER,
    PROBE_REFUSED,
    PROBE_ELSEWHERE,
    CODE_EXPIRED,
    WRONG_CLIENT,
    CODE_REFUSED,
    CODE_LOST,
    NO_REDIRECT,
    NO_SIGN_IN,
    NO_MATCH,
    STALE,
    DORMANT,
    HELD_UP,
    NO_WEBHOOK,
    TOKENS_LOST,
    UNWANTED,
    GONE,
    BEHIND,
    WAITING,
)
