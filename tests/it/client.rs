//! The client, as people and scripts use it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::OpenptFlags;
use serde_json::{Value, json};

use crate::support::{LIMIT, Server, World, poll, task, until};

struct Client<'a> {
    world: &'a World,
    port: String,
}

impl<'a> Client<'a> {
    fn of(world: &'a World, server: &Server) -> Self {
        Self { world, port: server.http.url.rsplit(':').next().expect("a port").to_owned() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args[0], &[("PORT", &self.port)]);
        command.args(&args[1..]);
        command
    }

    /// The exit code, and what was printed.
    fn run(&self, args: &[&str]) -> (i32, String) {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: &str) -> (i32, String) {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client");
        // One that reads nothing has closed it already.
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().expect("an end");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("a code"), text(&output.stdout) + &text(&output.stderr))
    }
}

/// A terminal with a program in it.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        rustix::pty::grantpt(&ours).expect("granted");
        rustix::pty::unlockpt(&ours).expect("unlocked");
        let name = rustix::pty::ptsname(&ours, Vec::new()).expect("a name").into_string().expect("a name");
        let open = || File::options().read(true).write(true).open(&name).expect("the other end");
        let child =
            command.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open()).spawn().expect("the client");
        drop(command);
        let (mut reader, keys) = (File::from(ours.try_clone().expect("a copy")), File::from(ours));
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                shown.lock().expect("a lock").push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, keys, screen, reader }
    }

    fn wait_for(&self, text: &str) {
        let shown = || self.screen.lock().expect("a lock").clone();
        poll(LIMIT, || shown().contains(text).then_some(())).unwrap_or_else(|| panic!("no {text} in {}", shown()));
    }

    fn type_in(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("typed");
    }

    fn end(mut self) -> (i32, String) {
        let code = poll(LIMIT, || self.child.try_wait().expect("a child")).expect("an end").code().expect("a code");
        // What the program wrote last may be on its way.
        poll(LIMIT, || self.reader.is_finished().then_some(())).expect("all that it wrote");
        (code, self.screen.lock().expect("a lock").clone())
    }
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("no JSON: {said}"))
}

#[test]
fn a_task_is_submitted_from_words_a_file_or_a_pipe_and_its_outcome_is_the_exit_code() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let file = world.ws().join("instruction.txt");
    std::fs::write(&file, "from a file\nstep say read").expect("a file");
    let file = file.display().to_string();
    let (code, said) = client.run(&["submit", "--file", &file, "--wait"]);
    assert!(code == 0 && said.contains("read") && said.contains("completed") && said.contains("$0.0"), "{said}");
    let (code, said) = client.run_with(&["submit", "-", "--wait"], "from a pipe\nstep say piped");
    assert!(code == 0 && said.contains("piped"), "{said}");
    let (code, said) = client.run(&["submit", "bad\nstep error 400", "--wait"]);
    assert_eq!(code, 1, "{said}");
    let id = server.submit(task(&world.ws(), "called off", &["bash sleep 300"]));
    server.wait_tool(&id);
    assert!(client.run(&["cancel", &id]).1.contains("cancelled"));
    assert_eq!(client.run(&["watch", &id]).0, 3);
    assert_eq!(client.run(&["submit"]).0, 2, "nothing to do");

    let ws = world.ws().display().to_string();
    let full = [
        "submit",
        "with everything",
        "--json",
        "--dir",
        &ws,
        "--context",
        &file,
        "--allow",
        "Bash",
        "--model",
        "sonnet",
        "--permission-mode",
        "ask",
        "--max-budget-usd",
        "0.5",
        "--priority",
        "7",
        "--run-at",
        "2125-01-01T00:00:00Z",
        "--tag",
        "a",
        "--tag",
        "b",
        "--concurrency-key",
        "k",
        "--idempotency-key",
        "once",
    ];
    let (code, said) = client.run(&full);
    let id = json_of(&said)["taskId"].as_str().expect("an id").to_owned();
    assert_eq!((code, json_of(&client.run(&full).1)["taskId"].as_str()), (0, Some(&*id)), "the same task");
    let stored = server.task(&id);
    assert_eq!(
        (&stored["priority"], &stored["tags"], &stored["concurrencyKey"]),
        (&json!(7), &json!(["a", "b"]), &json!("k"))
    );
    let sdk = &stored["options"]["sdk"];
    assert_eq!(
        (&sdk["model"], &sdk["permissionMode"], &sdk["allowedTools"], &sdk["maxBudgetUsd"]),
        (&json!("sonnet"), &json!("default"), &json!(["Bash"]), &json!(0.5))
    );
    assert!(client.run(&["explain", &id]).1.contains("NOT_DUE"));
    assert_eq!(client.run(&["amend", &id, "--priority", "9"]).0, 0);
    assert_eq!(server.task(&id)["priority"], 9);
}

