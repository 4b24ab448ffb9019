//! Tells of the end of a run to whom the configuration names: a program, or a web hook.
//!
//! After everything else and for a bounded time; what goes wrong here is one line, and changes nothing about the run.

use crate::fault::shown;
use crate::outside::Program;
use crate::record::tail_bytes;
use crate::terminal;
use dirigent_core::event::{CancelReason, Verdict};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::state::State;
use dirigent_core::text::{plain_output, printable};
use dirigent_engine::run::{attempt_folder, counts};
use dirigent_journal::Reader;
use dirigent_project::Config;
use dirigent_project::automation::{Notification, Occasion, Text, check_address};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many earlier runs are looked at for the last one that said something.
const MOST_EARLIER: usize = 50;
/// How many of the last lines of a failure are told, and how many bytes at most.
const LAST_LINES: usize = 20;
const LAST_BYTES: usize = 8192;

/// How one try went wrong, and whether another may go better.
struct Refusal {
    why: String,
    is_final: bool,
}

/// Tells of a run that has ended to everybody who wants to know, all at once.
pub(crate) fn run_ended(state: &State, folder: &Path, config: &Config) {
    let mut wanted = config.notifications().peekable();
    if wanted.peek().is_none() {
        return;
    }
    let previous = previous_verdict(state, folder);
    let Some(body) = body(state, folder, previous.as_deref()) else {
        return;
    };
    let body = format!("{body}\n");
    std::thread::scope(|scope| {
        let about_this = |notification: &&Notification| {
            let is_meant = |occasion: &Occasion| is_about(*occasion, state, previous.as_deref());
            notification.on.0.iter().any(is_meant)
        };
        for (notification, home) in wanted.filter(|(notification, _)| about_this(notification)) {
            let body = &body;
            scope.spawn(move || {
                if let Err(line) = tell(notification, home, body) {
                    terminal::say(&format!("notify     {}\n", printable(&line)));
                }
            });
        }
    });
}

/// Whether a run ended in this way.
fn is_about(occasion: Occasion, state: &State, previous: Option<&str>) -> bool {
    let verdict = state.end().map(|end| end.verdict);
    let gave_up = matches!(state.cancel(), Some(CancelReason::TimedOut | CancelReason::Storage));
    match occasion {
        Occasion::Always => true,
        Occasion::Success => verdict == Some(Verdict::Succeeded),
        Occasion::Recovery => verdict == Some(Verdict::Succeeded) && previous == Some("failed"),
        Occasion::Failure => {
            verdict == Some(Verdict::Failed) || (verdict == Some(Verdict::Cancelled) && gave_up)
        }
    }
}

/// How the last run of the same workflow went; one that was cancelled or cut short says nothing.
fn previous_verdict(state: &State, folder: &Path) -> Option<String> {
    let header = state.header()?;
    let reader = Reader::open(folder.parent()?.parent()?).ok()?;
    let rows = reader.runs(MOST_EARLIER, Some(&header.workflow)).ok()?;
    let is_earlier = |run: &RunId, at_ms: i64| *run != header.run && at_ms <= header.created_at_ms;
    rows.into_iter()
        .filter(|row| is_earlier(&row.id, row.created_at_ms))
        .filter_map(|row| row.verdict)
        .find(|verdict| verdict != Verdict::Cancelled.name())
}

/// What is told of a run.
fn body(state: &State, folder: &Path, previous: Option<&str>) -> Option<Value> {
    let (header, end) = (state.header()?, state.end()?);
    let counts: Value = serde_json::from_str(&counts(state)).unwrap_or_default();
    Some(json!({
        "run": header.run,
        "workflow": header.workflow,
        "verdict": end.verdict,
        "previous_verdict": previous,
        "first_failure": state.first_failure().and_then(|task| first_failure(state, task, folder)),
        "counts": counts,
        "duration_s": (end.at_ms - header.created_at_ms) as f64 / 1e3,
        "folder": folder.to_string_lossy(),
    }))
}

