//! A disk that crashes, fails and rots on command: the simulator's, and that of the tests of log and snapshots.
//!
//! It knows three states of a sector: what is durable, what the page cache shows, and what was written since the last sync
//! and may be durable or not. A crash of the machine leaves of each unsynced sector any version that was written since, or
//! the durable one; names that were not synced may be undone one by one. A sync that fails drops what it should have written: the
//! page cache goes on showing it, later syncs succeed, and the next crash takes it away, as Linux does.
//!
//! All is deterministic: chance is an argument.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Directory, File, SECTOR_BYTES};

const SECTOR: usize = SECTOR_BYTES as usize;

type Sector = [u8; SECTOR];

/// A simulated disk with one directory. A clone is another handle of the same disk; [`SimulatedDisk::fork`] copies it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// Something that goes wrong once, or from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which operation, counted from 1 as [`SimulatedDisk::operations`] does.
    pub at: u64,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// This operation fails with an input/output error; a failed sync drops what it should have written.
    Error,
    /// This operation fails for want of room.
    Full,
    /// This operation and all after it fail and do nothing, until [`SimulatedDisk::crash`].
    PowerOff,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Names as programs see them.
    names: BTreeMap<String, u64>,
    /// Names as a crash leaves them for sure.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory.
    pending: Vec<NameChange>,
    contents: BTreeMap<u64, Content>,
    contents_made: u64,
    operations: u64,
    faults: Vec<Fault>,
    capacity_bytes: Option<u64>,
    /// Handles of an earlier one are dead.
    life: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Created(String, u64),
    Renamed(String, String, u64),
    Removed(String, u64),
}

/// One file's bytes.
#[derive(Clone, Debug, Default)]
struct Content {
    durable: Arc<Vec<u8>>,
    bytes: u64,
    /// What the page cache shows in place of durable sectors.
    cached: BTreeMap<u64, Sector>,
    /// Versions written since the last sync.
    unsynced: BTreeMap<u64, Vec<Sector>>,
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
    }

    /// A copy that goes its own way. Cheap: contents are shared until one side changes them.
    #[must_use]
    pub fn fork(&self) -> SimulatedDisk {
        SimulatedDisk { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// How many operations that change something there were: creates, renames, removals, writes and syncs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes back all faults that are still to come.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Bounds the bytes of all files together; beyond it, writes fail for want of room.
    pub fn limit(&self, capacity_bytes: Option<u64>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// The machine loses power. `chance(n)` gives a number below `n`. Open files are of no use afterwards.
    pub fn crash(&self, chance: &mut dyn FnMut(u64) -> u64) {
        let mut state = self.state();
        let state = &mut *state;
        let mut names = std::mem::take(&mut state.durable_names);
        for change in state.pending.drain(..) {
            if chance(2) == 0 {
                change.apply(&mut names);
            }
        }
        for content in state.contents.values_mut() {
            content.crash(chance);
        }
        state.contents.retain(|content, _| names.values().any(|named| named == content));
        state.durable_names.clone_from(&names);
        state.names = names;
        state.faults.clear();
        state.life += 1;
    }

    /// The process dies and the machine lives: the page cache stays. Open files are of no use afterwards.
    pub fn kill(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.life += 1;
    }

    /// Damages a file: flips one bit.
    ///
    /// # Panics
    /// As all damage here, when there is no such file or place.
    pub fn flip(&self, name: &str, bit: u64) {
        self.damage(name, |bytes| {
            bytes[usize::try_from(bit / 8).expect("in memory")] ^= 1 << (bit % 8);
        });
    }

    /// Damages a file: a sector reads as zeros.
    pub fn zero(&self, name: &str, sector: u64) {
        self.damage(name, |bytes| {
            let place = range(sector, bytes.len());
            bytes[place].fill(0);
        });
    }

    /// Damages a file: it ends early.
    pub fn cut(&self, name: &str, bytes: u64) {
        self.damage(name, |content| content.truncate(usize::try_from(bytes).expect("in memory")));
    }

    /// Damages a file: a write that was meant for `from` hit sector `to` instead.
    pub fn misdirect(&self, from: (&str, u64), to: (&str, u64)) {
        let mut source = Vec::new();
        self.damage(from.0, |bytes| source = bytes[range(from.1, bytes.len())].to_vec());
        source.resize(SECTOR, 0);
        self.damage(to.0, |bytes| {
            let place = range(to.1, bytes.len());
            let length = place.len();
            bytes[place].copy_from_slice(&source[..length]);
        });
    }

    /// Removes a file for good, as an operator's mistake does.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        let content = state.names.remove(name).expect("a file of that name");
        state.durable_names.remove(name);
        state.contents.remove(&content);
    }

    /// What a program would read.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        let content = &state.contents[state.names.get(name).expect("a file of that name")];
        let mut bytes = vec![0; usize::try_from(content.bytes).expect("in memory")];
        content.read(0, &mut bytes);
        bytes
    }

    fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.content(name);
        change(&mut bytes);
        let mut state = self.state();
        let content = state.names[name];
        let length = bytes.len() as u64;
        let damaged = Content { durable: Arc::new(bytes), bytes: length, ..Content::default() };
        state.contents.insert(content, damaged);
    }

    /// Nothing panics half-way through a change, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn range(sector: u64, bytes: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(sector).expect("in memory") * SECTOR;
    assert!(start < bytes, "sector {sector} is beyond the {bytes} bytes of the file");
    start..bytes.min(start + SECTOR)
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Created(name, content) => drop(names.insert(name, content)),
            NameChange::Renamed(from, to, content) => {
                if names.get(&from) == Some(&content) {
                    names.remove(&from);
                }
                names.insert(to, content);
            }
            NameChange::Removed(name, content) => {
                if names.get(&name) == Some(&content) {
                    names.remove(&name);
                }
            }
        }
    }
}

