//! `limits`, and `trustedProxies` with `proxyProtocol`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use crate::addresses::Networks;
use crate::api::{ApiLimits, BodyLimits, RateLimits};
use crate::identity::ExchangeLimits;
use crate::listener::{ListenerLimits, Proxies};
use crate::outbound;
use crate::store::DEFAULT_CACHE_SIZE;

use super::duration;
use super::error::FaultAt;
use super::section::{Field, Section};

/// Time for a request in addition to its body and exchange: the store, and a busy machine.
const REST_OF_A_REQUEST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Limits {
    pub listener: ListenerLimits,
    pub api: ApiLimits,
    pub exchanges: ExchangeLimits,
    /// Timeouts of each request to a provider.
    pub provider_calls: outbound::Limits,
    /// Memory for the tokens of live sessions, in bytes.
    pub cache_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            listener: ListenerLimits::default(),
            api: ApiLimits::default(),
            exchanges: ExchangeLimits::default(),
            provider_calls: outbound::LIMITS,
            cache_size: DEFAULT_CACHE_SIZE,
        }
    }
}

pub(super) fn read(field: &Field<'_>) -> Result<Limits, FaultAt> {
    let section = field.section("limits")?;
    let default = Limits::default();
    let (listener, rates) = (default.listener, default.api.rates);
    let connections = number(&section, "maxConnections", listener.connections)?;
    let connections_per_address = match section.find("maxConnectionsPerAddress") {
        None => listener.connections_per_address.min(connections),
        Some(field) => {
            let most = u32::try_from(connections).unwrap_or(u32::MAX);
            field.whole_within(&(1..=most), "64").map(|number| number as usize)?
        }
    };
    let exchanges = ExchangeLimits {
        concurrent: number(&section, "maxConcurrentExchanges", default.exchanges.concurrent)?,
        waiting_per_client: number(
            &section,
            "maxQueuedExchangesPerAddress",
            default.exchanges.waiting_per_client,
        )?,
        timeout: time(&section, "exchangeTimeout", 1..=60, default.exchanges.timeout)?,
    };
    let bodies = BodyLimits {
        // `POST /v1/logins/finish` needs about 8 kB.
        bytes: number(&section, "maxRequestBodyBytes", default.api.bodies.bytes)?,
        timeout: time(&section, "requestBodyTimeout", 1..=60, default.api.bodies.timeout)?,
    };
    let calls = default.provider_calls;
    let call_time = time(&section, "providerRequestTimeout", 1..=60, calls.total)?;
    let at_most = u32::try_from(call_time.as_secs()).unwrap_or(60);
    Ok(Limits {
        listener: ListenerLimits {
            handshake: time(&section, "handshakeTimeout", 1..=60, listener.handshake)?,
            request_head: time(&section, "requestHeaderTimeout", 1..=60, listener.request_head)?,
            head_bytes: number(&section, "maxRequestHeaderBytes", listener.head_bytes)?,
            headers: number(&section, "maxRequestHeaders", listener.headers)?,
            request: bodies.timeout + exchanges.timeout + REST_OF_A_REQUEST,
            idle: time(&section, "idleTimeout", 1..=600, listener.idle)?,
            requests_per_connection: number(
                &section,
                "maxRequestsPerConnection",
                listener.requests_per_connection,
            )?,
            streams: number(&section, "maxConcurrentStreams", listener.streams)?,
            connections,
            connections_per_address,
            memory: number(&section, "maxMemoryBytes", listener.memory)?,
            drain: listener.drain,
        },
        api: ApiLimits {
            rates: RateLimits {
                login_starts: count(&section, "loginStartsPerMinute", rates.login_starts)?,
                failed_login_finishes: count(&section, "failedLoginsPerMinute", rates.failed_login_finishes)?,
            },
            bodies,
        },
        exchanges,
        provider_calls: outbound::Limits {
            connect: time(&section, "providerConnectTimeout", 1..=at_most, calls.connect.min(call_time))?,
            total: call_time,
        },
        cache_size: number(&section, "cacheSize", default.cache_size)?,
    })
}

/// Reads `trustedProxies` and `proxyProtocol`.
pub(super) fn proxies(top: &Section<'_>) -> Result<Proxies, FaultAt> {
    const EXPECTED: &str =
        "a list of up to 256 addresses and networks, such as `[192.0.2.10, \"2001:db8::/48\"]`";
    let trusted = top.find("trustedProxies").map_or(Ok(Vec::new()), |field| {
        field.list(EXPECTED)?.iter().map(network).collect::<Result<Vec<_>, _>>()
    })?;
    let trusted = Networks::new(trusted);
    let speak_proxy_protocol = match top.find("proxyProtocol") {
        None => false,
        Some(field) => {
            let speak = field.boolean()?;
            if speak && trusted.is_empty() {
                return Err(field.wrong(
                    "`false` without `trustedProxies`: a PROXY header counts only from the addresses listed there",
                ));
            }
            speak
        }
    };
    Ok(Proxies { trusted, speak_proxy_protocol })
}

/// Reads an item of a list of addresses and networks.
pub(super) fn network(item: &Field<'_>) -> Result<IpNet, FaultAt> {
    let expected = "an address such as `192.0.2.10`, or a network such as `192.0.2.0/24` whose bits after the prefix are 0";
    let network = item.parsed(expected, |text| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address).filter(|network| network.trunc() == *network)
    })?;
    let is_everybody = network.prefix_len() < 8;
    // Client addresses are canonical, so a network of mapped IPv4 addresses would match none.
    let is_mapped = matches!(network, IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some());
    if is_everybody {
        return Err(item.wrong(
            "a network with a prefix of 8 bits or more, because every host in it can claim any client address",
        ));
    }
    if is_mapped {
        return Err(item.wrong("an IPv4 address or network in IPv4 notation, such as `192.0.2.0/24`"));
    }
    Ok(network)
}

fn count(section: &Section<'_>, key: &str, default: u32) -> Result<u32, FaultAt> {
    section.find(key).map_or(Ok(default), |field| field.whole(&default.to_string()))
}

fn number(section: &Section<'_>, key: &str, default: usize) -> Result<usize, FaultAt> {
    let example = u32::try_from(default).unwrap_or(u32::MAX);
    let number = count(section, key, example)?;
    Ok(usize::try_from(number).unwrap_or(default))
}

/// Reads a duration in this range of seconds.
pub(super) fn time(
    section: &Section<'_>,
    key: &str,
    seconds: RangeInclusive<u32>,
    default: Duration,
) -> Result<Duration, FaultAt> {
    let Some(field) = section.find(key) else { return Ok(default) };
    let (least, most) = (seconds.start(), seconds.end());
    let expected = format!("a duration from {least}s to {most}s, such as `{}s`", default.as_secs());
    field.parsed(&expected, |text| {
        let time = duration::parse(text)?.as_secs();
        u32::try_from(time)
            .ok()
            .filter(|time| seconds.contains(time))
            .map(|time| Duration::from_secs(time.into()))
    })
}
