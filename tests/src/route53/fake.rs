//! A server that does as Route 53 does in what a publisher relies on, and misbehaves on purpose.
//!
//! A batch is carried out as a whole or not at all; CREATE is refused where there is a record set, DELETE where there is not
//! one with exactly the values given; lists come in the order of reversed labels, in pages; a change becomes INSYNC only
//! after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::Records;
use super::http::{self, Request, elements, escaped, unescaped};

/// Its one hosted zone.
pub const ZONE_ID: &str = "Z0FAKE";
/// Record sets on a page: few, so that lists have several.
const PAGE: usize = 8;

/// How it misbehaves. All off by default.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Everything random comes from it.
    pub seed: u64,
    /// Until when all requests are refused with `Throttling`.
    pub throttled_until: Option<Instant>,
    /// How many of 100 requests are refused with `Throttling`.
    pub throttled: u32,
    /// How many of 100 batches are refused with `PriorRequestNotComplete`.
    pub prior: u32,
    /// How many of 100 connections end before a request is looked at.
    pub lost_before: u32,
    /// How many of 100 connections end after a request was carried out, before it was answered.
    pub lost_after: u32,
    /// The longest time by which a request is carried out late.
    pub late: Duration,
    /// How often one has to ask until a change is INSYNC.
    pub in_sync_after: u32,
    /// Whether no answer is given at all, on connections that stay open.
    pub silent: bool,
    /// Whether DELETE is carried out whatever values it gives, which Route 53 does not do.
    pub inexact: bool,
    /// A code that every request is refused with.
    pub refused: Option<&'static str>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            seed: 0,
            throttled_until: None,
            throttled: 0,
            prior: 0,
            lost_before: 0,
            lost_after: 0,
            late: Duration::ZERO,
            in_sync_after: 0,
            silent: false,
            inexact: false,
            refused: None,
        }
    }
}

/// A batch that was carried out.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The revision that its fence names.
    pub revision: u64,
    /// How many changes it had.
    pub changes: usize,
}

/// What of a record set matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    name: String,
    kind: String,
    ttl: String,
    values: Vec<String>,
}

impl Set {
    /// Where it is in lists: the labels reversed, as one text.
    fn place(&self) -> (String, String) {
        place(&self.name, &self.kind)
    }
}

fn place(name: &str, kind: &str) -> (String, String) {
    let labels = name.trim_end_matches('.').rsplit('.').collect::<Vec<_>>();
    (format!("{}.", labels.join(".")), kind.to_owned())
}

#[derive(Debug)]
struct State {
    zone: String,
    faults: Faults,
    random: StdRng,
    sets: BTreeMap<(String, String), Set>,
    batches: Vec<Batch>,
    asked_in_sync: u32,
    requests: u32,
    key_ids: BTreeSet<String>,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// A server with an empty hosted zone of this name, at a port of its own.
    ///
    /// # Panics
    /// When it can't listen.
    pub async fn start(zone: &str, faults: Faults) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let random = StdRng::seed_from_u64(faults.seed);
        let zone = format!("{zone}.");
        let (sets, batches) = (BTreeMap::new(), Vec::new());
        let state =
            State { zone, faults, random, sets, batches, asked_in_sync: 0, requests: 0, key_ids: BTreeSet::new() };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Fake { address, state, task }
    }

    /// What a client is given as the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// Misbehaves in another way from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The batches so far.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        self.state().batches.clone()
    }

    /// How many requests there were, of any kind.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.state().requests
    }

    /// How often it was asked whether a change is INSYNC.
    #[must_use]
    pub fn asked_in_sync(&self) -> u32 {
        self.state().asked_in_sync
    }

    /// The ids of the access keys that requests were signed with.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.state().key_ids.iter().cloned().collect()
    }

    /// Puts a record set there by hand.
    pub fn put(&self, name: &str, kind: &str, values: &[&str]) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let set = Set { name: name.into(), kind: kind.into(), ttl: "300".into(), values };
        self.state().sets.insert(set.place(), set);
    }

    /// What is in the zone.
    #[must_use]
    pub fn records(&self) -> Records {
        let state = self.state();
        let sets = state.sets.values().cloned();
        sets.map(|mut set| {
            set.values.sort();
            ((set.name, set.kind), set.values)
        })
        .collect()
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&state)));
        // Those that have ended leave nothing behind.
        while connections.try_join_next().is_some() {}
    }
}

/// What becomes of one request.
struct Fate {
    late: Duration,
    lost_before: bool,
    lost_after: bool,
    silent: bool,
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = http::request(&mut stream).await? {
        let fate = state.lock().expect("nobody panics with it").fate();
        sleep(fate.late).await;
        if fate.silent {
            std::future::pending::<()>().await;
        }
        if fate.lost_before {
            break;
        }
        let (status, body) = state.lock().expect("nobody panics with it").carry_out(&request);
        if fate.lost_after {
            break;
        }
        http::answer(&mut stream, status, &body).await?;
    }
    Ok(())
}

impl State {
    fn happens(&mut self, of_100: u32) -> bool {
        self.random.random_range(0..100) < of_100
    }

    fn fate(&mut self) -> Fate {
        self.requests += 1;
        let Faults { lost_before, lost_after, late, silent, .. } = self.faults.clone();
        let late = late.mul_f64(self.random.random_range(0.0..=1.0));
        Fate { late, lost_before: self.happens(lost_before), lost_after: self.happens(lost_after), silent }
    }

