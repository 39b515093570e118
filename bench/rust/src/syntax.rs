//! A compiler's front: the text of a program is cut into tokens, made a tree of boxes, simplified, and dropped.

use crate::random::Random;

enum Token {
    Number(u64),
    Name(String),
    Sign(char),
}

enum Tree {
    Number(u64),
    Name(String),
    Binary(char, Box<Tree>, Box<Tree>),
    Call(String, Vec<Tree>),
}

pub fn run() -> u64 {
    let mut random = Random(7);
    let mut sum = 0u64;
    for _ in 0..2500 {
        let mut text = String::new();
        (0..60).for_each(|_| write_expression(&mut text, &mut random, 6));
        let tokens = cut(&text);
        let mut at = 0;
        while at < tokens.len() {
            let tree = simplify(expression(&tokens, &mut at));
            sum = sum.wrapping_mul(31).wrapping_add(weigh(&tree));
            at += 1;
        }
    }
    sum
}

fn write_expression(text: &mut String, random: &mut Random, depth: u32) {
    write_term(text, random, depth);
    text.push(';');
}

fn write_term(text: &mut String, random: &mut Random, depth: u32) {
    match random.below(if depth == 0 { 2 } else { 6 }) {
        0 => text.push_str(&random.below(1000).to_string()),
        1 => text.push_str(&format!("name_{}", random.below(300))),
        2 => {
            text.push_str(&format!("function_{}(", random.below(40)));
            for n in 0..1 + random.below(3) {
                text.push_str(if n > 0 { "," } else { "" });
                write_term(text, random, depth - 1);
            }
            text.push(')');
        }
        _ => {
            text.push('(');
            write_term(text, random, depth - 1);
            text.push(['+', '*', '-'][random.below(3) as usize]);
            write_term(text, random, depth - 1);
            text.push(')');
        }
    }
}

fn cut(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = |is_part: fn(char) -> bool| rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let length = if first.is_ascii_digit() {
            let length = end(|c| c.is_ascii_digit());
            tokens.push(Token::Number(rest[..length].parse().unwrap_or(0)));
            length
        } else if first.is_alphabetic() {
            let length = end(|c| c.is_alphanumeric() || c == '_');
            tokens.push(Token::Name(rest[..length].to_string()));
            length
        } else {
            tokens.push(Token::Sign(first));
            1
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_sign(tokens: &[Token], at: usize, sign: char) -> bool {
    matches!(tokens.get(at), Some(Token::Sign(found)) if *found == sign)
}

fn expression(tokens: &[Token], at: &mut usize) -> Tree {
    let here = *at;
    *at += 1;
    match &tokens[here] {
        Token::Number(number) => Tree::Number(*number),
        Token::Name(name) if is_sign(tokens, *at, '(') => {
            let mut arguments = Vec::new();
            while !is_sign(tokens, *at, ')') {
                *at += 1;
                arguments.push(expression(tokens, at));
            }
            *at += 1;
            Tree::Call(name.clone(), arguments)
        }
        Token::Name(name) => Tree::Name(name.clone()),
        Token::Sign(_) => {
            let left = expression(tokens, at);
            let Token::Sign(sign) = tokens[*at] else { return left };
            *at += 1;
            let right = expression(tokens, at);
            *at += 1;
            Tree::Binary(sign, Box::new(left), Box::new(right))
        }
    }
}

fn simplify(tree: Tree) -> Tree {
    match tree {
        Tree::Binary(sign, left, right) => match (sign, simplify(*left), simplify(*right)) {
            ('+', Tree::Number(a), Tree::Number(b)) => Tree::Number(a.wrapping_add(b)),
            ('*', Tree::Number(a), Tree::Number(b)) => Tree::Number(a.wrapping_mul(b)),
            ('-', Tree::Number(a), Tree::Number(b)) => Tree::Number(a.wrapping_sub(b)),
            (sign, left, right) => Tree::Binary(sign, Box::new(left), Box::new(right)),
        },
        Tree::Call(name, arguments) => Tree::Call(name, arguments.into_iter().map(simplify).collect()),
        tree => tree,
    }
}

fn weigh(tree: &Tree) -> u64 {
    match tree {
        Tree::Number(number) => *number,
        Tree::Name(name) => name.len() as u64,
        Tree::Binary(sign, left, right) => {
            weigh(left).wrapping_mul(3).wrapping_add(weigh(right)) ^ u64::from(u32::from(*sign))
        }
        Tree::Call(name, arguments) => arguments.iter().map(weigh).fold(name.len() as u64, u64::wrapping_add),
    }
}
