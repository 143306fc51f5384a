//! Samples: at least one of each variant, with numbers that need more than one byte and text beyond ASCII.

use std::net::SocketAddr;

use bytes::Bytes;
use concoord_wire::abi::{
    Answer, Event, Invocation, LimitKind, LimitReached, ObjectLimits, Outcome, Rejection, Reply, Timer, Trigger,
};
use concoord_wire::check::{Check, Checked};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::{
    Abort, Action, AdministerError, BackupPiece, CallError, Consistency, Description, EmittedEvent, Events, Part,
    Request, Response, SessionList, SessionState,
};
use concoord_wire::compatibility::{Change, Difference, Types};
use concoord_wire::hello::{Hello, HelloReply, Refusal};
use concoord_wire::interface::{Argument, Interface, Method, MethodKind, Payload, Type, TypeIndex, Variant};
use concoord_wire::join::{JoinRefusal, JoinReply, JoinRequest, RetryReason, Welcome};
use concoord_wire::member::{Member, PluginState, Role, Roster, RosterMember, Services, Standing, View};
use concoord_wire::objects::{LoadFailure, ObjectAction, ObjectError, ObjectList, ObjectState, Operated};
use concoord_wire::peer::{AcceptedValue, Heartbeat, Message, PeerFrame};
use concoord_wire::record::{GroupRecord, Record};
use concoord_wire::value::{Batch, Command, Removal, Value, ViewChange, ViewCommand};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{
    Ballot, CallId, ClusterId, ModuleHash, NodeId, ObjectId, Position, SessionId, Slot, Timestamp, ViewId,
};

use super::{GROUP, variants};

const CLUSTER: ClusterId = ClusterId(u128::MAX - 77);
const NODE: NodeId = NodeId(0xfedc_ba98_7654_3210);
const SLOT: Slot = Slot(1 << 40);
const SESSION: SessionId = SessionId { slot: Slot(70_000), index: 513 };
const CALL: CallId = CallId { session: SESSION, sequence: 1 << 33 };
const BALLOT: Ballot = Ballot { view: ViewId(200), round: 300, leader: NODE };

const POSITION: Position = Position((2 << 48) + 70_000);

fn parts() -> Vec<Part> {
    vec![Part { object: ObjectId(500), method: "zähle".into(), arguments: bytes() }]
}

fn events() -> Events {
    Events {
        events: vec![EmittedEvent { revision: POSITION, topic: "müll".into(), payload: bytes() }],
        upto: Position(POSITION.0 + 300),
    }
}

fn session_list() -> SessionList {
    let session = SessionState {
        session: SESSION,
        ttl_ms: 60_000,
        heard: Timestamp(1_700_000_000_000_000),
        waiting: 300,
        kept: 4096,
        objects: 200,
    };
    SessionList { now: Timestamp(1_700_000_001_000_000), sessions: vec![session], more: true }
}

fn v4() -> SocketAddr {
    "127.0.0.1:14000".parse().expect("an address")
}

fn v6() -> SocketAddr {
    "[fe80::17]:14001".parse().expect("an address")
}

fn bytes() -> Bytes {
    Bytes::from_static(&[0, 1, 127, 128, 255])
}

pub(crate) fn hellos() -> Vec<Hello> {
    vec![
        Hello { versions: (1, 999), cluster: None, node: None, life: 0 },
        Hello { versions: (1, 1), cluster: Some(CLUSTER), node: Some((NODE, v6())), life: u64::MAX },
    ]
}

pub(crate) fn hello_replies() -> Vec<HelloReply> {
    let refusals = variants!(Refusal: Version, OtherCluster, Full; vec![
        Refusal::Version { min: 2, max: 300 },
        Refusal::OtherCluster { expected: CLUSTER, actual: ClusterId(3) },
        Refusal::Full { limit: 1000 },
    ]);
    let mut replies = vec![
        HelloReply::Welcome { version: 1, cluster: Some(CLUSTER), node: NODE },
        HelloReply::Welcome { version: 1, cluster: None, node: NODE },
    ];
    replies.extend(refusals.into_iter().map(HelloReply::Refused));
    variants!(HelloReply: Welcome, Refused; replies)
}

