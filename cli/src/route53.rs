//! `concoord replica -r`: publishing to Amazon Route 53; `concoord route53id` and `route53key`: the access key for it.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use concoord_discovery::{AccessKey, Name, Options as RecordOptions, Route53, Route53Options};
use serde::{Deserialize, Serialize};

use crate::print;

/// Whoever else may read it could sign in our name.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Far more than AWS has.
const PART_CHARS_MAX: usize = 256;

/// How the domains given with -n are published to Route 53.
#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Publish the domains of -n to Amazon Route 53 instead of answering DNS questions [default: off]
    ///
    /// Of the replicas with -r the leader publishes: A, AAAA, SRV and TXT records, all in one batch for each change of the
    /// members. The access key is the one given with concoord route53id and route53key, or else what programs for AWS find:
    /// in the environment, a profile, or the machine's role.
    #[arg(short = 'r', long = "route53", requires = "domains")]
    route53: bool,

    /// Route 53's hosted zone [default: the one with the longest name that the domain ends with]
    #[arg(long, value_name = "ID", requires = "route53")]
    route53_zone_id: Option<String>,

    /// Where Route 53 is, for private clouds and tests [default: AWS_ENDPOINT_URL, or AWS's own]
    #[arg(long, value_name = "URL", requires = "route53")]
    route53_endpoint: Option<String>,

    /// Publish also where another cluster did before, which is then no longer found by the domain [default: off]
    #[arg(long, requires = "route53")]
    route53_take_over: bool,
}

impl Flags {
    /// Whether Route 53 shows the members, and no DNS server here does.
    pub(crate) fn wanted(&self) -> bool {
        self.route53
    }

    /// The publisher of these domains.
    ///
    /// # Errors
    /// When the access key that is kept is half a one, or not kept well.
    pub(crate) fn publisher(self, domains: Vec<Name>, records: RecordOptions) -> anyhow::Result<Route53> {
        let key = Kept::read(&Kept::path()?)?.key()?;
        let Flags { route53_zone_id: zone_id, route53_endpoint: endpoint, route53_take_over: take_over, .. } = self;
        Ok(Route53::new(Route53Options { domains, records, zone_id, endpoint, key, take_over }))
    }
}

/// Keep the id of the AWS access key that replica -r publishes with
///
/// It is kept for this user, in concoord/route53.json in the configuration directory, $XDG_CONFIG_HOME or ~/.config.
#[derive(clap::Args, Debug)]
pub(crate) struct IdArguments {
    /// The id, AWS_ACCESS_KEY_ID elsewhere [default: read from standard input]
    #[arg(value_name = "AWS_ACCESS_KEY_ID")]
    id: Option<String>,
}

/// Keep the secret of the AWS access key that replica -r publishes with
///
/// It is kept where route53id keeps the id, in a file that only this user can read. Left out, or given as -, it is read from
/// standard input, which keeps it out of the shell's history and the list of processes.
#[derive(clap::Args, Debug)]
pub(crate) struct KeyArguments {
    /// The secret, AWS_SECRET_ACCESS_KEY elsewhere [default: read from standard input]
    #[arg(value_name = "AWS_SECRET_ACCESS_KEY", hide_default_value = true)]
    key: Option<Secret>,
}

/// A secret as it is given; never shown.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl From<&str> for Secret {
    fn from(given: &str) -> Secret {
        Secret(given.to_owned())
    }
}

pub(crate) fn run_id(arguments: IdArguments) -> anyhow::Result<()> {
    let given = arguments.id.filter(|id| id != "-");
    let id = given.map_or_else(|| read_part("AWS access key id: "), Ok)?;
    keep(|kept| kept.access_key_id = Some(id), "the id of the access key")
}

pub(crate) fn run_key(arguments: KeyArguments) -> anyhow::Result<()> {
    let given = arguments.key.map(|Secret(key)| key).filter(|key| key != "-");
    let key = given.map_or_else(|| read_part("AWS secret access key (not shown): "), Ok)?;
    keep(|kept| kept.secret_access_key = Some(key), "the secret of the access key")
}

/// A line from standard input; from a terminal it is asked for, and not shown.
fn read_part(prompt: &str) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).context("can't read from the terminal");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("can't read standard input")?;
    Ok(line)
}

/// What is kept of an access key.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
}

