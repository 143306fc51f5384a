//! Replicas as real processes on hosts of their own, and a network that fails in parts: who has a majority leads within
//! four election timeouts, whatever else is cut.
//!
//! The three shapes are those of the OmniPaxos paper (Ng, Haridi, Carbone, EuroSys 2023, section 2): each leaves exactly
//! one replica, or one beside the leader, with a majority, and protocols whose elections ask for more never recover.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_tests::cluster::{Cluster, Launch, concoord, try_members, wait_for};
use concoord_tests::load::{Load, blocking, is_long};
use concoord_tests::netns::{Link, Network};
use concoord_wire::member::Roster;

const PORT: u16 = 14000;
const CLIENTS: usize = 8;
const ROUNDS: usize = 3;
const ROUNDS_LONG: usize = 10;
/// Four of the longest election timeouts.
const LIMIT: Duration = Duration::from_millis(4 * 200);
/// How long each cut is watched; who leads must not change again in what is left of it.
const WATCHED: Duration = Duration::from_millis(1500);
/// From one look at the view to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Increments acknowledged between two cuts.
const INCREMENTS_BETWEEN: u64 = 500;
/// Increments that the replica which is to lead misses because it is cut off from the leader.
const INCREMENTS_BEHIND: u64 = 1000;

/// Where the replicas are: the leader, who is to lead after the cut, and the others.
struct Places {
    leader: Ipv4Addr,
    next: Ipv4Addr,
    others: Vec<Ipv4Addr>,
    /// The clients' and the test's own.
    clients: Ipv4Addr,
}

impl Places {
    fn all(&self) -> Vec<Ipv4Addr> {
        [vec![self.leader, self.next], self.others.clone()].concat()
    }

    /// All links of the leader, those to clients too.
    fn of_leader(&self) -> Vec<Link> {
        both_ways(self.leader, &[self.all(), vec![self.clients]].concat()).collect()
    }
}

/// One way in which a network fails.
struct Shape {
    name: &'static str,
    what: &'static str,
    replicas: usize,
    /// What is cut some time before, so that the next leader is behind.
    before: fn(&Places) -> Vec<Link>,
    cut: fn(&Places) -> Vec<Link>,
    /// Whether the leader can't go on. Then `next` must lead if nobody else can, or anybody if others can too.
    leads: Leads,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// Only the next one can.
    Next,
    /// Anybody but the leader can.
    NotTheLeader,
    /// The leader can go on, or the next one can lead.
    Anybody,
}

const SHAPES: [Shape; 6] = [
    Shape {
        name: "quorum loss",
        what: "five replicas; only the links of one that does not lead are whole: it alone hears a majority, and it still \
            hears the leader, which does not",
        replicas: 5,
        before: |_| Vec::new(),
        cut: |places| {
            let others = [vec![places.leader], places.others.clone()].concat();
            Link::among(&others)
        },
        leads: Leads::Next,
    },
    Shape {
        name: "constrained election",
        what: "five replicas; one heard no other for a while and is behind; then the leader is cut off from everybody, \
            clients too, and the others hear nobody but that one, which hears them again",
        replicas: 5,
        before: |places| both_ways(places.next, &places.all()).collect(),
        cut: |places| {
            let mut links = places.of_leader();
            links.extend(Link::among(&places.others));
            links
        },
        leads: Leads::Next,
    },
    Shape {
        name: "chained",
        what: "three replicas in a row: the leader at one end and the replica at the other don't hear each other",
        replicas: 3,
        before: |_| Vec::new(),
        cut: |places| Link::both(places.leader, places.others[0]).to_vec(),
        leads: Leads::Anybody,
    },
    Shape {
        name: "leader unheard",
        what: "three replicas; nothing that the leader sends reaches the others, but it hears them; clients reach it",
        replicas: 3,
        before: |_| Vec::new(),
        cut: |places| from(places.leader, &places.all()).collect(),
        leads: Leads::NotTheLeader,
    },
    Shape {
        name: "leader deaf",
        what: "three replicas; nothing that the others send reaches the leader, but they hear it; clients reach it",
        replicas: 3,
        before: |_| Vec::new(),
        cut: |places| from(places.leader, &places.all()).map(Link::back).collect(),
        leads: Leads::NotTheLeader,
    },
    Shape {
        name: "leader cut off",
        what: "three replicas; the leader is cut off from everybody, clients too",
        replicas: 3,
        before: |_| Vec::new(),
        cut: |places| places.of_leader(),
        leads: Leads::NotTheLeader,
    },
];

