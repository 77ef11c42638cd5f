//! `cc-anywhere settings`: every setting, as it is in force in this folder and environment.

use console::style;

use super::table::{self, Cell, Column, text, whole};
use crate::config::{Config, Effective, Flags, Origin, SETTINGS};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those with this in their name or their meaning
    pattern: Option<String>,
    /// Print the page of the documentation
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// A setting is bad.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    if args.markdown {
        print!("{}", markdown());
        return Ok(0);
    }
    let all = Config::load(&Flags::default())?.effective;
    let pattern = args.pattern.as_deref().unwrap_or_default().to_lowercase();
    let is_meant = |one: &&Effective| {
        [one.setting.name, one.setting.help].iter().any(|text| text.to_lowercase().contains(&pattern))
    };
    const COLUMNS: &[Column] = &[whole("SETTING"), text("VALUE", 8), whole("FROM"), text("MEANING", 20)];
    let rows: Vec<_> = all.iter().filter(is_meant).map(row).collect();
    table::print(COLUMNS, &rows);
    Ok(0)
}

fn row(one: &Effective) -> Vec<Cell> {
    let value = match &one.value {
        None if one.is_set => "set".to_owned(),
        value => value.clone().unwrap_or_default(),
    };
    let from: &str = one.origin.into();
    let value = match one.origin {
        Origin::Default => Cell::styled(value, |text| style(text).dim().to_string()),
        _ => Cell::styled(value, |text| style(text).green().to_string()),
    };
    vec![one.setting.name.into(), value, from.into(), one.setting.help.into()]
}

/// The page of the documentation.
pub fn markdown() -> String {
    let mut page = include_str!("settings.md").to_owned();
    for setting in SETTINGS {
        let default = setting.default.map(|value| format!("`{value}`")).unwrap_or_default();
        let help = setting.help.replace('|', "\\|").replace('<', "&lt;");
        page += &format!("| `{}` | {default} | {help} |\n", setting.name);
    }
    page
}
