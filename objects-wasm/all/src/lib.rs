//! The standard objects: their proxies for programs that call them, and the objects themselves for tests.
//!
//! A program adds this crate and `concoord-client`, and calls an object of a cluster through its proxy:
//! `KvProxy::named(client, "kv")` for the one of that name, `KvProxy::new(client)` for the cluster's first. A proxy has the
//! object's methods, async and with their types; where a method returns an error of its own, that is
//! `ProxyError::Method`. The modules have the types that the methods take and return.
//!
//! | object               | what it is                                 | its proxy                 |
//! |----------------------|--------------------------------------------|---------------------------|
//! | [`Bank`]             | accounts that don't go below zero          | [`BankProxy`]             |
//! | [`Barrier`]          | so many wait for each other                | [`BarrierProxy`]          |
//! | [`BinaryTree`]       | a search tree                              | [`BinaryTreeProxy`]       |
//! | [`BoundedSemaphore`] | so many hold it at a time, and never more  | [`BoundedSemaphoreProxy`] |
//! | [`Condition`]        | a lock, and waiting until another notifies | [`ConditionProxy`]        |
//! | [`Counter`]          | one number                                 | [`CounterProxy`]          |
//! | [`Election`]         | one of those who campaign leads            | [`ElectionProxy`]         |
//! | [`IdGenerator`]      | ids, each given once                       | [`IdGeneratorProxy`]      |
//! | [`JobManager`]       | jobs to be done                            | [`JobManagerProxy`]       |
//! | [`Kv`]               | values by key, with revisions              | [`KvProxy`]               |
//! | [`Latch`]            | callers wait until a count is zero         | [`LatchProxy`]            |
//! | [`Lock`]             | one session holds it at a time             | [`LockProxy`]             |
//! | [`Log`]              | entries in the order in which they came    | [`LogProxy`]              |
//! | [`Membership`]       | who belongs to a group                     | [`MembershipProxy`]       |
//! | [`MeshMembership`]   | groups with epochs                         | [`MeshMembershipProxy`]   |
//! | [`NameserverCoord`]  | the nodes behind subdomains                | [`NameserverCoordProxy`]  |
//! | [`Pinger`]           | whom to ping                               | [`PingerProxy`]           |
//! | [`Queue`]            | what was put first is got first            | [`QueueProxy`]            |
//! | [`RateLimiter`]      | a bucket of tokens that time fills         | [`RateLimiterProxy`]      |
//! | [`RLock`]            | one session holds it, as often as it likes | [`RLockProxy`]            |
//! | [`RwLock`]           | many read or one writes                    | [`RwLockProxy`]           |
//! | [`Semaphore`]        | so many hold it at a time                  | [`SemaphoreProxy`]        |
//! | [`Stack`]            | what was put on last is taken off first    | [`StackProxy`]            |

pub use concoord::{GrantError, Held};
pub use concoord_object_bank as bank;
pub use concoord_object_bank::{Bank, BankError, BankProxy};
pub use concoord_object_barrier as barrier;
pub use concoord_object_barrier::{Barrier, BarrierProxy};
pub use concoord_object_binarytree as binarytree;
pub use concoord_object_binarytree::{BinaryTree, BinaryTreeProxy};
pub use concoord_object_boundedsemaphore as boundedsemaphore;
pub use concoord_object_boundedsemaphore::{BoundedSemaphore, BoundedSemaphoreProxy};
pub use concoord_object_condition as condition;
pub use concoord_object_condition::{Condition, ConditionProxy};
pub use concoord_object_counter as counter;
pub use concoord_object_counter::{Counter, CounterProxy};
pub use concoord_object_election as election;
pub use concoord_object_election::{Election, ElectionProxy};
pub use concoord_object_idgenerator as idgenerator;
pub use concoord_object_idgenerator::{IdGenerator, IdGeneratorError, IdGeneratorProxy};
pub use concoord_object_jobmanager as jobmanager;
pub use concoord_object_jobmanager::{JobManager, JobManagerError, JobManagerProxy};
pub use concoord_object_kv as kv;
pub use concoord_object_kv::{Kv, KvError, KvProxy};
pub use concoord_object_latch as latch;
pub use concoord_object_latch::{Latch, LatchProxy};
pub use concoord_object_lock as lock;
pub use concoord_object_lock::{Lock, LockProxy};
pub use concoord_object_log as log;
pub use concoord_object_log::{Log, LogProxy};
pub use concoord_object_membership as membership;
pub use concoord_object_membership::{Membership, MembershipError, MembershipProxy};
pub use concoord_object_meshmembership as meshmembership;
pub use concoord_object_meshmembership::{MeshMembership, MeshMembershipError, MeshMembershipProxy};
pub use concoord_object_nameservercoord as nameservercoord;
pub use concoord_object_nameservercoord::{NameserverCoord, NameserverCoordError, NameserverCoordProxy};
pub use concoord_object_pinger as pinger;
pub use concoord_object_pinger::{Pinger, PingerError, PingerProxy};
pub use concoord_object_queue as queue;
pub use concoord_object_queue::{Queue, QueueError, QueueProxy};
pub use concoord_object_ratelimiter as ratelimiter;
pub use concoord_object_ratelimiter::{RateLimiter, RateLimiterError, RateLimiterProxy};
pub use concoord_object_rlock as rlock;
pub use concoord_object_rlock::{RLock, RLockProxy};
pub use concoord_object_rwlock as rwlock;
pub use concoord_object_rwlock::{RwLock, RwLockProxy};
pub use concoord_object_semaphore as semaphore;
pub use concoord_object_semaphore::{Semaphore, SemaphoreProxy};
pub use concoord_object_stack as stack;
pub use concoord_object_stack::{Stack, StackProxy};
