//! A further organization at a node that is a member's already.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use signpost_keys::{keystore::Cost, roster::Statements};
use signpost_protocol::{OdsCode, invitation::Invitation, limits};
use zeroize::Zeroizing;

use super::{Args, hinted, refuse_expired};
use crate::{
    cli::{
        behalf::Behalf,
        client::Client,
        confirm::confirm,
        text::{KEYS_ARE_CHANGED, print, tell},
    },
    runtime::wall_clock,
    setup::{self, KeysLock, PlannedOrganization},
};

/// Applies for it, or takes it on once it is admitted.
pub(super) fn command(
    dir: &Path,
    args: &Args,
    ods: &OdsCode,
    invitation: Option<&Invitation>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if setup::waits(dir, ods) {
        return take_on(dir, ods, json);
    }
    let name = args.name.clone().ok_or_else(|| {
        hinted("--name is missing: the organization's name", "see `signpost join --help`")
    })?;
    if let Some(invitation) = invitation {
        refuse_expired(invitation)?;
        tell(&super::words::invited(invitation));
    }
    if !args.yes {
        let question = format!(
            "Make keys for {name} ({ods}), a further organization at the node in {}?",
            dir.display()
        );
        confirm(&question, None, "nothing was made")?;
    }
    let lock = lock(dir)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).context("the operating system gives no randomness")?;
    let mut rng = ChaCha20Rng::from_seed(*seed);
    let organization = PlannedOrganization::new(ods.clone(), name);
    let network = invitation.map(|invitation| invitation.network);
    let cost = Cost::standard();
    let file = setup::apply_further(&lock, &organization, network, cost, wall_clock(), &mut rng)?;
    let text = format!(
        "\
{ods} applies with {file}. The node goes on as before.

Next:
  1. signpost --dir {dir} roster propose admit --application {file} --reason 'WHY'
     or send that file to the admin of another member, who types the same there.
  2. When the stewards have approved: signpost --dir {dir} join --ods {ods}
",
        dir = dir.display(),
        file = file.display()
    );
    let report = json!({ "ods": ods.as_str(), "joined": false, "application": file });
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

fn take_on(dir: &Path, ods: &OdsCode, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir, &Behalf::default().or_first(dir))?;
    let lock = lock(dir)?;
    let file = client.get_bytes("/signpost/v1/roster", limits::ROSTER_FILE_BYTES_MAX)?;
    let now = wall_clock();
    let statements =
        Statements::read(&file, None, now).context("the running node's roster cannot be used")?;
    setup::take_on(&lock, ods, &statements, now)?;
    // Reading it back proves that the node will start.
    setup::open(dir)?;
    let text = format!(
        "{ods} is a member, and this node serves it from its next start on.\nNext: stop the node, then \
         signpost run --dir {}\n",
        dir.display()
    );
    let report = json!({ "ods": ods.as_str(), "joined": true, "dir": dir });
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Has the node's keys and folders for this command alone.
fn lock(dir: &Path) -> anyhow::Result<KeysLock> {
    Ok(KeysLock::take(dir, || tell(KEYS_ARE_CHANGED))?)
}
