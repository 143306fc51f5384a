//! The standard objects: their proxies for programs that call them, and the objects themselves for tests.
//!
//! A program adds this crate and `concoord-client`, and calls an object of a cluster through its proxy:
//! `KvProxy::named(client, "kv")` for the one of that name, `KvProxy::new(client)` for the cluster's first. A proxy has the
//! object's methods, async and with their types; where a method returns an error of its own, that is
//! `ProxyError::Method`. The modules have the types that the methods take and return.
//!
//! | object              | what it is                                    | its proxy                |
//! |---------------------|-----------------------------------------------|--------------------------|
//! | [`Bank`]            | accounts that don't go below zero             | [`BankProxy`]            |
//! | [`BinaryTree`]      | a search tree                                 | [`BinaryTreeProxy`]      |
//! | [`Counter`]         | one number                                    | [`CounterProxy`]         |
//! | [`IdGenerator`]     | ids, each given once                          | [`IdGeneratorProxy`]     |
//! | [`JobManager`]      | jobs to be done                               | [`JobManagerProxy`]      |
//! | [`Kv`]              | values by key, with revisions                 | [`KvProxy`]              |
//! | [`Lock`]            | one session holds it at a time                | [`LockProxy`]            |
//! | [`Log`]             | entries in the order in which they came       | [`LogProxy`]             |
//! | [`Membership`]      | who belongs to a group                        | [`MembershipProxy`]      |
//! | [`NameserverCoord`] | the nodes behind subdomains                   | [`NameserverCoordProxy`] |
//! | [`Pinger`]          | whom to ping                                  | [`PingerProxy`]          |
//! | [`Stack`]           | what was put on last is taken off first       | [`StackProxy`]           |

pub use concoord_object_bank as bank;
pub use concoord_object_bank::{Bank, BankError, BankProxy};
pub use concoord_object_binarytree as binarytree;
pub use concoord_object_binarytree::{BinaryTree, BinaryTreeProxy};
pub use concoord_object_counter as counter;
pub use concoord_object_counter::{Counter, CounterProxy};
pub use concoord_object_idgenerator as idgenerator;
pub use concoord_object_idgenerator::{IdGenerator, IdGeneratorError, IdGeneratorProxy};
pub use concoord_object_jobmanager as jobmanager;
pub use concoord_object_jobmanager::{JobManager, JobManagerError, JobManagerProxy};
pub use concoord_object_kv as kv;
pub use concoord_object_kv::{Kv, KvError, KvProxy};
pub use concoord_object_lock as lock;
pub use concoord_object_lock::{Lock, LockError, LockProxy};
pub use concoord_object_log as log;
pub use concoord_object_log::{Log, LogProxy};
pub use concoord_object_membership as membership;
pub use concoord_object_membership::{Membership, MembershipError, MembershipProxy};
pub use concoord_object_nameservercoord as nameservercoord;
pub use concoord_object_nameservercoord::{NameserverCoord, NameserverCoordError, NameserverCoordProxy};
pub use concoord_object_pinger as pinger;
pub use concoord_object_pinger::{Pinger, PingerError, PingerProxy};
pub use concoord_object_stack as stack;
pub use concoord_object_stack::{Stack, StackError, StackProxy};
