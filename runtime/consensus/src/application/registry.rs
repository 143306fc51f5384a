//! Which objects there are: names, modules, interfaces, what became of them, and the loads that failed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use concoord_wire::abi::{ObjectLimits, Trigger};
use concoord_wire::client::{CallError, Description};
use concoord_wire::interface::{Interface, InterfaceError, MethodKind};
use concoord_wire::limits::{MODULE_BYTES_MAX, NAME_BYTES_MAX};
use concoord_wire::objects::{LoadFailure, ObjectError, ObjectList, ObjectState};
use concoord_wire::{CallId, ModuleHash, ObjectId, SessionId, Slot};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::{
    LOAD_FAILURE_BYTES_MAX, LOAD_FAILURES_KEPT_MAX, NAMES_LISTED_MAX, OBJECTS_MAX, PARKED_MAX, SESSIONS_MAX,
    SUSPENSION_BYTES_MAX, TIMERS_OF_OBJECT_MAX, VERSIONS_KEPT_MAX,
};

/// All objects of the cluster.
#[derive(Debug, Default)]
pub(super) struct Registry {
    objects: BTreeMap<ObjectId, Object>,
    ids: BTreeMap<String, ObjectId>,
    last: ObjectId,
    failures: VecDeque<LoadFailure>,
}

/// One object as calls and operators find it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) history: History,
    pub(super) version: Version,
    /// What a rollback goes back to.
    pub(super) previous: Option<Version>,
    pub(super) described: Described,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) loaded: Slot,
    /// 1 when it was loaded, one more with each other version.
    pub(super) generation: u64,
    /// Slot of the last other version, or else of the load.
    pub(super) changed: Slot,
    /// The modules that it ever had, each once, oldest first: the newest [`VERSIONS_KEPT_MAX`].
    pub(super) versions: VecDeque<ModuleHash>,
    /// Why it is suspended.
    pub(super) suspended: Option<String>,
    /// What it is to be told when it goes on. While it is suspended nobody calls it, so this is no more than sessions were
    /// open, calls parked and timers set when that began.
    pub(super) untold: Vec<Untold>,
}

/// Something that an object could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Untold {
    /// The end of a session that called it.
    Session(SessionId),
    /// The end of a call that was parked.
    Call(CallId),
    /// A timer that was due.
    Timer(u64),
}

impl Untold {
    /// The input by which it is told, and by whose doing.
    pub(super) fn input(self) -> (Option<SessionId>, Trigger<'static>) {
        match self {
            Untold::Session(session) => (Some(session), Trigger::SessionClosed { session }),
            Untold::Call(call) => (Some(call.session), Trigger::Cancelled { call }),
            Untold::Timer(token) => (None, Trigger::Timer { token }),
        }
    }
}

/// What an object runs, and within which limits.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) module: Module,
    pub(super) limits: ObjectLimits,
}

/// A module as it was loaded. Objects of the same module share its bytes.
#[derive(Clone, Debug)]
pub(super) struct Module {
    bytes: Bytes,
    hash: ModuleHash,
}

/// What an object says of itself.
#[derive(Debug)]
pub(super) struct Described {
    /// All of it, encoded.
    pub(super) interface: Bytes,
    name: String,
    version: String,
    methods: BTreeMap<String, MethodKind>,
    /// Whether it may emit events.
    pub(super) emits: bool,
}

/// How a method runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) kind: MethodKind,
    /// Whether it may emit events.
    pub(super) emits: bool,
}

/// An object of a snapshot, to be restored.
pub(super) struct Entry {
    pub(super) id: ObjectId,
    pub(super) name: String,
    pub(super) history: History,
    pub(super) version: Version,
    pub(super) previous: Option<Version>,
}

/// An object in a snapshot; modules are numbered.
#[derive(Serialize, Deserialize)]
struct Written {
    id: ObjectId,
    name: String,
    history: History,
    version: (usize, ObjectLimits),
    previous: Option<(usize, ObjectLimits)>,
}

/// The hash of a module, by which versions are told apart.
#[must_use]
pub fn module_hash(module: &[u8]) -> ModuleHash {
    ModuleHash(Sha256::digest(module).into())
}

impl Module {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn new(bytes: &[u8]) -> Module {
        Module { hash: module_hash(bytes), bytes: Bytes::copy_from_slice(bytes) }
    }
}

impl History {
    pub(super) fn begin(slot: Slot, version: &Version) -> History {
        History {
            loaded: slot,
            generation: 1,
            changed: slot,
            versions: [version.module.hash].into(),
            suspended: None,
            untold: Vec::new(),
        }
    }

