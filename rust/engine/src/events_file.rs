//! The events of a run as a file, one JSON object a line, from which every report can be made again.

use crate::fault::EngineError;
use crate::journal::{Feed, News};
use dirigent_core::event::Event;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// The file's name in the folder of a run.
pub const NAME: &str = "events.jsonl";

/// How much later than it happened an event may reach the file.
const PACE: Duration = Duration::from_millis(10);

/// A view that writes down what it reads, on a thread of its own.
#[derive(Debug)]
pub struct EventsFile {
    thread: JoinHandle<Result<(), EngineError>>,
}

impl EventsFile {
    /// Makes the file and starts to write what the feed gives.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be made.
    pub fn start(folder: &Path, feed: Feed) -> Result<Self, EngineError> {
        let mut feed = feed.paced(PACE);
        let path = folder.join(NAME);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| EngineError::Io { doing: "make", path: path.clone(), source })?;
        let mut write = move || {
            loop {
                let News::Events(events) = feed.next(None) else {
                    return Ok(());
                };
                let mut lines = Vec::with_capacity(events.len() * 256);
                for event in events {
                    serde_json::to_writer(&mut lines, &*event).map_err(std::io::Error::from)?;
                    lines.push(b'\n');
                }
                file.write_all(&lines)?;
            }
        };
        let thread = std::thread::Builder::new()
            .name("dirigent-events".to_owned())
            .spawn(move || write().map_err(|source| EngineError::Io { doing: "append to", path, source }))
            .map_err(EngineError::Thread)?;
        Ok(Self { thread })
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    ///
    /// The file could not be written whole.
    pub fn finish(self) -> Result<(), EngineError> {
        self.thread.join().unwrap_or(Err(EngineError::Bug { part: "the writer of events" }))
    }
}

/// Reads the events of a run. A last line cut short by a crash is left out.
///
/// # Errors
///
/// The file cannot be read, or holds something else.
pub fn read(folder: &Path) -> Result<Vec<Event>, EngineError> {
    let path = folder.join(NAME);
    let text = fs::read_to_string(&path).map_err(|source| EngineError::Io {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let event = |(i, line): (usize, &str)| {
        let no_event =
            |reason: String| EngineError::NoEvent { path: PathBuf::clone(&path), line: i + 1, reason };
        let event: Event = serde_json::from_str(line).map_err(|error| no_event(error.to_string()))?;
        if event.seq == i as u64 { Ok(event) } else { Err(no_event(format!("it should be number {i}"))) }
    };
    whole.lines().enumerate().map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use dirigent_core::event::Fact;
    use std::sync::Arc;

    #[test]
    fn what_is_written_reads_back_and_a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Arc::new(Journal::default());
        let file = EventsFile::start(folder.path(), Feed::new(Arc::clone(&journal), 0)).expect("a file");
        journal.append(vec![Fact::RunSuspended, Fact::RunContinued], 7);
        journal.close();
        file.finish().expect("written");
        let path = folder.path().join(NAME);
        let mut text = fs::read_to_string(&path).expect("text");
        text.push_str("{\"seq\":2,\"at");
        fs::write(&path, text).expect("torn");
        let events = read(folder.path()).expect("events");
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].fact, Fact::RunContinued);
    }

    #[test]
    fn a_gap_is_an_error_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(NAME), "{\"seq\":1,\"at_ms\":0,\"kind\":\"run_suspended\"}\n")
            .expect("a file");
        let error = read(folder.path()).expect_err("a gap");
        assert!(error.to_string().starts_with("line 1 of "), "{error}");
    }
}
