//! Which objects there are: names, interfaces, and the loads that failed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use concoord_wire::client::{CallError, Description};
use concoord_wire::interface::{Interface, InterfaceError, MethodKind};
use concoord_wire::limits::{MODULE_BYTES_MAX, NAME_BYTES_MAX};
use concoord_wire::{ObjectId, Slot};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::{LOAD_FAILURE_BYTES_MAX, LOAD_FAILURES_KEPT_MAX, NAMES_LISTED_MAX, OBJECTS_MAX};

/// The methods of an object by name.
pub(super) type Methods = BTreeMap<String, MethodKind>;

/// All objects of the cluster.
#[derive(Debug, Default)]
pub(super) struct Registry {
    objects: BTreeMap<ObjectId, Object>,
    ids: BTreeMap<String, ObjectId>,
    last: ObjectId,
    failures: VecDeque<LoadFailure>,
}

/// One object as calls find it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) loaded: Slot,
    pub(super) module: Module,
    pub(super) interface: Bytes,
    pub(super) methods: Methods,
}

/// A module as it was loaded. Objects of the same module share its bytes.
#[derive(Clone, Debug)]
pub(super) struct Module {
    bytes: Bytes,
    /// What stands for the bytes in the hash of the state.
    digest: u64,
}

/// An object of a snapshot, to be restored.
pub(super) struct Entry {
    pub(super) id: ObjectId,
    pub(super) name: String,
    pub(super) loaded: Slot,
    pub(super) module: Module,
}

/// A load that failed. The newest [`LOAD_FAILURES_KEPT_MAX`] are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadFailure {
    /// Slot of the load.
    pub slot: Slot,
    /// The name it was to have.
    pub name: String,
    /// Why there is no such object, cut at [`LOAD_FAILURE_BYTES_MAX`].
    pub why: String,
}

impl Module {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn new(bytes: &[u8]) -> Module {
        let bytes = Bytes::copy_from_slice(bytes);
        Module { digest: Digest::new().with(&bytes).finish(), bytes }
    }

    fn is(&self, other: &Module) -> bool {
        self.digest == other.digest && self.bytes == other.bytes
    }
}

impl Registry {
    /// Whether an object has this name.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// The id for a new object of this name.
    ///
    /// # Errors
    /// What is wrong with the name or size, or that there are [`OBJECTS_MAX`] objects.
    pub(super) fn admit(&self, name: &str, module: &[u8]) -> Result<ObjectId, String> {
        if name.is_empty() {
            return Err("an object needs a name".into());
        }
        within("a name of", name.len(), "bytes", NAME_BYTES_MAX)?;
        within("a module of", module.len(), "bytes", MODULE_BYTES_MAX)?;
        within("this would make", self.objects.len() + 1, "objects", OBJECTS_MAX)?;
        Ok(ObjectId(self.last.0 + 1))
    }

    /// The module of these bytes, that of another object if it has the same.
    pub(super) fn module(&self, bytes: &[u8]) -> Module {
        let same = self.objects.values().map(|object| &object.module).find(|module| module.bytes == bytes);
        same.cloned().unwrap_or_else(|| Module::new(bytes))
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

    /// Keeps a failed load for operators to see; gives the reason as it is kept.
    pub(super) fn fail(&mut self, slot: Slot, name: &str, mut why: String) -> String {
        why.truncate(why.floor_char_boundary(LOAD_FAILURE_BYTES_MAX));
        let mut name = name.to_owned();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        self.failures.push_back(LoadFailure { slot, name, why: why.clone() });
        while self.failures.len() > LOAD_FAILURES_KEPT_MAX {
            self.failures.pop_front();
        }
        why
    }

    /// Oldest first.
    pub(super) fn failures(&self) -> impl Iterator<Item = &LoadFailure> {
        self.failures.iter()
    }

    /// The object that runs `method` as `kind`.
    ///
    /// # Errors
    /// [`CallError::UnknownObject`], [`CallError::UnknownMethod`] or [`CallError::WrongKind`], naming what there is.
    pub(super) fn resolve(&self, id: ObjectId, method: &str, kind: MethodKind) -> Result<&Object, CallError> {
        let Some(object) = self.objects.get(&id) else {
            return Err(self.unknown(format!("#{id}")));
        };
        match object.methods.get(method) {
            Some(&actual) if actual == kind => Ok(object),
            Some(&actual) => Err(CallError::WrongKind {
                object: object.name.clone(),
                method: method.into(),
                is_query: actual == MethodKind::Query,
            }),
            None => Err(CallError::UnknownMethod {
                object: object.name.clone(),
                method: method.into(),
                existing: listed(object.methods.keys()),
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
            interface: object.interface.clone(),
            loaded: object.loaded,
        })
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
        for (id, object) in &self.objects {
            let Object { name, loaded, module, interface, methods: _ } = object;
            digest = digest.with(&(id, name, loaded, module.digest, interface));
        }
        digest.with(&self.last).with(&self.failures)
    }

    /// Writes everything but the states of the objects: the last id, the failures, each module once, and for each object
    /// its id, name, slot and the number of its module. Interfaces follow from the modules.
    pub(super) fn write(&self, to: &mut Writer) {
        let mut modules: Vec<&Module> = Vec::new();
        let mut entries = Vec::with_capacity(self.objects.len());
        for (id, Object { name, loaded, module, .. }) in &self.objects {
            let number = modules.iter().position(|known| known.is(module)).unwrap_or_else(|| {
                modules.push(module);
                modules.len() - 1
            });
            entries.push((id, name, loaded, number));
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
        let count = from.count("modules", OBJECTS_MAX)?;
        let mut modules = Vec::new();
        for _ in 0..count {
            let module: &[u8] = from.take("a module")?;
            from.within("bytes of a module", module.len(), MODULE_BYTES_MAX)?;
            modules.push(Module::new(module));
        }
        let count = from.count("objects", OBJECTS_MAX)?;
        let (mut entries, mut before) = (Vec::new(), ObjectId::default());
        for _ in 0..count {
            let (id, name, loaded, number): (ObjectId, String, Slot, usize) = from.take("an object")?;
            from.within("bytes of a name", name.len(), NAME_BYTES_MAX)?;
            let module = modules.get(number).ok_or_else(|| from.damaged("an object without a module"))?.clone();
            if id <= before || id > last {
                return Err(from.damaged("object ids that do not rise"));
            }
            before = id;
            entries.push(Entry { id, name, loaded, module });
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

/// The methods of an encoded interface.
///
/// # Errors
/// As [`Interface::decode`].
pub(super) fn methods(interface: &[u8]) -> Result<Methods, InterfaceError> {
    let interface = Interface::decode(interface)?;
    Ok(interface.methods.into_iter().map(|method| (method.name, method.kind)).collect())
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

fn within(what: &str, size: usize, unit: &str, limit: usize) -> Result<(), String> {
    if size <= limit { Ok(()) } else { Err(format!("{what} {size} {unit}, but at most {limit} are accepted")) }
}
