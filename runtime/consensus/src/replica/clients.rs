//! What clients ask: calls wait here for a slot and for their reply.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord_wire::client::{CallError, Consistency, Request, Response};
use concoord_wire::codec;
use concoord_wire::limits::{ARGUMENTS_BYTES_MAX, NAME_BYTES_MAX, PARTS_MAX};
use concoord_wire::objects::{ObjectAction, ObjectError};
use concoord_wire::value::Command;
use concoord_wire::version::ClusterVersion;
use concoord_wire::{CallId, SessionId, Slot, Timestamp};

use super::reads::Read;
use super::staging::Staging;
use super::trials::{Trials, Wanted};
use super::{Replica, Role};
use crate::io::{Applied, Ask, ClientToken, Completed, Effect, Query, Question};
use crate::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, PENDING_BYTES_MAX, PENDING_COMMANDS_MAX, SIGN_WAIT_US_MAX};
use crate::mutated;

/// Commands on their way into a slot, and who waits for what they come to.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pending: VecDeque<Command>,
    pending_bytes: usize,
    calls: BTreeMap<CallId, ClientToken>,
    opens: BTreeMap<u128, ClientToken>,
    /// Operators, each with its number of the request.
    pub(super) operators: BTreeMap<u128, (ClientToken, u64)>,
    staging: Staging,
    pub(super) trials: Trials,
    resumes: BTreeMap<u128, ClientToken>,
    keeps: BTreeMap<SessionId, ClientToken>,
    /// Sessions whose clients gave a sign that is not pending yet, and when the first of them did.
    signs: BTreeSet<SessionId>,
    signs_since_us: u64,
    /// Those who ever watched something.
    watchers: BTreeSet<ClientToken>,
    /// Slot of the last batch that the application was handed.
    pub(super) handed: Slot,
    /// Slot of the last batch that it has applied.
    applied: Slot,
    /// From which decided time on an empty batch has something to do, as of that slot.
    pub(super) due: Option<Timestamp>,
}

impl Clients {
    /// With an application that has the state of a snapshot.
    pub(super) fn above(base: Slot) -> Clients {
        // What is due then, the next batch tells.
        let due = (base > Slot::ZERO).then(Timestamp::default);
        Clients { handed: base, applied: base, due, ..Clients::default() }
    }

    /// The application is to take over a snapshot.
    pub(super) fn restart_above(&mut self, slot: Slot) {
        self.handed = slot;
    }

    pub(super) fn pending_is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// A client gave a sign of life, which waits for company.
    fn note_sign(&mut self, session: SessionId, now_us: u64) {
        if self.signs.is_empty() {
            self.signs_since_us = now_us;
        }
        self.signs.insert(session);
    }

    /// Signs of life become commands, once there are others or they have waited for long enough.
    pub(super) fn queue_signs(&mut self, now_us: u64) {
        if !self.pending.is_empty() || now_us >= self.signs_since_us + SIGN_WAIT_US_MAX {
            for session in std::mem::take(&mut self.signs) {
                self.push(Command::KeepAlive { session });
            }
        }
    }

    /// Up to where everything is applied, `decided` being known as decided: slots without a batch need no applying.
    pub(super) fn applied_of(&self, decided: Slot) -> Slot {
        if self.applied == self.handed { decided } else { self.applied }
    }

    pub(super) fn anybody_waits(&self) -> bool {
        let Clients { calls, opens, resumes, keeps, operators, .. } = self;
        !(calls.is_empty() && opens.is_empty() && resumes.is_empty() && keeps.is_empty() && operators.is_empty())
    }

    /// The next commands for one slot, in order; at least one if there is one.
    pub(super) fn take_batch(&mut self) -> Vec<Command> {
        let mut bytes = 0;
        let mut count = 0;
        for command in &self.pending {
            bytes += command_bytes(command);
            if count > 0 && (bytes > BATCH_BYTES_MAX || count == BATCH_COMMANDS_MAX) {
                break;
            }
            count += 1;
        }
        let batch: Vec<Command> = self.pending.drain(..count).collect();
        self.pending_bytes -= batch.iter().map(command_bytes).sum::<usize>();
        batch
    }

