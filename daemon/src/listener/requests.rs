//! Request counters by route, and request ids for the log.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use infra_shared::random;
use tracing::Span;

use super::refused::RefusedConnections;

/// Length of a request id, enough to find a line in a log.
const REQUEST_ID_CHARACTERS: usize = 12;

/// Statuses with their own counter: those that this daemon sends. Any other counts as the last.
const STATUSES: [u16; 16] = [200, 201, 204, 308, 400, 401, 403, 404, 405, 410, 413, 429, 431, 502, 503, 500];

/// Upper bounds of the duration histogram, in seconds.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// A route: a method (`*` for any) and a path as the router writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// Whether success proves valid credentials.
    pub requires_credentials: bool,
    /// Whether services call it thousands of times a second, so that only rejections are logged.
    pub is_high_volume: bool,
}

/// Counts requests by known route, so that clients cannot create new counters.
pub struct Requests {
    routes: Vec<Route>,
    /// Indices of the routes by path. Axum's router matches with this crate too.
    paths: matchit::Router<Vec<usize>>,
    /// One per route, and one for all other requests.
    observed: Vec<Observed>,
    /// Connections that carried none.
    pub refused: Arc<RefusedConnections>,
}

#[derive(Default)]
struct Observed {
    statuses: [AtomicU64; STATUSES.len()],
    /// Durations above the last bound appear only in `count`.
    times: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    microseconds: AtomicU64,
}

/// Number and durations of a route's answers.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCounts {
    /// `None` for requests outside all routes.
    pub route: Option<Route>,
    /// Count by status, without zeros.
    pub statuses: Vec<(u16, u64)>,
    /// Upper bound in seconds, and the count since the bound before.
    pub times: Vec<(f64, u64)>,
    pub count: u64,
    pub seconds: f64,
}

impl Requests {
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let routes: Vec<Route> = routes.into_iter().collect();
        let mut by_path = BTreeMap::<_, Vec<usize>>::new();
        for (index, route) in routes.iter().enumerate() {
            by_path.entry(route.path).or_default().push(index);
        }
        let mut paths = matchit::Router::new();
        for (path, indices) in by_path {
            paths.insert(path, indices).expect("the router accepts these paths as well");
        }
        let observed = (0..=routes.len()).map(|_| Observed::default()).collect();
        Self { paths, observed, routes, refused: Arc::default() }
    }

    pub fn counts(&self) -> Vec<RouteCounts> {
        let routes = self.routes.iter().copied().map(Some).chain([None]);
        routes.zip(&self.observed).filter_map(|(route, observed)| observed.counts(route)).collect()
    }

    /// Returns the index of the route that a request matches, or an index beyond all routes.
    pub(super) fn find(&self, method: &Method, path: &str) -> usize {
        let answers = |index: &usize| {
            self.routes.get(*index).is_some_and(|route| [method.as_str(), "*"].contains(&route.method))
        };
        let found = self.paths.at(path).ok().and_then(|found| found.value.iter().copied().find(answers));
        found.unwrap_or(self.routes.len())
    }

    pub(super) fn requires_credentials(&self, route: usize) -> bool {
        self.routes.get(route).is_some_and(|route| route.requires_credentials)
    }

    pub(super) fn is_high_volume(&self, route: usize) -> bool {
        self.routes.get(route).is_some_and(|route| route.is_high_volume)
    }

    /// Records that `route` was answered with `status` after `time`.
    pub(super) fn observe(&self, route: usize, status: StatusCode, time: Duration) {
        let Some(observed) = self.observed.get(route) else { return };
        let status = STATUSES.iter().position(|known| *known == status.as_u16());
        if let Some(count) = observed.statuses.get(status.unwrap_or(STATUSES.len() - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = time.as_secs_f64();
        let bound = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = bound.and_then(|bound| observed.times.get(bound)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        observed.count.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        observed.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}

impl Observed {
    fn counts(&self, route: Option<Route>) -> Option<RouteCounts> {
        let count = self.count.load(Ordering::Relaxed);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count > 0).then(|| RouteCounts {
            route,
            statuses: STATUSES
                .into_iter()
                .zip(self.statuses.iter().map(read))
                .filter(|(_, count)| *count > 0)
                .collect(),
            times: BOUNDS.into_iter().zip(self.times.iter().map(read)).collect(),
            count,
            seconds: Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64(),
        })
    }
}

tokio::task_local! {
    /// The id of the current request, created on first use.
    static REQUEST_ID: OnceCell<String>;
}

/// Returns the id of the current request for the log and for problems. Creates it on first use.
pub fn request_id() -> String {
    REQUEST_ID
        .try_with(|id| id.get_or_init(mint).clone())
        // Outside a request, return a fresh id.
        .unwrap_or_else(|_| mint())
}

/// The span for the log events of a request, without fields if an outer span already has them.
pub fn request_span(request_id: &str) -> Span {
    if Span::current().is_none() { tracing::info_span!("answer", request_id) } else { Span::none() }
}

pub(super) async fn with_request_id<T>(answer: impl Future<Output = T>) -> T {
    REQUEST_ID.scope(OnceCell::new(), answer).await
}

fn mint() -> String {
    random::alphanumeric(REQUEST_ID_CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [Route; 2] = [route("GET", "/v1/session"), route("DELETE", "/v1/sessions/{id}")];

    const fn route(method: &'static str, path: &'static str) -> Route {
        Route { method, path, requires_credentials: true, is_high_volume: false }
    }

    #[test]
    fn request_counts_under_its_route_only() {
        let requests = Requests::new(ROUTES);
        assert_eq!(requests.counts(), []);
        for (method, path) in
            [("GET", "/v1/session"), ("DELETE", "/v1/sessions/a"), ("DELETE", "/v1/sessions/b")]
        {
            let route = requests.find(&method.parse().expect("a method"), path);
            requests.observe(route, StatusCode::OK, Duration::from_micros(700));
        }
        for (method, path) in [
            ("GET", "/v1/sessions"),
            ("PUT", "/v1/session"),
            ("DELETE", "/v1/sessions/"),
            ("DELETE", "/v1/sessions/a/b"),
            ("DELETE", "/v1/sessions"),
        ] {
            let route = requests.find(&method.parse().expect("a method"), path);
            requests.observe(route, StatusCode::NOT_FOUND, Duration::from_mins(1));
        }
        let counts = requests.counts();
        let seen: Vec<_> = counts.iter().map(|route| (route.route, route.count)).collect();
        assert_eq!(seen, [(Some(ROUTES[0]), 1), (Some(ROUTES[1]), 2), (None, 5)]);
        assert_eq!(counts[1].times[1], (0.001, 2));
        assert_eq!(counts[1].statuses, [(200, 2)]);
        assert!(counts[2].times.iter().all(|(_, count)| *count == 0), "a minute is under no bound");
    }

    #[test]
    fn unknown_status_counts_as_server_error() {
        let requests = Requests::new(ROUTES);
        for status in [204, 418, 500, 599] {
            requests.observe(0, StatusCode::from_u16(status).expect("a status"), Duration::ZERO);
        }
        assert_eq!(requests.counts()[0].statuses, [(204, 1), (500, 3)]);
    }

    #[tokio::test]
    async fn request_id_is_unique_per_request() {
        let ids = || async { (request_id(), request_id()) };
        let (first, again) = with_request_id(ids()).await;
        assert_eq!(first, again);
        assert_ne!(with_request_id(ids()).await.0, first);
        assert_eq!(request_id().len(), REQUEST_ID_CHARACTERS);
    }
}