#[test]
fn scripts_read_json_and_people_read_lines() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let client = Client::of(&world, &server);
    let tasks = json!([{ "instruction": "one\nstep say 1" }, { "instruction": "two\nstep say 2", "tags": ["x y"] }]);
    let (code, ids) = client.run_with(&["batch", "-"], &tasks.to_string());
    assert_eq!((code, ids.lines().count()), (0, 2), "{ids}");
    for id in ids.lines() {
        server.wait_end(id);
    }
    let (_, watched) = client.run(&["watch", ids.lines().next().expect("an id"), "--json"]);
    let lines: Vec<Value> = watched.lines().map(json_of).collect();
    assert!(lines[0]["seq"] == 1 && lines.last().expect("a task")["status"] == "completed", "{watched}");
    assert_eq!(json_of(&client.run(&["tasks", "--json", "--tag", "x y"]).1)["total"], 1);
    assert_eq!(client.run(&["tasks", "--status", "completed"]).1.lines().count(), 2);
    let shown = client.run(&["show", ids.lines().last().expect("an id")]).1;
    assert!(shown.contains("completed") && shown.ends_with("\n2\n") && shown.contains("cost"), "{shown}");
    assert!(client.run(&["workers"]).1.contains("worker-0"));
    assert_eq!(json_of(&client.run(&["workers", "--json"]).1)["workerCount"], 1);
    assert!(client.run(&["health"]).1.starts_with("healthy: 0 pending, 0 running, 1 workers (managed)"));
    let usage = client.run(&["usage"]).1;
    assert!(usage.contains("\tdefault\t") && usage.contains("\t2\t") && usage.contains("total $0.0003"), "{usage}");
    let (code, refused) = client.run(&["show", "nonsense", "--json"]);
    assert_eq!((code, &json_of(&refused)["error"]["code"]), (1, &json!("TASK_NOT_FOUND")));

    let (code, added) = client.run(&[
        "schedules",
        "add",
        "0 9 * * 1-5",
        "each morning\nstep say morning",
        "--time-zone",
        "Europe/Berlin",
        "--name",
        "Morning",
        "--json",
    ]);
    let id = json_of(&added)["scheduleId"].as_str().expect("an id").to_owned();
    let listed = client.run(&["schedules"]).1;
    assert!(code == 0 && listed.contains("Morning") && listed.contains("Europe/Berlin"), "{listed}");
    let fired = client.run(&["schedules", "run", &id]).1;
    assert_eq!(server.wait_end(fired.trim())["result"], "morning");
    assert!(client.run(&["schedules", "runs", &id]).1.contains("by hand"));
    assert!(client.run(&["schedules", "disable", &id]).1.contains("not enabled"));
    assert_eq!(client.run(&["schedules", "remove", &id]).0, 0);
    assert!(client.run(&["pause"]).1.contains("is paused") && client.run(&["start"]).1.contains("goes on"));
}

/// What a terminal of this width shows of a command that ends.
#[expect(clippy::disallowed_methods, reason = "a terminal has a shell")]
fn shown(client: &Client<'_>, args: &[&str], columns: u16) -> (i32, String) {
    let mut command = Command::new("sh");
    let mut program = client.command(args);
    command.args(["-c", "stty cols $0 rows 40; exec \"$@\"", &columns.to_string()]);
    command
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(program.get_current_dir().expect("a folder"));
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("NO_COLOR", "1");
    program.env_clear();
    let (code, screen) = Terminal::start(command).end();
    (code, screen.replace("\r\n", "\n"))
}

