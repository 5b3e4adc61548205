//! Orders: placing, replacing and cancelling them, one at a time or up to fifty together.
//!
//! | file | idea |
//! |---|---|
//! | `wire` | an order as a caller writes it |
//! | `place`, `replace`, `cancel` | one command each; `cancel` also has the dead-man timer |
//! | `lock` | a quote that is locked: used, or let go |
//! | `batch` | several commands that become durable together |
//! | `answer` | what the caller is told |

mod answer;
mod batch;
mod cancel;
mod lock;
mod place;
mod replace;
mod wire;

pub(crate) use answer::{fill_json, placed};
pub(crate) use batch::{Batch, batch};
pub(crate) use cancel::{CancelAfter, cancel, cancel_after, cancel_all, cancelled, cancelling};
pub(crate) use lock::{lock, release, use_lock};
pub(crate) use place::place;
pub(crate) use replace::{may_replace, replace};
pub(crate) use wire::{Demands, PlaceOrder, ReplaceOrder, gpu_class, preference_schema};

use answer::Did;
use gollem_sequencer::Ack;

/// What the one command of an answer did.
fn did(ack: &Ack) -> Did<'_> {
    Did { seq: ack.seq, at: ack.at, events: ack.events() }
}
