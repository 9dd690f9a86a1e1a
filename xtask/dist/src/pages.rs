//! Pages of options of all programs.

use common::args::Page;
use common::program::Names;

/// The prefix of installed programs: `server` alone would say too little in `/usr/bin`.
pub(crate) const PREFIX: &str = "line-log-";

/// The pages of all programs and of the client's commands.
pub(crate) fn all(names: &Names) -> Vec<Page> {
    let mut pages = vec![server::options::COMMAND.page(names), launcher::page(names)];
    pages.extend(client::pages(names));
    pages
}
