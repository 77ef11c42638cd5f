//! The sessions of the guide, as a reader would type them.

#![expect(clippy::disallowed_methods, reason = "a reader has a shell")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::World;

/// Behind each command, so that its output can be told from the next one's.
const MARK: &str = "=====";

/// A command of a session, and what it prints.
struct Typed {
    command: String,
    prints: Vec<String>,
}

/// The sessions of a page: blocks of `console`, whose commands begin with `$ ` and go on in lines
/// that are indented.
fn sessions(page: &str) -> Vec<Typed> {
    let mut typed: Vec<Typed> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            typed.push(Typed { command: command.to_owned(), prints: Vec::new() });
        } else if let Some(last) = typed.last_mut() {
            if line.starts_with("    ") && last.prints.is_empty() {
                last.command += &format!("\n{line}");
            } else {
                last.prints.push(line.to_owned());
            }
        }
    }
    typed
}

/// True if this is what was shown; `…` stands for anything.
fn is_shown(shown: &str, printed: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').map(str::trim).collect();
    let Some(rest) = printed.trim().strip_prefix(parts[0]) else { return false };
    let mut rest = rest;
    for part in &parts[1..] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    parts.last() == Some(&"") || rest.trim().is_empty()
}

fn repository(world: &World) -> PathBuf {
    let folder = world.ws().join("repo");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("README"), "A project.\n").expect("a file");
    let script = "git init -q && git add -A && git -c user.name=Ann -c user.email=ann@localhost commit -qm first";
    let made = Command::new("sh").current_dir(&folder).args(["-c", script]).status().expect("a shell");
    assert!(made.success());
    folder
}

/// What the model does when it is told this.
fn script(world: &World) {
    let answer = |told: &str, steps: &[&str]| world.model.script(told, steps);
    answer("Write a haiku about queues into haiku.txt", &["say I wrote the haiku."]);
    answer("Say hello", &["say Hello."]);
    answer("Remember the word lighthouse", &["say I will."]);
    answer("Which word was it?", &["say It was lighthouse."]);
    answer("Count the lines of all files", &["bash touch counted && wc -l *", "say There are none."]);
    answer("Wait for a minute", &["bash sleep 60", "say Done."]);
    answer("Never mind, say goodbye", &["say Goodbye."]);
    answer("How many legs has a spider?", &["tool StructuredOutput {\"legs\": 8}", "say Eight."]);
    answer("Greet the world in the README", &["bash echo 'Hello, world!' >> README", "say Done."]);
    answer("Write a poem to poem.txt, and its title to title.txt", &["write poem.txt Roses are red.", "say Done."]);
    let told = "Your work was checked, and has not passed:\n- `cat title.txt poem.txt` exited with 1\n\n\
        The command printed, at its end:\n\ncat: title.txt: No such file or directory\nRoses are red.\n\n\
        Mend what is wrong, and end your turn when the check should pass. It is run again then.";
    answer(told, &["write title.txt Roses", "say Now it has one."]);
    answer("What do these say?", &["say A greeting, and to bring milk."]);
    answer("Copy it to out", &["write out/copy.txt A project.", "say Done."]);
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap_or_else(|_| panic!("no {page}"))
}

/// Types what a page shows, and holds what is printed against it.
fn type_in(page: &str) {
    type_all(page, sessions(&read(page)));
}

