"""PyTorch's own loop over a folder that `transformers` reads, in length-sorted batches.

    python pytorch_sorted.py MODEL_FOLDER HEADLINES_FILE THREADS

Tokenises beforehand, takes the batch size that is the faster one here, and prints a line of JSON with
the key `ready`. Then, for each line on standard input, labels all headlines once and prints
`{"examples": N, "seconds": S}`.
"""

import json
import statistics
import sys
import time

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, __version__

BATCH_SIZES = (16, 64)
# At most so many headlines, a quarter of all, decide between them in so many turns.
TRIAL, TRIALS = 128, 3


def batches(tokens, size):
    """Padded to the longest of each batch; no mask where nothing is padded."""
    for start in range(0, len(tokens), size):
        batch = tokens[start : start + size]
        longest = max(map(len, batch))
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, one in enumerate(batch):
            ids[row, : len(one)] = torch.tensor(one)
        lengths = torch.tensor([[len(one)] for one in batch])
        mask = (torch.arange(longest) < lengths).long()
        yield {"input_ids": ids} if mask.all() else {"input_ids": ids, "attention_mask": mask}


def seconds(model, prepared):
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in prepared:
            model(**batch).logits
    return time.perf_counter() - start


def main():
    folder, headlines, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa")
    model = model.to(torch.float32).eval()
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    with open(headlines, encoding="utf-8") as lines:
        texts = lines.read().splitlines()
    tokens = sorted((tokenizer.encode(text).ids for text in texts), key=len)

    # Every so many of the sorted, so that lengths are as in the whole.
    sample = tokens[:: max(4, len(tokens) // TRIAL)]
    trials = {size: list(batches(sample, size)) for size in BATCH_SIZES}
    seconds(model, trials[16])
    times = {size: [] for size in BATCH_SIZES}
    for _ in range(TRIALS):
        for size, prepared in trials.items():
            times[size].append(seconds(model, prepared))
    best = min(BATCH_SIZES, key=lambda size: statistics.median(times[size]))

    prepared = list(batches(tokens, best))
    ready = f"PyTorch {torch.__version__}, transformers {__version__}, sdpa, sorted batches of {best}, {threads} threads"
    print(json.dumps({"ready": ready}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"examples": len(tokens), "seconds": seconds(model, prepared)}), flush=True)


if __name__ == "__main__":
    main()
