//! What nodes are to be like, and the configuration files that say so.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nats::address::Login;
use nats::options::Options;
use tempfile::TempDir;

use crate::Cluster;
use crate::node::Node;
use crate::ports::Ports;

/// What nodes are to be like. [`Setup::of`] is one with `sync_interval: always`, and nothing special.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program, from [`crate::install`].
    pub program: PathBuf,
    /// How many: one that stands alone, or a cluster of as many.
    pub nodes: usize,
    /// Where their files are to stay, a folder for each node; if not there, in a temporary one.
    pub folder: Option<PathBuf>,
    /// When a node has the disk write what it acknowledged.
    pub sync: SyncInterval,
    /// What else every node's configuration says: users and what they may do, tokens, TLS.
    pub config: String,
    /// Where the nodes keep their streams, in order; [`Store::Folder`] for those that are not named.
    pub stores: Vec<Store>,
    /// Who manages the streams, where the configuration knows users.
    pub login: Option<Login>,
    /// With which credentials, and how over TLS. The URLs are those of the nodes.
    pub admin: Options,
}

/// When a node has the disk write what it stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before it acknowledges.
    Always,
    /// Every so often, in whole milliseconds: a power cut takes what was acknowledged since.
    Every(Duration),
}

/// Where a node keeps its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In the folder of the cluster.
    #[default]
    Folder,
    /// In a folder of the caller's.
    At(PathBuf),
    /// In memory, in a file system of so many bytes, which is soon full. It is a new one with every
    /// start of the node, which has lost everything then. The node ends at its start where nobody may
    /// mount one.
    Memory(u64),
}

impl Setup {
    /// One node that runs this program.
    pub fn of(program: PathBuf) -> Self {
        Self {
            program,
            nodes: 1,
            folder: None,
            sync: SyncInterval::Always,
            config: String::new(),
            stores: Vec::new(),
            login: None,
            admin: Options::default(),
        }
    }

    /// Starts the nodes and waits until they are healthy.
    ///
    /// # Errors
    /// Its files cannot be written, or a node does not get healthy; what it logged is part of the text.
    pub fn start(self) -> Result<Cluster, String> {
        let mut cluster = self
            .prepare()
            .map_err(|error| format!("cannot prepare a cluster: {error}"))?;
        cluster.nodes.iter_mut().try_for_each(Node::start)?;
        cluster.wait_until_healthy()?;
        Ok(cluster)
    }

    fn prepare(mut self) -> io::Result<Cluster> {
        let (folder, temporary) = if let Some(folder) = self.folder.take() {
            (folder, None)
        } else {
            let folder = TempDir::new()?;
            (folder.path().to_owned(), Some(folder))
        };
        let ports: Vec<_> = (0..self.nodes)
            .map(|_| Ports::reserve())
            .collect::<io::Result<_>>()?;
        let routes: Vec<_> = ports.iter().map(|ports| ports.routes.address).collect();
        self.stores.resize(self.nodes, Store::Folder);
        let nodes = ports.into_iter().zip(&self.stores).enumerate();
        let nodes = nodes.map(|(index, (ports, store))| {
            let name = format!("n{}", index + 1);
            let folder = folder.join(&name);
            let store_folder = match store {
                Store::At(folder) => folder.clone(),
                Store::Folder | Store::Memory(_) => folder.join("store"),
            };
            fs::create_dir_all(&folder)?;
            fs::create_dir_all(&store_folder)?;
            let config = self.config_of(&name, &ports, &routes, &store_folder);
            fs::write(folder.join("nats.conf"), config)?;
            Ok(Node::new(
                name,
                folder,
                ports,
                self.program.clone(),
                store.clone(),
            ))
        });
        Ok(Cluster {
            nodes: nodes.collect::<io::Result<_>>()?,
            login: self.login,
            admin: self.admin,
            _folder: temporary,
        })
    }

    /// The configuration of a node. How much it may store is far more than there is: where a disk is
    /// full, it is to find that out itself.
    fn config_of(&self, name: &str, ports: &Ports, routes: &[SocketAddr], store: &Path) -> String {
        let Self { sync, config, .. } = self;
        let clients = ports.clients.address;
        let monitoring = ports.monitoring.address;
        let store = store.display();
        let cluster = match routes {
            [_] => String::new(),
            _ => cluster(ports.routes.address, routes),
        };
        format!(
            "server_name: {name}\n\
             listen: \"{clients}\"\n\
             http: \"{monitoring}\"\n\
             jetstream {{ store_dir: \"{store}\", sync_interval: {sync}, max_file_store: 1TB }}\n\
             {cluster}{config}\n"
        )
    }
}

/// The part of the configuration that makes nodes a cluster. That a node's routes lead to itself as
/// well is no matter, and from their number it knows how many there will be.
fn cluster(own: SocketAddr, routes: &[SocketAddr]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .map(|route| format!("\"nats://{route}\""))
        .collect();
    let routes = routes.join(", ");
    format!("cluster {{ name: cluster, listen: \"{own}\", routes: [{routes}] }}\n")
}

impl Display for SyncInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Every(interval) => write!(f, "\"{}ms\"", interval.as_millis()),
        }
    }
}