fn type_all(page: &str, typed: Vec<Typed>) {
    assert!(!typed.is_empty(), "{page} has no commands");
    let world = World::new();
    script(&world);
    let repo = repository(&world);
    // The worktree's step needs Bash, and the guide doesn't speak of permissions there.
    let server = world.serve("managed", &[("MAX_PERMISSION_MODE", "bypassPermissions"), ("IS_SANDBOX", "1")]);
    let mut script = String::new();
    for one in &typed {
        script += &format!("{}\necho; echo {MARK}\n", one.command);
    }
    let program = Path::new(crate::support::PROGRAM).parent().expect("a folder").display().to_string();
    let mut shell = world.command("-", &[("URL", &server.http.url), ("KEY", server.http.key())]);
    shell.env("REPO", &repo);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(world.ws()).env_clear();
    bash.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bash.env("PATH", format!("{program}:/usr/local/bin:/usr/bin:/bin")).env("PORT", port);
    let ran = bash.output().expect("bash");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let printed: Vec<&str> = said.split(MARK).collect();
    for (one, printed) in typed.iter().zip(printed) {
        let shown = one.prints.join("\n");
        assert!(
            shown.is_empty() || is_shown(&shown, printed),
            "{page}: $ {}\nshown:   {shown}\nprinted: {}\n{}",
            one.command,
            printed.trim(),
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

#[test]
fn the_sessions_of_the_guide_are_true() {
    type_in("docs/guide.md");
}

/// What the README types once a server is there; where a reader puts the id of an answer, the shell does.
#[test]
fn what_the_readme_types_is_true() {
    let typed = sessions(&read("README.md")).into_iter();
    let typed = typed.filter(|one| !one.command.starts_with("make") && !one.command.starts_with("export"));
    let mut typed: Vec<Typed> = typed
        .map(|Typed { command, prints }| {
            let command = command.replace("./target/release/", "").replace("localhost:5000", "localhost:$PORT");
            let mut command = command.replace("01a2094e-…", "$ID");
            if command.contains(" -d ") {
                command = format!("ANSWER=$({command})\necho \"$ANSWER\"\nID=$(echo \"$ANSWER\" | cut -d'\"' -f4)");
            }
            Typed { command, prints: prints.iter().map(|line| line.replace("01a2094e-", "")).collect() }
        })
        .collect();
    // Doctor finds what this machine lacks, whatever that is; the modes are commands of a table.
    typed.retain(|one| !one.command.contains("doctor"));
    assert!(typed.iter().filter(|one| one.command.contains("curl")).count() >= 3, "README");
    type_all("README.md", typed);
}

#[test]
fn the_first_ten_minutes_are_true() {
    type_in("docs/start.md");
}

#[test]
fn the_commands_for_trouble_show_what_they_should() {
    type_in("docs/trouble.md");
}

/// The page of settings is written by the program.
#[test]
fn the_settings_are_those_of_the_code() {
    let printed = World::new().command("settings", &[]).arg("--markdown").output().expect("a page");
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed == read("docs/settings.md"), "write it again: cc-anywhere settings --markdown > docs/settings.md");
}

/// A command's help fits a screen, and the README a few.
#[test]
fn help_fits_a_screen() {
    let world = World::new();
    let help = |args: &[&str]| {
        let output = world.command(args[0], &[]).args(&args[1..]).arg("--help").output().expect("help");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let all = help(&["--help"]);
    let commands = all.split("Commands:").nth(1).expect("commands").lines().skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{all}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let lines = help(&[command]).lines().count();
        assert!((3..=40).contains(&lines), "{command} --help has {lines} lines");
    }
    assert!(all.lines().count() <= 50, "{all}");
    assert!(read("README.md").lines().count() <= 120);
}

/// An image is built without the tests: the files that the manifest names are made there, each of them.
#[test]
fn the_image_has_all_that_its_build_asks_for() {
    let (manifest, image) = (read("Cargo.toml"), read("Dockerfile"));
    let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    let missing: Vec<&str> = targets.filter(|path| !path.starts_with("src/") && !image.contains(path)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "Dockerfile");
    assert!(image.contains("askama.toml") && image.contains("benches/bench/main.rs"));
}

#[test]
fn the_commands_are_those_of_the_program() {
    let output = World::new().command("reference", &[]).output().expect("the program");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md")).expect("the page");
    let written = String::from_utf8(output.stdout).expect("text");
    assert!(written == page, "write it again: cc-anywhere reference > docs/commands.md");
}

/// Each code that a request may be refused with, or that a task may wait for, is told, with what helps.
#[test]
fn every_code_of_the_program_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told: String = ["errors", "endings", "trouble", "settings", "api"]
        .map(|page| fs::read_to_string(root.join(format!("docs/{page}.md"))).expect("a page"))
        .concat();
    let mut folders: Vec<PathBuf> = ["api", "service", "web"].map(|part| root.join("src").join(part)).to_vec();
    let is_code = |word: &&str| {
        word.contains('_')
            && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            && !word.starts_with("CARGO_")
            && !word.starts_with('_')
    };
    let mut codes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&entry).expect("a file");
                for code in text.split('"').filter(is_code) {
                    codes += 1;
                    assert!(told.contains(&format!("`{code}`")), "{code} of {} is told nowhere", entry.display());
                }
            }
        }
    }
    assert!(codes > 60, "{codes}");
}

/// What one page says of another is there: the page, and the heading.
#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root.join(page)).to_vec();
    pages.extend(fs::read_dir(root.join("docs")).expect("docs").flatten().map(|entry| entry.path()));
    let anchor = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace('`', "");
        text.chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    for page in pages.iter().filter(|page| page.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !heading.is_empty() {
                let other = fs::read_to_string(&target).expect("a page");
                let found = other.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
                    || other.contains(&format!("<a id=\"{heading}\">"));
                assert!(found, "{}: {link} has no such heading", page.display());
            }
        }
    }
}

#[test]
fn what_the_guide_says_over_a_websocket_is_true() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md")).expect("the guide");
    let talk = page.split("```websocket\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a talk");
    let world = World::new();
    script(&world);
    let server = world.serve("inline", &[]);
    let mut socket = super::streams::Socket::connect(&server);
    let mut said = None;
    for line in talk.lines() {
        match line.split_at(2) {
            ("> ", text) => {
                said = Some(text);
                socket.say_text(&text.replace("KEY", server.http.key()));
            }
            (_, shown) => {
                if said.is_some_and(|said| said.contains("subscribe")) && shown.contains("task-update") {
                    server.submit(serde_json::json!({ "instruction": "Say hello" }));
                }
                while !is_shown(shown, &socket.hear().unwrap_or_else(|| panic!("{shown}")).to_string()) {}
            }
        }
    }
}
