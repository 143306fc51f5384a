use std::net::UdpSocket;
use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use crate::cluster::wait_for;

/// Long enough for a datagram between namespaces, short enough to wait for one that does not come.
const SOON: Duration = Duration::from_millis(300);

/// This very test binary, in a host, as a process that sends each datagram back to who sent it.
struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ECHO_AT: &str = "CONCOORD_TEST_ECHO_AT";

/// Run by [`start_echo`] in a namespace; as a test of its own it has nothing to do.
#[test]
fn echo_in_a_namespace() {
    let Ok(address) = std::env::var(ECHO_AT) else { return };
    let socket = UdpSocket::bind(address).expect("the host has this address");
    let mut bytes = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        socket.send_to(&bytes[..length], from).expect("there is a route to everybody");
    }
}

fn start_echo(network: &Network, host: usize) -> Echo {
    let own = std::env::current_exe().expect("a test knows its own file");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.namespace(host)]).arg(own);
    command.args(["--exact", "netns::tests::echo_in_a_namespace"]);
    command.env(ECHO_AT, format!("{}:7", network.address(host)));
    Echo(command.spawn().expect("'ip' ran before"))
}

fn answers(socket: &UdpSocket, host: Ipv4Addr) -> bool {
    socket.send_to(b"?", (host, 7)).expect("there is a route");
    socket.recv_from(&mut [0; 64]).is_ok()
}

#[test]
fn links_are_cut_one_way_and_healed_and_nothing_is_left() {
    let Some(mut network) = Network::new(2) else { return };
    let name = network.name.clone();
    let (own, first, second) = (network.own_address(), network.address(0), network.address(1));
    let _echoes = [start_echo(&network, 0), start_echo(&network, 1)];
    let socket = UdpSocket::bind((own, 0)).expect("it is our own");
    socket.set_read_timeout(Some(SOON)).expect("a time-out is supported");
    for host in [first, second] {
        wait_for("an echo", || if answers(&socket, host) { Ok(()) } else { Err(format!("{host} is silent")) });
    }
    network.cut(Link::both(own, first));
    assert!(!answers(&socket, first), "cut");
    assert!(answers(&socket, second), "another link is whole");
    // One way: the question arrives and its answer does not. It comes once the link is whole and asked again.
    network.cut([Link { from: first, to: own }]);
    assert!(!answers(&socket, first), "the way back is cut");
    network.heal();
    assert!(answers(&socket, first), "healed");
    drop(network);
    assert!(names().iter().all(|left| !left.starts_with(&name)), "{:?}", names());
}

#[test]
fn what_a_killed_process_left_behind_is_removed() {
    let Some(_network) = Network::new(1) else { return };
    let mut child = Command::new("true").spawn().expect("there is true");
    child.wait().expect("a child of ours can be waited for");
    let stale = format!("{PREFIX}-{}-0-router", child.id());
    ip(&["netns", "add", &stale]).expect("it worked before");
    remove_stale();
    assert!(!names().contains(&stale));
}

#[test]
fn on_its_own_machine_a_test_has_loopback_for_itself_and_leaves_nothing_running() {
    let name = "on_its_own_machine_a_test_has_loopback_for_itself_and_leaves_nothing_running";
    on_own_machine(&format!("netns::tests::{name}"), |directory| {
        let _port = UdpSocket::bind("127.0.0.53:53").expect("nobody else is here");
        let read = std::fs::read_to_string("/etc/resolv.conf").expect("it is there");
        assert_eq!(read, std::fs::read_to_string(directory.join("resolv.conf")).expect("it is there"));
        // It is the shell's, which does not wait for it.
        let started = Command::new("sh").args(["-c", "sleep 600 &"]).current_dir(directory).status();
        assert!(started.expect("there is a shell").success());
    });
    // Within, the one that was just started is still there.
    if std::process::id() != 1 {
        let processes = std::fs::read_dir("/proc").expect("there are processes");
        let works_at = processes.filter_map(|process| std::fs::read_link(process.ok()?.path().join("cwd")).ok());
        let left = works_at.filter(|place| place.to_string_lossy().contains(name)).count();
        assert_eq!(left, 0, "processes are left");
    }
}
