//! Description of the measuring machine, and the time of the run.

use time::OffsetDateTime;

use super::data::Machine;

/// Describes this machine. Unknown fields are left empty.
pub(crate) fn machine() -> Machine {
    let uname = rustix::system::uname();
    let part = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Machine {
        system: format!(
            "{} {} {}",
            part(uname.sysname()),
            part(uname.release()),
            part(uname.machine())
        ),
        cpu: cpu().unwrap_or_default(),
        cpus: cpus as u64,
        memory_bytes: memory().unwrap_or(0),
    }
}

#[cfg(target_os = "linux")]
fn cpu() -> Option<String> {
    use procfs::Current as _;
    procfs::CpuInfo::current().ok()?.model_name(0).map(str::to_owned)
}

#[cfg(target_os = "linux")]
fn memory() -> Option<u64> {
    use procfs::Current as _;
    Some(procfs::Meminfo::current().ok()?.mem_total)
}

#[cfg(not(target_os = "linux"))]
fn cpu() -> Option<String> {
    None
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Option<u64> {
    None
}

/// The current time in UTC, in RFC 3339 format.
pub(crate) fn utc_now() -> String {
    let now = OffsetDateTime::now_utc();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    )
}
