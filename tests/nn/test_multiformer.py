"""Heads whose shares add up, fields that read one state, members that start apart."""

import torch
import torch.nn.functional as F

from neurodyn.nn.multiformer import Block, Heads, Multiformer, Tail, normalised


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(**tokens: int) -> dict[str, torch.Tensor]:
    return {name: torch.randn(2, count, 8, generator=seeded(count)) for name, count in tokens.items()}


def network(partners: dict[str, tuple[str, ...]], seed: int = 0) -> Multiformer:
    torch.manual_seed(seed)
    return Multiformer(partners, 8, 2, 3, 2)


def test_shares_of_heads_are_one_map_of_all_concatenated():
    torch.manual_seed(0)
    parts = [Heads(8, 2, 4, 3), Heads(8, 1, 4, 3)]
    own, other = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    joined = []
    for heads, source in zip(parts, (own, other), strict=True):
        for head in range(heads.heads):
            rows = slice(4 * head, 4 * head + 4)
            query = own @ heads.ask.weight[rows].T
            key, value = (source @ part[rows].T for part in heads.answer.weight.chunk(2))
            joined.append((query @ key.mT / 2).softmax(-1) @ value)
    whole = torch.cat(joined, -1) @ torch.cat([heads.join.weight for heads in parts], 1).T
    torch.testing.assert_close(parts[0](own, own) + parts[1](own, other), whole)


def test_the_order_of_fields_does_not_matter():
    given = states(a=5, b=3, c=7)
    first = network({"a": ("b", "c"), "b": ("a", "c"), "c": ("a",)})
    second = network({"c": ("a",), "b": ("c", "a"), "a": ("c", "b")}, seed=1)
    second.load_state_dict(first.state_dict())
    one, other = first.encode(given), second.encode(dict(reversed(given.items())))
    for name in given:
        torch.testing.assert_close(first.decode(name, one), second.decode(name, other))


def test_fields_see_their_partners_alone():
    given, model = states(a=5, b=3, c=7), network({"a": ("b",), "b": (), "c": ("a",)})
    moved = given | {"b": given["b"] + torch.randn(2, 3, 8, generator=seeded(1))}
    before, after = model.encode(given), model.encode(moved)
    assert torch.equal(before[0]["c"], after[0]["c"])  # through a, one layer later
    assert not torch.allclose(before[1]["c"], after[1]["c"])
    moved = given | {"a": given["a"] + torch.randn(2, 5, 8, generator=seeded(1))}
    assert torch.equal(model.encode(moved)[-1]["b"], before[-1]["b"])


def test_decoders_read_the_mirrored_layers():
    given, model = states(a=5), network({"a": ()})
    left = model.encode(given)
    answer = model.decode("a", left)
    for index, matters in enumerate((False, True, True)):  # two decoder layers, the last encoder layer first
        changed = list(left)
        changed[index] = {"a": left[index]["a"].flip(1) ** 2}
        assert torch.allclose(model.decode("a", changed), answer) != matters
    deeper = Multiformer({"a": ()}, 8, 2, 1, 3)
    assert torch.isfinite(deeper.decode("a", deeper.encode(given))).all()


def test_a_block_is_what_it_says():
    torch.manual_seed(0)
    block, x, source = Block(8, 2, 4, {"b": 1}, 0.0), torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    read = F.layer_norm(x, (8,))
    h = x + block.own(read, read) + block.others["b"](read, source)
    torch.testing.assert_close(block(x, {"b": source}), h + block.feedforward(h))
    assert block.feedforward[1].out_features == 16
    torch.testing.assert_close(normalised(x), read)


def test_members_start_apart_with_their_mean_at_zero():
    torch.manual_seed(0)
    tail, tokens = Tail(32, 8, 6), torch.randn(4, 5, 32)
    answers = tail(tokens)
    assert answers.shape == (4, 8, 5, 6)
    assert answers.mean(1).abs().max() < 1e-6
    assert 0.05 < answers.std(1).mean() < 0.2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tail(tokens.bfloat16()).dtype == torch.float32
