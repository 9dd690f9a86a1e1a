//! Owner, group and mode of a file. The file that replaces it gets the same.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::process::geteuid;

/// The mode of a created file before it gets its ownership.
pub(super) const PRIVATE: u32 = 0o600;

/// Owner, group and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    uid: u32,
    gid: u32,
    /// Permission bits for owner, group and others.
    mode: u32,
}

impl Ownership {
    /// The ownership of the file that `metadata` describes.
    pub fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o777 }
    }

    /// Applies it to a file that was just created, as far as this process is permitted.
    pub(super) fn give(self, file: &File) {
        let Ok(own) = file.metadata().map(|metadata| Self::of(&metadata)) else {
            return;
        };
        // Only root may change a file's owner.
        let uid = (own.uid != self.uid && geteuid().is_root()).then_some(self.uid);
        let gid = (own.gid != self.gid).then_some(self.gid);
        if uid.is_some() {
            _ = fchown(file, uid, None);
        }
        let has_group = gid.is_none() || fchown(file, None, gid).is_ok();
        // A group other than the intended one gets the permissions of others.
        let group = if has_group { 0o070 } else { (self.mode & 0o007) << 3 };
        let mode = self.mode & (0o707 | group);
        _ = file.set_permissions(Permissions::from_mode(mode));
    }
}

/// Opens the file at `path`. If it is missing, it is created with the ownership `like`.
pub(super) fn open_like(path: &Path, options: &OpenOptions, like: Ownership) -> io::Result<File> {
    let mut private = options.clone();
    private.mode(PRIVATE);
    let created = private.clone().create_new(true).open(path);
    let file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match options.open(path) {
                // A symbolic link to a missing file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    private.create(true).open(path)?
                }
                existing => return existing,
            }
        }
        created => created?,
    };
    like.give(&file);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn options() -> OpenOptions {
        let mut options = File::options();
        options.read(true).append(true);
        options
    }

    fn mode(path: &Path) -> u32 {
        Ownership::of(&path.metadata().unwrap()).mode
    }

    #[test]
    fn a_new_file_has_it_and_one_that_exists_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [model, new, other, link] =
            ["model", "new", "other", "link"].map(|name| folder.path().join(name));
        fs::write(&model, "").unwrap();
        for expected in [0o600, 0o640, 0o666] {
            fs::set_permissions(&model, Permissions::from_mode(expected)).unwrap();
            // Only root may change a file's owner.
            let is_given = chown(&model, Some(4321), Some(1234)).is_ok();
            let like = Ownership::of(&model.metadata().unwrap());
            open_like(&new, &options(), like).unwrap();
            let metadata = new.metadata().unwrap();
            assert_eq!(mode(&new), expected);
            let is_same = (metadata.uid(), metadata.gid()) == (4321, 1234);
            assert_eq!(is_same, is_given);
            fs::write(&other, "").unwrap();
            fs::set_permissions(&other, Permissions::from_mode(0o604)).unwrap();
            open_like(&other, &options(), like).unwrap();
            assert_eq!(mode(&other), 0o604);
            fs::remove_file(&new).unwrap();
            symlink(&new, &link).unwrap();
            open_like(&link, &options(), like).unwrap();
            assert_eq!(mode(&new), expected, "where the link leads to");
            fs::remove_file(&new).unwrap();
            fs::remove_file(&link).unwrap();
        }
    }
}
