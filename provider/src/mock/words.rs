//! The tokens: simple words, each with a leading space.
//!
//! None needs escaping in JSON, and none holds white space inside, so the words of an answer are its tokens.

use crate::hash;

const WORDS: [&str; 64] = [
    " the", " of", " and", " to", " in", " is", " that", " it", " was", " for", " on", " are", " as", " with", " they",
    " be", " at", " one", " have", " this", " from", " by", " hot", " word", " but", " what", " some", " we", " can",
    " out", " other", " were", " all", " there", " when", " up", " use", " your", " how", " said", " an", " each",
    " she", " which", " do", " their", " time", " if", " will", " way", " about", " many", " then", " them", " write",
    " would", " like", " so", " these", " her", " long", " make", " thing", " see",
];

/// The token at `index` of an answer under `seed`.
pub(crate) fn word(seed: u64, index: u32) -> &'static str {
    let slot = hash::draw(seed, u64::from(index)) as usize % WORDS.len();
    WORDS[slot]
}

/// The first `tokens` tokens in one string.
pub(crate) fn text(seed: u64, tokens: u32) -> String {
    (0..tokens).map(|index| word(seed, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_as_many_words_as_tokens_and_is_the_same_each_time() {
        let answer = text(7, 1_000);
        assert_eq!(answer.split_whitespace().count(), 1_000);
        assert_eq!(answer, text(7, 1_000));
        assert!(answer.starts_with(' '));
        assert!(answer.chars().all(|letter| letter == ' ' || letter.is_ascii_lowercase()));
    }
}
