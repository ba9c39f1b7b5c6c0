"""SAME padding against a brute-force reference, for convolutions and pools."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_evanet.layers import Conv3d, MaxPool3d
from nni_evanet.layers.padding import fit, same_padding

torch.set_num_threads(1)

axes = st.tuples(st.integers(1, 12), st.integers(1, 11), st.integers(1, 3))


def pad_before(size: int, kernel: int, stride: int) -> int:
    """The specification, word for word."""
    out = -(-size // stride)
    return max((out - 1) * stride + kernel - size, 0) // 2


def windows(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """Same-padded windows of x (T, H, W), NaN outside: (T', H', W', kt, kh, kw)."""
    starts = [
        [o * s - pad_before(n, k, s) for o in range(-(-n // s))]
        for n, k, s in zip(x.shape, kernel, stride, strict=True)
    ]
    out = np.full([*map(len, starts), *kernel], np.nan)
    for place in itertools.product(*(range(n) for n in out.shape)):
        source = [starts[i][place[i]] + place[i + 3] for i in range(3)]
        if all(0 <= at < n for at, n in zip(source, x.shape, strict=True)):
            out[place] = x[tuple(source)]
    return out


@given(axes)
def test_output_is_ceil_and_the_odd_remainder_goes_after(axis):
    size, kernel, stride = axis
    before, after = same_padding(size, kernel, stride)
    assert after - before in (0, 1)
    assert before == pad_before(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


@given(axes)
def test_fit_drops_exactly_the_taps_that_see_only_padding(axis):
    size, kernel, stride = axis
    before, _ = same_padding(size, kernel, stride)
    starts = [o * stride - before for o in range(-(-size // stride))]
    used = [t for t in range(kernel) if any(0 <= start + t < size for start in starts)]
    f = fit(size, kernel, stride)
    if before or used[0] == 0:  # a window smaller than the stride has no padding to drop
        assert (f.first, f.end) == (used[0], used[-1] + 1)


CASES = [
    ((4, 5, 6), (3, 3, 3), (1, 1, 1)),
    ((4, 5, 6), (3, 7, 7), (2, 2, 2)),
    ((2, 3, 3), (11, 3, 3), (1, 1, 1)),
    ((4, 1, 1), (7, 3, 3), (1, 1, 1)),
    ((1, 4, 5), (5, 3, 3), (2, 1, 1)),
    ((5, 4, 3), (1, 3, 3), (1, 2, 2)),
    ((5, 4, 3), (4, 2, 2), (1, 1, 1)),
    ((6, 5, 5), (3, 1, 1), (2, 1, 1)),
    ((5, 5, 4), (1, 2, 2), (2, 3, 1)),
    ((6, 4, 4), (11, 2, 2), (2, 2, 2)),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride"), CASES)
def test_operations_match_brute_force(size, kernel, stride, channels_last):
    x = torch.randn(1, 2, *size)
    expected = np.stack([windows(channel, kernel, stride) for channel in x[0].numpy()])
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)

    pooled = MaxPool3d(kernel, stride)(x)
    np.testing.assert_array_equal(pooled[0].numpy(), np.nanmax(expected, (4, 5, 6)))

    conv = Conv3d(2, 3, kernel[0], spatial=kernel[1], stride=stride)
    weight = conv.weight.detach().numpy()
    convolved = np.einsum("ithwabc,oiabc->othw", np.nan_to_num(expected), weight)
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), convolved, atol=1e-4)


def test_pool_sends_gradients_of_ties_where_one_operation_does():
    x = torch.randint(0, 3, (2, 3, 4, 5, 6)).float().requires_grad_()
    reference = torch.nn.functional.max_pool3d(x, (5, 3, 3), 1, (2, 1, 1))
    weights = torch.randn_like(reference)
    (expected,) = torch.autograd.grad(reference, x, weights)
    (got,) = torch.autograd.grad(MaxPool3d((5, 3, 3))(x), x, weights)
    torch.testing.assert_close(got, expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(axes, min_size=3, max_size=3))
def test_output_shape(parts):
    sizes, kernel, stride = zip(*parts, strict=True)
    shape = tuple(-(-n // s) for n, s in zip(sizes, stride, strict=True))
    assert MaxPool3d(kernel, stride)(torch.randn(1, 1, *sizes)).shape[2:] == shape
