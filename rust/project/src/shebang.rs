//! The first line of a script, read as the kernel reads it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;

/// The program and at most one argument that a file's first line names; `None` when there is no such line.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Vec<OsString>>> {
    let mut head = Vec::with_capacity(LOOKED_AT);
    File::open(path)?.take(LOOKED_AT as u64).read_to_end(&mut head)?;
    Ok(parse(&head))
}

/// The program and at most one argument that the first line of these bytes names.
///
/// Everything after the program is one argument, blanks inside it included (execve(2)): `#!/usr/bin/env bash -x` makes
/// `env` look for a program named `bash -x`, here as at the kernel.
pub fn parse(head: &[u8]) -> Option<Vec<OsString>> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A carriage return belongs to the name for the kernel, and never to what the author meant.
    let line = trim(line.strip_suffix(b"\r").unwrap_or(line));
    let program_end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
    let (program, argument) = line.split_at(program_end);
    if program.is_empty() {
        return None;
    }
    Some([program, trim(argument)].into_iter().filter(|part| !part.is_empty()).map(os_string).collect())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: &[&str]) {
        let parsed = parse(head.as_bytes()).unwrap_or_default();
        assert_eq!(parsed, expected.iter().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_program_and_one_argument_are_read() {
        check("#!/bin/sh\nexit", &["/bin/sh"]);
        check("#! /usr/bin/env  bash \n", &["/usr/bin/env", "bash"]);
        check("#!/usr/bin/env -S bash -x\n", &["/usr/bin/env", "-S bash -x"]);
        check("#!/bin/bash\t-eu\r\n", &["/bin/bash", "-eu"]);
        check("#!/bin/sh", &["/bin/sh"]);
    }

    #[test]
    fn what_names_no_program_is_none() {
        check("#!\n/bin/sh", &[]);
        check("#!  \t\n", &[]);
        check(" #!/bin/sh", &[]);
        check("", &[]);
    }
}
