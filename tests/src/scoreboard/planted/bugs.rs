//! The bugs: each a text of the program, what stands there instead, and the row that must fail.
//!
//! A text is an expression or whole statements, so that it can stand in a block of its own.

/// A bug to be planted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bug {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// Found exactly once in the file.
    pub(super) original: &'static str,
    pub(super) bug: &'static str,
    pub(super) row: &'static str,
}

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "acknowledged before the sync",
        file: "journal/src/segment.rs",
        original: r#"self.file.sync_data().map_err(self.fail(storage, "sync"))?;"#,
        bug: "",
        row: "2",
    },
    Bug {
        name: "folder not synced after the rename of a segment",
        file: "journal/src/segment.rs",
        original: r#"storage.sync_dir().map_err(fail("sync the folder of", &name))?;"#,
        bug: "",
        row: "2",
    },
    Bug {
        name: "segment gets its name before its header is synced",
        file: "journal/src/segment.rs",
        original: r#"file.sync_data().map_err(fail("sync", NEXT_NAME))?;"#,
        bug: "",
        row: "2",
    },
    Bug {
        name: "group visited twice",
        file: "journal/src/walk.rs",
        original: "self.visit_group(group)?;",
        bug: "self.visit_group(group)?; self.visit_group(group)?;",
        row: "2",
    },
    Bug {
        name: "mark of the clean stop stays",
        file: "journal/src/open.rs",
        original: "storage.remove(name)",
        bug: "if name == MARK_NAME { Ok(()) } else { storage.remove(name) }",
        row: "2",
    },
    Bug {
        name: "last record of a group not marked",
        file: "journal/src/encoder.rs",
        original: "self.finish_last(group, FLAG_LAST);",
        bug: "self.finish_last(group, 0);",
        row: "2",
    },
    Bug {
        name: "tail read beyond what is durable",
        file: "journal/src/tail.rs",
        original: "self.position.seq < until",
        bug: "true",
        row: "2",
    },
    Bug {
        name: "torn group visited in part",
        file: "journal/src/decode.rs",
        original: "return Decoded::Bad(Blemish { at, expected_seq: cursor.seq.saturating_add(1), damage, self_valid });",
        bug: "return if index > 0 { Decoded::Whole { bytes: at, after: cursor } } else { Decoded::Nothing };",
        row: "3",
    },
    Bug {
        name: "witness ignored",
        file: "journal/src/recovery.rs",
        original: "evidence.last_seq < evidence.witnessed",
        bug: "false",
        row: "3",
    },
    Bug {
        name: "torn tail not cut",
        file: "journal/src/open.rs",
        original: r#"write_zeros(&file, end.end, zero_to, &never).map_err(fail("cut the torn tail of"))?;"#,
        bug: "",
        row: "3",
    },
    Bug {
        name: "checksum not checked",
        file: "journal/src/decode.rs",
        original: "header.crc != RecordHeader::checksum(rest, len)",
        bug: "false",
        row: "4",
    },
    Bug {
        name: "every damage taken for a torn tail",
        file: "journal/src/recovery.rs",
        original: "damaged && followed",
        bug: "false",
        row: "4",
    },
    Bug {
        name: "chain not checked",
        file: "journal/src/decode.rs",
        original: "header.prev != before.chain",
        bug: "false",
        row: "5",
    },
    Bug {
        name: "sync tried again after it failed",
        file: "journal/src/writer.rs",
        original: "self.active.append(&self.storage, &group.bytes)?;",
        bug: "self.active.append(&self.storage, &group.bytes)\
            .or_else(|_| self.active.append(&self.storage, &group.bytes))?;",
        row: "6",
    },
    Bug {
        name: "writer goes on after a failure",
        file: "journal/src/writer.rs",
        original: "self.poisoned = true;",
        bug: "",
        row: "6",
    },
    Bug {
        name: "last group not written again after an unclean stop",
        file: "journal/src/open.rs",
        original: r#"rewrite(&file, at, end.end).map_err(fail("write again"))?;"#,
        bug: "let _ = at;",
        row: "6",
    },
    Bug {
        name: "answered before it is durable",
        file: "sequencer/src/batch.rs",
        original: "self.replies.push(reply);",
        bug: "if let Some(reply) = reply {
                drop(reply.send(Ack { seq, at: input.at, events: self.events.to_vec() }));
            }
            self.replies.push(None);",
        row: "6",
    },
    Bug {
        name: "newest snapshot overwritten",
        file: "journal/src/snapshot.rs",
        original: "second.position.seq <= first.position.seq",
        bug: "second.position.seq > first.position.seq",
        row: "8",
    },
    Bug {
        name: "snapshot gets its name before it is synced",
        file: "journal/src/snapshot.rs",
        original: "self.sync(file.sync_all(), SNAPSHOT_TEMP_NAME)?;",
        bug: "",
        row: "8",
    },
    Bug {
        name: "snapshot's body not checked",
        file: "journal/src/snapshot/body.rs",
        original: "filled < count || (last && self.crc != self.crc_expected)",
        bug: "filled < count",
        row: "8",
    },
    Bug {
        name: "older snapshot taken first",
        file: "journal/src/recovery.rs",
        original: "std::cmp::Reverse(checkpoint.position.seq)",
        bug: "std::cmp::Reverse(u64::MAX - checkpoint.position.seq)",
        row: "8",
    },
    Bug {
        name: "orders cancelled in the order of a hash map",
        file: "engine/src/trading.rs",
        original: "self.orders.of_account(&own.orders).filter(|slot| wanted(self, *slot)).collect()",
        bug: "let own = self.orders.of_account(&own.orders).filter(|slot| wanted(self, *slot));
            own.collect::<std::collections::HashSet<_>>().into_iter().collect()",
        row: "10",
    },
    Bug {
        name: "transfer with one side only",
        file: "engine/src/ledger.rs",
        original: "self.add(transfer.credit, atoms);",
        bug: "",
        row: "10",
    },
    Bug {
        name: "leaf hashed without its prefix",
        file: "journal/src/tree/mod.rs",
        original: "Sha256::new().chain_update(head).chain_update(payload).finalize().into()",
        bug: "Sha256::new().chain_update(&head[1..]).chain_update(payload).finalize().into()",
        row: "24",
    },
    Bug {
        name: "signature of a head not verified",
        file: "journal/src/tree_head/note.rs",
        original: "of_key.all(|line| right(line).is_some())",
        bug: "true",
        row: "24",
    },
];
