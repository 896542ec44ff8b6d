//! What an organization's root key signs: the next set of its nodes and keys. Shown, signed, checked
//! as every node checks it, confirmed, and brought to the node; nothing of a rehearsal leaves.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use signpost_keys::{Verified, sign};
use signpost_protocol::{
    ContentHash, OrganizationId,
    codec::Bounded,
    limits,
    roster::{KeyRecord, OrganizationKeys},
    statement::statement_hash,
};

use super::{
    fail,
    source::{Outcome, Source},
    view::View,
    words::name,
};
use crate::{
    cli::{
        behalf::Behalf,
        confirm::confirm,
        text::{KEYS_ARE_CHANGED, print, tell},
    },
    setup::{self, AdminKey, KeysLock, admin_key, organization_of},
};

/// Options of the commands that sign with the root key.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) behalf: Behalf,
    /// The root keystore [default: root.keystore in the organization's folder].
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The file with the keystore's passphrase [default: the file of that name beside the keystore].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Shows what would be signed, but signs nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Asks no questions: for scripts.
    #[arg(long)]
    yes: bool,
}

/// An organization that is about to sign its keys anew. No other command at this node does so until
/// this is dropped.
pub(super) struct Own<'a> {
    options: &'a Options,
    folder: PathBuf,
    pub(super) source: Source,
    pub(super) lock: KeysLock,
    pub(super) view: View,
    pub(super) organization: OrganizationId,
}

/// What was signed and handed on.
pub(super) struct Signed {
    /// The name of the statement.
    pub(super) statement: ContentHash,
    /// The roster with it.
    pub(super) after: View,
}

impl<'a> Own<'a> {
    pub(super) fn open(dir: &Path, options: &'a Options) -> anyhow::Result<Self> {
        Self::of(dir, options, |behalf| Ok(behalf.folder(dir)?))
    }

    /// As [`Self::open`], but also of an organization that waits to be served.
    pub(super) fn open_waiting(dir: &Path, options: &'a Options) -> anyhow::Result<Self> {
        Self::of(dir, options, |behalf| match &behalf.organization {
            Some(ods) if setup::waits(dir, ods) => Ok(setup::waiting_folder(dir, ods)),
            _ => Ok(behalf.folder(dir)?),
        })
    }

    fn of(
        dir: &Path,
        options: &'a Options,
        folder: impl Fn(&Behalf) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Self> {
        // Once to name what is wrong at once, and once more because it may move until it is our turn.
        folder(&options.behalf)?;
        let lock = KeysLock::take(dir, || tell(KEYS_ARE_CHANGED))?;
        let folder = folder(&options.behalf)?;
        let organization = organization_of(&folder)?;
        // The roster is the same whosever token asks for it, and who waits has none that counts.
        let source = Source::new(dir, &Behalf::default(), None)?;
        // The view comes after the lock: what another command at this node signed is in it.
        let view = source.view()?;
        Ok(Self { options, folder, source, lock, view, organization })
    }

    /// The id of the node that this is typed at, hexadecimal.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn node(&self) -> anyhow::Result<String> {
        self.source.node()
    }