pub(crate) fn requests() -> Vec<Request> {
    let levels = variants!(Consistency: Linearizable, Stale, Bounded; vec![
        Consistency::Linearizable, Consistency::Stale, Consistency::Bounded { staleness_us: 5_000_000 },
    ]);
    let mut requests = vec![
        Request::OpenSession { nonce: u128::MAX / 3, ttl_ms: 60_000 },
        Request::KeepAlive { session: SESSION },
        Request::CloseSession { session: SESSION },
        Request::Call {
            call: CALL,
            floor: 900,
            received: Some(300),
            wait_us: 5_000_000,
            object: ObjectId(500),
            method: "zähle".into(),
            arguments: bytes(),
        },
        Request::Cancel { call: CALL },
        Request::ResumeSession { session: SESSION, secret: u128::MAX / 5, nonce: u128::MAX / 9 },
        Request::Atomically { call: CALL, floor: 900, received: None, parts: parts() },
        Request::Watch { request: 200, object: ObjectId(500), topic: Some("müll".into()), after: Some(POSITION) },
        Request::Watch { request: 200, object: ObjectId(500), topic: None, after: None },
        Request::Unwatch { request: 200 },
        Request::Sessions { request: 300, after: Some(SESSION), consistency: Consistency::Linearizable },
        Request::Describe { request: 4000, name: None, consistency: Consistency::Stale },
        Request::Describe { request: 4000, name: Some("counter".into()), consistency: Consistency::Linearizable },
        Request::View { request: u64::MAX },
        Request::Ping { request: 0 },
    ];
    let actions =
        variants!(Action: Remove, Evict, Leave; vec![Action::Remove(NODE), Action::Evict(NODE), Action::Leave]);
    requests.extend(actions.into_iter().map(|action| Request::Administer { request: 300, action }));
    requests.push(Request::Stage { request: 8, offset: 1 << 20, data: bytes() });
    let operate = |action| Request::Operate { request: 9, nonce: u128::MAX / 7, action };
    requests.extend(object_actions().into_iter().map(operate));
    let limits = Some(ObjectLimits { gas_per_call: 1 << 50, memory_pages: 4097 });
    requests.push(Request::Try { request: 10, object: ObjectId(300), module: bytes(), limits });
    let name = Some("zähler".into());
    requests.push(Request::Objects { request: 11, name, consistency: Consistency::Linearizable });
    requests.push(Request::Objects { request: 11, name: None, consistency: Consistency::Stale });
    requests.push(Request::Backup { request: 5, slot: None, offset: 0 });
    requests.push(Request::Backup { request: 5, slot: Some(SLOT), offset: 1 << 33 });
    requests.extend(levels.into_iter().map(|consistency| Request::Query {
        request: 200,
        object: ObjectId(1),
        method: "getvalue".into(),
        arguments: Bytes::new(),
        consistency,
    }));
    variants!(Request:
        OpenSession, KeepAlive, CloseSession, Call, Cancel, Query, Describe, Administer, Stage, Operate, Try, Objects, Backup,
        View, Ping, ResumeSession, Atomically, Watch, Unwatch, Sessions;
        requests
    )
}

