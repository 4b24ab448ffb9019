//! A run as JUnit XML, for the pages of continuous-integration services.

use crate::logs::{Logs, StreamName};
use crate::script_result::{ScriptStatus, script_status};
use crate::summary::{Summary, TaskSummary};
use dirigent_core::text::printable;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// How much of each stream a test case carries that did not pass. Those that passed carry none, as test runners have
/// it: services load the whole file.
const OUTPUT_BYTES: usize = 16 << 10;

/// Writes the report. Characters that XML cannot hold are left out.
pub(crate) fn render(summary: &Summary, logs: &dyn Logs) -> String {
    let mut suite = TestSuite::new(printable(&summary.workflow));
    suite.set_time(duration(summary.elapsed_s));
    suite.timestamp = summary.created.parse().ok();
    suite.add_property(("run", summary.run.as_str()));
    suite.add_test_cases(summary.tasks.iter().map(|task| case(summary, task, logs)));
    let mut report = Report::new(printable(&summary.workflow));
    report.set_time(duration(summary.elapsed_s));
    report.timestamp = summary.created.parse().ok();
    report.add_test_suite(suite);
    report.to_string().expect("writing to memory cannot fail")
}

fn case(summary: &Summary, task: &TaskSummary, logs: &dyn Logs) -> TestCase {
    let mut case = TestCase::new(printable(&task.name), status(task));
    case.set_classname(printable(&summary.workflow));
    case.set_time(duration(task.wall_s));
    case.timestamp = task.started.as_ref().and_then(|started| started.parse().ok());
    let passed = matches!(case.status, TestCaseStatus::Success { .. });
    for (name, _) in task.streams().filter(|_| !passed) {
        let tail = logs.tail(task.index, name, OUTPUT_BYTES);
        match name {
            StreamName::Stdout => case.set_system_out(tail),
            StreamName::Stderr => case.set_system_err(tail),
        };
    }
    case
}

fn status(task: &TaskSummary) -> TestCaseStatus {
    let kind = match script_status(task) {
        ScriptStatus::Passed => return TestCaseStatus::success(),
        ScriptStatus::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(task.skip_reason.clone().unwrap_or_default());
            return status;
        }
        ScriptStatus::Failed | ScriptStatus::Timeout => NonSuccessKind::Failure,
        ScriptStatus::Error => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(task.sentence.clone());
    status.set_type(task.outcome.clone().unwrap_or_else(|| task.status.name().to_owned()));
    if !task.last_lines.is_empty() {
        status.set_description(task.last_lines.clone());
    }
    status
}

fn duration(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}