#[test]
fn a_terminal_gets_tables_that_fit_it_short_ids_and_what_to_do_next() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let (code, empty) = shown(&client, &["tasks"], 80);
    assert!(code == 0 && empty.contains("cc-anywhere submit"), "{empty}");
    let long = format!("A title that is {} long", "very ".repeat(15));
    let done = server.submit(task(&world.ws(), &long, &["say All is well."]));
    server.wait_end(&done);
    let mut asks = task(&world.ws(), "Asks first", &["bash touch a", "say done"]);
    asks["options"]["sdk"] = json!({ "permissionMode": "ask" });
    let asks = server.submit(asks);
    server.follow(&asks, |event| event["kind"] == "permission").expect("a question");
    let short = |id: &str| id[id.len() - 8..].to_owned();
    for columns in [80, 140] {
        let (_, table) = shown(&client, &["tasks"], columns);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(columns)), "{table}");
        assert!(lines[0].starts_with("ID") && lines[0].contains("FOLDER") && lines[0].ends_with("TIME"), "{table}");
        assert!(lines[1].starts_with(&short(&asks)) && lines[1].contains("◆ asks"), "{table}");
        assert!(
            lines[2].contains("✓ completed") && lines[2].contains(" s ago") && lines[2].contains("$0.0"),
            "{table}"
        );
    }
    // A pipe gets whole values, and no head.
    let piped = client.run(&["tasks"]).1;
    let values: Vec<&str> = piped.lines().last().expect("a line").split('\t').collect();
    assert_eq!((values[0], values[1], values.len()), (&*done, "completed", 6), "{piped}");
    // Any beginning or end that one task has.
    for part in [short(&done), done[..done.len() - 2].to_owned(), done.replace('-', "").to_uppercase()] {
        assert_eq!(json_of(&client.run(&["show", &part, "--json"]).1)["taskId"], json!(done), "{part}");
    }
    let (code, many) = client.run(&["show", &done[..4]]);
    assert!(code == 1 && many.contains(&done) && many.contains(&asks), "{many}");
    assert_eq!(client.run(&["show", "ffffffff"]).0, 1);
    assert_eq!(server.http.ask("GET", "/api/tasks?id=xyz", None).0, 422);
    let (_, page) = shown(&client, &["show", &short(&asks)], 80);
    for text in ["Asks first", "waits for", "Next", &format!("cc-anywhere approve {}", short(&asks))] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    let (_, page) = shown(&client, &["show", &short(&done)], 80);
    assert!(page.contains("--continue") && page.ends_with("\nAll is well.\n"), "{page}");
    let (_, opened) = client.run(&["open", &short(&done), "--print"]);
    assert!(opened.contains(&format!("/in?next=/tasks/{}#K", done.replace('-', "%2D"))), "{opened}");
    let (_, submitted) = shown(&client, &["submit", "Say hello"], 80);
    assert!(submitted.contains("follow it: cc-anywhere watch"), "{submitted}");
    let (code, refused) = client.run(&["tasks", "--watch"]);
    assert!(code == 1 && refused.contains("terminal"), "{refused}");
    assert_eq!(client.run(&["approve", &short(&asks)]), (0, "allowed\n".to_owned()));
    server.wait_end(&asks);
}

#[test]
fn a_list_that_is_watched_is_drawn_again() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "Watched", &[&hold, "say done"]));
    server.wait_tool(&id);
    let mut terminal = Terminal::start(client.command(&["tasks", "--watch"]));
    terminal.wait_for("● running");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    server.wait_end(&id);
    terminal.wait_for("✓ completed");
    terminal.child.kill().expect("killed");
    terminal.child.wait().expect("its end");
}

#[test]
fn a_newcomers_slips_are_named_with_their_cure() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURENCY", "3")]);
    server.process.wait_log("QUEUE_CONCURENCY is no setting; did you mean QUEUE_CONCURRENCY?");
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let other = World::new();
    let run = |settings: &[(&str, &str)]| {
        let output = other.command("serve", settings).output().expect("an end");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&[("PORT", &port)]);
    assert!(code == Some(1) && said.contains("choose another port with PORT="), "{said}");
    let (code, said) = run(&[("METRICS_PORT", &port)]);
    assert!(code == Some(1) && said.contains("choose another port with METRICS_PORT="), "{said}");
    std::fs::write(other.ws().join("cc-anywhere.toml"), "worker_mod = \"inline\"\n").expect("a file");
    let mut command = other.command("serve", &[]);
    let output = command.current_dir(other.ws()).output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("did you mean \"worker_mode\"?"), "{said}");
    // Nobody there.
    std::fs::remove_file(other.ws().join("cc-anywhere.toml")).expect("removed");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let output = other.command("tasks", &[("PORT", &free.to_string())]).output().expect("an end");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is `cc-anywhere serve` running there?"));
}

