//! One request and its reply.

use std::{collections::VecDeque, io, sync::Arc, time::Instant};

use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use nix::errno::Errno;

use super::{
    super::{
        scripts::ipv4,
        site::Site,
        store::{OpenError, Opened},
    },
    Arrival, Composed, Config, Service,
    body::{Part, Piece, ReplyBody},
    download::Download,
    evidence::{self, Evidence},
    wire::Line,
};
use crate::{
    http::{
        self, event, file,
        named::Named,
        reply::{self, Body, Refusal, Reply},
        request::{Verb, shown_path},
        route::{Asked, Route, Script},
    },
    path::{RepositoryPath, UrlPath},
    token::Token,
    trace::End,
    unified::{self, Name},
};

/// Answers the requests of one connection.
pub(super) struct Exchange {
    pub(super) service: Service,
    pub(super) line: Arc<Line>,
    pub(super) arrival: Arrival,
}

impl Exchange {
    /// Answers one request. Opens the file it names, reads nothing of it.
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<ReplyBody> {
        self.line.note_request();
        self.service.journal.comes(ipv4(self.arrival.peer));
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if let Some(told) = event::read(method, uri, headers) {
            let told = match told {
                Ok(told) => evidence::report(&self.service, self.arrival, told, &mut request).await,
                Err(error) => Err(error),
            };
            return match told {
                Ok(text) => respond(Reply::text(StatusCode::OK, text), ReplyBody::Empty),
                Err(error) => self.refuse(&request, &Refusal::Event(error)),
            };
        }
        let site = Arc::clone(&self.service.site.borrow());
        let is_config = |path: &UrlPath| site.configs.get(path).is_some();
        let answered = match http::read(method, uri, headers, is_config) {
            Ok((verb, Route::Config(asked))) => self.config(verb, &asked, &site, &request),
            Ok((verb, Route::Script(script))) => Ok(self.script(verb, &script, &site).await),
            Ok((verb, Route::Image(name))) => self.image(verb, &name, &site, &request).await,
            Ok((verb, Route::File(path))) => match named(&path, &site) {
                Some(named) => Ok(self.script(verb, &Script::Named(named), &site).await),
                None => self.file(verb, &path, &site, &request),
            },
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| self.refuse(&request, &refusal))
    }

    fn config(
        &self,
        verb: Verb,
        asked: &Asked,
        site: &Site,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        // Where the operator has put a version.txt, it stands.
        if site.configs.get(&asked.path).is_none()
            && let Some(file) = asked.path.file()
            && site.store.read(&file).is_ok()
        {
            return self.file(verb, &file, site, request);
        }
        let Config { kind, text } = self.service.scripts.config(verb, asked, site, self.arrival)?;
        Ok(respond(Reply::config(kind, text).to(verb), ReplyBody::Empty))
    }

    async fn script(&self, verb: Verb, script: &Script, site: &Site) -> Response<ReplyBody> {
        // Asking whether a script is there is no boot: nothing is decided, and nothing written down.
        let script = match (verb, script) {
            (Verb::Head, Script::Machine(_) | Script::Nobody(_)) => &Script::Boot,
            (Verb::Head, Script::Named(Named::Machine(_))) => &Script::Named(Named::First(None)),
            (Verb::Get | Verb::Head, script) => script,
        };
        let text = self.service.scripts.render(script, site, self.arrival).await;
        respond(Reply::text(StatusCode::OK, text).to(verb), ReplyBody::Empty)
    }

    /// A whole image, and never a part: each is composed anew, and says so by having no validator.
    async fn image(
        &self,
        verb: Verb,
        name: &Name,
        site: &Site,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let started = Instant::now();
        let composed = self.service.scripts.image(verb, name, site, self.arrival).await?;
        let len = composed.image.len;
        let reply = Reply::image(len).to(verb);
        let shown = reply::printable(shown_path(request.uri().path()).as_bytes());
        let download = self.download(shown, len, started);
        if reply.body == Body::Nothing {
            download.ends(End::Probe);
            return Ok(respond(reply, ReplyBody::Empty));
        }
        let evidence = Evidence::of_boot(&self.service.ledger, name.mac);
        let pieces = self.pieces(composed, &Arc::new(download.with(evidence)));
        Ok(respond(reply, ReplyBody::Pieces(pieces)))
    }

