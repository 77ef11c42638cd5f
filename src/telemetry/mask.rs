//! Secrets in texts of others: what this process knows to be one is masked before it is stored, shown or sent.
//!
//! A model that reads a file, or a tool that prints its environment, would otherwise write a key into events, results,
//! logs and webhooks, where more people read it than ever had it. Encoded in another way (base 64, backwards) it is not
//! known any more: this is a seatbelt, and no border.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use regex::Regex;
use serde_json::Value;

/// What stands in place of a secret.
const MASK: &str = "[masked]";
/// Secrets that can be known by their form: keys of the API, tokens of attempts, keys of ours.
const FORMS: [Form; 3] = [
    Form { head: "sk-ant-", rest: r"[A-Za-z0-9_\-]{8,}", goes_on: |c| c.is_ascii_alphanumeric() || "_-".contains(c) },
    Form { head: "sk-attempt-", rest: r"[0-9a-f]{8,}", goes_on: |c| c.is_ascii_alphanumeric() },
    Form { head: "cca_", rest: "[0-9a-f]{64}", goes_on: |c| c.is_ascii_hexdigit() },
];
/// Shortest secret that is looked for, in bytes: a shorter one stands in honest texts.
const SHORTEST: usize = 8;
/// Shortest line of a secret of several lines that is looked for by itself, in bytes.
const LINE: usize = 12;

/// Form of a secret.
struct Form {
    /// Its beginning.
    head: &'static str,
    /// What follows, as a regular expression.
    rest: &'static str,
    /// True for a character that may stand there.
    goes_on: fn(char) -> bool,
}

static MASKER: RwLock<Option<Masker>> = RwLock::new(None);

/// Secrets that are known for a time, beside those of the process: each group by its number.
static ALSO: Mutex<(u64, BTreeMap<u64, Vec<String>>)> = Mutex::new((0, BTreeMap::new()));

/// Knows secrets in texts.
pub struct Masker {
    known: Regex,
    words: Vec<String>,
    /// The secrets that it was made of, and the patterns.
    of: (Vec<String>, Vec<String>),
    /// True if there are patterns of which it isn't known how they begin.
    has_patterns: bool,
}

impl Masker {
    /// Knows these secrets, and what has the form of one: forms of ours, and these patterns.
    ///
    /// # Errors
    /// A pattern is no regular expression.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, patterns: &[String]) -> Result<Self, regex::Error> {
        let mut words: Vec<String> = Vec::new();
        let secrets: Vec<String> = secrets.into_iter().map(str::to_owned).collect();
        for secret in secrets.iter().map(|secret| secret.trim()).filter(|secret| secret.len() >= SHORTEST) {
            words.push(secret.to_owned());
            // As it stands in JSON.
            let quoted = Value::from(secret).to_string();
            words.push(quoted[1..quoted.len() - 1].to_owned());
        }
        // The longest first: one may be the beginning of another.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        let of = (secrets, patterns.to_vec());
        let forms = FORMS.into_iter().map(|Form { head, rest, .. }| format!("{head}{rest}"));
        let patterns = patterns.iter().map(|pattern| format!("(?:{pattern})"));
        let has_patterns = patterns.len() > 0;
        let all: Vec<String> = words.iter().map(|word| regex::escape(word)).chain(forms).chain(patterns).collect();
        Ok(Self { known: Regex::new(&all.join("|"))?, words, of, has_patterns })
    }

    /// Returns the place in a text behind which a secret may have begun that goes on in the next piece.
    fn whole_until(&self, text: &str) -> usize {
        let may_begin = |tail: &str| {
            let is_cut = |word: &str| word.len() > tail.len() && word.starts_with(tail);
            let is_form = |form: Form| {
                is_cut(form.head) || tail.strip_prefix(form.head).is_some_and(|rest| rest.chars().all(form.goes_on))
            };
            self.words.iter().any(|word| is_cut(word)) || FORMS.into_iter().any(is_form)
        };
        let begun = text.char_indices().map(|(at, _)| at).find(|at| may_begin(&text[*at..])).unwrap_or(text.len());
        let until = match self.has_patterns {
            true => begun.min(text.rfind(char::is_whitespace).map_or(0, |at| at + 1)),
            false => begun,
        };
        // The end of a secret may be the beginning of one: it is not cut there.
        let cut = self.known.find_iter(text).find(|found| (found.start() + 1..found.end()).contains(&until));
        cut.map_or(until, |found| found.start())
    }

    /// The text without secrets.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.known.replace_all(text, MASK)
    }
}

/// Lets this process know its secrets.
///
/// # Errors
/// They are too much together.
pub fn hide(masker: Masker) -> Result<(), regex::Error> {
    let also = ALSO.lock().unwrap_or_else(PoisonError::into_inner);
    let masker = if also.1.is_empty() { masker } else { with(&masker.of, &also.1)? };
    *MASKER.write().unwrap_or_else(PoisonError::into_inner) = Some(masker);
    Ok(())
}

/// Knows these, and those that are known for a time.
fn with(of: &(Vec<String>, Vec<String>), also: &BTreeMap<u64, Vec<String>>) -> Result<Masker, regex::Error> {
    Masker::new(of.0.iter().chain(also.values().flatten()).map(String::as_str), &of.1)
}

/// Secrets that this process knows until this is dropped.
pub struct Hidden(u64);

