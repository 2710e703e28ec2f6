"""The driver of ``--executor ray``: the program talks to it, and it to Ray.

``dsperse`` starts ``python -m dsperse.ray_driver ADDRESS`` and writes one JSON object a line:

- ``{"submit": id, "argv": […], "cpus": n, "memory": bytes, "plugin": digest, "exclude": […]}``
- ``{"cancel": id}``

and reads ``{"ready": …}`` once, then ``{"id", "state": "pending" | "running", "node", "reason"}``
and ``{"id", "ended": code or null, "node", "reason"}``. When its standard input ends, everything
that it submitted is cancelled and it ends.

Files are in a directory that all nodes see; nothing of a job goes through Ray but its command.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from typing import Any

#: How often nodes that came are looked at, in seconds.
LOOK = 2.0
#: How long a node's answer is waited for before others get its jobs, in seconds.
ANSWERS = 10.0

_out = sys.stdout
_lock = threading.Lock()


def say(**fields: Any) -> None:
    """Writes one line to the program."""
    with _lock, contextlib.suppress(OSError, ValueError):
        _out.write(json.dumps(fields) + "\n")
        _out.flush()


def carry_out(argv: list[str]) -> Any:
    """Runs on a node: starts the program, and ends it when this worker is gone."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    yield node
    # The program holds on to its standard input; when this process is killed, that ends.
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "DSPERSE_NODE": node},
    )
    assert process.stderr is not None and process.stdin is not None
    said = process.stderr.read().decode(errors="replace")
    code = process.wait()
    yield [code, said.strip()[-2000:]]


