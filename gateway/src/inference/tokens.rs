//! How many tokens a text has, where the model's family is known by its name: OpenAI's two vocabularies. Other families publish
//! theirs under licences, or sizes, that do not belong in this program; a token a byte bounds all of them.

use std::collections::BTreeSet;

/// A tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tokenizer {
    /// gpt-4o and everything after it, gpt-oss, the o series.
    O200k,
    /// gpt-4, gpt-3.5.
    Cl100k,
}

/// Beginnings of names, the longer before the shorter.
const FAMILIES: [(&str, Tokenizer); 9] = [
    ("gpt-oss", Tokenizer::O200k),
    ("gpt-5", Tokenizer::O200k),
    ("gpt-4o", Tokenizer::O200k),
    ("gpt-4.1", Tokenizer::O200k),
    ("gpt-4", Tokenizer::Cl100k),
    ("gpt-3.5", Tokenizer::Cl100k),
    ("o1", Tokenizer::O200k),
    ("o3", Tokenizer::O200k),
    ("o4", Tokenizer::O200k),
];

impl Tokenizer {
    /// The one of a model; the name may have an owner in front: `openai/gpt-4o`.
    pub(crate) fn of_model(model: &str) -> Option<Tokenizer> {
        let name = model.rsplit('/').next().unwrap_or(model);
        let in_family = |family: &str| {
            let rest = name.strip_prefix(family);
            // `o1` and `o1-mini`, not `o10b`.
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()) || family.len() > 2)
        };
        FAMILIES.iter().find(|(family, _)| in_family(family)).map(|(_, tokenizer)| *tokenizer)
    }

    /// Tokens of a text, without any that a template adds.
    pub(crate) fn count(self, text: &str) -> u64 {
        let tokenizer = match self {
            Tokenizer::O200k => bpe_openai::o200k_base(),
            Tokenizer::Cl100k => bpe_openai::cl100k_base(),
        };
        tokenizer.count(text) as u64
    }

    /// Makes the vocabularies of listed models ready, of those that have one: that takes a moment that no call should wait
    /// for, and 50 MB each.
    pub(crate) fn prepare<'a>(models: impl Iterator<Item = &'a str>) {
        let wanted: BTreeSet<Tokenizer> = models.filter_map(Tokenizer::of_model).collect();
        for tokenizer in wanted {
            tokio::task::spawn_blocking(move || tokenizer.count("ready"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_known_by_its_name() {
        for (model, tokenizer) in [
            ("gpt-4o-mini", Some(Tokenizer::O200k)),
            ("openai/gpt-oss-120b", Some(Tokenizer::O200k)),
            ("gpt-4-turbo", Some(Tokenizer::Cl100k)),
            ("gpt-4.1-nano", Some(Tokenizer::O200k)),
            ("o3-mini", Some(Tokenizer::O200k)),
            ("o10b", None),
            ("llama-3.1-8b", None),
        ] {
            assert_eq!(Tokenizer::of_model(model), tokenizer, "{model}");
        }
    }

    #[test]
    fn texts_have_the_tokens_that_the_published_vocabularies_give_them() {
        // As OpenAI's cookbook counts them ("How to count tokens with tiktoken").
        let cases = [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("2 + 2 = 4", 7, 7),
            ("tiktoken is great!", 6, 6),
            ("antidisestablishmentarianism", 6, 6),
            ("\u{304a}\u{8a95}\u{751f}\u{65e5}\u{304a}\u{3081}\u{3067}\u{3068}\u{3046}", 8, 9),
        ];
        for (text, o200k, cl100k) in cases {
            assert_eq!(Tokenizer::O200k.count(text), o200k, "{text}");
            assert_eq!(Tokenizer::Cl100k.count(text), cl100k, "{text}");
        }
    }
}
