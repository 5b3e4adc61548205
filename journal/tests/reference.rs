//! The dumps in `docs/journal-format.md` are the golden files, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

/// The bytes of a dump: each line has an offset in hexadecimal, two spaces, bytes, and words after three spaces.
fn bytes_of(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.is_empty()) {
        let (offset, rest) = line.split_once("  ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "{line}");
        let hex = rest.split_once("   ").map_or(rest, |(hex, _)| hex);
        bytes.extend(hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_dumps_of_the_reference_are_the_golden_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let reference = fs::read_to_string(root.join("docs/journal-format.md")).unwrap();
    let mut checked = Vec::new();
    for block in reference.split("```text ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let dumped = bytes_of(rest.split_once("```").unwrap().0);
        let file = fs::read(root.join(name)).unwrap();
        if name.ends_with(".txt") {
            let hex: String = dumped.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(String::from_utf8(file).unwrap().lines().nth(3), Some(hex.as_str()), "{name}, fourth line");
        } else {
            assert_eq!(dumped, file, "{name}");
        }
        checked.push(name.rsplit('/').next().unwrap());
    }
    assert_eq!(checked, ["00000000000000000001.log", "clean", "snapshot.0", "golden_commands.txt"]);
}
