//! Those who send commands: they remember what they were told, and send again what was not answered.

use std::collections::VecDeque;
use std::vec::IntoIter;

use gollem_engine::Command;
use gollem_journal::sim::Random;
use gollem_sequencer::{Ingress, PendingAck, SubmitError};

use super::plan::index;
use super::truth::{Told, Truth};
use super::workload::Sent;

/// All clients of the node, who share one way in.
#[derive(Debug)]
pub(super) struct Clients {
    work: IntoIter<Sent>,
    /// Refused or lost: sent before anything new.
    again: VecDeque<Command>,
    waiting: Vec<(Vec<Command>, PendingAck)>,
    /// Answers that were not yet compared with the truth.
    pub(super) heard: Vec<Told>,
    pub(super) answered: u64,
    pub(super) resent: u64,
}

impl Clients {
    pub(super) fn new(work: Vec<Sent>) -> Self {
        let (again, waiting, heard) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { work: work.into_iter(), again, waiting, heard, answered: 0, resent: 0 }
    }

    /// Whether there is nothing left to send or to wait for.
    pub(super) fn are_done(&self) -> bool {
        self.work.len() == 0 && self.again.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.waiting.iter().map(|(commands, _)| commands.len()).sum()
    }

    /// Somebody sends one command, or some together. Returns how long it was since the one before, in
    /// nanoseconds; `None` if there was nothing to send.
    pub(super) fn send(
        &mut self,
        ingress: &Ingress,
        truth: &mut Truth,
        random: &mut Random,
    ) -> Result<Option<u64>, SubmitError> {
        let count = if random.below(8) == 0 { 1 + index(random, 4) } else { 1 };
        let (mut commands, mut after_ns) = (Vec::new(), 0);
        while commands.len() < count {
            if let Some(command) = self.again.pop_front() {
                commands.push(command);
            } else if let Some(sent) = self.work.next() {
                after_ns += sent.after_ns;
                commands.push(sent.command);
            } else {
                break;
            }
        }
        let submitted = match commands.as_slice() {
            [] => return Ok(None),
            [command] => ingress.submit(command.clone()),
            _ => ingress.submit_together(commands.clone()),
        };
        match submitted {
            Ok(pending) => {
                commands.iter().for_each(|command| truth.submitted(command.clone()));
                self.waiting.push((commands, pending));
                Ok(Some(after_ns))
            }
            Err(refused) => {
                commands.into_iter().rev().for_each(|command| self.again.push_front(command));
                Err(refused)
            }
        }
    }

    /// Takes the answers that have come; returns how many inputs they answer.
    pub(super) fn collect(&mut self, random: &mut Random) -> Result<usize, String> {
        let before = self.heard.len();
        for (commands, mut pending) in std::mem::take(&mut self.waiting) {
            match pending.try_take() {
                Ok(None) => self.waiting.push((commands, pending)),
                Ok(Some(ack)) => {
                    if ack.inputs_len() != commands.len() {
                        return Err(format!("{} commands got an answer to {}", commands.len(), ack.inputs_len()));
                    }
                    let told = ack.inputs().map(|(input, events)| Told {
                        seq: input.seq,
                        at: input.at,
                        events: events.to_vec(),
                    });
                    self.heard.extend(told);
                    // The answer is lost on its way to the client.
                    let lost = commands.iter().filter(|command| has_number(command)).filter(|_| random.below(8) == 0);
                    self.send_again(lost.cloned().collect());
                }
                Err(_) => {
                    // Most clients that do not know send again.
                    let unknown = commands.into_iter().filter(|command| has_number(command) || random.below(4) > 0);
                    let unknown = unknown.collect();
                    self.send_again(unknown);
                }
            }
        }
        let count = self.heard.len() - before;
        self.answered += count as u64;
        Ok(count)
    }

    fn send_again(&mut self, commands: Vec<Command>) {
        self.resent += commands.len() as u64;
        self.again.extend(commands);
    }
}

/// Whether a resend can be told from a new command.
fn has_number(command: &Command) -> bool {
    match command {
        Command::PlaceOrder(new) => new.client_id.is_some(),
        Command::LockQuote(new) => new.client_id.is_some(),
        _ => false,
    }
}
