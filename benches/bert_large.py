"""The forward pass of a BERT-large with random weights in PyTorch, in length-sorted batches.

    python bert_large.py THREADS BATCH LENGTHS

LENGTHS is a comma-separated list of token counts, one for each sentence. For each line on standard input, all
sentences are passed through once, and the seconds that took are printed.
"""

import sys
import time

import torch
from transformers import BertConfig, BertModel


def main():
    threads, size = map(int, sys.argv[1:3])
    lengths = sorted(map(int, sys.argv[3].split(",")))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    config = BertConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        attn_implementation="sdpa",
    )
    model = BertModel(config).eval()
    batches = []
    for start in range(0, len(lengths), size):
        batch = torch.tensor(lengths[start : start + size])
        ids = torch.randint(1, config.vocab_size, (len(batch), int(batch.max())))
        mask = (torch.arange(ids.shape[1]) < batch[:, None]).long()
        batches.append({"input_ids": ids} if mask.all() else {"input_ids": ids, "attention_mask": mask})
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                model(**batch)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
