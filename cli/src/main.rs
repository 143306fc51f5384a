//! The `concoord` command: wiring and printing only. What is decided, is decided in the crates under `runtime`.
//!
//! Exit code 0 for success, 2 when the command line does not parse, 1 for every other failure. Errors are one line on
//! standard error.

mod args;
mod backup;
mod bench;
mod build;
mod builtin;
mod call;
mod compiler;
mod completions;
mod connect;
mod demo;
mod duration;
mod health;
mod leave;
mod lock;
mod log;
mod logger;
mod logging;
mod members;
mod object;
mod parent_death;
mod print;
mod replica;
mod restore;
mod route53;
mod session;
mod sessions;
mod view;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Replica(arguments) => replica::run(*arguments),
        Command::Call(arguments) => call::run(&arguments),
        Command::Lock(arguments) => return lock::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Sessions(arguments) => sessions::run(&arguments),
        Command::View(arguments) => view::run(&arguments),
        Command::Members(arguments) => members::run(&arguments),
        Command::Leave(arguments) => leave::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Object(arguments) => object::run(arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Logger(arguments) => logger::run(&arguments),
        Command::Route53id(arguments) => route53::run_id(arguments),
        Command::Route53key(arguments) => route53::run_key(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::CompileModule(_) => return compiler::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<print::ReaderGone>() => ExitCode::SUCCESS,
        // Its findings are printed.
        Err(error) if error.is::<health::Unhealthy>() => ExitCode::FAILURE,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}
