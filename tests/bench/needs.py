"""What has to be on the machine to measure a peer, and how it gets there."""

import os
import shutil
import subprocess
from pathlib import Path

ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
HEADERS = [Path("/usr/include"), Path("/usr/local/include")]
INSTALL_SECONDS_MAX = 1200


class Missing(Exception):
    """Something that is needed is not there; the message says how to get it."""


def has_command(name):
    return shutil.which(name) is not None


def has_header(name):
    return any((directory / name).exists() for directory in HEADERS)


# Per system: whether it is there, and the Debian package that brings it.
NEEDS = {
    "concoord": [],
    "etcd": [
        (lambda: has_command("etcd"), "etcd-server"),
        (lambda: has_header("nghttp2/nghttp2.h"), "libnghttp2-dev"),
        (lambda: has_command("cc"), "gcc"),
        (lambda: has_header("stdio.h"), "libc6-dev"),
    ],
    "zookeeper": [
        (lambda: has_command("java"), "default-jre-headless"),
        (ZOOKEEPER_JAR.exists, "zookeeper"),
        (lambda: has_header("zookeeper/zookeeper.h"), "libzookeeper-st-dev"),
        (lambda: has_command("cc"), "gcc"),
        (lambda: has_header("stdio.h"), "libc6-dev"),
    ],
}


def missing(systems):
    """The Debian packages that are missing to measure `systems`."""
    return sorted({package for system in systems for there, package in NEEDS[system] if not there()})


def check(systems):
    packages = missing(systems)
    if packages:
        raise Missing(f"missing: {' '.join(packages)}; run tests/bench-peers --install, or measure less with --only")


def install(systems):
    """Installs the missing packages and gives their names."""
    packages = missing(systems)
    if not packages:
        return []
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    if not has_command("apt-get"):
        raise Missing(f"only Debian's packages can be installed here; these or the like are needed: {' '.join(packages)}")
    if os.geteuid() != 0:
        raise Missing(f"run as root: {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, timeout=INSTALL_SECONDS_MAX)
    subprocess.run(command, check=True, env=environment, timeout=INSTALL_SECONDS_MAX)
    if "etcd-server" in packages and Path("/run/systemd/system").exists():
        # The package starts an etcd of its own, which nobody asked for.
        subprocess.run(["systemctl", "disable", "--now", "etcd"], check=True, timeout=INSTALL_SECONDS_MAX)
    check(systems)
    return packages
