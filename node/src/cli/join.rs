//! `signpost join`: from an invitation to a member's node.
//!
//! The directory remembers what is needed to go on, so that the command can be stopped at any moment
//! and started again, and the person's part is small: agree, read out some words, open a port.

mod further;
mod words;

use std::{net::SocketAddr, path::Path, process::ExitCode};

use anyhow::Context as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use signpost_keys::{keystore::Cost, roster::Statements};
use signpost_protocol::{OdsCode, invitation::Invitation};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::{
    INTERRUPTED,
    confirm::confirm,
    error::Hinted,
    text::{print, tell},
};
use crate::{
    joining::{self, JoinError},
    runtime::wall_clock,
    setup::{self, Candidate, PlannedNode, PlannedOrganization},
};

/// Arguments of `signpost join`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The invitation comes from a member's admin (`signpost invite`). This makes the organization's keys and
its node in --dir, hands in who it is, and lets the other side try whether its port is open; then it
waits until the stewards have admitted the organization. It can be stopped at any time: `signpost join`
with the same --dir goes on where it was. Another invitation to the same network may take the place of
one that has expired.

Examples:
  signpost join signpost-invitation:uaaf... --ods RX9 --name 'Harrow General' \\
      --peer-address /dns4/signpost.harrow.example/tcp/7701
  signpost join
      Goes on where it was.
  signpost --dir /var/lib/signpost join --ods A81002 --name 'Mill Lane Practice'
      A further organization at a supplier's node that is a member's already.
  signpost join signpost-invitation:uaaf... --ods RX9 --name 'Harrow General' \\
      --peer-address /ip4/192.0.2.7/tcp/7701 --api 127.0.0.1:7700 --yes --no-wait")]
