"""What PEFT writes of an adapter that was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def saved(peft: Any, adapted: Any) -> list[torch.Tensor]:
    """The tensors of ``save_pretrained``: PEFT's own ``get_peft_model_state_dict``; of virtual
    tokens what their network makes, which is kept in the network's place
    (``get_prompt_embedding_to_save``), and whole modules that train beside."""
    if not adapted.active_peft_config.is_prompt_learning:
        return list(peft.get_peft_model_state_dict(adapted).values())
    import torch

    encoder = adapted.prompt_encoder[adapted.active_adapter]
    own = {id(parameter) for parameter in encoder.parameters()}
    beside = [p for p in adapted.parameters() if p.requires_grad and id(p) not in own]
    with torch.no_grad():
        tokens = torch.arange(
            encoder.embedding.num_embeddings, device=encoder.embedding.weight.device
        )
        return [encoder(tokens.unsqueeze(0))[0], *beside]
