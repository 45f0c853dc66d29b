"""ggml's way of laying tensors out, on graphs small enough to follow by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.planning.footprint.ggml import ALIGNMENT, Graph, Tensor

KIB = 256  # elements of f32


def test_what_is_no_longer_needed_makes_room() -> None:
    graph = Graph()
    first = Tensor((4 * KIB,), (graph.input((KIB,)),))
    second = Tensor((4 * KIB,), (first,))
    third = Tensor((4 * KIB,), (second,))
    graph.expand(third)
    # The input of 1 KiB, and two tensors of 4 KiB: the third lies where the first was.
    assert graph.buffer_bytes() == 9 * 1024


def test_a_result_may_take_its_sources_place() -> None:
    for inplace, size in ((True, 5), (False, 9)):
        graph = Graph()
        source = Tensor((4 * KIB,), (graph.input((KIB,)),))
        graph.expand(Tensor((4 * KIB,), (source,), inplace=inplace))
        assert graph.buffer_bytes() == size * 1024


def test_a_source_that_others_need_stays() -> None:
    graph = Graph()
    source = Tensor((4 * KIB,), (graph.input((KIB,)),))
    changed = Tensor((4 * KIB,), (source,), inplace=True)
    graph.expand(Tensor((4 * KIB,), (changed, source), inplace=True))
    assert graph.buffer_bytes() == 9 * 1024


def test_a_view_keeps_what_it_shows() -> None:
    graph = Graph()
    source = Tensor((4 * KIB,), (graph.input((KIB,)),))
    other = Tensor((4 * KIB,), (source.view((2, 2 * KIB)),))
    graph.expand(Tensor((KIB,), (other,)))
    # The last one fits where source was; while other was computed both were there.
    assert graph.buffer_bytes() == 9 * 1024


def test_an_output_is_never_overwritten() -> None:
    graph = Graph()
    source = Tensor((4 * KIB,), (graph.input((KIB,)),))
    source.output = True
    graph.expand(Tensor((4 * KIB,), (source,), inplace=True))
    assert graph.buffer_bytes() == 9 * 1024


def test_small_tensors_break_up_large_gaps() -> None:
    """Why the buffer is larger than the most that is alive at once: 12 KiB, where 9 would do."""
    graph = Graph()
    large = Tensor((4 * KIB,), (graph.input((1,)),))
    next_ = Tensor((4 * KIB,), (large,))
    graph.expand(next_)
    small = Tensor((KIB,), (graph.input((1,)),))
    graph.expand(small)
    graph.expand(Tensor((4 * KIB,), (next_, small)))
    assert graph.buffer_bytes() == 12 * 1024 + 2 * ALIGNMENT


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30), st.data())
def test_never_less_than_a_node_and_its_sources_never_more_than_all(
    sizes: list[int], data: st.DataObject
) -> None:
    graph = Graph()
    tensors = [graph.input((8,))]
    for size in sizes:
        sources = data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=3, unique=True))
        tensors.append(Tensor((size,), tuple(sources), inplace=data.draw(st.booleans())))
        graph.expand(tensors[-1])
    together = [node.size + sum(source.size for source in node.sources) for node in graph.nodes]
    alone = [node.size for node in graph.nodes]
    size = graph.buffer_bytes()
    assert size == graph.buffer_bytes()
    assert max(alone) <= size <= sum(tensor.size for tensor in tensors)
    if not any(node.inplace for node in graph.nodes):
        assert size >= max(together)
