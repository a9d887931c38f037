"""Sends a number of root requests with so many in flight, and writes down what was called.

    load.py URL --total 1000 --in-flight 8 [--client thread] [--truth FILE] [--run NAME]

The truth file has one called path a line. Prints one line of JSON; fails if any request failed.
"""

import argparse
import json
import sys
import threading
import time

import paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--total", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--client", choices=paths.CLIENTS, default="thread")
    parser.add_argument("--truth", metavar="FILE")
    parser.add_argument("--run", default="r", help="word that the ids begin with")
    options = parser.parse_args()

    client = paths.CLIENTS[options.client](options.url)
    numbers = iter(range(options.total))
    called, failures = [], []
    lock = threading.Lock()

    def send():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                answer = paths.call(client, paths.root_path(f"{options.run}{number}"))
                with lock:
                    called.extend(answer)
            except Exception as error:
                with lock:
                    failures.append(repr(error))

    start = time.monotonic()
    senders = [threading.Thread(target=send) for _ in range(options.in_flight)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seconds = time.monotonic() - start

    if options.truth:
        with open(options.truth, "w") as truth:
            truth.writelines(f"{path}\n" for path in called)
    summary = {
        "roots": options.total - len(failures),
        "failed": len(failures),
        "calls": len(called),
        "seconds": round(seconds, 3),
        "roots_per_second": round(options.total / seconds, 1),
    }
    print(json.dumps(summary), flush=True)
    for failure in sorted(set(failures))[:5]:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
