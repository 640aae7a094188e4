"""RESULTS.md: the table, how it was made, and where it falls short. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Final

from tests.bench.figures import Figure, markdown

WIDTH: Final = 130
HOW: Final = """\
- Within a round everything that is compared runs in turn. A cell is the median of the rounds, behind it the least and the
  greatest; a ratio is taken within its round. Our roles are the processes that `ringhook ROLE` starts, logging as they do.
- Ingress: wrk, one thread, 64 connections kept alive, a file of 2,000 signed bodies of 200 accounts, after a warm-up;
  acks=all on one broker.
- Dispatch: from the group's first commit on the broker to the one that leaves no record; the baseline from its first batch
  to its last commit.
- Deliver: from the first event that the sink saw to the last; the baseline from its first request to its last answer. The
  sink is httptools on a bare protocol, the same for both.
- Beside the dead: as above, of what came at one stroke: the sink answers nothing until all of it is on the bus. Of the dead
  some refuse the connection, some never answer, some answer 500 or 503; all have failed, and are probed, before it comes.
- Beside a failing device: in each lane one answered 500 for ever; its events wait in rows before the first round, as they do
  half a minute after it began to fail. Both again at one stroke, three of the failing ones in each lane for ten of all others
  there. What waiting costs is CPU of deliver and PostgreSQL, from the first of 12,000 such events on the bus to the last in a
  row; its rounds follow one another, with few rows and then with many.
- All dead: four destinations, each dead in a way of its own; the backlog comes while deliver runs, which is then started anew.
  The size is VmHWM of both; from outside, GET /healthz every 5 ms tells how long the loop was busy otherwise.
- Restart: 100,000 events wait in rows; each window is full of what follows an event that fails, but for 64 in each lane that the
  sink has not answered. From the new process's start to the first event that it accepts. Sent twice is requests less ids at the
  sink, those counted that were cut. Killed by -9, a member's place is held until the broker's session timeout of 20 s.
- Pipeline: from the first POST to the last event at the sink. CPU is user and system time of all our processes, from /proc.
- Latency: from the time at which ingress had read the body to the time at which the sink had read its own, on one clock.
- Memory: VmHWM, the kernel's own record of the largest resident size, in millions of bytes.
- Matching: the linker's own look over grants in the store, from the nonce to the row; the baseline is a plain loop of one-shot
  HMACs, compared in constant time. The loop is held up as long as a sleeper of 1 ms wakes late.
- Links: a code, a browser that signs in and confirms, POST and PATCH. Timed from Ring's POST of the code to the first call with
  its tokens, on the clock of the simulated Ring, which answers at once and, with its users, is a process of its own; so is who
  posts junk. Ring and RINGHOOK_RING_RATE both allow 400 requests a second: 50 links take 200, and Ring itself allows 100.
- Renewals: from the start of the linker to the last refresh that the simulated Ring granted; once, since it takes minutes.
"""


def page(found: Sequence[Figure], failed: Mapping[str, str], rounds: int, machine: str) -> str:
    """Return the whole page."""
    short = [shortfall(figure) for figure in found if missed(figure)]
    short += [f"not measured: {name}: {why}" for name, why in failed.items()]
    return f"""# What `make bench` measured

{machine}; {rounds} rounds. One Apache Kafka and one PostgreSQL, the load, the baselines, our roles and the partner's service
all share these cores.

{markdown(found)}

## How

{HOW}
## Where it falls short

{_bullets(short or ["Nothing that was asked was missed in this run."])}"""


def shortfall(figure: Figure) -> str:
    """Return what missed what was asked, and what is known of why."""
    missing = f"{figure.what}: {figure.value:.3g} where {figure.sense} {figure.bound:g} was asked."
    return f"{missing} {figure.why}".rstrip()


def missed(figure: Figure) -> bool:
    """Say whether something was asked of it that it did not reach."""
    return "no" in figure.verdict


def _bullets(lines: Iterable[str]) -> str:
    return "".join(fill(f"- {line}", WIDTH, subsequent_indent="  ", break_on_hyphens=False) + "\n" for line in lines)
