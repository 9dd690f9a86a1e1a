//! The log file at the start of the server.

use std::io;
use std::path::Path;
use std::time::Instant;

use common::units::plural;

use crate::backend::file::LogFile;
use crate::diagnostics::Stderr;
use crate::journal::rotation::Rotation;
use crate::journal::{Journal, Left, Opened, Opening};
use crate::options::Config;

/// Opens the log, and reports what it emptied or found damaged.
pub(super) fn open(config: &Config, stderr: &Stderr) -> Result<LogFile, String> {
    let log = config.log();
    // Errors that would prevent a rotation are found before the log is emptied.
    let mut rotation = rotation(config, &log)?;
    let like = rotation.as_mut().and_then(|rotation| rotation.folder().ownership_of_missing_log());
    let path = log.display();
    let opened = Journal::open(&log, config.opening, config.sync, like);
    let opened: Opened = opened.map_err(|error| {
        let advice = advice(&error, config.opening);
        format!("cannot open the log {path}: {error}; {advice}")
    })?;
    if opened.emptied_bytes > 0 {
        let bytes = plural(opened.emptied_bytes, "byte");
        stderr.say(&format!("emptied {path}: {bytes}; -append keeps them"));
    }
    if !opened.damage.is_none() {
        log::warn!("{path}: {}", opened.damage);
    }
    if let Some(rotation) = &mut rotation {
        report_damage(rotation, opened.journal.length().unwrap_or(0));
    }
    let mut file = LogFile::new(opened.journal, log);
    if let Some(rotation) = rotation {
        file.rotate_by(rotation, Instant::now());
    }
    Ok(file)
}

fn rotation(config: &Config, log: &Path) -> Result<Option<Rotation>, String> {
    if !config.rotation.rotates() {
        return Ok(None);
    }
    let rotation = Rotation::new(log, config.utc, config.rotation);
    rotation.map(Some).map_err(|error| {
        format!(
            "cannot rotate the log {}: {error}; choose another -log, or leave -rotate-size and -rotate-every \
             out",
            log.display()
        )
    })
}

fn advice(error: &io::Error, opening: Opening) -> &'static str {
    match (error.kind(), opening) {
        (io::ErrorKind::InvalidData, Opening::Overwrite) => "choose another -log, or delete it",
        _ => "choose another -log",
    }
}

/// Reports the damage that a crash or a power failure has left in rotated files.
fn report_damage(rotation: &mut Rotation, logged: u64) {
    for (file, damage) in rotation.folder().find_damage(logged) {
        let file = file.display();
        match damage {
            Ok(damage) => log::warn!("{file}: {}", Left(damage)),
            Err(error) => log::warn!("{file} cannot be looked through for damage: {error}"),
        }
    }
}