/// What a shell is told when somebody presses tab behind `show`.
#[test]
fn a_shell_completes_ids_with_their_titles() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let id = server.submit(task(&world.ws(), "Find me", &["say done"]));
    server.wait_end(&id);
    let registration = client.run(&["completions", "fish"]).1;
    assert!(registration.contains("COMPLETE=fish") && registration.contains("cc-anywhere"), "{registration}");
    let complete = |typed: &[&str]| {
        let mut command = client.command(&["--", "cc-anywhere"]);
        command.args(typed).env("COMPLETE", "fish");
        String::from_utf8_lossy(&command.output().expect("an end").stdout).into_owned()
    };
    assert!(complete(&["show", ""]).starts_with(&format!("{}\t✓ Find me\n", &id[id.len() - 8..])));
    assert!(complete(&["show", &id[..6]]).contains(&id));
    assert!(complete(&["submit", "--concurrency-"]).contains("--concurrency-key"));
}

#[test]
fn who_sits_at_a_terminal_sees_what_happens_and_answers_questions() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let steps = ["bash touch a", "bash touch b", "bash touch c", "say all done"];
    let mut body = task(&world.ws(), "asks", &steps);
    body["options"]["sdk"] = json!({ "permissionMode": "ask" });
    let id = server.submit(body);
    let mut terminal = Terminal::start(client.command(&["watch", &id]));
    terminal.wait_for("allow it?");
    terminal.type_in("y\n");
    until("the first file", || world.ws().join("a").exists().then_some(()));
    terminal.wait_for("touch b");
    until("the second question", || {
        let shown = terminal.screen.lock().expect("a lock").matches("allow it?").count();
        (shown == 2).then_some(())
    });
    terminal.type_in("n\nNot b\n");
    until("the third question", || {
        let shown = terminal.screen.lock().expect("a lock").matches("allow it?").count();
        (shown == 3).then_some(())
    });
    terminal.type_in("s\n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let there = ["a", "b", "c"].map(|name| world.ws().join(name).exists());
    assert_eq!(there, [true, false, true], "{screen}");
    for shown in ["running", "Bash", "tool calls, $0.0", "completed", "all done"] {
        assert!(screen.contains(shown), "no {shown} in {screen}");
    }
}

#[test]
fn who_leaves_the_keyboard_goes_on_watching() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let client = Client::of(&world, &server);
    let mut body = task(&world.ws(), "asks", &["bash touch a", "say done"]);
    body["options"]["sdk"] = json!({ "permissionMode": "ask" });
    let id = server.submit(body);
    let mut terminal = Terminal::start(client.command(&["watch", &id]));
    terminal.wait_for("allow it?");
    // The end of the input, as Ctrl-D makes it.
    terminal.type_in("\x04");
    terminal.wait_for(&format!("cc-anywhere approve {id}"));
    assert_eq!(client.run(&["approve", &id]), (0, "allowed\n".to_owned()));
    let (code, screen) = terminal.end();
    assert!(code == 0 && screen.contains("done"), "{screen}");
    assert_eq!(screen.matches("allow it?").count(), 1, "{screen}");
}

#[test]
fn a_watch_goes_on_when_the_server_comes_back() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let port = free.to_string();
    let server = world.serve("managed", &[("PORT", &port)]);
    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "watched", &[&hold, "say still here"]));
    server.wait_tool(&id);
    let terminal = Terminal::start(Client::of(&world, &server).command(&["watch", &id]));
    terminal.wait_for("Bash");
    crate::support::signal(server.process.pid(), "KILL");
    terminal.wait_for("can't be reached");
    drop(server);
    let server = world.serve("managed", &[("PORT", &port)]);
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let (code, screen) = terminal.end();
    assert!(code == 0 && screen.contains("still here"), "{screen}");
    assert_eq!(screen.matches("running").count(), 1, "nothing is shown twice: {screen}");
    drop(server);
}
