//! The program `dirigent`: the command line, and, when an engine calls it so, the guard of its children.

use dirigent_process::guard;
use std::ffi::OsString;

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|verb| verb == guard::VERB) {
        let engine = args.get(2).and_then(|pid| pid.to_str()?.parse().ok());
        std::process::exit(
            engine.map_or(2, |pid| guard::run(pid, dirigent_cli::VERSION, std::env::vars_os())),
        );
    }
    std::process::exit(dirigent_cli::main(args));
}
