"""Gives the tests the TPM that is judged, and writes what became of each test."""

import itertools
import os
import subprocess

from . import TSS2_BaseTest

# Below the ports that the system gives to clients.
PORTS = itertools.cycle(range(24000, 32000, 2))


class Judged(TSS2_BaseTest.SwtpmSimulator):
    def start(self):
        for port in itertools.islice(PORTS, 100):
            if self.ready(port) or self.ready(port + 1):
                continue
            self.tpm, self._port = self._start(port), port
            for _ in range(2000):
                if self.ready(port) and self.ready(port + 1):
                    return
                if self.tpm.poll() is not None:
                    break
                TSS2_BaseTest.time.sleep(0.01)
            self.tpm.kill()
        raise SystemError("the TPM does not start")

    def _start(self, port):
        filled = {"port": port, "next": port + 1, "state": self.working_dir.name}
        words = [word.format(**filled) for word in os.environ["SUITES_SERVER"].split("\n")]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


TSS2_BaseTest.TpmSimulator.getSimulator = staticmethod(Judged)


def pytest_runtest_logreport(report):
    # A test counts by its call; by its set-up or its end only when that went wrong or the test was skipped there.
    if report.when != "call" and report.outcome == "passed":
        return
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
    elif report.outcome == "passed":
        reason = ""
    else:
        reason = str(report.longrepr).strip().rsplit("\n", 1)[0].rsplit("\n", 1)[-1]
        lines = [line[1:].strip() for line in str(report.longrepr).splitlines() if line.startswith("E ")]
        reason = lines[0] if lines else reason
    with open(os.environ["SUITES_RESULTS"], "a") as results:
        results.write("\t".join([report.outcome, report.nodeid, reason.replace("\n", " ")]) + "\n")
