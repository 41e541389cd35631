#!/usr/bin/env python3
"""A reward of your own: 1 where the last number of the answer is the reference, 0.1 where there is a number at all.

reads   {"id": 7, "prompt": "...", "thinking": "...", "thinking_length": 12, "answer": "...", "reference": "42", ...}
writes  {"id": 7, "reward": 1.0}        or   {"id": 7, "error": "why it cannot be judged"}
"""
import json
import re
import sys

for line in sys.stdin:
    query = json.loads(line)
    numbers = re.findall(r"-?\d+", query["answer"])
    if numbers and numbers[-1] == query["reference"]:
        reward = 1.0
    else:
        reward = 0.1 if numbers else 0.0
    print(json.dumps({"id": query["id"], "reward": reward}), flush=True)
