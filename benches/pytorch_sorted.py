"""PyTorch's own loop over a folder that `transformers` reads, in length-sorted batches.

    python pytorch_sorted.py [--device DEVICE] [--dtype TYPE] MODEL_FOLDER HEADLINES_FILE THREADS

Tokenises beforehand and puts all batches on the device, takes the batch size that is the fastest one here, and prints a line of JSON with
the key `ready`. Then, for each line on standard input, labels all headlines once and prints
`{"examples": N, "seconds": S}`.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, __version__

BATCH_SIZES = {"cpu": (16, 64), "cuda": (64, 256, 1024)}
# At most so many headlines, a quarter of all, decide between them in so many turns.
TRIAL, TRIALS = {"cpu": 128, "cuda": 8192}, 3


def batches(tokens, size, device):
    """Padded to the longest of each batch; no mask where nothing is padded."""
    for start in range(0, len(tokens), size):
        batch = tokens[start : start + size]
        longest = max(map(len, batch))
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, one in enumerate(batch):
            ids[row, : len(one)] = torch.tensor(one)
        lengths = torch.tensor([[len(one)] for one in batch])
        mask = (torch.arange(longest) < lengths).long().to(device)
        ids = ids.to(device)
        yield {"input_ids": ids} if mask.all() else {"input_ids": ids, "attention_mask": mask}


def seconds(model, prepared):
    start = time.perf_counter()
    with torch.inference_mode():
        logits = [model(**batch).logits for batch in prepared]
        # The rows are wanted on the CPU; that also waits for a GPU.
        torch.cat(logits).cpu()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("folder")
    parser.add_argument("headlines")
    parser.add_argument("threads", type=int)
    args = parser.parse_args()
    device, threads = args.device, args.threads
    torch.set_num_threads(threads)
    model = BertForSequenceClassification.from_pretrained(args.folder, attn_implementation="sdpa")
    model = model.to(device, getattr(torch, args.dtype)).eval()
    tokenizer = Tokenizer.from_file(f"{args.folder}/tokenizer.json")
    with open(args.headlines, encoding="utf-8") as lines:
        texts = lines.read().splitlines()
    tokens = sorted((tokenizer.encode(text).ids for text in texts), key=len)

    # Every so many of the sorted, so that lengths are as in the whole.
    sizes = BATCH_SIZES[device.type]
    sample = tokens[:: max(4, len(tokens) // TRIAL[device.type])]
    trials = {size: list(batches(sample, size, device)) for size in sizes}
    seconds(model, trials[sizes[0]])
    times = {size: [] for size in sizes}
    for _ in range(TRIALS):
        for size, prepared in trials.items():
            times[size].append(seconds(model, prepared))
    best = min(sizes, key=lambda size: statistics.median(times[size]))

    prepared = list(batches(tokens, best, device))
    place = f"{threads} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    ready = f"PyTorch {torch.__version__}, transformers {__version__}, {args.dtype}, sdpa, sorted batches of {best}, {place}"
    print(json.dumps({"ready": ready}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"examples": len(tokens), "seconds": seconds(model, prepared)}), flush=True)


if __name__ == "__main__":
    main()
