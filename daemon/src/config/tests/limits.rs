//! `limits`, `trustedProxies` and `proxyProtocol`.

use std::time::Duration;

use super::*;
use crate::api::{ApiLimits, BodyLimits, RateLimits};
use crate::identity::ExchangeLimits;
use crate::listener::ListenerLimits;

fn limits(text: &str) -> Limits {
    let parsed = parse(&with_section(&format!("limits: {{{text}}}")));
    let Ok(config) = parsed else { panic!("not taken: {text}: {}", message(&with_section(text))) };
    config.limits
}

#[test]
fn missing_limits_take_documented_defaults() {
    let (limits, seconds) = (limits(""), Duration::from_secs);
    let listener = &limits.listener;
    assert_eq!(listener.handshake, seconds(5));
    assert_eq!((listener.request_head, listener.head_bytes, listener.headers), (seconds(5), 16 * 1024, 64));
    assert_eq!((listener.idle, listener.requests_per_connection), (seconds(30), 1000));
    assert_eq!((listener.connections, listener.connections_per_address), (4096, 64));
    assert_eq!(listener.memory, 64 * 1024 * 1024);
    assert_eq!(listener.request, seconds(30));
    assert_eq!(limits.api.rates, RateLimits { login_starts: 60, failed_login_finishes: 20 });
    assert_eq!(limits.api.bodies, BodyLimits { bytes: 64 * 1024, timeout: seconds(10) });
    assert_eq!((limits.exchanges.concurrent, limits.exchanges.timeout), (32, seconds(10)));
    assert_eq!((limits.provider_calls.connect, limits.provider_calls.total), (seconds(3), seconds(10)));
    assert_eq!(limits.cache_size, 64 * 1024 * 1024);
}

#[test]
fn every_limit_can_be_written() {
    let limits = limits(
        "handshakeTimeout: 2s, requestHeaderTimeout: 4s, maxRequestHeaderBytes: 8192, maxRequestHeaders: 16, \
         requestBodyTimeout: 5s, maxRequestBodyBytes: 16384, idleTimeout: 1m, maxRequestsPerConnection: 7, \
         maxConcurrentStreams: 8, maxConnections: 99, maxConnectionsPerAddress: 9, maxMemoryBytes: 16777216, loginStartsPerMinute: 10, \
         failedLoginsPerMinute: 11, maxConcurrentExchanges: 12, maxQueuedExchangesPerAddress: 13, exchangeTimeout: 14s, \
         providerConnectTimeout: 2s, providerRequestTimeout: 6s, cacheSize: 536870912",
    );
    let seconds = Duration::from_secs;
    let listener = ListenerLimits {
        handshake: seconds(2),
        request_head: seconds(4),
        head_bytes: 8192,
        headers: 16,
        request: seconds(5 + 14 + 10),
        idle: seconds(60),
        requests_per_connection: 7,
        streams: 8,
        connections: 99,
        connections_per_address: 9,
        memory: 16_777_216,
        drain: ListenerLimits::default().drain,
    };
    assert_eq!(limits.listener, listener);
    let rates = RateLimits { login_starts: 10, failed_login_finishes: 11 };
    assert_eq!(limits.api, ApiLimits { rates, bodies: BodyLimits { bytes: 16_384, timeout: seconds(5) } });
    let exchanges = ExchangeLimits { concurrent: 12, waiting_per_client: 13, timeout: seconds(14) };
    assert_eq!(limits.exchanges, exchanges);
    assert_eq!((limits.provider_calls.connect, limits.provider_calls.total), (seconds(2), seconds(6)));
    assert_eq!(limits.cache_size, 512 * 1024 * 1024);
}

#[test]
fn limit_beyond_its_bounds_names_expected_value() {
    for (limits, expected) in [
        ("handshakeTimeout: 0s", "a duration from 1s to 60s, such as `5s`"),
        ("handshakeTimeout: 5", "a duration from 1s to 60s"),
        ("idleTimeout: 11m", "a duration from 1s to 600s, such as `30s`"),
        ("maxConnections: 0", "a whole number from 16 to 65536, such as 4096"),
        ("maxConnections: 32, maxConnectionsPerAddress: 33", "a whole number from 1 to 32"),
        ("maxRequestBodyBytes: 2000000", "a whole number from 16384 to 1048576, such as 65536"),
        ("loginStartsPerMinute: none", "a whole number from 1 to 60000, such as 60"),
        ("providerRequestTimeout: 2s, providerConnectTimeout: 3s", "a duration from 1s to 2s"),
        ("cacheSize: 64MiB", "a whole number from 4194304 to 2147483648, such as 67108864"),
        ("cacheSize: 4194303", "a whole number from 4194304 to 2147483648"),
        ("maxConections: 5", "did you mean `maxConnections`?"),
    ] {
        assert_says(&with_section(&format!("limits: {{{limits}}}")), &["line 2, column", expected]);
    }
}

#[test]
fn only_listed_proxies_are_trusted() {
    let config = parse(&with_section("")).expect("a good configuration");
    assert!(config.proxies.trusted.is_empty() && !config.proxies.speak_proxy_protocol);

    let text = "trustedProxies: [192.0.2.10, \"2001:db8::/48\", 10.0.0.0/8]\nproxyProtocol: true";
    let config = parse(&with_section(text)).expect("a good configuration");
    assert!(config.proxies.speak_proxy_protocol);
    for (address, is_trusted) in
        [("192.0.2.10", true), ("192.0.2.11", false), ("10.9.8.7", true), ("2001:db8::1", true)]
    {
        assert_eq!(
            config.proxies.trusted.contains(address.parse().expect("an address")),
            is_trusted,
            "{address}"
        );
    }
}

#[test]
fn invalid_proxy_setting_names_expected_value() {
    for (text, expected) in [
        ("trustedProxies: 192.0.2.10", "addresses and networks"),
        ("trustedProxies: [proxy.example.com]", "an address such as `192.0.2.10`, or a network"),
        ("trustedProxies: [192.0.2.1/24]", "whose bits after the prefix are 0"),
        ("trustedProxies: [0.0.0.0/0]", "a prefix of 8 bits or more"),
        ("trustedProxies: [\"::/0\"]", "a prefix of 8 bits or more"),
        ("trustedProxies: [\"::ffff:192.0.2.0/120\"]", "in IPv4 notation"),
        ("proxyProtocol: true", "`false` without `trustedProxies`"),
        ("proxyProtocol: v2", "`true` or `false`"),
    ] {
        assert_says(&with_section(text), &["line 2, column", expected]);
    }
}
