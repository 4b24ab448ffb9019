//! Processes that an engine left behind: found by the mark that all of a run carry, and ended.

use crate::table::{Table, carries, signal};
use std::time::{Duration, Instant};

/// How long the killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends every process that was given this `NAME=value` string as its environment, and returns each as `pid name`. Those
/// that still live at the end, since they may not be signalled or the kernel does not let go of them, are in the second
/// list.
pub fn end_leftovers(mark: &[u8]) -> (Vec<String>, Vec<String>) {
    let marks = [mark.to_vec()];
    let own = std::process::id().cast_signed();
    let living = || -> Vec<(i32, String)> {
        let table = Table::read();
        let ours = table.all().filter(|process| process.pid != own && process.is_alive());
        ours.filter(|process| carries(process.pid, &marks))
            .map(|process| (process.pid, format!("{} {}", process.pid, process.name)))
            .collect()
    };
    let found = living();
    let mut left = found.clone();
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() && Instant::now() < deadline {
        for (pid, _) in &left {
            let _ = signal(*pid, libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
        left = living();
    }
    let names = |list: Vec<(i32, String)>| list.into_iter().map(|(_, name)| name).collect();
    (names(found), names(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_carries_the_mark_is_ended_and_nothing_else() {
        let name = format!("DIRIGENT_TEST_{}", std::process::id());
        let sleep = |value: &str| {
            Command::new("sleep").arg("600").env(&name, value).spawn().expect("sleep is on every machine")
        };
        let (mut marked, mut other) = (sleep("mine"), sleep("yours"));
        let (found, left) = end_leftovers(format!("{name}=mine").as_bytes());
        assert_eq!((found.len(), left.len()), (1, 0), "{found:?} {left:?}");
        assert!(!marked.wait().expect("it ended").success());
        assert_eq!(other.try_wait().expect("it can be asked"), None);
        other.kill().and_then(|()| other.wait()).expect("it can be ended");
    }
}
