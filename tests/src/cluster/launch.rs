//! What a replica is started with.

/// What a replica is started with, beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Flags, as on a command line.
    pub flags: Vec<String>,
    /// Environment variables, beside the test's own.
    pub environment: Vec<(String, String)>,
    /// Name of the network namespace it runs in; the test's own when `None`.
    pub namespace: Option<String>,
}

impl Launch {
    /// With these flags, and nothing special about the rest.
    #[must_use]
    pub fn with_flags(flags: &[&str]) -> Launch {
        Launch { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Launch::default() }
    }

    /// The same with these environment variables.
    #[must_use]
    pub fn with_environment(self, environment: Vec<(String, String)>) -> Launch {
        Launch { environment, ..self }
    }

    /// The same in this network namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Launch {
        Launch { namespace: Some(namespace.to_owned()), ..self }
    }
}
