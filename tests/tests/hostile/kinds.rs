//! What a stranger could hand over, and what has to be answered.

use concoord_wire::abi::LimitKind;

/// A module, and what becomes of it.
pub(crate) struct Kind {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    pub(crate) module: Vec<u8>,
    pub(crate) answer: Expected,
    /// What stands in the answer.
    pub(crate) words: &'static str,
}

/// Where a module meets its end, and with which type of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The check refuses it, here and at the leader.
    Check,
    /// The leader tries it and proposes nothing; so does who looks at the file.
    Trial,
    /// It is decided, and every replica refuses it.
    Load,
    /// It is loaded. Each call and query traps, ...
    Trap,
    /// ... reaches this limit, ...
    Limit(LimitKind),
    /// ... or breaks the ABI.
    Misbehaves,
    /// It is loaded and has no such method.
    NoMethod,
    /// It is loaded and answers, but not with what it promised.
    Lies,
    /// It is loaded and answers, and that is all.
    Answers,
    /// A harmless object can't go on as it.
    Upgrade,
    /// It is loaded and can't go on as a harmless one.
    Export,
}

pub(crate) fn check(name: &'static str, module: Vec<u8>, words: &'static str) -> Kind {
    Kind { name, module, answer: Expected::Check, words }
}

/// All of them.
pub(crate) fn all() -> Vec<Kind> {
    let groups = [
        super::files::kinds(),
        super::parts::kinds(),
        super::limits::kinds(),
        super::describing::kinds(),
        super::calls::kinds(),
        super::outcomes::kinds(),
        super::upgrades::kinds(),
    ];
    groups.into_iter().flatten().collect()
}
