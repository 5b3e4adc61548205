//! Round trips, and one refusal for each rule of the format.

use super::*;
use crate::generate::{self, Shape};

fn work() -> Work {
    generate::work(Shape::Steady, 1, generate::Volume { warm: 50, measured: 500 }).unwrap()
}

/// What reading says about a file of these bytes, which is at `name`.
fn read(name: &str, bytes: &[u8]) -> anyhow::Result<Work> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Work::read(&path)
}

fn bytes_of(work: &Work) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole.bin");
    work.write(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// Reading must fail after the byte at `at` became `value`, and say why.
fn refused(at: usize, value: u8, reason: &str) {
    let mut bytes = bytes_of(&work());
    bytes[at] = value;
    let error = format!("{:#}", read("bad.bin", &bytes).unwrap_err());
    assert!(error.contains("bad.bin") && error.contains(reason), "{error}");
}

#[test]
fn what_was_written_is_read_back() {
    let work = work();
    let bytes = bytes_of(&work);
    assert_eq!(bytes.len(), HEADER_BYTES + work.ops.len() * RECORD_BYTES);
    assert_eq!(read("same.bin", &bytes).unwrap(), work);
    assert_eq!(work.unmeasured().len() as u64, work.header.prefill + 50);
    assert_eq!(work.measured().len(), 500);
}

#[test]
fn a_header_that_breaks_a_rule_is_refused_by_the_name_of_its_field() {
    refused(0, b'X', "magic");
    refused(8, 2, "version is 2");
    refused(12, 31, "record size is 31");
    refused(16, 1, "bytes long");
    refused(23, 1, "record counts");
    refused(47, 0x80, "prices");
    refused(54, 1, "prices");
    refused(58, 0xFF, "max order id");
    refused(56, 0, "max order id");
}

#[test]
fn a_record_that_breaks_a_rule_is_refused_by_its_number() {
    let second = HEADER_BYTES + RECORD_BYTES;
    refused(second, 9, "record 1: kind 9");
    refused(second + 1, 2, "record 1: side 2");
    refused(second + 2, 2, "record 1: time in force 2");
    refused(second + 3, 1, "record 1: the byte");
    refused(second + 8, 77, "record 1: order id 77");
    refused(second + 22, 1, "record 1: price");
    refused(second + 28, 1, "record 1: quantity");
}

#[test]
fn a_user_or_quantity_of_zero_is_refused() {
    for (field, reason) in [(4..8, "user is 0"), (24..32, "quantity is 0")] {
        let mut bytes = bytes_of(&work());
        bytes[HEADER_BYTES..][field].fill(0);
        let error = format!("{:#}", read("zero.bin", &bytes).unwrap_err());
        assert!(error.contains("record 0") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_file_that_is_cut_or_too_long_is_refused() {
    let bytes = bytes_of(&work());
    assert!(format!("{:#}", read("cut.bin", &bytes[..100]).unwrap_err()).contains("less than a header"));
    assert!(format!("{:#}", read("cut.bin", &bytes[..bytes.len() - 1]).unwrap_err()).contains("bytes long"));
    assert!(format!("{:#}", read("long.bin", &[bytes.as_slice(), &[0]].concat()).unwrap_err()).contains("bytes long"));
    let missing = Work::read(Path::new("no/such/file.bin")).unwrap_err();
    assert!(format!("{missing:#}").contains("no/such/file.bin: cannot be opened"));
}

#[test]
fn a_file_without_measured_records_is_refused() {
    let mut work = work();
    work.header.warm += work.header.measured;
    work.header.measured = 0;
    assert!(format!("{:#}", read("none.bin", &bytes_of(&work)).unwrap_err()).contains("no measured record"));
}

#[test]
fn the_hash_is_that_of_the_format() {
    let mut answer = Answer::EMPTY;
    answer.add(Trade { maker: 1, taker: 2, price: 3, quantity: 4 });
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let expected = mix(mix(mix(mix(0x1234, 1), 2), 3), 4);
    assert_eq!(answer, Answer { trades: 1, quantity: 4, hash: TradeHash(expected) });
}
