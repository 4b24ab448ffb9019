//! How long it takes to load 10,000 schedules and to know when each comes next, beside reading the same expressions alone.

#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use dirigent_schedule::{CatchUp, Schedule, Timetable, Timing, zone};
use std::time::{Duration, Instant};

const COUNT: usize = 10_000;
const ROUNDS: usize = 7;

fn main() {
    let zones: Vec<_> = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney", "UTC"]
        .into_iter()
        .map(|name| zone::named(name).expect("the system has time zones"))
        .collect();
    let texts: Vec<String> = (0..COUNT).map(text).collect();
    let now_ms = 1_790_000_000_000;
    let mut best = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for text in &texts {
            std::hint::black_box(text.parse::<croner::Cron>().expect("an expression"));
        }
        best[0] = best[0].min(started.elapsed());

        let started = Instant::now();
        let mut timetable = Timetable::default();
        for (number, text) in texts.iter().enumerate() {
            let timing = Timing::cron(text, &zones[number % zones.len()]).expect("an expression");
            let schedule = Schedule::new(&number.to_string(), timing, Duration::from_secs(60));
            timetable.add(schedule, CatchUp::Last, now_ms);
        }
        best[1] = best[1].min(started.elapsed());

        let started = Instant::now();
        let due = timetable.due(now_ms + 86_400_000);
        best[2] = best[2].min(started.elapsed());
        assert!(due.len() > COUNT / 4, "{}", due.len());
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!("{COUNT} expressions read by croner alone: {:.1} ms", ms(best[0]));
    println!(
        "the same checked, read, in a timetable that knows their next times: {:.1} ms, {:.2} times as long",
        ms(best[1]),
        ms(best[1]) / ms(best[0])
    );
    println!("a day later, what is due of them and their next times: {:.1} ms", ms(best[2]));
}

/// Expressions of many kinds, none often the same.
fn text(number: usize) -> String {
    let (minute, hour, day) = (number % 60, number / 60 % 24, number / 1440 % 7);
    match number % 5 {
        0 => format!("{minute} {hour} * * *"),
        1 => format!("*/{} * * * *", number % 29 + 1),
        2 => format!("{minute} {hour} * * {day}"),
        3 => format!("{minute} {hour} {} * *", number % 28 + 1),
        _ => format!("{minute},{} {hour} 1-15 jan-jun MON-FRI", (minute + 7) % 60),
    }
}
