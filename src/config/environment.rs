//! Variables for a process that is started: with credentials among them, so their values are never printed.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// Names and values.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(Vec<(String, String)>);

/// Beginnings of the names of variables that are the CLI's alone: its way to the API, and what it pays with.
const OF_THE_API: [&str; 5] = ["ANTHROPIC_", "CLAUDE_CODE_", "AWS_", "GOOGLE_APPLICATION_", "CLOUD_ML_"];

impl Environment {
    /// The same for a program that is not to ask the API.
    #[must_use]
    pub fn without_the_api(&self) -> Self {
        let is_others = |name: &str| OF_THE_API.iter().all(|begin| !name.starts_with(begin));
        self.iter().filter(|(name, _)| is_others(name)).cloned().collect()
    }
}

impl fmt::Debug for Environment {
    /// The names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Deref for Environment {
    type Target = Vec<(String, String)>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Environment {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl From<Vec<(String, String)>> for Environment {
    fn from(variables: Vec<(String, String)>) -> Self {
        Self(variables)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_to_the_api_is_left() {
        let of =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect::<Environment>();
        let others = of(&["PATH", "HOME", "CLAUDE_CONFIG_DIR"]);
        let mut all = of(super::super::claude::CREDENTIALS);
        all.extend(of(&["ANTHROPIC_BASE_URL", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"]).iter().cloned());
        all.extend(others.iter().cloned());
        assert_eq!(all.without_the_api(), others);
    }

    #[test]
    fn values_are_never_printed() {
        let environment = Environment::from(vec![("ANTHROPIC_API_KEY".to_owned(), "sk-very-secret".to_owned())]);
        let printed = format!("{environment:?}");
        assert!(printed.contains("ANTHROPIC_API_KEY") && !printed.contains("secret"), "{printed}");
    }
}
