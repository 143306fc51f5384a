//! Native objects in place of Wasm.

use super::*;

/// Counters that also misbehave on demand. The module's text says how loading and upgrading go.
#[derive(Debug, Default)]
pub(super) struct Native {
    pub(super) counters: BTreeMap<ObjectId, Counter>,
    /// See [`Objects::hurry`].
    pub(super) hurry: Option<u64>,
}

/// Gas that an input needs is drawn by its seed, below this.
pub(super) const GAS_MAX: u64 = 100;

#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    pub(super) value: i64,
    /// It traps when it is told of the end of a session.
    pub(super) is_deaf: bool,
    /// Every input that was kept, so that executing one twice shows.
    pub(super) inputs: Vec<Input>,
    /// The calls that wait here.
    pub(super) waiters: Vec<CallId>,
}

/// Position, time, seed, call and caller of one input.
pub(super) type Input = (Position, Timestamp, u64, Option<CallId>, Option<SessionId>);

impl Counter {
    fn run(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        let Invocation { position, now, seed, call, caller, trigger } = *invocation;
        self.inputs.push((position, now, seed, call, caller));
        if matches!(trigger, Trigger::SessionClosed { .. } | Trigger::Cancelled { .. }) && self.is_deaf {
            return Err(Fault::Trapped("what session?".into()));
        }
        match trigger {
            Trigger::SessionClosed { session } => self.waiters.retain(|waiter| waiter.session != session),
            Trigger::Cancelled { call } => self.waiters.retain(|waiter| *waiter != call),
            Trigger::Timer { token } => {
                self.value += i64::try_from(token).unwrap();
                return Ok(Outcome { answered: self.wake(), ..Outcome::default() });
            }
            Trigger::Init | Trigger::Call { .. } => {}
        }
        let Trigger::Call { method } = trigger else {
            return if arguments == b"bad" {
                Err(Fault::Trapped("no such start".into()))
            } else {
                Ok(Outcome::default())
            };
        };
        self.value += 1;
        let now = |answer| Outcome { reply: Reply::Now(answer), ..Outcome::default() };
        let value = || now(Answer::Returned(codec::to_bytes(&self.value)));
        match method {
            "add" | "read" | "extra" => Ok(value()),
            "fail" => Ok(now(Answer::Failed(b"why".to_vec()))),
            "reject" => Ok(now(Answer::Rejected(Rejection::Arguments("too few".into())))),
            "trap" | "read_trap" => Err(Fault::Trapped("overflow".into())),
            "garble" => Err(Fault::Misbehaved("not an outcome".into())),
            "wait" => {
                self.waiters.push(call.unwrap());
                Ok(Outcome { reply: Reply::Parked, ..Outcome::default() })
            }
            "wake" => {
                let outcome = value();
                Ok(Outcome { answered: self.wake(), ..outcome })
            }
            "alarm" => {
                let due = |after| Timestamp(invocation.now.0 + after);
                let timers = vec![Timer { token: 10, due: due(5000) }, Timer { token: 1, due: due(SECOND_US) }];
                Ok(Outcome { timers, ..value() })
            }
            "park" => Ok(Outcome { reply: Reply::Parked, ..Outcome::default() }),
            "mute" => Ok(Outcome::default()),
            "answer" => Ok(Outcome { answered: vec![(call.unwrap(), Answer::Returned(vec![]))], ..value() }),
            "emit" | "read_emit" => {
                let payload = codec::to_bytes(&self.value);
                let topic = if arguments.is_empty() { "t" } else { str::from_utf8(arguments).unwrap() }.into();
                Ok(Outcome { events: vec![Event { topic, payload }], ..value() })
            }
            "shout" => {
                let (topic, payload) = ("t".into(), vec![7; 900_000]);
                Ok(Outcome { events: vec![Event { topic, payload }], ..value() })
            }
            "timer" => Ok(Outcome { timers: vec![Timer { token: 1, due: Timestamp(9) }], ..value() }),
            "seed" => Ok(now(Answer::Returned(codec::to_bytes(&seed)))),
            "host" => Err(Fault::Host("no memory".into())),
            other => panic!("the registry let '{other}' through"),
        }
    }
}

impl Counter {
    /// Answers everybody who waits.
    fn wake(&mut self) -> Vec<(CallId, Answer)> {
        let value = codec::to_bytes(&self.value);
        self.waiters.drain(..).map(|waiter| (waiter, Answer::Returned(value.clone()))).collect()
    }
}

impl Native {
    fn has_time(&self, invocation: &Invocation<'_>) -> Result<(), Fault> {
        match self.hurry {
            Some(gas) if gas < invocation.seed % GAS_MAX => Err(Fault::Later),
            _ => Ok(()),
        }
    }
}

impl Objects for Native {
    fn hurry(&mut self, gas: Option<u64>) {
        self.hurry = gas;
    }

    fn load(&mut self, object: ObjectId, module: &[u8], _: ObjectLimits) -> Result<Bytes, Fault> {
        let interface = match module {
            b"refused" => return Err(Fault::Refused("has imports".into())),
            b"host" => return Err(Fault::Host("no memory".into())),
            b"garbled" => Bytes::from_static(b"\xff\xff\xff"),
            module => Bytes::from(codec::to_bytes(&interface_of(module))),
        };
        let counter = Counter { is_deaf: module == b"deaf", ..Counter::default() };
        assert!(self.counters.insert(object, counter).is_none(), "{object} is loaded already");
        Ok(interface)
    }

