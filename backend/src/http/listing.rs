//! `/v1/muster/catalog/*` and `/v1/muster/overview`: lists that the server pages, and the first screen's numbers.
//! Beyond Consul; see `EXTENSIONS.md`.

use axum::response::Response;
use shared::{
    health::Health,
    page::{LIMIT_DEFAULT, LIMIT_MAX, PageQuery},
};

use super::{error::Error, extract::Call, query::Query, respond};
use crate::rpc;

pub(super) async fn overview(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Overview {}).await?;
    respond::read(&call, &answer)
}

pub(super) async fn services(call: Call) -> Result<Response, Error> {
    let (request, page) = (list_request(&call)?, page_query(&call.query)?);
    respond::read(&call, &call.context.router.call(request, rpc::ListServices { page }).await?)
}

pub(super) async fn nodes(call: Call) -> Result<Response, Error> {
    let (request, page) = (list_request(&call)?, page_query(&call.query)?);
    respond::read(&call, &call.context.router.call(request, rpc::ListNodes { page }).await?)
}

pub(super) async fn checks(call: Call) -> Result<Response, Error> {
    let (request, page) = (list_request(&call)?, page_query(&call.query)?);
    respond::read(&call, &call.context.router.call(request, rpc::ListChecks { page }).await?)
}

/// `filter` means states here, not an expression.
fn list_request(call: &Call) -> Result<rpc::Request, Error> {
    let mut request = call.read()?;
    request.options.filter.clear();
    Ok(request)
}

/// Which page is asked for. A `page` counts from 1 in steps of `limit`; `offset` counts rows from 0.
fn page_query(query: &Query) -> Result<PageQuery, Error> {
    let limit = number(query, "limit")?.unwrap_or(0);
    if limit > LIMIT_MAX {
        return Err(Error::bad_request(format!("Invalid limit: at most {LIMIT_MAX} rows a page")));
    }
    let step = if limit == 0 { LIMIT_DEFAULT } else { limit };
    let offset = match (number(query, "offset")?, number(query, "page")?) {
        (Some(_), Some(_)) => return Err(Error::bad_request("Cannot specify ?offset with ?page")),
        (None, Some(0)) => return Err(Error::bad_request("Invalid page: pages count from 1")),
        (None, Some(page)) => (page - 1).checked_mul(step).ok_or_else(|| Error::bad_request("Invalid page"))?,
        (offset, None) => offset.unwrap_or(0),
    };
    let words = query.all("status").chain(query.all("filter")).flat_map(|list| list.split(','));
    let status = words.filter(|word| !word.is_empty()).map(health).collect::<Result<_, _>>()?;
    let text = |name: &str| query.get(name).to_owned();
    Ok(PageQuery { offset, limit, sort: text("sort"), status, search: text("search"), of: text("of") })
}

fn number(query: &Query, name: &str) -> Result<Option<u32>, Error> {
    match query.get(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Error::bad_request(format!("Invalid {name}: {text:?} is not a number"))),
    }
}

fn health(word: &str) -> Result<Health, Error> {
    Health::ALL
        .into_iter()
        .find(|health| health.as_str() == word)
        .ok_or_else(|| Error::bad_request(format!("Invalid status: {word:?} is none of none, passing, warning, critical, maintenance")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_or_refused_with_a_reason() {
        let check = |raw: &str, offset: u32, limit: u32, status: &[Health]| {
            let page = page_query(&Query::parse(raw)).expect(raw);
            assert_eq!((page.offset, page.limit, page.status.as_slice()), (offset, limit, status), "{raw}");
        };
        check("", 0, 0, &[]);
        check("page=3", 200, 0, &[]);
        check("page=3&limit=50", 100, 50, &[]);
        check("offset=7&status=critical,warning&filter=none", 7, 0, &[Health::Critical, Health::Warning, Health::None]);
        for bad in ["limit=501", "limit=x", "page=0", "page=4294967295", "offset=1&page=1", "status=bad", "offset=-1"] {
            assert_eq!(page_query(&Query::parse(bad)).expect_err(bad).status(), 400, "{bad}");
        }
    }
}