pub(crate) fn responses() -> Vec<Response> {
    let mut responses = vec![
        Response::SessionOpened { nonce: 12, result: Ok(SESSION) },
        Response::SessionGone { session: SESSION },
        Response::SessionKept { session: SESSION },
        Response::SessionResumed { nonce: 12, result: Ok(1 << 32) },
        Response::Watched { request: 200, result: Ok(events()) },
        Response::Sessions { request: 300, result: Ok(session_list()) },
        Response::Parked { call: CALL },
        Response::Queried { request: 300, result: Err(CallError::NotLeader { leader: None }) },
        Response::Described {
            request: 1,
            result: Ok(Description {
                object: ObjectId(1),
                name: "counter".into(),
                interface: bytes(),
                loaded: SLOT,
                generation: 300,
            }),
        },
        Response::View { request: 1, roster: roster() },
        Response::Pong { request: 129 },
    ];
    let piece = BackupPiece { slot: SLOT, total: 1 << 34, offset: 1 << 33, data: bytes() };
    responses.push(Response::Backup { request: 6, result: Ok(piece) });
    responses.push(Response::Administered { request: 7, result: Ok(ViewId(400)) });
    responses.push(Response::Staged { request: 8, result: Ok(1 << 22) });
    let operated = Operated { object: ObjectId(300), generation: 200, changes: changes(), more_changes: 1 << 9 };
    responses.push(Response::Operated { request: 9, result: Ok(operated) });
    responses.extend(object_errors().into_iter().map(|error| Response::Operated { request: 9, result: Err(error) }));
    responses.push(Response::Objects { request: 11, result: Ok(object_list()) });
    responses
        .extend(administer_errors().into_iter().map(|error| Response::Administered { request: 7, result: Err(error) }));
    responses.extend(answers().into_iter().map(|answer| Response::Called {
        call: CALL,
        result: Ok(answer),
        waited: true,
    }));
    responses.extend(call_errors().into_iter().map(|error| Response::Called {
        call: CALL,
        result: Err(error),
        waited: false,
    }));
    variants!(Response:
        SessionOpened, SessionGone, Called, Parked, Queried, Described, Administered, Staged, Operated, Objects, Backup, View,
        Pong, SessionKept, SessionResumed, Watched, Sessions;
        responses
    )
}

fn object_actions() -> Vec<ObjectAction> {
    let limits = ObjectLimits { gas_per_call: u64::MAX, memory_pages: u32::MAX };
    let object = ObjectId(300);
    variants!(ObjectAction: Load, Remove, Upgrade, Rollback, Resume; vec![
        ObjectAction::Load { name: "zähler".into(), module: bytes(), arguments: Bytes::new(), limits },
        ObjectAction::Remove { object },
        ObjectAction::Upgrade { object, based_on: 1 << 14, module: bytes(), limits: None, allow_breaking: true },
        ObjectAction::Upgrade { object, based_on: 1, module: bytes(), limits: Some(limits), allow_breaking: false },
        ObjectAction::Rollback { object, based_on: 129 },
        ObjectAction::Resume { object },
    ])
}

fn changes() -> Vec<Change> {
    let types = || Types { at: ".größe".into(), old: "u32".into(), new: "u64".into() };
    let differences = variants!(Difference:
        Removed, Kind, ArgumentAdded, ArgumentRemoved, ArgumentsReordered, ArgumentType, Result, Error, Event;
        vec![
            Difference::Removed,
            Difference::Kind { now: MethodKind::Update },
            Difference::ArgumentAdded { name: "a".into() },
            Difference::ArgumentRemoved { name: "a".into() },
            Difference::ArgumentsReordered,
            Difference::ArgumentType { name: "a".into(), types: types() },
            Difference::Result(types()),
            Difference::Error(types()),
            Difference::Event(types()),
        ]
    );
    differences.into_iter().map(|what| Change { method: "add".into(), what }).collect()
}

fn object_errors() -> Vec<ObjectError> {
    let name = String::from("counter");
    variants!(ObjectError:
        Call, NameTaken, TooMany, Refused, Breaking, OtherGeneration, NoPrevious, Piece;
        vec![
            ObjectError::Call(CallError::NotLeader { leader: Some(v4()) }),
            ObjectError::NameTaken { name: name.clone(), object: ObjectId(300) },
            ObjectError::TooMany { limit: 1024 },
            ObjectError::Refused { why: "it traps".into() },
            ObjectError::Breaking { changes: changes(), more: 300 },
            ObjectError::OtherGeneration { name: name.clone(), generation: 300, based_on: 299 },
            ObjectError::NoPrevious { name },
            ObjectError::Piece { offset: 1 << 20, expected: 0 },
        ]
    )
}

