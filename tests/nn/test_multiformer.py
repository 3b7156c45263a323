"""Heads whose shares add up, fields that read one state, members that start apart."""

import torch
import torch.nn.functional as F

from neurodyn.nn.multiformer import Block, Heads, Multiformer, Tail, normalised


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(**tokens: int) -> dict[str, torch.Tensor]:
    return {name: torch.randn(2, count, 8, generator=seeded(count)) for name, count in tokens.items()}


def places(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.rand(*tokens.shape[:2], 3, generator=seeded(tokens.shape[1])) for name, tokens in given.items()}


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


def test_heads_that_know_places_look_at_what_is_near_first():
    torch.manual_seed(0)
    heads = Heads(8, 1, 4, 1, placed=True)
    own, other = torch.randn(1, 2, 8), torch.randn(1, 3, 8)
    apart = torch.tensor([[[0.0, 0.1, 4.0], [4.0, 4.0, 0.0]]])
    key, value = (other @ part.T for part in heads.answer.weight.chunk(2))
    scores = (own @ heads.ask.weight.T) @ key.mT / 2 - 100 * apart
    torch.testing.assert_close(heads(own, other, apart), scores.softmax(-1) @ value @ heads.join.weight.T)
    alone = heads.join(value)  # what the nearest say
    torch.testing.assert_close(heads(own, other, apart)[0], alone[0, [0, 2]], atol=1e-3, rtol=0)
    heads(own, other, apart).sum().backward()
    assert heads.nearness.grad.abs().item() > 0


def test_the_order_of_fields_does_not_matter():
    given = states(a=5, b=3, c=7)
    first = network({"a": ("b", "c"), "b": ("a", "c"), "c": ("a",)})
    second = network({"c": ("a",), "b": ("c", "a"), "a": ("c", "b")}, seed=1)
    second.load_state_dict(first.state_dict())
    one, other = first.encode(given, places(given)), second.encode(dict(reversed(given.items())), places(given))
    for name in given:
        torch.testing.assert_close(first.decode(name, one), second.decode(name, other))


def test_fields_see_their_partners_alone():
    given, model = states(a=5, b=3, c=7), network({"a": ("b",), "b": (), "c": ("a",)})
    moved = given | {"b": given["b"] + torch.randn(2, 3, 8, generator=seeded(1))}
    before, after = model.encode(given, places(given)), model.encode(moved, places(moved))
    assert torch.equal(before[0]["c"], after[0]["c"])  # through a, one layer later
    assert not torch.allclose(before[1]["c"], after[1]["c"])
    moved = given | {"a": given["a"] + torch.randn(2, 5, 8, generator=seeded(1))}
    assert torch.equal(model.encode(moved, places(moved))[-1]["b"], before[-1]["b"])


def test_decoders_read_the_mirrored_layers():
    given, model = states(a=5), network({"a": ()})
    left = model.encode(given, places(given))
    answer = model.decode("a", left)
    for index, matters in enumerate((False, True, True)):  # two decoder layers, the last encoder layer first
        changed = list(left)
        changed[index] = {"a": left[index]["a"].flip(1) ** 2}
        assert torch.allclose(model.decode("a", changed), answer) != matters
    deeper = Multiformer({"a": ()}, 8, 2, 1, 3)
    assert torch.isfinite(deeper.decode("a", deeper.encode(given, places(given)))).all()


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
