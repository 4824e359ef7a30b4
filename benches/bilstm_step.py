"""The original's BiLSTM in PyTorch, trained as the original trains it: padded to 50, dense SGD.

    python bilstm_step.py THREADS STEPS BATCH

For each line on standard input, takes STEPS training steps and prints the seconds they took.
"""

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
    threads, steps, batch = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = BiLstm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    ids = torch.randint(VOCABULARY, (200, batch, LENGTH))
    # Padding as real headlines leave it: 24 tokens of 50 on average.
    lengths = torch.randint(4, 45, (200, batch, 1))
    ids = torch.where(torch.arange(LENGTH) < lengths, ids, 0)
    labels = torch.randint(CLASSES, (200, batch))
    teacher = torch.zeros(batch, CLASSES)
    step = 0
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            logits = model(ids[step % 200])
            loss = nn.functional.cross_entropy(logits, labels[step % 200]) + 2 * nn.functional.mse_loss(logits, teacher)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
