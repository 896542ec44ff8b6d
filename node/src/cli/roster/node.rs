//! `signpost node`: a further node of an organization that is a member already, from the side of the
//! new machine. No root key comes there; whoever has it lists the node with `signpost keys add-node`.

use std::{net::SocketAddr, path::Path, path::PathBuf, process::ExitCode};

use clap::Subcommand;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::json;
use signpost_keys::{Member, keystore::Cost};
use signpost_protocol::limits;

use super::{fail, govern::lines_printable, handed, keys_words::short, view::View, words::name};
use crate::{
    cli::text::{fingerprint, fingerprint_words, print, printable},
    runtime::wall_clock,
    setup::{self, PlannedNode, PlannedOrganization, Prepared, organization_dir},
};

/// Arguments of `signpost node`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An organization may run several nodes, each with its own keys, pointers and digest. The new one is made
on its machine from a roster file, which any member's node writes (`signpost roster export`). It asks to
be listed with a file; whoever has the organization's root key grants that. Then it takes up the roster
that lists it.

Examples:
  signpost node prepare --roster roster.cbor --organization RX1 \\
      --peer-address /dns4/signpost2.harrow.example/tcp/7701
  at a node of RX1: signpost keys add-node prepared.cbor, then signpost roster export newer.cbor
  signpost node take-up newer.cbor
  signpost run")]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the keys and the directory of a further node, and the file with which it asks to be listed.
    ///
    /// Typed again in the same directory it says the same again, with the same keys.
    #[command(after_help = "\
Examples:
  signpost node prepare --roster roster.cbor --organization RX1 \\
      --peer-address /ip4/192.0.2.8/tcp/7701
  signpost --dir /var/lib/signpost node prepare --roster roster.cbor --organization RX1 \\
      --peer-address /dns4/signpost2.harrow.example/tcp/7701 --api 127.0.0.1:7700 --out new-node.cbor")]
    Prepare(PrepareArgs),
    /// Takes up a roster that lists the prepared node, so that it can run.
    #[command(after_help = "\
Examples:
  signpost node take-up roster.cbor")]
    TakeUp(TakeUpArgs),
}

#[derive(Debug, clap::Args)]
struct PrepareArgs {
    /// A roster file of the network, from `signpost roster export`.
    #[arg(long, value_name = "ROSTER")]
    roster: PathBuf,
    /// Whose node it is to be: an ODS code, or the first digits of an organization's id.
    #[arg(long, value_name = "ODS")]
    organization: String,
    /// Where other nodes reach it: a host and a port that is open to them.
    #[arg(long, value_name = "MULTIADDR")]
    peer_address: String,
    /// Where clinical systems reach it: a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    api: SocketAddr,
    /// Writes what the node asks for to this file as well [it is prepared.cbor in the directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Shows what would be prepared, but makes nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct TakeUpArgs {
    /// A roster file that was written when the node was listed, from `signpost roster export`.
    #[arg(value_name = "ROSTER")]
    roster: PathBuf,
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Prepare(args) => prepare(dir, args, json, Cost::standard()),
        Command::TakeUp(args) => take_up(dir, args, json),
    }
}

fn read(roster: &Path) -> anyhow::Result<View> {
    View::read(&handed::read(roster, limits::ROSTER_FILE_BYTES_MAX)?, None, wall_clock())
}

