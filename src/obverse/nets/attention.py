"""Attention of a set of cells to itself and, where there are any, to the tokens of a condition."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from obverse.nets.condition import Told

_HEAD = 32  # numbers in a head: ADM's 64, halved for nets this small


class Attention(nn.Module):
    """Every cell looks at all cells and at the visible tokens, in one softmax.

    Args:     width: numbers in a cell; split into heads of about 32.
              tokens: numbers in a token of Told; 0: there are none.
    Source:   Vaswani et al. (2017); joint keys as in Nichol et al. (2022, GLIDE), section 3.
    """

    def __init__(self, width: int, tokens: int = 0) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, width // _HEAD), 0, -1) if width % n == 0)
        self.cells = nn.Linear(width, 3 * width)
        self.tokens = nn.Linear(tokens, 2 * width) if tokens else None
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """(batch, cells, width) to the same."""
        query, key, value = self._split(self.cells(h), 3)
        seen = None
        if self.tokens is not None and told.tokens is not None and told.visible is not None:
            token_key, token_value = self._split(self.tokens(told.tokens), 2)
            key, value = torch.cat([token_key, key], 2), torch.cat([token_value, value], 2)
            seen = pad(told.visible, (0, h.shape[1]), value=True)[:, None, None]
        h = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        out: Tensor = self.out(h.transpose(1, 2).flatten(2))
        return out

    def _split(self, h: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(batch, n, parts width) to parts of (batch, heads, n, width / heads)."""
        return h.reshape(*h.shape[:2], parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
