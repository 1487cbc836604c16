"""The sequence network of level finding: strips along the spine in, evidence per row out."""

from __future__ import annotations

from torch import Tensor, nn

STRIPS = 12
WIDTH = 48
CLASSES = 20
"""19 levels and ``none`` (above the skull base, below the sacrum)."""
OUTPUTS = CLASSES + 1
"""Class logits, then the logit of "this row lies between two vertebral bodies"."""


class _Block(nn.Module):
    """Residual dilated convolution along the rows."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(8, channels),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channel, row] to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class LevelChainNet(nn.Module):
    """About 0.6 M parameters; works on any number of rows.

    Two-dimensional convolutions pool only across each strip (every strip has filters of its own), then
    dilated convolutions run along the rows.
    """

    def __init__(self, filters: int = 12, channels: int = 128, dropout: float = 0.15) -> None:
        super().__init__()
        inside = STRIPS * filters
        self.across = nn.Sequential(
            nn.Conv2d(STRIPS, inside, (3, 5), stride=(1, 2), padding=(1, 2), groups=STRIPS),
            nn.GroupNorm(STRIPS, inside),
            nn.GELU(),
            nn.Conv2d(inside, inside, (3, 5), stride=(1, 2), padding=(1, 2), groups=STRIPS),
            nn.GroupNorm(STRIPS, inside),
            nn.GELU(),
            nn.Conv2d(inside, inside, (3, 5), stride=(1, 2), padding=(1, 2), groups=STRIPS),
            nn.GroupNorm(STRIPS, inside),
            nn.GELU(),
        )
        self.join = nn.Conv2d(inside, channels, (1, WIDTH // 8))
        self.along = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.GELU(),
            *(_Block(channels, d, dropout) for d in (1, 2, 4, 8, 16, 32, 1, 4, 16)),
        )
        self.head = nn.Conv1d(channels, OUTPUTS, 1)

    def forward(self, strips: Tensor) -> Tensor:
        """[batch, strip, row, 48] scaled HU to [batch, 21, row] logits."""
        joined = self.join(self.across(strips)).squeeze(3)
        logits: Tensor = self.head(self.along(joined))
        return logits
