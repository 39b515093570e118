//! Names of functions, from the linker's to a person's.

/// The readable form of a linker's name; the name itself if it is not mangled.
pub fn demangle(name: &str) -> String {
    // `name@@VERSION` of a dynamic symbol table.
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    if name.starts_with("_Z") {
        // GCC's clones: `_Z3foov.part.0`, `_Z3foov.cold`.
        let (mangled, clone) = name.split_at(name.find('.').unwrap_or(name.len()));
        if let Some(text) = demangle_cpp(mangled) {
            return if clone.is_empty() { text } else { format!("{text} [clone {clone}]") };
        }
    }
    name.to_owned()
}

fn demangle_cpp(mangled: &str) -> Option<String> {
    let symbol = cpp_demangle::Symbol::new(mangled).ok()?;
    symbol.demangle().ok()
}

/// The name as one says it: no parameters, no template arguments, no return type.
/// `std::vector<int, std::allocator<int> >::push_back(int&&)` gives `std::vector::push_back`.
pub fn short_name(function: &str) -> String {
    let chars: Vec<char> = function.chars().collect();
    let mut out = String::new();
    let (mut at, mut depth) = (0, 0usize);
    while at < chars.len() {
        let rest = &chars[at..];
        if depth == 0 && starts(rest, "operator") && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            // A lambda is its own name; that it is called is no news.
            return if out.ends_with("{lambda}::") {
                out[..out.len() - 2].into()
            } else {
                out + &operator(rest)
            };
        }
        if depth == 0 && starts(rest, "(anonymous namespace)") {
            out.push_str("(anonymous namespace)");
            at += "(anonymous namespace)".len();
            continue;
        }
        match chars[at] {
            // C++'s `{lambda(int)#1}` and Rust's `{{closure}}` are one part of a name.
            '{' if depth == 0 => {
                let end = rest.iter().position(|&c| c == '}').map_or(rest.len(), |end| end + 1);
                out.push_str(&without_number(&rest[..end].iter().collect::<String>()));
                at += end;
                continue;
            }
            // Rust's `<T as Trait>::method` and closures: taken whole, as the brackets are the name.
            '<' if out.is_empty() => return without_parameters(function),
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            '(' if depth == 0 && !out.is_empty() => match enclosing_scope(rest) {
                // A function that a lambda or a local class is in.
                Some(bytes) => {
                    at += bytes;
                    continue;
                }
                None => break,
            },
            // A return type stands before the name of a template function.
            ' ' if depth == 0 => out.clear(),
            c if depth == 0 => out.push(c),
            _ => {}
        }
        at += 1;
    }
    if out.is_empty() { function.to_owned() } else { out.replace("::::", "::") }
}

/// How much of `(int, int) const::name` stands before `::`, if the parameters are those of a scope.
fn enclosing_scope(chars: &[char]) -> Option<usize> {
    let mut depth = 0;
    let end = chars.iter().position(|&c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    })? + 1;
    let rest = &chars[end..];
    let qualified = " const".len();
    if starts(rest, "::") { Some(end) } else { starts(rest, " const::").then_some(end + qualified) }
}

/// `{lambda(int)#1}` gives `{lambda}`.
fn without_number(part: &str) -> String {
    if part.starts_with("{lambda") { "{lambda}".into() } else { part.into() }
}

fn starts(chars: &[char], text: &str) -> bool {
    let mut rest = chars.iter();
    text.chars().all(|c| rest.next() == Some(&c))
}

/// `operator delete(void*, unsigned long)` gives `operator delete`; `operator()(int)` gives `operator()`.
fn operator(chars: &[char]) -> String {
    let text: String = chars.iter().collect();
    let after = "operator".len();
    if text[after..].starts_with("()") {
        return "operator()".into();
    }
    let end = text[after..].find('(').map_or(text.len(), |at| after + at);
    text[..end].to_owned()
}

fn without_parameters(function: &str) -> String {
    let mut depth = 0i32;
    for (at, c) in function.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            '(' if depth == 0 => return function[..at].to_owned(),
            _ => {}
        }
    }
    function.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demangles_rust_cpp_and_leaves_c_alone() {
        assert_eq!(demangle("_ZN5alloc5alloc7dealloc17h0123456789abcdefE"), "alloc::alloc::dealloc");
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(demangle("_Z11order_totalPiS_"), "order_total(int*, int*)");
        assert_eq!(demangle("_Z11order_totalPi.part.0"), "order_total(int*) [clone .part.0]");
        assert_eq!(demangle("order_total"), "order_total");
        assert_eq!(demangle("free@@GLIBC_2.2.5"), "free");
        assert_eq!(demangle("_Z~nothing"), "_Z~nothing");
    }

    #[test]
    fn shortens_names_to_what_one_says() {
        for (long, short) in [
            ("order_total", "order_total"),
            ("order_total(int*, int*)", "order_total"),
            ("std::vector<int, std::allocator<int> >::push_back(int&&)", "std::vector::push_back"),
            ("void shop::drop<int>(int)", "shop::drop"),
            ("operator delete(void*, unsigned long)", "operator delete"),
            ("Total::operator()(int) const", "Total::operator()"),
            ("main::{lambda(void*)#1}::operator()(void*) const", "main::{lambda}"),
            ("shop(int)::{lambda(int, std::pair<int, int>)#2}::operator()(int) const", "shop::{lambda}"),
            ("Shop::close(int (*)(int)) const::Local::end()", "Shop::close::Local::end"),
            ("(anonymous namespace)::finish(int)", "(anonymous namespace)::finish"),
            ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec::push"),
            ("core::ptr::drop_in_place<alloc::vec::Vec<u32>>", "core::ptr::drop_in_place"),
            (
                "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
                "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
            ),
            ("orders::main::{{closure}}", "orders::main::{{closure}}"),
        ] {
            assert_eq!(short_name(long), short, "{long}");
        }
    }
}
