"""What tells a call of a flow's body from others, when the body is carried out once more: a hash of its name and its arguments.

Equal arguments give equal hashes in another process too, so what has a place in memory, an order of its own or a random
seed in it does not count. Knows nothing of records.
"""

from __future__ import annotations

import copyreg
import marshal
import types
from hashlib import blake2b
from typing import Any

from dirigent._fingerprint import fingerprint
from dirigent._flow_scope import Call
from dirigent._future import Future, MapFuture, Place

#: Types whose text as `marshal` makes it says everything.
_PLAIN = frozenset((int, str, float, bool, bytes, type(None)))
#: The format of `marshal` that knows nothing of which object is which.
_FORMAT = 2
_SIZE = 12


def key_of(call: Call) -> str:
    """The hash of a call. Futures among its arguments count as the tasks that they are of."""
    if call.fan is None:
        arguments: Any = (call.own, call.args, call.kwargs)
    else:
        fan = call.fan
        arguments = ("map", call.own, fan.source, fan.bound, fan.common)
    return _Hasher().told(arguments).hex()


class _Hasher:
    """Goes through arguments, each object once."""

    def __init__(self) -> None:
        #: By id: the hash of what has been gone through, and how deep what is being gone through lies.
        self._seen: dict[int, bytes] = {}
        self._depth = 0
        #: An id means nothing once its object is gone.
        self._alive: list[Any] = []

    def told(self, value: Any) -> bytes:
        kind = type(value)
        if kind in _PLAIN:
            return blake2b(marshal.dumps(value, _FORMAT), digest_size=_SIZE).digest()
        seen = self._seen.get(id(value))
        if seen is not None:
            return seen
        self._seen[id(value)] = b"^%d" % self._depth
        self._alive.append(value)
        self._depth += 1
        digest = blake2b(self._of(value, kind), digest_size=_SIZE).digest()
        self._depth -= 1
        self._seen[id(value)] = digest
        return digest

    def _of(self, value: Any, kind: type) -> bytes:
        if kind is tuple or kind is list:
            if _PLAIN.issuperset(map(type, value)):
                return marshal.dumps(value, _FORMAT)
            return b"".join((kind.__name__.encode(), *map(self.told, value)))
        if kind is dict:
            return b"".join((b"dict", *sorted(self.told(key) + self.told(of) for key, of in value.items())))
        if kind is set or kind is frozenset:
            return b"".join((b"set", *sorted(map(self.told, value))))
        if kind is Place:
            return self._of_future(value.future)
        if kind is Future or kind is MapFuture:
            return self._of_future(value)
        if isinstance(value, types.FunctionType):
            return b"".join((b"function", _name(value), self.told(fingerprint(value))))
        if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
            return b"name" + _name(value)
        depth = self._depth
        try:
            return self._of_object(value, kind)
        except Exception:
            self._depth = depth
            # Nothing more can be told of it that would be the same in another process.
            return b"object" + _name(kind)

    def _of_future(self, future: Future[Any] | MapFuture[Any]) -> bytes:
        tasks = (future._index,) if future._index is not None else future._needs
        return b"task" + marshal.dumps(tasks, _FORMAT)

    def _of_object(self, value: Any, kind: type) -> bytes:
        """Of what it takes to make an equal one, as `pickle` does."""
        reduce = copyreg.dispatch_table.get(kind)
        made: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        if isinstance(made, str):
            return b"global" + _name(kind) + made.encode()
        make, arguments, state, items, pairs = (*made, None, None, None)[:5]
        parts = [make, arguments, state, list(items or ()), list(pairs or ())]
        return b"made" + b"".join(map(self.told, parts))


def _name(it: Any) -> bytes:
    module, name = getattr(it, "__module__", ""), getattr(it, "__qualname__", None) or it.__name__
    return f"{module}.{name}".encode()