impl Kept {
    /// Where it is kept.
    fn path() -> anyhow::Result<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let configuration = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let configuration = configuration.context("no configuration directory: set HOME or XDG_CONFIG_HOME")?;
        Ok(configuration.join("concoord").join("route53.json"))
    }

    /// What is kept there, which may be nothing.
    fn read(path: &Path) -> anyhow::Result<Kept> {
        let shown = path.display();
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(error).with_context(|| format!("can't read {shown}")),
        };
        if mode & OTHERS != 0 {
            bail!("others can read {shown}, which holds a secret: chmod 600 {shown}, and think of a new key");
        }
        let text = fs::read_to_string(path).with_context(|| format!("can't read {shown}"))?;
        // What the parser says may show what stands there.
        serde_json::from_str(&text).ok().with_context(|| {
            format!("{shown} is not what route53id and route53key write: remove it, and give them id and secret again")
        })
    }

    /// The key, if there is one.
    fn key(self) -> anyhow::Result<Option<AccessKey>> {
        match (self.access_key_id, self.secret_access_key) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => Ok(Some(AccessKey { id, secret })),
            (Some(_), None) => bail!("the AWS access key has an id but no secret: give it with concoord route53key"),
            (None, Some(_)) => bail!("the AWS access key has a secret but no id: give it with concoord route53id"),
        }
    }

    /// Writes it aside and puts it in place, so that it is never half there nor readable by others.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let directory = path.parent().context("a file is in a directory")?;
        let failed = || format!("can't write {}", path.display());
        let mut made = fs::DirBuilder::new();
        made.recursive(true).mode(DIRECTORY_MODE).create(directory).with_context(failed)?;
        let aside = path.with_extension(format!("json.{}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&aside)?;
            file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, path)
        })();
        if written.is_err() {
            // It may not be there at all.
            let _ = fs::remove_file(&aside);
        }
        written.with_context(failed)
    }
}

/// Changes what is kept, and says so.
fn keep(change: impl FnOnce(&mut Kept), what: &str) -> anyhow::Result<()> {
    let path = Kept::path()?;
    let mut kept = Kept::read(&path)?;
    change(&mut kept);
    for part in [&mut kept.access_key_id, &mut kept.secret_access_key].into_iter().flatten() {
        *part = part.trim().to_owned();
        let fits = |letter: char| letter.is_ascii_graphic();
        if part.is_empty() || part.len() > PART_CHARS_MAX || !part.chars().all(fits) {
            bail!("{what} is 1 to {PART_CHARS_MAX} letters, digits and signs, without blanks");
        }
    }
    kept.write(&path)?;
    let next = match kept.key() {
        Ok(_) => "replicas with -r publish with it".to_owned(),
        Err(half) => half.to_string(),
    };
    print::line(format!("{what} is kept in {}; {next}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("concoord-route53-{name}-{}", std::process::id())).join("route53.json")
    }

    #[test]
    fn a_key_is_kept_for_its_owner_alone() {
        let path = scratch("kept");
        let half = Kept { access_key_id: Some("AKID".into()), secret_access_key: None };
        half.write(&path).expect("room in the temporary directory");
        let refused = Kept::read(&path).expect("just written").key().expect_err("half a key").to_string();
        assert!(refused.contains("concoord route53key"), "{refused}");
        let whole = Kept { access_key_id: Some("AKID".into()), secret_access_key: Some("wJal/x+y".into()) };
        whole.write(&path).expect("room in the temporary directory");
        assert_eq!(fs::metadata(&path).expect("just written").permissions().mode() & 0o777, FILE_MODE);
        let key = Kept::read(&path).expect("just written").key().expect("whole");
        assert_eq!(key, Some(AccessKey { id: "AKID".into(), secret: "wJal/x+y".into() }));

        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("it is ours");
        let refused = Kept::read(&path).err().expect("others can read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::remove_dir_all(path.parent().expect("it is in a directory")).expect("it is ours");
    }

    #[test]
    fn nothing_kept_is_no_key_and_rubbish_is_told_without_showing_it() {
        let path = scratch("rubbish");
        assert!(Kept::read(&path).expect("nothing there").key().expect("none").is_none());
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("room");
        fs::write(&path, "{\"secret_access_key\": \"wJal\", \"x\": 1}").expect("room");
        fs::set_permissions(&path, PermissionsExt::from_mode(FILE_MODE)).expect("it is ours");
        let refused = format!("{:#}", Kept::read(&path).err().expect("rubbish"));
        assert!(refused.contains("remove it") && !refused.contains("wJal"), "{refused}");
        fs::remove_dir_all(path.parent().expect("it is in a directory")).expect("it is ours");
    }
}
