"""Work on many files in several processes, of which a broken file may crash one."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crashed:
    """In the place of a result: the process that worked on this item died."""

    def __str__(self) -> str:
        return "crashes the decoder"


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[Item, Result | Crashed]]:
    """Apply a function to items in processes of their own; in any order, as they are done.

    An item whose process dies gives `Crashed`, and the others are worked on. The processes end
    when this one does, however it ends.

    Args:
        function: of one item; it, the items and the results can be pickled.
        items: what to work on.
        workers: processes.
        initializer: called first in each of them, with ``arguments``.
        arguments: of ``initializer``.
    """
    todo = list(items)
    while todo:
        done: set[int] = set()
        with _pool(workers, initializer, arguments) as pool:
            futures = {pool.submit(function, item): i for i, item in enumerate(todo)}
            try:
                for future in as_completed(futures):
                    result = future.result()
                    done.add(futures[future])
                    yield todo[futures[future]], result
            except BrokenProcessPool:
                pass
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        # It is not known which of those in work crashed: the next ones, one by one, until it is.
        todo = [item for i, item in enumerate(todo) if i not in done]
        for item in todo[: 2 * workers]:
            yield item, _alone(function, item, initializer, arguments)
        todo = todo[2 * workers :]


def _alone(
    function: Callable[[Item], Result],
    item: Item,
    initializer: Callable[..., None] | None,
    arguments: tuple[Any, ...],
) -> Result | Crashed:
    with _pool(1, initializer, arguments) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return Crashed()


def _pool(
    workers: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> ProcessPoolExecutor:
    # Not forked: a copy of a process with threads can hang, and torch and OpenCV have some.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _start, (initializer, arguments))


def _start(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    end_with_parent()
    if initializer is not None:
        initializer(*arguments)


def end_with_parent() -> None:
    """End this process when its parent does: a pool's workers would wait for work for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