    fn carry_out(&mut self, request: &Request) -> (u16, String) {
        let credential = request.authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        self.key_ids.extend(credential.map(str::to_owned));
        let Faults { throttled, throttled_until, prior, refused, .. } = self.faults.clone();
        if let Some(code) = refused {
            return error(403, code, "User: arn:aws:iam::1:user/x is not authorized");
        }
        if throttled_until.is_some_and(|until| Instant::now() < until) || self.happens(throttled) {
            return error(400, "Throttling", "Rate exceeded");
        }
        let path = request.path().trim_end_matches('/');
        let zone_path = format!("/2013-04-01/hostedzone/{ZONE_ID}/rrset");
        match request.method.as_str() {
            "GET" if path == "/2013-04-01/hostedzonesbyname" => (200, self.zones(request)),
            "GET" if path == zone_path => (200, self.page(request)),
            "GET" if path.starts_with("/2013-04-01/change/") => (200, self.change_info("GetChangeResponse")),
            "POST" if path == zone_path && self.happens(prior) => {
                error(400, "PriorRequestNotComplete", "The request was rejected because an earlier one is not complete")
            }
            "POST" if path == zone_path => match self.change(&request.body) {
                Ok(()) => {
                    self.asked_in_sync = 0;
                    (200, self.change_info("ChangeResourceRecordSetsResponse"))
                }
                Err(why) => error(400, "InvalidChangeBatch", &format!("[{why}]")),
            },
            _ => error(404, "NoSuchHostedZone", &format!("No hosted zone found with ID: {path}")),
        }
    }

    fn zones(&self, request: &Request) -> String {
        let asked = request.parameter("dnsname").unwrap_or_default();
        let ours = format!(
            "<HostedZone><Id>/hostedzone/{ZONE_ID}</Id><Name>{}</Name><CallerReference>1</CallerReference><Config>\
             <PrivateZone>false</PrivateZone></Config></HostedZone>",
            self.zone
        );
        // As the real one, it goes on with the zones whose names come after the one that was asked for.
        let found = if place(asked, "") <= place(&self.zone, "") { ours.as_str() } else { "" };
        answered(
            "ListHostedZonesByNameResponse",
            &format!("<HostedZones>{found}</HostedZones><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>"),
        )
    }

    fn page(&self, request: &Request) -> String {
        let from = place(request.parameter("name").unwrap_or_default(), request.parameter("type").unwrap_or_default());
        let limit = request.parameter("maxitems").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE).min(PAGE);
        let mut rest = self.sets.range(from..).map(|(_, set)| set);
        let sets = rest.by_ref().take(limit).map(in_xml).collect::<String>();
        let more = rest.next().map(|next| {
            let (name, kind) = (&next.name, &next.kind);
            format!("<NextRecordName>{name}</NextRecordName><NextRecordType>{kind}</NextRecordType>")
        });
        let truncated = more.is_some();
        answered(
            "ListResourceRecordSetsResponse",
            &format!(
                "<ResourceRecordSets>{sets}</ResourceRecordSets><IsTruncated>{truncated}</IsTruncated>{}\
                 <MaxItems>{limit}</MaxItems>",
                more.unwrap_or_default()
            ),
        )
    }

    fn change_info(&mut self, response: &str) -> String {
        let status = if self.asked_in_sync < self.faults.in_sync_after { "PENDING" } else { "INSYNC" };
        if response == "GetChangeResponse" {
            self.asked_in_sync += 1;
        }
        answered(
            response,
            &format!(
                "<ChangeInfo><Id>/change/C{}</Id><Status>{status}</Status><SubmittedAt>2020-01-01T00:00:00Z</SubmittedAt>\
                 </ChangeInfo>",
                self.batches.len()
            ),
        )
    }

    /// Carries out a batch on a copy, which takes the place of what was there only when all of it could be done.
    fn change(&mut self, body: &str) -> Result<(), String> {
        let mut sets = self.sets.clone();
        let changes = elements(body, "Change");
        let mut revision = None;
        for change in &changes {
            let text = |tag| elements(change, tag).first().map(|text| unescaped(text)).unwrap_or_default();
            let values = elements(change, "ResourceRecord").into_iter().flat_map(|record| elements(record, "Value"));
            let values = values.map(unescaped).collect::<Vec<_>>();
            let set = Set { name: text("Name"), kind: text("Type"), ttl: text("TTL"), values };
            let (shown, there) = (format!("{} {}", set.name, set.kind), sets.get(&set.place()));
            match text("Action").as_str() {
                "DELETE" => match there {
                    None => return Err(format!("Tried to delete {shown} but it was not found")),
                    Some(there) if *there != set && !self.faults.inexact => {
                        return Err(format!("Tried to delete {shown} but the values provided do not match"));
                    }
                    Some(_) => drop(sets.remove(&set.place())),
                },
                "CREATE" if there.is_some() => return Err(format!("Tried to create {shown} but it already exists")),
                "CREATE" | "UPSERT" => {
                    let fence = set.values.first().and_then(|value| value.split_once("revision="));
                    if let Some(named) = fence.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()) {
                        revision = Some(named);
                    }
                    sets.insert(set.place(), set);
                }
                other => return Err(format!("no such action: {other}")),
            }
        }
        self.sets = sets;
        let revision = revision.ok_or("a batch without a fence")?;
        self.batches.push(Batch { revision, changes: changes.len() });
        Ok(())
    }
}

fn in_xml(set: &Set) -> String {
    let Set { name, kind, ttl, values } = set;
    let record = |value: &String| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(value));
    let records = values.iter().map(record).collect::<String>();
    format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords>{records}\
         </ResourceRecords></ResourceRecordSet>"
    )
}

fn answered(response: &str, inner: &str) -> String {
    format!("<{response} xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">{inner}</{response}>")
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    let message = escaped(message);
    let inner = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, answered("ErrorResponse", &format!("{inner}<RequestId>1</RequestId>")))
}
