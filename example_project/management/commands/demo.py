"""``manage.py demo`` and ``manage.py demo --check``."""

import os
import signal
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from example_project.processes import ROOT, ChildFailed, Family
from example_project.scratch import scratch_environment
from example_project.stack import Plan, Stack, start
from example_project.walkthrough import StepFailed
from example_project.walkthrough_admin import AdminWalkthrough
from example_project.watch import Watch

LOOK_EVERY = 0.5  # seconds
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def stop(family: Family) -> None:
    """Stop all children, whatever else is asked meanwhile: it takes some seconds at most."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    family.stop()


class Command(BaseCommand):
    help = (
        "Starts sandbox providers, an MCP server, site, worker and beat together, and tells what "
        "happens. With --check it drives all of it by HTTP, with nobody watching, and exits 0 or 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="drive it by HTTP, then exit")
        parser.add_argument(
            "--folder",
            type=Path,
            default=ROOT / ".demo",
            help="for logs and the sandbox's database (default: .demo)",
        )
        parser.add_argument("--port", type=int, default=8000, help="of the site")
        parser.add_argument("--sandbox-port", type=int, default=9000, help="of the sandbox")
        parser.add_argument("--mcp-port", type=int, default=9001, help="of its MCP server")

    def handle(self, *args: Any, **options: Any) -> None:
        if os.name != "posix":
            raise CommandError("The demo needs Linux, macOS or another Unix.")
        # Also where they are ignored, as in a job that a shell has put into the background.
        for number in INTERRUPTS:
            signal.signal(number, interrupt)
        if options["check"]:
            self.check_everything()
        else:
            plan = Plan(
                folder=options["folder"].resolve(),
                access_token_seconds=60,
                site_port=options["port"],
                sandbox_port=options["sandbox_port"],
                mcp_port=options["mcp_port"],
            )
            self.show(plan)

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    # For a person.

    def show(self, plan: Plan) -> None:
        family = Family(plan.folder, {"DEMO_BEAT_SECONDS": "10", **os.environ})
        self.say("Starting sandbox, MCP server, site, worker and beat …")
        try:
            stack = start(family, plan)
            self.introduce(plan, stack)
            self.tell_news(family)
        except KeyboardInterrupt:
            self.say("\nStopping …")
        except ChildFailed as failure:
            self.say(family.logs())
            raise CommandError(str(failure)) from failure
        finally:
            stop(family)
        self.say("Everything has stopped.")

    def introduce(self, plan: Plan, stack: Stack) -> None:
        for name, port, address in (
            ("site", plan.site_port, stack.site),
            ("sandbox", plan.sandbox_port, stack.sandbox),
            ("MCP server", plan.mcp_port, stack.mcp.removesuffix("/mcp")),
        ):
            if port and not address.endswith(f":{port}"):
                self.say(f"Port {port} is taken: the {name} is at {address} this time.")
        self.say(
            "\n"
            f"  Site      {stack.site}/    sign in as demo, password demo\n"
            f"  Admin     {stack.site}/admin/    admin, password admin\n"
            f"  Sandbox   {stack.sandbox}    ada, password ada; or grace, password grace\n"
            f"  MCP       {stack.mcp}    to be entered where the site asks for a server\n"
            "\n"
            "Connect Badgr or BitBadges on the site, and sign in at the sandbox. A token lives\n"
            "for a minute and is refreshed before that; you will read it here (times are UTC).\n"
            f"Logs are in {plan.folder}. Ctrl-C stops everything.\n"
        )

    def tell_news(self, family: Family) -> None:
        watch = Watch()
        while True:
            for line in watch.news():
                self.say(line)
            family.check()
            time.sleep(LOOK_EVERY)

    # For a machine.

    def check_everything(self) -> None:
        started = time.monotonic()
        try:
            with (
                tempfile.TemporaryDirectory(prefix="demo-check-") as name,
                scratch_environment(Path(name)) as environment,
            ):
                self.walk(Path(name), environment, started)
        except KeyboardInterrupt:
            raise CommandError("stopped before the end") from None
        self.say(f"All of it works, in {time.monotonic() - started:.0f} s.")

    def walk(self, folder: Path, environment: dict[str, str], started: float) -> None:
        plan = Plan(folder=folder, access_token_seconds=40)
        family = Family(folder, {**environment, "DEMO_BEAT_SECONDS": "2"})
        walkthrough = AdminWalkthrough(say=self.say, still_running=family.check, started=started)
        try:
            with walkthrough.step("all five are running") as details:
                stack = start(family, plan)
                details.append(f"{stack.sandbox}, {stack.site}, {stack.mcp}")
            walkthrough.run(stack)
            walkthrough.run_admin(stack.site, stack.sandbox)
        except StepFailed as failure:
            self.say(f"FAILED  {failure}")
            self.say(family.logs())
            raise CommandError("the check has failed") from failure
        finally:
            stop(family)
