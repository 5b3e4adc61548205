//! The crash points of payments; see [`gollem_journal::crash`].

/// In the order in which money passes them: in, back, and out.
pub(crate) const CRASH_POINTS: &[&str] = &[
    // A payment exists at the processor, and nothing of it here.
    "payments.begun",
    "payments.renewed",
    // It is paid there, and not credited; credited, and its refunds and disputes not looked at.
    "payments.paid",
    "payments.credited",
    // A refund is booked, and the processor not asked; it has made it, and the letter is still due.
    "payments.refunding",
    "payments.refunded",
    // A provider has an account there that is not known here.
    "payments.connected",
    // Before a transfer, and after each step from there to the bank, or back.
    "payments.transferring",
    "payments.transferred",
    "payments.sent",
    "payments.banked",
    "payments.reversed",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

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
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let points = code.filter_map(|line| line.split_once(concat!("crash_point", "!(\"")));
            found.extend(points.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}
