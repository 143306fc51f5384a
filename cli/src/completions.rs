//! `concoord completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args;
use crate::print;

/// Print completions for a shell
///
/// For bash, for example: concoord completions bash > ~/.local/share/bash-completion/completions/concoord
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut args::Arguments::command(), "concoord", &mut script);
    print::bytes(&script)
}
