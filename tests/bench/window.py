"""One measured window: a client loads a cluster, and what the servers, the client and all others used meanwhile is read
from /proc."""

import json
import os
import subprocess
import threading
from pathlib import Path

from systems import Failed, die_with_parent

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# The unit of /sys/block/*/stat, whatever the device's own.
SECTOR_BYTES = 512
# What a client may take beyond the measured time: connecting, preparing, warming up, ending.
CLIENT_SECONDS_BESIDE = 45


def cpu_seconds(pid):
    """User and system time of a process so far; children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def written_bytes(directory):
    """What was written so far to the device that a directory is on, by whomever.

    Not what /proc/PID/io says: where the page cache has large folios, that counts a whole one, up to megabytes, for each
    sector that is written again.
    """
    device = os.stat(directory).st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return int(fields[6]) * SECTOR_BYTES


def machine_seconds():
    """(busy, stolen, all) time of all cores so far."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, waiting, interrupts, soft_interrupts, stolen = (int(it) / TICKS_PER_SECOND for it in fields)
    busy = user + nice + system + interrupts + soft_interrupts
    return busy, stolen, busy + stolen + idle + waiting


class Usage:
    """What was used up to now, or between two such moments."""

    def __init__(self, servers, client, directory):
        self.server_cpu = sum(map(cpu_seconds, servers))
        self.client_cpu = cpu_seconds(client)
        self.written = written_bytes(directory)
        self.busy, self.stolen, self.all = machine_seconds()

    def since(self, earlier):
        """Figures of the time between, under the names of the JSON output."""
        everything = self.all - earlier.all
        ours = self.server_cpu - earlier.server_cpu + self.client_cpu - earlier.client_cpu
        return {
            "server_cpu_s": self.server_cpu - earlier.server_cpu,
            "client_cpu_s": self.client_cpu - earlier.client_cpu,
            "written_bytes": self.written - earlier.written,
            # Interrupts that belong to nobody are among these, and the rounding of ticks.
            "others_share": max(0.0, self.busy - earlier.busy - ours) / everything,
            "stolen_share": (self.stolen - earlier.stolen) / everything,
        }


def measure(cluster, kind, in_flight, seconds):
    """Loads the cluster for `seconds` after the client's warm-up; gives the client's figures and the usage.

    Raises Failed when the client fails or does not end in time.
    """
    command = cluster.client(kind, in_flight, seconds)
    what = f"{cluster.name}, {kind} with {in_flight} in flight"
    with open(cluster.directory / "client.log", "w+b") as errors:
        client = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=die_with_parent
        )
        bound = threading.Timer(seconds + CLIENT_SECONDS_BESIDE, client.kill)
        bound.start()
        try:
            begin = end = result = None
            for line in client.stdout:
                if line == "measuring\n":
                    begin = Usage(cluster.pids(), client.pid, cluster.directory)
                elif line == "measured\n":
                    end = Usage(cluster.pids(), client.pid, cluster.directory)
                elif line.startswith("{"):
                    result = json.loads(line)
            code = client.wait()
        except OSError as error:
            raise Failed(f"{what}: a process ended meanwhile: {error}") from error
        finally:
            bound.cancel()
            client.kill()
            client.wait()
            client.stdout.close()
        if code != 0 or not (begin and end and result):
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise Failed(f"{what}: the client ended with {code}: {said or 'it said nothing'}")
    return {**result, **end.since(begin)}
