"""From the last module's feature maps to logits."""

from torch import Tensor, nn

from nni_evanet.layers.conv3d import init_weight_


class Head(nn.Module):
    """Average over (min(T, 2), H, W), dropout, 1x1x1 convolution with bias, mean over the rest.

    Maps (B, `in_channels`, T, H, W) to logits (B, `num_classes`). The window over time moves by one
    frame and is not padded.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv3d(in_channels, num_classes, 1)
        init_weight_(self.classifier.weight, fan_in=in_channels)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((3, 4), keepdim=True)
        if x.shape[2] > 1:
            x = (x[:, :, 1:] + x[:, :, :-1]) / 2
        return self.classifier(self.dropout(x)).mean((2, 3, 4))
