//! The point that the environment names, and the end of the process there.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// Environment variable that names the point: `name`, or `name:N` for the N-th time.
const VARIABLE: &str = "GOLLEM_CRASH_AT";

/// The points of this crate, in the order in which a journal's life passes them first.
pub const CRASH_POINTS: &[&str] = &[
    "open.locked",
    "open.read",
    // Three times an opening: the mark of the clean stop, its temporary file, the next segment.
    "open.leftover-removed",
    "open.leftovers-synced",
    "open.group-rewritten",
    "open.tail-zeroed",
    "open.extended",
    "open.synced",
    "prepare.created",
    "prepare.allocated",
    "prepare.synced",
    "rotate.begin",
    "rotate.header-written",
    "rotate.header-synced",
    "rotate.renamed",
    "rotate.folder-synced",
    "append.begin",
    "append.written",
    "append.synced",
    "snapshot.created",
    "snapshot.body-written",
    "snapshot.header-written",
    "snapshot.synced",
    "snapshot.renamed",
    "snapshot.folder-synced",
    "head.written",
    "retention.removed",
    "close.begin",
    "close.next-removed",
    "close.trimmed",
    "close.trim-synced",
    "mark.created",
    "mark.written",
    "mark.synced",
    "mark.renamed",
    "mark.folder-synced",
];

/// The point at which this process ends, and how often it has still to be passed.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: String,
    at: u64,
}

static TARGET: OnceLock<Option<Target>> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Reads `GOLLEM_CRASH_AT` once for the whole process; a later call changes nothing. `others` are the lists of the other
/// crates' points. An unknown name or an impossible number stops the process with a message.
pub fn arm(others: &[&[&str]]) {
    target(others);
}

/// Ends the process if this is the point, and the time, that it was told to end at. Used by
/// [`crash_point!`](crate::crash_point).
pub fn pass(name: &str) {
    let Some(target) = target(&[]).filter(|target| target.name == name) else { return };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == target.at {
        kill_process(getpid(), Signal::KILL).ok();
        // Only if the system refused to kill it.
        std::process::abort();
    }
}

fn target(others: &[&[&str]]) -> Option<&'static Target> {
    let read = || {
        let value = std::env::var_os(VARIABLE)?;
        match parse(&value.to_string_lossy(), others) {
            Ok(target) => Some(target),
            Err(why) => {
                writeln!(std::io::stderr(), "{VARIABLE}={}: {why}", value.display()).ok();
                std::process::abort();
            }
        }
    };
    TARGET.get_or_init(read).as_ref()
}

fn parse(value: &str, others: &[&[&str]]) -> Result<Target, String> {
    let (name, at) = value.split_once(':').unwrap_or((value, "1"));
    let known: Vec<&str> = [&CRASH_POINTS].into_iter().chain(others).flat_map(|list| list.iter().copied()).collect();
    if !known.contains(&name) {
        // The names too: a test asks the very process that it kills which points there are.
        return Err(format!("no crash point is named {name:?}, only: {}", known.join(", ")));
    }
    match at.parse() {
        Ok(at) if at > 0 => Ok(Target { name: name.to_owned(), at }),
        _ => Err(format!("{at:?} is not a number of times, which starts at 1")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_name_is_at_one_place_in_the_source_and_every_place_has_a_listed_name() {
        let mut found = Vec::new();
        names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.sort();
        let mut listed: Vec<String> = CRASH_POINTS.iter().map(|&name| name.to_owned()).collect();
        listed.sort();
        assert_eq!(found, listed);
        listed.dedup();
        assert_eq!(listed.len(), CRASH_POINTS.len(), "a name is listed once");
    }

    /// Names of the points in the code below `dir`; comments do not count.
    fn names_in(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names_in(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let points = code.filter_map(|line| line.split_once(concat!("crash_point", "!(\"")));
            found.extend(points.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())));
        }
    }

    #[test]
    fn a_target_is_a_known_name_and_a_number_from_one() {
        let at = |name: &str, at| Ok(Target { name: name.to_owned(), at });
        assert_eq!(parse("append.written", &[]), at("append.written", 1));
        assert_eq!(parse("append.written:3", &[]), at("append.written", 3));
        assert_eq!(parse("queue.full:2", &[&["other"], &["queue.full"]]), at("queue.full", 2));
        for wrong in
            ["append.writen", "", ":1", "append.written:0", "append.written:", "append.written:x", "queue.full"]
        {
            assert!(parse(wrong, &[&["other"]]).is_err(), "{wrong:?}");
        }
    }
}
