"""The compute graphs that llama.cpp reserves for Qwen3.5, as far as their memory goes.

After src/models/qwen35.cpp, qwen35moe.cpp, delta-net-base.cpp and src/llama-graph.cpp, with flash
attention and the fused gated delta net. A graph that is reserved has a whole micro batch of tokens,
spread over all slots (llama-context.cpp, `sched_reserve`).

Laid out as ggml does it, the sizes are those that llama-server logs, to the hundredth of a MiB: on
the CPU in every case tried, on a GPU in the logs that others have published.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from server.catalogue import Architecture
from server.planning.footprint.batch import Batch
from server.planning.footprint.ggml import Graph, Tensor
from server.planning.parameters import conv_width

_F16 = 2
_VALUE_ROTATION = 64
"""Rows of the matrix by which values are rotated (llama-kv-cache.cpp, `build_input_v_rot`)."""
_PERIODS = 2
"""Periods of layers that are laid out: from the second one on they all lie alike."""


@lru_cache(maxsize=4096)
def model_bytes(architecture: Architecture, batch: Batch) -> int:
    """Bytes of the buffer in which the layers are computed.

    A device that has some of the layers takes as much: each layer uses the space of the one before.
    """
    a = architecture
    layers = min(a.layers, _PERIODS * a.full_attention_interval)
    return _Builder(replace(a, layers=layers), batch).model().buffer_bytes()


@lru_cache(maxsize=4096)
def prediction_bytes(architecture: Architecture, batch: Batch) -> int:
    """Bytes of the buffer in which the multi-token-prediction block is computed."""
    return _Builder(architecture, batch).prediction().buffer_bytes()


def waiting_bytes(architecture: Architecture, batch: Batch) -> int:
    """Bytes in RAM of what waits for a GPU: masks and numbers, so many copies of them, the tokens'
    embeddings, and the place for those of an image."""
    tokens = batch.tokens
    mask = batch.context * tokens * _F16
    numbers = tokens * (4 * 4 + 2 * 8)  # positions and places in the caches
    if batch.rotated:
        numbers += (_rotation(architecture.head_dim) ** 2 + _VALUE_ROTATION**2) * 4
    return batch.copies * (mask + numbers) + 2 * architecture.hidden * tokens * 4


class _Builder:
    def __init__(self, architecture: Architecture, batch: Batch) -> None:
        self.a = architecture
        self.batch = batch
        self.graph = Graph(batch.copies)
        graph, tokens = self.graph, batch.tokens
        self.positions = graph.input((4 * tokens,))
        self.states = graph.input((batch.slots,))
        self.main_states = self.states.view((batch.slots,))
        self.extra_states = self.states.view((0,))
        self.keys_at, self.values_at = graph.input((tokens,), 8), graph.input((tokens,), 8)
        per_slot = tokens // batch.slots
        self.mask = graph.input((batch.context, per_slot, 1, batch.slots), 2)
        self.key_rotation = graph.input((_rotation(self.a.head_dim),) * 2)
        self.value_rotation = graph.input((_VALUE_ROTATION, _VALUE_ROTATION))

    def model(self) -> Graph:
        a, graph, tokens = self.a, self.graph, self.batch.tokens
        current = self._embeddings()
        graph.expand(current)
        if not self.batch.offloaded:
            # The place of embeddings that come ready-made, those of an image.
            graph.expand(graph.input((a.hidden, tokens)))
        for layer in range(a.layers):
            residual = current
            current = self._norm(current)
            graph.expand(current)
            full = (layer + 1) % a.full_attention_interval == 0
            mixed = self._attention(current) if full else self._delta_net(current)
            current = self._close_layer(mixed, residual)
        self._logits(current, self.batch.slots * (1 + self.batch.drafted)).output = True
        return graph

    def prediction(self) -> Graph:
        a, graph, tokens = self.a, self.graph, self.batch.tokens
        embedded = self._norm(self._embeddings())
        hidden = self._norm(graph.input((a.hidden, tokens)))
        joined = Tensor((2 * a.hidden, tokens), (embedded, hidden))
        residual = Tensor((a.hidden, tokens), (joined,))
        mixed = self._attention(self._norm(residual))
        self._logits(self._close_layer(mixed, residual), self.batch.slots)
        return graph

    def _embeddings(self) -> Tensor:
        shape = (self.a.hidden, self.batch.tokens)
        if self.batch.offloaded:
            return self.graph.input(shape)
        return Tensor(shape, (self.graph.input((self.batch.tokens,)),))

    def _close_layer(self, mixed: Tensor, residual: Tensor) -> Tensor:
        """What comes out of a layer; `mixed` is the attention's or the delta net's part of it."""
        residual = Tensor(residual.shape, (mixed, residual), inplace=True)
        normed = self._norm(residual)
        fed = self._experts(normed) if self.a.experts else self._feed_forward(normed, self.a.ffn)
        return Tensor(residual.shape, (fed, residual), inplace=True)

    def _logits(self, current: Tensor, outputs: int) -> Tensor:
        """Adds the end of the graph; the result is what the logits are computed from."""
        last = self._norm(current)
        last.output = True
        if self.batch.embeds:
            return self._pooled(last)
        picked = Tensor((self.a.hidden, outputs), (last, self.graph.input((outputs,))))
        logits = Tensor((self.a.vocab, outputs), (picked,))
        logits.output = True
        self.graph.expand(logits)
        return picked

    def _pooled(self, last: Tensor) -> Tensor:
        """Every token is an output, whose number is told all the same; of each sequence one is
        picked (`build_pooling`)."""
        tokens = self.batch.tokens
        self.graph.expand(self.graph.input((tokens,)))
        self.graph.expand(Tensor(last.shape, (last, self.graph.input((tokens,)))))
        logits = Tensor((self.a.vocab, tokens), (last,))
        logits.output = True
        self.graph.expand(logits)
        return last

    def _norm(self, current: Tensor) -> Tensor:
        normed = Tensor(current.shape, (current,), inplace=True)
        return Tensor(current.shape, (normed,), inplace=True)

    def _store(self, *sources: Tensor) -> None:
        """Into a cache: nothing new lies in the buffer."""
        self.graph.expand(Tensor((0,), sources, stored=False))

    def _state_rows(self, elements: int) -> Tensor:
        rows = Tensor((elements, self.batch.slots), (self.main_states,))
        self.graph.expand(rows)
        self._store(Tensor((elements, 0), (self.extra_states,)))
        return rows

    def _delta_net(self, current: Tensor) -> Tensor:
        a, slots, tokens = self.a, self.batch.slots, self.batch.tokens
        per_slot, heads, width = tokens // slots, a.linear_value_heads, conv_width(a)
        values = heads * a.linear_value_head_dim
        taps, snapshots = a.conv_kernel - 1, 1 + self.batch.drafted
        mixed = Tensor((width, tokens), (current,)).view((width, per_slot, slots))
        z = Tensor((values, tokens), (current,))
        beta = Tensor((heads, tokens), (current,)).view((1, heads, per_slot, slots))
        beta = Tensor(beta.shape, (beta,), inplace=True)
        alpha = Tensor((heads, tokens), (current,)).view((heads, per_slot, slots))
        for _ in ("bias", "softplus", "decay"):
            alpha = Tensor(alpha.shape, (alpha,), inplace=True)
        gate = alpha.view((1, heads, per_slot, slots))
        last_inputs = self._state_rows(taps * width).view((taps, width, slots))
        conv_input = Tensor(
            (taps + per_slot, width, slots),
            (last_inputs, mixed.view((per_slot, width, slots), (width, 1, 0, 0))),
        )
        for _ in range(snapshots):
            self._store(conv_input.view((taps, width, slots), (1, 0, 0, 0)))
        matrix = a.linear_value_head_dim * a.linear_key_head_dim * heads
        state = self._state_rows(matrix).view(
            (a.linear_value_head_dim, a.linear_key_head_dim, heads, slots)
        )
        convolved = Tensor((width, per_slot, slots), (conv_input,))
        convolved = Tensor(convolved.shape, (convolved,), inplace=True)
        query, key = (self._unit(convolved) for _ in range(2))
        value = convolved.view((a.linear_value_head_dim, heads, per_slot, slots), (1, 0, 0, 0))
        rows = a.linear_value_head_dim * slots * snapshots
        result = Tensor((values, tokens + rows), (query, key, value, gate, beta, state))
        output = result.view((a.linear_value_head_dim, heads, per_slot, slots))
        self._store(result.view((matrix, slots, snapshots)))
        normed = self._norm(output)
        z = z.view(normed.shape)
        z = Tensor(z.shape, (z,), inplace=True)
        gated = Tensor(normed.shape, (normed, z), inplace=True).view((values, per_slot, slots))
        return Tensor((a.hidden, tokens), (gated,)).view((a.hidden, tokens))

    def _unit(self, convolved: Tensor) -> Tensor:
        """Queries or keys, scaled to length one."""
        a, batch = self.a, self.batch
        shape = (
            a.linear_key_head_dim,
            a.linear_key_heads,
            batch.tokens // batch.slots,
            batch.slots,
        )
        part = convolved.view(shape, (1, 0, 0, 0))
        normed = Tensor(shape, (part,), inplace=True)
        return Tensor(shape, (normed,), inplace=True)

    def _attention(self, current: Tensor) -> Tensor:
        a, graph, tokens = self.a, self.graph, self.batch.tokens
        shape, kv_shape = (a.head_dim, a.heads, tokens), (a.head_dim, a.kv_heads, tokens)
        both = Tensor((2 * a.heads * a.head_dim, tokens), (current,))
        key = Tensor((a.kv_heads * a.head_dim, tokens), (current,))
        value = Tensor((a.kv_heads * a.head_dim, tokens), (current,)).view(kv_shape)
        query = self._norm(both.view(shape, (1, 0, 0, 0)))
        key = self._norm(key.view(kv_shape))
        gate = Tensor((a.heads * a.head_dim, tokens), (both.view(shape, (1, 0, 0, 0)),))
        query = Tensor(shape, (query, self.positions), inplace=True)
        key = Tensor(kv_shape, (key, self.positions), inplace=True)
        if self.batch.rotated:
            query, key = (
                self._rotate(query, self.key_rotation),
                self._rotate(key, self.key_rotation),
            )
            value = self._rotate(value, self.value_rotation)
        for tensor in (query, value, key):
            graph.expand(tensor)
        self._store(key.view((a.kv_heads * a.head_dim, tokens)), self.keys_at)
        self._store(value.view((a.kv_heads * a.head_dim, tokens)), self.values_at)
        per_slot = query.view((a.head_dim, a.heads, tokens // self.batch.slots, self.batch.slots))
        permuted = per_slot.view(per_slot.shape, (1, 0, 0, 0))
        stored = 2 * a.kv_heads * a.head_dim * self.batch.context * self.batch.slots
        found = Tensor(
            (a.head_dim, a.heads, tokens),
            (permuted, self.mask),
            beside=stored * _F16 if self.batch.widened else 0,
        )
        current = found.view((a.heads * a.head_dim, tokens))
        graph.expand(current)
        if self.batch.rotated:
            current = self._rotate(current, self.value_rotation)
        gate = Tensor(gate.shape, (gate,), inplace=True)
        current = Tensor(gate.shape, (current, gate), inplace=True)
        return Tensor((a.hidden, tokens), (current,))

    def _rotate(self, tensor: Tensor, rotation: Tensor) -> Tensor:
        edge = rotation.shape[0]
        size = 1
        for extent in tensor.shape:
            size *= extent
        rows = tensor.view((edge, size // edge))
        return Tensor(rows.shape, (rotation, rows)).view(tensor.shape)

    def _feed_forward(self, current: Tensor, width: int | None) -> Tensor:
        assert width is not None
        tokens = self.batch.tokens
        up, gate = (Tensor((width, tokens), (current,)) for _ in range(2))
        return Tensor((self.a.hidden, tokens), (Tensor((width, tokens), (gate, up)),))

    def _experts(self, current: Tensor) -> Tensor:
        a, graph, tokens = self.a, self.graph, self.batch.tokens
        assert a.experts is not None
        assert a.moe_ffn is not None
        used = a.experts_per_token or 0
        logits = Tensor((a.experts, tokens), (current,))
        odds = Tensor(logits.shape, (logits,), inplace=True)
        order = Tensor(logits.shape, (odds,))
        chosen = order.view((used, tokens), (1, a.experts, 0, 0))
        weights = Tensor((1, used, tokens), (odds.view((1, a.experts, tokens)), chosen))
        weights = weights.view((used, tokens))
        total = Tensor((1, tokens), (weights,))
        total = Tensor(total.shape, (total,), inplace=True)
        weights = Tensor(weights.shape, (weights, total), inplace=True).view((1, used, tokens))
        graph.expand(weights)
        rows = current.view((a.hidden, 1, tokens))
        up, gate = (Tensor((a.moe_ffn, used, tokens), (rows, chosen)) for _ in range(2))
        inner = Tensor(up.shape, (gate, up))
        outer = Tensor((a.hidden, used, tokens), (inner, chosen))
        outer = Tensor(outer.shape, (outer, weights), inplace=True)
        graph.expand(outer)
        parts = [outer.view((a.hidden, tokens), (1, a.hidden * used, 0, 0)) for _ in range(used)]
        for part in parts:
            graph.expand(part)
        mixed = parts[0]
        for part in parts[1:]:
            mixed = Tensor((a.hidden, tokens), (mixed, part), inplace=True)
            graph.expand(mixed)
        shared = self._feed_forward(current, a.shared_ffn)
        share = Tensor((1, tokens), (current,))
        share = Tensor(share.shape, (share,), inplace=True)
        shared = Tensor(shared.shape, (shared, share), inplace=True)
        return Tensor(mixed.shape, (mixed, shared), inplace=True)


def _rotation(head_dim: int) -> int:
    """Rows of the largest Hadamard matrix that fits `head_dim` (`build_input_k_rot`)."""
    edge = 64
    while head_dim % (2 * edge) == 0:
        edge *= 2
    return edge
