//! Words and numbers of the case files.

/// A line of a case file, read word by word.
#[derive(Clone)]
pub(crate) struct Line<'a> {
    /// Where it is, for complaints: file, line and text.
    place: String,
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Line<'a> {
    pub(crate) fn new(file: &str, number: usize, text: &'a str) -> Line<'a> {
        let place = format!("{file}:{number}: {text:?}");
        Line { place, words: text.split_whitespace().collect(), at: 0 }
    }

    pub(crate) fn fail(&self, complaint: &str) -> ! {
        panic!("{}: {complaint}", self.place)
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.at += 1;
        self.words.get(self.at - 1).copied()
    }

    /// The next word.
    pub(crate) fn word(&mut self, what: &str) -> &'a str {
        self.next().unwrap_or_else(|| self.fail(&format!("{what} is missing")))
    }

    /// Whether the next word is this one; if so it is read.
    pub(crate) fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// The name after a word, if that comes next.
    pub(crate) fn after(&mut self, word: &str) -> Option<&'a str> {
        self.takes(word).then(|| self.word(word))
    }

    /// The next word as a number of any type.
    pub(crate) fn number<N: TryFrom<i128>>(&mut self) -> N {
        let word = self.word("a number");
        let number = literal(word).and_then(|number| N::try_from(number).ok());
        number.unwrap_or_else(|| self.fail(&format!("{word:?} is no number that fits here")))
    }

    /// Complains of words nobody read.
    pub(crate) fn end(&mut self) {
        if let Some(word) = self.peek() {
            self.fail(&format!("{word:?} means nothing here"));
        }
    }

    /// The line with all numbers written out.
    pub(crate) fn plain(&self) -> String {
        let written = |word: &&str| literal(word).map_or((*word).to_owned(), |number| number.to_string());
        self.words.iter().map(written).collect::<Vec<_>>().join(" ")
    }
}

/// A number: `150`, `1_000`, `$2.50` (atoms), `3c` (cents in atoms), `60s`, `5m`, `1h`, `1d`, `7ns` (nanoseconds), and
/// sums of them without spaces: `$1-150`.
pub(crate) fn literal(text: &str) -> Option<i128> {
    let cut = text.char_indices().skip(1).find(|(_, letter)| *letter == '+' || *letter == '-').map(|(at, _)| at);
    let (first, rest) = text.split_at(cut.unwrap_or(text.len()));
    let (sign, digits) = match first.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, first.strip_prefix('+').unwrap_or(first)),
    };
    let number = sign * term(digits)?;
    if rest.is_empty() { Some(number) } else { Some(number + literal(rest)?) }
}

fn term(text: &str) -> Option<i128> {
    let whole = |digits: &str| {
        let starts = digits.starts_with(|letter: char| letter.is_ascii_digit());
        starts.then(|| digits.replace('_', "").parse::<i128>().ok()).flatten()
    };
    if let Some(dollars) = text.strip_prefix('$') {
        let (dollars, cents) = dollars.split_once('.').unwrap_or((dollars, "00"));
        return Some((whole(dollars)? * 100 + whole(cents).filter(|_| cents.len() == 2)?) * 1_000_000_000);
    }
    const SECOND: i128 = 1_000_000_000;
    let units = [
        ("ns", 1),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3_600 * SECOND),
        ("d", 86_400 * SECOND),
        ("c", 1_000_000_000),
    ];
    let scaled = |(unit, scale): (&str, i128)| Some(whole(text.strip_suffix(unit)?)? * scale);
    whole(text).or_else(|| units.into_iter().find_map(scaled))
}

#[test]
fn numbers_are_read_and_words_are_not() {
    let known = [
        ("1_000", 1_000),
        ("$2.50", 250_000_000_000),
        ("3c", 3_000_000_000),
        ("+30s", 30_000_000_000),
        ("$1-150", 99_999_999_850),
        ("7ns", 7),
    ];
    for (text, number) in known {
        assert_eq!(literal(text), Some(number), "{text}");
    }
    for text in ["", "X", "50@2", "-", "s", "1x", "$", "$1.5", "X/B", "#1"] {
        assert_eq!(literal(text), None, "{text}");
    }
}
