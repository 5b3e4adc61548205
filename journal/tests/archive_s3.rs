//! The promise of the archive, against a server that speaks S3 over HTTP.
//!
//! Needs the package `moto[server]` in the Python that `GOLLEM_TEST_PYTHON` names, or in `python3`; says so where it is
//! missing. Credentials come from the environment, as in production, so the checks run in a child of this test: the
//! environment of a process with threads cannot be changed.

#![cfg(feature = "archive")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gollem_journal::{Archive, ArchiveError};
use support::{read_journal, segments, write_journal};

const TEST: &str = "segments_go_to_s3_and_come_back";
/// Set in the child that runs the checks.
const CHILD: &str = "GOLLEM_TEST_ARCHIVE_S3";
const BUCKET: &str = "segments";

/// Serves until its standard input ends, which it does when the test ends, however it ends.
const DOUBLE: &str = r#"
import sys, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://%s:%d" % server.get_host_and_port()
client = boto3.client("s3", endpoint_url=endpoint)
client.create_bucket(Bucket=sys.argv[1], CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
print(endpoint, flush=True)
sys.stdin.read()
"#;

const ENVIRONMENT: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "hushhush"),
    ("AWS_REGION", "eu-test-1"),
    ("AWS_DEFAULT_REGION", "eu-test-1"),
    ("AWS_ALLOW_HTTP", "true"),
];

fn python() -> String {
    std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".into())
}

fn start_double() -> Option<(Child, String)> {
    let has_moto = Command::new(python()).args(["-c", "import moto.server, boto3"]).output();
    if !has_moto.is_ok_and(|found| found.status.success()) {
        return None;
    }
    let mut command = Command::new(python());
    command.args(["-c", DOUBLE, BUCKET]).envs(ENVIRONMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut double = command.stderr(Stdio::null()).spawn().unwrap();
    let mut endpoint = String::new();
    BufReader::new(double.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    assert!(endpoint.starts_with("http://"), "the double did not start");
    Some((double, endpoint.trim_end().to_owned()))
}

#[test]
fn segments_go_to_s3_and_come_back() {
    if std::env::var_os(CHILD).is_some() {
        return check();
    }
    let Some((double, endpoint)) = start_double() else {
        // Past the test harness, which hides what a passing test prints.
        let why =
            format!("{} lacks the package moto (pip install 'moto[server]', or set GOLLEM_TEST_PYTHON)", python());
        return writeln!(std::io::stderr(), "skipped: {why}").unwrap();
    };
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", TEST, "--nocapture"]).envs(ENVIRONMENT).env("AWS_ENDPOINT_URL", &endpoint).env(CHILD, "1");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    stop(double);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn stop(mut double: Child) {
    drop(double.stdin.take());
    double.kill().unwrap();
    double.wait().unwrap();
}

/// Runs some lines of Python with a `client` of the same bucket.
fn with_client(script: &str) {
    let prelude = format!(
        "import os, boto3\nclient = boto3.client('s3', endpoint_url=os.environ['AWS_ENDPOINT_URL'])\nbucket = '{BUCKET}'\n"
    );
    let output = Command::new(python()).args(["-c", &(prelude + script)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A file in the shape of a segment that needs several parts.
fn large_segment(dir: &Path, like: &Path) -> std::path::PathBuf {
    let path = dir.join(like.file_name().unwrap());
    let mut bytes = fs::read(like).unwrap();
    let filler = (0..40 * 1024 * 1024 + 123_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]);
    bytes.extend(filler);
    fs::write(&path, bytes).unwrap();
    path
}

fn check() {
    let journal = tempfile::tempdir().unwrap();
    write_journal(journal.path(), 5_000);
    let mut closed = segments(journal.path());
    closed.pop();
    assert!(closed.len() >= 2);
    let archive = Archive::open(&format!("s3://{BUCKET}/node-1/journal")).unwrap();
    assert!(archive.list().unwrap().is_empty());
    for segment in &closed {
        assert!(!archive.put_segment(segment).unwrap().already);
        assert!(archive.put_segment(segment).unwrap().already);
    }
    assert_eq!(archive.list().unwrap().len(), closed.len());

    let restored = tempfile::tempdir().unwrap();
    assert_eq!(archive.fetch_missing(restored.path()).unwrap().len(), closed.len());
    let (before, after) = (read_journal(journal.path()), read_journal(restored.path()));
    assert!(after.len() > 1_000 && after == before[..after.len()]);
    for segment in &closed {
        let fetched = restored.path().join(segment.file_name().unwrap());
        assert_eq!(fs::read(fetched).unwrap(), fs::read(segment).unwrap());
    }

    // Another prefix is another archive; a segment of several parts; one archived with other bytes.
    let other = Archive::open(&format!("s3://{BUCKET}/node-2")).unwrap();
    assert!(other.list().unwrap().is_empty());
    let dir = tempfile::tempdir().unwrap();
    let large = large_segment(dir.path(), &closed[0]);
    assert!(matches!(archive.put_segment(&large), Err(ArchiveError::Differs { .. })));
    assert!(!other.put_segment(&large).unwrap().already);
    let fetched = tempfile::tempdir().unwrap();
    assert!(fs::read(other.fetch(1, fetched.path()).unwrap()).unwrap() == fs::read(&large).unwrap());

    broken_off_and_changed(&archive, &closed[0]);
    nowhere();
}

fn broken_off_and_changed(archive: &Archive, segment: &Path) {
    let name = segment.file_name().unwrap().to_str().unwrap();
    let key = format!("node-1/journal/{name}");
    // An upload without its hash is no copy, and is completed.
    with_client(&format!("client.delete_object(Bucket=bucket, Key='{key}.sha256')"));
    let fetched = tempfile::tempdir().unwrap();
    assert!(matches!(archive.fetch(1, fetched.path()), Err(ArchiveError::Missing { .. })));
    assert!(!archive.put_segment(segment).unwrap().already);
    // A changed byte is found, and nothing appears.
    with_client(&format!(
        "body = bytearray(client.get_object(Bucket=bucket, Key='{key}')['Body'].read())\n\
         body[-1] ^= 1\n\
         client.put_object(Bucket=bucket, Key='{key}', Body=bytes(body))"
    ));
    assert!(matches!(archive.fetch(1, fetched.path()), Err(ArchiveError::Damaged { .. })));
    assert_eq!(fs::read_dir(fetched.path()).unwrap().count(), 0);
    // Without its hash it is not the beginning of the segment either, so it is not overwritten.
    with_client(&format!("client.delete_object(Bucket=bucket, Key='{key}.sha256')"));
    assert!(matches!(archive.put_segment(segment), Err(ArchiveError::Differs { .. })));
}

fn nowhere() {
    let archive = Archive::open("s3://no-such-bucket/prefix").unwrap();
    let error = archive.list().unwrap_err();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error:?}");
    let text = format!("{error} {error:?} {archive:?}");
    assert!(text.contains("s3://no-such-bucket/prefix") && !text.contains("hushhush"), "{text}");
}
