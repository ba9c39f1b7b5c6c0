"""The annealed schedule against the paper's numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet.strategies import Annealed, Constant


def test_the_papers_numbers():
    schedule = Annealed(max_mutations=7, rounds=100)
    assert [schedule(i) for i in (0, 1, 99, 100, 101, 599, 600, 601, 2000)] == [
        *(7, 7, 7, 6, 6, 2, 1, 1, 1)
    ]


@given(st.integers(1, 20), st.integers(1, 500), st.integers(0, 10_000))
def test_the_papers_formula(d, r, i):
    assert Annealed(d, r)(i) == max(math.ceil(d - i / r), 1)


def test_constant():
    assert {Constant(3)(i) for i in range(1000)} == {3}


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "7"])
def test_bad_numbers_are_named(bad):
    with pytest.raises(ValueError, match="max_mutations"):
        Annealed(bad, 100)
    with pytest.raises(ValueError, match="rounds"):
        Annealed(7, bad)
    with pytest.raises(ValueError, match="mutations"):
        Constant(bad)
