//! Records in Amazon Route 53: the view plugin that keeps a hosted zone equal to the newest roster.
//!
//! Of the replicas with this plugin one publishes: the leader if it has the plugin, else the one with the lowest id that is
//! not silent. Each roster that has settled is one batch of changes for each domain, carried out as a whole or not at all;
//! a domain that is as it shall be gets none. Two publishers at a time, such as a leader and the one before it, are kept
//! apart by the fence.

mod changes;
mod fence;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use concoord_node::{Confirming, Published, Publishing, ViewPlugin};
use concoord_wire::NodeId;
use concoord_wire::member::{Roster, Services};
use hickory_server::proto::rr::Name;

use self::service::Service;
use crate::records::Options as RecordOptions;

pub use self::service::AccessKey;

/// A roster is published when there was no newer one for so long: a new leader and the mark of the old one as silent, say,
/// are two rosters, but two replicas that join together are one batch.
const SETTLE: Duration = Duration::from_millis(500);
/// Rosters that change all the while are held back no longer than this.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// From one question whether a change is everywhere to the next. Route 53 takes five requests a second from an account.
const SYNC_POLL: Duration = Duration::from_secs(2);
/// The first such question comes sooner.
const SYNC_POLL_FIRST: Duration = Duration::from_millis(500);

/// What is published, where, and in whose name.
#[derive(Clone, Debug)]
pub struct Route53Options {
    /// The domains whose records are published.
    pub domains: Vec<Name>,
    /// What is in the records.
    pub records: RecordOptions,
    /// The hosted zone of the domains; looked up when `None`.
    pub zone_id: Option<String>,
    /// Where Route 53 is; by AWS's own rules when `None`.
    pub endpoint: Option<String>,
    /// The access key; looked for where AWS programs do when `None`.
    pub key: Option<AccessKey>,
    /// Whether to publish also where another cluster did before.
    pub take_over: bool,
}

/// The view plugin.
#[derive(Debug)]
pub struct Route53 {
    options: Route53Options,
    service: Option<Service>,
    /// Hosted zones that were found.
    zones: BTreeMap<Name, String>,
    /// Changes that may not be everywhere yet.
    pending: Vec<String>,
}

impl Route53 {
    /// A publisher that asks nothing of Route 53 before there is something to publish.
    #[must_use]
    pub fn new(options: Route53Options) -> Route53 {
        Route53 { options, service: None, zones: BTreeMap::new(), pending: Vec::new() }
    }

    async fn service(&mut self) -> Service {
        if let Some(service) = &self.service {
            return service.clone();
        }
        let service = Service::new(self.options.endpoint.as_deref(), self.options.key.as_ref()).await;
        self.service.insert(service).clone()
    }

    async fn zone_of(&mut self, service: &Service, domain: &Name) -> Result<String, String> {
        if let Some(id) = self.options.zone_id.as_ref().or_else(|| self.zones.get(domain)) {
            return Ok(id.clone());
        }
        let id = service.zone_of(domain).await?;
        tracing::info!("publishes {domain} in Route 53's hosted zone {id}");
        self.zones.insert(domain.clone(), id.clone());
        Ok(id)
    }

    async fn publish_domain(&mut self, domain: &Name, roster: &Roster) -> Result<(), String> {
        let service = self.service().await;
        let zone = self.zone_of(&service, domain).await?;
        let present = service.present(&zone, domain).await?;
        let plan = changes::plan(domain, roster, self.options.records, &present, self.options.take_over);
        let plan = plan.map_err(|refused| refused.to_string())?;
        if plan.changes.is_empty() {
            return Ok(());
        }
        if !plan.overwrites.is_empty() {
            tracing::warn!("first time in {domain}: replaces what was there at {}", plan.overwrites.join(", "));
        }
        let comment = format!("concoord {} revision {}", roster.cluster, roster.revision);
        let count = plan.changes.len();
        let change = service.change(&zone, plan.changes, comment).await?;
        tracing::info!("published revision {} of {domain} in Route 53: {count} changes in one batch", roster.revision);
        self.pending.push(change);
        Ok(())
    }

    async fn publish_all(&mut self, roster: &Roster) -> Result<Published, String> {
        if roster.leader.is_none() {
            return Ok(Published::Nothing);
        }
        match publisher(roster) {
            Some(member) if member != roster.reporter => return Ok(Published::LeftTo(member)),
            // Who was not heard of as a publisher yet will be in a later roster.
            _ => {}
        }
        self.pending.clear();
        for domain in self.options.domains.clone() {
            if let Err(why) = self.publish_domain(&domain, roster).await {
                // It may have been deleted and created anew.
                self.zones.remove(&domain);
                return Err(format!("Route 53, {domain}: {why}"));
            }
        }
        Ok(Published::Here)
    }

    async fn confirm_all(&mut self) -> Result<(), String> {
        let service = self.service().await;
        let mut pause = SYNC_POLL_FIRST;
        while let Some(change) = self.pending.last() {
            if service.in_sync(change).await? {
                self.pending.pop();
            } else {
                tokio::time::sleep(pause).await;
                pause = SYNC_POLL;
            }
        }
        Ok(())
    }
}

/// Which member publishes: the leader, if it can; else the first of those that can and are heard.
fn publisher(roster: &Roster) -> Option<NodeId> {
    let able = roster.members.iter().filter(|member| member.services.contains(Services::ROUTE53));
    let heard = able.filter(|member| !member.silent || roster.leader == Some(member.id));
    heard.map(|member| member.id).min_by_key(|id| (Some(*id) != roster.leader, *id))
}

impl ViewPlugin for Route53 {
    fn name(&self) -> &str {
        "route53"
    }

    fn settle(&self) -> (Duration, Duration) {
        (SETTLE, SETTLE_MAX)
    }

    fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_> {
        Box::pin(async move { self.publish_all(&roster).await })
    }

    fn confirm(&mut self) -> Confirming<'_> {
        Box::pin(self.confirm_all())
    }
}
