//! "Did you mean": the nearest of a few known words to one that is not known.
//!
//! Used for keys and for enum words. Pure; long input is not measured, because nobody means a
//! known word by it and the distance costs time.

/// The candidate nearest to `word`, if it is a typing slip away: a third of its letters at most.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let slips =
        |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase().replace('-', "_"));
    candidates
        .into_iter()
        .map(|candidate| (slips(candidate), candidate))
        .filter(|(slips, candidate)| *slips <= (candidate.len() / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "listen"?`, ready to be a hint.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|known| format!("did you mean \"{known}\"?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["listen", "limits", "http", "name"];
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("htpp", Some("http")),
            ("nmae", Some("name")),
            ("proxy", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
        assert_eq!(nearest("sig-term", ["sigterm", "group"]), Some("sigterm"));
        assert_eq!(nearest(&"listen".repeat(100), keys), None);
    }
}
