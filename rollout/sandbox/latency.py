"""Latencies of answers: they differ by endpoint, and none is the same twice.

As seen with Retell through its edge: a phone number is the slowest thing to ask for but for a list of them; agents
come out of a cache, and what is refused is refused at once.
"""

LIST = 1.6  # of what one number takes: 80 ms for 50
QUICK = 0.02  # for agents, calls and refusals: 1 ms for 50
JITTER = 0.2  # of the time, more or less


def latency(path: str, status: int, number: float, draw: float) -> float:
    """Seconds for an answer, where one phone number takes `number`; `draw` is from 0 to 1."""
    share = QUICK
    if status < 400 and path.endswith("/list-phone-numbers"):
        share = LIST
    elif status < 400 and path.startswith(("/get-phone-number/", "/update-phone-number/")):
        share = 1.0
    return number * share * (1 + JITTER * (2 * draw - 1))
