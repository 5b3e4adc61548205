//! The tokens: simple words, each with a leading space.
//!
//! None needs escaping in JSON, and none holds white space inside, so the words of an answer are its tokens. Every
//! answer begins with the same words, so the beginning is made once and copied from.

use std::ops::Range;

use crate::hash;

const WORDS: [&str; 64] = [
    " the", " of", " and", " to", " in", " is", " that", " it", " was", " for", " on", " are", " as", " with", " they",
    " be", " at", " one", " have", " this", " from", " by", " hot", " word", " but", " what", " some", " we", " can",
    " out", " other", " were", " all", " there", " when", " up", " use", " your", " how", " said", " an", " each",
    " she", " which", " do", " their", " time", " if", " will", " way", " about", " many", " then", " them", " write",
    " would", " like", " so", " these", " her", " long", " make", " thing", " see",
];

/// Tokens made in advance.
const PREPARED: u32 = 1_024;

/// The token at `index` under `seed`.
fn word(seed: u64, index: u32) -> &'static str {
    let slot = hash::draw(seed, u64::from(index)) as usize % WORDS.len();
    WORDS[slot]
}

/// What a server says.
#[derive(Debug)]
pub(crate) struct Speech {
    seed: u64,
    /// The first [`PREPARED`] tokens.
    text: String,
    /// Where the first so many tokens end in it.
    ends: Vec<usize>,
}

impl Speech {
    pub(crate) fn new(seed: u64) -> Self {
        let (mut text, mut ends) = (String::new(), vec![0]);
        for index in 0..PREPARED {
            text.push_str(word(seed, index));
            ends.push(text.len());
        }
        Speech { seed, text, ends }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The token at `index` of the answer's choice with this number.
    pub(crate) fn word(&self, choice: u32, index: u32) -> &'static str {
        word(self.seed.wrapping_add(u64::from(choice)), index)
    }

    /// Appends a range of the tokens of a choice.
    pub(crate) fn push(&self, out: &mut String, choice: u32, tokens: Range<u32>) {
        let prepared = self.ends.get(tokens.start as usize).zip(self.ends.get(tokens.end as usize));
        match prepared {
            Some((&start, &end)) if choice == 0 => out.push_str(&self.text[start..end]),
            _ => tokens.for_each(|index| out.push_str(self.word(choice, index))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, choice: u32, tokens: u32) -> String {
        let mut text = String::new();
        Speech::new(seed).push(&mut text, choice, 0..tokens);
        text
    }

    #[test]
    fn text_has_as_many_words_as_tokens_and_is_the_same_each_time() {
        for tokens in [0, 1, 1_000, PREPARED, PREPARED + 1, 3_000] {
            let answer = text(7, 0, tokens);
            assert_eq!(answer.split_whitespace().count(), tokens as usize);
            assert_eq!(answer, (0..tokens).map(|index| word(7, index)).collect::<String>());
            assert!(answer.chars().all(|letter| letter == ' ' || letter.is_ascii_lowercase()));
        }
    }

    #[test]
    fn choices_differ() {
        assert_ne!(text(7, 0, 20), text(7, 1, 20));
    }
}
