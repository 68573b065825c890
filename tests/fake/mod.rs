//! A site that knows no machine, for tests and benches of one protocol: its scripts are what a function
//! says, and every file may be sent.

use std::{future::ready, net::Ipv4Addr, sync::Arc};

use bootbox::{
    http::{
        reply::Refusal,
        request::Verb,
        route::{Asked, Script},
    },
    path::RepositoryPath,
    serve::{
        http::{Arrival, Composing, Config, Noting, Rendering, Scripts},
        site::Site,
        store::Opened,
    },
    token::Token,
    unified::Name,
};

/// Says this to whoever asks.
pub(crate) struct Fake(pub(crate) fn(&Script, Arrival) -> String);

impl Scripts for Fake {
    fn admits(&self, _: &RepositoryPath) -> Result<(), Refusal> {
        Ok(())
    }

    fn config(&self, _: Verb, _: &Asked, _: &Site, _: Arrival) -> Result<Config, Refusal> {
        Err(Refusal::NoSuchFile)
    }

    fn has_fetched(&self, _: &RepositoryPath, _: &Site, _: Ipv4Addr) {}

    fn before_tftp<'a>(&'a self, _: &'a RepositoryPath, _: &'a Site, _: Ipv4Addr) -> Noting<'a> {
        Box::pin(ready(Ok(())))
    }

    fn is_verified(&self, _: &RepositoryPath, _: &Opened) -> bool {
        false
    }

    fn image<'a>(&'a self, _: Verb, _: &'a Name, _: &'a Arc<Site>, _: Arrival) -> Composing<'a> {
        Box::pin(ready(Err(Refusal::NoSuchFile)))
    }

    fn knows(&self, _: Token) -> bool {
        false
    }

    fn render<'a>(&'a self, script: &'a Script, _: &'a Site, arrival: Arrival) -> Rendering<'a> {
        Box::pin(ready((self.0)(script, arrival)))
    }
}