    /// Ends a rehearsal with what was found.
    pub(super) fn rehearsed(shown: &str, report: &Value, json: bool) -> anyhow::Result<ExitCode> {
        let text = format!("{shown}Dry run: nothing was signed, and nothing written.\n");
        print(&if json { report.to_string() } else { text })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Shows what `set` means, asks with `question`, and hands it on.
    ///
    /// # Errors
    /// When the root key cannot be had or does not count, the person does not agree, the keys are not
    /// those any more that `set` begins with, or the node refuses.
    pub(super) fn hand_on(
        &self,
        set: OrganizationKeys,
        shown: &str,
        question: &str,
    ) -> anyhow::Result<Signed> {
        tell(shown);
        let Options { root, passphrase_file, yes, .. } = self.options;
        let passphrase_file = passphrase_file.as_deref();
        let root = admin_key(Some(&self.folder), AdminKey::Root, root.as_deref(), passphrase_file)?;
        if !yes {
            let code = self.view.member(&self.organization).map(|member| member.ods.to_string());
            confirm(question, code.as_deref(), "nothing was handed on")?;
        }
        // Somebody may have thought about the question for minutes, and the same organization may sign
        // at other machines: two sets of one version would contradict each other.
        let view = self.source.view()?;
        self.refuse_changed(&view)?;
        let statement = sign(set, &root, &view.roster.network());
        let new = vec![statement.bytes().to_vec()];
        // What nodes would refuse, such as what another root key signed, is not handed on.
        let after = view.with(&new)?;
        let statement = statement_hash(&new[0]);
        let outcomes = self.source.submit(view.statements.founding(), new)?;
        let refused = |outcome: &&Outcome| outcome.outcome == "refused";
        if let Some(outcome) = outcomes.iter().find(refused) {
            let reason = outcome.reason.as_deref().unwrap_or("without a reason");
            return Err(fail(
                format!("the node refused the statement: {reason}"),
                "compare this machine's clock with the node's",
            ));
        }
        Ok(Signed { statement, after })
    }

    /// Refuses to sign when other keys count than those that were shown.
    fn refuse_changed(&self, view: &View) -> anyhow::Result<()> {
        let counts = |view: &View| {
            let member = view.member(&self.organization);
            (
                view.last_keys(&self.organization).map(|set| set.hash()),
                member.map(|member| member.lineage),
                // Fewer than the set has, where two contradict each other.
                view.roster.keys_of(&self.organization),
            )
        };
        if counts(&self.view) == counts(view) {
            return Ok(());
        }
        Err(fail(
            format!(
                "the keys of {} were changed meanwhile, at another machine: nothing was signed",
                name(view, &self.organization)
            ),
            "type it again: it begins with the keys as they are now",
        ))
    }
}

/// The set of an organization's keys that counts.
///
/// # Errors
/// When there is none.
pub(super) fn last_set<'a>(
    view: &'a View,
    organization: &OrganizationId,
) -> anyhow::Result<&'a Verified<OrganizationKeys>> {
    view.last_keys(organization).ok_or_else(|| {
        fail("the roster has no keys of this organization", "wait until the node has caught up")
    })
}

/// What an organization signs next, listing what its last set lists: the next version of that, or
/// the first of a new lineage after a reset of its root key.
///
/// # Errors
/// When there is no last set, or no version can follow it.
pub(super) fn next_set(
    view: &View,
    organization: &OrganizationId,
) -> anyhow::Result<OrganizationKeys> {
    let last = last_set(view, organization)?;
    let lineage = view.member(organization).map_or(last.lineage, |member| member.lineage);
    let (version, previous) = if lineage > last.lineage {
        (1, ContentHash(organization.0))
    } else {
        (next_version(last)?, last.hash())
    };
    Ok(OrganizationKeys { lineage, version, previous, issued: view.now, ..(**last).clone() })
}

fn next_version(last: &OrganizationKeys) -> anyhow::Result<u64> {
    last.version.checked_add(1).ok_or_else(|| {
        fail(
            "no version can follow that of the present set of keys: somebody else has the root key",
            "ask the stewards to suspend the organization, and to reset its root key",
        )
    })
}

/// The set with these keys.
///
/// # Errors
/// When they are too many.
pub(super) fn with_keys(
    set: OrganizationKeys,
    keys: Vec<KeyRecord>,
) -> anyhow::Result<OrganizationKeys> {
    let keys = Bounded::new(keys).ok_or_else(|| {
        fail(
            format!("a set of keys holds at most {}", limits::KEYS_PER_MEMBER_MAX),
            "keys whose signatures nobody needs any more have to be taken out first",
        )
    })?;
    Ok(OrganizationKeys { keys, ..set })
}
