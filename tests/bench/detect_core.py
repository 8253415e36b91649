"""Speaks with detect_core.c: many series through the detector in one process."""
import pathlib
import subprocess
import threading

import numpy as np

KINDS = ("none", "spike", "level-shift", "drift", "variance", "rhythm", "seasonal", "flatline", "silence")


class Core:
    def __init__(self, build):
        self.program = pathlib.Path(build) / "tests/bench/detect_core"

    def _run(self, series, *arguments):
        """series: (times in ns, values) each.  Yields a reader of what is answered, once, with the process' end checked."""
        with subprocess.Popen([self.program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            feeder = threading.Thread(target=self._feed, args=(child.stdin, series))
            feeder.start()
            yield child.stdout
            feeder.join()
        if child.returncode != 0:
            raise RuntimeError(f"{self.program.name} {' '.join(map(str, arguments))} ended with status {child.returncode}")

    @staticmethod
    def _feed(pipe, series):
        try:
            with pipe:
                for times_ns, values in series:
                    pipe.write(np.int64(len(values)).tobytes() + np.ascontiguousarray(times_ns, dtype=np.int64).tobytes()
                               + np.ascontiguousarray(values, dtype=np.float64).tobytes())
        except BrokenPipeError:
            pass  # the process' end says why

    def scores(self, series):
        """For each series its scores and kinds."""
        series = list(series)
        results = []
        for out in self._run(series, "scores"):
            for _, values in series:
                n = len(values)
                results.append((np.frombuffer(out.read(8 * n), dtype=np.float64), np.frombuffer(out.read(n), dtype=np.uint8)))
        return results

    def alerts(self, series, rates):
        """For each series and each rate (times in ns, kinds) of what was raised."""
        series = list(series)
        results = []
        for out in self._run(series, "alerts", *rates):
            for _ in series:
                of_rates = []
                for _ in rates:
                    n = int(np.frombuffer(out.read(8), dtype=np.int64)[0])
                    raised = np.frombuffer(out.read(16 * n), dtype=np.int64).reshape(n, 2)
                    of_rates.append((raised[:, 0], raised[:, 1]))
                results.append(of_rates)
        return results

    def time(self, series):
        """CPU ns an update: series after series; and of so many in turn."""
        for out in self._run(series, "time"):
            one, turn, n = out.read().split()
        return float(one), float(turn), int(n)

    def size(self):
        """Bytes of a series' state and of its event."""
        for out in self._run([], "size"):
            state, event = out.read().split()
        return int(state), int(event)
