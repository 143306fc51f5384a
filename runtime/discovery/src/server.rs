//! The DNS server of a replica: sockets, and the view plugin that hands it the newest zone.
//!
//! It runs on a thread of its own, so that no flood of questions takes the replica's time. UDP is answered in bursts; a TCP
//! connection is answered one question after the other, and closed when it is idle or when there are too many.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use concoord_node::{Published, Publishing, ViewPlugin};
use concoord_wire::member::Roster;
use hickory_server::proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::answer::{Over, Zones, answer};
use crate::limit::{Limiter, Verdict};
use crate::records::Options as RecordOptions;
use crate::zone::Zone;

/// Where DNS is asked.
pub const DNS_PORT: u16 = 53;
/// Answers a second for each network over UDP, if nothing else is said.
pub const RATE_LIMIT: u32 = 100;
/// How long a replica without a leader answers from its last view, if nothing else is said.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

/// Bytes of a question over UDP; longer ones are cut, and so malformed.
const QUESTION_BYTES_MAX: usize = 4096;
/// Questions that are answered over UDP before TCP gets its turn.
const BURST_QUESTIONS: usize = 64;
/// TCP connections at a time.
const CONNECTIONS_MAX: usize = 128;
/// How long a TCP connection may be idle, and a question or an answer be on its way.
const CONNECTION_IDLE: Duration = Duration::from_secs(10);

/// What a replica's DNS server is started with.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// The domains that it answers for.
    pub domains: Vec<Name>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What is in the records.
    pub records: RecordOptions,
    /// How long without a leader the last view is told.
    pub stale_after: Duration,
    /// Answers a second for each network over UDP; 0 for no limit.
    pub rate_limit: u32,
}

/// The view plugin. It binds its sockets when the first view is there, and tries again while they are taken.
#[derive(Debug)]
pub struct DnsServer {
    options: DnsOptions,
    served: Arc<Served>,
    /// Ends the thread when it is dropped.
    running: Option<oneshot::Sender<()>>,
}

/// What plugin and thread share.
#[derive(Debug, Default)]
struct Served {
    newest: RwLock<Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    zones: Arc<Zones>,
    /// Since when no leader is known.
    leaderless: Option<Instant>,
}

impl DnsServer {
    /// A server that listens once there is something to serve.
    #[must_use]
    pub fn new(options: DnsOptions) -> DnsServer {
        DnsServer { options, served: Arc::default(), running: None }
    }

    fn serve(&mut self, roster: &Roster) -> Result<(), String> {
        let mut newest = self.served.newest.write().unwrap_or_else(PoisonError::into_inner);
        if roster.leader.is_none() {
            newest.leaderless.get_or_insert_with(Instant::now);
        } else {
            newest.leaderless = None;
        }
        // Who leads is most likely to change while nobody does; until then what was told is told again.
        if roster.leader.is_some() || newest.zones.zones.is_empty() {
            let zone = |domain| Zone::new(domain, roster, self.options.records).map_err(|error| error.to_string());
            let zones = self.options.domains.iter().map(zone).collect::<Result<_, _>>()?;
            newest.zones = Arc::new(Zones { zones, stale: false });
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        if self.running.is_some() {
            return Ok(());
        }
        let listen = self.options.listen;
        let sockets = Sockets::bind(listen).map_err(|error| refused(listen, &error))?;
        let (running, ended) = oneshot::channel();
        let (served, options) = (Arc::clone(&self.served), self.options.clone());
        let thread = thread::Builder::new().name("concoord-dns".into());
        let started = thread.spawn(move || run(sockets, &served, &options, ended));
        started.map_err(|error| format!("its thread can't start: {error}"))?;
        let domains = self.options.domains.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!("answers DNS questions for {domains} on {listen}");
        self.running = Some(running);
        Ok(())
    }
}

impl ViewPlugin for DnsServer {
    fn name(&self) -> &str {
        "dns"
    }

    fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_> {
        Box::pin(async move {
            self.serve(&roster)?;
            self.listen()?;
            Ok(Published::Here)
        })
    }
}

/// Why it can't listen, and what to do.
fn refused(listen: SocketAddr, error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "is in use by another program".into(),
        io::ErrorKind::PermissionDenied => {
            "may be bound by root only: run with sudo, or choose another --dns-port".into()
        }
        _ => error.to_string(),
    };
    format!("DNS on {listen}: {what}")
}

#[derive(Debug)]
struct Sockets {
    udp: StdSocket,
    tcp: StdListener,
}

impl Sockets {
    fn bind(listen: SocketAddr) -> io::Result<Sockets> {
        let udp = StdSocket::bind(listen)?;
        let tcp = StdListener::bind(udp.local_addr()?)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Sockets { udp, tcp })
    }
}

/// The thread, until `ended` is.
fn run(sockets: Sockets, served: &Arc<Served>, options: &DnsOptions, ended: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let udp = UdpSocket::from_std(sockets.udp)?;
            let tcp = TcpListener::from_std(sockets.tcp)?;
            tokio::select! {
                outcome = answer_datagrams(&udp, served, options) => outcome,
                () = accept(&tcp, served, options) => Ok(()),
                _ = ended => Ok(()),
            }
        })
    });
    if let Err(error) = outcome {
        tracing::error!("answers no DNS questions any more: {error}");
    }
}

impl Served {
    /// What is served now.
    fn zones(&self, stale_after: Duration) -> Arc<Zones> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        match newest.leaderless {
            Some(since) if since.elapsed() > stale_after => {
                Arc::new(Zones { zones: Arc::clone(&newest.zones.zones), stale: true })
            }
            _ => Arc::clone(&newest.zones),
        }
    }
}

async fn answer_datagrams(udp: &UdpSocket, served: &Served, options: &DnsOptions) -> io::Result<()> {
    let mut question = vec![0; QUESTION_BYTES_MAX];
    let mut limiter = Limiter::new(options.rate_limit, Instant::now());
    loop {
        udp.readable().await?;
        let zones = served.zones(options.stale_after);
        for _ in 0..BURST_QUESTIONS {
            let (length, from) = match udp.try_recv_from(&mut question) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An earlier answer could not be delivered: that is its receiver's affair.
                Err(_) => continue,
            };
            let over = match limiter.judge(from.ip(), Instant::now()) {
                Verdict::Answer => Over::Udp,
                Verdict::Limit => Over::UdpLimited,
                Verdict::Drop => continue,
            };
            if let Some(answer) = answer(&zones, &question[..length], over) {
                // An answer for which there is no room is lost, as any datagram may be.
                let _ = udp.try_send_to(&answer, from);
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn accept(tcp: &TcpListener, served: &Arc<Served>, options: &DnsOptions) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // One that is accepted while there is no room is closed at once: its sender may try elsewhere.
        let stream = match tcp.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("a DNS connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (served, stale_after) = (Arc::clone(served), options.stale_after);
        tokio::spawn(async move {
            // Whatever ends a connection ends it for its sender alone.
            let _ = answer_connection(stream, &served, stale_after).await;
            drop(place);
        });
    }
}

/// Answers one question after the other, each behind its length in two bytes (RFC 1035, section 4.2.2).
async fn answer_connection(mut stream: TcpStream, served: &Served, stale_after: Duration) -> io::Result<()> {
    let mut question = Vec::new();
    loop {
        let length = timeout(CONNECTION_IDLE, stream.read_u16()).await??;
        question.resize(usize::from(length), 0);
        timeout(CONNECTION_IDLE, stream.read_exact(&mut question)).await??;
        let Some(answer) = answer(&served.zones(stale_after), &question, Over::Tcp) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(CONNECTION_IDLE, stream.write_all(&framed)).await??;
    }
}
