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
    let mut candidates = candidates();
    for (at, name) in names.iter().enumerate() {
        let mut next = |what, place: usize| -> anyhow::Result<u16> {
            let Some(base) = base else {
                let listener = candidates.find_map(|port| listen(port).ok());
                let listener = listener.context("no free port was found")?;
                let port = listener.local_addr().context("cannot learn a port's number")?.port();
                held.push(listener);
                return Ok(port);
            };
            let wanted = usize::from(base) + 2 * at + place;
            let Ok(wanted) = u16::try_from(wanted) else {
                bail!(
                    "--port-base leaves no port for the {what} of {name}: {wanted} is above 65535"
                );
            };
            match listen(wanted) {
                Ok(listener) => held.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                    "port {wanted} is taken; the {what} of {name} needs it. Choose another --port-base, or leave it out to use free ports"
                ),
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot use port {wanted} for the {what} of {name}")
                    });
                }
            }
            Ok(wanted)
        };
        ports.push(Ports { api: next("API", 0)?, peer: next("peer connections", 1)? });
    }
    Ok(ports)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Ports to try, all of the range, from another place in every process.
///
/// They lie below those that systems give to outgoing connections: a node that is started again
/// must find its port free, however many connections were made meanwhile.
fn candidates() -> impl Iterator<Item = u16> {
    const RANGE: std::ops::Range<u16> = 10_000..30_000;
    let start = std::process::id().wrapping_mul(211) % u32::from(RANGE.end - RANGE.start);
    RANGE.cycle().skip(start as usize).take(RANGE.len())
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
        assert!(all.iter().all(|port| (10_000..30_000).contains(port)));
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
        // Whatever is taken there, the first port that does not exist is named, or one before it.
        let names = ["RZ1"; 9];
        let free = (65_520..=65_535).find(|base| (*base..=65_535).all(|port| listen(port).is_ok()));
        let error = choose(&names, Some(free.unwrap_or(65_535))).unwrap_err().to_string();
        let wanted = if free.is_some() { "above 65535" } else { "is taken" };
        assert!(error.contains(wanted), "{error}");
    }
}
