//! Requests to AWS's JSON services, signed with Signature Version 4.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::Request;

/// An operation of an AWS service with JSON protocol 1.1.
#[derive(Debug, Clone, Copy)]
pub struct AWSOperation {
    /// The service name in signatures and in the standard host: `kms`.
    pub service: &'static str,
    /// The value of `X-Amz-Target`: `TrentService.Decrypt`.
    pub target: &'static str,
}

/// An access key. `Debug` hides its secrets.
#[derive(Debug, Clone)]
pub struct AWSCredentials {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
}

/// Signs requests for one region.
#[derive(Debug)]
pub struct AWSSigner<'a> {
    pub credentials: &'a AWSCredentials,
    pub region: &'a str,
    pub now: Timestamp,
}

impl AWSSigner<'_> {
    /// Builds a signed request for `operation` at `endpoint`. `None` if a value cannot be part of a request, such as
    /// a region with a line break.
    pub fn request(&self, operation: AWSOperation, endpoint: &Url, body: &Value) -> Option<Request> {
        const JSON: &str = "application/x-amz-json-1.1";
        let body = Zeroizing::new(body.to_string().into_bytes());
        // The signed headers. The host is signed too, taken from the URL.
        let signed = [("content-type", JSON), ("x-amz-target", operation.target)];
        let credentials = Credentials::new(
            &self.credentials.access_key_id,
            self.credentials.secret_access_key.expose_secret(),
            self.credentials.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            None,
            "infrad",
        );
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(operation.service)
            .time(UNIX_EPOCH + Duration::from_secs(self.now.as_second().try_into().ok()?))
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let signable =
            SignableRequest::new("POST", endpoint.as_str(), signed.into_iter(), SignableBody::Bytes(&body))
                .ok()?;
        let (instructions, _) = sign(signable, &parameters).ok()?.into_parts();

        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_static(operation.target));
        for (name, value) in instructions.headers() {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        Some(Request { method: Method::POST, url: endpoint.clone(), headers, body })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signed(secret: &str, region: &str) -> Option<String> {
        let credentials = AWSCredentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: secret.into(),
            session_token: Some("a token".into()),
        };
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let signer = AWSSigner { credentials: &credentials, region, now };
        let operation = AWSOperation { service: "kms", target: "TrentService.Decrypt" };
        let endpoint = "https://kms.us-west-2.amazonaws.com/".parse().expect("an address");
        let request = signer.request(operation, &endpoint, &json!({"KeyId": "k"}))?;
        assert_eq!(request.headers["x-amz-security-token"], "a token");
        assert!(request.headers["authorization"].is_sensitive());
        Some(request.headers["authorization"].to_str().expect("text").to_owned())
    }

    #[test]
    fn signature_states_scope_and_depends_on_secret() {
        let authorization = signed("secret", "us-west-2").expect("a request");
        assert!(
            authorization.starts_with(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-west-2/kms/aws4_request, SignedHeaders="
            ),
            "{authorization}"
        );
        for header in ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
            assert!(authorization.contains(header), "{header}: {authorization}");
        }
        assert_eq!(signed("secret", "us-west-2").as_ref(), Some(&authorization));
        assert_ne!(signed("secreT", "us-west-2").as_ref(), Some(&authorization));
        assert!(signed("secret", "us\nwest").is_none());
    }
}
