//! `signpost roster show`: the members at a glance, or one of them whole.

use std::process::ExitCode;

use serde_json::{Value, json};
use signpost_keys::Member;
use signpost_protocol::roster::KeyRecord;

use super::{
    govern::lines_printable,
    keys_words,
    source::Source,
    view::View,
    words::{self, count, name, standing, time},
};
use crate::{
    cli::text::{fingerprint, fingerprint_words, print, printable, table},
    digests::SizeClass,
};

/// Arguments of `signpost roster show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost roster show
  signpost roster show RX2
  signpost roster --file roster.cbor show --json")]
pub(super) struct Args {
    /// One member, by its ODS code or the beginning of its organization id.
    #[arg(value_name = "ODS")]
    member: Option<String>,
}

/// Runs the command.
pub(super) fn command(source: &Source, args: &Args, as_json: bool) -> anyhow::Result<ExitCode> {
    let view = source.view()?;
    let text = match (&args.member, as_json) {
        (None, false) => all(&view),
        (None, true) => all_json(&view).to_string(),
        (Some(text), false) => one(&view, view.find_member(text)?),
        (Some(text), true) => member_json(&view, view.find_member(text)?, true).to_string(),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn all(view: &View) -> String {
    let roster = &view.roster;
    let epoch = roster.epoch();
    let mut lines = vec![
        format!("network    {}", roster.name()),
        format!("           {}", fingerprint_words(roster.network().as_bytes())),
        format!("           {}", fingerprint(&roster.network().to_string())),
        format!("founded    {}", time(roster.founded())),
        format!(
            "stewards   {}, {} make law; epoch {} since {}",
            epoch.stewards().len(),
            epoch.threshold(),
            epoch.number(),
            time(epoch.since())
        ),
        format!("fresh      {}", words::freshness(view)),
        format!("digest     {}", fingerprint(&roster.digest().to_string()[..16])),
    ];
    for finding in roster.findings() {
        lines.push(format!("LOOK INTO  {}", words::finding(view, finding)));
    }
    let headings = ["ODS", "NAME", "STANDING", "VERSION", "NODES", "KEYS", "STEWARD"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    let mut members: Vec<&Member> = roster.members().collect();
    members.sort_by(|a, b| (&a.ods, a.organization).cmp(&(&b.ods, b.organization)));
    rows.extend(members.iter().map(|member| {
        let steward = if epoch.has(&member.organization) { "yes" } else { "" };
        vec![
            member.ods.to_string(),
            printable(&member.name),
            standing(member.standing).to_owned(),
            member.version.to_string(),
            member.nodes.len().to_string(),
            keys(view, member),
            steward.to_owned(),
        ]
    }));
    format!("{}\n\n{}", lines_printable(&lines.join("\n")), table(&rows))
}

/// How many keys of a member are valid, and until when all of these are.
fn keys(view: &View, member: &Member) -> String {
    let all = view.roster.keys_of(&member.organization);
    let is_valid = |key: &&KeyRecord| {
        key.not_before <= view.now
            && view.now < key.not_after
            && key.revoked.is_none_or(|revoked| view.now < revoked.since)
    };
    let valid: Vec<&KeyRecord> = all.iter().filter(is_valid).collect();
    match valid.iter().map(|key| key.not_after).min() {
        None => "NONE VALID".to_owned(),
        Some(until) => format!("{} until {}", valid.len(), &time(until)[..10]),
    }
}

fn one(view: &View, member: &Member) -> String {
    let epoch = view.roster.epoch();
    let mut roles = Vec::new();
    if epoch.has(&member.organization) {
        roles.push("steward");
    }
    if view.is_evaluator(&member.organization) {
        roles.push("evaluator");
    }
    let class = SizeClass::new(member.class_max).map_or(String::new(), |class| {
        format!(", up to {} patients for each node", class.filled())
    });
    let id = member.organization.to_string();
    let mut lines = vec![
        name(view, &member.organization),
        format!("standing   {} since {}", standing(member.standing), time(member.since)),
        format!("record     version {}", member.version),
        format!("digests    class {}{class}", member.class_max),
        format!(
            "roles      {}",
            if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
        ),
        format!("id         {}", fingerprint_words(member.organization.as_bytes())),
        format!("           {}", fingerprint(&id)),
    ];
    if member.lineage > 0 {
        lines.push(format!("root key   was reset {}", count(member.lineage.into(), "time")));
    }
    if let Some(successor) = &member.successor {
        lines.push(format!("successor  {}", name(view, successor)));
    }
    for node in &member.nodes {
        let node_id = keys_words::short(&node.node);
        lines.push(format!("node       {node_id} at {}", node.addresses.join(", ")));
    }
    for key in view.roster.keys_of(&member.organization) {
        let validity = keys_words::validity(&key, view.now);
        lines.push(format!("key        {}, {validity}", keys_words::key(&key)));
    }
    if let Some(beat) = view.statements.last_heartbeat(&member.organization) {
        lines.push(format!("heard of   {} (heartbeat {})", time(beat.issued), beat.number));
    }
    lines_printable(&lines.join("\n"))
}

fn all_json(view: &View) -> Value {
    let roster = &view.roster;
    let epoch = roster.epoch();
    let stewards: Vec<Value> = epoch
        .stewards()
        .map(|steward| {
            let last = view.statements.last_heartbeat(&steward.organization);
            json!({
                "organization": steward.organization.to_string(),
                "govern": steward.govern.to_string(),
                "last_heartbeat": last.map(|beat| time(beat.issued)),
            })
        })
        .collect();
    let parameters = roster.parameters();
    json!({
        "network": roster.network().to_string(),
        "network_words": fingerprint_words(roster.network().as_bytes()),
        "name": roster.name(),
        "digest": roster.digest().to_string(),
        "epoch": {
            "number": epoch.number(),
            "id": epoch.id().to_string(),
            "since": time(epoch.since()),
            "threshold": epoch.threshold(),
            "stewards": stewards,
        },
        "fresh": {
            "since": time(roster.fresh()),
            "governance_ends_in_ms": parameters.governance_age_max.saturating_sub(view.age()),
            "disclosure_ends_in_ms": parameters.disclosure_age_max.saturating_sub(view.age()),
        },
        "findings": findings(view),
        "members": roster.members().map(|m| member_json(view, m, false)).collect::<Vec<_>>(),
    })
}

/// The findings, in words.
pub(super) fn findings(view: &View) -> Vec<String> {
    view.roster.findings().iter().map(|finding| words::finding(view, finding)).collect()
}

fn member_json(view: &View, member: &Member, whole: bool) -> Value {
    let mut value = json!({
        "ods": member.ods.as_str(),
        "name": member.name,
        "organization": member.organization.to_string(),
        "organization_words": fingerprint_words(member.organization.as_bytes()),
        "standing": standing(member.standing),
        "since": time(member.since),
        "version": member.version,
        "class_max": member.class_max,
        "lineage": member.lineage,
        "successor": member.successor.map(|successor| successor.to_string()),
        "steward": view.roster.epoch().has(&member.organization),
        "evaluator": view.is_evaluator(&member.organization),
        "nodes": member.nodes.iter().map(|node| json!({
            "node": node.node.to_string(),
            "addresses": node.addresses,
        })).collect::<Vec<_>>(),
    });
    if whole {
        let keys = view.roster.keys_of(&member.organization);
        value["keys"] = keys.iter().map(key_json).collect();
    }
    value
}

fn key_json(key: &KeyRecord) -> Value {
    json!({
        "id": key.key.key_id().to_string(),
        "key": key.key.to_string(),
        "use": keys_words::usage(key.usage),
        "node": key.node.map(|node| node.to_string()),
        "not_before": time(key.not_before),
        "not_after": time(key.not_after),
        "revoked_since": key.revoked.map(|revoked| time(revoked.since)),
    })
}
