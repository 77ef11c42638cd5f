//! A repository that would run code, to see that it does not.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Git, GitError};
use crate::config::Claude;
use crate::sandbox::Tried;

/// Settings that name a program, each with what runs it.
const SETTINGS: &str = "\
[core]\n\tfsmonitor = PROGRAM\n\thooksPath = FOLDER\n\tpager = PROGRAM\n\tsshCommand = PROGRAM\n\tbare = false\n\
[filter \"probe\"]\n\tclean = PROGRAM\n\tsmudge = PROGRAM\n\tprocess = PROGRAM\n\trequired = true\n\
[diff \"probe\"]\n\tcommand = PROGRAM\n\ttextconv = PROGRAM\n\
[diff]\n\texternal = PROGRAM\n\
[log]\n\tshowSignature = true\n\
[gpg]\n\tprogram = PROGRAM\n\
[credential]\n\thelper = PROGRAM\n";

/// Looks at such a repository as before a task, and says whether something of it ran.
///
/// # Errors
/// The system's.
pub async fn try_repository(claude: &Claude) -> io::Result<Tried> {
    let attack = "run code by the settings of a repository, before the model speaks".to_owned();
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    let mark = root.join("ran");
    make(&root, &mark)?;
    let mut inside = claude.clone();
    inside.workspace_roots = vec![root.clone()];
    let reached = match Git::find(&inside) {
        Ok(git) => {
            // Its walls would stop the program too: here it is git that is tried.
            let git = Git { walls: None, ..git };
            let state = git.look(&root.join("repository")).await;
            match (mark.exists(), state.summary) {
                (true, _) => Some("a program of the repository ran".to_owned()),
                (false, Some(_)) => None,
                (false, None) => return Err(io::Error::other("the repository could not be looked at")),
            }
        }
        Err(GitError::Missing) => None,
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(Tried { attack, reached })
}

/// A repository in three files, without git.
fn make(root: &Path, mark: &Path) -> io::Result<()> {
    let (repository, program) = (root.join("repository"), root.join("program"));
    std::fs::write(&program, format!("#!/bin/sh\necho x >> {}\ncat\n", mark.display()))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let git = repository.join(".git");
    for folder in ["objects", "refs/heads"] {
        std::fs::create_dir_all(git.join(folder))?;
    }
    std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n")?;
    let settings =
        SETTINGS.replace("PROGRAM", &program.display().to_string()).replace("FOLDER", &root.display().to_string());
    std::fs::write(git.join("config"), settings)?;
    std::fs::write(repository.join(".gitattributes"), "* filter=probe diff=probe\n")?;
    std::fs::write(repository.join("file"), "text\n")
}
