//! The clusters, and the faults that are injected into each.

use super::faults::{Fault, ON_ONE_NODE, ON_SMALL_DISKS, ON_THREE_NODES};
use super::fixture::Setting;

pub(crate) const SETTINGS: &[(Setting, &[Fault])] =
    &[(ONE_NODE, ON_ONE_NODE), (THREE_NODES, ON_THREE_NODES), (SMALL_DISKS, ON_SMALL_DISKS)];

const ONE_NODE: Setting =
    Setting { name: "one node", nodes: 1, servers: 1, disk: None, short: true };

const THREE_NODES: Setting = Setting { name: "three nodes", nodes: 3, servers: 2, ..ONE_NODE };

const SMALL_DISKS: Setting = Setting {
    name: "three nodes with small disks",
    nodes: 3,
    disk: Some(256 << 20),
    short: false,
    ..ONE_NODE
};
