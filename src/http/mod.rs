//! HTTP/1.1: what a request asks for, and the reply it gets.
//!
//! Decides everything that can be decided without opening a file: what is asked, whether it is
//! refused and in which words, which bytes of a file of known size and age are sent. Never reads a
//! clock, a file or a socket; `serve::http` does.

pub mod event;
pub mod file;
pub mod named;
pub mod posted;
pub mod reply;
pub mod request;
pub mod route;
pub mod sender;

use hyper::{HeaderMap, Method, Uri};

use crate::path::UrlPath;
use reply::Refusal;
use request::{Request, Verb};
use route::Route;

/// Reads a request: whether it wants the body, and what it is for, where these paths have configs.
pub fn read(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_config: impl Fn(&UrlPath) -> bool,
) -> Result<(Verb, Route), Refusal> {
    let request = Request::read(method, uri, headers)?;
    Ok((request.verb, Route::of(&request, is_config)?))
}

#[cfg(test)]
mod mutations;
