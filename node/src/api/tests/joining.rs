//! Invitations and applications.

use signpost_protocol::{
    InvitationCode, NetworkId, OrganizationId, Timestamp,
    codec::{Bounded, Text},
    invitation::Invitation,
};

use crate::{
    api::testing::{Api, OTHER_TOKEN, SERVED},
    core::local::{Applicant, INVITATION_LIFE_MAX, InviteError, LocalReply, LocalRequest},
};

const INVITATIONS: &str = "/signpost/v1/invitations";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn invitation() -> Invitation {
    let address = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW";
    Invitation {
        network: NetworkId([0xab; 32]),
        network_name: Text::new("Trial").unwrap(),
        ods: "RX1".parse().unwrap(),
        name: Text::new("Harrow").unwrap(),
        code: InvitationCode([7; 16]),
        addresses: Bounded::new(vec![Text::new(address).unwrap()]).unwrap(),
        expires: Timestamp(1_768_089_600_000),
    }
}

fn applicant(unreachable: Option<&str>) -> Applicant {
    Applicant {
        organization: OrganizationId([3; 32]),
        ods: "RX9".parse().unwrap(),
        name: "Sixth Trust".to_owned(),
        inception: vec![0xff; 3],
        keys: vec![0; 3],
        received: Timestamp(1_768_089_600_000),
        expires: Timestamp(1_768_089_600_000),
        unreachable: unreachable.map(str::to_owned),
        is_member: false,
    }
}

#[tokio::test]
async fn an_invitation_is_made_on_behalf_of_whose_token_is_shown() {
    let api = Api::new(|_| LocalReply::Invite(Ok(Box::new(invitation()))));
    let headers = [JSON[0], ("authorization", &*format!("Bearer {OTHER_TOKEN}"))];
    let reply = api.send("POST", INVITATIONS, &headers, r#"{"hours": 24}"#).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert_eq!(api.asking(), [SERVED[1]]);
    let asked = api.asked();
    assert!(matches!(asked[..], [LocalRequest::Invite { life: 86_400_000 }]), "{asked:?}");
    let made = reply.json();
    let text = made["invitation"].as_str().unwrap();
    assert_eq!(text.parse::<Invitation>().unwrap(), invitation());
    assert_eq!((&made["ods"], &made["network_name"]), (&"RX1".into(), &"Trial".into()));
    assert_eq!(made["expires"], "2026-01-11T00:00:00Z");
    assert_eq!(made["network"], "ab".repeat(32));
}

#[tokio::test]
async fn what_asks_for_no_invitation_is_refused() {
    let api = Api::unasked();
    let hours_max = INVITATION_LIFE_MAX / 3_600_000;
    for body in [
        "",
        "{}",
        r#"{"hours": 0}"#,
        &format!(r#"{{"hours": {}}}"#, hours_max + 1),
        r#"{"hours": -1}"#,
        r#"{"hours": 1, "code": "00"}"#,
    ] {
        let reply = api.send("POST", INVITATIONS, &JSON, body.to_owned()).await;
        reply.refused(400, "invalid");
        assert!(reply.text.contains("from 1 to 720"), "{}", reply.text);
    }
    api.send("POST", INVITATIONS, &[], "{}").await.refused(415, "not-supported");
    for (error, status, code) in [
        (InviteError::NotAdmitted, 403, "forbidden"),
        (InviteError::TooMany, 409, "conflict"),
        (InviteError::NoAddress, 409, "conflict"),
        (InviteError::Storage("full".to_owned()), 503, "throttled"),
    ] {
        let api = Api::new(move |_| LocalReply::Invite(Err(error.clone())));
        let reply = api.send("POST", INVITATIONS, &JSON, r#"{"hours": 1}"#).await;
        reply.refused(status, code);
    }
}

#[tokio::test]
async fn applicants_are_shown_with_whether_they_were_reached() {
    let all = vec![applicant(None), applicant(Some("")), applicant(Some("refused"))];
    let api = Api::new(move |_| LocalReply::Applicants(Ok(all.clone())));
    let reply = api.get("/signpost/v1/applicants").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let shown = reply.json()["applicants"].clone();
    let reached: Vec<_> = (0..3).map(|n| shown[n]["reachable"].clone()).collect();
    assert_eq!(reached, [serde_json::Value::Null, true.into(), false.into()]);
    assert_eq!(shown[2]["unreachable_because"], "refused");
    assert_eq!((&shown[0]["ods"], &shown[0]["inception"]), (&"RX9".into(), &"////".into()));
    assert_eq!(shown[0]["organization"], "03".repeat(32));

    let api = Api::new(|_| LocalReply::Applicants(Err("the disk failed".to_owned())));
    api.get("/signpost/v1/applicants").await.refused(503, "throttled");
}