/// All that a host sends to the others.
fn from(host: Ipv4Addr, all: &[Ipv4Addr]) -> impl Iterator<Item = Link> {
    all.iter().filter(move |other| **other != host).map(move |to| Link { from: host, to: *to })
}

/// All that a host and the others say to each other.
fn both_ways(host: Ipv4Addr, all: &[Ipv4Addr]) -> impl Iterator<Item = Link> {
    from(host, all).flat_map(|link| [link, link.back()])
}

/// What the view of one replica showed after the cut.
#[derive(Debug, Default)]
struct Sightings {
    /// From the cut until it knew a leader that can lead.
    led_after: Option<Duration>,
    /// Who that was.
    leader: Option<Ipv4Addr>,
    /// How often it was another afterwards.
    changes: usize,
}

/// One round in numbers.
struct Round {
    was: Ipv4Addr,
    seen: Sightings,
    gap: Duration,
    wait: Duration,
    behind: u64,
    back_after: Duration,
}

/// Replicas on hosts, and clients at work.
struct Lab {
    // Before the network that it is on.
    cluster: Cluster,
    network: Network,
    load: Load,
}

impl Lab {
    fn new(name: &str, replicas: usize) -> Option<Lab> {
        let network = Network::new(replicas)?;
        let mut cluster = Cluster::new(name);
        let address = |index| SocketAddr::from((network.address(index), PORT));
        for index in 0..replicas {
            let mut launch = Launch::with_flags(&["-o", "counter", "--insecure"]);
            if index > 0 {
                launch.flags.extend(["-b".into(), address(0).to_string()]);
            }
            if std::env::var_os("CONCOORD_TEST_DEBUG").is_some() {
                launch.flags.push("-d".into());
            }
            cluster.start_at(address(index), launch.in_namespace(&network.namespace(index)));
        }
        let load = Load::start(&cluster.addresses(), CLIENTS);
        Some(Lab { cluster, network, load })
    }

    fn places(&self) -> Places {
        let leader = self.cluster.leader(self.cluster.all()[0]);
        let mut others = self.cluster.all().into_iter().filter(|address| *address != leader).map(ipv4);
        let next = others.next().expect("there are at least three");
        Places { leader: ipv4(leader), next, others: others.collect(), clients: self.network.own_address() }
    }

    /// One round: cut, watch, heal, and wait until all is as before.
    fn round(&mut self, shape: &Shape) -> Round {
        self.load.wait_for_increments(INCREMENTS_BETWEEN);
        let places = self.places();
        let before = (shape.before)(&places);
        let is_current = before.is_empty();
        if !is_current {
            self.network.cut(before);
            self.load.wait_for_increments(INCREMENTS_BEHIND);
        }
        let behind = self.load.acknowledged().saturating_sub(stale_count(places.next));
        assert!(behind > 0 || is_current, "{} is as far as the others, although it hears nobody", places.next);
        let (cut, mut seen) = blocking(async {
            let client = Client::connect(&address_of(places.next).to_string()).await.expect("it is there");
            self.load.next_period();
            self.network.cut((shape.cut)(&places));
            (Instant::now(), watch(&client, |leader| shape.may_lead(&places, leader)).await)
        });
        seen.led_after = seen.led_after.map(|after| self.load.without_stalls(cut, cut + after));
        let period = self.load.period();
        self.network.heal();
        let healed = Instant::now();
        self.wait_until_settled();
        Round { was: places.leader, seen, gap: period.gap, wait: period.wait, behind, back_after: healed.elapsed() }
    }

    /// Waits until all follow one leader, and everybody has what was acknowledged until now.
    fn wait_until_settled(&self) {
        let acknowledged = self.load.acknowledged();
        for address in self.cluster.all() {
            wait_for(&format!("{address} to be back"), || {
                let leaders = self.cluster.all().into_iter().map(leader_known_to).collect::<Result<Vec<_>, _>>()?;
                if leaders.iter().any(|leader| *leader != leaders[0]) {
                    return Err(format!("they know the leaders {leaders:?}"));
                }
                match stale_count(ipv4(address)) {
                    count if count >= acknowledged => Ok(()),
                    count => Err(format!("it has {count} of {acknowledged} increments")),
                }
            });
        }
    }
}

impl Shape {
    fn may_lead(&self, places: &Places, leader: Ipv4Addr) -> bool {
        match self.leads {
            Leads::Next => leader == places.next,
            Leads::NotTheLeader => leader != places.leader,
            Leads::Anybody => true,
        }
    }
}

