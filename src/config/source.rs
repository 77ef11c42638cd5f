//! Sources of values, and how they are read.

use domain::Usd;
use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::near::meant;
use super::settings::{COMMON, Effective, Origin, SETTINGS, Setting};

/// The file that is read from the folder of the start, where it is there.
pub(super) const FILE: &str = "cc-anywhere.toml";

/// Every bad setting, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(Vec<String>);

/// The settings that were given as flags. One flag for each row of the table.
#[derive(Clone, Debug, Default)]
pub struct Flags(HashMap<&'static str, String>);

impl Flags {
    /// Sets a value as its flag would.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    fn fill(&mut self, matches: &ArgMatches) {
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                self.0.insert(setting.name, value.clone());
            }
        }
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.fill(matches);
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.fill(matches);
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let args = SETTINGS.iter().map(|setting| {
            let default = setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
            let long = setting.name.to_lowercase().replace('_', "-");
            let arg = Arg::new(setting.name).long(long).value_name("VALUE").hide(!COMMON.contains(&setting.name));
            // The short name that the documentation uses.
            let arg = if setting.name == "WORKER_MODE" { arg.visible_alias("mode") } else { arg };
            arg.help(format!("{}{default}", setting.help)).help_heading("Settings")
        });
        let rest = "Each other setting has a flag too: `cc-anywhere settings` lists them all, as they are in force.";
        command.args(args).after_help(rest)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// All layers of settings, and the errors found in them.
pub(super) struct Source {
    values: HashMap<&'static str, (String, Origin)>,
    environment: HashMap<String, String>,
    faults: Vec<String>,
}

impl Source {
    pub(super) fn open(flags: &Flags) -> Self {
        let mut source = Self { values: HashMap::new(), environment: environment(), faults: Vec::new() };
        source.read_file();
        for setting in SETTINGS {
            // An empty variable is one that is not set: compose files pass them on so.
            if let Some(value) = source.environment.get(setting.name).filter(|value| !value.is_empty()) {
                source.values.insert(setting.name, (value.clone(), Origin::Environment));
            }
            if let Some(value) = flags.0.get(setting.name) {
                source.values.insert(setting.name, (value.clone(), Origin::Flag));
            }
        }
        source
    }

    fn read_file(&mut self) {
        let text = match std::fs::read_to_string(FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.faults.push(format!("{FILE}: {error}")),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.faults.push(format!("{FILE}: {error}")),
        };
        for (key, value) in table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name.to_lowercase() == key) else {
                let meant = meant(&key).map(|name| format!("; did you mean \"{}\"?", name.to_lowercase()));
                self.faults.push(format!("{FILE}: unknown setting \"{key}\"{}", meant.unwrap_or_default()));
                continue;
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Integer(number) => number.to_string(),
                other => {
                    self.fault(setting.name, &format!("must be a text or a number, got {}", other.type_str()));
                    continue;
                }
            };
            self.values.insert(setting.name, (text, Origin::File));
        }
    }

    pub(super) fn finish(self) -> Result<(), Faults> {
        if self.faults.is_empty() { Ok(()) } else { Err(Faults(self.faults)) }
    }

    pub(super) fn fault(&mut self, name: &str, message: &str) {
        self.faults.push(format!("{name}: {message}"));
    }

    /// Returns the whole environment, for what is passed on to the CLI.
    pub(super) fn environment(&self) -> &HashMap<String, String> {
        &self.environment
    }

    /// Returns the environment with the values of file and flags.
    pub(super) fn for_children(&self) -> Vec<(String, String)> {
        let mut all = self.environment.clone();
        all.extend(self.values.iter().map(|(name, (value, _))| ((*name).to_owned(), value.clone())));
        all.into_iter().collect()
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let default = || SETTINGS.iter().find(|setting| setting.name == name)?.default.map(str::to_owned);
        self.values.get(name).map(|(value, _)| value.clone()).or_else(default)
    }

    /// Returns every setting as it is in force, without secrets.
    pub(super) fn effective(&self) -> Vec<Effective> {
        let one = |setting: &'static Setting| {
            let value = self.text(setting.name);
            let origin = self.values.get(setting.name).map_or(Origin::Default, |(_, origin)| *origin);
            let is_set = value.is_some();
            Effective { setting, value: value.filter(|_| !setting.is_secret), is_set, origin }
        };
        SETTINGS.iter().map(one).collect()
    }

    /// A value that has a default.
    pub(super) fn required(&self, name: &'static str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn number<T>(&mut self, name: &'static str, low: T, high: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let text = self.required(name);
        match text.trim().parse::<T>() {
            Ok(number) if number >= low && number <= high => number,
            _ => {
                self.fault(name, &format!("must be a whole number from {low} to {high}, got \"{text}\""));
                low
            }
        }
    }

    /// An amount of US dollars, where it is set.
    pub(super) fn dollars(&mut self, name: &'static str) -> Option<Usd> {
        let text = self.text(name)?;
        match text.trim().parse::<f64>() {
            Ok(amount) if amount > 0.0 && amount <= 1e9 => Some(Usd::of(amount)),
            _ => {
                self.fault(name, &format!("must be an amount of US dollars above 0, such as 12.50, got \"{text}\""));
                None
            }
        }
    }

    pub(super) fn millis(&mut self, name: &'static str, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.number(name, low, high))
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let text = self.required(name);
        if let Some((_, value)) = choices.iter().find(|(choice, _)| *choice == text.trim()) {
            return *value;
        }
        let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        self.fault(name, &format!("must be one of {}, got \"{text}\"", names.join(", ")));
        choices[0].1
    }

    pub(super) fn list(&self, name: &'static str, separator: char) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Returns an address of the web, without a slash at its end.
    pub(super) fn address(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_one =
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(['?', '#', '@', ' ']));
        if !is_one {
            self.fault(name, &format!("must be an address such as https://cc.example.com, got \"{text}\""));
        }
        is_one.then(|| text.trim_end_matches('/').to_owned())
    }

    pub(super) fn labels(&mut self, name: &'static str) -> Vec<String> {
        let labels = self.list(name, ',');
        for label in &labels {
            if let Err(error) = domain::check_label(label) {
                self.fault(name, &format!("{error}, got \"{label}\""));
            }
        }
        labels
    }
}

/// The environment; what is no UTF-8 is left out.
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
