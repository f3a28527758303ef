"""A process of the site, with Django loaded, that runs what it is asked in forks of itself.

A line in is a JSON list of a verb (a function of deeds.py, or ``module:function``) and its
arguments; a line out is its answer. Forks are processes of their own with connections of their own:
this one never opens any.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any


def worker(name: str, *options: str) -> int:
    """Start a Celery worker; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    log = os.open(
        f"{os.environ['BENCH_FOLDER']}/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    os.dup2(log, 1)
    os.dup2(log, 2)
    from example_project.celery import app

    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    status = 1
    try:
        command = ["worker", f"--hostname={name}@bench", "--loglevel=INFO", *quiet, *options]
        status = int(app.worker_main(command) or 0)
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        os._exit(status)


def begin(verb: str, arguments: list[Any]) -> tuple[int, int]:
    """Run a verb in a fork; returns its process id, and the pipe through which its answer comes."""
    module, _, name = verb.rpartition(":")
    function = getattr(import_module(module or "bench.deeds"), name)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = {"answer": function(*arguments)}
        except BaseException as error:
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        with os.fdopen(write, "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(write)
    return pid, read


def answer_of(pid: int, read: int) -> Any:
    """Wait for a fork, and return what it answered."""
    with os.fdopen(read) as answers:
        answer = json.loads(answers.read() or '{"error": "the process died"}')
    os.waitpid(pid, 0)
    return answer


def main() -> None:
    import django

    django.setup()
    # What the forks need is loaded here, once.
    for name in (
        "celery.bin.worker",
        "celery.concurrency.prefork",
        "celery.concurrency.solo",
        "connected_accounts.use.tokens",
        "connected_accounts.refresh.drain",
        "connected_accounts.revoke.disconnect",
        "connected_accounts.revoke.outbox",
        "connected_accounts.tasks",
        "bench.deeds",
        "example_project.celery",
        "kombu.transport.pyamqp",
        "kombu.transport.redis",
    ):
        import_module(name)

    running: set[int] = set()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        for line in sys.stdin:
            verb, *arguments = json.loads(line)
            if verb == "worker":
                pid = worker(*arguments)
                running.add(pid)
                answer: Any = {"answer": pid}
            elif verb == "wait":
                _, status = os.waitpid(arguments[0], 0)
                running.discard(arguments[0])
                answer = {"answer": os.waitstatus_to_exitcode(status)}
            else:
                answer = answer_of(*begin(verb, arguments))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:  # whoever asked is gone
        for pid in running:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
