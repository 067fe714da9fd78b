//! `/v1/acl/*` and the other token endpoints: every one answers that ACLs are off. Contract: HTTP API, section "ACL".

use axum::{
    http::{Method, StatusCode},
    response::Response,
};

use super::{error::Error, extract::Call, routes::Table};

async fn disabled(_call: Call) -> Result<Response, Error> {
    Err(Error::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}

/// Adds the token endpoints, with the methods they will have.
pub(super) fn routes(table: Table) -> Table {
    const READ: &[Method] = &[Method::GET];
    const WRITE: &[Method] = &[Method::PUT];
    const POST: &[Method] = &[Method::POST];
    const OBJECT: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];
    let paths: [(&'static str, &[Method]); 33] = [
        ("/v1/acl/bootstrap", WRITE),
        ("/v1/acl/replication", READ),
        ("/v1/acl/login", POST),
        ("/v1/acl/logout", POST),
        ("/v1/acl/token", WRITE),
        ("/v1/acl/token/", OBJECT),
        ("/v1/acl/token/self", READ),
        ("/v1/acl/tokens", READ),
        ("/v1/acl/policy", WRITE),
        ("/v1/acl/policy/", OBJECT),
        ("/v1/acl/policy/name/", READ),
        ("/v1/acl/policies", READ),
        ("/v1/acl/role", WRITE),
        ("/v1/acl/role/", OBJECT),
        ("/v1/acl/role/name/", READ),
        ("/v1/acl/roles", READ),
        ("/v1/acl/auth-method", WRITE),
        ("/v1/acl/auth-method/", OBJECT),
        ("/v1/acl/auth-methods", READ),
        ("/v1/acl/binding-rule", WRITE),
        ("/v1/acl/binding-rule/", OBJECT),
        ("/v1/acl/binding-rules", READ),
        ("/v1/acl/templated-policies", READ),
        ("/v1/acl/templated-policy/name/", READ),
        ("/v1/acl/templated-policy/preview/", POST),
        ("/v1/acl/create", WRITE),
        ("/v1/acl/update", WRITE),
        ("/v1/acl/destroy/", WRITE),
        ("/v1/acl/info/", READ),
        ("/v1/acl/clone/", WRITE),
        ("/v1/acl/list", READ),
        ("/v1/agent/token/", WRITE),
        ("/v1/internal/acl/authorize", POST),
    ];
    paths
        .into_iter()
        .fold(table, |table, (path, methods)| methods.iter().fold(table, |table, method| table.on(method.clone(), path, disabled)))
}