fn object_list() -> ObjectList {
    let object = |id, suspended: Option<String>| ObjectState {
        object: ObjectId(id),
        name: "counter".into(),
        interface_name: "Zähler".into(),
        interface_version: "1.0.0".into(),
        module: ModuleHash([0xab; 32]),
        module_bytes: 1 << 20,
        generation: 300,
        loaded: SLOT,
        changed: Slot(1 << 41),
        limits: ObjectLimits::default(),
        previous: suspended.is_some().then_some(ModuleHash([1; 32])),
        suspended,
        waiting: 300,
        versions: vec![ModuleHash([1; 32]), ModuleHash([2; 32])],
    };
    ObjectList {
        last: ObjectId(70_000),
        objects: vec![object(1, None), object(300, Some("a closed session trapped".into()))],
        failures: vec![LoadFailure { slot: SLOT, name: "bad".into(), why: "no module".into() }],
    }
}

fn administer_errors() -> Vec<AdministerError> {
    variants!(AdministerError: NotLeader, NoMember, UnderWay, NoMajority, Unknown; vec![
        AdministerError::NotLeader { leader: Some(v4()) },
        AdministerError::NoMember { member: NODE, view: ViewId(300) },
        AdministerError::UnderWay,
        AdministerError::NoMajority { member: NODE, voters: 4, live: 2 },
        AdministerError::Unknown,
    ])
}

fn answers() -> Vec<Answer> {
    let rejections = variants!(Rejection: UnknownMethod, Arguments; vec![
        Rejection::UnknownMethod,
        Rejection::Arguments("zu wenig für «add»".into()),
    ]);
    let mut answers = vec![Answer::Returned(vec![200; 300]), Answer::Failed(vec![])];
    answers.extend(rejections.into_iter().map(Answer::Rejected));
    variants!(Answer: Returned, Failed, Rejected; answers)
}

fn call_errors() -> Vec<CallError> {
    let (object, method) = (String::from("counter"), String::from("add"));
    let existing = vec!["a".into(), String::new()];
    variants!(CallError:
        NotLeader, Busy, TooLarge, UnknownObject, UnknownMethod, WrongKind, SessionGone, Acknowledged, Trapped,
        Misbehaved, LimitReached, Suspended, NotServing, WaitedInVain, Aborted, Compacted, Cancelled;
        vec![
            CallError::NotLeader { leader: Some(v4()) },
            CallError::Busy { what: "queue".into(), limit: 1 << 20 },
            CallError::TooLarge { what: "arguments".into(), size: 1 << 30, limit: 1 << 20 },
            CallError::UnknownObject { name: "x".into(), existing: existing.clone() },
            CallError::UnknownMethod { object: object.clone(), method: method.clone(), existing },
            CallError::WrongKind { object: object.clone(), method: method.clone(), is_query: true },
            CallError::SessionGone { session: SESSION },
            CallError::Acknowledged { call: CALL, floor: u64::MAX },
            CallError::Trapped { object: object.clone(), method: method.clone(), message: "overflow".into() },
            CallError::Misbehaved { object: object.clone(), method: method.clone(), why: "parked".into() },
            CallError::LimitReached {
                object: object.clone(),
                method: method.clone(),
                reached: LimitReached { what: LimitKind::Gas, limit: 1 },
            },
            CallError::Suspended { object: object.clone(), why: "a timer trapped".into() },
            CallError::NotServing { why: "not yet".into() },
            CallError::WaitedInVain { object: "lock".into(), wait_us: 5_000_000 },
            CallError::Cancelled { object: "lock".into() },
            CallError::Compacted { oldest: POSITION },
            CallError::Aborted {
                part: 300,
                object: object.clone(),
                method: method.clone(),
                why: Abort::Failed(vec![0, 128, 255]),
            },
            CallError::Aborted {
                part: 0,
                object: object.clone(),
                method: method.clone(),
                why: Abort::Error("es geht nicht — ü".into()),
            },
        ]
    )
    .into_iter()
    .chain(limits_reached().map(|reached| CallError::LimitReached {
        object: object.clone(),
        method: method.clone(),
        reached,
    }))
    .collect()
}

fn limits_reached() -> impl Iterator<Item = LimitReached> {
    let kinds = variants!(LimitKind:
        Gas, Depth, MemoryPages, OutcomeBytes, Answered, Events, Timers, LogLines;
        vec![
            LimitKind::Gas,
            LimitKind::Depth,
            LimitKind::MemoryPages,
            LimitKind::OutcomeBytes,
            LimitKind::Answered,
            LimitKind::Events,
            LimitKind::Timers,
            LimitKind::LogLines,
        ]
    );
    kinds.into_iter().map(|what| LimitReached { what, limit: u64::MAX })
}

