//! Templates with places written `@NAME@`: a form that no format of ours uses itself, other than `{{}}`, `$` or `%`.

/// The texts of places, by name; already quoted as the place needs it.
pub type Filler = Vec<(&'static str, String)>;

/// The template with its places filled. What is filled in is not looked at again, and an `@` that belongs to no
/// place stays, as in `actions/checkout@v4`.
pub fn fill(template: &str, filler: &Filler) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_place(rest) {
        text.push_str(before);
        match filler.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => text.push_str(value),
            None => unreachable!("the template has a place that nothing fills: {name}"),
        }
        rest = after;
    }
    text + rest
}

/// What is before the next place, its name, and what comes after it.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let is_of_name = |c: char| c.is_ascii_uppercase() || c == '_';
    text.match_indices('@').find_map(|(at, _)| {
        let (name, after) = text[at + 1..].split_once('@')?;
        let is_name = !name.is_empty() && name.chars().all(is_of_name);
        is_name.then_some((&text[..at], name, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_are_filled_and_only_once() {
        let filler = vec![("A", "@B@".into()), ("B", "$&%".into())];
        assert_eq!(
            fill("x@v4 @A@@B@ @@ @b@ user@A.example @", &filler),
            "x@v4 @B@$&% @@ @b@ user@A.example @"
        );
    }
}
