//! A run as one page that asks nothing of anybody: no request, no font, no library. Everything is in the page without
//! its script; the script only adds sorting, search, filters and the choice of light or dark.

mod head;
mod graph;
mod timeline;
mod given;
mod tasks;

use crate::escape::{Escaped, base64};
use crate::logs::Logs;
use crate::past::PastRun;
use crate::summary::Summary;
use crate::svg::style_on_page;
use crate::times::Times;
use dirigent_core::State;
use sha2::{Digest, Sha256};
use std::fmt;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// What the page is made of.
pub(crate) struct Page<'a> {
    pub(crate) state: &'a State,
    pub(crate) times: &'a Times,
    pub(crate) summary: &'a Summary,
    pub(crate) past: &'a [PastRun],
    pub(crate) logs: &'a dyn Logs,
    pub(crate) folder: Option<&'a str>,
}

/// Writes the page. It is meant to lie in the run's folder: its links to logs are relative.
pub(crate) fn render(page: &Page<'_>) -> String {
    let mut out = String::with_capacity((32 << 10) + page.summary.tasks.len() * 512);
    write(&mut out, page).expect("writing to memory cannot fail");
    out
}

fn write(out: &mut String, page: &Page<'_>) -> fmt::Result {
    let Page { state, times, summary, past, logs, folder } = *page;
    let drawing = graph::drawing(state);
    open(out, summary, drawing.is_some())?;
    head::write(out, summary)?;
    head::trouble(out, summary, folder)?;
    if let Some(drawing) = &drawing {
        graph::write(out, drawing, times)?;
    }
    timeline::write(out, state, times, summary)?;
    given::past(out, summary, past)?;
    given::parameters(out, state)?;
    tasks::write(out, summary, logs)?;
    given::environment(out, state)?;
    close(out, summary)
}

/// The policy names style and script by their digests: should text of a task ever come to be markup, it could still
/// neither run nor fetch anything.
fn open(out: &mut dyn fmt::Write, summary: &Summary, has_graph: bool) -> fmt::Result {
    let style = if has_graph { format!("{STYLE}{}", style_on_page()) } else { STYLE.to_owned() };
    let digest = |text: &str| base64(&Sha256::digest(text));
    write!(
        out,
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n<title>{} {}</title>\n<style>{style}</style>\n\
         </head>\n<body>\n",
        digest(&style),
        digest(SCRIPT),
        Escaped(&summary.workflow),
        Escaped(&summary.sentence),
    )
}

fn close(out: &mut dyn fmt::Write, summary: &Summary) -> fmt::Result {
    write!(
        out,
        "<footer>dirigent {} · run {}</footer>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        Escaped(&summary.version),
        Escaped(&summary.run),
    )
}
