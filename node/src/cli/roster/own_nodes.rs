//! `signpost keys add-node` and `remove-node`: an organization lists a further node of its own, or
//! lists one no more. As with its keys, its root key alone decides about that.

use std::{path::Path, process::ExitCode};

use serde_json::json;
use signpost_protocol::{
    NodeId, OrganizationId,
    codec::Bounded,
    limits,
    roster::{NodeRecord, OrganizationKeys},
};

use super::{
    by_root::{Options, Own, Signed, last_set, next_set, with_keys},
    fail, handed,
    keys_words::{self, short},
    own_keys::{TO_SIGN, words},
    view::View,
    words::{name, time},
};
use crate::{
    cli::text::{fingerprint, fingerprint_words, print},
    setup::NodeRequest,
};

/// Runs `signpost keys add-node`.
pub(super) fn add(
    dir: &Path,
    file: &Path,
    options: &Options,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let own = Own::open(dir, options)?;
    let request = request(file)?;
    let who = name(&own.view, &own.organization);
    let node = short(&request.node.node);
    let next = format!(
        "\
Next:
  1. Here: signpost roster export ROSTER, and carry that file to the new machine.
  2. There: signpost node take-up ROSTER, then signpost run.
Until the new node runs, look-ups everywhere are partial and name {who}.
"
    );
    let report = |what: &str, statement: Option<String>| {
        json!({
            "what": what,
            "node": request.node.node.to_string(),
            "request": request.fingerprint().to_string(),
            "signed": statement.is_some(),
            "statement": statement,
            "next": next,
        })
        .to_string()
    };
    let Some(set) = with_node(&own.view, &own.organization, &request)? else {
        let what =
            format!("{who} lists node {node} already, with both keys: there is nothing to sign.\n");
        print(&if json { report(&what, None) } else { format!("{what}\n{next}") })?;
        return Ok(ExitCode::SUCCESS);
    };
    let shown = words(&own, &set)? + &careful(&set, &request);
    if options.dry_run {
        let report = json!({ "what": shown, "signed": false });
        return Own::rehearsed(&shown, &report, json);
    }
    let Signed { statement, .. } = own.hand_on(set, &shown, TO_SIGN)?;
    let text =
        format!("Signed for {who}, and handed on to the members: node {node} is listed.\n\n{next}");
    print(&if json { report(&shown, Some(statement.to_string())) } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `signpost keys remove-node`.
pub(super) fn remove(
    dir: &Path,
    prefix: &str,
    options: &Options,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let own = Own::open(dir, options)?;
    let (view, organization) = (&own.view, &own.organization);
    let (node, set) = without_node(view, organization, prefix)?;
    let id = short(&node);
    if own.node()? == node.to_string() {
        return Err(fail(
            format!("{id} is the node that this was typed at: nobody would hear of it from here"),
            "type it at another node of the organization, and keep this one running meanwhile",
        ));
    }
    let mut shown = words(&own, &set)?;
    shown += &stays_behind(&id);
    if view.is_evaluator(organization) && own.source.status()?.evaluators.lacks_share {
        shown += &share(view, organization, &id)?;
    }
    if options.dry_run {
        return Own::rehearsed(&shown, &json!({ "what": shown, "signed": false }), json);
    }
    let Signed { statement, .. } = own.hand_on(set, &shown, TO_SIGN)?;
    let who = name(view, organization);
    let next =
        format!("Next: stop node {id}, and keep its directory for as long as the law says.\n");
    let report = json!({
        "what": shown,
        "node": node.to_string(),
        "signed": true,
        "statement": statement.to_string(),
        "next": next,
    });
    let text = format!(
        "Signed for {who}, and handed on to the members: node {id} is listed no more.\n{next}"
    );
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

fn request(file: &Path) -> anyhow::Result<NodeRequest> {
    let bytes = handed::read(file, NodeRequest::BYTES_MAX)?;
    NodeRequest::parse(&bytes).map_err(|error| {
        fail(
            format!("{} asks for no node that can be listed: {error}", file.display()),
            "such files are made on the new machine, by `signpost node prepare`",
        )
    })
}

/// The organization's next set, which lists also what is requested; none when the last one does.
pub(super) fn with_node(
    view: &View,
    organization: &OrganizationId,
    request: &NodeRequest,
) -> anyhow::Result<Option<OrganizationKeys>> {
    if request.network != view.roster.network() {
        return Err(fail(
            format!("the request is for the network {}, not for this one", request.network),
            "name the directory of the right node with --dir, or prepare the new one with the roster \
             of this network",
        ));
    }
    if request.organization != *organization {
        return Err(fail(
            format!(
                "the request is for a node of {}, not of {}",
                name(view, &request.organization),
                name(view, organization)
            ),
            "whoever has that organization's root key types this at one of its nodes; where this node \
             serves it too, name it with --organization",
        ));
    }
    let set = next_set(view, organization)?;
    let node = request.node.node;
    let new = [request.pointer, request.transport];
    let is_listed = set.nodes.iter().any(|listed| listed.node == node);
    let mut known = set.keys.iter().filter(|listed| new.iter().any(|key| key.key == listed.key));
    let id = short(&node);
    if is_listed && known.clone().filter(|listed| listed.node == Some(node)).count() == new.len() {
        return Ok(None);
    }
    let anew = "prepare the node anew, in another directory: `signpost node prepare`";
    if is_listed {
        return Err(fail(format!("node {id} is listed already, with other keys"), anew));
    }
    if let Some(key) = known.next() {
        let key = keys_words::key(key);
        return Err(fail(format!("the request names a key that is listed already: {key}"), anew));
    }
    if let Some(key) = new.iter().find(|key| key.not_after <= view.now) {
        let expired = time(key.not_after);
        return Err(fail(format!("the keys of the request have expired at {expired}"), anew));
    }
    let mut nodes = set.nodes.to_vec();
    nodes.push(request.node.clone());
    let nodes = Bounded::new(nodes).ok_or_else(|| {
        fail(
            format!("an organization lists at most {} nodes", limits::NODES_PER_MEMBER_MAX),
            "take one off the list that is not needed any more: `signpost keys remove-node`",
        )
    })?;
    let keys = [&set.keys[..], &new].concat();
    with_keys(OrganizationKeys { nodes, ..set }, keys).map(Some)
}

/// The organization's next set, which lists one node less, and which node that is.
///
/// None of the node's keys is listed any more, not even as revoked. Revoked keys stay listed so that
/// what they have signed can still be verified, and nothing of that is left: a node hands out only
/// pointers that it signed itself (those that another node imports are signed anew there), its digest
/// is forgotten together with it, and answers count only at the moment. Nor could they be: nodes refuse
/// a set with a key of a node that it does not list, and listed at another node they would say that this
/// one holds them. The signs of life of a steward that the node gave count no more either; those that
/// remain give new ones, with the same witness, as soon as they hear of it.
pub(super) fn without_node(
    view: &View,
    organization: &OrganizationId,
    prefix: &str,
) -> anyhow::Result<(NodeId, OrganizationKeys)> {
    let set = next_set(view, organization)?;
    let is_it =
        |node: &&NodeRecord| !prefix.is_empty() && node.node.to_string().starts_with(prefix);
    let mut found = set.nodes.iter().filter(is_it);
    let (Some(node), None) = (found.next(), found.next()) else {
        return Err(fail(
            format!("{prefix} is not the beginning of exactly one node's id"),
            "`signpost keys list` has the nodes of all keys, `signpost roster show ODS` where they are",
        ));
    };
    let node = node.node;
    if last_set(view, organization)?.nodes.len() == 1 {
        return Err(fail(
            format!("{} is the only node of {}", short(&node), name(view, organization)),
            "to take the organization out of the network: `signpost leave`; to move it to another \
             machine, add that one first: `signpost node prepare` there, `signpost keys add-node` here",
        ));
    }
    let nodes = set.nodes.iter().filter(|listed| listed.node != node).cloned().collect();
    let nodes = Bounded::new(nodes).expect("one less than there were");
    let keys = set.keys.iter().filter(|key| key.node != Some(node)).copied().collect();
    Ok((node, with_keys(OrganizationKeys { nodes, ..set }, keys)?))
}

/// What a person must look at before he lists a node.
pub(super) fn careful(set: &OrganizationKeys, request: &NodeRequest) -> String {
    let hash = request.fingerprint();
    let mut text = format!(
        "\
  The request, which must have the same words on the new machine:
    {}
    {}
",
        fingerprint_words(hash.as_bytes()),
        fingerprint(&hash.to_string())
    );
    let others = set.nodes.iter().filter(|node| node.node != request.node.node);
    for other in others {
        let mut both = other.addresses.iter().filter(|at| request.node.addresses.contains(at));
        if let Some(address) = both.next() {
            text += &format!(
                "CAREFUL: node {} is listed at {} too: one of the two will not be reached.\n",
                short(&other.node),
                &**address
            );
        }
    }
    text + "From then on the members look for it: have it ready, for until it runs look-ups everywhere are \
            partial.\n"
}

/// What removing a node leaves.
fn stays_behind(id: &str) -> String {
    format!(
        "\
The other members, and this one's other nodes, neither ask node {id} nor answer it any more.
Pointers that only node {id} holds are found by nobody from then on, and results do not say so: if they
are still to be found, export them there first, and import them at another node (`signpost export`).
"
    )
}

/// What is said when the share of the blinding key may go with the node.
///
/// # Errors
/// When no look-up would work any more if it did.
pub(super) fn share(
    view: &View,
    organization: &OrganizationId,
    id: &str,
) -> anyhow::Result<String> {
    let who = name(view, organization);
    let Some(set) = view.roster.evaluators().current() else { return Ok(String::new()) };
    if set.evaluators.len() <= usize::from(set.threshold) {
        return Err(fail(
            format!(
                "{who} is one of the {} evaluators, all of which are needed, and the node that this was \
                 typed at has no share of the blinding key",
                set.threshold
            ),
            "type it at the node that has the share, which is the one that must not be removed",
        ));
    }
    Ok(format!(
        "CAREFUL: {who} is one of {} evaluators, of which {} are needed, and the node that this is typed at \
         has no share of the blinding key. If node {id} has it, one fewer may be away from now on.\n",
        set.evaluators.len(),
        set.threshold
    ))
}
