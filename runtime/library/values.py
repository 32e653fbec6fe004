"""What is known of single rows: columns of parts, which the last searches read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from runtime.library.part import Block

TABLES = 64  # of parts that are kept: half a MiB each, for paths of sixty letters


class Values:
    """Columns of parts. Threads may share them."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, column: str, block: Block, place: int) -> Any:
        """The value of a column in a row of a block.

        Raises:
            LibraryError: the part is damaged, or was written again.
        """
        return self._column(column, block)[int(block.rows[place])].as_py()

    def _column(self, column: str, block: Block) -> Any:
        key = str(block.part.path), column
        with self._lock:
            found = self._tables.pop(key, None)
            if found is not None:
                block.part.check_same()
                self._tables[key] = found  # it is the last that is dropped
                return found
        found = block.part.table([column]).column(0)
        with self._lock:
            self._tables[key] = found
            while len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return found
