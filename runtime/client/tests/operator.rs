//! What operators ask: who is asked, what is asked again, and what is final.

mod fake;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use concoord_client::{AdministerError, Backup, BackupPiece, CallError, Operator, OperatorError};
use concoord_wire::client::{Action, Request, Response};
use concoord_wire::{ClusterId, NodeId, Slot, ViewId};
use fake::{Act, Cluster, SOON, Script};

const MEMBER: NodeId = NodeId(7);

async fn operator(addresses: &[SocketAddr], timeout: Duration) -> Operator {
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Operator::connect(&addresses, None, timeout).await.expect("they are addresses")
}

/// Gives these results to what an operator wants of the membership, in order, and hangs up where there is none.
fn administers(results: Vec<Option<Result<ViewId, AdministerError>>>) -> Script {
    let mut results = results.into_iter();
    Box::new(move |request| {
        let Request::Administer { request, action: Action::Remove(MEMBER) } = *request else { return None };
        let result = results.next().expect("it is not asked again");
        Some(vec![result.map_or(Act::Hang, |result| Act::Reply(Response::Administered { request, result }))])
    })
}

fn gone() -> AdministerError {
    AdministerError::NoMember { member: MEMBER, view: ViewId(9) }
}

#[tokio::test]
async fn the_leader_is_asked_where_it_is_said_to_be_and_dead_ones_do_no_harm() {
    let cluster = Cluster::default();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let leader = cluster.scripted(administers(vec![Some(Ok(ViewId(4)))]));
    let follower = cluster.scripted(administers(vec![Some(Err(AdministerError::NotLeader { leader: Some(leader) }))]));
    let operator = operator(&[dead, follower], SOON).await;
    assert_eq!(operator.remove(MEMBER).await.unwrap(), ViewId(4));
}

#[tokio::test]
async fn what_may_be_done_already_is_asked_again_and_its_success_is_recognised() {
    for open in [Some(Err(AdministerError::Unknown)), None] {
        let cluster = Cluster::default();
        let only = cluster.scripted(administers(vec![Some(Err(AdministerError::UnderWay)), open, Some(Err(gone()))]));
        assert_eq!(operator(&[only], SOON).await.remove(MEMBER).await.unwrap(), ViewId(9));
    }
}

#[tokio::test]
async fn a_member_that_never_was_is_refused_at_once_and_a_majority_is_waited_for() {
    let cluster = Cluster::default();
    let only = cluster.scripted(administers(vec![Some(Err(gone()))]));
    let refused = operator(&[only], SOON).await.remove(MEMBER).await.unwrap_err();
    assert!(matches!(refused, OperatorError::Refused(AdministerError::NoMember { .. })), "{refused}");

    let missing = || Some(Err(AdministerError::NoMajority { member: MEMBER, voters: 2, live: 1 }));
    let soon = Cluster::default().scripted(administers(vec![missing(), missing(), Some(Ok(ViewId(4)))]));
    assert_eq!(operator(&[soon], SOON).await.remove(MEMBER).await.unwrap(), ViewId(4));
    let never = Cluster::default().scripted(administers(vec![missing(); 1000]));
    let began = Instant::now();
    let refused = operator(&[never], 4 * SOON).await.remove(MEMBER).await.unwrap_err();
    assert!(matches!(refused, OperatorError::Refused(AdministerError::NoMajority { .. })), "{refused}");
    assert!(began.elapsed() < SOON, "it is final after a second, not after {:?}", began.elapsed());
}

#[tokio::test]
async fn nobody_who_does_it_is_a_time_out_that_names_all() {
    let cluster = Cluster::default();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let leaderless = cluster.scripted(administers(vec![Some(Err(AdministerError::NotLeader { leader: None })); 1000]));
    let other = Cluster::default().start("127.0.0.1:0".parse().unwrap(), ClusterId(2), Box::new(|_| None));
    let operator = operator(&[leaderless, dead, other], Duration::from_secs(3)).await;
    let said = operator.remove(MEMBER).await.unwrap_err().to_string();
    assert!(said.starts_with("not done within 3.0s"), "{said}");
    for part in [
        format!("{leaderless}: this replica does not lead"),
        format!("{dead}: no answer"),
        format!("{other}: it belongs to cluster"),
    ] {
        assert!(said.contains(&part), "no '{part}' in {said}");
    }
}

#[tokio::test]
async fn who_is_told_to_leave_may_go_without_a_word() {
    let only = Cluster::default().scripted(Box::new(|request| {
        matches!(request, Request::Administer { action: Action::Leave, .. }).then(|| vec![Act::Hang])
    }));
    operator(&[only], SOON).await.leave(only).await.unwrap();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = operator(&[dead], Duration::from_millis(300)).await.leave(dead).await.unwrap_err();
    assert!(matches!(error, OperatorError::NoAnswer { .. }), "{error}");
}

/// Gives pieces of a snapshot, of which `lost` is gone once its first piece was read.
fn backs_up(lost: Slot, kept: Slot) -> Script {
    let mut newest = lost;
    Box::new(move |request| {
        let Request::Backup { request, slot, offset } = *request else { return None };
        let result = match slot {
            Some(slot) if slot == lost => {
                newest = kept;
                Err(CallError::NotServing { why: "there is no snapshot of that slot".into() })
            }
            _ => {
                let content = [newest.0.to_le_bytes()[0]; 10];
                let from = usize::try_from(offset).expect("small");
                let data = content[from..content.len().min(from + 4)].to_vec().into();
                Ok(BackupPiece { slot: newest, total: 10, offset, data })
            }
        };
        Some(vec![Act::Reply(Response::Backup { request, result })])
    })
}

#[tokio::test]
async fn a_snapshot_that_is_replaced_while_it_is_read_is_begun_anew() {
    let cluster = Cluster::default();
    let leader = cluster.scripted(backs_up(Slot(3), Slot(5)));
    let witness = cluster.scripted(Box::new(move |request| {
        let Request::Backup { request, .. } = *request else { return None };
        let result = Err(CallError::NotLeader { leader: Some(leader) });
        Some(vec![Act::Reply(Response::Backup { request, result })])
    }));
    let mut content = Vec::new();
    let take = |piece: &BackupPiece| {
        content.truncate(usize::try_from(piece.offset).unwrap());
        content.extend_from_slice(&piece.data);
        Ok(())
    };
    // Asked next in turn after a failure is the witness, which names the leader again.
    let backup = operator(&[witness], SOON).await.backup(take).await.unwrap();
    assert_eq!((backup, content), (Backup { slot: Slot(5), bytes: 10 }, vec![5; 10]));
}

#[tokio::test]
async fn a_backup_that_can_not_be_kept_or_does_not_fit_is_none() {
    let full = |_: &BackupPiece| Err(std::io::ErrorKind::StorageFull.into());
    let only = Cluster::default().scripted(backs_up(Slot(3), Slot(5)));
    let error = operator(&[only], SOON).await.backup(full).await.unwrap_err();
    assert!(matches!(error, OperatorError::NotTaken(_)), "{error}");

    let endless = Cluster::default().scripted(Box::new(|request| {
        let Request::Backup { request, .. } = *request else { return None };
        let piece = BackupPiece { slot: Slot(1), total: 8, offset: 0, data: vec![0; 9].into() };
        Some(vec![Act::Reply(Response::Backup { request, result: Ok(piece) })])
    }));
    let error = operator(&[endless], Duration::from_secs(2)).await.backup(|_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("sends pieces that do not fit"), "{error}");
}