    /// Whether there is room for one more command.
    fn room(&self) -> Result<(), CallError> {
        let busy = |what: &str, limit: usize| CallError::Busy { what: what.into(), limit: limit as u64 };
        if self.pending.len() + self.signs.len() >= PENDING_COMMANDS_MAX {
            return Err(busy("the queue of commands", PENDING_COMMANDS_MAX));
        }
        if self.pending_bytes >= PENDING_BYTES_MAX {
            return Err(busy("the queue of command bytes", PENDING_BYTES_MAX));
        }
        Ok(())
    }

    pub(super) fn push(&mut self, command: Command) {
        self.pending_bytes += command_bytes(&command);
        self.pending.push_back(command);
    }
}

/// Roughly what a command takes in a batch.
fn command_bytes(command: &Command) -> usize {
    const FIXED: usize = 24;
    match command {
        Command::Call { method, arguments, .. } => FIXED + method.len() + arguments.len(),
        Command::Operate { action, .. } => FIXED + action.size(),
        Command::Atomically { parts, .. } => FIXED + parts.len(),
        Command::OpenSession { .. }
        | Command::ResumeSession { .. }
        | Command::KeepAlive { .. }
        | Command::CloseSession { .. }
        | Command::Cancel { .. }
        | Command::Version(_) => FIXED,
    }
}

