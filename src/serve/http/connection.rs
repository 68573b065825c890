//! One connection, from accept to close.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::{server::conn::http1, service::service_fn};
use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout};

use super::{
    super::drain::Drain,
    Arrival, Service,
    exchange::Exchange,
    room::Activity,
    wire::{Line, Wire},
};

use crate::http::file::date_of;

/// The largest head, and hyper's bound for what it holds back of a reply.
const BUFFER: usize = 16 * 1024;
/// How long, and for how many bytes, a refused client may still talk before the reset.
const FAREWELL: Duration = Duration::from_secs(2);
const LAST_WORDS: usize = 64 * 1024;

/// Serves one client until it leaves, is too slow or the drain begins.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    (service, activity): (Service, Arc<Activity>),
    mut drain: Drain,
) {
    let Ok(local) = prepare(&stream, &service) else { return };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let line = Arc::new(Line::of(activity));
    let journal = service.journal.clone();
    let wire = Wire::new(stream, Arc::clone(&line), &service.limits);
    let exchange = Exchange { service, line: Arc::clone(&line), arrival: Arrival { peer, local } };
    let exchange = &exchange;
    let mut connection = http1::Builder::new()
        // GRUB 2.06 compares "Content-Length: " case-sensitively.
        .title_case_headers(true)
        // A client may close its half once it has asked; hyper would drop the download.
        .half_close(true)
        .max_buf_size(BUFFER)
        // hyper panics where the clock is beyond the dates that HTTP can write.
        .auto_date_header(date_of(SystemTime::now()).is_some())
        // The wire has its own clock: this one would take an idle connection for a slow head.
        .header_read_timeout(None)
        .serve_connection(
            wire,
            service_fn(|request| async { Ok::<_, Infallible>(exchange.answer(request).await) }),
        );
    let ended = tokio::select! {
        served = &mut connection => Some(served),
        () = drain.begun() => None,
    };
    let served = match ended {
        Some(served) => served,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    match served {
        Ok(()) => {}
        Err(error) if is_too_slow(&error) => journal.silence("http", "no-request-in-time"),
        Err(error) if error.is_parse() => journal.silence("http", "not-http"),
        // A download on this connection has told how it ended.
        Err(_) => {}
    }
    if line.was_refused() {
        farewell(connection.into_parts().io.into_stream()).await;
    }
}

fn prepare(stream: &TcpStream, service: &Service) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    // The kernel alone knows what the client has acknowledged, so it keeps this clock: nothing
    // acknowledged or a window of zero for so long, and the next write fails.
    SockRef::from(stream).set_tcp_user_timeout(Some(service.limits.stall))?;
    let local = stream.local_addr()?;
    Ok(SocketAddr::new(local.ip().to_canonical(), local.port()))
}

fn is_too_slow(error: &hyper::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Reads on for a moment: closing with unread bytes resets the connection, and the client may lose
/// the refusal it was sent (RFC 9112 section 9.6).
async fn farewell(stream: Arc<TcpStream>) {
    let talk = async {
        let mut words = [0; 4096];
        let mut heard = 0;
        while heard < LAST_WORDS {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut words) {
                Ok(0) => return,
                Ok(count) => heard += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    // Either way the connection ends here.
    let _ = timeout(FAREWELL, talk).await;
}
