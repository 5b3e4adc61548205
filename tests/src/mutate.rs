//! Changes that make sound input unsound: of bytes, and of JSON inside.
//!
//! A change is chosen by a seeded generator alone, so a seed repeats it.

use gollem_journal::sim::Random;
use serde_json::{Value, json};

/// Lists in each other, at most.
const DEPTH: usize = 1_000;
/// Numbers at the edges of what fields hold.
const EDGES: [u64; 10] = [
    0,
    1,
    u8::MAX as u64,
    u16::MAX as u64,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// An index below `limit`, which is not 0.
pub(crate) fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

/// One of these, which are not none.
pub(crate) fn one_of<'a, T>(random: &mut Random, choices: &'a [T]) -> &'a T {
    &choices[below(random, choices.len())]
}

/// One change of `bytes`: a bit, a byte or a number inside, a piece that is lost, repeated or comes from `other`.
pub(crate) fn bytes(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = below(random, bytes.len() + 1);
    let piece = 1 + below(random, 64);
    match random.below(9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..bytes.len().min(at + piece))),
        2 => bytes.extend_from_within(at..bytes.len().min(at + piece)),
        3 => {
            let repeated = bytes[at..bytes.len().min(at + piece)].to_vec();
            drop(bytes.splice(at..at, repeated));
        }
        4 if !other.is_empty() => {
            let from = below(random, other.len());
            let spliced = &other[from..other.len().min(from + piece)];
            let replaced = if random.below(2) == 0 { at..at } else { at..bytes.len().min(at + spliced.len()) };
            drop(bytes.splice(replaced, spliced.iter().copied()));
        }
        5 | 6 => {
            let width = [1, 2, 4, 8][below(random, 4)];
            // Numbers mostly lie where their width says.
            let at = if random.below(4) > 0 { at / width * width } else { at };
            let number = one_of(random, &EDGES).to_le_bytes();
            bytes.iter_mut().skip(at).zip(&number[..width]).for_each(|(byte, new)| *byte = *new);
        }
        7 => {
            let new = random.below(256) as u8;
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = new);
        }
        _ => {
            let bit = random.below(8);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
        }
    }
}

/// One change of a value somewhere inside.
pub(crate) fn value(random: &mut Random, inside: &mut Value) {
    match inside {
        Value::Object(fields) if !fields.is_empty() && random.below(8) > 0 => {
            let at = below(random, fields.len());
            let Some(name) = fields.keys().nth(at).cloned() else { return };
            match random.below(6) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(format!("{name}{}", random.below(3)), nasty(random))),
                _ => fields.values_mut().nth(at).into_iter().for_each(|inner| value(random, inner)),
            }
        }
        Value::Array(values) if !values.is_empty() && random.below(4) > 0 => {
            let at = below(random, values.len());
            value(random, &mut values[at]);
        }
        _ => *inside = nasty(random),
    }
}

/// A number somewhere inside becomes one at the edge, of the sort that it was, so that it is not refused for its sort.
pub(crate) fn number(random: &mut Random, inside: &mut Value) {
    match inside {
        Value::Object(fields) if !fields.is_empty() => {
            let at = below(random, fields.len());
            fields.values_mut().nth(at).into_iter().for_each(|inner| number(random, inner));
        }
        Value::Array(values) if !values.is_empty() => {
            let at = below(random, values.len());
            number(random, &mut values[at]);
        }
        Value::Number(_) => {
            let edge = *one_of(random, &EDGES);
            *inside = if random.below(4) == 0 { json!(edge.cast_signed()) } else { json!(edge) };
        }
        _ => {}
    }
}

/// A value at the edges of what JSON can say.
fn nasty(random: &mut Random) -> Value {
    match random.below(21) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(0.1),
        5 => json!(1e308),
        6 => json!(u64::MAX),
        7 => json!(i64::MIN),
        8 => json!(""),
        9 => json!("0"),
        10 => json!("-0.00"),
        11 => json!("1e40"),
        12 => json!("NaN"),
        13 => json!("9".repeat(40)),
        14 => json!("x".repeat(3_000)),
        15 => json!("\u{0}\u{202e}\u{1f4a5}"),
        16 => json!("ord_18446744073709551616"),
        17 => json!([]),
        18 => json!({}),
        19 => json!([[[null]]]),
        // By hand, because the macro would go through all of it each time.
        _ => (0..DEPTH).fold(json!(1), |inner, _| Value::Array(vec![inner])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_changed_in_many_ways_and_the_same_seed_changes_them_the_same_way() {
        let (sound, other) = ((0..200).collect::<Vec<u8>>(), [7; 50]);
        let changed = |seed| {
            let mut changed = sound.clone();
            bytes(&mut Random(seed), &mut changed, &other);
            changed
        };
        let all: Vec<_> = (0..2_000).map(changed).collect();
        assert_eq!(all, (0..2_000).map(changed).collect::<Vec<_>>());
        let lengths = |longer: bool| all.iter().any(|one| (one.len() > sound.len()) == longer && one.len() != 200);
        assert!(lengths(true) && lengths(false) && all.iter().any(|one| one.len() == 200 && *one != sound));
        bytes(&mut Random(1), &mut Vec::new(), &[]);
    }

    #[test]
    fn a_changed_number_stays_a_number() {
        let sound = json!({ "a": 1, "b": [2, "text"], "c": { "d": 3 } });
        let mut changed = 0;
        for seed in 0..100 {
            let mut value = sound.clone();
            number(&mut Random(seed), &mut value);
            assert!(value["a"].is_number() && value["b"][0].is_number() && value["c"]["d"].is_number(), "{value}");
            changed += u32::from(value != sound);
        }
        assert!(changed > 50, "{changed}");
    }
}