impl Replica {
    pub(super) fn on_request(&mut self, client: ClientToken, request: Request) {
        if !matches!(request, Request::View { .. } | Request::Ping { .. })
            && let Some(why) = self.refuses_clients()
        {
            return self.refuse(client, request, why);
        }
        match request {
            Request::OpenSession { nonce, ttl_ms } => match self.admit(0, 0) {
                Ok(()) => {
                    note_newest(&mut self.clients.opens, nonce, client);
                    self.clients.push(Command::OpenSession { nonce, ttl_ms });
                }
                Err(error) => self.reply(client, Response::SessionOpened { nonce, result: Err(error) }),
            },
            Request::ResumeSession { session, secret, nonce } => match self.admit(0, 0) {
                Ok(()) => {
                    note_newest(&mut self.clients.resumes, nonce, client);
                    self.clients.push(Command::ResumeSession { session, secret, nonce });
                }
                Err(error) => self.reply(client, Response::SessionResumed { nonce, result: Err(error) }),
            },
            Request::KeepAlive { session } => {
                if self.admit(0, 0).is_ok() {
                    note_newest(&mut self.clients.keeps, session, client);
                    self.clients.note_sign(session, self.now.monotonic_us);
                }
            }
            Request::CloseSession { session } => {
                self.clients.keeps.remove(&session);
                if self.admit(0, 0).is_ok() {
                    self.clients.push(Command::CloseSession { session });
                }
            }
            Request::Call { call, floor, received, wait_us, object, method, arguments } => {
                match self.admit(method.len(), arguments.len()) {
                    Ok(()) => {
                        note_newest(&mut self.clients.calls, call, client);
                        self.clients.push(Command::Call { call, floor, received, wait_us, object, method, arguments });
                    }
                    Err(error) => self.reply(client, unanswered(call, error)),
                }
            }
            Request::Atomically { call, floor, received, parts } => {
                let name_bytes = parts.iter().map(|part| part.method.len()).max().unwrap_or(0);
                let argument_bytes = parts.iter().map(|part| part.arguments.len()).sum();
                let admitted = self.admit(name_bytes, argument_bytes);
                match admitted.and_then(|()| within("calls as one", parts.len(), PARTS_MAX)) {
                    Ok(()) => {
                        note_newest(&mut self.clients.calls, call, client);
                        let parts = codec::to_bytes(&parts).into();
                        self.clients.push(Command::Atomically { call, floor, received, parts });
                    }
                    Err(error) => self.reply(client, unanswered(call, error)),
                }
            }
            Request::Cancel { call } => {
                // Who asked this of nobody who leads asks again when the call was refused.
                if self.admit(0, 0).is_ok() {
                    self.clients.push(Command::Cancel { call });
                }
            }
            Request::Query { request, object, method, arguments, consistency } => {
                let query = Query { client, request, object, method, arguments, consistency };
                match within_limits(query.method.len(), query.arguments.len()) {
                    Ok(()) if self.is_fresh_enough(consistency) => self.effects.push(Effect::Query(query)),
                    Ok(()) => self.read(Read::Query(query)),
                    Err(error) => self.reply(client, Response::Queried { request, result: Err(error) }),
                }
            }
            Request::Describe { request, name, consistency } => {
                self.ask(Question { client, request, ask: Ask::Describe { name } }, consistency);
            }
            Request::Watch { request, object, topic, after } => {
                self.clients.watchers.insert(client);
                // To know where the present is takes a round; to wait for what comes behind a position does not.
                let consistency = if after.is_some() { Consistency::Stale } else { Consistency::Linearizable };
                self.ask(Question { client, request, ask: Ask::Watch { object, topic, after } }, consistency);
            }
            Request::Unwatch { request } => {
                let ask = Ask::Unwatch { request: Some(request) };
                self.effects.push(Effect::Ask(Question { client, request, ask }));
            }
            Request::Sessions { request, after, consistency } => {
                self.ask(Question { client, request, ask: Ask::Sessions { after } }, consistency);
            }
            Request::Objects { request, name, consistency } => {
                self.ask(Question { client, request, ask: Ask::Objects { name } }, consistency);
            }
            Request::Stage { request, offset, data } => {
                let result = self.admit(0, 0).map_err(ObjectError::from);
                let result = result.and_then(|()| self.clients.staging.add(client, offset, &data));
                self.reply(client, Response::Staged { request, result });
            }
            Request::Operate { request, nonce, mut action } => match self.admit_action(client, &mut action) {
                Ok(()) => match action.module().cloned() {
                    Some(module) => self.try_out(client, request, module, Wanted::Operate { nonce, action }),
                    None => {
                        note_newest(&mut self.clients.operators, nonce, (client, request));
                        self.clients.push(Command::Operate { nonce, action });
                    }
                },
                Err(error) => self.reply(client, Response::Operated { request, result: Err(error) }),
            },
            Request::Try { request, object, module, limits } => {
                let admitted = self.admit(0, 0).map_err(ObjectError::from);
                match admitted.and_then(|()| self.clients.staging.take(client, module)) {
                    Ok(module) => {
                        let wanted = Wanted::Try { object, module: module.clone(), limits };
                        self.try_out(client, request, module, wanted);
                    }
                    Err(error) => self.reply(client, Response::Operated { request, result: Err(error) }),
                }
            }
            Request::Administer { request, action } => self.on_administer(client, request, action),
            Request::Backup { request, slot: Some(slot), offset } => {
                self.effects.push(Effect::Backup { client, request, slot, offset });
            }
            Request::Backup { request, slot: None, .. } => self.read(Read::Backup { client, request }),
            Request::View { request } => {
                let roster = self.roster();
                self.reply(client, Response::View { request, roster });
            }
            Request::Ping { request } => self.reply(client, Response::Pong { request }),
        }
    }

    pub(super) fn ask(&mut self, question: Question, consistency: Consistency) {
        if self.is_fresh_enough(consistency) {
            self.effects.push(Effect::Ask(question));
        } else {
            self.read(Read::Ask(question));
        }
    }

    /// Whether an action may wait for its slot; then it has its whole module.
    fn admit_action(&mut self, client: ClientToken, action: &mut ObjectAction) -> Result<(), ObjectError> {
        let (name_bytes, argument_bytes) = match action {
            ObjectAction::Load { name, arguments, .. } => (name.len(), arguments.len()),
            _ => (0, 0),
        };
        self.admit(name_bytes, argument_bytes)?;
        if let Some(module) = action.module() {
            *module = self.clients.staging.take(client, std::mem::take(module))?;
        }
        Ok(())
    }

    /// Why this replica serves nobody, if so.
    fn refuses_clients(&self) -> Option<String> {
        if self.policy.witness {
            return Some("it is a witness and runs no objects".into());
        }
        self.quarantined().filter(|_| !mutated!(QuarantinedServes))
    }

