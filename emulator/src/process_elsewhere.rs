//! Outside Linux there is no `/proc`: nothing is known of processes, and no control group exists.

use std::net::SocketAddr;
use std::path::PathBuf;

/// See the module for Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub id: u32,
    pub state: char,
    pub ticks: u64,
    pub switches: u64,
}

pub(crate) fn tasks(_pid: u32) -> Vec<Task> {
    Vec::new()
}

pub(crate) fn has_stop_pending(_pid: u32) -> bool {
    false
}

pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    vec![pid]
}

pub(crate) fn all_wait(_pids: &[u32]) -> Option<bool> {
    None
}

/// Not known here.
pub(crate) fn all_sleep(_pids: &[u32]) -> Option<bool> {
    None
}

pub(crate) fn has_variable(_pid: u32, _name: &str) -> bool {
    false
}

pub(crate) fn command_line(_pid: u32) -> Vec<String> {
    Vec::new()
}

pub(crate) fn is_built_by_go(_pid: u32) -> bool {
    false
}

pub(crate) fn first_child(_pid: u32) -> Option<u32> {
    None
}

/// The leader of the process group stands for all of it.
pub(crate) fn below(pid: u32) -> Vec<u32> {
    vec![pid]
}

pub(crate) fn all() -> Vec<u32> {
    Vec::new()
}

pub(crate) fn name(_pid: u32) -> Option<String> {
    None
}

pub(crate) fn started(_pid: u32) -> Option<u64> {
    None
}

pub(crate) fn pid_namespace() -> Option<u64> {
    None
}

/// See the module for Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListeningSocket {
    pub addr: SocketAddr,
    pub inode: u64,
    pub uid: u32,
}

pub(crate) fn listening_sockets(_pid: u32) -> Vec<ListeningSocket> {
    Vec::new()
}

pub(crate) fn held_sockets(_pid: u32) -> Option<Vec<u64>> {
    None
}

pub(crate) fn freezer_v1_folder() -> Option<PathBuf> {
    None
}

pub(crate) fn cgroup_v2_folder() -> Option<PathBuf> {
    None
}