def describe(argv: list[str]) -> Any:
    """Runs on a node: what it has."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=60, check=True)
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as e:
        return {"error": str(e)}


class Driver:
    """Jobs of one program on one cluster."""

    def __init__(self, address: str, describe_argv: list[str], version: str) -> None:
        import ray

        self.ray: Any = ray
        self.describe_argv = describe_argv
        self.version = version
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="dsperse",
        )
        # Ray's own retries would not tell; who is asked again decides the program.
        self.remote = ray.remote(max_retries=0, num_returns="streaming")(carry_out)
        self.probe = ray.remote(max_retries=0, num_cpus=0)(describe)
        #: What was submitted and has not ended: its order and its stream.
        self.running: dict[str, tuple[dict[str, Any], Any]] = {}
        #: Those that a node has begun with.
        self.begun: set[str] = set()
        #: Nodes that were there, and those of them that went.
        self.seen: set[str] = set()
        self.gone: set[str] = set()
        #: What each node that was looked at has.
        self.known: dict[str, dict[str, Any]] = {}
        #: Those that have not answered, and since when.
        self.asked: dict[str, tuple[Any, float]] = {}
        self.waiting: list[dict[str, Any]] = []

    def alive(self) -> list[str]:
        return [n["NodeID"] for n in self.ray.nodes() if n["Alive"]]

    def look(self) -> None:
        """Asks nodes that came what they have, and takes back what may wait for one that went."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        alive = self.alive()
        gone = self.seen.difference(alive)
        if gone - self.gone:
            # Ray may have asked the node for a place, and then waits for its answer for ever.
            for job, (order, _) in list(self.running.items()):
                if job not in self.begun:
                    self.cancel(job)
                    self.waiting.append(order)
        self.gone = gone
        self.seen.update(alive)
        for node in alive:
            if node not in self.known and node not in self.asked:
                only = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
                task = self.probe.options(scheduling_strategy=only)
                self.asked[node] = (task.remote(self.describe_argv), time.monotonic())
        for node, (answer, _) in list(self.asked.items()):
            ready, _ = self.ray.wait([answer], timeout=0)
            if ready:
                del self.asked[node]
                try:
                    self.known[node] = self.ray.get(answer)
                except Exception as e:  # noqa: BLE001 - the node may be gone
                    self.known[node] = {"error": str(e)}

    def unfit(self, order: dict[str, Any]) -> dict[str, str]:
        """Nodes that must not get a job, and why."""
        why: dict[str, str] = {}
        for node in self.alive():
            has = self.known.get(node)
            if node in order["exclude"]:
                why[node] = "it was left out"
            elif has is None:
                why[node] = "it has not said what it has"
            elif "error" in has:
                why[node] = f"it does not run dsperse: {has['error']}"
            elif has.get("dsperse") != self.version:
                why[node] = f"it has dsperse {has.get('dsperse')}"
            elif order["plugin"] not in has.get("plugins", {}).values():
                why[node] = "it has another library of the backend"
        return why

    def start(self) -> None:
        """Submits what waits for a node that fits."""
        # A job does not go to a node that answers later.
        now = time.monotonic()
        if any(now - since < ANSWERS for _, since in self.asked.values()):
            return
        left: list[dict[str, Any]] = []
        for order in self.waiting:
            job = order["submit"]
            alive = self.alive()
            unfit = self.unfit(order)
            if len(unfit) < len(alive):
                options: dict[str, Any] = {
                    "num_cpus": order["cpus"],
                    "memory": order["memory"],
                }
                # Those that went are named too: Ray takes what asks for the same for one.
                but = sorted(self.gone.union(unfit))
                if but:
                    # Labels of Ray's own; so the choice among the rest stays with Ray.
                    options["label_selector"] = {"ray.io/node-id": f"!in({','.join(but)})"}
                stream = self.remote.options(**options).remote(order["argv"])
                self.running[job] = (order, stream)
                say(id=job, state="pending", reason="waiting for resources")
                threading.Thread(target=self.follow, args=(job, stream), daemon=True).start()
            elif any(r == "it has not said what it has" for r in unfit.values()) or not alive:
                left.append(order)
            else:
                told = "; ".join(f"{n[:8]}: {r}" for n, r in sorted(unfit.items()))
                say(id=job, refused=f"no node is left that it may run on ({told})")
        self.waiting = left

    def follow(self, job: str, stream: Any) -> None:
        """Tells where a job is until it ends, unless it is taken back."""
        node: str | None = None
        code: int | None = None
        reason = "it ended without an exit code"

        def wanted() -> bool:
            return self.running.get(job, (None, None))[1] is stream

        try:
            for n, item in enumerate(stream):
                value = self.ray.get(item)
                if n == 0:
                    node = value
                    if wanted():
                        self.begun.add(job)
                        say(id=job, state="running", node=node)
                else:
                    code, said = value
                    reason = (said.splitlines() or [""])[-1]
                    break
        except Exception as e:  # noqa: BLE001 - whatever Ray says of a lost task
            lines = str(e).strip().splitlines()
            reason = f"{type(e).__name__}: {lines[0] if lines else ''}"[:500]
            # A node that died before it said its name.
            node = node or next((n for n in self.seen if n in str(e)), None)
        if wanted():
            self.running.pop(job, None)
            say(id=job, ended=code, node=node, reason=reason)

    def cancel(self, job: str) -> None:
        self.waiting = [o for o in self.waiting if o["submit"] != job]
        _, stream = self.running.pop(job, (None, None))
        if stream is not None:
            with contextlib.suppress(Exception):
                self.ray.cancel(stream, force=True)

    def serve(self, lines: queue.Queue[str | None]) -> None:
        looked = 0.0
        while True:
            try:
                # Soon when something waits for a node's answer.
                line = lines.get(timeout=0.05 if self.waiting or self.asked else LOOK)
            except queue.Empty:
                line = ""
            if line is None:
                break
            if line:
                message = json.loads(line)
                if "submit" in message:
                    self.waiting.append(message)
                elif "cancel" in message:
                    self.cancel(message["cancel"])
            if self.waiting or time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                self.look()
            self.start()
        for job in list(self.running):
            self.cancel(job)
        self.ray.shutdown()


def main() -> int:
    """Serves the program that started this."""
    address, version, *describe_argv = sys.argv[1:]
    # What Ray prints is no line of ours.
    sys.stdout = sys.stderr
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        driver = Driver(address, describe_argv, version)
    except ImportError:
        say(error='this Python has no Ray: pip install "dsperse[ray]"')
        return 1
    except Exception as e:  # noqa: BLE001 - whatever Ray says of a cluster that is not there
        say(error=str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__)
        return 1
    say(ready=len(driver.alive()))
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    driver.serve(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
