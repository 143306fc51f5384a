//! Clusters of real processes: the `concoord` binary, replicas on loopback, and waiting for what they do.
//!
//! Nothing here sleeps for a time in which something should have happened: [`wait_for`] asks until it has, or until a
//! deadline. Replicas end with the [`Cluster`] that started them; when a test fails, they show the ends of their logs.

mod command;
mod launch;
mod replica;
mod scratch;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use command::target;
pub use command::{Finished, binary, concoord};
pub use launch::Launch;
pub use replica::{Replica, Signal, signal};
pub use scratch::Scratch;

/// How long anything may take that a test waits for, on a machine that is busy with other things too.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// From one look at a condition to the next.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A port that was free a moment ago may be taken by the time a replica wants it.
const PORTS_TRIED: u32 = 5;

/// Looks at a condition until it holds, and gives what it came to.
///
/// # Panics
/// With what `look` said last, when it does not hold within [`PATIENCE`].
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    wait_for_within(PATIENCE, what, look)
}

/// The same with another limit, for what takes long.
///
/// # Panics
/// With what `look` said last, when it does not hold within the limit.
pub fn wait_for_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "waited {limit:?} for {what}: {why}"),
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A member in the words of `concoord view --json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity, which a replica that starts again does not keep.
    pub id: String,
    /// Where it is.
    pub address: SocketAddr,
    /// `replica`, `learner` or `witness`.
    pub role: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it was heard lately.
    pub live: bool,
    /// Whether it is marked as silent.
    pub silent: bool,
}

/// Replicas in processes of their own, and a directory for what they write.
#[derive(Debug)]
pub struct Cluster {
    // Before the directory, so that nobody writes into it when it goes.
    replicas: Vec<Replica>,
    scratch: Scratch,
    tied: bool,
}

impl Cluster {
    /// None yet. The replicas end also when this process is killed.
    #[must_use]
    pub fn new(name: &str) -> Cluster {
        Cluster { replicas: Vec::new(), scratch: Scratch::new(name), tied: true }
    }

    /// The same, but each replica is started with exactly the flags given, so it outlives a killed test.
    #[must_use]
    pub fn verbatim(name: &str) -> Cluster {
        Cluster { tied: false, ..Cluster::new(name) }
    }

    /// `count` replicas of `object`, all of them voters.
    #[must_use]
    pub fn of(name: &str, object: &str, count: usize) -> Cluster {
        let mut cluster = Cluster::new(name);
        let first = cluster.start(&["-o", object]);
        for _ in 1..count {
            cluster.start(&["-o", object, "-b", &first.to_string()]);
        }
        cluster
    }

    /// Starts a replica with these flags and then `-a 127.0.0.1 -p PORT`, and waits until it is a voter.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn start(&mut self, flags: &[&str]) -> SocketAddr {
        self.start_with(Launch::with_flags(flags))
    }

    /// The same with more than flags.
    ///
    /// # Panics
    /// When it does not become a voter.
    pub fn start_with(&mut self, launch: Launch) -> SocketAddr {
        let mut tried = 0;
        loop {
            tried += 1;
            let address = free_address();
            let mut replica = self.launch(address, launch.clone());
            match wait_for_voter(&mut replica) {
                Ok(()) => {
                    self.replicas.push(replica);
                    return address;
                }
                Err(said) if said.contains("is in use by another process") && tried < PORTS_TRIED => {}
                Err(said) => panic!("{said}"),
            }
        }
    }

    /// Starts a replica at an address that is surely free, and waits until it is a voter.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn start_at(&mut self, address: SocketAddr, launch: Launch) {
        let mut replica = self.launch(address, launch);
        let became = wait_for_voter(&mut replica);
        self.replicas.push(replica);
        became.unwrap_or_else(|said| panic!("{said}"));
    }

    /// Starts a replica in the directory of this cluster, waits for nothing and does not count it in.
    #[must_use]
    pub fn launch(&self, address: SocketAddr, launch: Launch) -> Replica {
        Replica::start(self.scratch.path(), address, launch, self.tied)
    }

    /// Starts the replica at `address` again after it ended: the same flags, with `-b` naming `living`. Waits until it
    /// is a voter again.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn restart(&mut self, address: SocketAddr, living: SocketAddr) {
        let replica = self.replica(address);
        replica.restart(living);
        wait_for_voter(replica).unwrap_or_else(|said| panic!("{said}"));
    }

    /// Starts the replica at `address` again after it ended, with exactly the same flags, and waits until it is a voter
    /// again.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn restart_same(&mut self, address: SocketAddr) {
        let replica = self.replica(address);
        replica.begin_restart();
        wait_for_voter(replica).unwrap_or_else(|said| panic!("{said}"));
    }

    /// Kills all replicas at once.
    pub fn kill_all(&mut self) {
        for replica in &mut self.replicas {
            replica.begin_kill();
        }
        for replica in &mut self.replicas {
            replica.kill();
        }
    }

    /// Starts all replicas again with exactly the same flags, none before another, and waits until all are voters.
    ///
    /// # Panics
    /// When one does not become one.
    pub fn restart_all_same(&mut self) {
        for replica in &mut self.replicas {
            replica.begin_restart();
        }
        for replica in &mut self.replicas {
            wait_for_voter(replica).unwrap_or_else(|said| panic!("{said}"));
        }
    }

    /// Counts the replica at `address` no longer in; it goes as it is, running or not, to the caller.
    pub fn release(&mut self, address: SocketAddr) -> Replica {
        let index = self.index(address);
        self.replicas.remove(index)
    }

    /// The members as the replica at `address` knows them.
    ///
    /// # Panics
    /// When it does not tell.
    #[must_use]
    pub fn members(&self, address: SocketAddr) -> Vec<Member> {
        wait_for("the members", || try_members(address))
    }

    /// The address of the leader, as soon as the replica at `address` knows one.
    ///
    /// # Panics
    /// When none is found.
    #[must_use]
    pub fn leader(&self, address: SocketAddr) -> SocketAddr {
        wait_for("a leader", || {
            let members = try_members(address)?;
            members.iter().find(|member| member.leader).map(|member| member.address).ok_or("there is none".into())
        })
    }

    /// All addresses, as `-c` takes them.
    #[must_use]
    pub fn addresses(&self) -> String {
        self.all().iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
    }

    /// All addresses, in the order in which the replicas were first started.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Replica::address).collect()
    }

    /// Any replica but the one at `address`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn other_than(&self, address: SocketAddr) -> SocketAddr {
        let other = self.replicas.iter().map(Replica::address).find(|other| *other != address);
        other.expect("the test started more than one")
    }

    /// The replica at `address`.
    pub fn replica(&mut self, address: SocketAddr) -> &mut Replica {
        let index = self.index(address);
        &mut self.replicas[index]
    }

    /// The directory, which is gone after a test that passed.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn index(&self, address: SocketAddr) -> usize {
        let index = self.replicas.iter().position(|replica| replica.address() == address);
        index.unwrap_or_else(|| panic!("no replica of this cluster is at {address}"))
    }
}

/// Waits until a replica serves and is itself a voter; gives how it ended if it does instead.
fn wait_for_voter(replica: &mut Replica) -> Result<(), String> {
    let address = replica.address();
    wait_for(&format!("{address} to be a voter"), || {
        if let Some(status) = replica.ended() {
            return Ok(Err(format!("the replica at {address} ended with {status}: {}", replica.last_line())));
        }
        let id = replica.id().ok_or_else(|| format!("it said last: {}", replica.last_line()))?;
        let members = try_members(address)?;
        match members.iter().find(|member| member.id == id) {
            Some(own) if own.role != "learner" && own.live && members.iter().any(|member| member.leader) => Ok(Ok(())),
            _ => Err(format!("it is {id} and the members are {members:?}")),
        }
    })
}

/// An address on loopback whose port nobody has at the moment.
///
/// # Panics
/// When all ports are taken.
#[must_use]
pub fn free_address() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    socket.local_addr().expect("it is bound")
}

/// The members as the replica at `address` knows them, or why it does not tell.
///
/// # Errors
/// What `concoord view` said.
pub fn try_members(address: SocketAddr) -> Result<Vec<Member>, String> {
    let shown = concoord(&["view", "-c", &address.to_string(), "--json"]);
    if shown.code != Some(0) {
        return Err(shown.stderr);
    }
    let view: Value = serde_json::from_str(&shown.stdout).map_err(|error| format!("{error} in {}", shown.stdout))?;
    let members = view["members"].as_array().ok_or_else(|| format!("no members in {view}"))?;
    members.iter().map(|member| read_member(member).ok_or_else(|| format!("not a member: {member}"))).collect()
}

fn read_member(member: &Value) -> Option<Member> {
    let (ip, port) = (member["addr"].as_str()?.parse().ok()?, u16::try_from(member["port"].as_u64()?).ok()?);
    Some(Member {
        id: member["id"].as_str()?.into(),
        address: SocketAddr::new(ip, port),
        role: member["role"].as_str()?.into(),
        leader: member["leader"].as_bool()?,
        live: member["live"].as_bool()?,
        silent: member["silent"].as_bool()?,
    })
}
