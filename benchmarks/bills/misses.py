"""What is known of the misses: read from sources and from our own answers taken apart, not
fitted."""

MISSES = """## What the misses say

- **Whole runs and steps.** Steps alone are too fast in most rows, and whole runs too slow in about
  as many: what long runs take beyond clean steps is learnt from small ones on few GPUs.
- **Llama 3 8B, Llama 3.2**: at their published hours the small ones reach 150 TFLOP/s a GPU (8B)
  and 50 (1B), less than half of what 405B parameters reach at theirs (340). Which batch and how
  many GPUs they had is not published; the cards count "the total GPU time required for training
  each model", which may hold more than one training. Llama 3.2's tokens are "up to 9T", and it was
  trained on the logits of larger models.
- **tp 8 on A100** (LLaMA 65B, Llama 2 70B): too slow. ZeRO 1 gathers updated weights behind the
  update, as DeepSpeed does, where nothing hides it; the authors' own code is not public and likely
  hid it.
- **OPT, GPT-3, BLOOM**: attention is asked unfused; Megatron's kernels fused scale, mask and
  softmax, bias and GELU, bias and dropout, which are planned one by one.
- **llm.c**: close but for the smallest model, whose products of width 768 are slower by our curves
  than by its cuBLASLt.
- **DeepSeek-V3**: what ran cannot be asked: DualPipe runs another micro-batch while experts
  exchange rows, each row crosses to a node once, and products were in FP8. Asked as 1F1B in bf16,
  the exchange alone is nearly half of a step.
- **Llama 4 Maverick**: with FSDP over 512 GPUs, by the rule, 400B parameters are gathered for 8,192
  tokens a GPU, and nothing hides it; its authors' layout is not published.
- **Stable Diffusion v2**: the hours of its cards hold an upscaler too, which is not asked.
- **SAM**: neither precision nor recomputation are published; reading images of three megapixels
  and the masks of 64 objects from disk is not planned, and theirs took 2.7 s for an image a GPU.
- **Alpaca, Vicuna**: the command that is public is a month younger than Alpaca's run; at it, a
  micro-batch of 4 short texts gathers and reduces 7B parameters in 0.2 s over NVLink, and 3 hours
  are 9 s a step. Vicuna's "one day" is rounded, and how many pieces its conversations were cut into
  is not published: each counts as one here.
- **Guanaco**: which 48 GB GPU it was is our assumption.

Mended in the planner on the way, each for a reason of its own, but looked for because a bill
disagreed, so that these figures are a little kinder than those of rows that nobody has looked at: a
run with failures wrote the
checkpoints of its recipe and those against failures both; the machines of tensor- and
pipeline-parallel ranks did not write together; what the slowest of many devices take held uneven
lengths, which full rows have not (arXiv 2505.05713, section 5); fused attention before
FlashAttention-2 ran at today's speed; DINOv2's stochastic depth, which skips 30 or 40 % of a
student's branches, was left out; pipelines whose ends have a layer less (Llama 3.1 405B, BLOOM)
were refused; ZeRO on the last stage of a pipeline with tied embeddings was not answered.
"""
