"""What is asked of an echo service over gRPC, and what must come of it.

A call carries an id of its own, in its message and in its metadata as `x-echo-id`; the server sends it back in its
initial metadata as that, and in its trailing metadata as `x-echo-end`. Messages are bytes as they are, filled up to a
size. The service is `chain.Echo`; a method that does not end well has the name of the status it ends with:

| method | what comes of it | status |
| --- | --- | --- |
| `Unary` | the message back | 0 |
| `ServerStream` | the message back, three times | 0 |
| `ClientStream` | three messages, their text back as one | 0 |
| `BidiStream` | three messages, each sent once the last came back | 0 |
| `NotFound` | trailers only: no metadata and no message before them | 5 |
| `DataLoss` | the message back, then an error | 15 |
| `DeadlineExceeded` | nothing: the client waits for `--deadline-ms`, the server for the end of the call | 4, or 1 where the server resets the stream before the client |
| `Cancelled` | the message back, at which the client cancels | 1 |
| `Unimplemented` | a method that the server does not have | 12 |
| `Job` | none of them but `/job/ID`, as in `paths.py`: the paths that were called for it | 0 |
"""

import json

# The statuses that a call may end with.
METHODS = {
    "Unary": [0],
    "ServerStream": [0],
    "ClientStream": [0],
    "BidiStream": [0],
    "NotFound": [5],
    "DataLoss": [15],
    "DeadlineExceeded": [4, 1],
    "Cancelled": [1],
    "Unimplemented": [12],
    "Job": [0],
}
# Of one call that streams.
MESSAGES = 3


def add_options(parser):
    """What a client takes."""
    parser.add_argument("--methods", default=",".join(method for method in METHODS if method != "Job"))
    parser.add_argument("--total", type=int, default=20, help="calls of each method")
    parser.add_argument("--in-flight", type=int, default=1, help="calls at once, on one connection")
    parser.add_argument("--size", type=int, default=0, help="bytes of a message, at least those of its id")
    parser.add_argument("--deadline-ms", type=int, default=200)
    parser.add_argument("--run", default="r", help="word that the ids begin with")
    parser.add_argument("--truth", metavar="FILE", help="where the paths go that jobs called")


def id_of(run, method, number):
    return f"{run}{number}" if method == "Job" else f"{run}-{method}-{number}"


def is_right(method, message, answers):
    match method:
        case "ServerStream" | "BidiStream":
            return answers == [message] * MESSAGES
        case "ClientStream":
            return answers == [message * MESSAGES]
        case "Job":
            return len(answers) == 1
    return answers == [message]


def mistakes(told, methods, total):
    """What a client told of its calls that is not as it must be: `{"Unary": {"0": 20}, …}`."""
    counts = json.loads(told or "{}")

    def is_as_it_must_be(ended, statuses):
        return sum(ended.values()) == total and set(ended) <= set(map(str, statuses))

    ended = {method: counts.get(method, {}) for method in methods.split(",")}
    return [f"{method}: {ended[method]}" for method in ended if not is_as_it_must_be(ended[method], METHODS[method])]
