//! Questions to a name server at a steady rate from many addresses of this machine, and what comes back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_server::proto::rr::{Name, RecordType};

/// From one look at what is due to the next.
const TICK: Duration = Duration::from_millis(1);
/// How long answers are waited for after the last question.
const LAST_WAIT: Duration = Duration::from_millis(300);
/// Questions that are made beforehand; half of them are about names that nobody has.
const QUESTIONS: u32 = 4_096;
/// Bytes of an answer over UDP at most.
const ANSWER_BYTES_MAX: usize = 4_096;

/// A flood that is about to be sent.
#[derive(Debug)]
pub struct Flood {
    /// Each with an address of its own.
    sockets: Vec<UdpSocket>,
    questions: Vec<Vec<u8>>,
}

/// What was sent and what came of it. Bytes are those of DNS messages, without the headers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flooded {
    /// Questions that were sent.
    pub questions: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Answers that say something.
    pub answers: u64,
    /// Answers that say only that TCP would be answered.
    pub truncated: u64,
    /// Bytes of both.
    pub bytes_out: u64,
    /// From the first question to the last.
    pub time: Duration,
}

impl Flooded {
    /// Bytes out for each byte in.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.bytes_out as f64 / self.bytes_in as f64
    }

    /// Questions a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.questions as f64 / self.time.as_secs_f64()
    }
}

impl Flood {
    /// From `sources`, about what `domain` holds and what it does not.
    ///
    /// # Panics
    /// When a source is no address of this machine.
    #[must_use]
    pub fn new(sources: impl Iterator<Item = Ipv4Addr>, domain: &str) -> Flood {
        let bind = |source| {
            let socket = UdpSocket::bind((source, 0)).unwrap_or_else(|error| panic!("can't bind {source}: {error}"));
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            socket
        };
        let services = format!("_concoord._tcp.{domain}");
        let question = |number: u32| {
            let nobody = format!("{:08x}.{domain}", number.wrapping_mul(0x9e37_79b1));
            let (name, kind) = match number % 12 {
                0 => (domain, RecordType::ANY),
                1 => (domain, RecordType::TXT),
                2 => (&services[..], RecordType::SRV),
                3 => (domain, RecordType::NS),
                4 => (domain, RecordType::A),
                5 => (domain, RecordType::SOA),
                6 => (&nobody[..], RecordType::ANY),
                _ => (&nobody[..], RecordType::A),
            };
            question(name, kind, (number / 12).is_multiple_of(2))
        };
        let sockets = sources.map(bind).collect();
        Flood { sockets, questions: (0..QUESTIONS).map(question).collect() }
    }

    /// Asks `server` so many questions a second for `time`. What is late is made up for, so the rate is met unless the
    /// machine can't do it at all.
    ///
    /// # Panics
    /// When nothing can be sent.
    #[must_use]
    pub fn send(&self, server: SocketAddr, per_second: u32, time: Duration) -> Flooded {
        let mut flooded = Flooded::default();
        let began = Instant::now();
        let mut turns = self.sockets.iter().cycle().zip(self.questions.iter().cycle());
        loop {
            let elapsed = began.elapsed().min(time);
            let due = (elapsed.as_secs_f64() * f64::from(per_second)) as u64;
            while flooded.questions < due {
                let (socket, question) = turns.next().expect("they go round");
                receive(socket, &mut flooded);
                let sent = socket.send_to(question, server).expect("loopback takes it");
                flooded.questions += 1;
                flooded.bytes_in += sent as u64;
            }
            if elapsed == time {
                break;
            }
            thread::sleep(TICK);
        }
        flooded.time = began.elapsed();
        thread::sleep(LAST_WAIT);
        self.sockets.iter().for_each(|socket| receive(socket, &mut flooded));
        flooded
    }
}

/// A question as it is sent; with EDNS if large answers are welcome.
///
/// # Panics
/// When `name` is none.
#[must_use]
pub fn question(name: &str, kind: RecordType, large: bool) -> Vec<u8> {
    let name = Name::from_ascii(format!("{name}.")).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name, kind));
    if large {
        let mut edns = Edns::new();
        edns.set_max_payload(u16::MAX);
        question.set_edns(edns);
    }
    question.to_vec().expect("a question is small")
}

/// Whether an answer says that it is not all.
///
/// # Panics
/// When it is no answer at all.
#[must_use]
pub fn is_truncated(answer: &[u8]) -> bool {
    let answer = Message::from_vec(answer).expect("an answer is well formed");
    assert_eq!(answer.message_type, MessageType::Response);
    answer.truncation
}

/// Takes what came back to a socket.
fn receive(socket: &UdpSocket, flooded: &mut Flooded) {
    let mut answer = [0; ANSWER_BYTES_MAX];
    loop {
        match socket.recv(&mut answer) {
            Ok(bytes) => {
                flooded.bytes_out += bytes as u64;
                *(if is_truncated(&answer[..bytes]) { &mut flooded.truncated } else { &mut flooded.answers }) += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("answers can't be received: {error}"),
        }
    }
}
