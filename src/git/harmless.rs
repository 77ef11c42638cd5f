//! Settings and variables with which git runs no code of a repository.
//!
//! A repository's own configuration names programs: filters, hooks, monitors, pagers, helpers, and more with each version
//! of git. Those with fixed names are overruled by settings of the highest rank (`GIT_CONFIG_COUNT`, git-config(1)); those
//! with names of the repository's choice are looked up first, and overruled by name.

/// Settings that overrule the repository's in every git, ours and the agent's.
const ALL: &[(&str, &str)] = &[
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.alternateRefsCommand", "true"),
    ("log.showSignature", "false"),
    ("safe.bareRepository", "explicit"),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
    ("uploadpack.packObjectsHook", ""),
];

/// Settings of ours on top of these. All of them run code, ask somebody, or ask who owns a folder.
const OURS: &[(&str, &str)] = &[
    ("core.pager", "cat"),
    ("core.editor", "true"),
    ("sequence.editor", "true"),
    ("core.sshCommand", "false"),
    ("core.askPass", "true"),
    ("core.gitProxy", ""),
    ("credential.helper", ""),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("gpg.program", "false"),
    ("gpg.ssh.program", "false"),
    ("gpg.x509.program", "false"),
    ("diff.ignoreSubmodules", "all"),
    ("status.submoduleSummary", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("safe.directory", "*"),
];

/// Variables of every git below the agent: settings of the system count for nothing, nobody is asked, and what a partial
/// clone lacks is not fetched by the way.
const AGENT: &[(&str, &str)] = &[
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("GIT_SSH_COMMAND", "ssh"),
];

/// Variables of ours on top of these: no protocol at all, and no settings but the repository's own.
const MINE: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_SSH_COMMAND", "false"),
    ("GIT_ASKPASS", "true"),
    ("GIT_EDITOR", "true"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("GIT_PAGER", "cat"),
];

/// Settings that overrule the programs among these, each by its own name.
pub fn overruled(names: &[u8]) -> Vec<(String, String)> {
    let names = names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut found: Vec<(String, String)> = names.filter_map(|name| Some((name.to_owned(), value_for(name)?))).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The harmless value of a setting whose name a repository chooses; `None` where it runs nothing.
fn value_for(name: &str) -> Option<String> {
    // The part between the first dot and the last is the repository's.
    let (section, rest) = name.split_once('.')?;
    let (_, last) = rest.rsplit_once('.')?;
    let value = match (section.to_ascii_lowercase().as_str(), last.to_ascii_lowercase().as_str()) {
        ("filter", "clean" | "smudge" | "process") => "",
        ("filter", "required") => "false",
        // None of it runs in what we call; for those who call git next to us.
        ("diff", "command" | "textconv") | ("merge", "driver") => "",
        ("credential", "helper") => "",
        ("submodule", "update") => "none",
        ("remote", "uploadpack" | "receivepack") => "false",
        ("remote", "promisor") => "false",
        _ => return None,
    };
    Some(value.to_owned())
}

/// Variables for a git of ours.
pub fn for_us(overruled: &[(String, String)]) -> Vec<(String, String)> {
    let settings = ALL.iter().chain(OURS).map(owned).chain(overruled.iter().cloned());
    let mut all: Vec<_> =
        AGENT.iter().filter(|(name, _)| MINE.iter().all(|(mine, _)| mine != name)).map(owned).collect();
    all.extend(MINE.iter().map(owned));
    all.extend(counted(settings.collect()));
    all
}

/// Variables for every git below the agent.
pub fn for_agent(overruled: &[(String, String)]) -> Vec<(String, String)> {
    let settings = ALL.iter().map(owned).chain(overruled.iter().cloned()).collect();
    AGENT.iter().map(owned).chain(counted(settings)).collect()
}

fn owned((name, value): &(&str, &str)) -> (String, String) {
    ((*name).to_owned(), (*value).to_owned())
}

/// Settings as git takes them from variables.
fn counted(settings: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut all = vec![("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())];
    for (at, (key, value)) in settings.into_iter().enumerate() {
        all.push((format!("GIT_CONFIG_KEY_{at}"), key));
        all.push((format!("GIT_CONFIG_VALUE_{at}"), value));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_overruled_under_the_names_that_a_repository_gives_them() {
        let names = b"filter.a.b.clean\0Filter.x.PROCESS\0core.bare\0diff.y.textconv\0remote.o.url\0user.name\0filter.x.required\0";
        let found = overruled(names);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Filter.x.PROCESS", "diff.y.textconv", "filter.a.b.clean", "filter.x.required"]);
        let all = for_agent(&found);
        let count = all.iter().find(|(name, _)| name == "GIT_CONFIG_COUNT").expect("a count");
        assert_eq!(count.1, (ALL.len() + 4).to_string());
    }
}