/// Lets this process know further secrets for a time, and their lines, where they have several.
///
/// # Errors
/// They are too much to be looked for.
pub fn hide_also(secrets: &[String]) -> Result<Hidden, regex::Error> {
    let lines = |secret: &String| {
        let lines: Vec<String> =
            secret.lines().map(str::trim).filter(|line| line.len() >= LINE).map(str::to_owned).collect();
        lines.into_iter().chain([secret.clone()]).collect::<Vec<_>>()
    };
    let mut also = ALSO.lock().unwrap_or_else(PoisonError::into_inner);
    also.0 += 1;
    let number = also.0;
    also.1.insert(number, secrets.iter().flat_map(lines).collect());
    rebuild(&mut also.1, number).map(|()| Hidden(number))
}

/// Makes the masker anew; where that can't be done, without the group that was added.
fn rebuild(also: &mut BTreeMap<u64, Vec<String>>, added: u64) -> Result<(), regex::Error> {
    let mut masker = MASKER.write().unwrap_or_else(PoisonError::into_inner);
    let of = masker.as_ref().map(|masker| masker.of.clone()).unwrap_or_default();
    match with(&of, also) {
        Ok(made) => {
            *masker = Some(Masker { of, ..made });
            Ok(())
        }
        Err(error) => {
            also.remove(&added);
            Err(error)
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let mut also = ALSO.lock().unwrap_or_else(PoisonError::into_inner);
        also.1.remove(&self.0);
        if let Err(error) = rebuild(&mut also.1, self.0) {
            tracing::error!(%error, "Secrets stay masked");
        }
    }
}

/// The text without the secrets of this process.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let masker = MASKER.read().unwrap_or_else(PoisonError::into_inner);
    masker.as_ref().map_or(Cow::Borrowed(text), |masker| masker.mask(text))
}

/// Masks the text where it stands.
pub fn mask(text: &mut String) {
    if let Cow::Owned(masked) = masked(text) {
        *text = masked;
    }
}

/// Masks the texts of a value.
pub fn mask_value(value: &mut Value) {
    if let Cow::Owned(masked) = masked(&value.to_string()) {
        // What stands in place of a secret is the same in a string of JSON.
        *value = serde_json::from_str(&masked).unwrap_or_else(|_| Value::from(MASK));
    }
}

/// Text that comes piece by piece: a secret may be cut in two. What may be its beginning is held back until more has come.
#[derive(Default)]
pub struct Pieces(String);

/// Longest text that is held back, in bytes, where no secret is longer.
const HELD: usize = 4 << 10;

impl Pieces {
    /// Takes a piece. Returns what can be shown by now, masked.
    pub fn take(&mut self, piece: &str) -> String {
        self.0.push_str(piece);
        let masker = MASKER.read().unwrap_or_else(PoisonError::into_inner);
        let whole = masker.as_ref().map_or(self.0.len(), |masker| masker.whole_until(&self.0));
        let longest = masker.as_ref().and_then(|masker| masker.words.first()).map_or(0, String::len);
        drop(masker);
        let until = if self.0.len() - whole > HELD.max(longest) { self.0.len() } else { whole };
        let rest = self.0.split_off(until);
        masked(&std::mem::replace(&mut self.0, rest)).into_owned()
    }

    /// Returns what was held back, masked.
    pub fn end(&mut self) -> String {
        masked(&std::mem::take(&mut self.0)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masker(patterns: &[String]) -> Masker {
        Masker::new(["a-key-of-sixteen", "with \"quotes\" inside", "short"], patterns).expect("patterns")
    }

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        let masker = masker(&["ticket-[0-9]+".to_owned()]);
        for (text, shown) in [
            ("nothing short here", "nothing short here"),
            ("x a-key-of-sixteen y", "x [masked] y"),
            (r#"{"text":"with \"quotes\" inside"}"#, r#"{"text":"[masked]"}"#),
            ("sk-ant-api03-abcdefghij_-0123", "[masked]"),
            ("sk-ant-", "sk-ant-"),
            ("see ticket-123 and ticket-x", "see [masked] and ticket-x"),
        ] {
            assert_eq!(masker.mask(text), shown);
        }
        assert!(Masker::new([], &["(".to_owned()]).is_err());
    }

    #[test]
    fn further_secrets_are_known_for_a_time() {
        let hidden = hide_also(&["value-of-a-task".to_owned(), "-----BEGIN-----\nline-of-a-key\nx\n".to_owned()])
            .expect("known");
        assert_eq!(masked("is value-of-a-task, line-of-a-key, x"), "is [masked], [masked], x");
        drop(hidden);
        let long = "0123456789".repeat(1_000);
        let hidden = hide_also(std::slice::from_ref(&long)).expect("known");
        let mut pieces = Pieces::default();
        let shown: String =
            long.as_bytes().chunks(700).map(|piece| pieces.take(&String::from_utf8_lossy(piece))).collect();
        assert_eq!(shown + &pieces.end(), MASK, "longer than what is held back of others");
        drop(hidden);
        assert_eq!(masked("is value-of-a-task"), "is value-of-a-task");
    }

    proptest! {
        /// Cut in whichever places: what is shown has no secret, and everything else, in order.
        #[test]
        fn a_secret_in_pieces_is_known(before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", cuts in prop::collection::vec(0usize..80, 0..6)) {
            hide(masker(&[])).expect("known");
            let text = format!("{before} a-key-of-sixteen {after}");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut pieces = Pieces::default();
            let mut shown: String = cuts.windows(2).map(|ends| pieces.take(&text[ends[0]..ends[1]])).collect();
            shown.push_str(&pieces.end());
            prop_assert_eq!(shown, format!("{before} [masked] {after}"));
            // Nothing else is held back: a word that is no secret is shown as it comes.
            prop_assert_eq!(Pieces::default().take("word"), "word");
        }
    }
}
