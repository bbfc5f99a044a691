"""Self-information: a token matters as much as it surprises the frozen decoder.

The measure of Selective Context (arXiv:2310.06201) and LLMLingua (arXiv:2310.05736), here on the
base model that is loaded anyway: no other model, one causal pass per chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk


class Surprisal:
    """Scores tokens by the frozen decoder's own loss.

    Args:
        backbone: The model; its LoRA is switched off while it scores.
    """

    identity = "surprisal"
    """Its name: the decoder's weights are in every fingerprint already."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def __call__(self, chunk: Chunk) -> Tensor:
        """Give each token's -log p given those of the chunk before it, in nats, (T,).

        The chunk's first token follows nothing and scores 0. Chunks are scored one by one, so that
        a batch never changes which tokens are taken.
        """
        backbone = self._backbone
        ids_T = chunk.token_ids.to(backbone.device)
        head = backbone.causal_lm.get_output_embeddings()
        assert head is not None  # every causal LM has one
        with backbone.decoding(), torch.no_grad():
            hidden_TD = backbone.decoder(
                input_ids=ids_T[None], attention_mask=torch.ones_like(ids_T)[None], use_cache=False
            ).last_hidden_state[0]
            logits_TV = head(hidden_TD[:-1]).float()
        scores_T = torch.zeros(len(chunk))
        scores_T[1:] = cross_entropy(logits_TV, ids_T[1:], reduction="none").cpu()
        return scores_T
