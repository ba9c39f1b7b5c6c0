"""Views of clips as images copy nothing and are recognised as channels-last."""

import pytest
import torch

from nni_evanet.layers.layout import (
    batch_as_frames,
    columns_as_pixels,
    frames_as_batch,
    pixels_as_columns,
)


@pytest.mark.parametrize("batch", [1, 2])
def test_views_round_trip_without_a_copy(batch):
    x = torch.randn(batch, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)

    frames = frames_as_batch(x)
    torch.testing.assert_close(frames[1], x[0, :, 1])
    columns = pixels_as_columns(x)
    torch.testing.assert_close(columns[0, :, 2, 7], x[0, :, 2, 1, 1])
    for view in (frames, columns):
        assert view.data_ptr() == x.data_ptr()
        # Not only contiguous: with the very strides that a batch of one could do without.
        expected = torch.empty(view.shape).to(memory_format=torch.channels_last)
        assert view.stride() == expected.stride()

    torch.testing.assert_close(batch_as_frames(frames, 4), x)
    torch.testing.assert_close(columns_as_pixels(columns, 5, 6), x)
    assert columns_as_pixels(columns, 5, 6).stride() == x.stride()


def test_columns_of_channels_first_clips():
    x = torch.randn(2, 3, 4, 5, 6)
    columns = pixels_as_columns(x)
    assert columns.data_ptr() == x.data_ptr()
    torch.testing.assert_close(columns_as_pixels(columns, 5, 6), x)
