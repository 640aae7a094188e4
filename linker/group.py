"""Group commit: whoever writes while a transaction is under way waits for its end, and all who wait write in the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
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
    over: bool = False


@dataclass(frozen=True)
class Group(Generic[Asked, Answer]):
    """Hands all that is asked at one time to `write`, which returns an answer or an error for each, or raises for all."""

    write: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | BaseException]]]
    _waiting: list[_Waiting[Asked, Answer]] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, asked: Asked) -> Answer:
        """Return what `write` answers, or raise its error. Whose turn it is writes for all."""
        mine = _Waiting[Asked, Answer](asked)
        self._waiting.append(mine)
        try:
            async with self._turn:
                while not mine.over:
                    await self._lead()
        finally:
            with suppress(ValueError):
                self._waiting.remove(mine)  # we were ended before our turn came: nothing of ours is to be written
        if isinstance(mine.answer, BaseException):
            raise mine.answer
        return mine.answer  # type: ignore[return-value] # it is over

    async def _lead(self) -> None:
        group = self._waiting[:LARGEST]
        del self._waiting[:LARGEST]
        answers: Sequence[Answer | BaseException] = [OutcomeUnknown("the process ends")] * len(group)
        try:
            answers = await self._answers([one.asked for one in group])
        finally:
            for one, answer in zip(group, answers, strict=True):
                one.answer, one.over = answer, True

    async def _answers(self, group: Sequence[Asked]) -> Sequence[Answer | BaseException]:
        """Return one answer each; where nobody knows whose fault an error is, each is written alone."""
        try:
            return await self.write(group)
        except RinghookError as error:
            return [error] * len(group)
        except Exception as error:  # noqa: BLE001 - a bug, or a value that the store cannot hold: told to whose it is
            return [error] if len(group) == 1 else [answer for one in group for answer in await self._answers([one])]
