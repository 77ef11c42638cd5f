//! Signals.

/// Kills every process of the PID namespace but its init, which is to call it. Does nothing in another process.
pub fn kill_namespace() {
    if std::process::id() != 1 {
        return;
    }
    #[expect(unsafe_code, reason = "kill(2) with -1 has no safe wrapper; from an init it reaches its namespace only")]
    unsafe {
        libc::kill(-1, libc::SIGKILL);
    }
}

/// Lets this process end in silence when nobody reads what it prints any more, as a program in a pipe does; a server
/// keeps the signal off.
pub fn reset_sigpipe() {
    #[expect(unsafe_code, reason = "sets the disposition of a signal to its default, which runs no code of ours")]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
