//! The nodes, and the stream.

use nats::address::Login;
use test_support::nodes::{CURRENT, Cluster, Setup, install, json};

use crate::files::{Folder, users};

/// The stream's name in the packaged configuration.
pub(crate) const STREAM: &str = "LOG";

/// Starts nodes with the users of the packaged configuration, and creates the stream.
pub(crate) fn start(folder: &Folder) -> Result<Cluster, String> {
    let setup = Setup {
        nodes: 3,
        folder: Some(folder.path().to_owned()),
        config: users()?,
        login: Some(Login::User("admin".to_owned(), "admin".to_owned())),
        ..Setup::of(install(CURRENT)?)
    };
    let program = setup.program.canonicalize();
    let program = program.map_err(|error| format!("{}: {error}", setup.program.display()))?;
    let program = program.to_string_lossy();
    let nodes = setup.start()?;
    for node in &nodes.nodes {
        let name = format!("start-{}", node.name());
        folder.write_script(&name, node.folder(), &[&program, "-c", "nats.conf"])?;
    }
    let subjects = format!("{STREAM}.*");
    let config = json!({"subjects": [subjects], "discard": "new"});
    nodes.stream(STREAM).create(&config)?;
    Ok(nodes)
}
