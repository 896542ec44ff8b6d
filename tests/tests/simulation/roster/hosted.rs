//! A supplier's node of fifty organizations, of which one is suspended.

use signpost_node::core::{
    completeness::CauseKind,
    local::{LocalReply, LocalRequest, LocateRequest},
};
use signpost_protocol::{OrganizationId, roster::Standing};
use signpost_tests::{
    founding::Plan,
    sim::{Network, caller},
};

use crate::common::{causes, create, patient};

const HOST: usize = 3;
const HOSTED: usize = 50;
/// The number of the one that is suspended.
const VICTIM: usize = 10;

fn locate(network: &mut Network, asking: OrganizationId) -> Result<usize, String> {
    let request =
        LocateRequest { patient: patient(1), caller: caller(), deadline: 3_000, custodian: None };
    match network.call_for(HOST, asking, LocalRequest::Locate(request)) {
        LocalReply::Locate(Ok(found)) => {
            let causes = causes(&found);
            let is_named = |(kind, ods): &(CauseKind, String)| {
                *kind == CauseKind::Suspended && *ods == format!("ORG{VICTIM}")
            };
            if causes.iter().all(is_named) {
                Ok(found.pointers.len())
            } else {
                Err(format!("{causes:?}"))
            }
        }
        LocalReply::Locate(Err(error)) => Err(error.to_string()),
        _ => unreachable!("the core replies in kind"),
    }
}

#[test]
fn one_of_fifty_is_suspended_and_forty_nine_are_untouched() {
    let plan =
        Plan { served: vec![1, 1, 1, HOSTED], evaluators: 3, threshold: 2, ..Plan::of(3 + HOSTED) };
    let mut network = Network::new(&plan, 70);
    network.run_for(10_000);
    network.write(0, vec![create(0, patient(1))]).remove(0).unwrap();
    network.run_for(2_000);
    let hosted: Vec<OrganizationId> = std::iter::once(network.nodes[HOST].founder.organization)
        .chain(network.nodes[HOST].founder.others.iter().map(|other| other.organization))
        .collect();
    let victim = hosted[VICTIM - 3];
    for organization in &hosted {
        assert_eq!(locate(&mut network, *organization), Ok(1));
    }
    // Stewards are the first five organizations: three of them have nodes of their own.
    network.set_standing(0, victim, Standing::Suspended);
    network.run_for(2_000);
    for organization in &hosted {
        let found = locate(&mut network, *organization);
        if *organization == victim {
            assert!(found.unwrap_err().contains("is suspended"));
        } else {
            assert_eq!(found, Ok(1));
        }
    }
    for at in 0..3 {
        let status = network.status(at);
        let theirs = status.peers.iter().filter(|peer| peer.connected).count();
        assert_eq!(theirs, 2 + HOSTED - 1, "its connection stands for all others");
        let found = network.locate(at, patient(1)).unwrap();
        assert_eq!(causes(&found), [(CauseKind::Suspended, format!("ORG{VICTIM}"))]);
    }
    assert!(network.status(HOST).ready);
    network.set_standing(0, victim, Standing::Admitted);
    network.run_for(2_000);
    assert_eq!(locate(&mut network, victim), Ok(1));
}
