"""The systems that are measured: how three nodes of each are started, who leads, and which client loads them.

Every node listens on 127.0.0.1 at ports that the system picks, keeps its data under one directory, and makes each write
durable as it does by default. A node dies with this process, however that ends.
"""

import ctypes
import json
import re
import signal
import socket
import subprocess
import time
import urllib.request

from needs import ZOOKEEPER_JAR

NODES = 3
START_SECONDS_MAX = 60
POLL_SECONDS = 0.1
REQUEST_SECONDS_MAX = 5
LOG_LINES_SHOWN = 5
PR_SET_PDEATHSIG = 1
C_LIBRARY = ctypes.CDLL(None)


class Failed(Exception):
    """A system could not be started or measured."""


def free_ports(count, kind):
    """Ports of 127.0.0.1 on which nobody listens; held together, so that they differ."""
    held = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def wait_for(what, found):
    """Waits until `found` gives something, and gives that."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if (it := found()) is not None:
            return it
        time.sleep(POLL_SECONDS)
    raise Failed(f"waited {START_SECONDS_MAX} s in vain for {what}")


def die_with_parent():
    C_LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def version_in(text):
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found.group() if found else "?"


class Cluster:
    """Three nodes of one system. Used with `with`: leaving kills them."""

    name = ""
    # Connections over which 256 calls in flight are spread: as many as the system does best with.
    connections = 1
    # Seconds of load before the first case, not counted.
    prepare_seconds = 0

    def __init__(self, tools, directory):
        self.tools = tools
        self.directory = directory
        self.nodes = []

    def __enter__(self):
        self.directory.mkdir(parents=True)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        # Nothing is kept, so nothing has to stop in order.
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.wait()

    def launch(self, command, **options):
        with open(self.log(len(self.nodes)), "wb") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, **options}
            self.nodes.append(
                subprocess.Popen(command, stderr=log, cwd=self.directory, preexec_fn=die_with_parent, **options)
            )
        return self.nodes[-1]

    def log(self, index):
        return self.directory / f"node-{index}.log"

    def last_lines(self, index):
        lines = self.log(index).read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return " / ".join(lines) or "it said nothing"

    def wait_for(self, what, found):
        """As `wait_for`, but ends with the last lines of its log when a node has ended."""

        def found_or_ended():
            for index, node in enumerate(self.nodes):
                if node.poll() is not None:
                    raise Failed(f"{self.name}: node {index} ended with {node.returncode}: {self.last_lines(index)}")
            return found()

        return wait_for(f"{self.name}: {what}", found_or_ended)

    def pids(self):
        return [node.pid for node in self.nodes]

    def start(self):
        raise NotImplementedError

    def client(self, kind, in_flight, seconds):
        """The command that loads the leader with `kind`, "write" or "read"."""
        raise NotImplementedError


class Concoord(Cluster):
    """The counter: a write is `increment`, a read is the linearizable query `getvalue`."""

    name = "concoord"
    methods = {"write": "increment", "read": "getvalue"}

    def start(self):
        ports = free_ports(NODES, socket.SOCK_DGRAM)
        for index, port in enumerate(ports):
            command = [self.tools.concoord, "replica", "--for-parent", "-a", "127.0.0.1", "-p", str(port)]
            command += ["-o", "counter", "--data-dir", str(self.directory / f"data-{index}")]
            if index > 0:
                command += ["-b", f"127.0.0.1:{ports[0]}"]
            # It ends when its standard input does, and says on standard output that it serves.
            node = self.launch(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if not node.stdout.readline():
                raise Failed(f"concoord: node {index} does not serve: {self.last_lines(index)}")
        self.leader = self.wait_for("three voters and a leader", lambda: self.leader_of_three(ports[0]))

    def leader_of_three(self, port):
        command = [self.tools.concoord, "view", "--json", "-c", f"127.0.0.1:{port}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX)
        if answer.returncode != 0:
            return None
        voters = [member for member in json.loads(answer.stdout)["members"] if member["role"] == "replica"]
        leaders = [f"{member['addr']}:{member['port']}" for member in voters if member["leader"]]
        return leaders[0] if len(voters) == NODES and leaders else None

    def client(self, kind, in_flight, seconds):
        connections = min(self.connections, in_flight)
        options = ["--in-flight", str(in_flight), "--clients", str(connections), "--seconds", str(seconds)]
        method = f"counter.{self.methods[kind]}"
        return [self.tools.concoord, "bench", method, "-c", self.leader, "--announce", "--json", *options]

    @staticmethod
    def version(tools):
        return version_in(subprocess.run([tools.concoord, "--version"], capture_output=True, text=True).stdout)


class Peer(Cluster):
    """A system whose client is one of the programs here."""

    def client(self, kind, in_flight, seconds):
        connections = min(self.connections, in_flight)
        client = self.tools.clients[self.name]
        return [client, self.leader, kind, str(in_flight), str(connections), str(seconds)]


class Etcd(Peer):
    """A write is a Put of 8 bytes under one of 256 keys, a read a linearizable Range of one key."""

    name = "etcd"
    library = "nghttp2"

    def start(self):
        client_ports = free_ports(2 * NODES, socket.SOCK_STREAM)
        peer_ports = client_ports[NODES:]
        members = ",".join(f"n{index}=http://127.0.0.1:{port}" for index, port in enumerate(peer_ports))
        for index in range(NODES):
            client, peer = (f"http://127.0.0.1:{ports[index]}" for ports in (client_ports, peer_ports))
            command = ["etcd", "--name", f"n{index}", "--data-dir", str(self.directory / f"data-{index}")]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", members, "--initial-cluster-state", "new"]
            self.launch(command)
        self.leader = self.wait_for("a leader with two followers", lambda: self.leader_of(client_ports[:NODES]))

    @staticmethod
    def leader_of(ports):
        leaders = []
        for port in ports:
            try:
                url = f"http://127.0.0.1:{port}/metrics"
                with urllib.request.urlopen(url, timeout=REQUEST_SECONDS_MAX) as answer:
                    metrics = answer.read().decode()
            except OSError:
                return None
            if "\netcd_server_has_leader 1\n" not in metrics:
                return None
            if "\netcd_server_is_leader 1\n" in metrics:
                leaders.append(f"127.0.0.1:{port}")
        return leaders[0] if len(leaders) == 1 else None

    @staticmethod
    def version(_):
        return version_in(subprocess.run(["etcd", "--version"], capture_output=True, text=True).stdout)


class ZooKeeper(Peer):
    """A write is a set of 8 bytes on one of 256 nodes; a read is a sync with a get of one node right behind it, which is
    linearizable in practice: a sync asks the leader, but the leader asks no quorum."""

    name = "zookeeper"
    library = "zookeeper_st"
    connections = 16
    # Java compiles the server's code while it runs: halves of writes and reads.
    prepare_seconds = 12
    # Of Debian's start script.
    heap = "-Xmx1000m"

    def start(self):
        ports = free_ports(3 * NODES, socket.SOCK_STREAM)
        client_ports, quorum_ports, election_ports = ports[:NODES], ports[NODES : 2 * NODES], ports[2 * NODES :]
        servers = [
            f"server.{index + 1}=127.0.0.1:{quorum}:{election}"
            for index, (quorum, election) in enumerate(zip(quorum_ports, election_ports))
        ]
        for index, port in enumerate(client_ports):
            data = self.directory / f"data-{index}"
            data.mkdir()
            (data / "myid").write_text(f"{index + 1}\n")
            lines = ["tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={data}", f"clientPort={port}"]
            lines += ["clientPortAddress=127.0.0.1", "admin.enableServer=false", "4lw.commands.whitelist=srvr", *servers]
            configuration = self.directory / f"zoo-{index}.cfg"
            configuration.write_text("\n".join(lines) + "\n")
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            self.launch(["java", self.heap, "-cp", str(ZOOKEEPER_JAR), main, str(configuration)])
        self.leader = self.wait_for("a leader with two followers", lambda: self.leader_of(client_ports))

    @classmethod
    def leader_of(cls, ports):
        modes = [cls.mode(port) for port in ports]
        return f"127.0.0.1:{ports[modes.index('leader')]}" if sorted(modes) == ["follower", "follower", "leader"] else None

    @staticmethod
    def mode(port):
        """What the node at this port says it is, or nothing."""
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", port), REQUEST_SECONDS_MAX) as stream:
                stream.sendall(b"srvr")
                while part := stream.recv(4096):
                    answer += part
        except OSError:
            return ""
        found = re.search(rb"^Mode: (\w+)$", answer, re.MULTILINE)
        return found.group(1).decode() if found else ""

    @staticmethod
    def version(_):
        # The jar stands beside a link, or is one, whose name has the version.
        return version_in(" ".join(jar.name for jar in ZOOKEEPER_JAR.parent.glob("zookeeper-[0-9]*.jar")))


SYSTEMS = {system.name: system for system in (Concoord, Etcd, ZooKeeper)}
