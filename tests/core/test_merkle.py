"""The laws of RFC 6962's tree, and the values that the Certificate Transparency project published for it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core import merkle
from trueseed.core.merkle import (
    Frontier,
    Tree,
    consistency,
    inclusion,
    is_consistent,
    leaf_hash,
    node_hash,
    root,
    root_from_inclusion,
)

# Leaves and roots of certificate-transparency's merkle tree tests (the same in Trillian and in Go's tlog).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(1, 130)


MANY = [leaf_hash(b"%d" % i) for i in range(10_000)]


def hashes(size: int) -> list[bytes]:
    return MANY[:size]


def definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as it is written there."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + definition(leaves[:k]) + definition(leaves[k:])).digest()


def test_the_empty_tree_is_the_hash_of_nothing():
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots_are_met(size):
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:size]]
    assert root(leaves).hex() == ROOTS[size - 1]


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70))
def test_the_root_is_what_the_rfc_defines(leaves):
    assert root([leaf_hash(leaf) for leaf in leaves]) == definition(leaves)


@given(sizes, st.data())
def test_every_leaf_is_proven_included(size, data):
    tree = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion(tree, index)
    assert root_from_inclusion(tree[index], index, size, path) == root(tree)
    assert len(path) <= (size - 1).bit_length()


@given(sizes, st.data())
def test_another_leaf_is_never_proven_included(size, data):
    tree = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion(tree, index)
    assert root_from_inclusion(leaf_hash(b"another"), index, size, path) != root(tree)


@given(st.integers(2, 130), st.data())
def test_a_leaf_is_not_proven_at_another_index(size, data):
    tree = hashes(size)
    index, claimed = data.draw(st.permutations(range(size)).map(lambda order: order[:2]))
    try:
        implied = root_from_inclusion(tree[index], claimed, size, inclusion(tree, index))
    except ValueError:
        return
    assert implied != root(tree)


@given(sizes, st.data())
def test_an_inclusion_path_of_the_wrong_length_is_an_error(size, data):
    tree = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion(tree, index)
    with pytest.raises(ValueError, match="too long"):
        root_from_inclusion(tree[index], index, size, [*path, tree[0]])
    if path:
        with pytest.raises(ValueError, match="too short"):
            root_from_inclusion(tree[index], index, size, path[:-1])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index, size):
    with pytest.raises(IndexError):
        inclusion(hashes(size), index)
    with pytest.raises(ValueError, match="is not in a tree"):
        root_from_inclusion(leaf_hash(b""), index, size, [])


@given(sizes, st.data())
def test_a_grown_tree_is_proven_consistent(size, data):
    tree = hashes(size)
    old = data.draw(st.integers(1, size))
    assert is_consistent(root(tree[:old]), old, root(tree), size, consistency(tree, old))


@given(st.integers(2, 130), st.data())
def test_another_history_is_never_proven_consistent(size, data):
    tree = hashes(size)
    old = data.draw(st.integers(1, size))
    forked = [leaf_hash(b"forked"), *tree[1:]]
    assert not is_consistent(root(forked[:old]), old, root(tree), size, consistency(tree, old))


@given(st.integers(2, 130), st.data())
def test_a_changed_consistency_proof_is_not_accepted(size, data):
    tree = hashes(size)
    old = data.draw(st.integers(1, size - 1))
    path = consistency(tree, old)
    place = data.draw(st.integers(0, len(path) - 1))
    changed = [*path[:place], node_hash(path[place], path[place]), *path[place + 1 :]]
    for wrong in (changed, path[:-1], [*path, path[-1]]):
        assert not is_consistent(root(tree[:old]), old, root(tree), size, wrong)


@pytest.mark.parametrize("old", [0, 4, -1])
def test_there_is_no_consistency_proof_from_outside_the_tree(old):
    with pytest.raises(IndexError):
        consistency(hashes(3), old)


@given(st.integers(0, 130))
def test_a_frontier_has_the_root_of_its_leaves(size):
    assert Frontier(hashes(size)).root() == root(hashes(size))


@given(sizes)
def test_a_copied_frontier_grows_alone(size):
    grown = Frontier(hashes(size))
    copied = grown.copy()
    copied.append(leaf_hash(b"more"))
    assert grown.root() == root(hashes(size))
    assert copied.root() == root([*hashes(size), leaf_hash(b"more")])


def test_a_frontier_grows_by_a_number_of_hashes_that_does_not_depend_on_its_size(monkeypatch):
    count = 0

    def counted(left: bytes, right: bytes) -> bytes:
        nonlocal count
        count += 1
        return node_hash(left, right)

    monkeypatch.setattr(merkle, "node_hash", counted)
    frontier = Frontier(hashes(10_000))
    count = 0
    frontier.append(leaf_hash(b"one more"))
    frontier.root()
    assert count <= 2 * (10_000).bit_length()


def test_a_tree_gives_the_root_and_the_path_of_every_leaf():
    for size in (1, 2, 3, 4, 5, 7, 8, 9, 31, 33):
        leaves = hashes(size)
        tree = Tree(leaves)
        assert tree.root() == root(leaves)
        assert [tree.path(index) for index in range(size)] == [tuple(inclusion(leaves, i)) for i in range(size)]
    assert Tree([]).root() == root([])
    with pytest.raises(IndexError):
        tree.path(33)
    with pytest.raises(IndexError):
        tree.root(34)


@given(st.lists(st.integers(0, 9), max_size=9), st.data())
def test_a_tree_that_grew_gives_the_paths_of_every_earlier_size(steps, data):
    tree, leaves = Tree(), hashes(sum(steps) + 1)
    for step in steps:
        tree.extend(leaves[tree.size : tree.size + step])
    tree.extend(leaves[tree.size :])
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    assert (tree.root(), tree.root(size)) == (root(leaves), root(leaves[:size]))
    assert tree.path(index, size) == tuple(inclusion(leaves[:size], index))
