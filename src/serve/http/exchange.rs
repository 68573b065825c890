//! One request and its reply.

use std::{collections::VecDeque, io, sync::Arc, time::Instant};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use nix::errno::Errno;

use super::{
    super::{
        disk::{Area, Held},
        scripts::ipv4,
        site::Site,
        store::OpenError,
    },
    Arrival, Composed, Config, Service,
    body::{Part, Piece, Pieces, ReplyBody},
    download::Download,
    evidence::{self, Evidence, TextFor},
    wire::Line,
};
use crate::{
    http::{
        self,
        event::{self, EventError, Told},
        file,
        named::Named,
        posted,
        reply::{self, Body, Refusal, Reply},
        request::{Verb, shown_path},
        route::{Asked, Route, Script},
        sender::Foreign,
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
            let told = told.and_then(|told| self.own_word(told, &request));
            let told = match told {
                Ok(told) => evidence::report(&self.service, self.arrival, told, &mut request).await,
                Err(error) => Err(error),
            };
            return match told {
                Ok(text) => respond(Reply::report(text), ReplyBody::Empty),
                Err(error) => self.refuse(&request, &Refusal::Event(error)),
            };
        }
        let site = Arc::clone(&self.service.site.borrow());
        let is_config = |path: &UrlPath| site.configs.get(path).is_some();
        if method == Method::POST {
            let answered = match posted::read(uri, headers, is_config) {
                Ok(asked) => self.posted(asked, &site, &mut request).await,
                Err(refusal) => Err(refusal),
            };
            return answered.unwrap_or_else(|refusal| self.refuse(&request, &refusal));
        }
        let answered = match http::read(method, uri, headers, is_config) {
            Ok((verb, Route::Config(asked))) => self.config(verb, asked, &site, &request).await,
            Ok((verb, Route::Script(script))) => Ok(self.script(verb, &script, &site).await),
            Ok((verb, Route::Image(name))) => self.image(verb, &name, &site, &request).await,
            Ok((verb, Route::File(path))) => match self.named(&path, &site).await {
                Ok(Some(named)) => Ok(self.script(verb, &Script::Named(named), &site).await),
                Ok(None) => self.file(verb, &path, &site, &request).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| self.refuse(&request, &refusal))
    }

    /// A config for a machine whose installer tells of it in a body.
    async fn posted(
        &self,
        asked: Asked,
        site: &Arc<Site>,
        request: &mut Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let body = evidence::collect(request.body_mut(), posted::LONGEST_BODY).await;
        let body = body.ok_or(Refusal::LongBody)?;
        self.config(Verb::Get, posted::claimed(asked, &body), site, request).await
    }

    /// A report, unless a web page may have sent it.
    fn own_word(&self, told: Told, request: &Request<Incoming>) -> Result<Told, EventError> {
        // A page does not know the token that a GET must have.
        if told.is_get {
            return Ok(told);
        }
        let site = Arc::clone(&self.service.site.borrow());
        match Foreign::read(request.uri(), request.headers(), &site.config.http_names) {
            Some(foreign) => {
                self.service.journal.silence("http", foreign.label());
                Err(EventError::Foreign(foreign))
            }
            None => Ok(told),
        }
    }

    async fn config(
        &self,
        verb: Verb,
        asked: Asked,
        site: &Arc<Site>,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let path = asked.path.clone();
        let (scripts, arrival) = (Arc::clone(&self.service.scripts), self.arrival);
        let config = match asked.path.file().filter(|_| site.configs.get(&asked.path).is_none()) {
            None => scripts.config(verb, &asked, site, arrival),
            Some(file) => {
                // Where the operator has put a version.txt, it stands.
                let is_there = {
                    let (site, file) = (Arc::clone(site), file.clone());
                    move || site.store.read(&file).is_ok()
                };
                if self.look(&file, is_there).await? {
                    return self.file(verb, &file, site, request).await;
                }
                let site = Arc::clone(site);
                self.look(&file, move || scripts.config(verb, &asked, &site, arrival)).await?
            }
        };
        let Config { kind, text, mac } = config?;
        if verb == Verb::Get {
            let text = TextFor { address: ipv4(self.arrival.peer), mac };
            let what = (&path, &site.config.catalog);
            let evidence = Evidence::of_text(&self.service.ledger, &text, what);
            if let Some(evidence) = evidence {
                evidence.last_byte().await.map_err(Refusal::NotReady)?;
            }
        }
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
        site: &Arc<Site>,
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
        let peer = ipv4(self.arrival.peer);
        let evidence = Evidence::of_boot(&self.service.ledger, name.mac, peer);
        let first = evidence.clone().filter(Evidence::needs_a_word_first);
        let pieces = self.pieces(composed, &Arc::new(download.with(evidence)));
        Ok(respond(reply, ReplyBody::Pieces(Pieces::new(pieces, first))))
    }

    fn pieces(&self, composed: Composed, download: &Arc<Download>) -> VecDeque<Piece> {
        let Composed { image, kernel, initrds } = composed;
        let kernel = Arc::new(kernel);
        let initrds: Vec<Arc<Held>> = initrds.into_iter().map(Arc::new).collect();
        let bytes = |left| Piece::Bytes { left, download: Arc::clone(download) };
        let whole = |opened: &Arc<Held>, len| {
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

    /// Looks at the disk on behalf of this request.
    async fn look<T: Send + 'static>(
        &self,
        path: &RepositoryPath,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        Area::of(path).look(work).await.map_err(|stall| {
            self.service.journal.silence("disk", stall.label());
            Refusal::NotReady(stall.to_string())
        })
    }

    /// Answers a boot loader that asks by a name of which there is no file.
    async fn named(
        &self,
        path: &RepositoryPath,
        site: &Arc<Site>,
    ) -> Result<Option<Named>, Refusal> {
        let Some(named) = Named::read(path) else { return Ok(None) };
        let (site, file) = (Arc::clone(site), path.clone());
        let is_absent = move || matches!(site.store.read(&file), Err(OpenError::NotFound));
        Ok(self.look(path, is_absent).await?.then_some(named))
    }

    /// Opens a file that may be sent now; says whether its signature is known to be good.
    async fn open(
        &self,
        path: &RepositoryPath,
        site: &Arc<Site>,
        has_token: bool,
    ) -> Result<(Held, bool), Refusal> {
        let area = Area::of(path);
        // A boot program of our own is no part of a release, and needs no disk.
        if path.folder().is_none()
            && let Some(opened) = site.store.read_embedded(path)
        {
            return Ok((area.hold(opened), false));
        }
        let (scripts, site, file) =
            (Arc::clone(&self.service.scripts), Arc::clone(site), path.clone());
        let open = move || {
            let opened = site.read_file(&file, has_token);
            // A missing file of a release that is not served is not ready, either.
            scripts.admits(&file)?;
            let opened = opened.map_err(refusal)?;
            let is_verified = scripts.is_verified(&file, &opened);
            Ok((area.hold(opened), is_verified))
        };
        self.look(path, open).await?
    }

    async fn file(
        &self,
        verb: Verb,
        path: &RepositoryPath,
        site: &Arc<Site>,
        request: &Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let started = Instant::now();
        let token = token_of(request);
        let has_token = token.is_some_and(|token| self.service.scripts.knows(token));
        let (opened, is_verified) = self.open(path, site, has_token).await?;
        let meta = file::Meta {
            len: opened.stamp.len,
            etag: opened.stamp.etag(),
            modified: opened.stamp.modified,
            is_uefi: site.programs.is_uefi(path),
        };
        let reply = file::respond(verb, request.headers(), path.file_name(), &meta)?;
        let name = reply::printable(path.to_string().as_bytes());
        let who = (ipv4(self.arrival.peer), token);
        let what = (path, &site.config.catalog);
        let Body::Part { start, len } = reply.body else {
            // HEAD and 304: the client asked about the file, not for it. At a 304 it has all of it.
            if reply.status == StatusCode::NOT_MODIFIED && verb == Verb::Get {
                let whole = (0, meta.len);
                let evidence = Evidence::of(&self.service.ledger, who, what, whole, meta.len);
                if let Some(evidence) = evidence.filter(Evidence::needs_a_word_first) {
                    evidence.last_byte().await.map_err(Refusal::NotReady)?;
                }
            }
            let probe = self.download(name, meta.len, started);
            probe.ends(End::Probe);
            return Ok(respond(reply, ReplyBody::Empty));
        };
        let evidence = Evidence::of(&self.service.ledger, who, what, (start, len), meta.len);
        let evidence = evidence.map(|evidence| evidence.verified(is_verified));
        if let Some(evidence) = &evidence
            && evidence.needs_a_word_first()
            && len == 0
        {
            evidence.last_byte().await.map_err(Refusal::NotReady)?;
        }
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

    fn part(&self, opened: Held, start: u64, len: u64, download: Arc<Download>) -> Part {
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

/// Dresses a reply for hyper; `part` is the body where the reply has no text.
fn respond(reply: Reply, part: ReplyBody) -> Response<ReplyBody> {
    let body = match reply.body {
        Body::Bytes(text) => ReplyBody::Text(text),
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
