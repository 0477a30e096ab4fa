//! Tests of cluster audiences.

use super::*;

fn cluster(api_audiences: &[&str]) -> Cluster {
    let api_audiences = api_audiences.iter().map(|audience| (*audience).to_owned()).collect();
    Cluster { prefix: Cluster::DEFAULT_PREFIX.to_owned(), username_is_email: true, api_audiences }
}

#[test]
fn api_server_gets_only_its_own_audiences() {
    let asked = |audiences: &[&str]| audiences.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let cluster = cluster(&["https://kubernetes.default.svc"]);
    assert_eq!(cluster.audiences("prod", &[]), Some(vec!["prod"]));
    assert_eq!(cluster.audiences("prod", &asked(&["prod", "x"])), Some(vec!["prod"]));
    let both = asked(&["https://kubernetes.default.svc", "prod"]);
    assert_eq!(cluster.audiences("prod", &both), Some(vec!["prod", "https://kubernetes.default.svc"]));
    assert_eq!(cluster.audiences("prod", &asked(&["x", "PROD"])), None);
}