fn roster() -> Roster {
    let roles = variants!(Role: Replica, Learner, Witness; vec![Role::Replica, Role::Learner, Role::Witness]);
    let member = |role| RosterMember {
        id: NODE,
        address: v6(),
        role,
        services: Services(u32::MAX),
        live: true,
        silent: true,
        volatile: true,
        full: true,
        differs: Some(SLOT),
        supports: Some(versions()),
    };
    Roster {
        cluster: CLUSTER,
        view: ViewId(300),
        leader: Some(NODE),
        members: roles.into_iter().map(member).collect(),
        revision: SLOT,
        decided: SLOT,
        reporter: NODE,
        version: Some(ClusterVersion(u16::MAX)),
        plugins: vec![
            PluginState { name: "dns".into(), published: Some(SLOT), left_to: None, failure: None },
            PluginState {
                name: "route53".into(),
                published: None,
                left_to: Some(NODE),
                failure: Some("no such zone".into()),
            },
        ],
    }
}

fn members() -> Vec<Member> {
    let standings = variants!(Standing: Voter, Learner; vec![
        Standing::Voter,
        Standing::Learner { replaces: None },
        Standing::Learner { replaces: Some(NODE) },
    ]);
    let member = |(id, standing)| Member {
        id: NodeId(id),
        address: v4(),
        services: Services::DNS,
        volatile: id == 2,
        standing,
        silent: id == 1,
        supports: versions(),
    };
    (1..).zip(standings).map(member).collect()
}

fn view() -> View {
    View { id: ViewId(300), expelled: [NODE, NodeId(3)].into(), ..View::first(members()) }
}

fn values() -> Vec<Value> {
    let reasons = variants!(Removal: Left, Evicted, Expelled; vec![Removal::Left, Removal::Evicted, Removal::Expelled]);
    let mut changes = vec![ViewChange::Add(members().remove(0)), ViewChange::Promote(NODE)];
    changes.extend(reasons.into_iter().map(|why| ViewChange::Remove { member: NODE, why }));
    let changes = variants!(ViewChange: Add, Promote, Remove; changes);
    let mut values = vec![Value::Noop, Value::Batch(bytes())];
    values.extend(changes.into_iter().map(|change| Value::View(ViewCommand { based_on: ViewId(129), change })));
    values.push(Value::Mark { view: ViewId(300), member: NODE, silent: true, services: Services::ROUTE53 });
    variants!(Value: Noop, Batch, View, Mark; values)
}

fn versions() -> Versions {
    Versions { first: ClusterVersion(300), last: ClusterVersion(u16::MAX) }
}

fn checked() -> Checked {
    let check = Check { slot: SLOT, replies: u64::MAX, state: 1 };
    Checked {
        view: ViewId(300),
        above: SLOT,
        own: vec![check, Check::default()],
        agreed: Some(check),
        differs: Some(SLOT),
    }
}

