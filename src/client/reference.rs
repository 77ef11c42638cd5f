//! The reference of the commands (docs/commands.md), from what the program itself knows of them.

use clap::{Arg, Command};

/// Every command with its arguments, as Markdown. Settings have a page of their own.
#[must_use]
pub fn reference(program: &Command) -> String {
    let mut text = String::from(
        "# Commands\n\n<!-- Written by `cc-anywhere reference`; a test compares. -->\n\n\
        What each is for stands in [client.md](client.md) and [operations.md](operations.md); `serve` and `worker` take every\n\
        [setting](settings.md) as a flag.\n",
    );
    for command in program.get_subcommands() {
        describe(&mut text, "cc-anywhere", command);
    }
    text
}

fn describe(text: &mut String, before: &str, command: &Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{before} {}", command.get_name());
    let values: Vec<String> = command.get_positionals().filter(|arg| !arg.is_hide_set()).map(value).collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let head = std::iter::once(name.clone()).chain(values).collect::<Vec<_>>().join(" ");
    *text += &format!("\n## `{head}`\n\n{about}.\n");
    let mut args = command.get_arguments().filter(|arg| is_shown(arg)).peekable();
    if args.peek().is_some() {
        text.push_str("\n| | |\n| --- | --- |\n");
    }
    for arg in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default =
            if default.is_empty() || !takes_value(arg) { String::new() } else { format!("; {}", default.join(",")) };
        *text += &format!("| `{}` | {help}{default} |\n", form(arg));
    }
    command.get_subcommands().for_each(|inner| describe(text, &name, inner));
}

/// True for what belongs to the command itself.
fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set()
        && arg.get_help_heading() != Some("Settings")
        && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn takes_value(arg: &Arg) -> bool {
    arg.is_positional() || arg.get_action().takes_values()
}

fn form(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) if takes_value(arg) => format!("--{long} {}", value(arg)),
        Some(long) => format!("--{long}"),
        None => value(arg),
    }
}

fn value(arg: &Arg) -> String {
    let names =
        arg.get_value_names().map(|names| names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" "));
    let name = names.unwrap_or_else(|| format!("<{}>", arg.get_id().as_str().to_uppercase()));
    let name = if arg.is_positional() && !arg.is_required_set() {
        format!("[{}]", name.trim_matches(['<', '>']))
    } else {
        name
    };
    let many = arg.get_num_args().is_some_and(|many| many.max_values() > 1);
    format!("{name}{}", if many { "…" } else { "" })
}
