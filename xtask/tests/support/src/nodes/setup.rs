//! The configuration of nodes, and their configuration files.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nats::address::Login;
use nats::options::Options;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::node::{Node, Ports};
use super::store::{Store, SyncInterval};

/// The configuration of a cluster. [`Setup::of`] is the default: one node with `sync_interval: always`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program, from [`install`](super::install()).
    pub program: PathBuf,
    /// The number of nodes: one stands alone, more form a cluster.
    pub nodes: usize,
    /// The folder for their files, with a folder for each node in it. None: a temporary folder.
    pub folder: Option<PathBuf>,
    /// When the nodes sync to disk.
    pub sync: SyncInterval,
    /// More configuration for every node: users and their permissions, tokens, TLS.
    pub config: String,
    /// The stores of the nodes, in order; the others get [`Store::Folder`].
    pub stores: Vec<Store>,
    /// The login that manages the streams, if the configuration has users.
    pub login: Option<Login>,
    /// Credentials and TLS options of the connections to the nodes. Its URLs are not used.
    pub admin: Options,
}

impl Setup {
    /// One node that runs `program`.
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
    /// Their files cannot be written, or a node does not become healthy; the error includes its log.
    pub fn start(self) -> Result<Cluster, String> {
        let mut cluster =
            self.prepare().map_err(|error| format!("cannot prepare a cluster: {error}"))?;
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
        let ports: Vec<_> = (0..self.nodes).map(|_| Ports::reserve()).collect::<io::Result<_>>()?;
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
            Ok(Node::new(name, folder, ports, self.program.clone(), store.clone()))
        });
        Ok(Cluster {
            nodes: nodes.collect::<io::Result<_>>()?,
            login: self.login,
            admin: self.admin,
            _folder: temporary,
        })
    }

    /// The configuration of a node. Its storage limit is far above the size of any disk: a node on a full
    /// disk has to find that out itself.
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

/// The part of the configuration that makes nodes a cluster. The routes of a node include itself, which
/// is harmless; from their number it knows the size of the cluster.
fn cluster(own: SocketAddr, routes: &[SocketAddr]) -> String {
    let routes: Vec<_> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
    let routes = routes.join(", ");
    format!("cluster {{ name: cluster, listen: \"{own}\", routes: [{routes}] }}\n")
}
