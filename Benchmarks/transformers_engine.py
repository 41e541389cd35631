"""Decode of Hugging Face transformers' `generate`; run by compare-decode."""
import os
import time

import torch
import transformers


def decode_rate(path: str, batch: int, prompt: int, steps: int, threads: int) -> dict:
    """Tokens a second of `generate` in bf16, prefill and four warm-up steps left out."""
    torch.set_num_threads(threads)
    model = load(path, torch.bfloat16)
    model.eval()
    ids = (torch.arange(prompt) * 7919 + 100).remainder(model.config.vocab_size).repeat(batch, 1)
    moments = []

    class Clock(transformers.StoppingCriteria):
        def __call__(self, ids, scores, **_):
            moments.append(time.perf_counter())
            return torch.zeros(ids.shape[0], dtype=torch.bool)

    with torch.inference_mode():
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
            max_new_tokens=steps + 5, min_new_tokens=steps + 5, pad_token_id=0,
            stopping_criteria=transformers.StoppingCriteriaList([Clock()]))
    return {"tokens_per_second": batch * steps / (moments[-1] - moments[-1 - steps])}


def load(path: str, dtype):
    """A model from a GGUF file or a Hugging Face directory."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if path.endswith(".gguf"):
        folder, name = os.path.split(os.path.abspath(path))
        return transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype)
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
