# A day of an ordinary Python program: objects with dictionaries, strings cut and joined, JSON out and in,
# sorting, a counter, generators. Run with PYTHONMALLOC=malloc, so that each object is a malloc of its own.
import collections
import json
import random
import re

rng = random.Random(7)
words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(3, 9))) for _ in range(3000)]


class Order:
    def __init__(self, number, lines):
        self.number = number
        self.lines = lines
        self.tags = {rng.choice(words): number for _ in range(3)}

    def total(self):
        return sum(count * price for _, count, price in self.lines)


orders = []
for number in range(9000):
    lines = [(rng.choice(words), rng.randint(1, 9), rng.randint(1, 500)) for _ in range(rng.randint(1, 8))]
    orders.append(Order(number, lines))
    if number % 3 == 0:
        orders[rng.randrange(len(orders))] = orders[-1]

counts = collections.Counter()
by_word = collections.defaultdict(list)
for order in orders:
    for word, count, _ in order.lines:
        counts[word] += count
        by_word[word[:2]].append((order.number, word))

text = json.dumps([{"n": o.number, "lines": o.lines, "tags": o.tags, "total": o.total()} for o in orders])
back = json.loads(text)
ranked = sorted(back, key=lambda entry: (entry["total"], entry["n"]))
found = re.findall(r"\"([a-p]{4})\"", text)
joined = " ".join(word.upper() for word in text.replace(",", " ").split())
tree = None
for entry in ranked[:4000]:
    tree = (tree, entry["n"], [str(entry["total"])] * 3)
print(len(text), len(found), len(joined), counts.most_common(3), ranked[-1]["total"], len(by_word), tree[1])
