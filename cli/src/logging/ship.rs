//! Lines on their way to a logger: a queue of bounded size, and a thread that sends what is in it.
//!
//! Whoever logs waits for nothing but the queue's lock. What there is no room for is dropped, counted and told. The other end
//! is anything that reads lines from a TCP connection: `concoord logger`, `nc -lk`, a socket source of Vector.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines, and bytes of lines, that may wait.
const LINES_MAX: usize = 65_536;
const BYTES_MAX: usize = 16 << 20;
/// Bytes that are sent at a time.
const BATCH_BYTES: usize = 256 << 10;
/// How long a connection may take to be made, and the other end to take what was sent.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
const WRITE_WAIT: Duration = Duration::from_secs(5);
/// Pauses between tries to connect.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long what is left may take at the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room and that nobody was told of yet.
    dropped: u64,
    /// The process ends; what is left has until then.
    ends_at: Option<Instant>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that holds the lock leaves the queue half changed when it panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where lines are written; each write is one line.
#[derive(Clone, Debug)]
pub(super) struct Shipper {
    shared: Arc<Shared>,
    /// What every line begins with: whose it is.
    head: Arc<str>,
}

impl Write for Shipper {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let whole = match line.strip_prefix(b"{") {
            Some(rest) => [self.head.as_bytes(), rest].concat(),
            None => line.to_vec(),
        };
        let mut queue = self.shared.lock();
        if queue.lines.len() < LINES_MAX && queue.bytes + whole.len() <= BYTES_MAX {
            queue.bytes += whole.len();
            queue.lines.push_back(whole);
        } else {
            queue.dropped += 1;
        }
        drop(queue);
        self.shared.changed.notify_one();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that sends. Dropped, it sends what is left, for a second at most.
#[derive(Debug)]
pub(crate) struct Shipping {
    shipper: Shipper,
    /// Closed when the thread has ended; nothing is ever sent.
    ended: Receiver<()>,
}

impl Shipping {
    pub(super) fn shipper(&self) -> Shipper {
        self.shipper.clone()
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.shipper.shared.lock().ends_at = Some(Instant::now() + LAST_WAIT);
        self.shipper.shared.changed.notify_one();
        // A thread that waits for the other end longer than that is left to end with the process.
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

/// Starts sending to `logger`, written as host:port, in the name of the replica at `from`.
pub(super) fn start(logger: String, from: SocketAddr) -> io::Result<Shipping> {
    let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
    let shipper = Shipper { shared: Arc::clone(&shared), head: format!("{{\"replica\":\"{from}\",").into() };
    let (ends, ended) = mpsc::channel();
    let thread = thread::Builder::new().name("concoord-logger".into());
    thread.spawn(move || {
        send_all(&shared, &logger);
        drop(ends);
    })?;
    Ok(Shipping { shipper, ended })
}

/// Until the process ends: connects, sends, and connects again.
fn send_all(shared: &Shared, logger: &str) {
    let mut pause = PAUSE_MIN;
    let mut told = false;
    while wait_for_lines(shared) {
        let connected = || (told, pause) = (announce(logger, told), PAUSE_MIN);
        match connect(logger).and_then(|stream| send(shared, stream, connected)) {
            Ok(()) => return,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("the logger at {logger} can't be reached, trying again: {error}");
                }
                if !rest(shared, pause) {
                    return;
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Says that an outage is over; gives that nothing is told of a new one.
fn announce(logger: &str, told: bool) -> bool {
    if told {
        tracing::info!("the logger at {logger} is reached again");
    }
    false
}

/// Waits until there is something to send; `false` when nothing will come any more.
fn wait_for_lines(shared: &Shared) -> bool {
    let mut queue = shared.lock();
    while queue.lines.is_empty() {
        if queue.ends_at.is_some() {
            return false;
        }
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.ends_at.is_none_or(|end| Instant::now() < end)
}

/// Waits before the next try; `false` when there is no time left for one.
fn rest(shared: &Shared, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    let mut queue = shared.lock();
    loop {
        let now = Instant::now();
        if queue.ends_at.is_some_and(|end| now >= end) {
            return false;
        }
        let until = queue.ends_at.map_or(until, |end| end.min(until));
        let Some(left) = until.checked_duration_since(now).filter(|left| !left.is_zero()) else { return true };
        // New lines wake it up too; they wait with the others.
        queue = shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn connect(logger: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in logger.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(WRITE_WAIT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends lines over a connection until the process ends. Lines of a batch that failed stay, so some may arrive twice.
fn send(shared: &Shared, mut stream: TcpStream, mut connected: impl FnMut()) -> io::Result<()> {
    connected();
    while wait_for_lines(shared) {
        let (batch, count) = next_batch(&shared.lock());
        if is_closed(&stream)? {
            return Err(io::Error::new(ErrorKind::ConnectionReset, "it closed the connection"));
        }
        stream.write_all(&batch)?;
        let mut queue = shared.lock();
        queue.bytes -= batch.len();
        queue.lines.drain(..count);
        let dropped = std::mem::take(&mut queue.dropped);
        drop(queue);
        if dropped > 0 {
            tracing::warn!(dropped, "lines were dropped: the logger did not take them in time");
        }
    }
    Ok(())
}

fn next_batch(queue: &Queue) -> (Vec<u8>, usize) {
    let mut batch = Vec::new();
    let mut count = 0;
    for line in &queue.lines {
        if count > 0 && batch.len() + line.len() > BATCH_BYTES {
            break;
        }
        batch.extend_from_slice(line);
        count += 1;
    }
    (batch, count)
}

/// Whether the other end has closed: what is sent then is lost without an error.
fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(bytes) => Ok(bytes == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 14000);

    /// How long anything may take that a test waits for.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn line(number: usize) -> Vec<u8> {
        format!("{{\"number\":{number}}}\n").into_bytes()
    }

    /// Waits until the queue is as wanted.
    fn wait_for_queue(shared: &Shared, what: &str, wanted: impl Fn(&Queue) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&shared.lock()) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The numbers in the lines that arrive at one connection until it ends.
    fn read_all(listener: &TcpListener) -> Vec<usize> {
        let (stream, _) = listener.accept().expect("a connection");
        let lines = BufReader::new(stream).lines().map(|line| line.expect("whole lines"));
        let number = |line: String| {
            let number = line
                .strip_prefix("{\"replica\":\"127.0.0.1:14000\",\"number\":")
                .and_then(|rest| rest.strip_suffix('}'));
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        lines.map(number).collect()
    }

    #[test]
    fn a_hundred_thousand_lines_arrive_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let shipping = start(listener.local_addr().expect("its address").to_string(), FROM).expect("a thread");
        let reader = thread::spawn(move || read_all(&listener));
        let mut shipper = shipping.shipper();
        for number in 0..100_000 {
            wait_for_queue(&shipper.shared, "room", |queue| queue.lines.len() <= LINES_MAX / 2);
            shipper.write_all(&line(number)).expect("it takes all");
        }
        drop(shipping);
        assert_eq!(reader.join().expect("it reads"), (0..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_logger_lines_are_dropped_and_nobody_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let nobody = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let shipping = start(nobody, FROM).expect("a thread");
        let mut shipper = shipping.shipper();
        let began = Instant::now();
        for number in 0..LINES_MAX + 1_000 {
            shipper.write_all(&line(number)).expect("it takes all");
        }
        let each = began.elapsed() / u32::try_from(LINES_MAX).expect("few");
        assert!(each < Duration::from_micros(20), "{each:?} for each line");
        let queue = shipper.shared.lock();
        assert_eq!((queue.lines.len(), queue.dropped), (LINES_MAX, 1_000));
    }

    #[test]
    fn a_logger_that_reads_nothing_keeps_nobody_waiting_not_even_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let shipping = start(listener.local_addr().expect("its address").to_string(), FROM).expect("a thread");
        let mut shipper = shipping.shipper();
        let long = [b"{\"text\":\"", &[b'a'; 1_000][..], b"\"}\n"].concat();
        shipper.write_all(&long).expect("it takes all");
        let (_stream, _) = listener.accept().expect("a connection");
        let (mut said, began) = (1_u32, Instant::now());
        // All buffers on the way are full when the queue is: the sender waits.
        while shipper.shared.lock().dropped < 1_000 {
            assert!(began.elapsed() < PATIENCE, "the queue is bounded");
            shipper.write_all(&long).expect("it takes all");
            said += 1;
        }
        let each = began.elapsed() / said;
        assert!(each < Duration::from_micros(20), "{each:?} for each line");
        assert!(shipper.shared.lock().bytes <= BYTES_MAX);
        let began = Instant::now();
        drop(shipping);
        let took = began.elapsed();
        assert!(took < LAST_WAIT + Duration::from_millis(500), "{took:?}");
    }

    #[test]
    fn a_logger_that_comes_back_gets_what_was_said_meanwhile() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shipping = start(address.to_string(), FROM).expect("a thread");
        let mut shipper = shipping.shipper();
        shipper.write_all(&line(1)).expect("it takes all");
        let (stream, _) = listener.accept().expect("a connection");
        let mut first = String::new();
        BufReader::new(&stream).read_line(&mut first).expect("a line");
        assert!(first.contains("\"number\":1"), "{first}");
        drop((stream, listener));
        shipper.write_all(&line(2)).expect("it takes all");
        shipper.write_all(&line(3)).expect("it takes all");
        let again = TcpListener::bind(address).expect("the same port");
        let reader = thread::spawn(move || read_all(&again));
        // It connects when there is something to say; then it may end.
        wait_for_queue(&shipper.shared, "all to be sent", |queue| queue.lines.is_empty());
        drop(shipping);
        assert_eq!(reader.join().expect("it reads"), [2, 3]);
    }
}
