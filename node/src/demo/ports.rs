//! Two TCP ports on the loopback interface for each node: one for its API, one for its peers.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Context as _, bail};

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// Its local HTTP API.
    pub(super) api: u16,
    /// Its connection to other nodes.
    pub(super) peer: u16,
}

/// Ports for nodes called `names`: from `base` upwards, two a node, or whichever are free.
///
/// All are held together while choosing, so that no two are the same; they are free again when
/// this returns, for the nodes to take.
///
/// # Errors
/// Names the port that is taken, the node that needs it, and the option to change.
pub(super) fn choose(names: &[&str], base: Option<u16>) -> anyhow::Result<Vec<Ports>> {
    let mut held = Vec::with_capacity(2 * names.len());
    let mut ports = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let mut next = |what, place: usize| -> anyhow::Result<u16> {
            let wanted = match base {
                Some(base) => usize::from(base) + 2 * at + place,
                None => 0,
            };
            let Ok(wanted) = u16::try_from(wanted) else {
                bail!(
                    "--port-base leaves no port for the {what} of {name}: {wanted} is above 65535"
                );
            };
            let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
                Ok(listener) => listener,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && base.is_some() => bail!(
                    "port {wanted} is taken; the {what} of {name} needs it. Choose another --port-base, or leave it out to use free ports"
                ),
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot use port {wanted} for the {what} of {name}")
                    });
                }
            };
            let port = listener.local_addr().context("cannot learn a port's number")?.port();
            held.push(listener);
            Ok(port)
        };
        ports.push(Ports { api: next("API", 0)?, peer: next("peer connections", 1)? });
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn free_ports_are_distinct() {
        let ports = choose(&["RZ1", "RZ2", "RZ3"], None).unwrap();
        let all: HashSet<_> = ports.iter().flat_map(|p| [p.api, p.peer]).collect();
        assert_eq!(all.len(), 6);
        assert!(!all.contains(&0));
    }

    #[test]
    fn a_taken_port_is_named_with_its_node_and_the_option() {
        // The port after the base is the one that is taken.
        let (taken, base) = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port - 1)).is_ok() {
                break (listener, port - 1);
            }
        };
        let error = choose(&["RZ1"], Some(base)).unwrap_err().to_string();
        for part in
            [&format!("port {} is taken", base + 1), "peer connections of RZ1", "--port-base"]
        {
            assert!(error.contains(part), "{error}");
        }
        drop(taken);
    }

    #[test]
    fn a_base_near_the_end_is_refused() {
        let error = choose(&["RZ1", "RZ2"], Some(65_535)).unwrap_err().to_string();
        assert!(error.contains("above 65535") || error.contains("is taken"), "{error}");
    }
}
