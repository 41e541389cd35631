"""Batched decode of llama.cpp through llama-cpp-python's low-level interface; run by compare-decode."""
import ctypes
import statistics
import time

import llama_cpp as llama


def decode_rate(path: str, batch: int, prompt: int, steps: int, threads: int, unified: bool) -> dict:
    """Tokens a second of decode steps with `batch` parallel sequences; no sampling is done or counted.

    `unified`: one key/value cache whose prompt cells all sequences share; otherwise a stream for each sequence.
    """
    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        raise RuntimeError(f"{path}: llama.cpp cannot load it")
    parameters = llama.llama_context_default_params()
    # A cache is padded to multiples of 256 positions.
    positions = (prompt + steps + 16 + 255) // 256 * 256
    parameters.n_ctx = positions * batch
    parameters.n_batch = 2048
    parameters.n_ubatch = 512
    parameters.n_seq_max = batch
    parameters.n_threads = threads
    parameters.n_threads_batch = threads
    parameters.kv_unified = unified
    context = llama.llama_init_from_model(model, parameters)
    if not context:
        raise RuntimeError(f"{path}: llama.cpp cannot make a context of {batch} sequences")
    tokens = llama.llama_batch_init(2048, 0, batch)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def feed() -> None:
        status = llama.llama_decode(context, tokens)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")

    def fill_prompt(sequence: int) -> None:
        tokens.n_tokens = prompt
        for index in range(prompt):
            tokens.token[index] = (100 + 7919 * index) % vocabulary
            tokens.pos[index] = index
            tokens.n_seq_id[index] = 1
            tokens.seq_id[index][0] = sequence
            tokens.logits[index] = 0
        feed()

    begin = time.perf_counter()
    if unified:
        fill_prompt(0)
        memory = llama.llama_get_memory(context)
        for sequence in range(1, batch):
            llama.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
    else:
        for sequence in range(batch):
            fill_prompt(sequence)
    prefill = time.perf_counter() - begin

    def step(index: int) -> None:
        tokens.n_tokens = batch
        for sequence in range(batch):
            tokens.token[sequence] = (index * 37 + sequence * 7919) % vocabulary
            tokens.pos[sequence] = prompt + index
            tokens.n_seq_id[sequence] = 1
            tokens.seq_id[sequence][0] = sequence
            tokens.logits[sequence] = 1
        feed()
        # Waits for the result.
        llama.llama_get_logits_ith(context, 0)[0]

    for index in range(4):
        step(index)
    seconds = []
    for index in range(4, 4 + steps):
        begin = time.perf_counter()
        step(index)
        seconds.append(time.perf_counter() - begin)
    llama.llama_batch_free(tokens)
    llama.llama_free(context)
    llama.llama_model_free(model)
    return {
        "tokens_per_second": batch * steps / sum(seconds),
        "tokens_per_second_of_median_step": batch / statistics.median(seconds),
        "prefill_seconds": prefill,
    }
