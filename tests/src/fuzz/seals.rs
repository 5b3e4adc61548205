//! Checksums made right again after a change. The formats are those of `docs/journal-format.md` and of the engine's
//! snapshots; what is too short for a checksum is left as it is.

/// Bytes in front of a segment's records, of a record's payload, and of a snapshot's note.
const SEGMENT_HEADER: usize = 64;
const RECORD_HEADER: usize = 32;
const SNAPSHOT_HEADER: usize = 64;
/// Bytes in front of a chunk's rows, after its rows, and before the first chunk.
const CHUNK_HEADER: usize = 9;
const CHUNK_CHECK: usize = 8;
const BEFORE_CHUNKS: usize = 12;

/// A segment: its header, and the chain of its records as far as their lengths lead.
pub(super) fn segment(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(..SEGMENT_HEADER) else { return };
    split(header);
    let (mut at, mut chain) = (SEGMENT_HEADER, u32_at(bytes, 24));
    loop {
        let length =
            bytes.get(at + 12..at + 14).map_or(0, |length| usize::from(u16::from_le_bytes([length[0], length[1]])));
        let end = at + RECORD_HEADER + length;
        if length == 0 || end > bytes.len() {
            return;
        }
        bytes[at + 4..at + 8].copy_from_slice(&chain.to_le_bytes());
        chain = crc32c::crc32c(&bytes[at + 4..end]);
        bytes[at..at + 4].copy_from_slice(&chain.to_le_bytes());
        at += RECORD_HEADER + length.next_multiple_of(8);
    }
}

/// The mark of a clean stop.
pub(super) fn mark(bytes: &mut [u8]) {
    if bytes.len() >= 16 {
        split(bytes);
    }
}

/// A tree's peaks.
pub(super) fn tree(bytes: &mut [u8]) {
    if bytes.len() >= 8 {
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A snapshot's file: its header, its note, which is a tree, and its body, which is the engine's.
pub(super) fn snapshot(bytes: &mut [u8]) {
    if bytes.len() < SNAPSHOT_HEADER {
        return;
    }
    let note = usize::from(u16::from_le_bytes([bytes[52], bytes[53]]));
    let body = SNAPSHOT_HEADER + note.next_multiple_of(8);
    if body > bytes.len() {
        return;
    }
    tree(&mut bytes[SNAPSHOT_HEADER..SNAPSHOT_HEADER + note]);
    state(&mut bytes[body..]);
    let crc = |bytes: &[u8]| crc32c::crc32c(bytes).to_le_bytes();
    let (note_crc, body_crc) = (crc(&bytes[SNAPSHOT_HEADER..body]), crc(&bytes[body..]));
    let length = (bytes.len() - body) as u64;
    bytes[36..40].copy_from_slice(&note_crc);
    bytes[40..48].copy_from_slice(&length.to_le_bytes());
    bytes[48..52].copy_from_slice(&body_crc);
    split(&mut bytes[..SNAPSHOT_HEADER]);
}

/// The engine's state: the check after each chunk, as far as their lengths lead.
pub(super) fn state(bytes: &mut [u8]) {
    let mut hasher = blake3::Hasher::new();
    let mut at = BEFORE_CHUNKS;
    hasher.update(bytes.get(..at).unwrap_or_default());
    while let Some(front) = bytes.get(at..at + CHUNK_HEADER) {
        let end = at + CHUNK_HEADER + u32_at(front, 5) as usize;
        let Some(chunk) = bytes.get(at..end) else { return };
        hasher.update(chunk);
        let check = hasher.finalize();
        let Some(place) = bytes.get_mut(end..end + CHUNK_CHECK) else { return };
        place.copy_from_slice(&check.as_bytes()[..CHUNK_CHECK]);
        hasher.update(&check.as_bytes()[..CHUNK_CHECK]);
        at = end + CHUNK_CHECK;
    }
}

/// Where the first chunk of an engine's state ends.
pub(super) fn first_chunk_end(state: &[u8]) -> usize {
    let front = state.get(BEFORE_CHUNKS..BEFORE_CHUNKS + CHUNK_HEADER);
    front.map_or(0, |front| BEFORE_CHUNKS + CHUNK_HEADER + u32_at(front, 5) as usize + CHUNK_CHECK)
}

/// A block whose checksum sits at 12..16.
fn split(bytes: &mut [u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::super::inputs::Inputs;
    use super::*;

    #[test]
    fn a_seal_of_what_is_sound_changes_nothing() {
        let inputs = Inputs::make(1).unwrap();
        let assert_same = |what: &str, seal: fn(&mut [u8]), sound: &[u8]| {
            let mut bytes = sound.to_vec();
            seal(&mut bytes);
            assert!(bytes == sound, "{what}");
            // Nor does it stumble over what is cut.
            (0..sound.len().min(300)).for_each(|length| seal(&mut bytes[..length]));
        };
        assert_same("snapshot", snapshot, &inputs.slot);
        assert_same("state", state, &inputs.state);
        assert_same("tree", tree, &inputs.tree);
        for (name, file) in &inputs.journal {
            let seal = if name == super::super::inputs::MARK { mark } else { segment };
            assert_same(name, seal, file);
        }
    }
}