pub(crate) fn peer_frames() -> Vec<PeerFrame> {
    let accepted = values().into_iter().map(|value| AcceptedValue { slot: SLOT, ballot: BALLOT, value }).collect();
    let mut messages = vec![
        Message::Prepare { ballot: BALLOT, decided: SLOT },
        Message::Promise { ballot: BALLOT, decided: Slot::ZERO, accepted, unknown: vec![(Slot(1), SLOT)] },
        Message::Accepted { ballot: BALLOT, slot: SLOT },
        Message::Reject { promised: BALLOT, decided: SLOT },
        Message::Heartbeat(Heartbeat {
            round: 400,
            leading: Some(BALLOT),
            hears: None,
            connected: true,
            first: SLOT,
            decided: SLOT,
            full: true,
            checked: Some(checked()),
        }),
        Message::HeartbeatReply {
            round: 400,
            ballot: Some(BALLOT),
            decided: SLOT,
            applied: Slot(1),
            services: Services::DNS,
            supports: versions(),
        },
        Message::Fetch { from: SLOT },
        Message::Entries { first: SLOT, values: values(), decided: SLOT },
        Message::ReadIndex { request: 130 },
        Message::ReadIndexReply { request: 130, index: Some(SLOT) },
        Message::ReadIndexReply { request: 130, index: None },
        Message::AskSnapshot { above: SLOT, make: true },
        Message::SnapshotAt { slot: SLOT, bytes: 1 << 35 },
        Message::FetchSnapshot { slot: SLOT, offset: 1 << 34 },
        Message::SnapshotChunk { slot: SLOT, total: 1 << 35, offset: 1 << 34, checksum: u32::MAX, data: bytes() },
        Message::HandOver,
        Message::Leave,
        Message::Return { member: members().remove(0) },
    ];
    let accept = |value| Message::Accept { ballot: BALLOT, slot: SLOT, value, decided: Slot(5) };
    messages.extend(values().into_iter().map(accept));
    let messages = variants!(Message:
        Prepare, Promise, Accept, Accepted, Reject, Heartbeat, HeartbeatReply, Fetch, Entries, ReadIndex,
        ReadIndexReply, AskSnapshot, SnapshotAt, FetchSnapshot, SnapshotChunk, HandOver, Leave, Return;
        messages
    );
    messages.into_iter().map(|message| PeerFrame { from: NODE, to: NodeId(2), message }).collect()
}

pub(crate) fn join_requests() -> Vec<JoinRequest> {
    members().into_iter().map(|member| JoinRequest { member }).collect()
}

pub(crate) fn join_replies() -> Vec<JoinReply> {
    let reasons = variants!(RetryReason: NoLeader, Busy, AddressTaken; vec![
        RetryReason::NoLeader,
        RetryReason::Busy,
        RetryReason::AddressTaken { holder: NODE, address: v4() },
    ]);
    let refusals = variants!(JoinRefusal: Unreachable, Expelled, Minority, Version, Full; vec![
        JoinRefusal::Version { cluster: ClusterVersion(u16::MAX), supports: versions() },
        JoinRefusal::Expelled { member: NODE },
        JoinRefusal::Minority { kind: "witness".into() },
        JoinRefusal::Unreachable { address: v6(), why: "timed out".into() },
        JoinRefusal::Full { limit: 32 },
    ]);
    let members = vec![(NODE, v4()), (NodeId(1), v6())];
    let mut replies = vec![
        JoinReply::Accepted(Welcome { cluster: CLUSTER, genesis: view(), members }),
        JoinReply::Redirect { leader: v4() },
    ];
    replies.extend(reasons.into_iter().map(JoinReply::Retry));
    replies.extend(refusals.into_iter().map(JoinReply::Refused));
    variants!(JoinReply: Accepted, Redirect, Retry, Refused; replies)
}

pub(crate) fn checkpoint() -> Checkpoint {
    let stamp = Timestamp(1 << 50);
    Checkpoint { slot: SLOT, view_slot: Slot(300), stamp, ..Checkpoint::genesis(CLUSTER, view()) }
}

pub(crate) fn group_records() -> Vec<GroupRecord> {
    let mut records =
        vec![Record::Promised(BALLOT), Record::Decided(SLOT), Record::Void { first: Slot(1), last: SLOT }];
    records.extend(values().into_iter().map(|value| Record::Accepted { slot: SLOT, ballot: BALLOT, value }));
    let records = variants!(Record: Promised, Accepted, Decided, Void; records);
    records.into_iter().map(|record| GroupRecord { group: GROUP, record }).collect()
}

pub(crate) fn batch() -> Batch {
    let commands = variants!(Command: OpenSession, KeepAlive, CloseSession, Call, Operate, Version, Cancel, ResumeSession, Atomically; vec![
        Command::OpenSession { nonce: u128::MAX, ttl_ms: 60_000 },
        Command::KeepAlive { session: SESSION },
        Command::CloseSession { session: SESSION },
        Command::Call {
            call: CALL,
            floor: 7,
            received: None,
            wait_us: 1 << 20,
            object: ObjectId(1),
            method: "größer".into(),
            arguments: bytes(),
        },
        Command::Operate { nonce: u128::MAX / 9, action: object_actions().remove(0) },
        Command::Version(ClusterVersion(300)),
        Command::Cancel { call: CALL },
        Command::ResumeSession { session: SESSION, secret: u128::MAX / 5, nonce: u128::MAX / 9 },
        Command::Atomically { call: CALL, floor: 900, received: Some(300), parts: bytes() },
    ]);
    Batch { stamp: Timestamp(1 << 50), commands }
}

