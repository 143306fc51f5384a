//! The command line as a whole. What a command takes stands in the file of that command.

use clap::{Parser, Subcommand};

use crate::{
    backup, bench, call, compiler, completions, demo, health, leave, lock, log, logger, members, object, replica,
    restore, route53, sessions, view, watch,
};

/// Replicates an object: every replica runs the same method calls in the same
/// order, so clients see one object that survives crashes.
///
/// Start a replica, start another that joins it, and call the object:
///
///   concoord replica -o counter
///   concoord replica -o counter -b 127.0.0.1:14000
///   concoord call -c "127.0.0.1:14000, 127.0.0.1:14001" increment
#[derive(Parser, Debug)]
#[command(name = "concoord", version, arg_required_else_help = true, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Replica(Box<replica::Arguments>),
    Call(call::Arguments),
    Lock(lock::Arguments),
    Watch(watch::Arguments),
    Sessions(sessions::Arguments),
    View(view::Arguments),
    Members(members::Arguments),
    Leave(leave::Arguments),
    Health(health::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    Object(object::Arguments),
    Log(log::Arguments),
    Logger(logger::Arguments),
    Route53id(route53::IdArguments),
    Route53key(route53::KeyArguments),
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
    CompileModule(compiler::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_first_lines_of_the_guide_parse() {
        for line in [
            "concoord replica -o concoord.object.counter.Counter -a 127.0.0.1 -p 14000",
            "concoord replica -o concoord.object.counter.Counter -b 127.0.0.1:14000 -a 127.0.0.1 -p 14001",
            "concoord replica --objectname counter --addr 127.0.0.1 --port 14000 --boot 127.0.0.1:14001 --debug",
            "concoord call increment",
            "concoord call account.deposit 5 -3",
            "concoord call __concoordinit__",
            "concoord call lock.acquire --session my.session --ttl 10s",
            "concoord lock deploy -- make -j 4",
            "concoord watch kv --topic color --from 17 --json",
            "concoord sessions --json",
            "concoord sessions end 17-0",
            "concoord replica -a 127.0.0.1 -p 14000",
            "concoord replica -o concoord.object.counter.Counter -a 127.0.0.1 -b 127.0.0.1:14000 -n counterdomain.com",
            "concoord replica -o counter -l 127.0.0.1:12000 -w -d",
            "concoord replica -o counter --domainname a.org --domainname b.org. --logger localhost:12000 --writetodisk",
            "concoord logger -a 127.0.0.1 -p 12000",
            "concoord route53id AKIAIOSFODNN7EXAMPLE",
            "concoord route53key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "concoord route53key",
            "concoord replica -o concoord.object.counter.Counter -n counterdomain.com -r",
            "concoord replica -o counter --domainname counterdomain.com --route53",
            "concoord members",
            "concoord members -c 127.0.0.1:14000 --json",
            "concoord members list --json -c 127.0.0.1:14000",
            "concoord members remove 4f -c 127.0.0.1:14000",
            "concoord members -c 127.0.0.1:14000 evict 127.0.0.1:14001",
            "concoord leave -c 127.0.0.1:14000",
            "concoord health --require 3",
            "concoord restore counter.backup -p 14010 --force-new-cluster",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("not ok"));
        }
        let quoted = ["concoord", "call", "-c", "127.0.0.1:14000, 127.0.0.1:14001", "increment"];
        assert!(Arguments::try_parse_from(quoted).is_ok());
    }

    #[test]
    fn what_does_not_parse_has_exit_code_2() {
        for line in [
            "concoord frobnicate",
            "concoord call",
            "concoord demo --replicas 2",
            "concoord members remove",
            "concoord backup",
            "concoord lock deploy",
            "concoord sessions end 17",
            "concoord replica -o counter -r",
        ] {
            let error = Arguments::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_program_in_the_readme_is_the_example() {
        let (_, program) =
            include_str!("../examples/counter.rs").split_once("\n\n").expect("a doc line, then the program");
        assert!(include_str!("../../README.md").contains(program));
    }
}
