use super::*;

/// A client that acknowledges a block of so many bytes each time; for how long it stands still at most.
fn longest_stand(block: u64, every: Duration) -> Duration {
    let begin = Instant::now();
    let progress = Progress { stride: Mutex::new((begin, 0)), ..Progress::new() };
    let mut longest = Duration::ZERO;
    for number in 1..=400_u32 {
        let now = begin + every * number;
        longest = longest.max(progress.stands(now));
        progress.has(block * u64::from(number), now);
    }
    longest
}

#[test]
fn a_block_every_8_s_keeps_no_seat_and_a_slow_rom_does() {
    // 70 addresses with 16 sessions each are more than there are seats, so each of them is
    // looked at as soon as somebody else asks.
    const { assert!(70 * SEATS_OF_ONE_WHEN_FULL > SEATS) };
    let seconds = Duration::from_secs;
    for block in [8, 512, 1408] {
        assert!(longest_stand(block, seconds(8)) >= SLOW, "{block} bytes every 8 s");
    }
    assert!(longest_stand(512, seconds(1)) >= SLOW, "the least that keeps a session alive");
    // A ROM on a bad line: 512 bytes, and 80 KiB a second.
    assert!(longest_stand(512, Duration::from_millis(6)) < SLOW / 4);
    assert!(longest_stand(1408, Duration::from_millis(100)) < SLOW);
}

#[test]
fn a_client_that_acknowledges_the_same_block_makes_no_progress() {
    let begin = Instant::now();
    let progress = Progress { stride: Mutex::new((begin, 0)), ..Progress::new() };
    for second in 1..=60 {
        progress.has(512, begin + Duration::from_secs(second));
    }
    assert_eq!(progress.stands(begin + Duration::from_secs(60)), Duration::from_secs(60));
    assert!(progress.is_proven.load(Ordering::Relaxed));
}
