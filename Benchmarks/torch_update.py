"""One GRPO update in PyTorch; run by compare-update."""
import time

import torch
import torch.nn.functional as functional

import common
from transformers_engine import load


def measure(
    path: str, dtype: str, compiled: bool, micro_batch: int, trajectories: int, prompt: int, completion: int,
    threads: int, seconds: float
) -> dict:
    """Time of forward, backward and AdamW over `trajectories` sequences of `prompt` + `completion` tokens.

    One micro-batch warms up (and compiles). Then as many micro-batches are timed as fit in `seconds`, at least two, and
    one optimiser step; the whole is scaled to all trajectories: every micro-batch is the same work.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = load(path, getattr(torch, dtype))
    model.config.use_cache = False
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if compiled else model
    tokens = trajectories * completion

    def pass_() -> None:
        ids = torch.randint(0, model.config.vocab_size, (micro_batch, prompt + completion))
        advantage = torch.where(torch.arange(micro_batch) % 2 == 0, 1.0, -1.0).unsqueeze(1)
        # The prompt's logits are not computed: the strongest form of "full logits".
        logits = forward(input_ids=ids, logits_to_keep=completion + 1).logits[:, :-1]
        log_probs = -functional.cross_entropy(
            logits.flatten(0, 1).float(), ids[:, prompt:].flatten(), reduction="none").view(micro_batch, completion)
        ratio = torch.exp(log_probs - log_probs.detach())
        loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).sum() / tokens
        loss.backward()

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    pass_()
    step()
    times = []
    while len(times) < 2 or sum(times) < seconds:
        begin = time.perf_counter()
        pass_()
        times.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    step()
    optimizer_seconds = time.perf_counter() - begin
    pass_seconds = common.median(times)
    total = pass_seconds * trajectories / micro_batch + optimizer_seconds
    return {
        "tokens_per_second": trajectories * (prompt + completion) / total, "pass_seconds": pass_seconds,
        "optimizer_seconds": optimizer_seconds, "update_seconds": total, "micro_batch": micro_batch,
        "timed_micro_batches": len(times), "peak_memory_bytes": common.peak_memory_bytes(),
    }