    /// Whoever asks for an object is sent elsewhere.
    fn refuse(&mut self, client: ClientToken, request: Request, why: String) {
        let error = || self.not_leader();
        let elsewhere = || CallError::NotServing { why: why.clone() };
        let response = match request {
            Request::OpenSession { nonce, .. } => Response::SessionOpened { nonce, result: Err(error()) },
            Request::ResumeSession { nonce, .. } => Response::SessionResumed { nonce, result: Err(error()) },
            Request::Call { call, .. } | Request::Atomically { call, .. } => unanswered(call, error()),
            Request::Watch { request, .. } => Response::Watched { request, result: Err(elsewhere()) },
            Request::Sessions { request, .. } => Response::Sessions { request, result: Err(elsewhere()) },
            Request::Query { request, .. } => Response::Queried { request, result: Err(elsewhere()) },
            Request::Describe { request, .. } => Response::Described { request, result: Err(elsewhere()) },
            Request::Objects { request, .. } => Response::Objects { request, result: Err(elsewhere()) },
            Request::Stage { request, .. } => Response::Staged { request, result: Err(error().into()) },
            Request::Operate { request, .. } | Request::Try { request, .. } => {
                Response::Operated { request, result: Err(error().into()) }
            }
            Request::Backup { request, slot: None, .. } => Response::Backup { request, result: Err(error()) },
            Request::Backup { request, slot: Some(_), .. } if !self.policy.witness => {
                Response::Backup { request, result: Err(elsewhere()) }
            }
            Request::Backup { request, slot: Some(slot), offset } => {
                return self.effects.push(Effect::Backup { client, request, slot, offset });
            }
            Request::Administer { request, action } => return self.on_administer(client, request, action),
            Request::View { .. } | Request::Ping { .. } => unreachable!("answered by every replica"),
            Request::KeepAlive { .. }
            | Request::CloseSession { .. }
            | Request::Cancel { .. }
            | Request::Unwatch { .. } => return,
        };
        self.reply(client, response);
    }

    /// The connection is gone. What it asked for is decided all the same; the driver drops replies to it.
    pub(super) fn on_client_gone(&mut self, client: ClientToken) {
        self.reads.forget_client(client);
        self.forget_backups(client);
        self.clients.keeps.retain(|_, keeper| *keeper != client);
        if self.clients.watchers.remove(&client) {
            self.effects.push(Effect::Ask(Question { client, request: 0, ask: Ask::Unwatch { request: None } }));
        }
        self.clients.staging.forget(client);
        self.clients.trials.forget(client);
    }

    pub(super) fn on_operate(&mut self, nonce: u128, action: ObjectAction) {
        if self.takes_commands() {
            self.clients.push(Command::Operate { nonce, action });
        }
    }

    /// The application is done with a slot: whoever waits is told.
    pub(super) fn on_applied(&mut self, applied: Applied) {
        self.clients.applied = applied.slot;
        self.clients.due = applied.due;
        self.versions.note_version(applied.version);
        // What a wrong state comes to says nothing.
        if let Some(check) = applied.check.filter(|_| self.differs().is_none()) {
            self.checks.note_own(check);
        }
        let refuses = self.refuses_clients();
        for (client, mut response) in applied.watched {
            if let (Response::Watched { result, .. }, Some(why)) = (&mut response, refuses.clone()) {
                *result = Err(CallError::NotServing { why });
            }
            self.reply(client, response);
        }
        for completed in applied.replies {
            let (client, response) = match completed {
                Completed::Call { call, result, waited } => {
                    (self.clients.calls.remove(&call), Response::Called { call, result, waited })
                }
                // Its answer is still to come.
                Completed::Parked { call } => (self.clients.calls.get(&call).copied(), Response::Parked { call }),
                Completed::Session { nonce, result } => {
                    (self.clients.opens.remove(&nonce), Response::SessionOpened { nonce, result })
                }
                Completed::Operated { nonce, result } => {
                    let Some((client, request)) = self.clients.operators.remove(&nonce) else { continue };
                    (Some(client), Response::Operated { request, result })
                }
                Completed::Resumed { nonce, result } => {
                    (self.clients.resumes.remove(&nonce), Response::SessionResumed { nonce, result })
                }
                Completed::Kept { session } => (self.clients.keeps.remove(&session), Response::SessionKept { session }),
                Completed::Gone { session } => (self.clients.keeps.remove(&session), Response::SessionGone { session }),
            };
            if let Some(client) = client {
                self.reply(client, response);
            }
        }
    }