impl State {
    /// Counts an operation and lets it fail where it is to.
    fn operate(&mut self) -> Result<(), FaultKind> {
        self.operations += 1;
        let now = self.operations;
        let due = |fault: &Fault| match fault.kind {
            FaultKind::PowerOff => fault.at <= now,
            FaultKind::Error | FaultKind::Full => fault.at == now,
        };
        self.faults.iter().find(|fault| due(fault)).map_or(Ok(()), |fault| Err(fault.kind))
    }

    fn change(&mut self, change: NameChange) {
        self.pending.push(change.clone());
        change.apply(&mut self.names);
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|content| self.contents[content].bytes).sum()
    }
}

impl Content {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let end = self.bytes.min(offset + buffer.len() as u64);
        let mut at = offset;
        while at < end {
            let sector = at / SECTOR_BYTES;
            let within = usize::try_from(at % SECTOR_BYTES).expect("below a sector");
            let length = (SECTOR - within).min(usize::try_from(end - at).expect("below the buffer"));
            let content = self.sector(sector);
            let start = usize::try_from(at - offset).expect("below the buffer");
            buffer[start..start + length].copy_from_slice(&content[within..within + length]);
            at += length as u64;
        }
        usize::try_from(end.saturating_sub(offset)).expect("below the buffer")
    }

    fn sector(&self, sector: u64) -> Sector {
        self.cached.get(&sector).copied().unwrap_or_else(|| {
            let mut content = [0; SECTOR];
            let start = usize::try_from(sector * SECTOR_BYTES).expect("in memory");
            let rest = self.durable.get(start..).unwrap_or_default();
            let length = rest.len().min(SECTOR);
            content[..length].copy_from_slice(&rest[..length]);
            content
        })
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            let at = offset + written as u64;
            let sector = at / SECTOR_BYTES;
            let within = usize::try_from(at % SECTOR_BYTES).expect("below a sector");
            let length = (SECTOR - within).min(bytes.len() - written);
            let mut content = self.sector(sector);
            content[within..within + length].copy_from_slice(&bytes[written..written + length]);
            self.cached.insert(sector, content);
            self.unsynced.entry(sector).or_default().push(content);
            written += length;
        }
        self.bytes = self.bytes.max(offset + bytes.len() as u64);
    }

    fn sync(&mut self) {
        let bytes = usize::try_from(self.bytes).expect("in memory");
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(bytes, 0);
        for sector in std::mem::take(&mut self.unsynced).into_keys() {
            let content = self.cached.remove(&sector).expect("what was written is in the cache");
            put(durable, sector, &content);
        }
    }

    /// A sync that failed: what it should have written is forgotten, and nobody will know.
    fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    fn crash(&mut self, chance: &mut dyn FnMut(u64) -> u64) {
        self.cached.clear();
        let unsynced = std::mem::take(&mut self.unsynced);
        if !unsynced.is_empty() {
            let bytes = usize::try_from(self.bytes).expect("in memory");
            let durable = Arc::make_mut(&mut self.durable);
            for (sector, mut versions) in unsynced {
                let version = usize::try_from(chance(versions.len() as u64 + 1)).expect("an index");
                if version < versions.len() {
                    let end = bytes.min(range(sector, bytes).end);
                    if durable.len() < end {
                        durable.resize(end, 0);
                    }
                    put(durable, sector, &versions.swap_remove(version));
                }
            }
        }
        self.bytes = self.durable.len() as u64;
    }
}