fn prepare(dir: &Path, args: &PrepareArgs, json: bool, cost: Cost) -> anyhow::Result<ExitCode> {
    let view = read(&args.roster)?;
    let member = view.find_member(&args.organization)?;
    let prepared = match setup::prepared(dir)? {
        Some(prepared) => {
            check_same(&view, member, &prepared, args)?;
            prepared
        }
        None => {
            let organizations =
                vec![PlannedOrganization::new(member.ods.clone(), member.name.clone())];
            let plan = PlannedNode {
                dir: dir.to_owned(),
                peer_address: args.peer_address.clone(),
                api_listen: args.api,
                organizations,
            };
            if args.dry_run {
                return rehearse(&view, member, &plan, json);
            }
            let (id, statements) = (&member.organization, &view.statements);
            setup::prepare(&plan, id, statements, cost, view.now, &mut UnwrapErr(SysRng))?
        }
    };
    let file = match &args.out {
        Some(out) if !args.dry_run => {
            handed::write(out, &prepared.request.to_bytes())?;
            out.clone()
        }
        _ => prepared.file(),
    };
    let report = json!({
        "dir": dir,
        "ods": member.ods.as_str(),
        "organization": member.organization.to_string(),
        "network": view.roster.network().to_string(),
        "node": prepared.request.node.node.to_string(),
        "file": file,
        "request": prepared.request.fingerprint().to_string(),
        "request_words": fingerprint_words(prepared.request.fingerprint().as_bytes()),
    });
    print(&if json {
        report.to_string()
    } else {
        lines_printable(&text(&view, member, &prepared, &file))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to take what was prepared before for something else.
fn check_same(
    view: &View,
    member: &Member,
    prepared: &Prepared,
    args: &PrepareArgs,
) -> anyhow::Result<()> {
    let request = &prepared.request;
    let address = request.node.addresses.first().map_or("", |address| &**address);
    let is_same = request.network == view.roster.network()
        && request.organization == member.organization
        && address == args.peer_address;
    if is_same {
        return Ok(());
    }
    Err(fail(
        format!("another node is prepared in {}, at {address}", prepared.dir.display()),
        "go on with that, typing the same as before, or choose another --dir",
    ))
}

fn rehearse(
    view: &View,
    member: &Member,
    plan: &PlannedNode,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let what = format!(
        "A further node of {} in the network {}, at {}, in {}.\n{}",
        name(view, &member.organization),
        printable(view.roster.name()),
        plan.peer_address,
        plan.dir.display(),
        fingerprints(view, member)
    );
    let text = format!("{what}Dry run: nothing was made.\n");
    let report = json!({ "what": what, "made": false });
    print(&if json { report.to_string() } else { lines_printable(&text) })?;
    Ok(ExitCode::SUCCESS)
}

fn fingerprints(view: &View, member: &Member) -> String {
    let shown = |bytes: &[u8; 32], hex: String| {
        format!("{}\n              {}", fingerprint_words(bytes), fingerprint(&hex))
    };
    let network = view.roster.network();
    let organization = member.organization;
    format!(
        "Network       {}\nOrganization  {}\n",
        shown(network.as_bytes(), network.to_string()),
        shown(organization.as_bytes(), organization.to_string())
    )
}

fn text(view: &View, member: &Member, prepared: &Prepared, file: &Path) -> String {
    let Prepared { dir, request } = prepared;
    let (ods, hash) = (&member.ods, request.fingerprint());
    format!(
        "\
Prepared a further node of {who} in the network {network}. It is not listed yet.

{fingerprints}Request       {words}
              {digits}
Node          {node}
Directory     {dir}

  {dir}/signpost.toml        configuration; every key is explained there
  {dir}/keys/node.keystore   the node's keys
  {dir}/passphrase           opens it; the node reads it when it starts
  {token}/api.token
                the token of {ods}'s clinical systems at this node

`signpost roster show {ods}` at a node of {ods} must show the same words for the organization, and
`signpost roster export` for the network.

Next:
  1. Carry {file} to a node of {ods}. Whoever has its root key types there
       signpost keys add-node FILE
     and must see the same words for the request; then
       signpost roster export ROSTER
  2. Here, with that roster: signpost node take-up ROSTER --dir {dir}
",
        who = name(view, &member.organization),
        network = printable(view.roster.name()),
        fingerprints = fingerprints(view, member),
        words = fingerprint_words(hash.as_bytes()),
        digits = fingerprint(&hash.to_string()),
        node = short(&request.node.node),
        dir = dir.display(),
        token = organization_dir(dir, ods).display(),
        file = file.display(),
    )
}

fn take_up(dir: &Path, args: &TakeUpArgs, json: bool) -> anyhow::Result<ExitCode> {
    let prepared = setup::prepared(dir)?;
    if let Some(prepared) = &prepared {
        let view = read(&args.roster)?;
        let (theirs, own) = (view.roster.network(), prepared.request.network);
        if theirs != own {
            return Err(fail(
                format!("{} is of network {theirs}, not of {own}", args.roster.display()),
                "take the roster that a node of the organization wrote when it had listed this one",
            ));
        }
        setup::take_up(prepared, &view.statements, view.now)?;
    }
    // Reading it back proves that the node will start; what was never prepared is told here.
    let identity = setup::open(dir)?;
    let codes: Vec<_> = identity.served.iter().map(|served| served.ods.as_str()).collect();
    let codes = codes.join(", ");
    let node = short(&identity.node);
    let text = match prepared {
        Some(_) => format!("Node {node} of {codes} is listed, and has the roster that says so."),
        None => format!("Node {node} of {codes} has a roster that lists it already."),
    };
    let next = format!("Next: signpost run --dir {}\n", dir.display());
    let report = json!({ "dir": dir, "node": identity.node.to_string(), "listed": true });
    print(&if json { report.to_string() } else { format!("{text}\n{next}") })?;
    Ok(ExitCode::SUCCESS)
}
