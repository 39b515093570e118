"""Allocates in extension modules that call back into Python."""
import _ctypes_test, ctypes, json, pickle, pyexpat, _elementtree, decimal


class Thing:
    def __init__(self, depth):
        self.parts = [Thing(depth - 1) for _ in range(2)] if depth else "x" * 600

    def __reduce__(self):
        return (list, ([str(self.parts)[:700]],))


def hook(pairs):
    return dict(sorted(pairs, key=lambda pair: pair[0] + "y" * 600))


def default(thing):
    return {"parts": thing.parts, "text": "z" * 600}


def compare(a, b):
    return len(str(a[0]) + "q" * 600) and a[0] - b[0]


def main():
    total = 0
    for _ in range(6):
        text = json.dumps(Thing(4), default=default)
        total += len(json.loads(text, object_pairs_hook=hook))
        total += len(pickle.dumps(Thing(3)))
        parser = pyexpat.ParserCreate()
        seen = []
        parser.StartElementHandler = lambda name, attributes: seen.append("w" * 600 + name)
        parser.Parse("<a>" + "<b c='%s'/>" % ("d" * 700) * 30 + "</a>", True)
        total += len(seen)
        total += len(str(decimal.Decimal(3) ** decimal.Decimal(900)))
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        sort = ctypes.CDLL(_ctypes_test.__file__).my_qsort
        values = (ctypes.c_int * 20)(*[i * 7 % 20 for i in range(20)])
        sort(values, 20, 4, kind(compare))
        total += values[3]
    print(total)


main()