impl From<FaultKind> for io::Error {
    fn from(kind: FaultKind) -> io::Error {
        match kind {
            FaultKind::Error => io::Error::other("injected input/output error"),
            FaultKind::Full => io::ErrorKind::StorageFull.into(),
            FaultKind::PowerOff => io::Error::other("the power is off"),
        }
    }
}

/// Writes a sector as far as the file goes.
fn put(bytes: &mut [u8], sector: u64, content: &Sector) {
    let place = range(sector, bytes.len());
    let length = place.len();
    bytes[place].copy_from_slice(&content[..length]);
}

impl Directory for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let state = self.state();
        let content = state.find(name)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), content, life: state.life }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.operate()?;
        state.contents_made += 1;
        let content = state.contents_made;
        state.contents.insert(content, Content::default());
        state.change(NameChange::Created(name.to_owned(), content));
        Ok(Box::new(SimulatedFile { disk: self.clone(), content, life: state.life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let content = state.find(from)?;
        state.change(NameChange::Renamed(from.to_owned(), to.to_owned(), content));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let content = state.find(name)?;
        state.change(NameChange::Removed(name.to_owned(), content));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.pending.clear();
        state.durable_names = state.names.clone();
        let State { names, contents, .. } = &mut *state;
        contents.retain(|content, _| names.values().any(|named| named == content));
        Ok(())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("(simulated)")
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    content: u64,
    life: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(io::Error::other("opened before a crash"));
        }
        // Removed while open: it can still be used, and nobody will ever see it again.
        state.contents.entry(self.content).or_default();
        act(&mut state)
    }
}

impl File for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.contents[&self.content].bytes))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state| Ok(state.contents[&self.content].read(offset, buffer)))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            state.operate()?;
            let end = offset + bytes.len() as u64;
            let grows = end.saturating_sub(state.contents[&self.content].bytes);
            if grows > 0 && state.capacity_bytes.is_some_and(|capacity| state.used() + grows > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if let Some(content) = state.contents.get_mut(&self.content) {
                content.write(offset, bytes);
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            let may = state.operate();
            if let Some(content) = state.contents.get_mut(&self.content) {
                match may {
                    Ok(()) => content.sync(),
                    Err(FaultKind::Error | FaultKind::Full) => content.fail_sync(),
                    // The write-back may have begun: the crash that follows decides.
                    Err(FaultKind::PowerOff) => {}
                }
            }
            Ok(may?)
        })
    }
}
