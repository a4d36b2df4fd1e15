"""The small process beside each process of a group that is in contact with the others, through `jax.distributed`.

`processes.py` starts it as a program of its own, and this is what they say to each other:

    it is told      it answers
                    {"index": 0, "count": 2, "devices": "all"}  when all have met
    agree KEY 17    17                                          for any number, with the one that process 0 was told
    barrier KEY     passed                                      when all were told the same
    leave           (ends with code 0)                          when all were told the same

It ends with another code when one of the others is gone, and at once when its own process is, whose end of the pipe
then closes.
"""

import json
import os
import queue
import sys
import threading
import traceback
from typing import Any

import jax
from jax._src.distributed import global_state  # not public, but JAX has no other barrier than one on the devices

FOREVER_MS = 10**9
"""Eleven days: how long the others may take; whether they live is for the heartbeats to find out."""


def listen(requests: "queue.SimpleQueue[str]") -> None:
    """Pass on what the process says, and end with it."""
    for line in sys.stdin:
        requests.put(line.strip())
    os._exit(1)


def main() -> None:
    """Meet the others, then do as told."""
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=listen, args=[requests], daemon=True).start()
    jax.distributed.initialize(**json.loads(sys.argv[1]))
    client: Any = global_state.client
    index, count = global_state.process_id, global_state.num_processes
    if index == 0:
        client.key_value_set("count", str(count))
    expected = int(client.blocking_key_value_get("count", FOREVER_MS))
    if count != expected:
        raise RuntimeError(f"this process expects {count} processes and process 0 expects {expected}")
    # JAX gives each of several processes on one machine a GPU of its own, where the cluster says that they share it.
    place = {"index": index, "count": count, "devices": jax.config.values["jax_cuda_visible_devices"]}
    sys.stdout.write(f"{json.dumps(place)}\n")
    while (request := requests.get()) != "leave":
        match request.split():
            case "agree", key, value:
                if index == 0:
                    client.key_value_set(key, value)
                answer = client.blocking_key_value_get(key, FOREVER_MS)
            case "barrier", key:
                client.wait_at_barrier(key, FOREVER_MS)
                answer = "passed"
        sys.stdout.write(f"{answer}\n")
    client.wait_at_barrier("leave", FOREVER_MS)
    jax.distributed.shutdown()


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # without JAX's own clearing up, which waits for the others
