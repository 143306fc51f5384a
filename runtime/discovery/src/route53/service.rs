//! Route 53 itself: the requests that are made of it, and what it refuses in words that say what to do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_route53::Client;
use aws_sdk_route53::config::Credentials;
use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError;
use aws_sdk_route53::types::{Change, ChangeBatch, ChangeStatus, ResourceRecordSet, RrType};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use hickory_server::proto::rr::Name;

use super::changes::{Present, written};
use super::fence::Fence;

/// How long a connection may take, and a request with its answer.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(10);
/// Where requests are signed for: Route 53 is one service for all regions.
const REGION: &str = "us-east-1";
/// Characters of what a service says that are passed on.
const SAID_CHARS_MAX: usize = 300;

/// An access key of AWS. The secret is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, which is no secret.
    pub id: String,
    /// What requests are signed with.
    pub secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Route 53, or what stands in for it.
#[derive(Clone, Debug)]
pub(super) struct Service {
    client: Client,
}

impl Service {
    /// Ready to ask. Without a key, credentials are looked for where all programs for AWS do: in the environment, in a
    /// profile, in the role of the machine.
    pub(super) async fn new(endpoint: Option<&str>, key: Option<&AccessKey>) -> Service {
        let https = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_WAIT_MAX).operation_timeout(REQUEST_WAIT_MAX).build();
        let mut config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(https.build_https())
            .timeout_config(timeouts)
            // Whoever publishes tries again by itself, with what is newest then.
            .retry_config(RetryConfig::disabled())
            .region(Region::from_static(REGION));
        if let Some(key) = key {
            config = config.credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "concoord"));
        }
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        Service { client: Client::new(&config.load().await) }
    }

    /// The id of the public hosted zone that the domain is in: of those whose names its own ends with, the longest.
    pub(super) async fn zone_of(&self, domain: &Name) -> Result<String, String> {
        let mut name = domain.clone();
        while !name.is_root() {
            let wanted = written(&name);
            let request = self.client.list_hosted_zones_by_name().dns_name(&wanted).send();
            let found = request.await.map_err(|error| said("route53:ListHostedZonesByName", &error))?;
            let zones = found.hosted_zones().iter().filter(|zone| zone.name().eq_ignore_ascii_case(&wanted));
            let public = zones.filter(|zone| !zone.config().is_some_and(|config| config.private_zone()));
            let ids = public.map(|zone| bare_id(zone.id())).collect::<Vec<_>>();
            match &ids[..] {
                [] => name = name.base_name(),
                [id] => return Ok((*id).to_owned()),
                several => {
                    let several = several.join(", ");
                    return Err(format!(
                        "there are several hosted zones {wanted}: choose with --route53-zone-id ({several})"
                    ));
                }
            }
        }
        let domain = written(domain);
        Err(format!(
            "no hosted zone is {domain} or above it: create one in Route 53, or name one with --route53-zone-id"
        ))
    }

    /// What the zone has of the domain.
    pub(super) async fn present(&self, zone: &str, domain: &Name) -> Result<Present, String> {
        let fence = written(&Fence::name(domain).map_err(|error| error.to_string())?);
        let found = self.list(zone, &fence, Some(RrType::Txt), Some(1)).await?.0;
        let is_fence =
            |set: &ResourceRecordSet| set.name().eq_ignore_ascii_case(&fence) && set.r#type() == &RrType::Txt;
        let mut present = Present { fence: found.into_iter().find(is_fence), sets: Vec::new() };
        let domain = written(domain);
        let below = format!(".{domain}");
        let mut next = Some((domain.clone(), None));
        while let Some((name, kind)) = next.take() {
            let (found, more) = self.list(zone, &name, kind, None).await?;
            let count = found.len();
            // They come in the order of their labels from the right, so what is below the domain comes right after it.
            let of = |set: &ResourceRecordSet| {
                let name = set.name().to_ascii_lowercase();
                name == domain || name.ends_with(&below)
            };
            let sets = found.into_iter().take_while(of).collect::<Vec<_>>();
            next = more.filter(|_| sets.len() == count);
            present.sets.extend(sets);
        }
        Ok(present)
    }

    /// Record sets from a name on, and where to go on.
    async fn list(
        &self,
        zone: &str,
        name: &str,
        kind: Option<RrType>,
        limit: Option<i32>,
    ) -> Result<(Vec<ResourceRecordSet>, Option<(String, Option<RrType>)>), String> {
        let request = self.client.list_resource_record_sets().hosted_zone_id(zone).start_record_name(name);
        let found = request.set_start_record_type(kind).set_max_items(limit).send().await;
        let found = found.map_err(|error| said("route53:ListResourceRecordSets", &error))?;
        let more = found.next_record_name.filter(|_| found.is_truncated);
        Ok((found.resource_record_sets, more.map(|name| (name, found.next_record_type))))
    }

    /// Carries out a batch as a whole, and gives the id of the change.
    pub(super) async fn change(&self, zone: &str, changes: Vec<Change>, comment: String) -> Result<String, String> {
        let batch = ChangeBatch::builder().set_changes(Some(changes)).comment(comment).build();
        let batch = batch.map_err(|error| error.to_string())?;
        let request = self.client.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send();
        let changed = request.await.map_err(|error| {
            let invalid = match error.as_service_error() {
                Some(ChangeResourceRecordSetsError::InvalidChangeBatch(invalid)) => invalid,
                _ => return said("route53:ChangeResourceRecordSets", &error),
            };
            let why = invalid.messages().first().map(String::as_str).or(invalid.message()).unwrap_or("no reason given");
            format!("Route 53 refused the batch, as it does when another was published meanwhile: {}", one_line(why))
        })?;
        Ok(changed.change_info.map(|info| bare_id(&info.id).to_owned()).unwrap_or_default())
    }

    /// Whether all of Route 53's name servers have a change.
    pub(super) async fn in_sync(&self, change: &str) -> Result<bool, String> {
        let found = self.client.get_change().id(change).send().await;
        let found = found.map_err(|error| said("route53:GetChange", &error))?;
        Ok(found.change_info.is_some_and(|info| info.status == ChangeStatus::Insync))
    }
}

