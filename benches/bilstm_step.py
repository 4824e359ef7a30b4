"""The original's BiLSTM in PyTorch, trained as the original trains it: padded to 50, dense SGD.

    python bilstm_step.py BATCHES THREADS STEPS

BATCHES is a JSON file: of each batch the token ids of each text. For each line on standard input, takes STEPS training
steps and prints the seconds they took.
"""

import json
import sys
import time

import torch
from torch import nn

VOCABULARY, EMBEDDING, HIDDEN, INNER, CLASSES, LENGTH = 21_128, 300, 300, 192, 5, 50


class BiLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, bidirectional=True, batch_first=True)
        self.hidden = nn.Linear(2 * HIDDEN, INNER)
        self.output = nn.Linear(INNER, CLASSES)

    def forward(self, ids):
        states, _ = self.lstm(self.embedding(ids))
        scores = self.output(torch.relu(self.hidden(states)))
        return scores.max(dim=1).values


def main():
    path, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = BiLstm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with open(path) as file:
        batches = [torch.tensor([text + [0] * (LENGTH - len(text)) for text in batch]) for batch in json.load(file)]
    labels = [torch.randint(CLASSES, (len(ids),)) for ids in batches]
    step = 0
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            ids, hard = batches[step % len(batches)], labels[step % len(batches)]
            logits = model(ids)
            teacher = torch.zeros_like(logits)
            loss = nn.functional.cross_entropy(logits, hard) + 2 * nn.functional.mse_loss(logits, teacher)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
