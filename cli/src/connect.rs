//! How a command reaches a cluster.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use concoord_client::{Client, ClientError, Consistency, Operator, Options};
use concoord_discovery::server::DNS_PORT;
use concoord_wire::interface::Interface;
use tokio::runtime::{Builder, Runtime};

use crate::replica::PORT_DEFAULT;

/// Which cluster.
#[derive(clap::Args, Debug)]
pub(crate) struct Connect {
    /// Replicas of the cluster, as address:port separated by commas, of which any living one is enough; or the cluster's
    /// domain [default: 127.0.0.1:14000]
    #[arg(short, long, value_name = "ADDRS", env = "CONCOORD_CONNECT", global = true)]
    connect: Option<String>,

    #[command(flatten)]
    names: Names,
}

/// Where names lead.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Names {
    /// Name server that is asked where domains lead, with port 53 if none is given [default: those of the system]
    #[arg(long, value_name = "ADDR[:PORT]", env = "CONCOORD_DNS_SERVER", value_parser = dns_server)]
    pub(crate) dns_server: Option<SocketAddr>,
}

fn dns_server(given: &str) -> Result<SocketAddr, String> {
    let address = given.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).ok();
    address.or_else(|| given.parse().ok()).ok_or_else(|| "not an IP address with or without a port".into())
}

impl Connect {
    /// Whether the cluster was named, on the command line or in the environment.
    pub(crate) fn is_given(&self) -> bool {
        self.connect.is_some()
    }

    /// The addresses as the client takes them.
    pub(crate) fn addresses(&self) -> String {
        self.connect.clone().unwrap_or_else(|| format!("127.0.0.1:{PORT_DEFAULT}"))
    }

    /// Connects, with the client's own time-outs.
    ///
    /// # Errors
    /// When no replica answers.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        self.client_with(Options::default()).await
    }

    /// The same, with what else was chosen.
    ///
    /// # Errors
    /// As [`Connect::client`].
    pub(crate) async fn client_with(&self, options: Options) -> anyhow::Result<Client> {
        let addresses = self.addresses();
        let options = Options { dns_server: self.names.dns_server, ..options };
        let connected = Client::connect_with(&addresses, options).await;
        connected.with_context(|| format!("can't reach a replica at {addresses}"))
    }

    /// Connects; neither that nor any request takes longer than `timeout`.
    ///
    /// # Errors
    /// When no replica answers.
    pub(crate) async fn client_within(&self, timeout: Duration) -> anyhow::Result<Client> {
        self.client_within_with(timeout, Options::default()).await
    }

    /// The same, with what else was chosen.
    ///
    /// # Errors
    /// As [`Connect::client_within`]; when the session to go on with is gone.
    pub(crate) async fn client_within_with(&self, timeout: Duration, options: Options) -> anyhow::Result<Client> {
        let connect_timeout = timeout.min(options.connect_timeout);
        self.client_with(Options { timeout, connect_timeout, ..options }).await
    }
}

/// How long an operator's command waits for the cluster, if nothing else is said.
pub(crate) const OPERATOR_TIMEOUT: &str = "30s";

impl Connect {
    /// Gets ready to ask what operators want.
    ///
    /// # Errors
    /// When the addresses are none.
    pub(crate) async fn operator(&self, timeout: Duration) -> anyhow::Result<Operator> {
        Ok(Operator::connect(&self.addresses(), self.names.dns_server, timeout).await?)
    }
}

/// A client of the replicas at `addresses`.
///
/// # Errors
/// When none of them answers.
pub(crate) async fn client(addresses: &str) -> anyhow::Result<Client> {
    Client::connect(addresses).await.with_context(|| format!("can't reach a replica at {addresses}"))
}

/// An object of a cluster.
#[derive(Debug)]
pub(crate) struct Described {
    /// Its name there.
    pub(crate) name: String,
    /// What it can do.
    pub(crate) interface: Interface,
}

/// Asks a cluster for the object of this name, or for its first.
///
/// # Errors
/// When there is none, or nobody answers.
pub(crate) async fn describe(
    client: &Client,
    object: Option<&str>,
    consistency: Consistency,
) -> anyhow::Result<Described> {
    let description = client.describe_as(object, consistency).await?;
    let interface = Interface::decode(&description.interface).map_err(ClientError::Interface)?;
    Ok(Described { name: description.name, interface })
}

/// A runtime of one thread, this one.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("can't start")
}