    /// Another version took over.
    fn go_on(&mut self, slot: Slot, version: &Version) {
        self.generation += 1;
        self.changed = slot;
        if !self.versions.contains(&version.module.hash) {
            if self.versions.len() == VERSIONS_KEPT_MAX {
                self.versions.pop_front();
            }
            self.versions.push_back(version.module.hash);
        }
    }

    /// It runs again: gives what it is to be told.
    pub(super) fn resume(&mut self) -> Vec<Untold> {
        self.suspended = None;
        std::mem::take(&mut self.untold)
    }
}

impl Described {
    /// Reads an encoded interface.
    ///
    /// # Errors
    /// As [`Interface::decode`].
    pub(super) fn read(interface: Bytes) -> Result<Described, InterfaceError> {
        let Interface { name, version, methods, event, .. } = Interface::decode(&interface)?;
        let methods = methods.into_iter().map(|method| (method.name, method.kind)).collect();
        let (name, version) = (cut(name, NAME_BYTES_MAX), cut(version, NAME_BYTES_MAX));
        Ok(Described { interface, name, version, methods, emits: event.is_some() })
    }
}

impl Object {
    /// Another version takes over.
    pub(super) fn go_on(&mut self, slot: Slot, version: Version, described: Described) {
        self.history.go_on(slot, &version);
        self.previous = Some(std::mem::replace(&mut self.version, version));
        self.described = described;
    }

    /// It trapped where nobody waited.
    pub(super) fn suspend(&mut self, why: String) -> String {
        let why = cut(why, SUSPENSION_BYTES_MAX);
        self.history.suspended = Some(why.clone());
        why
    }

    fn state(&self, id: ObjectId, with_versions: bool) -> ObjectState {
        let Object { name, history, version, previous, described } = self;
        ObjectState {
            object: id,
            name: name.clone(),
            interface_name: described.name.clone(),
            interface_version: described.version.clone(),
            module: version.module.hash,
            module_bytes: version.module.bytes.len() as u64,
            generation: history.generation,
            loaded: history.loaded,
            changed: history.changed,
            limits: version.limits,
            suspended: history.suspended.clone(),
            waiting: 0,
            previous: previous.as_ref().map(|previous| previous.module.hash),
            versions: if with_versions { history.versions.iter().copied().collect() } else { Vec::new() },
        }
    }
}

impl Registry {
    /// The id for a new object of this name.
    ///
    /// # Errors
    /// That the name is taken, what is wrong with it or with the module's size, or that there are [`OBJECTS_MAX`] objects.
    pub(super) fn admit(&self, name: &str, module: &[u8]) -> Result<ObjectId, ObjectError> {
        if let Some(&object) = self.ids.get(name) {
            return Err(ObjectError::NameTaken { name: name.into(), object });
        }
        if name.is_empty() {
            return Err(ObjectError::Refused { why: "an object needs a name".into() });
        }
        within("a name of", name.len(), NAME_BYTES_MAX)?;
        admit_module(module)?;
        if self.objects.len() >= OBJECTS_MAX {
            return Err(ObjectError::TooMany { limit: OBJECTS_MAX as u64 });
        }
        Ok(ObjectId(self.last.0 + 1))
    }

    /// The module of these bytes, that of another object if it has the same.
    pub(super) fn module(&self, bytes: &[u8]) -> Module {
        let versions = self.objects.values().flat_map(|object| [Some(&object.version), object.previous.as_ref()]);
        let mut modules = versions.flatten().map(|version| &version.module);
        modules.find(|module| module.bytes == bytes).cloned().unwrap_or_else(|| Module::new(bytes))
    }

    /// The object of this id.
    ///
    /// # Errors
    /// [`CallError::UnknownObject`], naming what there is.
    pub(super) fn object(&self, id: ObjectId) -> Result<&Object, CallError> {
        self.objects.get(&id).ok_or_else(|| self.unknown(format!("#{id}")))
    }

    /// That an object is not there any more, if so. One that was never there may be loaded later: this replica may lag.
    pub(super) fn gone(&self, id: ObjectId) -> Option<CallError> {
        self.object(id).err().filter(|_| id <= self.last)
    }

