//! The kernel's table of processes at one moment: who descends from whom, and whom to end.

use std::collections::{HashMap, HashSet};
use std::fs;

/// One process. Source: `proc_pid_stat(5)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) state: u8,
    pub(crate) name: String,
    pub(crate) resident_bytes: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name stands in parentheses and may hold anything, parentheses too: the last one counts.
    fn parse(pid: i32, stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|b| *b == b'(')?;
        let close = stat.iter().rposition(|b| *b == b')')?;
        let fields: Vec<&str> =
            std::str::from_utf8(stat.get(close + 2..)?).ok()?.split_ascii_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|field| field.parse::<i32>().ok());
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            resident_bytes: fields.get(21)?.parse::<u64>().ok()? * rustix::param::page_size() as u64,
            name: String::from_utf8_lossy(&stat[open + 1..close]).into_owned(),
        })
    }

    /// Whether it still does anything. A zombie only waits to be reaped.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it is stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    processes: HashMap<i32, Process>,
    children: HashMap<i32, Vec<i32>>,
}

impl Table {
    /// Reads the whole table.
    pub(crate) fn read() -> Self {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        Self::of(pids.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)))
    }

    fn of(processes: impl Iterator<Item = Process>) -> Self {
        let mut table = Self::default();
        for process in processes {
            table.children.entry(process.parent).or_default().push(process.pid);
            table.processes.insert(process.pid, process);
        }
        table
    }

    pub(crate) fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// The living among these processes and all that descend from them.
    pub(crate) fn with_descendants(&self, roots: impl IntoIterator<Item = i32>) -> HashSet<i32> {
        let mut found = HashSet::new();
        let mut open: Vec<i32> = roots.into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(pid) = open.pop() {
            if !seen.insert(pid) {
                continue;
            }
            open.extend(self.children.get(&pid).into_iter().flatten());
            if self.get(pid).is_some_and(Process::is_alive) {
                found.insert(pid);
            }
        }
        found
    }

    /// The living descendants of this process, without itself.
    pub(crate) fn descendants(&self, of: i32) -> HashSet<i32> {
        let mut found = self.with_descendants([of]);
        found.remove(&of);
        found
    }
}

/// Whether a process was given all of these `NAME=value` strings as its environment. It may have forgotten them since.
pub(crate) fn carries(pid: i32, marks: &[Vec<u8>]) -> bool {
    !marks.is_empty()
        && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            let variables: HashSet<&[u8]> = environ.split(|b| *b == 0).collect();
            marks.iter().all(|mark| variables.contains(mark.as_slice()))
        })
}

/// The direct children of the calling process, the ones adopted from dead parents among them.
///
/// Source: `/proc/<pid>/task/<tid>/children`; where the kernel lacks it, the whole table is read.
pub(crate) fn own_children(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => {
            Table::read().all().filter(|process| process.parent == pid).map(|process| process.pid).collect()
        }
    }
}

/// Sends a signal. An answer of "no such process" is as good as success.
pub(crate) fn signal(pid: i32, signal: i32) -> Result<(), rustix::io::Errno> {
    // SAFETY: `kill` touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ESRCH) | None => Ok(()),
            Some(errno) => Err(rustix::io::Errno::from_raw_os_error(errno)),
        },
    }
}

/// Signals processes, their whole groups first where those lie inside the tree, so that no fork slips through.
pub(crate) fn signal_all(tree: &HashSet<i32>, table: &Table, how: i32) {
    let groups: HashSet<i32> = tree
        .iter()
        .filter_map(|pid| table.get(*pid))
        .filter(|process| process.group > 1 && tree.contains(&process.session))
        .map(|process| process.group)
        .collect();
    for group in &groups {
        let _ = signal(-group, how);
    }
    for pid in tree {
        let in_group = table.get(*pid).is_some_and(|process| groups.contains(&process.group));
        if !in_group {
            let _ = signal(*pid, how);
        }
    }
}

/// The memory of a process with shared pages shared out; its resident memory where the kernel will not say.
pub(crate) fn proportional_bytes(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"42 (a) b (c) S 1 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1000 7 184";
        let process = Process::parse(42, stat).expect("a process");
        assert_eq!(
            (process.name.as_str(), process.parent, process.group, process.session),
            ("a) b (c", 1, 42, 40)
        );
        assert_eq!(process.resident_bytes, 7 * rustix::param::page_size() as u64);
    }

    #[test]
    fn descendants_reach_through_the_dead() {
        let process = |pid, parent, state| Process {
            pid,
            parent,
            group: 0,
            session: 0,
            state,
            name: String::new(),
            resident_bytes: 0,
        };
        let table = Table::of(
            [process(2, 1, b'S'), process(3, 2, b'Z'), process(4, 3, b'R'), process(5, 1, b'S')].into_iter(),
        );
        assert_eq!(table.descendants(2), HashSet::from([4]));
        assert_eq!(table.with_descendants([2, 5]), HashSet::from([2, 4, 5]));
    }
}
