//! `concoord restore`: a new cluster from a backup, or from what a dead one left.

use std::net::SocketAddr;
use std::path::PathBuf;

use concoord_node::Restored;

use crate::compiler::compiler;
use crate::print;
use crate::replica::{PORT_DEFAULT, data_dir_default, ip_address};

/// Make the data directory of the first replica of a new cluster from a backup
///
/// The new cluster has the objects and sessions of the backup, an id of its own, and one member, which `concoord replica`
/// with the same -a, -p and --data-dir runs. Others join it with -b. The old cluster and its clients never mix with it.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What `concoord backup` wrote; with --force-new-cluster also the data directory of a replica that is stopped
    #[arg(value_name = "FILE|DIR")]
    source: PathBuf,

    /// Directory to make, which holds no replica's data yet [default: concoord-data/<addr>-<port>]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address on which peers and clients will reach the replica
    #[arg(short, long, default_value = "127.0.0.1")]
    addr: String,

    /// Port on that address
    #[arg(short, long, default_value_t = PORT_DEFAULT)]
    port: u16,

    /// Go on with what one replica of a dead cluster has: whatever the others decided without it is lost
    /// [default: off]
    #[arg(long)]
    force_new_cluster: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let address = SocketAddr::new(ip_address(&arguments.addr)?, arguments.port);
    let data_dir = arguments.data_dir.clone().unwrap_or_else(|| data_dir_default(address));
    let restored =
        concoord_node::restore(&arguments.source, &data_dir, address, arguments.force_new_cluster, compiler())?;
    let Restored { from, cluster, slot, .. } = restored;
    print::line(format!("cluster {cluster} begins with the state of cluster {from} after slot {slot}"))?;
    if arguments.source.is_dir() {
        print_doubts(&restored)?;
    }
    let (ip, port) = (address.ip(), address.port());
    let named = arguments.data_dir.as_ref().map(|directory| format!(" --data-dir {}", directory.display()));
    let insecure = if ip.is_loopback() { "" } else { " --insecure" };
    print::line(format!("start it with: concoord replica -a {ip} -p {port}{insecure}{}", named.unwrap_or_default()))
}

/// What a replica can't know of its cluster.
fn print_doubts(restored: &Restored) -> anyhow::Result<()> {
    for damage in &restored.damage {
        print::line(format!("damaged: {}", print::clean(damage)))?;
    }
    let Restored { slot, decided, .. } = restored;
    if slot > decided {
        print::line(format!(
            "up to slot {decided} it is known as decided; the {} slots after that were accepted by this replica",
            slot.0 - decided.0
        ))?;
    }
    print::line("what the others decided and this replica never heard of is lost")
}
