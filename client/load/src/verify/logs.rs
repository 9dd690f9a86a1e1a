//! Sources of a server's log: the named files and their rotated files, or a stream.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use common::rotated_files::{self, RotatedFiles};
use nats::pull::Start;
use nats::stream_options::StreamOptions;

use super::streamed::StreamLog;

/// During a rotation no file has the log's name for some microseconds. So opening it is retried
/// this often, with this pause.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The log to verify a run against.
#[derive(Debug)]
pub(crate) enum Log {
    /// Files, in their order.
    Files(Vec<LogFile>),
    Stream(Box<StreamLog>),
}

/// A file of a log. Only the log itself is opened in advance. Rotated files may be many, and are
/// not renamed again.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    file: Option<File>,
}

impl LogFile {
    pub(crate) fn open(self) -> io::Result<File> {
        self.file.map_or_else(|| open(&self.path), Ok)
    }
}

/// These files only. The files of one log are put in its order.
pub(crate) fn named(logs: &[PathBuf]) -> Vec<LogFile> {
    let files = rotated_files::by_log(logs).into_iter().flatten();
    files.map(|path| LogFile { path, file: None }).collect()
}

/// The log that a run fills, as it was before the run.
#[derive(Debug)]
pub(crate) enum RunLog {
    Files(RunFiles),
    Stream(Box<StreamLog>),
}

impl RunLog {
    /// Records which files or messages exist.
    ///
    /// # Errors
    ///
    /// The log does not exist.
    pub(crate) fn note(files: &[PathBuf], stream: &StreamOptions) -> Result<Self, String> {
        match StreamLog::open(stream, "client load", Start::Last(0))? {
            Some(stream) => Ok(Self::Stream(Box::new(stream))),
            None => RunFiles::note(files).map(Self::Files),
        }
    }

    /// The parts of the log that may hold messages of the run. Call it after the run.
    pub(crate) fn find(self) -> Result<Log, String> {
        match self {
            Self::Files(files) => files.find().map(Log::Files),
            Self::Stream(mut stream) => {
                stream.extend();
                Ok(Log::Stream(stream))
            }
        }
    }
}

/// Log files that a run fills.
#[derive(Debug)]
pub(crate) struct RunFiles {
    named: Vec<PathBuf>,
    /// Rotated files from before the run. They hold nothing of the run.
    before: HashSet<PathBuf>,
}

impl RunFiles {
    fn note(logs: &[PathBuf]) -> Result<Self, String> {
        let mut before = HashSet::new();
        for log in logs {
            open(log).map_err(|error| cannot_read(log, &error))?;
            before.extend(rotated_files_of(log)?);
        }
        Ok(Self { named: logs.to_vec(), before })
    }

    /// The named logs, each after the rotated files that were made during the run. The server may
    /// be rotating at the same time.
    fn find(&self) -> Result<Vec<LogFile>, String> {
        let mut files = Vec::new();
        for log in named(&self.named) {
            // The log is opened before the search. So each message of the run is in this file or in
            // a rotated file that the search finds.
            let file = open_patiently(&log.path).map_err(|error| cannot_read(&log.path, &error))?;
            for path in rotated_files_of(&log.path)? {
                if !self.before.contains(&path) && !is_same(&path, &file) {
                    files.push(LogFile { path, file: None });
                }
            }
            let (path, file) = (log.path, Some(file));
            files.push(LogFile { path, file });
        }
        Ok(files)
    }
}

pub(crate) fn cannot_read(log: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", log.display())
}

/// Opens a log. Only a regular file is allowed: it has an end, and opening it does not block.
fn open(log: &Path) -> io::Result<File> {
    if !fs::metadata(log)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(log)
}

fn open_patiently(log: &Path) -> io::Result<File> {
    for _ in 0..LOOKS {
        match open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    open(log)
}

fn rotated_files_of(log: &Path) -> Result<Vec<PathBuf>, String> {
    // A log behind a symbolic link is rotated in the folder of its target.
    let real = match fs::symlink_metadata(log) {
        Ok(metadata) if metadata.is_symlink() => log.canonicalize().ok(),
        _ => None,
    };
    let rotated_files =
        RotatedFiles::of(real.as_deref().unwrap_or(log)).map(|rotated_files| rotated_files.find());
    let found = rotated_files.unwrap_or(Ok(Vec::new()));
    let found = found
        .map_err(|error| format!("cannot look for rotated files of {}: {error}", log.display()))?;
    Ok(found.into_iter().map(|rotated_file| rotated_file.path).collect())
}

/// Whether the log was renamed to this rotated file after it was opened.
fn is_same(rotated_file: &Path, log: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (rotated_file, log) =
        (fs::metadata(rotated_file).map(identity), log.metadata().map(identity));
    rotated_file.is_ok_and(|rotated_file| log.is_ok_and(|log| rotated_file == log))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(files: &[LogFile]) -> Vec<&Path> {
        files.iter().map(|file| file.path.as_path()).collect()
    }

    #[test]
    fn the_rotated_files_of_a_run_come_before_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let rotated_files = RotatedFiles::of(&log).unwrap();
        let rotated_file = |number| rotated_files.path("20261125T033512Z", number);
        let named = [log.clone()];
        RunFiles::note(&named).unwrap_err();
        fs::write(&log, "").unwrap();
        fs::write(rotated_file(1), "").unwrap();
        let logs = RunFiles::note(&named).unwrap();
        assert_eq!(paths(&logs.find().unwrap()), [&log]);
        for number in [10, 2] {
            fs::write(rotated_file(number), "").unwrap();
        }
        let found = logs.find().unwrap();
        assert_eq!(paths(&found), [&rotated_file(2), &rotated_file(10), &log]);
        // A log that was renamed after it was opened is not read twice.
        let open = open(&log).unwrap();
        fs::rename(&log, rotated_file(11)).unwrap();
        assert!(is_same(&rotated_file(11), &open) && !is_same(&rotated_file(10), &open));
        assert!(logs.find().is_err(), "it does not come again");
    }

    #[test]
    fn a_log_that_comes_again_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        fs::write(&log, "").unwrap();
        let logs = RunFiles::note(std::slice::from_ref(&log)).unwrap();
        fs::remove_file(&log).unwrap();
        thread::scope(|scope| {
            let found = scope.spawn(|| logs.find().unwrap().len());
            fs::write(&log, "").unwrap();
            assert_eq!(found.join().unwrap(), 1);
        });
    }
}