pub(crate) fn invocations() -> Vec<Invocation<'static>> {
    let triggers = variants!(Trigger: Init, Call, Cancelled, SessionClosed, Timer; vec![
        Trigger::Init,
        Trigger::Call { method: "größer" },
        Trigger::Cancelled { call: CALL },
        Trigger::SessionClosed { session: SESSION },
        Trigger::Timer { token: u64::MAX },
    ]);
    let invocation = |trigger| Invocation {
        position: Position(1 << 48),
        now: Timestamp(1 << 50),
        seed: u64::MAX - 1,
        call: Some(CALL),
        caller: None,
        trigger,
    };
    triggers.into_iter().map(invocation).collect()
}

pub(crate) fn outcomes() -> Vec<Outcome> {
    let mut replies = vec![Reply::None, Reply::Parked];
    replies.extend(answers().into_iter().map(Reply::Now));
    let replies = variants!(Reply: None, Now, Parked; replies);
    let outcome = |reply| Outcome {
        reply,
        answered: answers().into_iter().map(|answer| (CALL, answer)).collect(),
        events: vec![Event { topic: "held".into(), payload: vec![255; 3] }],
        timers: vec![Timer { token: 1 << 20, due: Timestamp(1 << 50) }],
        log: vec!["woke".into(), String::new()],
    };
    replies.into_iter().map(outcome).collect()
}

pub(crate) fn interface() -> Interface {
    let field = |name: &str, ty| Argument { name: name.into(), ty: TypeIndex(ty) };
    let variant = |name: &str, payload| Variant { name: name.into(), payload };
    let payloads = variants!(Payload: Unit, Newtype, Tuple, Struct; vec![
        Payload::Unit,
        Payload::Newtype(TypeIndex(0)),
        Payload::Tuple(vec![TypeIndex(0), TypeIndex(1)]),
        Payload::Struct(vec![field("a", 2)]),
    ]);
    let types = variants!(Type:
        Bool, I8, I16, I32, I64, I128, U8, U16, U32, U64, U128, F32, F64, Char, String, Bytes, Unit, Option, Seq,
        Tuple, Map, Struct, Enum;
        vec![
            Type::Bool, Type::I8, Type::I16, Type::I32, Type::I64, Type::I128, Type::U8, Type::U16, Type::U32,
            Type::U64, Type::U128, Type::F32, Type::F64, Type::Char, Type::String, Type::Bytes, Type::Unit,
            Type::Option(TypeIndex(3)),
            Type::Seq(TypeIndex(14)),
            Type::Tuple(vec![TypeIndex(0), TypeIndex(1)]),
            Type::Map { key: TypeIndex(14), value: TypeIndex(4) },
            Type::Struct { name: "Job".into(), fields: vec![field("x", 1), field("größe", 2)] },
            Type::Enum {
                name: "State".into(),
                variants: payloads.into_iter().map(|payload| variant("V", payload)).collect(),
            },
        ]
    );
    let kinds =
        variants!(MethodKind: Query, Update, Waiting; vec![MethodKind::Query, MethodKind::Update, MethodKind::Waiting]);
    let method = |(name, kind): (&str, MethodKind)| Method {
        name: name.into(),
        doc: "Tut etwas für Jobs.".into(),
        kind,
        arguments: vec![field("job", 21)],
        result: TypeIndex(16),
        error: (kind == MethodKind::Update).then_some(TypeIndex(22)),
    };
    Interface {
        name: "Jobs".into(),
        version: "1.2.3".into(),
        doc: String::new(),
        types,
        event: Some(TypeIndex(5)),
        init: vec![field("limit", 8)],
        methods: ["get", "put", "take"].into_iter().zip(kinds).map(method).collect(),
    }
}
