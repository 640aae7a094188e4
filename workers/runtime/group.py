"""Group commit: whoever asks while others are answered waits for their end, and all who wait are asked for in one go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from schemas.errors import RinghookError
from workers.runtime.storefault import OutcomeUnknown

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
LARGEST: Final = 64  # of one transaction: its rows are held until all are written


@dataclass(eq=False)
class _Waiting(Generic[Asked, Answer]):
    asked: Asked
    answer: Answer | BaseException | None = None
    taken: bool = False  # into a write
    over: bool = False
    called: asyncio.Event = field(default_factory=asyncio.Event)  # it is over, or it is its turn to lead


@dataclass
class Group(Generic[Asked, Answer]):
    """Hands all that is asked at one time to `write`, which returns an answer or an error for each, or raises for all.

    One of those who wait leads, and each is called when it is over: taking turns at a lock, sixty would need sixty turns of the
    event loop to learn what they could have known at once, and nothing would be written meanwhile.
    """

    write: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | BaseException]]]
    _waiting: list[_Waiting[Asked, Answer]] = field(default_factory=list)
    _led: bool = False

    async def __call__(self, asked: Asked) -> Answer:
        """Return what `write` answers, or raise its error. OutcomeUnknown: who led was ended in mid-write."""
        mine = _Waiting[Asked, Answer](asked)
        self._waiting.append(mine)
        try:
            while not mine.over:
                if not self._led:
                    await self._lead()
                else:
                    await mine.called.wait()
                    mine.called.clear()
        finally:
            if not mine.taken:  # we were ended before our turn came: nothing of ours is to be written
                self._waiting.remove(mine)
            if not self._led and self._waiting:
                self._waiting[0].called.set()
        if isinstance(mine.answer, BaseException):
            raise mine.answer
        return mine.answer  # type: ignore[return-value] # it is over

    async def _lead(self) -> None:
        group, self._led = self._waiting[:LARGEST], True
        del self._waiting[:LARGEST]
        for one in group:
            one.taken = True
        answers: Sequence[Answer | BaseException] = [OutcomeUnknown("the process ends")] * len(group)
        try:
            answers = await self._answers([one.asked for one in group])
        finally:
            self._led = False
            for one, answer in zip(group, answers, strict=True):
                one.answer, one.over = answer, True
                one.called.set()

    async def _answers(self, group: Sequence[Asked]) -> Sequence[Answer | BaseException]:
        """Return one answer each; where nobody knows whose fault an error is, each is written alone."""
        try:
            return await self.write(group)
        except RinghookError as error:
            return [error] * len(group)
        except Exception as error:  # noqa: BLE001 - a bug, or a value that the store cannot hold: told to whose it is
            return [error] if len(group) == 1 else [answer for one in group for answer in await self._answers([one])]
