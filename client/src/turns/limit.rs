//! Limit on the number of threads that the system allows. Beyond it the standard library aborts.

use std::fs;

use common::units::count;

/// Memory maps per thread: its stack and its signal stack, each with a guard page.
const MAPS_PER_THREAD: u64 = 4;

/// Memory maps for the rest of the program.
const OTHER_MAPS: u64 = 200;

/// # Errors
///
/// More threads than the system allows. The message gives the limit and how to raise it.
pub(super) fn check(threads: usize) -> Result<(), String> {
    let wanted = threads as u64;
    for (most, why, advice) in [by_maps(wanted), by_threads(), by_group()].into_iter().flatten() {
        if wanted > most {
            let (wanted, most) = (count(wanted), count(most));
            return Err(format!(
                "-nt {wanted} is more than the {most} threads that this system allows ({why}): ask \
                 for fewer, or {advice}"
            ));
        }
    }
    Ok(())
}

/// The maximum number of threads, its source, and how to raise it.
type Limit = (u64, String, String);

fn by_maps(wanted: u64) -> Option<Limit> {
    let maps = number("/proc/sys/vm/max_map_count")?;
    let needed = wanted * MAPS_PER_THREAD + OTHER_MAPS;
    Some((
        maps.saturating_sub(OTHER_MAPS) / MAPS_PER_THREAD,
        format!("vm.max_map_count is {maps}, a thread takes {MAPS_PER_THREAD}"),
        format!("sysctl vm.max_map_count={needed}"),
    ))
}

fn by_threads() -> Option<Limit> {
    let most = number("/proc/sys/kernel/threads-max")?;
    let name = "kernel.threads-max";
    Some((most, format!("{name} is {most}"), format!("raise {name}")))
}

/// The limit of the control group, if there is one.
fn by_group() -> Option<Limit> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
    let most = number(&format!("{folder}/pids.max"))?;
    let used = number(&format!("{folder}/pids.current")).unwrap_or(0);
    Some((
        most.saturating_sub(used),
        format!("pids.max of {path} is {most}, {used} are in use"),
        "raise that of the control group (systemd: TasksMax)".to_owned(),
    ))
}

/// The number in a file. `None` for any other text, such as `max`.
fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