/// Looks at the view of one replica again and again.
async fn watch(client: &Client, may_lead: impl Fn(Ipv4Addr) -> bool) -> Sightings {
    let began = Instant::now();
    let mut seen = Sightings::default();
    while began.elapsed() < WATCHED {
        // It may be too busy for once.
        let roster = client.view().await.ok();
        let leader = roster.as_ref().and_then(leader_in);
        if let Some(leader) = leader {
            match seen.leader {
                None if may_lead(leader) => (seen.leader, seen.led_after) = (Some(leader), Some(began.elapsed())),
                Some(known) if known != leader => (seen.leader, seen.changes) = (Some(leader), seen.changes + 1),
                _ => {}
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    seen
}

fn leader_in(roster: &Roster) -> Option<Ipv4Addr> {
    let leader = roster.members.iter().find(|member| Some(member.id) == roster.leader)?;
    Some(ipv4(leader.address))
}

fn leader_known_to(address: SocketAddr) -> Result<SocketAddr, String> {
    let members = try_members(address)?;
    if let Some(silent) = members.iter().find(|member| !member.live) {
        return Err(format!("{address} does not hear {}", silent.address));
    }
    let leader = members.iter().find(|member| member.leader);
    leader.map(|leader| leader.address).ok_or_else(|| format!("{address} knows no leader"))
}

/// What the replica itself has applied.
fn stale_count(host: Ipv4Addr) -> u64 {
    wait_for("a stale query", || {
        let shown = concoord(&["call", "-c", &address_of(host).to_string(), "--stale", "getvalue"]);
        shown.stdout.trim().parse().map_err(|_| shown.stderr)
    })
}

fn ipv4(address: SocketAddr) -> Ipv4Addr {
    match address {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(_) => unreachable!("the hosts have IPv4 addresses"),
    }
}

fn address_of(host: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((host, PORT))
}

fn print_round(number: usize, round: &Round) {
    let Round { was, seen, gap, wait, behind, back_after } = round;
    let leader = seen.leader.map_or("nobody".into(), |leader| leader.to_string());
    let led_after = seen.led_after.map_or("-".into(), |after| after.as_millis().to_string());
    let (gap, wait, back) = (gap.as_millis(), wait.as_millis(), back_after.as_millis());
    let was = was.to_string();
    println!(
        "{number:>5}  {was:<14}  {leader:<14}  {behind:>6}  {led_after:>12}  {gap:>6}  {wait:>15}  {:>7}  {back:>7}",
        seen.changes
    );
}

/// Only one at a time, or they would slow each other down.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leads_within_the_limit(name: &str) {
    let _alone = alone();
    let shape = SHAPES.iter().find(|shape| shape.name == name).expect("it is in the table");
    let Some(mut lab) = Lab::new("partial-connectivity", shape.replicas) else { return };
    let rounds = if is_long() { ROUNDS_LONG } else { ROUNDS };
    println!("{name}: {}", shape.what);
    println!("round  leader before   leader after    behind  led after ms  gap ms  longest call ms  changes  back ms");
    let rounds = (1..=rounds).map(|number| {
        let round = lab.round(shape);
        print_round(number, &round);
        round
    });
    let rounds = rounds.collect::<Vec<_>>();
    let addresses = lab.cluster.addresses();
    let _ = lab.load.finish(&addresses);
    for round in rounds {
        let led = round.seen.led_after.unwrap_or(Duration::MAX);
        assert!(led <= LIMIT, "{name}: a leader with a majority after {led:?}, and {LIMIT:?} are allowed");
        assert!(round.gap <= LIMIT, "{name}: no increment was acknowledged for {:?}", round.gap);
        assert_eq!(round.seen.changes, 0, "{name}: who led was deposed, although nothing changed: {:?}", round.seen);
    }
}

#[test]
fn quorum_loss_ends_with_the_only_one_that_hears_a_majority() {
    leads_within_the_limit("quorum loss");
}

#[test]
fn a_constrained_election_ends_with_the_only_one_that_hears_a_majority_although_it_is_behind() {
    leads_within_the_limit("constrained election");
}

#[test]
fn a_chain_goes_on_without_leaders_that_depose_each_other() {
    leads_within_the_limit("chained");
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    leads_within_the_limit("leader unheard");
}

#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    leads_within_the_limit("leader deaf");
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_catches_up() {
    leads_within_the_limit("leader cut off");
}
