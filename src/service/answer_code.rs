//! Codes that answer a question: each is good for one answer to one question, until the question's deadline, for whoever
//! has it. They stand in links of notifications.
//!
//! Nothing is stored. A code is signed with what only those know who have the operator's key; what makes it good once is
//! the question, which takes one answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::keys::KeyRing;
use super::sign_in::SignIn;
use domain::{Behavior, TaskId, Timestamp};

/// Name of the signature.
const PURPOSE: &str = "answer";

/// An answer to a question that a code gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedAnswer {
    /// The task.
    pub task: TaskId,
    /// The question.
    pub request_id: String,
    /// The answer.
    pub behavior: Behavior,
    /// True if the operator answers; else the key of the task.
    pub by_operator: bool,
    /// The end of the code.
    pub until: Timestamp,
}

impl CodedAnswer {
    fn head(&self) -> String {
        let Self { task, request_id, behavior, by_operator, until } = self;
        let behavior = if *behavior == Behavior::Allow { 'a' } else { 'd' };
        let by = if *by_operator { 'o' } else { 'k' };
        format!("{}.{}.{behavior}{by}.{}", task.uuid().simple(), BASE64.encode(request_id), until.0)
    }

    fn read(head: &str) -> Option<Self> {
        let mut parts = head.split('.');
        let (task, request_id, how, until) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (behavior, by_operator) = match how {
            "ao" => (Behavior::Allow, true),
            "ak" => (Behavior::Allow, false),
            "do" => (Behavior::Deny, true),
            "dk" => (Behavior::Deny, false),
            _ => return None,
        };
        let request_id = String::from_utf8(BASE64.decode(request_id).ok()?).ok()?;
        let until = Timestamp(until.parse().ok()?);
        parts.next().is_none().then_some(Self { task: task.parse().ok()?, request_id, behavior, by_operator, until })
    }
}

impl SignIn {
    fn code_of(&self, answer: &CodedAnswer) -> String {
        let head = answer.head();
        let mac = self.sign(PURPOSE, &head);
        format!("{head}.{mac}")
    }

    fn answer_of(&self, code: &str, now: Timestamp) -> Option<CodedAnswer> {
        let (head, mac) = code.rsplit_once('.')?;
        let is_ours = super::sign_in::is_same(mac, &self.sign(PURPOSE, head));
        CodedAnswer::read(head).filter(|answer| is_ours && answer.until > now)
    }
}

impl KeyRing {
    /// The code of an answer; `None` where nobody needs a key, or this process doesn't know the operator's.
    #[must_use]
    pub fn code_of(&self, answer: &CodedAnswer) -> Option<String> {
        Some(self.sign_in()?.code_of(answer))
    }

    /// The answer of a code that is ours and has not ended.
    #[must_use]
    pub fn answer_of(&self, code: &str, now: Timestamp) -> Option<CodedAnswer> {
        self.sign_in()?.answer_of(code, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn signs() -> SignIn {
        SignIn::new("the operator's key", NOW)
    }

    proptest! {
        #[test]
        fn a_code_says_what_it_was_made_for_and_nothing_else(
            (task, request_id, allow, by_operator) in (any::<u128>(), ".{0,40}", any::<bool>(), any::<bool>()),
            (at, change) in (any::<prop::sample::Index>(), 1_u8..128),
        ) {
            let behavior = if allow { Behavior::Allow } else { Behavior::Deny };
            let until = NOW.plus_ms(1_000);
            let answer = CodedAnswer { task: TaskId::from_u128(task), request_id, behavior, by_operator, until };
            let code = signs().code_of(&answer);
            prop_assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
            prop_assert_eq!(signs().answer_of(&code, NOW), Some(answer));
            prop_assert_eq!(signs().answer_of(&code, until), None, "too late");
            prop_assert_eq!(SignIn::new("another key", NOW).answer_of(&code, NOW), None);
            let mut spoilt = code.clone().into_bytes();
            let at = at.index(spoilt.len());
            spoilt[at] = (spoilt[at] ^ change) & 0x7f;
            let spoilt = String::from_utf8(spoilt).expect("ASCII");
            prop_assert!(spoilt == code || signs().answer_of(&spoilt, NOW).is_none());
        }

        #[test]
        fn what_is_no_code_is_none(text in ".{0,80}") {
            prop_assert_eq!(signs().answer_of(&text, NOW), None);
        }
    }
}