/// Ids come as paths, such as `/hostedzone/Z1`.
fn bare_id(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, id)| id)
}

/// What went wrong with a request, in one line that says what to do. `action` is how policies call the request.
fn said<E, R>(action: &str, error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug,
{
    let Some(refusal) = error.as_service_error() else { return not_asked(error) };
    let code = refusal.code().unwrap_or("no code");
    let message = one_line(refusal.message().unwrap_or("no reason given"));
    match code {
        "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken" => format!(
            "Route 53 does not know this access key ({code}): set it anew with concoord route53id and concoord route53key, or \
             where AWS programs look for it"
        ),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            format!(
                "the credentials have expired ({code}): renew them, or set an access key with concoord route53id and \
                     concoord route53key"
            )
        }
        "RequestExpired" | "RequestTimeTooSkewed" => {
            format!("this machine's clock is wrong, says Route 53 ({message}): set it")
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "OptInRequired" => {
            format!("Route 53 denies {action}: allow it in the policy of the user or role ({message})")
        }
        "NoSuchHostedZone" => {
            format!(
                "there is no such hosted zone: create it in Route 53, or name another with --route53-zone-id ({message})"
            )
        }
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            format!("Route 53 asks for fewer requests ({code})")
        }
        "PriorRequestNotComplete" => format!("Route 53 is still busy with an earlier batch ({code})"),
        _ => format!("Route 53 refused {action}: {code}: {message}"),
    }
}

/// Why a request got no answer from the service.
fn not_asked<E: Error + 'static, R: fmt::Debug>(error: &SdkError<E, R>) -> String {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(found) = cause {
        causes.push(found.to_string());
        cause = found.source();
    }
    let last = causes.last().cloned().unwrap_or_else(|| error.to_string());
    if causes.iter().any(|cause| cause.contains("credential")) {
        // Who looked everywhere tells of each place; that is for the log of those who look for it.
        tracing::debug!("no AWS credentials: {}", causes.join(": "));
        let advice = "give them with concoord route53id and concoord route53key, or where AWS programs look for them, such as \
                      AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        return match last.contains("in chain") {
            true => format!("no AWS credentials: {advice}"),
            false => format!("no AWS credentials ({}): {advice}", one_line(&last)),
        };
    }
    match error {
        SdkError::TimeoutError(_) => {
            format!("Route 53 did not answer within {} s: is it within reach from here?", REQUEST_WAIT_MAX.as_secs())
        }
        SdkError::DispatchFailure(_) => format!("can't reach Route 53: {}", one_line(&last)),
        SdkError::ResponseError(response) => {
            format!("what Route 53 answered makes no sense: {} ({response:?})", one_line(&last))
                .chars()
                .take(SAID_CHARS_MAX)
                .collect()
        }
        _ => one_line(&last),
    }
}

/// The beginning of what a service says, without line breaks and what a terminal would act on.
fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_without_its_secret() {
        let key = AccessKey { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI".into() };
        let shown = format!("{key:?}");
        assert!(shown.contains("AKIDEXAMPLE") && !shown.contains("wJalr"), "{shown}");
    }

    #[test]
    fn what_a_service_says_is_one_line() {
        assert_eq!(one_line("first\r\n  second\u{1b}[31m"), "first second [31m");
        assert_eq!(one_line(&"x".repeat(1000)).len(), SAID_CHARS_MAX);
    }
}
