//! "Did you mean": the known word that a misspelt one is nearest to.

/// The nearest of the known words, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = simplified(word);
    let bound = match plain.len() {
        0..=3 => 1,
        4..=7 => 2,
        8..=LONGEST => 3,
        _ => return None,
    };
    let known: Vec<&str> = known.collect();
    let begun = |candidate: &&&str| plain.len() > 3 && simplified(candidate).starts_with(&plain);
    if let Some(candidate) = known.iter().filter(begun).min_by_key(|candidate| candidate.len()) {
        return Some(candidate);
    }
    known
        .into_iter()
        .map(|candidate| (distance(&plain, &simplified(candidate)), candidate))
        .filter(|&(distance, candidate)| distance <= bound && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Longer words are no misspellings of ours.
const LONGEST: usize = 40;

/// Case and separators are the likeliest slips, and cost nothing.
fn simplified(word: &str) -> Vec<char> {
    word.chars().filter(|c| !"-_ ".contains(*c)).flat_map(char::to_lowercase).collect()
}

/// Letters to add, drop or change to get from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["filesystems", "files", "wipeTable", "sizeMiB"];
        for (word, meant) in [
            ("filesystem", Some("filesystems")),
            ("file", Some("files")),
            ("wipe_table", Some("wipeTable")),
            ("sizemib", Some("sizeMiB")),
            ("size", Some("sizeMiB")),
            ("partitions", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}