    /// The object of this id, to be changed.
    pub(super) fn object_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        self.objects.get_mut(&id)
    }

    /// Takes an object out; its id is never given again.
    pub(super) fn remove(&mut self, id: ObjectId) -> Option<Object> {
        let object = self.objects.remove(&id)?;
        self.ids.remove(&object.name);
        Some(object)
    }

    /// Enters a loaded object.
    ///
    /// # Panics
    /// When `id` or the name is in use: [`Registry::admit`] gave them.
    pub(super) fn insert(&mut self, id: ObjectId, object: Object) {
        assert!(id > self.last, "object ids only rise");
        self.last = id;
        let named = self.ids.insert(object.name.clone(), id);
        assert!(named.is_none(), "an object's name is its own");
        self.objects.insert(id, object);
    }

    /// Keeps a failed load for operators to see.
    pub(super) fn fail(&mut self, slot: Slot, name: &str, why: String) {
        let (name, why) = (cut(name.to_owned(), NAME_BYTES_MAX), cut(why, LOAD_FAILURE_BYTES_MAX));
        self.failures.push_back(LoadFailure { slot, name, why });
        while self.failures.len() > LOAD_FAILURES_KEPT_MAX {
            self.failures.pop_front();
        }
    }

    /// How the object runs `method` as a call.
    ///
    /// # Errors
    /// [`CallError::UnknownObject`], [`CallError::UnknownMethod`] or [`CallError::WrongKind`], naming what there is;
    /// [`CallError::Suspended`].
    pub(super) fn resolve_call(&self, id: ObjectId, method: &str) -> Result<Runs, CallError> {
        self.find(id, method, MethodKind::is_update).map(|(_, runs)| runs)
    }

    /// The object that runs `method` as a query.
    ///
    /// # Errors
    /// As [`Registry::resolve_call`].
    pub(super) fn resolve_query(&self, id: ObjectId, method: &str) -> Result<&Object, CallError> {
        self.find(id, method, |kind| kind == MethodKind::Query).map(|(object, _)| object)
    }

    /// How the object runs `method`, whichever it is.
    ///
    /// # Errors
    /// As [`Registry::resolve_call`], without the kind.
    pub(super) fn resolve(&self, id: ObjectId, method: &str) -> Result<Runs, CallError> {
        self.find(id, method, |_| true).map(|(_, runs)| runs)
    }

    fn find(
        &self,
        id: ObjectId,
        method: &str,
        runs: impl Fn(MethodKind) -> bool,
    ) -> Result<(&Object, Runs), CallError> {
        let object = self.object(id)?;
        match object.described.methods.get(method) {
            Some(&kind) if runs(kind) => match &object.history.suspended {
                None => Ok((object, Runs { kind, emits: object.described.emits })),
                Some(why) => Err(CallError::Suspended { object: object.name.clone(), why: why.clone() }),
            },
            Some(&kind) => Err(CallError::WrongKind {
                object: object.name.clone(),
                method: method.into(),
                is_query: kind == MethodKind::Query,
            }),
            None => Err(CallError::UnknownMethod {
                object: object.name.clone(),
                method: method.into(),
                existing: listed(object.described.methods.keys()),
            }),
        }
    }

    /// The object of this name, or the first one.
    ///
    /// # Errors
    /// [`CallError::UnknownObject`] for an unknown name, [`CallError::NotServing`] for the first object while there is
    /// none: it may be on its way.
    pub(super) fn describe(&self, name: Option<&str>) -> Result<Description, CallError> {
        let found = match name {
            Some(name) => self.ids.get(name).ok_or_else(|| self.unknown(name.into()))?,
            None => self.objects.keys().next().ok_or_else(|| CallError::NotServing { why: self.why_empty() })?,
        };
        let object = &self.objects[found];
        Ok(Description {
            object: *found,
            name: object.name.clone(),
            interface: object.described.interface.clone(),
            loaded: object.history.loaded,
            generation: object.history.generation,
        })
    }

    /// All objects, or the one of this name.
    ///
    /// # Errors
    /// [`CallError::UnknownObject`].
    pub(super) fn list(&self, name: Option<&str>) -> Result<ObjectList, CallError> {
        let Some(name) = name else {
            let objects = self.objects.iter().map(|(id, object)| object.state(*id, false)).collect();
            return Ok(ObjectList { last: self.last, objects, failures: self.failures.iter().cloned().collect() });
        };
        let id = self.ids.get(name).ok_or_else(|| self.unknown(name.into()))?;
        Ok(ObjectList { last: self.last, objects: vec![self.objects[id].state(*id, true)], failures: Vec::new() })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.objects.keys().copied()
    }

    /// What an object is called, for messages.
    pub(super) fn name(&self, id: ObjectId) -> &str {
        self.objects.get(&id).map_or("", |object| &object.name)
    }

    /// The digest with all of this behind it.
    pub(super) fn digest(&self, mut digest: Digest) -> Digest {
        let runs = |version: &Version| (version.module.hash, version.limits);
        for (id, object) in &self.objects {
            let Object { name, history, version, previous, described } = object;
            digest = digest
                .with(&(id, name, history, runs(version), previous.as_ref().map(runs)))
                .with(&described.interface);
        }
        digest.with(&self.last).with(&self.failures)
    }

    /// Writes everything but the states of the objects: the last id, the failures, each module once, and each object
    /// with the numbers of its modules. Interfaces follow from the modules.
    pub(super) fn write(&self, to: &mut Writer) {
        let mut modules: Vec<&Module> = Vec::new();
        let mut entries = Vec::with_capacity(self.objects.len());
        for (id, Object { name, history, version, previous, .. }) in &self.objects {
            let version = number(&mut modules, version);
            let previous = previous.as_ref().map(|previous| number(&mut modules, previous));
            entries.push(Written { id: *id, name: name.clone(), history: history.clone(), version, previous });
        }
        to.put(&self.last);
        to.put(&self.failures);
        to.put(&modules.len());
        modules.iter().for_each(|module| to.put(&module.bytes));
        to.put(&entries);
    }

    /// Reads what [`Registry::write`] wrote: a registry without objects, and the objects that it is to have.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<(Registry, Vec<Entry>), RestoreError> {
        let last = from.take("the last object id")?;
        let failures: VecDeque<LoadFailure> = from.take("the failed loads")?;
        from.within("failed loads", failures.len(), LOAD_FAILURES_KEPT_MAX)?;
        let count = from.count("modules", 2 * OBJECTS_MAX)?;
        let mut modules = Vec::new();
        for _ in 0..count {
            let module: &[u8] = from.take("a module")?;
            from.within("bytes of a module", module.len(), MODULE_BYTES_MAX)?;
            modules.push(Module::new(module));
        }
        let count = from.count("objects", OBJECTS_MAX)?;
        let (mut entries, mut before) = (Vec::new(), ObjectId::default());
        for _ in 0..count {
            let Written { id, name, history, version, previous } = from.take("an object")?;
            from.within("bytes of a name", name.len(), NAME_BYTES_MAX)?;
            from.within("versions of an object", history.versions.len(), VERSIONS_KEPT_MAX)?;
            let untold_max = SESSIONS_MAX + PARKED_MAX + TIMERS_OF_OBJECT_MAX;
            from.within("inputs that an object was not given", history.untold.len(), untold_max)?;
            let runs = |(number, limits): (usize, ObjectLimits)| match modules.get(number) {
                Some(module) => Ok(Version { module: module.clone(), limits }),
                None => Err(from.damaged("an object without a module")),
            };
            let (version, previous) = (runs(version)?, previous.map(runs).transpose()?);
            if id <= before || id > last {
                return Err(from.damaged("object ids that do not rise"));
            }
            before = id;
            entries.push(Entry { id, name, history, version, previous });
        }
        Ok((Registry { last, failures, ..Registry::default() }, entries))
    }

    /// Enters a restored object, which has an id below the last one.
    ///
    /// # Errors
    /// When its name is not its own.
    pub(super) fn reenter(&mut self, id: ObjectId, object: Object) -> Result<(), &'static str> {
        if self.ids.insert(object.name.clone(), id).is_some() {
            return Err("two objects of one name");
        }
        self.objects.insert(id, object);
        Ok(())
    }

    fn unknown(&self, name: String) -> CallError {
        CallError::UnknownObject { name, existing: listed(self.ids.keys()) }
    }

    fn why_empty(&self) -> String {
        match self.failures.back() {
            None => "no object is loaded yet".into(),
            Some(LoadFailure { name, why, .. }) => format!("no object is loaded; '{name}' was refused: {why}"),
        }
    }
}

/// The number of a version's module among those that are written, and its limits.
fn number<'a>(modules: &mut Vec<&'a Module>, version: &'a Version) -> (usize, ObjectLimits) {
    let known = modules.iter().position(|known| known.hash == version.module.hash);
    let number = known.unwrap_or_else(|| {
        modules.push(&version.module);
        modules.len() - 1
    });
    (number, version.limits)
}

/// The first [`NAMES_LISTED_MAX`] names, and how many more there are.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> Vec<String> {
    let more = names.len().saturating_sub(NAMES_LISTED_MAX);
    let mut listed = names.take(NAMES_LISTED_MAX).cloned().collect::<Vec<_>>();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    listed
}

/// Whether a module may be so large.
///
/// # Errors
/// Both numbers.
pub(super) fn admit_module(module: &[u8]) -> Result<(), ObjectError> {
    within("a module of", module.len(), MODULE_BYTES_MAX)
}

fn within(what: &str, size: usize, limit: usize) -> Result<(), ObjectError> {
    if size <= limit {
        return Ok(());
    }
    Err(ObjectError::Refused { why: format!("{what} {size} bytes, but at most {limit} are accepted") })
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
