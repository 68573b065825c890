//! The HTTP table by itself: `cargo run --release --example bench_http [RUNS]`.
#![expect(clippy::print_stdout, reason = "a table is printed")]

#[path = "../tests/bench/http.rs"]
mod http;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !http::role(&arguments) {
        http::print(arguments.first().and_then(|runs| runs.parse().ok()).unwrap_or(9));
    }
}
