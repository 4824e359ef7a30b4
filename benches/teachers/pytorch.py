"""Fine-tunes a Hugging Face encoder in PyTorch, the way a user of transformers would write it down: mean pooling, a linear
head, AdamW with linear warm-up and decay, batches of similar length, frozen word embeddings.

    python pytorch.py ENCODER TRAIN.jsonl DEV.jsonl TEST.jsonl THREADS EPOCHS SEED    # prints one JSON object
    python pytorch.py ENCODER TRAIN.jsonl - - THREADS STEPS SEED                      # STEPS steps for each line on standard input,
                                                                                      # prints [seconds, tokens] of each turn
"""

import copy
import json
import random
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

BATCH, LR, WEIGHT_DECAY, WARM_UP, CLIP, DROPOUT, MAX_LENGTH = 32, 1e-4, 0.01, 0.1, 1.0, 0.1, 128
# Batches sorted together: long enough to pad little, short enough to stay random.
POOL = 100 * BATCH


class Classifier(nn.Module):
    def __init__(self, encoder, classes):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(encoder, add_pooling_layer=False)
        self.encoder.embeddings.word_embeddings.weight.requires_grad_(False)
        self.head = nn.Linear(self.encoder.config.hidden_size, classes)
        nn.init.normal_(self.head.weight, std=self.encoder.config.initializer_range)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids, mask):
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(2).to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
        return self.head(F.dropout(pooled, DROPOUT, self.training))


def read(path, tokenizer):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    ids = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return ids, [row["label"] for row in rows]


def batches(ids, shuffled):
    order = list(range(len(ids)))
    if shuffled:
        random.shuffle(order)
    pools = [order[i : i + POOL] for i in range(0, len(order), POOL)]
    result = []
    for pool in pools:
        pool.sort(key=lambda i: len(ids[i]))
        result += [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
    if shuffled:
        random.shuffle(result)
    return result


def tensors(batch, ids, labels, pad):
    width = max(len(ids[i]) for i in batch)
    padded = torch.tensor([ids[i] + [pad] * (width - len(ids[i])) for i in batch])
    lengths = torch.tensor([len(ids[i]) for i in batch])
    mask = (torch.arange(width) < lengths.unsqueeze(1)).long()
    return padded, mask, torch.tensor([labels[i] for i in batch])


def accuracy(model, ids, labels, pad):
    model.eval()
    right = 0
    with torch.inference_mode():
        for batch in batches(ids, shuffled=False):
            x, mask, y = tensors(batch, ids, labels, pad)
            right += (model(x, mask).argmax(1) == y).sum().item()
    model.train()
    return right / len(ids)


class Training:
    def __init__(self, model, steps):
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.dim() > 1]
        others = [p for p in self.parameters if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LR)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, round(steps * WARM_UP), steps)

    def step(self, x, mask, y):
        loss = F.cross_entropy(self.model(x, mask), y)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()


def main():
    encoder, train_file, dev_file, test_file, *numbers = sys.argv[1:]
    threads, count, seed = map(int, numbers)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    pad = tokenizer.pad_token_id
    ids, labels = read(train_file, tokenizer)
    model = Classifier(encoder, len(set(labels))).train()

    if dev_file == "-":
        training = Training(model, 10**6)
        queue = batches(ids, shuffled=True)
        for _ in sys.stdin:
            start, tokens = time.perf_counter(), 0
            for _ in range(count):
                batch = queue.pop(0)
                queue.append(batch)
                x, mask, y = tensors(batch, ids, labels, pad)
                training.step(x, mask, y)
                tokens += int(mask.sum())
            print(json.dumps([time.perf_counter() - start, tokens]), flush=True)
        return

    dev, test = read(dev_file, tokenizer), read(test_file, tokenizer)
    training = Training(model, count * len(batches(ids, shuffled=False)))
    seconds, best = 0.0, (-1.0, None)
    for _ in range(count):
        start = time.perf_counter()
        for batch in batches(ids, shuffled=True):
            training.step(*tensors(batch, ids, labels, pad))
        seconds += time.perf_counter() - start
        found = accuracy(model, *dev, pad)
        if found > best[0]:
            best = (found, copy.deepcopy(model.state_dict()))
    model.load_state_dict(best[1])
    print(json.dumps({"train_seconds": seconds, "dev": best[0], "test": accuracy(model, *test, pad)}))


if __name__ == "__main__":
    main()
