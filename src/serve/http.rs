//! stub until merged
use super::{drain::Drain, journal::Journal, site::Site};
use std::{io, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
/// stub
pub async fn run(
    _l: TcpListener,
    _s: watch::Receiver<Arc<Site>>,
    _j: Journal,
    mut drain: Drain,
) -> io::Result<()> {
    drain.begun().await;
    Ok(())
}
