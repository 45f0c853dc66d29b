"""How ggml lays the tensors of a compute graph out in one buffer, so that its size can be foretold.

The algorithm is that of ggml/src/ggml-alloc.c (`ggml_gallocr_alloc_graph_impl` and the
`ggml_dyn_tallocr_*` below it) and the order of nodes that of `ggml_build_forward_expand` in ggml.c.
The buffer is larger than the largest set of tensors alive at once, because freed space is filled by
what fits first: only doing the same gives the same size.
"""

from __future__ import annotations

import math

ALIGNMENT = 32
"""Bytes, on the CPU (ggml-impl.h, TENSOR_ALIGNMENT)."""
_F32 = 4


class Tensor:
    """A tensor of the graph; weights and caches, which lie in buffers of their own, are left out.

    `shape` and `strides` count elements, rows first, as ggml has them.
    """

    __slots__ = (
        "address", "allocated", "children", "inplace", "input", "output", "root", "shape", "size",
        "sources", "stored", "strides", "views", "visited",
    )  # fmt: skip

    def __init__(
        self,
        shape: tuple[int, ...],
        sources: tuple[Tensor, ...] = (),
        *,
        element: int = _F32,
        beside: int = 0,
        inplace: bool = False,
        stored: bool = True,
    ) -> None:
        self.shape = (*shape, 1, 1, 1)[:4]
        self.strides = _contiguous(self.shape)
        # `beside` the result its kernel may need bytes of its own.
        self.size = -(-(math.prod(shape) * element + beside) // ALIGNMENT) * ALIGNMENT
        self.sources = sources
        self.inplace = inplace
        """Whether the result may take the place of a source of the same layout."""
        self.stored = stored
        """False: it is written elsewhere, into a cache."""
        self.root: Tensor | None = None
        self.input = self.output = False
        self.children = self.views = self.address = 0
        self.allocated = self.visited = False

    def view(self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> Tensor:
        """The same bytes seen otherwise; a reshape if no strides are given."""
        seen = Tensor(shape, (self,))
        seen.root = self.root or self
        seen.strides = strides or _contiguous(seen.shape)
        return seen


class Graph:
    """Nodes in the order in which they are computed, and the inputs that are filled before.

    `copies`: with more than one of each input, the next batch is prepared while this one is
    computed, and none is ever overwritten (ggml-backend.cpp, GGML_SCHED_MAX_COPIES).
    """

    def __init__(self, copies: int = 1) -> None:
        self.nodes: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self._copies = copies

    def input(self, shape: tuple[int, ...], element: int = _F32) -> Tensor:
        tensor = Tensor(shape, element=element)
        tensor.input = True
        return tensor

    def expand(self, tensor: Tensor) -> None:
        """Append what `tensor` needs, depth first, then itself."""
        if tensor.visited:
            return
        tensor.visited = True
        for source in tensor.sources:
            self.expand(source)
        (self.inputs if tensor.input else self.nodes).append(tensor)

    def buffer_bytes(self) -> int:
        """Bytes of the buffer in which the graph is computed."""
        space = _Space()
        for tensor in (*self.inputs, *self.nodes):
            tensor.children = tensor.views = 0
            tensor.allocated = False
        for tensor in self.inputs:
            space.place(tensor)
            for _ in range(self._copies - 1):
                tensor.output = True
                space.allocate(tensor.size)
        for node in self.nodes:
            if node.root is not None:
                node.root.views += 1
            for source in node.sources:
                source.children += 1
        for node in self.nodes:
            space.place(node)
            for source in node.sources:
                source.children -= 1
                if source.children == 0 and source.views == 0:
                    space.drop(source)
        return space.end


class _Space:
    """The buffer: free stretches by address, the last of them without end."""

    def __init__(self) -> None:
        self.end = 0
        self._free: list[list[int]] = [[0, 1 << 62]]

    def place(self, tensor: Tensor) -> None:
        if tensor.allocated or tensor.root is not None or not tensor.stored:
            return
        tensor.allocated = True
        if tensor.inplace and self._take_over(tensor):
            return
        tensor.address = self.allocate(tensor.size)

    def drop(self, tensor: Tensor) -> None:
        """Nobody needs `tensor` any more."""
        root = tensor.root
        if root is None:
            self._release(tensor)
            return
        root.views -= 1
        if root.views == 0 and root.children == 0:
            self._release(root)

    def _release(self, tensor: Tensor) -> None:
        if tensor.allocated and not tensor.output:
            self._give_back(tensor.address, tensor.size)
            tensor.allocated = False

    def _take_over(self, tensor: Tensor) -> bool:
        # Views are not: in ggml only what was allocated itself counts as `own`.
        for source in tensor.sources:
            if (
                source.allocated
                and not source.output
                and (source.shape, source.strides) == (tensor.shape, tensor.strides)
                and (source.children, source.views) == (1, 0)
            ):
                tensor.address = source.address
                source.allocated = False
                return True
        return False

    def allocate(self, size: int) -> int:
        fitting = [block for block in self._free[:-1] if block[1] >= size]
        # Of several that fit equally well, the last one.
        best = min(reversed(fitting), key=lambda block: block[1], default=self._free[-1])
        address = best[0]
        best[0] += size
        best[1] -= size
        if best[1] == 0:
            self._free.remove(best)
        self.end = max(self.end, address + size)
        return address

    def _give_back(self, address: int, size: int) -> None:
        if size == 0:
            return
        free = self._free
        at = next(i for i, block in enumerate(free) if block[0] > address)
        free.insert(at, [address, size])
        for left in (at, at - 1):
            if 0 <= left < len(free) - 1 and sum(free[left]) == free[left + 1][0]:
                free[left][1] += free[left + 1][1]
                del free[left + 1]


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for extent in shape[:-1]:
        strides.append(strides[-1] * extent)
    return tuple(strides)
