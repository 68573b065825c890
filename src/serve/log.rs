//! Where log lines go, and in which form: readable for people, JSON lines for machines.

mod queue;

use std::{
    fmt::{self, Write as _},
    io,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, format::Writer, time::FormatTime, time::SystemTime,
    },
    registry::LookupSpan,
};

use crate::printable;
pub use queue::Guard;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// One object a line; `docs/log.md` says which fields.
    Json,
    /// One readable line a step.
    Text,
}

/// The least severe level that is written: error, warn, info (the default), debug or trace.
const VARIABLE: &str = "BOOTBOX_LOG";

/// Sends log lines to standard error. Does nothing when they already go somewhere.
///
/// Lines go through a thread of their own, and are dropped where standard error does not take them:
/// a terminal that is held must not hold the machines. What waits when the guard goes is written, as far as standard error takes it in a second.
pub fn start(format: Format) -> Guard {
    let (lines, guard) = queue::start(io::stderr(), |lost| {
        tracing::warn!("{lost} log lines were lost: standard error did not take them");
    });
    let asked = std::env::var(VARIABLE).ok();
    let level = asked.as_deref().map(str::parse::<LevelFilter>);
    let filter = level.as_ref().and_then(|level| level.as_ref().ok()).copied();
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter.unwrap_or(LevelFilter::INFO))
        .with_writer(move || lines.clone());
    let started = match format {
        Format::Json => builder
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            .try_init(),
        Format::Text => builder.event_format(Text).try_init(),
    };
    // Only a second call fails, and then the first one's form holds.
    drop(started);
    if let (Some(asked), Some(Err(_))) = (asked, level) {
        tracing::warn!("{VARIABLE}={asked:?} is no level; write error, warn, info, debug or trace");
    }
    guard
}

/// `TIME LEVEL MAC boot ID +SECONDS s  MESSAGE`: what a person follows a boot by.
struct Text;

#[derive(Default)]
struct Line {
    mac: Option<String>,
    address: Option<String>,
    boot: Option<String>,
    since_ms: Option<u64>,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "mac" => self.mac = Some(value.to_owned()),
            "address" => self.address = Some(value.to_owned()),
            "boot" => self.boot = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "since_ms" {
            self.since_ms = Some(value);
        }
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        SystemTime.format_time(&mut writer)?;
        match *event.metadata().level() {
            Level::ERROR => writer.write_str(" ERROR")?,
            Level::WARN => writer.write_str(" WARN")?,
            _ => {}
        }
        match (line.mac, line.boot, line.since_ms) {
            (Some(mac), Some(boot), Some(since)) => {
                write!(writer, " {mac} {boot} +{}.{:03}s", since / 1000, since % 1000)?;
            }
            _ => {
                if let Some(address) = line.address {
                    write!(writer, " {address}")?;
                }
            }
        }
        // A message may quote what a client sent.
        let message = printable::shown(&line.message, '?');
        writeln!(writer, "  {message}")
    }
}
