//! `/proc/PID/stat` (proc(5)).

use procfs_core::FromRead as _;
use procfs_core::process::Stat;

/// Reads the kernel's description of a process; `None` where it is gone.
pub fn of(pid: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // A process names itself as it likes, also with what is no text.
    Stat::from_read(String::from_utf8_lossy(&text).as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read_as_well() {
        let name = std::ffi::CString::new(b") Z \xff\xfe (".to_vec()).expect("a name");
        let strange = std::thread::spawn(move || {
            rustix::thread::set_name(&name).expect("a name");
            of(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())
        });
        let stat = strange.join().expect("a thread").expect("a process");
        assert_eq!(stat.state, 'R');
        assert_eq!(u32::try_from(stat.ppid).ok(), rustix::process::getppid().map(crate::process::number_of));
    }
}