/// The failure that was first, with the last it wrote.
fn first_failure(state: &State, index: TaskIndex, folder: &Path) -> Option<Value> {
    let task = state.task(index)?;
    let logs = folder.join(attempt_folder(index, task.attempts));
    let recorded = task.ended.as_ref().map(|ended| &*ended.last_lines).filter(|lines| !lines.is_empty());
    let written = || {
        let logs =
            ["stderr.log", "stdout.log"].map(|name| plain_output(&tail_bytes(&logs.join(name), LAST_BYTES)));
        logs.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default()
    };
    let text = recorded.map_or_else(written, str::to_owned);
    let lines: Vec<&str> = text.lines().collect();
    Some(json!({
        "task": task.spec.name,
        "status": task.status.name(),
        "outcome": task.ended.as_ref().map(|ended| ended.outcome.sentence()),
        "last_lines": lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
    }))
}

/// Tells one, again and again where that may help; the error is a line for a person.
fn tell(notification: &Notification, home: &Path, body: &str) -> Result<(), String> {
    let (whom, retries) = (whom(notification), notification.retries());
    let mut pause = FIRST_PAUSE;
    for tried in 1.. {
        let refusal = match attempt(notification, home, body) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if refusal.is_final || tried > retries {
            let tries = if tried == 1 { String::new() } else { format!(" ({tried} tries)") };
            return Err(format!("{whom} {}{tries}", refusal.why));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    Ok(())
}

/// Whom a line is about. Of an address the host alone: what follows it is often the secret.
fn whom(notification: &Notification) -> String {
    match (&notification.command, &notification.webhook) {
        (Some(argv), _) => shown(Path::new(&argv.0[0])),
        (None, Some(webhook)) => match &webhook.value {
            Text::Environment(variable) => format!("the web hook in `{variable}`"),
            Text::Plain(address) => {
                let (scheme, rest) = address.split_once("://").unwrap_or_default();
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
            }
        },
        (None, None) => String::new(),
    }
}

fn attempt(notification: &Notification, home: &Path, body: &str) -> Result<(), Refusal> {
    match (&notification.command, &notification.webhook) {
        (Some(argv), _) => {
            let program = Program { argv: &argv.0, folder: home, environment: &[], output: None };
            let deadline = Instant::now() + notification.timeout();
            program.tell(body, deadline, || false).map_err(|why| Refusal { why, is_final: false })
        }
        (None, Some(webhook)) => post(notification, &webhook.value, body),
        (None, None) => Ok(()),
    }
}

/// What a text is when it is needed.
fn read(text: &Text) -> Result<String, Refusal> {
    match text {
        Text::Plain(text) => Ok(text.clone()),
        Text::Environment(name) => {
            let unset = || Refusal { why: format!("was not told: `{name}` is not set"), is_final: true };
            std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(unset)
        }
    }
}

fn post(notification: &Notification, address: &Text, body: &str) -> Result<(), Refusal> {
    let address = read(address)?;
    check_address(&address).map_err(|why| Refusal { why: format!("was not told: {why}"), is_final: true })?;
    let mut request = agent(notification.timeout())
        .post(&address)
        .header("content-type", "application/json")
        .header("user-agent", concat!("dirigent/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &notification.headers.0 {
        request = request.header(name.value.as_str(), read(value)?);
    }
    let status = match request.send(body) {
        Ok(response) => response.status().as_u16(),
        Err(error) => return Err(unreachable(&error)),
    };
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Refusal {
            why: format!("answered {status}: it sends us elsewhere, where nothing is posted"),
            is_final: true,
        }),
        408 | 429 | 500.. => Err(Refusal { why: format!("answered {status}"), is_final: false }),
        _ => Err(Refusal { why: format!("answered {status}"), is_final: true }),
    }
}

/// A client that trusts whom the system trusts, and follows nobody elsewhere: what is posted is for one address.
fn agent(timeout: Duration) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .into()
}

/// Why nobody answered.
fn unreachable(error: &ureq::Error) -> Refusal {
    match error {
        ureq::Error::Timeout(_) => Refusal { why: "did not answer in time".to_owned(), is_final: false },
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            // The message may hold the address.
            Refusal { why: "was not told: its address or a header is not valid".to_owned(), is_final: true }
        }
        error => Refusal { why: format!("cannot be told: {error}"), is_final: false },
    }
}
