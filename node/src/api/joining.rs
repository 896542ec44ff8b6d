//! Invitations and applications, for the admins of the organization whose token is shown.

use axum::{
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use signpost_protocol::Timestamp;

use super::{
    body,
    error::{self, ApiError},
    guard::OnBehalf,
};
use crate::{
    core::local::{Applicant, INVITATION_LIFE_MAX, InviteError},
    fhir::outcome::IssueCode,
};

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;
/// Bytes of what an invitation is asked for with.
const WANTED_BYTES_MAX: usize = 1024;

/// The body of `POST /signpost/v1/invitations`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvitationWanted {
    /// How long it is to last, 1 to 720 hours.
    pub(crate) hours: u64,
}

/// The reply to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InvitationMade {
    /// To be mailed: what `signpost join` takes.
    pub(crate) invitation: String,
    /// The network's name.
    pub(crate) network_name: String,
    /// The network's id, hexadecimal.
    pub(crate) network: String,
    /// ODS code of who invites.
    pub(crate) ods: String,
    /// Name of who invites.
    pub(crate) name: String,
    /// Where it leads to: multiaddrs with peer id.
    pub(crate) addresses: Vec<String>,
    /// When it is void, RFC 3339.
    pub(crate) expires: String,
}

/// An applicant in the reply to `GET /signpost/v1/applicants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApplicantShown {
    /// Organization id, hexadecimal: the fingerprint that people compare.
    pub(crate) organization: String,
    /// Its ODS code, as it says.
    pub(crate) ods: String,
    /// Its name, as it says.
    pub(crate) name: String,
    /// When the application came, RFC 3339.
    pub(crate) received: String,
    /// When its invitation is void, RFC 3339.
    pub(crate) expires: String,
    /// Whether this node could connect to it; absent when it was not tried.
    pub(crate) reachable: Option<bool>,
    /// Why not, if it could not.
    pub(crate) unreachable_because: Option<String>,
    /// Whether the network has a record of it already.
    pub(crate) is_member: bool,
    /// Its signed inception, base64.
    pub(crate) inception: String,
    /// Its signed nodes and keys, base64.
    pub(crate) keys: String,
}

/// All of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApplicantsShown {
    pub(crate) applicants: Vec<ApplicantShown>,
}

impl From<Applicant> for ApplicantShown {
    fn from(applicant: Applicant) -> Self {
        let Applicant { organization, ods, name, inception, keys, unreachable, .. } = &applicant;
        Self {
            organization: organization.to_string(),
            ods: ods.to_string(),
            name: name.clone(),
            received: rfc3339(applicant.received),
            expires: rfc3339(applicant.expires),
            reachable: unreachable.as_ref().map(String::is_empty),
            unreachable_because: unreachable.clone().filter(|reason| !reason.is_empty()),
            is_member: applicant.is_member,
            inception: BASE64.encode(inception),
            keys: BASE64.encode(keys),
        }
    }
}

/// `POST /signpost/v1/invitations`: makes an invitation by the asking organization.
pub(super) async fn invite(
    OnBehalf(handle): OnBehalf,
    request: Request,
) -> Result<Response, ApiError> {
    let bytes = body::read(request, &["application/json"], WANTED_BYTES_MAX).await?;
    let hours_max = INVITATION_LIFE_MAX / HOUR;
    let wanted: InvitationWanted = serde_json::from_slice(&bytes)
        .ok()
        .filter(|wanted: &InvitationWanted| (1..=hours_max).contains(&wanted.hours))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "the body must be {{\"hours\": n}}, with n from 1 to {hours_max}"
            ))
        })?;
    let invitation = handle.invite(wanted.hours * HOUR).await.map_err(refused)?;
    let made = InvitationMade {
        invitation: invitation.to_string(),
        network_name: invitation.network_name.to_string(),
        network: invitation.network.to_string(),
        ods: invitation.ods.to_string(),
        name: invitation.name.to_string(),
        addresses: invitation.addresses.iter().map(ToString::to_string).collect(),
        expires: rfc3339(invitation.expires),
    };
    Ok(error::json(StatusCode::CREATED, &made).into_response())
}

/// `GET /signpost/v1/applicants`: what was handed in with invitations of this node.
pub(super) async fn applicants(OnBehalf(handle): OnBehalf) -> Result<Response, ApiError> {
    let applicants = handle
        .applicants()
        .await
        .map_err(|reason| ApiError::busy(format!("the applications cannot be read: {reason}")))?;
    let applicants = applicants.into_iter().map(ApplicantShown::from).collect();
    Ok(error::json(StatusCode::OK, &ApplicantsShown { applicants }))
}

fn refused(error: InviteError) -> ApiError {
    let text = error.to_string();
    match error {
        InviteError::NotAdmitted => {
            ApiError::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
        }
        InviteError::TooMany | InviteError::NoAddress => {
            ApiError::new(StatusCode::CONFLICT, IssueCode::Conflict, text)
        }
        InviteError::Busy(_) | InviteError::Storage(_) => ApiError::busy(text),
    }
}

pub(super) fn rfc3339(time: Timestamp) -> String {
    let milliseconds = i64::try_from(time.0).ok();
    milliseconds
        .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
        .map_or_else(|| format!("{} ms", time.0), |time| time.to_string())
}
