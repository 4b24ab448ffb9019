//! How fast output is looked through for secrets: `cargo run --release --example mask -p dirigent-process`.

#![allow(clippy::print_stdout, reason = "it is for looking at")]

use dirigent_process::Secrets;
use dirigent_process::output::Capture;
use std::collections::BTreeMap;
use std::time::Instant;

/// Bytes of one read of a busy pipe.
const READ_BYTES: usize = 256 * 1024;
const READS: usize = 4_000;

fn main() {
    let lines: String = (0..)
        .map(|n| {
            format!(
                "2026-11-21 10:00:{:02} INFO row {n} of the table was loaded into the warehouse\n",
                n % 60
            )
        })
        .take(READ_BYTES / 60)
        .collect();
    let chunk = &lines.as_bytes()[..READ_BYTES];
    let began = Instant::now();
    let found: usize =
        (0..READS).map(|_| memchr::memchr_iter(b'\n', std::hint::black_box(chunk)).count()).sum();
    tell("line breaks counted by memchr", began);
    assert!(found > 0);
    for count in [0, 1, 3, 10, 40] {
        let secrets = (0..count).map(|n| (format!("S{n}"), format!("gh{}p_{n}x/Zk81hT+q9\"Lw", n * 7919)));
        let secrets = Secrets::new(secrets.collect(), Vec::new()).expect("good values");
        measure(&format!("{count} secrets"), &secrets, chunk);
    }
    let key: String = (0..50).map(|n| format!("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC{n:032}\n")).collect();
    let key = Secrets::new(BTreeMap::from([("KEY".to_owned(), key)]), Vec::new()).expect("a good value");
    measure("a key of 50 lines", &key, chunk);
}

fn measure(what: &str, secrets: &Secrets, chunk: &[u8]) {
    let mut capture = Capture::new("/dev/null".into(), None).masking(secrets);
    let began = Instant::now();
    for _ in 0..READS {
        capture.write(chunk);
    }
    tell(what, began);
}

fn tell(what: &str, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!("{what:>30}: {:6.0} MB/s", (READS * READ_BYTES) as f64 / 1e6 / seconds);
}