pub(super) struct Args {
    /// The invitation.
    #[arg(value_name = "INVITATION")]
    invitation: Option<String>,
    /// The organization's ODS code.
    #[arg(long, value_name = "CODE")]
    ods: Option<OdsCode>,
    /// The organization's name.
    #[arg(long)]
    name: Option<String>,
    /// Where other nodes reach this one: a host and a port that is open to them.
    #[arg(long, value_name = "MULTIADDR")]
    peer_address: Option<String>,
    /// Where clinical systems reach this node: a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    api: SocketAddr,
    /// Asks no questions: for scripts.
    #[arg(long)]
    yes: bool,
    /// Ends when the application is handed in; `signpost join` goes on later.
    #[arg(long)]
    no_wait: bool,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let invitation = args.invitation.as_deref().map(parse).transpose()?;
    let candidate = match (setup::candidate(dir)?, invitation) {
        (Some(candidate), invitation) => resume(candidate, args, invitation)?,
        (None, invitation) if setup::organizations(dir).is_ok() => {
            return match &args.ods {
                Some(ods) => further::command(dir, args, ods, invitation.as_ref(), json),
                None => member_already(dir, invitation.as_ref(), json),
            };
        }
        (None, None) => {
            return Err(hinted(
                format!("nothing has been begun in {}", dir.display()),
                "give the invitation: signpost join INVITATION --ods CODE --name NAME --peer-address \
                 MULTIADDR; or name the directory in which it was begun with --dir",
            ));
        }
        (None, Some(invitation)) => {
            make(dir, args, &invitation)?;
            setup::candidate(dir)?.context("what was just written is not there")?
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the runtime")?;
    match runtime.block_on(follow(&candidate, args))? {
        Followed::Admitted(statements) => {
            setup::admit(&candidate, &statements, wall_clock())?;
            // Reading it back proves that the node will start.
            let identity = setup::open(dir)?;
            let text = words::admitted(&candidate, &identity);
            print(&if json { report(&candidate, true) } else { text })?;
            Ok(ExitCode::SUCCESS)
        }
        Followed::Waits => {
            print(&if json { report(&candidate, false) } else { words::waits(&candidate) })?;
            Ok(ExitCode::SUCCESS)
        }
        Followed::Stopped => {
            tell(&words::stopped(&candidate));
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn parse(text: &str) -> anyhow::Result<Invitation> {
    text.parse().map_err(|error| {
        hinted(
            format!("{error}"),
            "an invitation is one word, which `signpost invite` prints at the node of a member",
        )
    })
}

fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { message: message.into(), hint: hint.into() })
}

/// There is a member's node, and no further organization is named.
fn member_already(
    dir: &Path,
    invitation: Option<&Invitation>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let served = setup::organizations(dir)?;
    let codes: Vec<_> = served.iter().map(OdsCode::as_str).collect();
    let codes = codes.join(", ");
    if invitation.is_some() {
        return Err(hinted(
            format!("the node in {} is a member already ({codes})", dir.display()),
            "choose another --dir; or name a further organization for this node with --ods and --name",
        ));
    }
    let dir = dir.display();
    let text =
        format!("The node in {dir} is a member already ({codes}).\nNext: signpost run --dir {dir}");
    let report = json!({ "joined": true, "dir": dir.to_string() }).to_string();
    print(&if json { report } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Goes on with what is there, and with the new invitation if there is one.
fn resume(
    mut candidate: Candidate,
    args: &Args,
    invitation: Option<Invitation>,
) -> anyhow::Result<Candidate> {
    let inception = &candidate.application.inception;
    let is_other = args.ods.as_ref().is_some_and(|ods| *ods != inception.ods)
        || args.name.as_deref().is_some_and(|name| *name != *inception.name)
        || args.peer_address.as_deref().is_some_and(|at| at != candidate.peer_address());
    if is_other {
        return Err(hinted(
            format!(
                "{} has begun to join in {}, at {}",
                inception.ods,
                candidate.dir.display(),
                candidate.peer_address()
            ),
            "go on with that by `signpost join` alone, or choose another --dir",
        ));
    }
    if let Some(invitation) = invitation.filter(|new| *new != candidate.invitation) {
        refuse_expired(&invitation)?;
        setup::renew(&mut candidate, invitation)?;
    }
    tell(&words::resumes(&candidate));
    Ok(candidate)
}

fn refuse_expired(invitation: &Invitation) -> anyhow::Result<()> {
    if invitation.expires > wall_clock() {
        return Ok(());
    }
    Err(hinted(
        format!("the invitation has expired at {}", words::time(invitation.expires)),
        "ask who invited you for a new one; if it cannot have expired, look at this machine's clock",
    ))
}

/// Shows the invitation, asks, and makes the directory.
fn make(dir: &Path, args: &Args, invitation: &Invitation) -> anyhow::Result<()> {
    refuse_expired(invitation)?;
    let missing = |option: &str, what: &str| {
        hinted(format!("{option} is missing: {what}"), "see the examples of `signpost join --help`")
    };
    let ods = args.ods.clone().ok_or_else(|| missing("--ods", "your organization's ODS code"))?;
    let name = args.name.clone().ok_or_else(|| missing("--name", "your organization's name"))?;
    let peer_address = args.peer_address.clone().ok_or_else(|| {
        missing("--peer-address", "where other nodes reach this one, such as /dns4/HOST/tcp/7701")
    })?;
    tell(&words::invited(invitation));
    if !args.yes {
        let question = format!("Make keys for {name} ({ods}) and apply to join?");
        confirm(&question, None, "nothing was made")?;
    }
    let plan = PlannedNode {
        dir: dir.to_owned(),
        peer_address,
        api_listen: args.api,
        organizations: vec![PlannedOrganization::new(ods, name)],
    };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).context("the operating system gives no randomness")?;
    let mut rng = ChaCha20Rng::from_seed(*seed);
    setup::apply(&plan, invitation, Cost::standard(), wall_clock(), &mut rng)?;
    tell(&words::made(&plan));
    Ok(())
}

enum Followed {
    Admitted(Box<Statements>),
    Waits,
    Stopped,
}

/// Applies and waits, until Ctrl-C.
async fn follow(candidate: &Candidate, args: &Args) -> anyhow::Result<Followed> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    let joined =
        joining::join(candidate, !args.no_wait, |news| tell(&words::news(candidate, news)));
    tokio::select! {
        joined = joined => match joined {
            Ok(Some(statements)) => Ok(Followed::Admitted(Box::new(statements))),
            Ok(None) => Ok(Followed::Waits),
            Err(error) => Err(explained(candidate, error)),
        },
        _ = terminate.recv() => Ok(Followed::Stopped),
        _ = interrupt.recv() => Ok(Followed::Stopped),
    }
}

/// With what the admin can do about it.
fn explained(candidate: &Candidate, error: JoinError) -> anyhow::Error {
    let hint = match &error {
        JoinError::Refused(refused) => {
            let expired = candidate.invitation.expires <= wall_clock();
            let when = if expired { "; it has expired by now" } else { "" };
            match refused {
                joining::Refused::UnknownCode => format!("{}{when}", refused.hint()),
                _ => refused.hint().to_owned(),
            }
        }
        JoinError::NobodyReachable(_) => {
            "is this machine allowed to connect to their addresses? Otherwise ask who invited you"
                .to_owned()
        }
        JoinError::Network(_) | JoinError::Listen(_) => {
            "does `signpost join` or the node run already? Otherwise choose another peer.listen in \
             signpost.toml"
                .to_owned()
        }
        JoinError::Fetch(_) => {
            "compare the network's fingerprint with who invited you: this may be an attempt to lead \
             you astray"
                .to_owned()
        }
        _ => "ask who invited you for a new invitation".to_owned(),
    };
    hinted(error.to_string(), hint)
}

fn report(candidate: &Candidate, joined: bool) -> String {
    let application = &candidate.application;
    json!({
        "joined": joined,
        "ods": application.inception.ods.as_str(),
        "name": &*application.inception.name,
        "organization": application.organization.to_string(),
        "network": candidate.invitation.network.to_string(),
        "dir": candidate.dir,
    })
    .to_string()
}