    fn pieces(&self, composed: Composed, download: &Arc<Download>) -> VecDeque<Piece> {
        let Composed { image, kernel, initrds } = composed;
        let kernel = Arc::new(kernel);
        let initrds: Vec<Arc<Opened>> = initrds.into_iter().map(Arc::new).collect();
        let bytes = |left| Piece::Bytes { left, download: Arc::clone(download) };
        let whole = |opened: &Arc<Opened>, len| {
            let (opened, line) = (Arc::clone(opened), Arc::clone(&self.line));
            Piece::File(Part { opened, line, start: 0, len, download: Arc::clone(download) })
        };
        let piece = |piece| match piece {
            unified::Piece::Bytes(own) => Some(bytes(own.into())),
            unified::Piece::Initrd(index, len) => Some(whole(initrds.get(index)?, len)),
            unified::Piece::Kernel(len) => Some(whole(&kernel, len)),
            unified::Piece::Shared(shared) => Some(bytes(Bytes::from_owner(shared))),
        };
        image.pieces.into_iter().filter_map(piece).collect()
    }

    fn file(
        &self,
        verb: Verb,
        path: &RepositoryPath,
        site: &Site,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let started = Instant::now();
        let token = token_of(request);
        let has_token = token.is_some_and(|token| self.service.scripts.knows(token));
        let opened = site.read_file(path, has_token).or_else(|error| {
            // What a release lacks that is not served is not ready, either.
            self.service.scripts.admits(path)?;
            Err(refusal(error))
        })?;
        self.service.scripts.admits(path)?;
        let meta = file::Meta {
            len: opened.stamp.len,
            etag: opened.stamp.etag(),
            modified: opened.stamp.modified,
            is_uefi: site.programs.is_uefi(path),
        };
        let reply = file::respond(verb, request.headers(), path.file_name(), &meta)?;
        let name = reply::printable(path.to_string().as_bytes());
        let Body::Part { start, len } = reply.body else {
            // HEAD and 304: the client asked about the file, not for it.
            let probe = self.download(name, meta.len, started);
            probe.ends(End::Probe);
            return Ok(respond(reply, ReplyBody::Empty));
        };
        let who = (ipv4(self.arrival.peer), token);
        let what = (path, &site.config.catalog);
        let evidence = Evidence::of(&self.service.ledger, who, what, (start, len), meta.len);
        let download = self.download(name, len, started).with(evidence.clone());
        let part = self.part(opened, start, len, Arc::new(download));
        Ok(respond(
            reply,
            match evidence {
                Some(evidence) if evidence.needs_a_word_first() => {
                    ReplyBody::Guarded(part.guarded(evidence))
                }
                Some(_) | None => ReplyBody::Part(part),
            },
        ))
    }

    fn part(&self, opened: Opened, start: u64, len: u64, download: Arc<Download>) -> Part {
        Part { opened: Arc::new(opened), line: Arc::clone(&self.line), start, len, download }
    }

    fn refuse(&self, request: &Request<Incoming>, refusal: &Refusal) -> Response<ReplyBody> {
        self.line.note_refusal();
        let target = shown_path(request.uri().path());
        let name = reply::printable(target.as_bytes());
        let download = self.download(name, 0, Instant::now());
        download.ends(End::Refuse { reason: refusal.to_string() });
        let reply = Reply::refuse(refusal, target.as_bytes());
        respond(
            if request.method() == "HEAD" { reply.to(Verb::Head) } else { reply },
            ReplyBody::Empty,
        )
    }

    fn download(&self, file: String, size: u64, started: Instant) -> Download {
        let line = Arc::clone(&self.line);
        Download::new(self.service.journal.clone(), self.arrival.peer, line, file, size, started)
    }
}

/// What a boot loader asks for by this name, where there is no such file.
fn named(path: &RepositoryPath, site: &Site) -> Option<Named> {
    let named = Named::read(path)?;
    matches!(site.store.read(path), Err(OpenError::NotFound)).then_some(named)
}

/// Dresses a reply for hyper; `part` is the body where the reply has no text.
fn respond(reply: Reply, part: ReplyBody) -> Response<ReplyBody> {
    let body = match reply.body {
        Body::Text(text) => ReplyBody::Text(text.into()),
        Body::Nothing | Body::Part { .. } => part,
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// What the path has for a token; of a file it says only who fetches.
fn token_of(request: &Request<Incoming>) -> Option<Token> {
    let path: Vec<u8> = percent_encoding::percent_decode_str(request.uri().path()).collect();
    Token::split(&path).0.and_then(Token::read)
}

fn refusal(error: OpenError) -> Refusal {
    match error {
        OpenError::Config => Refusal::NotAFile,
        OpenError::Io(error) if is_want(&error) => Refusal::Busy,
        OpenError::Io(error) => Refusal::Unreadable(error.to_string()),
        OpenError::NotAFile => Refusal::NotAFile,
        OpenError::NotFound => Refusal::NoSuchFile,
        OpenError::Outside => Refusal::Outside,
        OpenError::Token => Refusal::Token,
    }
}

fn is_want(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
}