    pub(super) fn on_restored(&mut self, slot: Slot, version: ClusterVersion) {
        self.versions.note_version(version);
        self.clients.applied = slot;
        // The next batch tells.
        self.clients.due = Some(Timestamp::default());
        self.checks.restart_above(slot);
        self.end_quarantine(slot);
    }

    pub(super) fn reply(&mut self, client: ClientToken, response: Response) {
        self.effects.push(Effect::Reply { client, response });
    }

    /// Everybody who waits is sent elsewhere: this replica does not lead any more.
    pub(super) fn fail_clients(&mut self) {
        let (handed, applied, due) = (self.clients.handed, self.clients.applied, self.clients.due);
        let watchers = std::mem::take(&mut self.clients.watchers);
        // What is being tried is answered when that has ended.
        let trials = std::mem::take(&mut self.clients.trials);
        let fresh = Clients { handed, applied, due, watchers, trials, ..Clients::default() };
        let Clients { calls, opens, resumes, operators, .. } = std::mem::replace(&mut self.clients, fresh);
        for (call, client) in calls {
            let error = self.not_leader();
            self.reply(client, unanswered(call, error));
        }
        for (nonce, client) in opens {
            let result = Err(self.not_leader());
            self.reply(client, Response::SessionOpened { nonce, result });
        }
        for (nonce, client) in resumes {
            let result = Err(self.not_leader());
            self.reply(client, Response::SessionResumed { nonce, result });
        }
        for (client, request) in operators.into_values() {
            let result = Err(self.not_leader().into());
            self.reply(client, Response::Operated { request, result });
        }
    }

    /// A candidate that inherited clients and did not win in time lets them go.
    pub(super) fn fail_inherited_clients(&mut self) {
        if matches!(&self.role, Role::Candidate(candidate) if candidate.inherits) {
            self.fail_clients();
        }
    }

    pub(super) fn not_leader(&self) -> CallError {
        let leader = self.leader().filter(|leader| *leader != self.node);
        CallError::NotLeader { leader: leader.and_then(|leader| Some(self.view.members.get(&leader)?.address)) }
    }

    /// Whether commands may wait here: this replica leads, or is about to go on leading in the next view.
    fn takes_commands(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Candidate(candidate) => candidate.inherits,
            Role::Follower => false,
        }
    }

    pub(super) fn admit(&self, name_bytes: usize, argument_bytes: usize) -> Result<(), CallError> {
        if !self.takes_commands() {
            return Err(self.not_leader());
        }
        if self.disk_full {
            return Err(CallError::NotServing { why: "its disk is full, and nobody else leads yet".into() });
        }
        within_limits(name_bytes, argument_bytes)?;
        self.clients.room()
    }
}

/// A call that was not executed here.
fn unanswered(call: CallId, error: CallError) -> Response {
    Response::Called { call, result: Err(error), waited: false }
}

/// Notes who waits. A retry came over a newer connection than the first try, even where the driver reads it first.
pub(super) fn note_newest<K: Ord, C: Ord + Copy>(waiting: &mut BTreeMap<K, C>, what: K, client: C) {
    let known = waiting.entry(what).or_insert(client);
    *known = client.max(*known);
}

fn within(what: &str, size: usize, limit: usize) -> Result<(), CallError> {
    if size <= limit {
        return Ok(());
    }
    Err(CallError::TooLarge { what: what.into(), size: size as u64, limit: limit as u64 })
}

fn within_limits(name_bytes: usize, argument_bytes: usize) -> Result<(), CallError> {
    within("a name", name_bytes, NAME_BYTES_MAX)?;
    within("arguments", argument_bytes, ARGUMENTS_BYTES_MAX)
}