    fn upgrade(
        &mut self,
        object: ObjectId,
        module: &[u8],
        limits: ObjectLimits,
        switches: Switches<'_>,
    ) -> Result<Bytes, Fault> {
        if module == b"forgetful" {
            return Err(Fault::Refused("it does not import the state".into()));
        }
        let old = self.counters.remove(&object).unwrap();
        let loaded = self.load(object, module, limits);
        let switches = loaded.as_ref().is_ok_and(|interface| switches(interface));
        let is_deaf = if switches { self.counters[&object].is_deaf } else { old.is_deaf };
        self.counters.insert(object, Counter { is_deaf, ..old });
        loaded
    }

    fn invoke(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        self.has_time(invocation)?;
        let counter = self.counters.get_mut(&object).unwrap();
        let mut changed = counter.clone();
        let outcome = changed.run(invocation, arguments)?;
        accept(&outcome).map_err(Fault::Misbehaved)?;
        *counter = changed;
        Ok(outcome)
    }

    fn invoke_all(
        &mut self,
        inputs: &[crate::objects::Input<'_>],
        accept: &dyn Fn(usize, &Outcome) -> Result<(), String>,
    ) -> Result<Vec<Outcome>, (usize, Fault)> {
        let before = self.counters.clone();
        let run = |(index, input): (usize, &crate::objects::Input<'_>)| {
            let crate::objects::Input { object, invocation, arguments } = input;
            let accept = |outcome: &Outcome| accept(index, outcome);
            self.invoke(*object, invocation, arguments, &accept).map_err(|fault| (index, fault))
        };
        let outcomes: Result<Vec<Outcome>, (usize, Fault)> = inputs.iter().enumerate().map(run).collect();
        if outcomes.is_err() {
            self.counters = before;
        }
        outcomes
    }

    fn reinitialize(
        &mut self,
        object: ObjectId,
        invocation: &Invocation<'_>,
        arguments: &[u8],
        accept: Accept<'_>,
    ) -> Result<Outcome, Fault> {
        let mut fresh = Counter { is_deaf: self.counters[&object].is_deaf, ..Counter::default() };
        let outcome = match arguments {
            b"refuse" => Outcome { reply: Reply::Now(Answer::Failed(b"no".to_vec())), ..Outcome::default() },
            arguments => fresh.run(invocation, arguments)?,
        };
        accept(&outcome).map_err(Fault::Misbehaved)?;
        self.counters.insert(object, fresh);
        Ok(outcome)
    }

    fn query(&mut self, object: ObjectId, invocation: &Invocation<'_>, arguments: &[u8]) -> Result<Outcome, Fault> {
        self.has_time(invocation)?;
        self.counters[&object].clone().run(invocation, arguments)
    }

    fn remove(&mut self, object: ObjectId) {
        self.counters.remove(&object).unwrap();
    }

    fn freeze(&mut self, object: ObjectId) -> Result<Box<dyn Frozen>, Fault> {
        let counter = &self.counters[&object];
        Ok(Box::new(codec::to_bytes(&(counter.value, &counter.inputs, &counter.waiters))))
    }

    fn restore(&mut self, object: ObjectId, module: &[u8], limits: ObjectLimits, state: &[u8]) -> Result<Bytes, Fault> {
        let (value, inputs, waiters) = codec::from_bytes(state).map_err(|error| Fault::Refused(error.to_string()))?;
        let interface = self.load(object, module, limits)?;
        self.counters.insert(object, Counter { value, inputs, waiters, is_deaf: module == b"deaf" });
        Ok(interface)
    }

    fn state_hash(&mut self, object: ObjectId) -> Option<u64> {
        let counter = self.counters.get(&object)?;
        Some(Digest::new().with(&counter.value).with(&counter.inputs).with(&counter.waiters).finish())
    }
}

pub(super) fn interface() -> Interface {
    let method = |name: &str| Method {
        name: name.into(),
        doc: String::new(),
        kind: if matches!(name, "read" | "read_trap" | "read_emit" | "seed") {
            MethodKind::Query
        } else if name == "wait" {
            MethodKind::Waiting
        } else {
            MethodKind::Update
        },
        arguments: vec![],
        result: TypeIndex(0),
        error: None,
    };
    let names = [
        "add",
        "fail",
        "reject",
        "trap",
        "garble",
        "wait",
        "wake",
        "alarm",
        "park",
        "mute",
        "answer",
        "emit",
        "shout",
        "timer",
        "host",
        "read",
        "read_trap",
        "read_emit",
        "seed",
    ];
    Interface {
        name: "Counter".into(),
        version: "1.0.0".into(),
        doc: String::new(),
        types: vec![Type::I64],
        event: None,
        init: vec![],
        methods: names.into_iter().map(method).collect(),
    }
}

/// What the module of this text can do.
pub(super) fn interface_of(module: &[u8]) -> Interface {
    let mut interface = interface();
    match module {
        b"more" => interface.methods.push(Method { name: "extra".into(), ..interface.methods[0].clone() }),
        b"loud" => interface.event = Some(TypeIndex(0)),
        b"less" => drop(interface.methods.remove(0)),
        _ => {}
    }
    interface
}
